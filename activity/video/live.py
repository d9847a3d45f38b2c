"""Frames of a source as it plays: a camera, a stream, or a file; sampled on the time grid, and never late."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Never, Self

from activity.video.addresses import without_credentials
from activity.video.decoding import Decoding
from activity.video.errors import HANGS, HANGS_AFTER_SECONDS, NO_FRAMES, VideoError, hanging
from activity.video.picture import Pixels
from activity.video.reader import SampledFrame, VideoReader, sampled, warn_at_end
from activity.video.sampling import GridSampler, first_index_at_or_after
from activity.video.sources import Arrival, camera_arrivals, kind_of_source, open_url

_TICK_SECONDS = 0.1  # how soon `close` is seen
_GOODBYE_SECONDS = 1.0  # for the thread to end; one that waits for the network does not at once
_FIRST_WAIT_SECONDS = 1.0  # between tries; each is twice the one before
_MOST_EVENTS = 8  # kept for a reader that does not come; then the thread waits
_NO_MORE = "it gives no more frames: the connection was closed, or the device is gone"


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """One sampled frame of a live source, shown at ``index / sample_fps`` seconds after the source's first frame."""

    index: int
    pixels: Pixels  # RGB uint8 (H, W, 3); the same array where a slow source shows a frame several times
    shown_at: float  # `time.monotonic` when the frame was received
    missed: int  # sampled frames since the previous LiveFrame that were dropped, because the reader was too slow


@dataclass(frozen=True)
class SourceLost:
    """The source gave no frame any more, and is tried again."""

    reason: str  # as far as it is known; no credentials are in it
    retry_seconds: float  # until it is tried again
    attempt: int  # which try since its last frame that will be, from 1


@dataclass(frozen=True)
class SourceBack:
    """The source gives frames again."""

    index: int  # the first of the time grid at which one of them can be shown
    away_seconds: float  # from its last frame to this one


class _Closed(Exception):  # noqa: N818 - no error: it ends the thread, or the iteration, from within
    """Nobody reads the source any more, or it is over."""


