"""A progress bar over files, on standard error.

It is apart from `progress.py`, which imports Lightning.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from activity.video.reader import declared_seconds

_SPEED_SECONDS = 600.0  # files take long: the speed of the last minutes gives the time left
_MOMENT_SECONDS = 1.0  # opening a file on a network drive takes time, and a short video needs no bar of its own

Update = Callable[[float, float], None]


@contextmanager
def files_progress(total: int, *, done: int = 0, unit: str = "files/s", shown: bool) -> Iterator[Update]:
    """A bar over files, `done` of which were complete before.

    The bar moves with `update(files, amount)`: how many files are complete, parts included, and how much of `unit`
    was done since the start.
    """
    if not shown:
        yield lambda files, amount: None
        return
    # Imported here: without a bar a short command need not wait for it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("files"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        speed_estimate_period=_SPEED_SECONDS,
    )
    begun = time.monotonic()
    with progress:
        task = progress.add_task("files", total=total, completed=done, speed="")

        def update(files: float, amount: float) -> None:
            rate = amount / max(time.monotonic() - begun, 1e-3)
            speed = f"{rate:.2g} {unit}" if rate < 10 else f"{rate:.0f} {unit}"
            progress.update(task, completed=files, speed=speed)

        yield update


@contextmanager
def videos_progress(sources: Sequence[str], *, shown: bool) -> "Iterator[VideosProgress]":
    """A bar over videos that moves within long ones too."""
    with files_progress(len(sources), unit="x real time", shown=shown) as update:
        yield VideosProgress(sources, update, shown=shown)


@dataclass
class _Reading:
    begun: float
    seconds: float = 0.0
    length_seconds: float | None = None

    def share(self) -> float:
        return 0.0 if self.length_seconds is None else min(1.0, self.seconds / self.length_seconds)


class VideosProgress:
    """Counts complete videos, and the complete part of each long one.

    The file of a long video is opened for its length while the video is read. So no file delays the first result.
    """

    def __init__(self, sources: Sequence[str], update: Update, *, shown: bool = True) -> None:
        self._sources, self._update, self._shown = sources, update, shown
        self._reading: dict[int, _Reading] = {}
        self._complete, self._seconds = 0, 0.0

    def read(self, position: int, seconds: float) -> None:
        """More seconds of the video at a position were read."""
        if not self._shown:
            return
        now = time.monotonic()
        reading = self._reading.setdefault(position, _Reading(now))
        reading.seconds += seconds
        self._seconds += seconds
        if reading.length_seconds is None and now - reading.begun >= _MOMENT_SECONDS:
            reading.length_seconds = declared_seconds(Path(self._sources[position])) or math.inf
        self._show()

    def finish(self, position: int) -> None:
        """The video at a position is complete, or failed."""
        self._reading.pop(position, None)
        self._complete += 1
        self._show()

    def _show(self) -> None:
        self._update(self._complete + sum(reading.share() for reading in self._reading.values()), self._seconds)
