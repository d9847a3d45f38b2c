"""Sample frames of a camera, stream or file as it plays."""

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Never, Self

from activity.video.addresses import without_credentials
from activity.video.decoding import Decoding
from activity.video.errors import HANGS_AFTER_SECONDS, HangError, NoFramesError, VideoError, hanging
from activity.video.picture import Pixels
from activity.video.reader import SampledFrame, VideoReader, sampled, warn_at_end
from activity.video.sampling import GridSampler, first_index_at_or_after
from activity.video.sources import Arrival, camera_arrivals, kind_of_source, open_url

_TICK_SECONDS = 0.1  # `close` takes effect within this time
_JOIN_SECONDS = 1.0  # for the thread to end; while it waits for the network, it takes longer
_FIRST_WAIT_SECONDS = 1.0  # before the first try to reconnect; each further wait is twice as long
_MOST_ITEMS = 8  # in the queue; then the thread waits for the reader
_NO_MORE = "it gives no more frames: the connection was closed, or the device is gone"


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A sampled frame, shown ``index / sample_fps`` seconds after the first one."""

    index: int
    pixels: Pixels  # RGB uint8 (H, W, 3); the same array if a slow source shows a frame several times
    received_at: float  # by `time.monotonic`
    missed: int  # sampled frames dropped since the previous LiveFrame, because the reader was too slow


@dataclass(frozen=True)
class SourceLost:
    """The source gives no more frames; another try follows."""

    reason: str  # without credentials
    retry_seconds: float  # until the next try
    attempt: int  # the number of that try since the last frame, from 1


@dataclass(frozen=True)
class SourceBack:
    """The source gives frames again."""

    index: int  # the first grid index that can show one of them
    away_seconds: float  # from the last frame before to the first one after


_Item = LiveFrame | SourceLost | SourceBack | BaseException


@dataclass(eq=False, repr=False)  # a repr would show the credentials in `source`
class LiveSource:
    """Sampled frames of a source as it plays, and its interruptions.

    A thread reads every frame and keeps only the newest sampled one. If the reader is slower, sampled frames are
    dropped and counted; the others stay on the time grid. Sampled frame k is the last one not later than
    ``k / sample_fps`` seconds after the first. The reader gets it when the next frame arrives.

    Frames of a camera or an endless stream have the times at which they arrive. While the source is away the grid goes
    on, so indices are left out. Files and streams of a known length have their own times, and end.

    A source can be iterated once.

    Raises:
        VideoError: at once if a file is missing or a URL has an unknown scheme. In the iteration if the source cannot
            be opened, gives no frame from the start, stays away for `give_up_seconds`, or hangs.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "black.y4m")  # four uncompressed frames, 10 a second
    >>> _ = path.write_bytes(b"YUV4MPEG2 W64 H48 F10:1\\n" + 4 * (b"FRAME\\n" + bytes(64 * 48 * 3 // 2)))
    >>> with LiveSource(str(path), sample_fps=5, realtime=False) as source:
    ...     [(frame.index, frame.pixels.shape) for frame in source]
    [(0, (48, 64, 3)), (1, (48, 64, 3))]
    """

    source: str  # a camera's index ("0"), a device (/dev/video0), a URL, or a file
    _: KW_ONLY
    sample_fps: float  # sampled frames a second
    realtime: bool  # play what has a length at its own speed; else as fast as the reader takes it, without dropping
    square_pixels: bool = False  # resize frames so that their pixels are as wide as high
    stall_seconds: float = 10.0  # a source that gives no frame for so long is lost
    most_wait_seconds: float = 30.0  # waits between tries to reconnect grow from 1 s to this
    give_up_seconds: float | None = None  # stop with an error if the source is away for so long; None: never

    def __post_init__(self) -> None:
        first_index_at_or_after(0.0, self.sample_fps)  # refuses a rate that makes no grid
        if not (self.stall_seconds > 0 and self.most_wait_seconds > 0):
            waits = f"stall_seconds is {self.stall_seconds} and most_wait_seconds {self.most_wait_seconds}"
            raise ValueError(f"{waits}: must be > 0.")
        self.name = without_credentials(self.source)
        self.frames = 0  # received so far; a frame that is decoded again after a lost connection counts again
        self.dropped = 0  # sampled frames so far that the reader was too slow for
        self._kind = kind_of_source(self.source)
        self._queue = _Queue(self._heartbeat)
        self._closed = self._iterated = False
        self._silent_seconds = 0.0  # since the thread's last heartbeat
        self._sampler = GridSampler(sample_fps=self.sample_fps)  # for frames as they arrive
        self._next_index = 0  # for frames with their own times
        self._first_at = self._last_at = 0.0  # arrival of frames by `time.monotonic`; 0: none yet
        self._attempt = 0  # tries to reconnect since the last frame

    def close(self) -> None:
        """End the iteration soon.

        It never waits, so threads and signal handlers may call it.
        """
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[LiveFrame | SourceLost | SourceBack]:
        if self._iterated:
            raise ValueError(f"{self.name} was iterated before; make a new LiveSource.")
        self._iterated = True
        thread = threading.Thread(target=self._work, daemon=True)  # if it hangs, the program can still end
        thread.start()
        hang_seconds = max(HANGS_AFTER_SECONDS, 3 * self.stall_seconds)  # opening and reading end before that
        try:
            while not self._closed:
                item = self._queue.take()
                if isinstance(item, BaseException):
                    raise item
                if item is not None:
                    yield item
                    continue
                self._silent_seconds += _TICK_SECONDS  # no clock: it would count the time of a stopped process
                if self._silent_seconds > hang_seconds:
                    raise hanging(self.name, hang_seconds)
        except _Closed:
            return
        finally:
            self._closed = True
            thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        """Play the source in the thread; only this thread touches FFmpeg's objects."""
        end: BaseException = _Closed()
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            end = error
        with suppress(_Closed):
            self._queue.put(end)

    def _heartbeat(self) -> None:
        """Show that the thread works; end it if the source was closed."""
        self._silent_seconds = 0.0
        if self._closed:
            raise _Closed

    def _on_frame(self) -> None:
        self.frames += 1
        self._heartbeat()

    def _play(self) -> None:
        """Play to the end; reconnect when the source is lost."""
        if self._kind == "file":
            with VideoReader(self.source, square_pixels=self.square_pixels) as reader:
                reader.on_frame = self._on_frame
                self._show(reader.sampled_frames(self.sample_fps))
            return
        while True:
            try:
                self._connect()
                return
            except VideoError as error:
                lost = self._reworded(error)
            if not self._last_at:
                raise lost
            self._wait_to_reconnect(lost.reason)

    def _connect(self) -> None:
        """Play over one connection; VideoError if it ends before the stream."""
        self._heartbeat()
        if self._kind == "camera":
            self._show_arrivals(camera_arrivals(self.source, on_frame=self._on_frame, stall_seconds=self.stall_seconds))
        decoding = open_url(
            self.source, on_frame=self._on_frame, stall_seconds=self.stall_seconds, square_pixels=self.square_pixels
        )
        with closing(decoding):
            if decoding.is_live:
                self._show_arrivals((picture.time_seconds, partial(decoding.rgb, picture)) for picture in decoding)
            self._show_rest(decoding)

    def _show_arrivals(self, arrivals: Generator[Arrival, None, None]) -> Never:
        """Show frames on the grid of their arrival, then raise VideoError."""
        latest: Arrival | None = None  # the next arrival tells how long it is shown
        frames, begun_at = 0, 0.0
        try:
            with closing(arrivals):  # at once: the traceback of an error here would keep the camera open
                for at, rgb in arrivals:
                    self._first_at = self._first_at or at
                    indices = self._sampler.push(at - self._first_at)
                    self._note_frame(indices.stop, at)
                    if latest is not None and indices:
                        self._put(indices, latest[1](), latest[0], drop=True)
                    frames, begun_at, latest = frames + 1, begun_at or at, (at, rgb)
        finally:  # also if the connection breaks: then the last frame is shown for a usual interval
            if latest is not None:
                interval = (latest[0] - begun_at) / max(1, frames - 1)
                if indices := self._sampler.finish(latest[0] + interval - self._first_at):
                    self._put(indices, latest[1](), latest[0], drop=False)
        raise self._error(_NO_MORE)

    def _show_rest(self, decoding: Decoding) -> None:
        """Show a stream with its own times; VideoError if it ends early."""
        begin = self._next_index
        self._show(sampled(decoding, self.sample_fps, [range(begin, sys.maxsize)]))
        damage = decoding.damage()
        # A stream may be shorter than its header says: then a second reading gives nothing new, and is the end.
        if damage is not None and damage.ends_early and self._next_index > begin:
            raise self._error(_NO_MORE)
        warn_at_end(decoding)

    def _show(self, frames: Iterator[SampledFrame]) -> None:
        """Show frames at their own times, or as fast as possible."""
        zero_at: float | None = None  # the clock at time 0 of the video
        for frame in frames:
            if self.realtime:
                seconds = frame.index / self.sample_fps
                zero_at = time.monotonic() - seconds if zero_at is None else zero_at
                self._wait_until(zero_at + seconds)
            now = time.monotonic()
            self._note_frame(frame.index, now)
            self._next_index = frame.index + 1
            self._put(range(frame.index, frame.index + 1), frame.pixels, now, drop=self.realtime)

    def _put(self, indices: range, pixels: Pixels, at: float, *, drop: bool) -> None:
        """Show a picture, received `at`.

        `drop` frames that still wait, or else wait for the reader.
        """
        dropped = self._queue.take_back_frames() if drop else []
        self.dropped += len(dropped)
        missed = sum(1 + frame.missed for frame in dropped)
        frames = [LiveFrame(index, pixels, at, missed if index == indices[0] else 0) for index in indices]
        self._queue.put(*frames, most=_MOST_ITEMS if drop else 1)

    def _note_frame(self, index: int, at: float) -> None:
        if self._attempt:
            self._queue.put(SourceBack(index, at - self._last_at))
        self._attempt, self._last_at = 0, at

    def _wait_to_reconnect(self, reason: str) -> None:
        """Report the loss and wait; VideoError if it lasts too long."""
        away = time.monotonic() - self._last_at
        left = (math.inf if self.give_up_seconds is None else self.give_up_seconds) - away
        if left <= 0:
            raise self._error(f"it gave no frame for {away:.0f} s and is given up: {reason}")
        wait = min(_FIRST_WAIT_SECONDS * 2.0 ** min(self._attempt, 30), self.most_wait_seconds, left)
        self._attempt += 1
        self._queue.put(SourceLost(reason, wait, self._attempt))
        self._wait_until(time.monotonic() + wait)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._heartbeat()
            time.sleep(min(left, _TICK_SECONDS))

    def _reworded(self, error: VideoError) -> VideoError:
        """Replace advice that only applies to files."""
        if isinstance(error, HangError):
            return self._error(f"there was no frame for {self.stall_seconds:g} s")
        return self._error("it gives no frame") if isinstance(error, NoFramesError) else error

    def _error(self, reason: str) -> VideoError:
        return VideoError(self.name, reason, "check that it is on and reachable, and start again")


class _Closed(Exception):  # noqa: N818 - not an error
    """Ends the thread of a closed source, and iteration at the end."""


class _Queue:
    """Items from the thread to the reader, in order.

    The thread calls `heartbeat` while it waits here; an exception from it ends the wait.
    """

    def __init__(self, heartbeat: Callable[[], None]) -> None:
        self._heartbeat = heartbeat
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()

    def put(self, *items: _Item, most: int = _MOST_ITEMS) -> None:
        """Add items as soon as fewer than `most` are in the queue."""
        with self._changed:
            while len(self._items) >= most:
                self._heartbeat()
                self._changed.wait(_TICK_SECONDS)
            self._items.extend(items)
            self._changed.notify_all()

    def take(self) -> _Item | None:
        """Return the next item; None if none comes soon."""
        with self._changed:
            if not self._items:
                self._changed.wait(_TICK_SECONDS)
            self._changed.notify_all()
            return self._items.popleft() if self._items else None

    def take_back_frames(self) -> list[LiveFrame]:
        """Remove and return the frames at the end of the queue."""
        frames = []
        with self._changed:
            while self._items and isinstance(last := self._items[-1], LiveFrame):
                frames.append(last)
                self._items.pop()
        return frames
