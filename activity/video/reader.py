"""Video files to RGB frames with presentation times."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from activity.video.capture import HANGS_AFTER_SECONDS, VIDEO_SUFFIXES, Capture, Pixels, check_file
from activity.video.errors import VideoError, VideoWarning, unreadable
from activity.video.sampling import GridSampler, first_index_at_or_after

__all__ = [
    "VIDEO_SUFFIXES",
    "Frame",
    "SampledFrame",
    "VideoError",
    "VideoReader",
    "VideoWarning",
    "find_videos",
    "unreadable",
]


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture: RGB ``uint8 (H, W, 3)``, and when it appears, counted from the first frame."""

    pixels: Pixels
    time_seconds: float


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """The frame shown at ``index / sample_fps`` seconds: RGB ``uint8 (H, W, 3)``, and its own time."""

    index: int
    pixels: Pixels
    time_seconds: float


class VideoReader:
    """Reads a video file, from the beginning each time it is iterated, holding two frames at most.

    Times are the container's presentation times in seconds, counted from the first frame. A rotation that the
    file asks for is applied. The file is open only while an iteration runs, and `close`, the end of a
    ``with`` block or dropping the iterator closes it.

    Reading is given up after ``hang_seconds`` without a frame. What is assigned to ``on_frame`` is called after each
    frame that was decoded, whether it is given or not; what it raises ends the reading.

    Raises VideoError: on construction where there is no such file or nothing in it, on the first frame where
    it cannot be decoded. Warns with VideoWarning, after the last frame, where the file is damaged or ends
    early.

    >>> import tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp(), "holiday.avi")
    >>> writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for brightness in (0, 50, 100, 150):
    ...     _ = writer.write(np.full((48, 64, 3), brightness, np.uint8))
    >>> writer.release()
    >>> with VideoReader(path) as video:
    ...     [(frame.pixels.shape, round(frame.time_seconds, 3)) for frame in video]
    ...     [(shown.index, shown.time_seconds) for shown in video.sampled_frames(5)]
    [((48, 64, 3), 0.0), ((48, 64, 3), 0.1), ((48, 64, 3), 0.2), ((48, 64, 3), 0.3)]
    [(0, 0.0), (1, 0.2)]
    """

    def __init__(self, source: str | os.PathLike[str], *, hang_seconds: float = HANGS_AFTER_SECONDS) -> None:
        self.source = os.fspath(source)
        check_file(self.source)
        self.on_frame: Callable[[], None] = lambda: None
        self._hang_seconds = hang_seconds
        self._captures: set[Capture] = set()
        self._latest: Capture | None = None
        self._ended = False

    def __iter__(self) -> Iterator[Frame]:
        self._ended = False
        with self._capture() as capture:
            self._latest = capture
            while capture.grab():
                yield Frame(_rgb(capture.retrieve()), capture.time_seconds)
            self._ended = True
            capture.warn_of_damage()

    def sampled_frames(self, sample_fps: float, *, indices: range | None = None) -> Iterator[SampledFrame]:
        """Yield for each grid index k the frame shown at ``k / sample_fps`` seconds, in order.

        That is the last frame whose time is not later; where the video is slower than the grid, a frame is
        given several times (as the same array). Index 0 is always given, the last frame until
        `duration_seconds`. ``indices`` (step 1) restricts the grid, as `sampling.grid_range` makes it for a
        clip; decoding stops when it is past. Raises and warns as an iteration does.
        """
        wanted = range(sys.maxsize) if indices is None else indices
        if wanted.step != 1:
            raise ValueError(f"indices is {wanted}; it must be a range of step 1, as grid_range gives.")
        forecast = _Forecast(sample_fps, wanted)
        sampler = GridSampler(sample_fps=sample_fps)
        held = None  # the latest frame: how long it is shown is known when the next one comes
        self._ended = False
        with self._capture() as capture:
            self._latest = capture
            while capture.grab():
                shown = sampler.push(capture.time_seconds)
                if held is not None:
                    yield from self._shown(held, shown, forecast)
                if shown.stop >= wanted.stop:
                    return
                needed = forecast.is_needed(capture.time_seconds, shown.stop)
                held = _Held(capture.frames, capture.time_seconds, capture.retrieve() if needed else None)
            assert held is not None  # a capture without any frame raises
            yield from self._shown(held, sampler.finish(capture.duration_seconds), forecast)
            self._ended = True
            capture.warn_of_damage()

    @property
    def duration_seconds(self) -> float:
        """When the last frame that was read ends, if it lasts as long as the mean; 0 for fewer than two."""
        return 0.0 if self._latest is None else self._latest.duration_seconds

    @property
    def last_frame_seconds(self) -> float | None:
        """When the video's last frame begins, once it was read to its end; None before."""
        return self._latest.time_seconds if self._latest is not None and self._ended else None

    @property
    def damage(self) -> str | None:
        """What the VideoWarning said of the video that was read to its end, without its name; None for a good one."""
        return None if self._latest is None else self._latest.damage_said

    def close(self) -> None:
        """Close the file: an iteration under way cannot go on, a new one starts from the beginning."""
        for capture in tuple(self._captures):
            capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _capture(self) -> Iterator[Capture]:
        capture = Capture(self.source, on_frame=self.on_frame, hang_seconds=self._hang_seconds)
        self._captures.add(capture)
        try:
            yield capture
        finally:
            capture.release()
            self._captures.discard(capture)

    def _shown(self, held: "_Held", indices: range, forecast: "_Forecast") -> Iterator[SampledFrame]:
        shown = range(max(indices.start, forecast.wanted.start), min(indices.stop, forecast.wanted.stop))
        if not shown:
            return
        if held.bgr is None:
            # A longer gap than any before, and the frame is gone: decode up to it once more, and take no
            # chance again.
            forecast.failed = True
            with self._capture() as second:
                while second.frames < held.number:
                    if not second.grab():
                        reason = "its frames differ from one reading to the next"
                        raise VideoError(self.source, reason, "copy or export it again")
                held.bgr = second.retrieve()
        pixels = _rgb(held.bgr)
        for index in shown:
            yield SampledFrame(index, pixels, held.time_seconds)


