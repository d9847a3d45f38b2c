"""What a thread that takes frames from a source has for whoever reads them: events in order, and the newest frame."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from activity.video.picture import Pixels

_MOST_EVENTS = 8  # held for a reader that does not come; then the thread waits


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """One sampled frame of a live source.

    Attributes:
        index: of the time grid: it is shown at ``index / sample_fps`` seconds after the source's first frame.
        pixels: RGB ``uint8 (H, W, 3)``; the same array where a slow source shows a frame several times.
        shown_at: `time.monotonic` when the frame was received.
        missed: sampled frames since the previous LiveFrame that were dropped, because the reader was too slow.
    """

    index: int
    pixels: Pixels
    shown_at: float
    missed: int


@dataclass(frozen=True)
class SourceLost:
    """The source gave no frame any more.

    Attributes:
        reason: why, as far as it is known; no credentials are in it.
        retry_seconds: it is tried again after that.
        attempt: which try since its last frame that will be, from 1.
    """

    reason: str
    retry_seconds: float
    attempt: int


@dataclass(frozen=True)
class SourceBack:
    """The source gives frames again.

    Attributes:
        index: the first of the time grid at which one of them can be shown.
        away_seconds: from its last frame to this one.
    """

    index: int
    away_seconds: float


@dataclass(frozen=True)
class End:
    """Nothing more comes; `error` is to be raised."""

    error: BaseException | None = None


class Closed(Exception):  # noqa: N818 - no error: it ends a thread from within
    """Nobody reads the source any more."""


@dataclass
class _Shown:
    indices: range
    pixels: Pixels
    at: float


class Outbox:
    """Between a thread and its reader. Of sampled frames it holds those of one picture, the newest.

    Args:
        lives: called by the thread while it waits here; what it raises ends the waiting.
        tick_seconds: how often.
    """

    def __init__(self, lives: Callable[[], None], *, tick_seconds: float) -> None:
        self.dropped = 0
        self._lives = lives
        self._tick_seconds = tick_seconds
        self._missed = 0
        self._items: deque[_Shown | SourceLost | SourceBack | End] = deque()
        self._changed = threading.Condition()

    def show(self, indices: range, pixels: Pixels, at: float, *, drop: bool) -> None:
        """Have a picture shown at these grid indices, received `at`.

        What is left of the one before is dropped, or waited for until it was taken.
        """
        if not indices:
            return
        with self._changed:
            if not drop:
                self._wait_until(lambda: not self._items)
            elif self._items and isinstance(before := self._items[-1], _Shown):
                self._missed += len(before.indices)
                self.dropped += len(before.indices)
                self._items.pop()
            self._items.append(_Shown(indices, pixels, at))
            self._changed.notify_all()

    def put(self, event: SourceLost | SourceBack | End) -> None:
        """Say what comes after the frames so far."""
        with self._changed:
            self._wait_until(lambda: len(self._items) < _MOST_EVENTS)
            self._items.append(event)
            self._changed.notify_all()

    def take(self, *, timeout: float) -> LiveFrame | SourceLost | SourceBack | End | None:
        """What comes next, or None where there is nothing within `timeout` seconds."""
        with self._changed:
            if not self._items and not self._changed.wait(timeout):
                return None
            if not self._items:
                return None
            item = self._items[0]
            if not isinstance(item, _Shown) or len(item.indices) == 1:
                self._items.popleft()
                self._changed.notify_all()
            if not isinstance(item, _Shown):
                return item
            frame = LiveFrame(item.indices[0], item.pixels, item.at, self._missed)
            item.indices, self._missed = item.indices[1:], 0
            return frame

    def _wait_until(self, there_is_room: Callable[[], bool]) -> None:
        while not there_is_room():
            self._lives()
            self._changed.wait(self._tick_seconds)
