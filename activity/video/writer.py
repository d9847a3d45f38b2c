"""Write frames to a video file, each at its own time.

`cv2.VideoWriter` does not do: it has one rate and no times, cuts a pixel off an odd side and writes no H.264.
It also cannot set VP9's speed, so VP9 takes twenty times as long.
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

_BT601 = 5  # how colours are converted; a player that is not told guesses by the size
_KEY_FRAME_INTERVAL = 120  # frames; a player can jump to each key frame


@dataclass(frozen=True, kw_only=True)
class _Format:
    codec: str
    options: dict[str, str]
    clock: int  # ticks a second


# Fast settings: the encoders' defaults take ten times as long, and their files are only a little smaller.
_FORMATS = {
    ".webm": _Format(
        codec="libvpx-vp9",
        options={"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "26", "b": "0"},
        clock=1000,
    ),
    ".mp4": _Format(
        codec="libx264",
        options={"preset": "veryfast", "crf": "20"},
        clock=60_000,  # a multiple of the usual rates; MPEG-4 allows at most 65,535
    ),
}
SUFFIXES = tuple(_FORMATS)


class VideoWriter:
    """Writes RGB frames to `.webm` or `.mp4`, in a ``with`` block.

    The codec is VP9 for `.webm` and H.264 for `.mp4`, or MPEG-4 if a side is odd.

    Args:
        path: the file to write.
        suffix: one of `SUFFIXES`, in any case, whatever the name of `path`.
        name: what errors call the file.
        rate: frames a second in the file's header; players go by the frames' times.
        pixel_aspect: the width of a pixel divided by its height.

    Raises:
        VideoError: the encoder refuses the frames.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, *, suffix: str, name: str, rate: Fraction, pixel_aspect: float = 1.0) -> None:
        self._path, self._name, self._rate, self._suffix = path, name, rate, suffix.lower()
        self._format = _FORMATS[self._suffix]
        self._tick = Fraction(1, self._format.clock)
        self._pixel_aspect = Fraction(pixel_aspect).limit_denominator(1000)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._size = (0, 0)
        self._latest_tick = -1

    def write(self, pixels: Pixels, time_seconds: float) -> None:
        """Append a frame, RGB `uint8 (H, W, 3)`, in the first's size."""
        with self._errors():
            self._container = self._container or av.open(str(self._path.absolute()), "w", format=self._suffix[1:])
            self._stream = self._stream or self._add_stream(self._container, pixels)
            if pixels.shape[1::-1] != self._size:
                pixels = cv2.resize(pixels, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            # The container refuses two frames at one tick.
            self._latest_tick = max(round(time_seconds * self._format.clock), self._latest_tick + 1)
            picture.pts, picture.time_base = self._latest_tick, self._tick
            self._container.mux(self._stream.encode(picture))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None:
            return
        with self._errors(), self._container as container:
            if kind is None and self._stream is not None:
                container.mux(self._stream.encode(None))

    def _add_stream(self, container: OutputContainer, pixels: Pixels) -> VideoStream:
        self._size = width, height = pixels.shape[1], pixels.shape[0]
        codec = self._format.codec
        if codec == "libx264" and (width % 2 or height % 2):
            codec = "mpeg4"  # H.264 as players decode it halves both sides for colour
        stream = container.add_stream(codec, rate=self._rate, options=self._format.options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.sample_aspect_ratio = self._pixel_aspect
        context.time_base, context.gop_size = self._tick, _KEY_FRAME_INTERVAL
        context.colorspace, context.color_range = _BT601, 1
        context.thread_count = 0  # all cores
        return stream

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):  # such as a full disk
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            reason = f"the encoder refuses a video of {self._size[0]} x {self._size[1]} pixels ({error.strerror})"
            raise VideoError(self._name, reason, f"give the other suffix, {' or '.join(SUFFIXES)}") from error
