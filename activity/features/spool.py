"""Features on their way to the store, which may be more than memory should hold."""

import bisect
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity.features.extract import FeatureChunk

_SPOOLED_BYTES = 8 << 20  # of each video being read; beyond that its features wait on the disk
_BLOCK_ROWS = 256


class Spool:
    """Features of one view of a video, in order; on disk where there are many.

    Args:
        folder: on whose disk.
        size: D.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.indices: list[int] = []
        self._row_bytes = 4 * size
        self._file: Any = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, dir=str(folder))  # noqa: SIM115 - closed in `close`

    def add(self, chunk: FeatureChunk) -> None:
        """The features that come next."""
        self.indices += chunk.indices
        self._file.seek(0, 2)
        self._file.write(chunk.features.contiguous().numpy().tobytes())

    def between(self, span: range) -> "Rows":
        """Those of a range of sampled-frame indices."""
        return Rows(self, bisect.bisect_left(self.indices, span.start), bisect.bisect_left(self.indices, span.stop))

    def read(self, start: int, stop: int) -> bytes:
        """Rows start to stop, `float32` in C order."""
        self._file.seek(start * self._row_bytes)
        data: bytes = self._file.read((stop - start) * self._row_bytes)
        return data

    def close(self) -> None:
        """Let go of what it holds."""
        self._file.close()


@dataclass(frozen=True)
class Rows:
    """Rows start to stop of a spool, as blocks of bytes."""

    spool: Spool
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[bytes]:
        for row in range(self.start, self.stop, _BLOCK_ROWS):
            yield self.spool.read(row, min(row + _BLOCK_ROWS, self.stop))
