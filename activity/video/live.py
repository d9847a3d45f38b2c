"""Frames of a source as it plays: a camera, a stream, or a file; sampled on the time grid, and never late."""

import contextlib
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from activity.video.addresses import without_credentials
from activity.video.capture import HANGS_AFTER_SECONDS
from activity.video.errors import hanging
from activity.video.outbox import Closed, End, LiveFrame, Outbox, SourceBack, SourceLost
from activity.video.playing import Playing, Stream, play_file
from activity.video.sampling import first_index_at_or_after
from activity.video.sources import kind_of_source

__all__ = ["LiveFrame", "LiveSource", "SourceBack", "SourceLost"]

_TICK_SECONDS = 0.1  # how soon `close` is seen
_GOODBYE_SECONDS = 1.0  # for the thread to end; one that waits for the network does not at once


class LiveSource:
    """A source that plays: its sampled frames, as they are shown, and when it is lost and comes back. Iterated once.

    A thread takes every frame from the source, and holds the newest sampled frame only: where the reader is slower,
    sampled frames are dropped and counted, and those that are given stay on the time grid. Sampled frame k is the
    last one not later than ``k / sample_fps`` seconds after the first, as of `VideoReader.sampled_frames`; it is
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
            raise ValueError(
                f"stall_seconds is {stall_seconds} and most_wait_seconds {most_wait_seconds}: must be > 0."
            )
        self.name = without_credentials(source)
        self.frames = 0  # received so far; one that is decoded once more counts again
        self._kind = kind_of_source(source)
        self._outbox = Outbox(self._lives, tick_seconds=_TICK_SECONDS)
        self._playing = Playing(
            source=source,
            name=self.name,
            sample_fps=sample_fps,
            realtime=realtime,
            stall_seconds=stall_seconds,
            most_wait_seconds=most_wait_seconds,
            give_up_seconds=give_up_seconds,
            on_frame=self._count,
            lives=self._lives,
            tick_seconds=_TICK_SECONDS,
        )
        # To open and to read end by themselves before that.
        self._hang_seconds = max(HANGS_AFTER_SECONDS, 3 * stall_seconds)
        self._signs = 0  # of life of the thread
        self._closed = self._iterated = False

    @property
    def dropped(self) -> int:
        """Sampled frames that were dropped so far, because the reader was too slow."""
        return self._outbox.dropped

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
        try:
            yield from self._items()
        finally:
            self._closed = True
            thread.join(_GOODBYE_SECONDS)

    def _items(self) -> Iterator[LiveFrame | SourceLost | SourceBack]:
        silent_seconds, signs = 0.0, self._signs
        while not self._closed:
            item = self._outbox.take(timeout=_TICK_SECONDS)
            if isinstance(item, End):
                if item.error is not None:
                    raise item.error
                return
            if item is not None:
                yield item
            silent_seconds = silent_seconds + _TICK_SECONDS if item is None and signs == self._signs else 0.0
            signs = self._signs
            if silent_seconds > self._hang_seconds:
                raise hanging(self.name, self._hang_seconds)

    def _work(self) -> None:
        """In the thread."""
        end = End()
        try:
            if self._kind == "file":
                play_file(self._playing, self._outbox)
            else:
                Stream(self._playing, self._outbox).play()
        except Closed:
            return
        except BaseException as error:  # noqa: BLE001 - carried to the reader, who raises it
            end = End(error)
        with contextlib.suppress(Closed):
            self._outbox.put(end)

    def _count(self) -> None:
        self.frames += 1
        self._lives()

    def _lives(self) -> None:
        """A sign of life of the thread, which ends here where the source was closed."""
        self._signs += 1
        if self._closed:
            raise Closed
