"""A diagnosis as tables."""

from typing import TextIO

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from activity.cli.printable import printable, printable_message
from activity.data.clips import SPLIT_NAMES, count_text
from activity.data.doctor import Diagnosis, Distribution, Finding, Severity, Subject

_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_SUBJECTS_SHOWN = 5
_KINDS_SHOWN = 6
_CLASSES_SHOWN = 30


def print_diagnosis(diagnosis: Diagnosis, path: str, output: TextIO) -> None:
    """Print what there is, what was found, and a verdict. Names are printed as they are, but for control characters."""
    console = Console(file=output, highlight=False)
    console.print(_overview(diagnosis, path))
    if diagnosis.classes:
        console.print(_class_table(diagnosis))
    for finding in diagnosis.findings:
        console.print(_finding(finding))
    console.print(Text(f"\n{verdict(diagnosis)}", style="bold"))


def verdict(diagnosis: Diagnosis) -> str:
    """The last line.

    >>> from types import SimpleNamespace
    >>> verdict(SimpleNamespace(counts={"error": 2, "warning": 1, "note": 0}))
    '2 errors, 1 warning, 0 notes: correct the errors before training.'
    """
    numbers = ", ".join(count_text(count, severity) for severity, count in diagnosis.counts.items())
    if diagnosis.counts["error"]:
        return f"{numbers}: correct the errors before training."
    return f"{numbers}: nothing was found that would spoil training."


def _overview(diagnosis: Diagnosis, path: str) -> Table:
    table = Table.grid(padding=(0, 2))
    readable = sum(record.facts is not None for record in diagnosis.videos.values())
    table.add_row("data set", Text(printable(path), overflow="fold"))
    table.add_row("clips", f"{diagnosis.clips} in {count_text(len(diagnosis.classes), 'class')}")
    table.add_row("videos", f"{len(diagnosis.videos)}, of which {readable} can be read")
    groups = str(diagnosis.groups)
    if diagnosis.groups is None:
        groups = f"none given; names suggest {diagnosis.guess.groups if diagnosis.guess else 'none'}"
    table.add_row("groups", groups)
    if diagnosis.durations_seconds:
        total = diagnosis.durations_seconds.total
        table.add_row("durations", f"{_range(diagnosis.durations_seconds, 's')}, {total / 60:.1f} min in all")
    if diagnosis.frame_rates:
        table.add_row("frame rates", _range(diagnosis.frame_rates, "frames/s"))
    if diagnosis.frame_sizes:
        table.add_row("sizes", _counted({f"{w}x{h}": count for (w, h), count in diagnosis.frame_sizes.items()}))
        table.add_row("codecs", Text(_counted(dict(diagnosis.codecs))))
    return table


def _range(numbers: Distribution, unit: str) -> str:
    least, middle, most = (f"{number:.4g}" for number in (numbers.minimum, numbers.median, numbers.maximum))
    return f"{least} {unit}" if least == most else f"{least} to {most} {unit}, median {middle}"


def _counted(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:_KINDS_SHOWN]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _class_table(diagnosis: Diagnosis) -> Table:
    sides = [side for side in SPLIT_NAMES if any(item.splits.get(side) for item in diagnosis.classes)]
    table = Table()
    table.add_column("class", overflow="fold")
    for name in ("clips", "videos", *(["groups"] if diagnosis.groups else []), *sides):
        table.add_column(name, justify="right")
    for item in diagnosis.classes[:_CLASSES_SHOWN]:
        numbers = [item.clips, item.videos, *([item.groups] if diagnosis.groups else [])]
        numbers += [item.splits.get(side, 0) for side in sides]
        table.add_row(Text(printable(item.name)), *map(str, numbers))
    if len(diagnosis.classes) > _CLASSES_SHOWN:
        table.add_row(f"and {len(diagnosis.classes) - _CLASSES_SHOWN} more; --format json has all")
    return table


def _finding(finding: Finding) -> Padding:
    head = Text.assemble(
        (finding.severity, _STYLES[finding.severity]), f" [{finding.code}] ", printable_message(finding.summary)
    )
    lines = [Text(printable(_subject(subject))) for subject in finding.subjects[:_SUBJECTS_SHOWN]]
    if len(finding.subjects) > _SUBJECTS_SHOWN:
        lines.append(Text(f"and {len(finding.subjects) - _SUBJECTS_SHOWN} more; --format json has all"))
    advice = Text.assemble(("do: ", "bold"), printable(finding.advice))
    body = [Padding(line, (0, 0, 0, 4)) for line in lines] + [Padding(advice, (0, 0, 0, 2))]
    return Padding(Group(head, *body), (1, 0, 0, 0))


def _subject(subject: Subject) -> str:
    return " = ".join(subject.names) + (f": {subject.detail}" if subject.detail else "")
