"""What happens when in long videos, as a person wrote it down: a CSV `source,start,end,label`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from activity.data.layouts.disk import rows_error
from activity.data.layouts.rows import TableForm, cell_problems, check_files_exist, located, open_table, table_rows
from activity.data.segments import SAME_MOMENT_SECONDS, Segment

# A table of predicted timelines has a score too: corrected by hand it is one of annotations.
_FORM = TableForm(
    columns=("source", "start", "end", "label", "score"),
    needed=("source", "start", "end", "label"),
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

    Comma, semicolon or tab, in UTF-8. Start and end are seconds from the video's first frame. Relative sources start
    from the folder of the CSV. A video in which nothing happens has one row with the label `background`. A column
    score, as predicted timelines have it, plays no role. A file that does not exist stays, with a warning.

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
    csv = Path(csv).expanduser().absolute()
    problems: list[str] = []
    names: dict[Path, str] = {}
    found: dict[Path, dict[int, Segment]] = {}
    for line, cells in table_rows(csv, _FORM, *open_table(csv, _FORM)):
        wrong, segment = _row_segment(cells)
        problems += [f"line {line}: {problem}" for problem in wrong]
        if segment is not None:
            path, _ = located(cells["source"], csv.parent)
            names.setdefault(path, cells["source"])
            found.setdefault(path, {})[line] = segment
    problems += [problem for path, segments in found.items() for problem in _overlaps(names[path], segments)]
    if problems:
        raise rows_error(csv, problems)
    looked_up = f"Relative sources are looked up in {str(csv.parent)!r}."
    check_files_exist(csv, {name: path for path, name in names.items()}, looked_up=looked_up)
    return tuple(AnnotatedVideo(names[path], path, _in_order(segments)) for path, segments in found.items())


def _row_segment(cells: Mapping[str, str]) -> tuple[list[str], Segment | None]:
    problems = cell_problems(cells, filled=_FORM.needed, numbers=("start", "end"))
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
