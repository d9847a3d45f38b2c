"""Where results go: standard output, or the file of an `--output` flag."""

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from activity.cli.arguments import UsageError


def check_output(path: str | None, inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is to be read.

    Raises:
        UsageError: `path` is one of the inputs.
    """
    if path is None or not os.path.exists(path):  # noqa: PTH110 - a name may be too long for pathlib
        return
    for name in inputs:
        if os.path.exists(name) and Path(path).samefile(name):  # noqa: PTH110
            raise UsageError(f"{path} is one of the files to be read; give the name of another file.")


def check_new_output(
    path: str | Path | None, inputs: Iterable[str | Path], *, force: bool, otherwise: str = "--force to replace it"
) -> None:
    """Refuse to write over what is to be read, and without `force` over a file that holds something.

    Devices, pipes and empty files hold nothing.

    Args:
        path: the file; None is standard output.
        inputs: what is to be read.
        force: it may be replaced.
        otherwise: what the user can do but give another name.

    Raises:
        UsageError: as said.
    """
    if path is None:
        return
    check_output(str(path), inputs)
    if not force and os.path.isfile(path) and os.path.getsize(path):  # noqa: PTH113, PTH202 - a name may be too long
        raise UsageError(f"{path} is there already. Give another name, or {otherwise}.")


def format_of(given: str | None, output: str | None, formats: Iterable[str]) -> str:
    """The format that is asked for, else that of the output's suffix, else the table.

    >>> format_of(None, "a.CSV", ["table", "csv"]), format_of(None, "a.txt", ["table", "csv"])
    ('csv', 'table')
    """
    suffix = Path(output or "").suffix.lower().removeprefix(".")
    return given or (suffix if suffix in formats else "table")


@contextmanager
def open_output(path: str | None) -> Iterator[TextIO]:
    """A file to write results to, made anew with its folder; None is standard output."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be text in the terminal's encoding
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # No newline is translated: a CSV has its own.
    with Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file


def csv_row(cells: Sequence[object]) -> str:
    r"""A line of a CSV, with its end.

    >>> csv_row(["a, b.mp4", "run", 0.5])
    '"a, b.mp4",run,0.5\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
