"""From scores of windows to scores of sampled frames, as the windows come.

A window says most of the moment in its middle, so its scores stand there, and between two middles scores are
interpolated; before the first and after the last they stay as they are. Windows of four that begin every two frames::

    frame         0    1    2    3    4    5    6    7
    windows       |------A-------|
                            |------B-------|
                                      |------C-------|
    middle                A         B         C              at 1.5, 3.5, 5.5
    frame scores  A    A   3A+B A+3B 3B+C B+3C  C    C       (the sums divided by four)

So a border between two activities is found where half of a window is of either, whatever the stride, and a frame's
scores are known half a window and a stride later.
"""

import math
from collections import deque

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


class FrameScores:
    """Scores of sampled frames, from those of the windows over them.

    Args:
        window_frames: sampled frames a window.

    >>> frames = FrameScores(window_frames=4)
    >>> frames.push(0, np.array([1.0, 0.0])).tolist()  # A: the frames up to its middle
    [[1.0, 0.0], [1.0, 0.0]]
    >>> frames.push(2, np.array([0.0, 1.0])).tolist()  # B
    [[0.75, 0.25], [0.25, 0.75]]
    >>> frames.finish(6).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """

    def __init__(self, *, window_frames: int) -> None:
        self._window_frames = window_frames
        self._given = 0
        self._before: tuple[float, Scores] | None = None

    def push(self, start: int, scores: Scores, *, frames_in_all: int | None = None) -> Scores:
        """Take the scores `(C,)` of the window that begins at frame `start`; those of the frames `(n, C)` now known.

        `frames_in_all`: how many there are, where that is known: the window may be padded.
        """
        end = start + self._window_frames
        middle = (start + (end if frames_in_all is None else min(end, frames_in_all)) - 1) / 2
        before, self._before = self._before, (middle, scores)
        frames = np.arange(self._given, math.floor(middle) + 1)
        self._given += len(frames)
        if before is None:
            return np.repeat(scores[None], len(frames), axis=0)
        share = ((frames - before[0]) / (middle - before[0]))[:, None]
        return before[1] * (1 - share) + scores * share

    def finish(self, frames: int) -> Scores:
        """Scores of the frames that are left, of `frames` in all; at least one window was pushed."""
        assert self._before is not None, "a stream with a frame has a window"
        left = np.repeat(self._before[1][None], max(0, frames - self._given), axis=0)
        self._given = max(self._given, frames)
        return left


class MovingMean:
    """The mean over a frame and `reach` frames on either side, as far as there are any.

    >>> mean = MovingMean(reach=1)
    >>> [mean.push(np.array([value])).tolist() for value in (0.0, 3.0, 6.0)], mean.finish().tolist()
    ([[], [[1.5]], [[3.0]]], [[4.5]])
    """

    def __init__(self, *, reach: int) -> None:
        self._reach = reach
        self._recent: deque[Scores] = deque(maxlen=2 * reach + 1)
        self._pushed = 0
        self._given = 0

    def push(self, scores: Scores) -> Scores:
        """Take the scores `(C,)` of the next frame; those `(0 or 1, C)` of the frame that can be told now."""
        self._recent.append(scores)
        self._pushed += 1
        return self._tell(self._pushed - self._reach, len(scores))

    def finish(self) -> Scores:
        """Those of the frames that are left."""
        return self._tell(self._pushed, len(self._recent[0]) if self._recent else 0)

    def _tell(self, end: int, classes: int) -> Scores:
        told = [self._mean(frame) for frame in range(self._given, end)]
        self._given += len(told)
        return np.stack(told) if told else np.empty((0, classes))

    def _mean(self, frame: int) -> Scores:
        first = self._pushed - len(self._recent)  # the frame that `_recent` begins with
        rows = range(max(0, frame - self._reach) - first, min(self._pushed, frame + self._reach + 1) - first)
        mean: Scores = np.mean([self._recent[row] for row in rows], axis=0)
        return mean
