"""When frames are shown, from what a container says of them."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Frame = TypeVar("Frame")

MOST_GAP_SECONDS = 600.0
"""From one frame to the next. After a longer gap the clock goes on at once, or repeats would fill it for ever."""
MOST_GAP_IN_STREAM_SECONDS = 10.0
"""The same in transport and program streams, whose clock may start again anywhere (FFmpeg's dts_delta_threshold)."""

_DEFAULT_INTERVAL_SECONDS = 1 / 25
# Frames that step back by no more than this are shown late by an encoder; a clock that starts again goes back further.
_MOST_INTERVALS_BACK = 2.5
_LATE_INTERVALS = 1.5  # a frame that comes later than this may have a wrong time
_LEAST_STEP = 0.25  # of an interval, where frames put between others have come too far
_ROUNDING_SECONDS = 0.0015  # a container's milliseconds
_LATE_SOUND_SECONDS = 2.0  # it may begin so much after the picture, or be stored so much after it


@dataclass(slots=True)
class Stamped(Generic[Frame]):
    """A frame and what its container says of it.

    Attributes:
        frame: whatever is decoded of it.
        seconds: when it is shown; None if the container does not say.
        duration_seconds: how long it is shown; 0 if the container does not say.
        follows_pause: the gap before it is real, however long, because the sound goes on.
    """

    frame: Frame
    seconds: float | None
    duration_seconds: float
    follows_pause: bool = False


class Sound:
    """Tells whether a video's sound goes on through a gap between frames."""

    def __init__(self, *, most_gap_seconds: float) -> None:
        self._most_gap = most_gap_seconds
        self._runs: dict[int, tuple[float, float]] = {}  # by stream, from when to when there is no gap or jump

    def add(self, stream_index: int, seconds: float) -> None:
        """Take the time of a stream's next packet."""
        start, end = self._runs.get(stream_index, (seconds, seconds))
        self._runs[stream_index] = (start if abs(seconds - end) <= self._most_gap else seconds, seconds)

    def spans(self, start_seconds: float, end_seconds: float) -> bool:
        """Whether sound goes on from about the start to about the end."""
        end_seconds -= _LATE_SOUND_SECONDS
        start_seconds += _LATE_SOUND_SECONDS
        return any(start <= start_seconds and end_seconds <= end for start, end in self._runs.values())


class Clock:
    """Makes the times of a video's frames rise.

    Where the container's times rise, they stay. One frame whose time is wrong (repeated, early, late) is put between
    its neighbours. A clock that starts again, or jumps ahead by more than ``most_gap_seconds``, is shifted once: the
    next frame follows at once::

        container   0.00  0.04  0.08  0.08  0.16  |  5.00  5.04  (most_gap_seconds=2)
        shown       0.00  0.04  0.08  0.12  0.16  |  0.20  0.24
    """

    def __init__(self, *, most_gap_seconds: float = MOST_GAP_SECONDS) -> None:
        self.jumps: list[float] = []
        """When the clock was shifted, in seconds as shown."""
        self._most_gap = most_gap_seconds
        self._shift = 0.0
        self._before = 0.0  # the container's time of the frame before, or what it should have been
        self._shown = 0.0  # when that frame is shown
        self._interval = _DEFAULT_INTERVAL_SECONDS
        self._steps: deque[float] = deque(maxlen=3)  # the latest, from frame to frame
        self._had_frame = False

    def times(self, frames: Iterable[Stamped[Frame]]) -> Iterator[tuple[Frame, float]]:
        """Give each frame its time.

        A frame waits for the next one, whose time shows which of them is wrong.

        >>> frames = [Stamped(name, seconds, 0.04) for name, seconds in zip("abcd", (0.0, 0.04, 0.04, 0.12))]
        >>> [(name, round(seconds, 3)) for name, seconds in Clock().times(frames)]
        [('a', 0.0), ('b', 0.04), ('c', 0.08), ('d', 0.12)]
        """
        waiting: Stamped[Frame] | None = None
        for stamped in frames:
            if waiting is not None:
                yield waiting.frame, self._place(waiting, stamped.seconds)
            waiting = stamped
        if waiting is not None:
            yield waiting.frame, self._place(waiting, None)

    def _place(self, frame: Stamped[Frame], following: float | None) -> float:
        if 0 < frame.duration_seconds <= self._most_gap:
            self._interval = frame.duration_seconds
        if not self._had_frame:
            return self._begin(frame.seconds or 0.0, following)
        seconds = self._before + self._interval if frame.seconds is None else frame.seconds
        step = seconds - self._before
        next_step = None if following is None else following - self._before
        if next_step is not None and self._is_wrong_alone(step, next_step):
            seconds = self._before + min(self._interval, next_step / 2)
        elif step <= 0 and -step <= _MOST_INTERVALS_BACK * self._interval:
            return self._show(self._shown + self._interval)  # `_before` stays: its times are taken up where they rise
        elif step <= 0 or (step > self._most_gap and not frame.follows_pause):
            self._shift = self._shown + self._interval - seconds
            self.jumps.append(self._shown + self._interval)
        elif frame.duration_seconds <= 0:
            self._steps.append(step)
            self._interval = sorted(self._steps)[(len(self._steps) - 1) // 2]  # one of them may be a pause
        self._before = seconds
        shown = seconds + self._shift
        return self._show(shown if shown > self._shown else self._shown + _LEAST_STEP * self._interval)

    def _begin(self, seconds: float, following: float | None) -> float:
        if following is not None and following <= seconds - self._interval:
            seconds = min(seconds, max(0.0, following - self._interval))  # the first frame alone is late
        self._had_frame, self._before = True, seconds
        return self._show(seconds)

    def _is_wrong_alone(self, step: float, next_step: float) -> bool:
        """Whether the next frame goes on from the one before this."""
        if not 0 < next_step <= self._most_gap:
            return False
        if 0 < step <= self._most_gap:
            return next_step < step - _ROUNDING_SECONDS and step > _LATE_INTERVALS * self._interval
        return True

    def _show(self, seconds: float) -> float:
        self._shown = round(seconds, 9)  # sums of intervals are off by less
        return self._shown
