"""Frames of a source as it plays: a camera, a stream, or a file; sampled on the time grid, and never late."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Never, Self

from activity.video.addresses import without_credentials
from activity.video.errors import HANGS, HANGS_AFTER_SECONDS, NO_FRAMES, VideoError, hanging
from activity.video.picture import Pixels
from activity.video.reader import SampledFrame, VideoReader, problem_of, sampled, warn_at_end
from activity.video.sampling import GridSampler, first_index_at_or_after
from activity.video.sources import Arrival, camera_arrivals, kind_of_source, open_url

_TICK_SECONDS = 0.1  # how soon `close` is seen
_GOODBYE_SECONDS = 1.0  # for the thread to end; one that waits for the network does not at once
_FIRST_WAIT_SECONDS = 1.0  # between tries; each is twice the one before
_NO_MORE = "it gives no more frames: the connection was closed, or the device is gone"
_MOST_EVENTS = 8  # kept for a reader that does not come; then the thread waits


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


class _Closed(Exception):  # noqa: N818 - no error: it ends a thread from within
    """Nobody reads the source any more, or it is over."""


@dataclass
class _Shown:
    """A picture, received `at`, and where on the grid it is shown; one that may be dropped gives way to the next."""

    indices: range
    pixels: Pixels
    at: float
    may_drop: bool


class LiveSource:
    """A source that plays: its sampled frames, as they are shown, and when it is lost and comes back. Iterated once.

    A thread reads every frame of the source and keeps the newest sampled frame only. If the reader is slower, sampled
    frames are dropped and counted, and those that are given stay on the time grid. Sampled frame k is the
    last one not later than ``k / sample_fps`` seconds after the first, as of `VideoReader.sampled_frames`. It is
    known, and given, when the next frame comes. Memory does not grow with time.

    The times of a camera or an endless stream are those of arrival. While it is away the grid goes on: indices are
    left out. Files and streams of a known length have times of their own, and end.

    Args:
        source: a camera's index ("0"), a device (/dev/video0), a URL, or a file.
        sample_fps: sampled frames a second.
        realtime: play files, and streams of a known length, at their own speed; else they come as fast as they are
            taken and none is dropped.
        stall_seconds: a source that gives no frame for so long is lost.
        most_wait_seconds: waits between tries to have it back grow from 1 s to this.
        give_up_seconds: a source that is away for longer is given up; never where it is None.

    Raises:
        VideoError: here for a URL or file that is none, in the iteration for a source that cannot be opened or gives
            no frame from the start, one that was given up, or one in which decoding hangs.

    >>> import cv2, tempfile, numpy as np
    >>> path = tempfile.mkdtemp() + "/holiday.avi"
    >>> writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for brightness in (0, 50, 100, 150):
    ...     _ = writer.write(np.full((48, 64, 3), brightness, np.uint8))
    >>> writer.release()
    >>> with LiveSource(path, sample_fps=5, realtime=False) as source:
    ...     [(frame.index, frame.pixels.shape) for frame in source]
    [(0, (48, 64, 3)), (1, (48, 64, 3))]
    """

    def __init__(
        self,
        source: str,
        *,
        sample_fps: float,
        realtime: bool,
        stall_seconds: float = 10.0,
        most_wait_seconds: float = 30.0,
        give_up_seconds: float | None = None,
    ) -> None:
        first_index_at_or_after(0.0, sample_fps)  # refuses a rate that makes no grid
        if not (stall_seconds > 0 and most_wait_seconds > 0):
            waits = f"stall_seconds is {stall_seconds} and most_wait_seconds {most_wait_seconds}"
            raise ValueError(f"{waits}: must be > 0.")
        self.name = without_credentials(source)
        self.frames = 0  # received so far; one that is decoded once more counts again
        self._source, self._kind = source, kind_of_source(source)
        self._sample_fps, self._realtime = sample_fps, realtime
        self._stall_seconds, self._most_wait_seconds = stall_seconds, most_wait_seconds
        self._give_up_seconds = give_up_seconds
        self._latest = LatestFrame(self._heartbeat)
        self._heartbeats = 0
        self._closed = self._iterated = False
        self._sampler = GridSampler(sample_fps=sample_fps)  # of frames as they arrive
        self._next_index = 0  # of frames with times of their own
        self._attempt = 0  # tries since the last frame
        self._first_at = self._last_at = 0.0  # when frames came, by the monotonic clock; 0: none yet

    @property
    def dropped(self) -> int:
        """Sampled frames that were dropped so far, because the reader was too slow."""
        return self._latest.dropped

    def close(self) -> None:
        """End the iteration soon. May be called from any thread and from a signal handler: it waits for nothing."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[LiveFrame | SourceLost | SourceBack]:
        if self._iterated:
            raise ValueError(f"{self.name} was iterated before; make a new LiveSource.")
        self._iterated = True
        thread = threading.Thread(target=self._work, daemon=True)  # one that hangs must not keep the program running
        thread.start()
        # To open and to read end by themselves before that.
        hang_seconds = max(HANGS_AFTER_SECONDS, 3 * self._stall_seconds)
        silent_seconds, heartbeats = 0.0, 0
        try:
            while not self._closed:
                item = self._latest.take(timeout=_TICK_SECONDS)
                if isinstance(item, _Closed):
                    return
                if isinstance(item, BaseException):
                    raise item
                if item is not None:
                    yield item
                is_silent = item is None and heartbeats == self._heartbeats
                silent_seconds, heartbeats = silent_seconds + _TICK_SECONDS if is_silent else 0.0, self._heartbeats
                if silent_seconds > hang_seconds:
                    raise hanging(self.name, hang_seconds)
        finally:
            self._closed = True
            thread.join(_GOODBYE_SECONDS)

    # What follows runs in the thread. It alone opens, reads and closes the source: FFmpeg bears nothing else.

    def _work(self) -> None:
        end: BaseException = _Closed()
        try:
            with closing(self._play()) as items:
                for item in items:
                    self._latest.put(item)
        except BaseException as error:  # noqa: BLE001 - carried to the reader, who raises it
            end = error
        with suppress(_Closed):
            self._latest.put(end)

    def _heartbeat(self) -> None:
        """Say that the thread is alive; ends it where the source was closed."""
        self._heartbeats += 1
        if self._closed:
            raise _Closed

    def _on_frame(self) -> None:
        self.frames += 1
        self._heartbeat()

    def _play(self) -> Generator[_Shown | SourceLost | SourceBack, None, None]:
        """Give all until the source ends, if ever; VideoError where it cannot be opened or is given up."""
        if self._kind == "file":
            with VideoReader(self._source) as reader:
                reader.on_frame = self._on_frame
                yield from self._timed(reader.sampled_frames(self._sample_fps))
            return
        while True:
            try:
                yield from self._connection()
                return
            except VideoError as error:
                if not self._last_at:
                    raise
                reason, away = error.reason, time.monotonic() - self._last_at
            wait = min(_FIRST_WAIT_SECONDS * 2.0 ** min(self._attempt, 30), self._most_wait_seconds)
            if (give_up := self._give_up_seconds) is not None:
                if away >= give_up:
                    raise self._error(f"it gave no frame for {away:.0f} s and is given up: {reason}")
                wait = min(wait, give_up - away)
            self._attempt += 1
            yield SourceLost(reason, wait, self._attempt)
            self._wait_until(time.monotonic() + wait)

    def _connection(self) -> Iterator[_Shown | SourceBack]:
        """Give the frames of a new connection; VideoError says why there are no more, where the stream is not over."""
        self._heartbeat()
        source, on_frame, stall_seconds = self._source, self._on_frame, self._stall_seconds
        try:
            if self._kind == "camera":
                yield from self._arriving(camera_arrivals(source, on_frame=on_frame, stall_seconds=stall_seconds))
            with closing(open_url(source, on_frame=on_frame, stall_seconds=stall_seconds)) as decoding:
                if decoding.is_live:
                    arrivals = ((picture.time_seconds, partial(decoding.rgb, picture)) for picture in decoding)
                    yield from self._arriving(arrivals)
                begin = self._next_index
                yield from self._timed(sampled(decoding, self._sample_fps, range(begin, sys.maxsize)))
                damage = decoding.damage()
                # It may be shorter than it says: then it is read once more, and gives nothing new.
                if damage is not None and damage.ends_early and self._next_index > begin:
                    raise self._error(_NO_MORE)
                warn_at_end(decoding, problem_of(decoding))
        except VideoError as error:
            if error.reason.startswith(HANGS):
                raise self._error(f"there was no frame for {stall_seconds:g} s") from None
            if error.reason == NO_FRAMES:
                raise self._error("it gives no frame") from None
            raise

    def _timed(self, frames: Iterator[SampledFrame]) -> Iterator[_Shown | SourceBack]:
        """Give frames with times of their own: at their own speed, or as fast as they are taken."""
        zero_at: float | None = None  # when time 0 is
        for frame in frames:
            seconds, now = frame.index / self._sample_fps, time.monotonic()
            if self._realtime:
                zero_at = now - seconds if zero_at is None else zero_at
                self._wait_until(zero_at + seconds)
                now = time.monotonic()
            yield from self._came(frame.index, now)
            self._next_index = frame.index + 1
            yield _Shown(range(frame.index, frame.index + 1), frame.pixels, now, may_drop=self._realtime)

    def _arriving(self, arrivals: Iterator[Arrival]) -> Generator[_Shown | SourceBack, None, Never]:
        """Give frames on the grid of their arrival; VideoError at their end, which is no end of the stream."""
        end, frames, begun_at = self._error(_NO_MORE), 0, 0.0
        latest: Arrival | None = None  # how long it is shown is known when the next one comes
        try:
            for at, rgb in arrivals:
                self._first_at = self._first_at or at
                indices = self._sampler.push(at - self._first_at)
                yield from self._came(indices.stop, at)
                if latest is not None and indices:
                    yield _Shown(indices, latest[1](), latest[0], may_drop=True)
                frames, begun_at, latest = frames + 1, begun_at or at, (at, rgb)
        except VideoError as error:
            end = error
        if latest is not None:
            interval = (self._last_at - begun_at) / max(1, frames - 1)
            if indices := self._sampler.finish(self._last_at + interval - self._first_at):
                yield _Shown(indices, latest[1](), latest[0], may_drop=False)  # now there is time
        raise end

    def _came(self, index: int, at: float) -> Iterator[SourceBack]:
        """Note that a frame came: the first one after the source was lost, where there were tries."""
        if self._attempt:
            yield SourceBack(index, at - self._last_at)
        self._attempt, self._last_at = 0, at

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._heartbeat()
            time.sleep(min(left, _TICK_SECONDS))

    def _error(self, reason: str) -> VideoError:
        return VideoError(self.name, reason, "check that it is on and reachable, and start again")