class LiveSource:
    """The sampled frames of a source as it plays, and when it is lost and comes back. Iterated once.

    A thread reads every frame and keeps the newest sampled frame only. If the reader is slower, sampled frames are
    dropped and counted; those that are given stay on the time grid. Sampled frame k is the last one not later than
    ``k / sample_fps`` seconds after the first. It is known, and given, when the next frame comes.

    The times of a camera or an endless stream are those of arrival. While it is away the grid goes on: indices are
    left out. Files and streams of a known length have times of their own, and end.

    Args:
        source: a camera's index ("0"), a device (/dev/video0), a URL, or a file.
        sample_fps: sampled frames a second.
        realtime: play what has a length at its own speed; else it comes as fast as it is taken, and none is dropped.
        square_pixels: resize frames so that their pixels are as wide as high.
        stall_seconds: a source that gives no frame for so long is lost.
        most_wait_seconds: waits between tries to have it back grow from 1 s to this.
        give_up_seconds: a source that is away for longer is given up; never where it is None.

    Raises:
        VideoError: here for a URL or file that is none; in the iteration for a source that cannot be opened, gives no
            frame from the start, was given up, or hangs.

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
        square_pixels: bool = False,
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
        self._sample_fps, self._realtime, self._stall_seconds = sample_fps, realtime, stall_seconds
        self._most_wait_seconds, self._give_up_seconds = most_wait_seconds, give_up_seconds
        self._square_pixels = square_pixels
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

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[LiveFrame | SourceLost | SourceBack]:
        if self._iterated:
            raise ValueError(f"{self.name} was iterated before; make a new LiveSource.")
        self._iterated = True
        thread = threading.Thread(target=self._work, daemon=True)  # one that hangs must not keep the program running
        thread.start()
        hang_seconds = max(HANGS_AFTER_SECONDS, 3 * self._stall_seconds)  # opening and reading end before that
        silent_seconds, heartbeats = 0.0, 0
        try:
            while not self._closed:
                item = self._latest.take(timeout=_TICK_SECONDS)
                if isinstance(item, BaseException):
                    raise item
                if item is not None:
                    yield item
                is_silent = item is None and heartbeats == self._heartbeats
                silent_seconds, heartbeats = silent_seconds + _TICK_SECONDS if is_silent else 0.0, self._heartbeats
                if silent_seconds > hang_seconds:
                    raise hanging(self.name, hang_seconds)
        except _Closed:
            return
        finally:
            self._closed = True
            thread.join(_GOODBYE_SECONDS)

    def _work(self) -> None:
        """In the thread, as all that follows: it alone opens, reads and closes the source. FFmpeg bears no other."""
        end: BaseException = _Closed()
        try:
            self._play()
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

    def _play(self) -> None:
        """Go on until the source ends, if ever; VideoError where it cannot be opened or is given up."""
        if self._kind == "file":
            with VideoReader(self._source, square_pixels=self._square_pixels) as reader:
                reader.on_frame = self._on_frame
                self._show(reader.sampled_frames(self._sample_fps))
            return
        while True:
            try:
                self._connect()
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
            self._latest.put(SourceLost(reason, wait, self._attempt))
            self._wait_until(time.monotonic() + wait)

    def _connect(self) -> None:
        """Go through a new connection; VideoError says why there are no more frames, where the stream is not over."""
        self._heartbeat()
        stall_seconds = self._stall_seconds
        try:
            if self._kind == "camera":  # neither it nor a live stream ends but with an error
                self._arrive(camera_arrivals(self._source, on_frame=self._on_frame, stall_seconds=stall_seconds))
            with closing(
                open_url(
                    self._source,
                    square_pixels=self._square_pixels,
                    on_frame=self._on_frame,
                    stall_seconds=stall_seconds,
                )
            ) as decoding:
                if decoding.is_live:
                    self._arrive((picture.time_seconds, partial(decoding.rgb, picture)) for picture in decoding)
                self._go_on(decoding)
        except VideoError as error:
            if error.reason.startswith(HANGS):
                raise self._error(f"there was no frame for {stall_seconds:g} s") from None
            if error.reason == NO_FRAMES:
                raise self._error("it gives no frame") from None
            raise

    def _arrive(self, arrivals: Iterator[Arrival]) -> Never:
        """Show frames on the grid of their arrival; raises VideoError at their end: the stream goes on."""
        end, frames, begun_at = self._error(_NO_MORE), 0, 0.0
        latest: Arrival | None = None  # how long it is shown is known when the next one comes
        try:
            for at, rgb in arrivals:
                self._first_at = self._first_at or at
                indices = self._sampler.push(at - self._first_at)
                self._came(indices.stop, at)
                if latest is not None and indices:
                    self._latest.show(indices, latest[1](), latest[0], drop=True)
                frames, begun_at, latest = frames + 1, begun_at or at, (at, rgb)
        except VideoError as error:
            end = error
        if latest is not None:
            interval = (self._last_at - begun_at) / max(1, frames - 1)
            if indices := self._sampler.finish(self._last_at + interval - self._first_at):
                self._latest.show(indices, latest[1](), latest[0], drop=False)  # now there is time
        raise end

    def _go_on(self, decoding: Decoding) -> None:
        """Show the frames of a stream with times of its own from where it was lost; VideoError where it ends early."""
        begin = self._next_index
        self._show(sampled(decoding, self._sample_fps, [range(begin, sys.maxsize)]))
        damage = decoding.damage()
        # It may be shorter than it says: then it is read once more, and gives nothing new.
        if damage is not None and damage.ends_early and self._next_index > begin:
            raise self._error(_NO_MORE)
        warn_at_end(decoding)

    def _show(self, frames: Iterator[SampledFrame]) -> None:
        """Show frames with times of their own: at their own speed, or as fast as they are taken."""
        zero_at: float | None = None  # when time 0 is
        for frame in frames:
            seconds, now = frame.index / self._sample_fps, time.monotonic()
            if self._realtime:
                zero_at = now - seconds if zero_at is None else zero_at
                self._wait_until(zero_at + seconds)
                now = time.monotonic()
            self._came(frame.index, now)
            self._next_index = frame.index + 1
            self._latest.show(range(frame.index, frame.index + 1), frame.pixels, now, drop=self._realtime)

    def _came(self, index: int, at: float) -> None:
        """Note that a frame came: the first one after the source was lost, where there were tries."""
        if self._attempt:
            self._latest.put(SourceBack(index, at - self._last_at))
        self._attempt, self._last_at = 0, at

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._heartbeat()
            time.sleep(min(left, _TICK_SECONDS))

    def _error(self, reason: str) -> VideoError:
        return VideoError(self.name, reason, "check that it is on and reachable, and start again")


class LatestFrame:
    """Between a thread and its reader: events in order, and of sampled frames those of one picture, the newest.

    ``heartbeat`` is called by the thread while it waits here; what it raises ends the waiting.
    """

    def __init__(self, heartbeat: Callable[[], None]) -> None:
        self.dropped = 0
        self._heartbeat = heartbeat
        self._items: deque[LiveFrame | SourceLost | SourceBack | BaseException] = deque()
        self._changed = threading.Condition()

    def show(self, indices: range, pixels: Pixels, at: float, *, drop: bool) -> None:
        """Show a picture, received `at`, at one or more indices of the grid.

        What is left of the picture before is dropped, or waited for until it was taken.
        """
        missed = 0
        with self._changed:
            while drop and self._items and isinstance(before := self._items[-1], LiveFrame):
                self._items.pop()
                missed += 1 + before.missed
                self.dropped += 1
            frames = [LiveFrame(index, pixels, at, 0 if number else missed) for number, index in enumerate(indices)]
            self._add(frames, most=_MOST_EVENTS if drop else 1)

    def put(self, event: SourceLost | SourceBack | BaseException) -> None:
        """Say what comes after the frames so far."""
        with self._changed:
            self._add([event], most=_MOST_EVENTS)

    def take(self, *, timeout: float) -> LiveFrame | SourceLost | SourceBack | BaseException | None:
        """Return what comes next, or None where there is nothing within `timeout` seconds."""
        with self._changed:
            if not self._items:
                self._changed.wait(timeout)
            item = self._items.popleft() if self._items else None
            self._changed.notify_all()
            return item

    def _add(self, items: Sequence[LiveFrame | SourceLost | SourceBack | BaseException], *, most: int) -> None:
        while len(self._items) >= most:
            self._heartbeat()
            self._changed.wait(_TICK_SECONDS)
        self._items.extend(items)
        self._changed.notify_all()
