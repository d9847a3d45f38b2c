"""The time grid, and the windows that the LSTM reads: pure functions.

The grid is absolute: point k stands at ``k / sample_fps`` seconds, and time 0 is the start of the container. A frame is
shown from its own time until the next frame's, the first one from 0. At 25 frames/s and ``sample_fps=10``::

    frame     0    1    2    3    4    5    6      at 0.00, 0.04, 0.08, ... seconds
    grid      0            1         2             at 0.00, 0.10, 0.20 seconds
    shown     0         2            5             the last frame that is not later than the grid point

A window starts every half window; the last one is aligned to the end. Seven features, windows of four::

    features  a b c d e f g
    windows   a b c d
                  c d e f
                    d e f g
"""

import math

TIME_TOLERANCE_SECONDS = 0.001_001
"""A grid point this little before a frame's time shows that frame.

Matroska rounds times to a millisecond. The microsecond keeps rounding of floats from deciding where a frame
is a whole millisecond late, as the thirtieth is at 29.97 frames/s.
"""


def first_index_at_or_after(time_seconds: float, sample_fps: float) -> int:
    """Return the first grid index that shows a frame of ``time_seconds``.

    A frame shown over ``[start, end)`` therefore has the indices
    ``range(first_index_at_or_after(start, fps), first_index_at_or_after(end, fps))``: frames that adjoin
    share no index and leave none out. Times before 0 count as 0.

    >>> first_index_at_or_after(0.08, sample_fps=10), first_index_at_or_after(0.12, sample_fps=10)
    (1, 2)
    >>> first_index_at_or_after(0.334, sample_fps=3)  # a third of a second, as Matroska may store it
    1
    """
    if not (math.isfinite(sample_fps) and sample_fps > 0):
        raise ValueError(f"sample_fps is {sample_fps}; it must be a number above 0: grid points in a second.")
    # The division rounds, so its result is only near: the comparison below is the rule.
    index = max(0, math.floor((time_seconds - TIME_TOLERANCE_SECONDS) * sample_fps) - 1)
    while index / sample_fps + TIME_TOLERANCE_SECONDS < time_seconds:
        index += 1
    return index


def grid_range(start_seconds: float, end_seconds: float, sample_fps: float) -> range:
    """Return the indices k with ``start_seconds <= k / sample_fps < end_seconds``.

    Spans that adjoin share no index. A span that lies between two grid points has none.

    >>> grid_range(0.0, 1.0, sample_fps=4)
    range(0, 4)
    >>> grid_range(0.3, 1.0, sample_fps=4)
    range(2, 4)
    """
    if not end_seconds >= start_seconds:
        raise ValueError(f"A span from {start_seconds} to {end_seconds} s ends before it starts; swap the two.")
    return range(first_index_at_or_after(start_seconds, sample_fps), first_index_at_or_after(end_seconds, sample_fps))


class GridSampler:
    """Tells at which grid points each frame of a stream is shown.

    That is known when the next frame comes, or the stream ends.

    >>> sampler = GridSampler(sample_fps=10)
    >>> [list(sampler.push(time)) for time in (0.0, 0.04, 0.08, 0.12, 0.36)], list(sampler.finish(0.4))
    ([[], [0], [], [1], [2, 3]], [])
    """

    def __init__(self, *, sample_fps: float) -> None:
        self._sample_fps = sample_fps
        self._next = 0
        self._begun = False

    def push(self, time_seconds: float) -> range:
        """Take the next frame's time; return the indices of the frame before."""
        if not self._begun:
            self._begun = True
            return range(0)
        first = self._next
        if time_seconds > first / self._sample_fps + TIME_TOLERANCE_SECONDS:  # most frames come before the next point
            self._next = first_index_at_or_after(time_seconds, self._sample_fps)
        return range(first, self._next)

    def finish(self, end_seconds: float) -> range:
        """Return the indices of the last frame; a video has index 0 at least."""
        if not self._begun:
            return range(0)
        first, self._next = self._next, max(self._next, 1, first_index_at_or_after(end_seconds, self._sample_fps))
        return range(first, self._next)


def window_starts(num_features: int, window_frames: int) -> list[int]:
    """Return where the windows start whose scores are averaged for a clip.

    A clip that is shorter than a window gets one, which is padded. Raises ValueError for a clip without
    features.

    >>> window_starts(7, window_frames=4)
    [0, 2, 3]
    >>> window_starts(8, window_frames=4)
    [0, 2, 4]
    >>> window_starts(3, window_frames=4)
    [0]
    """
    starts = list(windows_completed(0, num_features, window_frames))
    tail = tail_window(num_features, window_frames)
    return starts if tail is None else [*starts, tail]


def windows_completed(before: int, after: int, window_frames: int, *, stride: int | None = None) -> range:
    """Return the starts of windows completed between ``before`` and ``after`` features.

    With `tail_window` at the end of the stream these are the windows of `window_starts`. Whoever grows the
    stream by n features at a time needs to keep the last ``window_frames - 1 + n``. ``stride`` is the distance
    of the windows, half a window by default.

    >>> [list(windows_completed(n, n + 1, window_frames=4)) for n in range(7)]
    [[], [], [], [0], [], [2], []]
    """
    step = _stride(window_frames, stride)
    first, end = (_num_complete(count, window_frames, step) for count in (before, after))
    return range(first * step, end * step, step)


def tail_window(num_features: int, window_frames: int, *, stride: int | None = None) -> int | None:
    """Return the start of the window aligned to the end, or None.

    None if the end completes a window anyway. It is 0, and the window padded, if the stream is shorter than a window.
    ``stride`` as above.

    >>> tail_window(7, window_frames=4), tail_window(8, window_frames=4), tail_window(3, window_frames=4)
    (3, None, 0)
    """
    if num_features < 1:
        raise ValueError(f"{num_features} features make no window; at least one sampled frame is needed.")
    if num_features < window_frames:
        return 0
    start = num_features - window_frames
    return None if start % _stride(window_frames, stride) == 0 else start


def _num_complete(num_features: int, window_frames: int, stride: int) -> int:
    if num_features < window_frames:
        return 0
    return (num_features - window_frames) // stride + 1


def _stride(window_frames: int, stride: int | None) -> int:
    if window_frames < 1:
        raise ValueError(f"window_frames is {window_frames}; a window has at least 1 frame.")
    if stride is None:
        return max(1, window_frames // 2)
    if not 1 <= stride <= window_frames:
        raise ValueError(f"stride is {stride}; accepted: 1 to window_frames, which is {window_frames}.")
    return stride
