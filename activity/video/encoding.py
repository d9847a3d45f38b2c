"""Frames to a video file, each at its own time.

Not by `cv2.VideoWriter`: it knows one rate and no times, cuts an odd side by a pixel, writes no H.264, and cannot set
VP9's speed, which makes it twenty times as slow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import cv2
from av.container import OutputContainer
from av.video import VideoStream

from activity.video.errors import VideoError
from activity.video.picture import Pixels

_BT601 = 5  # how colours are converted; players are told, or they guess by the size
_KEY_FRAME_INTERVAL = 120  # frames; a player can jump to these


@dataclass(frozen=True, kw_only=True)
class _Format:
    container: str
    codec: str
    odd_codec: str  # for pictures with an odd side
    options: dict[str, str]
    clock: int  # ticks a second


_FORMATS = {
    # Fast settings: the encoders' own take ten times as long for files a little smaller.
    ".webm": _Format(
        container="webm",
        codec="libvpx-vp9",
        odd_codec="libvpx-vp9",
        options={"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "26", "b": "0"},
        clock=1000,
    ),
    ".mp4": _Format(
        container="mp4",
        codec="libx264",
        odd_codec="mpeg4",  # H.264 as players know it halves both sides for colour
        options={"preset": "veryfast", "crf": "20"},
        clock=60_000,  # MPEG-4 counts to 65,535 at most; a multiple of the usual rates
    ),
}


class VideoWriter:
    """Writes RGB frames to a `.webm` (VP9) or `.mp4` file (H.264; MPEG-4 where a side is odd); for a ``with`` block.

    Args:
        path: where.
        suffix: `.webm` or `.mp4`, whatever the name of `path`.
        name: what errors call the file.
        rate: frames a second that the file says it has; what counts are the frames' times.
        pixel_aspect: the width of a pixel by its height.

    Raises:
        VideoError: the encoder refuses the frames.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, *, suffix: str, name: str, rate: Fraction, pixel_aspect: float = 1.0) -> None:
        self._path, self._name, self._rate = path, name, rate
        self._pixel_aspect = Fraction(pixel_aspect).limit_denominator(1000)
        self._format = _FORMATS[suffix.lower()]
        self._tick = Fraction(1, self._format.clock)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._size = (0, 0)
        self._latest = -1  # frame, in ticks

    def write(self, pixels: Pixels, time_seconds: float) -> None:
        """Append a frame `uint8 (H, W, 3)`; the first one's size is the video's, others are fitted to it."""
        with self._errors():
            if self._stream is None:
                self._stream = self._open(pixels)
            if pixels.shape[1::-1] != self._size:
                pixels = cv2.resize(pixels, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            # Two frames at one tick of the clock would be refused.
            self._latest = picture.pts = max(round(time_seconds * self._format.clock), self._latest + 1)
            picture.time_base = self._tick
            self._mux(self._stream, picture)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None or self._stream is None:
            return
        with self._errors():
            try:
                if kind is None:
                    self._mux(self._stream, None)
            finally:
                self._container.close()

    def _open(self, pixels: Pixels) -> VideoStream:
        height, width = pixels.shape[:2]
        self._size = (width, height)
        odd = bool(width % 2 or height % 2)
        codec = self._format.odd_codec if odd else self._format.codec
        self._container = av.open(str(self._path.absolute()), "w", format=self._format.container)
        stream = self._container.add_stream(codec, rate=self._rate, options=dict(self._format.options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.sample_aspect_ratio = self._pixel_aspect
        context.time_base, context.gop_size = self._tick, _KEY_FRAME_INTERVAL
        context.colorspace, context.color_range = _BT601, 1
        context.thread_count = 0  # all cores
        return stream

    def _mux(self, stream: VideoStream, picture: av.VideoFrame | None) -> None:
        assert self._container is not None
        for packet in stream.encode(picture):
            self._container.mux(packet)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):  # the disk is full, say
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            reason = f"the encoder refuses a video of {self._size[0]} x {self._size[1]} pixels ({error.strerror})"
            raise VideoError(self._name, reason, "give the other suffix, .webm or .mp4") from error
