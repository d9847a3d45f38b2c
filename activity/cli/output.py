"""Where results go: standard output, or the file of an `--output` flag."""

import io
import os
import sys
from collections.abc import Iterable, Iterator
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


def check_new_output(path: str | Path | None, inputs: Iterable[str | Path], *, force: bool) -> None:
    """Refuse to write over what is to be read, and without `force` over anything.

    Raises:
        UsageError: as said.
    """
    if path is None:
        return
    check_output(str(path), inputs)
    if os.path.exists(path) and not force:  # noqa: PTH110 - a name may be too long for pathlib
        raise UsageError(f"{path} is there already. Give another name, or --force to replace it.")


def check_new(path: str | Path | None, *, force: bool, flag: str = "--output", advice: str = "") -> None:
    """Refuse to write over a file that holds something; devices and pipes are written to.

    Args:
        path: the file; None is standard output.
        force: it may be replaced.
        flag: that named it.
        advice: what else can be done, as the beginning of a sentence's list.

    Raises:
        UsageError: there is such a file.
    """
    if path is not None and not force and os.path.isfile(path) and os.path.getsize(path):  # noqa: PTH113, PTH202
        raise UsageError(f"{flag} {path} is there already. Give {advice}--force to replace it, or another name.")


@contextmanager
def open_output(path: str | None, *, append: bool = False) -> Iterator[TextIO]:
    """A file to write results to, made with its folder, anew or at its end; None is standard output."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be text in the terminal's encoding
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # Results are written as they come: those of an interrupted run are not lost. No newline is translated: a CSV has
    # its own.
    with Path(path).open("a" if append else "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file
