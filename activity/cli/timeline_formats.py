"""How timelines are written: as a table, JSON lines, CSV, or subtitles."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from activity.cli.arguments import UsageError
from activity.cli.output import csv_row
from activity.cli.printable import printable
from activity.data.clips import count_text
from activity.data.segments import BACKGROUND, Segment

FORMATS = ("table", "jsonl", "csv", "srt", "vtt")
SUBTITLES = ("srt", "vtt")
"""Formats that hold one video: subtitles that a player shows with it."""

_COLUMNS = ("source", "start", "end", "label", "score", "error")


def timeline_header(format_name: str) -> str:
    """What stands before the first timeline."""
    if format_name == "csv":
        return csv_row(_COLUMNS)
    if format_name == "vtt":
        return "WEBVTT\n\n"
    return _table("start", "end", "score", "label", "source") if format_name == "table" else ""


def timeline_text(format_name: str, source: str, segments: Sequence[Segment], duration_seconds: float) -> str:
    """The segments of one video, a line or a cue each.

    Times are seconds with three decimals, scores 0 to 1. Subtitles leave background out: where no activity is sure,
    nothing is shown.

    >>> run = Segment(label="run", start_seconds=1.0, end_seconds=2.5, score=0.9)
    >>> print(timeline_text("jsonl", "a.mp4", [run], 4.0), end="")
    {"source": "a.mp4", "start": 1.0, "end": 2.5, "label": "run", "score": 0.9}
    >>> print(timeline_text("srt", "a.mp4", [run], 4.0), end="")
    1
    00:00:01,000 --> 00:00:02,500
    run (90%)
    <BLANKLINE>
    """
    return _TEXTS[format_name](source, segments, duration_seconds)


def failure_text(format_name: str, source: str, error: str) -> str:
    """A video that could not be read; nothing in subtitles, which have no place for it."""
    if format_name == "jsonl":
        return json.dumps({"source": source, "error": error}, ensure_ascii=False) + "\n"
    if format_name == "csv":
        return csv_row((source, "", "", "", "", error))
    return _table("", "", "", "(failed)", source) if format_name == "table" else ""


def subtitle_files(format_name: str, sources: Sequence[str], output: str | None) -> list[Path] | None:
    """Which file the subtitles of each source go to, or None where all goes to `output`, a file or standard output.

    A folder gets NAME.srt for each video NAME.mp4, in the folders in which the videos lie. What is named is a folder
    where there are several videos, where it is one, and where it ends in a slash.

    Raises:
        UsageError: several videos, and no folder for them.

    >>> [str(path) for path in subtitle_files("srt", ["in/a.mp4", "in/b/c.mp4", "in/b/c.avi"], "out") or []]
    ['out/a.srt', 'out/b/c.mp4.srt', 'out/b/c.avi.srt']
    """
    if format_name not in SUBTITLES:
        return None
    several = len(sources) > 1
    if several and (output is None or (os.path.exists(output) and not os.path.isdir(output))):  # noqa: PTH110, PTH112
        given = "there is no --output" if output is None else f"--output {output} is a file"
        raise UsageError(
            f"--format {format_name} holds one video, there are {count_text(len(sources), 'source')}, and {given}. "
            f"Give --output FOLDER, into which a file NAME.{format_name} is written for each; or --format jsonl or "
            "csv, which hold them all."
        )
    if output is None or not (several or output.endswith(("/", os.sep)) or os.path.isdir(output)):  # noqa: PTH112
        return None
    return _beside_each_other(sources, Path(output), f".{format_name}")


def _beside_each_other(sources: Sequence[str], folder: Path, suffix: str) -> list[Path]:
    absolute = [os.path.abspath(source) for source in sources]  # noqa: PTH100 - a name may be too long for pathlib
    top = os.path.commonpath([os.path.dirname(path) for path in absolute])  # noqa: PTH120
    places = [Path(os.path.relpath(path, top)) for path in absolute]
    uses = Counter(place.with_suffix("") for place in dict.fromkeys(places))
    return [
        folder / (place.with_suffix(suffix) if uses[place.with_suffix("")] == 1 else f"{place}{suffix}")
        for place in places
    ]


def _json_lines(source: str, segments: Sequence[Segment], duration_seconds: float) -> str:
    rows = (dict(zip(_COLUMNS, _cells(source, segment), strict=False)) for segment in segments)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv_lines(source: str, segments: Sequence[Segment], duration_seconds: float) -> str:
    rows = (_cells(source, segment) for segment in segments)
    return "".join(
        csv_row((name, f"{start:.3f}", f"{end:.3f}", label, score, "")) for name, start, end, label, score in rows
    )


def _table_lines(source: str, segments: Sequence[Segment], duration_seconds: float) -> str:
    if not segments:
        return _table("0.000", f"{duration_seconds:.3f}", "", "(no segments)", source)
    return "".join(
        _table(
            f"{segment.start_seconds:.3f}",
            f"{segment.end_seconds:.3f}",
            f"{segment.score:.1%}",
            " ".join(segment.label.split()),
            source,
        )
        for segment in segments
    )


def _srt_cues(source: str, segments: Sequence[Segment], duration_seconds: float) -> str:
    # SubRip has no way to write a character that would be markup, {\an8} or <i>: others that look alike stand for it.
    alike = str.maketrans("<>{}", "‹›()")
    cues = (_cue(segment, decimal_sign=",") for segment in _activities(segments))
    return "".join(f"{number}\n{times}\n{text.translate(alike)}\n\n" for number, (times, text) in enumerate(cues, 1))


def _vtt_cues(source: str, segments: Sequence[Segment], duration_seconds: float) -> str:
    entities = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    cues = (_cue(segment, decimal_sign=".") for segment in _activities(segments))
    return "".join(f"{times}\n{text.translate(entities)}\n\n" for times, text in cues)


_TEXTS: dict[str, Callable[[str, Sequence[Segment], float], str]] = {
    "table": _table_lines,
    "jsonl": _json_lines,
    "csv": _csv_lines,
    "srt": _srt_cues,
    "vtt": _vtt_cues,
}


def _cells(source: str, segment: Segment) -> tuple[str, float, float, str, float]:
    start, end = round(segment.start_seconds, 3), round(segment.end_seconds, 3)
    return source, start, end, segment.label, round(segment.score, 4)


def _activities(segments: Sequence[Segment]) -> list[Segment]:
    return [segment for segment in segments if segment.label != BACKGROUND]


def _cue(segment: Segment, *, decimal_sign: str) -> tuple[str, str]:
    """The line of times, and the text on one line: an empty one would end the cue."""
    start = round(segment.start_seconds * 1000)
    end = max(round(segment.end_seconds * 1000), start + 1)
    times = f"{_stamp(start, decimal_sign)} --> {_stamp(end, decimal_sign)}"
    return times, f"{' '.join(segment.label.split())} ({segment.score:.0%})"


def _stamp(milliseconds: int, decimal_sign: str) -> str:
    """Hours, minutes, seconds and milliseconds; hours have two digits or more.

    >>> _stamp(3_661_005, ","), _stamp(360_000_000, ".")
    ('01:01:01,005', '100:00:00.000')
    """
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{decimal_sign}{milliseconds:03d}"


def _table(start: str, end: str, score: str, label: str, source: str) -> str:
    return f"{start:>10} {end:>10} {score:>6}  {printable(label):<24}  {printable(source)}\n"
