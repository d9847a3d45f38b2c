"""What happens when in long videos, as a person wrote it down: a CSV `source,start,end,label`."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from activity.data.layouts.rows import TableForm, cell_problems, check_rows, located, open_table, table_rows
from activity.data.names import NamesOnDisk, cleaned, given_path
from activity.data.segments import SAME_MOMENT_SECONDS, Segment

# A table of predicted timelines has a score too: corrected by hand it is one of annotations.
_NEEDED = ("source", "start", "end", "label")
_FORM = TableForm(
    columns=(*_NEEDED, "score", "error"),
    needed=_NEEDED,
    path="source",
    row="segment",
)


@dataclass(frozen=True)
class AnnotatedVideo:
    """A video and what happens in it.

    Attributes:
        name: the source as the table gives it where it comes first.
        path: the file, absolute.
        segments: in the order of time; time between them is background, as are segments of that label.
    """

    name: str
    path: Path
    segments: tuple[Segment, ...]


def read_annotations(csv: str | Path) -> tuple[AnnotatedVideo, ...]:
    """Read a CSV with the columns source, start, end and label, and a row for each segment.

    Comma, semicolon or tab, as spreadsheets write them. Start and end are seconds from the video's first frame.
    Relative sources start from the folder of the CSV. A video in which nothing happens has one row with the label
    `background`. A column score, as predicted timelines have it, plays no role; a row with an error, of a video that
    could not be read, is a problem. A file that does not exist stays, with a warning.

    Returns:
        The videos in the order in which they come first.

    Raises:
        DataError: with all problems of all rows, each with its line number; or where no file at all exists.

    Warns:
        DataWarning: for files that do not exist.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "day.mp4").write_bytes(b"a video")
    >>> _ = (folder / "day.csv").write_text("source,start,end,label\\nday.mp4,8,9.5,walk\\nday.mp4,2,4,run\\n")
    >>> (video,) = read_annotations(folder / "day.csv")
    >>> video.name, [(segment.label, segment.start_seconds, segment.end_seconds) for segment in video.segments]
    ('day.mp4', [('run', 2.0, 4.0), ('walk', 8.0, 9.5)])
    """
    csv = given_path(Path(csv).expanduser().absolute())
    on_disk = NamesOnDisk()
    problems: list[str] = []
    names: dict[Path, str] = {}
    found: dict[Path, dict[int, Segment]] = {}
    for line, cells in table_rows(csv, _FORM, open_table(csv, _FORM)):
        wrong, segment = _row_segment(cells)
        problems += [f"line {line}: {problem}" for problem in wrong]
        if source := cleaned(cells["source"]):
            path, _ = located(cells["source"], csv.parent, on_disk)
            names.setdefault(path, source)
            if segment is not None:
                found.setdefault(path, {})[line] = segment
    problems += [problem for path, segments in found.items() for problem in _overlaps(names[path], segments)]
    looked_up = f"Relative sources are looked up in {str(csv.parent)!r}."
    check_rows(csv, problems, {name: path for path, name in names.items()}, looked_up=looked_up)
    return tuple(AnnotatedVideo(names[path], path, _in_order(segments)) for path, segments in found.items())


def segments_csv(segments_of: Mapping[str, Iterable[Segment]], *, scores: bool) -> str:
    """A table of segments, a row each, such as `read_annotations` reads.

    Args:
        segments_of: the segments by source.
        scores: whether there is a column for them: predicted segments have one.

    >>> run = Segment(label="run", start_seconds=1 / 3, end_seconds=2.5, score=0.75)
    >>> print(segments_csv({"day.mp4": [run]}, scores=True), end="")
    source,start,end,label,score
    day.mp4,0.333333,2.5,run,0.75
    """
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    writer.writerow((*_NEEDED, "score") if scores else _NEEDED)
    for source, segments in segments_of.items():
        for segment in segments:
            # A microsecond is less than any frame lasts, and what floats have beyond it is noise.
            seconds = round(segment.start_seconds, 6), round(segment.end_seconds, 6)
            writer.writerow([source, *seconds, segment.label, *([round(segment.score, 6)] if scores else [])])
    return text.getvalue()


def _row_segment(cells: Mapping[str, str]) -> tuple[list[str], Segment | None]:
    if cells["error"]:
        return [f"{cells['source']!r} could not be read: {cells['error']} Take the row out"], None
    problems = cell_problems(cells, _FORM)
    if problems:
        return problems, None
    try:
        start, end = float(cells["start"]), float(cells["end"])
        return [], Segment(label=cells["label"], start_seconds=start, end_seconds=end)
    except ValueError as error:
        return [str(error)], None


def _overlaps(name: str, segments: Mapping[int, Segment]) -> Iterator[str]:
    """What of a video is labelled twice at once, by lines."""
    latest: tuple[int, Segment] | None = None  # the one that ends last so far
    for line, segment in sorted(segments.items(), key=lambda item: item[1].start_seconds):
        if latest and latest[1].end_seconds - segment.start_seconds > SAME_MOMENT_SECONDS:
            before = latest[1]
            yield (
                f"line {line}: {name!r} has {segment.label!r} from {segment.start_seconds:g} s, while {before.label!r} "
                f"lasts to {before.end_seconds:g} s (line {latest[0]}): two labels at once"
            )
        if latest is None or segment.end_seconds > latest[1].end_seconds:
            latest = line, segment


def _in_order(segments: Mapping[int, Segment]) -> tuple[Segment, ...]:
    return tuple(sorted(segments.values(), key=lambda segment: segment.start_seconds))
