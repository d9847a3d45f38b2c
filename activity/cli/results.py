"""Results of many sources: written as they complete, and in the order of the sources in the end."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from activity.cli.arguments import note
from activity.cli.output import open_output
from activity.files import renamed_when_whole

Span = tuple[int, int]
"""Where a piece lies in a file: its offset and its length in bytes."""

Write = Callable[[int, str], None]
"""Takes the position of a source and the text of its result."""

_HEADER = -1  # stands before the first source
_SPOOLED_BYTES = 1 << 20


@contextmanager
def open_results(path: str | None, header: str, *, kept: Mapping[int, Span] | None = None) -> Iterator[Write]:
    """Open what takes the results of sources, in any order: a file, made with its folder, or standard output.

    A file holds each result as soon as it is given, whatever ends the process, and is sorted in the end. Standard
    output, pipes and devices cannot be sorted: there a result waits, on the disk, for those of the sources before it.

    Args:
        path: the file; None is standard output.
        header: what stands before the first result.
        kept: by position, what of the file stays, which is then written on; None begins it anew.
    """
    # A name may be too long for pathlib.
    if path is None or (os.path.exists(path) and not os.path.isfile(path)):  # noqa: PTH110, PTH113
        with open_output(path) as stream:
            print(header, end="", file=stream)
            with _in_order(stream) as write:
                yield write
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w+b" if kept is None else "a+b") as file:
        pieces = _Pieces(file, dict(kept or {}))
        if header:
            pieces.add(_HEADER, header.encode())
        yield lambda position, text: pieces.add(position, text.encode(errors="backslashreplace"))
    try:
        rearrange(Path(path), [span for _, span in sorted(pieces.spans.items())])
    except OSError as error:  # the disk is full, say
        note(f"warning: {path} holds all results, but could not be sorted: they stand as they were done. {error}")


def rearrange(path: Path, spans: Sequence[Span]) -> list[Span]:
    """Leave these pieces of a file, in this order, and nothing else; returns where they are then.

    Whatever ends the process meanwhile, the file is as it was or as it is to be.
    """
    lengths = [length for _, length in spans]
    arranged = list(zip(itertools.accumulate(lengths, initial=0), lengths, strict=False))
    if list(spans) != arranged or path.stat().st_size != sum(lengths):
        path = path.resolve()  # a link stays one
        with path.open("rb") as before, renamed_when_whole(path) as temporary, temporary.open("xb") as after:
            shutil.copymode(path, temporary)
            for start, length in spans:
                before.seek(start)
                after.write(before.read(length))
    return arranged


class _Pieces:
    """Pieces of a file, by position: in memory is only where they lie."""

    def __init__(self, file: IO[bytes], spans: dict[int, Span]) -> None:
        self.spans = spans
        self._file = file

    def add(self, position: int, data: bytes) -> None:
        """Append a piece."""
        self.spans[position] = self._file.seek(0, os.SEEK_END), len(data)
        self._file.write(data)
        self._file.flush()

    def take(self, position: int) -> bytes:
        """Read a piece and forget it; where none is left, the file begins anew."""
        start, length = self.spans.pop(position)
        self._file.seek(start)
        data = self._file.read(length)
        if not self.spans:
            self._file.seek(0)
            self._file.truncate()
        return data


@contextmanager
def _in_order(stream: IO[str]) -> Iterator[Write]:
    """Write each text once those of all positions before it are written; after Ctrl-C, all that there are."""
    following = 0
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as file:
        waiting = _Pieces(file, {})

        def print_piece(position: int) -> None:
            print(waiting.take(position).decode(errors="surrogatepass"), end="", file=stream, flush=True)

        def write(position: int, text: str) -> None:
            nonlocal following
            waiting.add(position, text.encode(errors="surrogatepass"))
            while following in waiting.spans:
                print_piece(following)
                following += 1

        try:
            yield write
        except BrokenPipeError:
            raise
        except BaseException:
            for position in sorted(waiting.spans):
                print_piece(position)
            raise