class LatestFrame:
    """Between a thread and its reader: events in order, and of sampled frames those of one picture, the newest.

    Args:
        heartbeat: called by the thread while it waits here; what it raises ends the waiting.
    """

    def __init__(self, heartbeat: Callable[[], None]) -> None:
        self.dropped = 0
        self._heartbeat = heartbeat
        self._missed = 0
        self._items: deque[_Shown | SourceLost | SourceBack | BaseException] = deque()
        self._changed = threading.Condition()

    def put(self, item: _Shown | SourceLost | SourceBack | BaseException) -> None:
        """Add what comes next. A picture that may be dropped replaces the one before; else there is a wait for room."""
        may_drop = isinstance(item, _Shown) and item.may_drop
        most = 1 if isinstance(item, _Shown) and not may_drop else _MOST_EVENTS
        with self._changed:
            if may_drop and self._items and isinstance(before := self._items[-1], _Shown):
                self._missed += len(before.indices)
                self.dropped += len(before.indices)
                self._items.pop()
            while len(self._items) >= most:
                self._heartbeat()
                self._changed.wait(_TICK_SECONDS)
            self._items.append(item)
            self._changed.notify_all()

    def take(self, *, timeout: float) -> LiveFrame | SourceLost | SourceBack | BaseException | None:
        """Return what comes next, or None where there is nothing within `timeout` seconds."""
        with self._changed:
            if not self._items:
                self._changed.wait(timeout)
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