def find_videos(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the videos in a folder and the folders in it, sorted; names that start with a dot are left out.

    A file is taken by its suffix, in any case (`VIDEO_SUFFIXES`); linked folders are followed, each once, but not
    to what the folder itself lies in.
    """
    if not Path(folder).is_dir():
        raise VideoError(os.fspath(folder), "there is no such folder", "give a folder that holds videos")
    found = []
    # A link to what the folder lies in leads back to it, and to its neighbours.
    above = {*Path(folder).absolute().parents, *Path(os.path.realpath(folder)).parents}
    visited = {os.path.realpath(path) for path in above}
    for path, folders, files in os.walk(folder, followlinks=True, onerror=_raise_unreadable):
        visited.add(os.path.realpath(path))
        folders[:] = [
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(path, name)) not in visited
        ]
        found += [
            Path(path, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES
        ]
    return sorted(found)


def _raise_unreadable(error: OSError) -> None:
    reason = f"the folder cannot be read ({error.strerror})"
    raise VideoError(str(error.filename), reason, "change its permissions, or take it out")


@dataclass
class _Held:
    number: int  # counted from 1
    time_seconds: float
    bgr: Pixels | None


@dataclass
class _Forecast:
    """Which frames to fetch from the decoder: that must be done before the next frame's time is known.

    Fetching and converting costs about as much as decoding, so a frame is fetched only where a wanted grid
    point comes before one and a half times the longest interval so far.
    """

    sample_fps: float
    wanted: range
    failed: bool = False
    _longest: float = field(default=0.0, init=False)
    _previous: float | None = field(default=None, init=False)

    def is_needed(self, time_seconds: float, first_index: int) -> bool:
        if self._previous is not None:
            self._longest = max(self._longest, time_seconds - self._previous)
        next_wanted = max(first_index, self.wanted.start)
        no_interval_yet, self._previous = self._previous is None, time_seconds
        if self.failed or no_interval_yet:
            return True
        return next_wanted < first_index_at_or_after(time_seconds + 1.5 * self._longest, self.sample_fps)


def _rgb(bgr: Pixels) -> Pixels:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
