"""In the thread of a live source: taking its frames as they come, and trying again where they stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from activity.video.capture import Capture, Pixels
from activity.video.errors import VideoError
from activity.video.outbox import Outbox, SourceBack, SourceLost
from activity.video.reader import VideoReader
from activity.video.sampling import GridSampler
from activity.video.sources import open_stream

_FIRST_WAIT_SECONDS = 1.0  # between tries; each is twice the one before
_CHECK = "check that it is on and reachable, and start again"


@dataclass(frozen=True)
class Playing:
    """What is played, and how; see `LiveSource`.

    Attributes:
        source: a file, a camera, or a URL with its credentials.
        name: safe to print.
        on_frame: called for each frame that was received.
        lives: called while the thread waits, several times a second; what it raises ends the thread.
    """

    source: str
    name: str
    sample_fps: float
    realtime: bool
    stall_seconds: float
    most_wait_seconds: float
    give_up_seconds: float | None
    on_frame: Callable[[], None]
    lives: Callable[[], None]
    tick_seconds: float

    def wait_until(self, moment: float) -> None:
        """Wait until `moment` of the monotonic clock."""
        while (left := moment - time.monotonic()) > 0:
            self.lives()
            time.sleep(min(left, self.tick_seconds))


def play_file(playing: Playing, outbox: Outbox) -> None:
    """Have a file's sampled frames shown, at its own speed or as fast as they are taken."""
    with VideoReader(playing.source) as reader:
        reader.on_frame = playing.on_frame
        start: float | None = None
        for frame in reader.sampled_frames(playing.sample_fps):
            start = time.monotonic() if start is None else start
            if playing.realtime:
                playing.wait_until(start + frame.index / playing.sample_fps)
            indices = range(frame.index, frame.index + 1)
            outbox.show(indices, frame.pixels, time.monotonic(), drop=playing.realtime)


class Stream:
    """A camera or URL: one connection after the other, on one time grid."""

    def __init__(self, playing: Playing, outbox: Outbox) -> None:
        self._playing = playing
        self._outbox = outbox
        self._sampler = GridSampler(sample_fps=playing.sample_fps)
        self._attempt = 0  # tries since the last frame
        self._first_at: float | None = None  # on the monotonic clock
        self._last_at = 0.0
        self._last_seconds = -1.0  # on the stream's own

    def play(self) -> None:
        """Have its sampled frames shown until it ends, if ever; VideoError where it cannot be opened or is given up."""
        playing = self._playing
        while (reason := self._why_connection_ended()) is not None:
            if self._first_at is None:
                raise VideoError(playing.name, reason, _CHECK)
            away, give_up = time.monotonic() - self._last_at, playing.give_up_seconds
            if give_up is not None and away >= give_up:
                raise VideoError(playing.name, f"it gave no frame for {away:.0f} s and is given up: {reason}", _CHECK)
            wait = min(_FIRST_WAIT_SECONDS * 2.0 ** min(self._attempt, 30), playing.most_wait_seconds)
            if give_up is not None:
                wait = min(wait, give_up - away)
            self._attempt += 1
            self._outbox.put(SourceLost(reason, wait, self._attempt))
            playing.wait_until(time.monotonic() + wait)

    def _why_connection_ended(self) -> str | None:
        """Go through all frames of a new connection; why there are no more, None where the stream is over."""
        playing, stall = self._playing, self._playing.stall_seconds
        capture = None
        try:
            playing.lives()
            stream = open_stream(playing.source, open_seconds=stall, read_seconds=stall)
            # FFmpeg's own limit is kept a little late.
            capture = Capture(playing.name, stream=stream, on_frame=playing.on_frame, hang_seconds=0.9 * stall)
            return self._read(capture)
        except VideoError as error:
            if self._first_at is None:
                raise
            return error.reason
        finally:
            if capture is not None:
                capture.release()

    def _read(self, capture: Capture) -> str | None:
        has_times = capture.declared_seconds > 0  # it is a file; else frames are shown as they arrive
        drop = self._playing.realtime or not has_times
        run = _Run()
        while capture.grab():
            seconds, now = capture.time_seconds, time.monotonic()
            if has_times and seconds <= self._last_seconds:
                continue  # after it was lost it starts at its beginning again
            if has_times and self._playing.realtime:
                run.zero_at = now - seconds if run.zero_at is None else run.zero_at
                self._playing.wait_until(run.zero_at + seconds)
                now = time.monotonic()
            self._first_at = now if self._first_at is None else self._first_at
            seconds = seconds if has_times else now - self._first_at
            shown = self._sampler.push(seconds)
            if run.held is not None:
                self._show(shown, run.held, drop=drop)
            elif self._attempt:
                self._outbox.put(SourceBack(shown.stop, now - self._last_at))
            run.held = _Held(capture.retrieve(), now)
            run.count(seconds)
            self._attempt, self._last_at, self._last_seconds = 0, now, seconds
        # It may be shorter than it says: read once more, it shows nothing new.
        nothing_new = run.held is None and capture.frames > 0
        return self._end(capture, run, is_over=has_times and (nothing_new or not capture.ends_early))

    def _end(self, capture: Capture, run: "_Run", *, is_over: bool) -> str | None:
        """Show what is left; why there is no more of it, None where it was all."""
        if run.held is not None:
            end = capture.duration_seconds if is_over else self._last_seconds + run.mean_interval()
            self._show(self._sampler.finish(end), run.held, drop=False)  # now there is time
        if is_over:
            capture.warn_of_damage()
            return None
        if run.held is None:
            return "it gives no frame"
        silent = time.monotonic() - self._last_at
        if silent >= 0.9 * self._playing.stall_seconds:
            return f"there was no frame for {silent:.0f} s"
        return "it gives no more frames: the connection was closed, or the device is gone"

    def _show(self, indices: range, held: "_Held", *, drop: bool) -> None:
        if indices:
            pixels: Pixels = cv2.cvtColor(held.bgr, cv2.COLOR_BGR2RGB)  # type: ignore[assignment]
            self._outbox.show(indices, pixels, held.at, drop=drop)


@dataclass(frozen=True)
class _Held:
    """The latest frame: how long it is shown is known when the next one comes."""

    bgr: Pixels
    at: float


@dataclass
class _Run:
    """The frames of one connection."""

    held: _Held | None = None
    zero_at: float | None = None  # when its time 0 is, on the monotonic clock
    _first_seconds: float = 0.0
    _last_seconds: float = 0.0
    _frames: int = 0

    def count(self, seconds: float) -> None:
        """Take the time of one more frame."""
        self._first_seconds = self._first_seconds if self._frames else seconds
        self._last_seconds = seconds
        self._frames += 1

    def mean_interval(self) -> float:
        """Seconds from a frame to the next; 0 for one frame."""
        return 0.0 if self._frames < 2 else (self._last_seconds - self._first_seconds) / (self._frames - 1)
