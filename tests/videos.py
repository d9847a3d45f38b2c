"""Small videos for tests: each frame's colour says its index, each file's times are known."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

# Six levels of red, green and blue, so far apart that lossy codecs keep them: 216 indices.
_LEVELS, _STEP = 6, 51
# What each container is usually filled with.
_CODECS = {".avi": "mpeg4", ".mpg": "mpeg2video", ".webm": "libvpx", ".wmv": "wmv2"}


def index_frame(index: int, *, width: int = 64, height: int = 48) -> Pixels:
    """Return a frame of one colour, RGB ``uint8 (height, width, 3)``; `frame_index` reads the index back."""
    digits = [index // _LEVELS**place % _LEVELS for place in range(3)]
    return np.full((height, width, 3), [digit * _STEP for digit in digits], np.uint8)


def index_frames(count: int, *, width: int = 64, height: int = 48) -> list[Pixels]:
    """Return ``count`` frames whose colours say their indices, 216 at most."""
    assert count <= _LEVELS**3
    return [index_frame(index, width=width, height=height) for index in range(count)]


def frame_index(pixels: Pixels) -> int:
    """Return the index that a frame's colour says."""
    digits = np.rint(pixels.reshape(-1, 3).mean(axis=0) / _STEP).astype(int)
    return int((digits * _LEVELS ** np.arange(3)).sum())


def write_video(
    path: Path, frames: Iterable[Pixels], *, fps: float | Fraction = 25, start_frames: int = 0, **options: Any
) -> Path:
    """Write frames at a constant rate, the first one `start_frames` late; other options as of `write_timed_video`."""
    interval = 1 / Fraction(fps).limit_denominator(1001)
    frames = list(frames)
    return write_timed_video(path, frames, range(start_frames, start_frames + len(frames)), unit=interval, **options)


def write_timed_video(
    path: Path,
    frames: Sequence[Pixels],
    times: Sequence[int],
    *,
    unit: Fraction = Fraction(1, 1000),
    codec: str | None = None,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    sound_seconds: float = 0.0,
    rotation: float = 0.0,
    pixel_aspect: Fraction = Fraction(1),
) -> Path:
    """Write RGB frames at the given times, counted in ``unit`` seconds (milliseconds where not given).

    Times need not start at 0 nor be evenly spaced. ``rotation`` is what the file asks players for, in degrees
    counter-clockwise, ``pixel_aspect`` the width of a pixel by its height. H.264 in MP4 and Matroska, with B-frames,
    where no codec is given.
    """
    with av.open(path, "w", options=container_options or {}) as container:
        stream = container.add_stream(
            codec or _CODECS.get(path.suffix.lower(), "libx264"),
            rate=1 / unit if unit > Fraction(1, 1000) else 25,
            options=codec_options or {},
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = unit
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        sound_codec = "libopus" if path.suffix.lower() == ".webm" else "aac"
        sound = container.add_stream(sound_codec, rate=8000, layout="mono") if sound_seconds else None
        packets = []
        for pixels, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            picture.pts, picture.time_base = time, unit
            packets += stream.encode(picture)
        packets += stream.encode(None)
        if sound is not None:
            packets += _silence(sound, sound_seconds)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """Write a file that holds sound only."""
    with av.open(path, "w") as container:
        container.mux(_silence(container.add_stream("aac", rate=8000, layout="mono"), seconds))
    return path


def cut_off(path: Path, fraction: float) -> Path:
    """Leave only the first part of a file, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def spoil(path: Path, start: float, end: float) -> Path:
    """Overwrite a part of a file, from one fraction of it to another, with noise."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    data[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(data)
    return path


def noise_frames(count: int, *, width: int = 96, height: int = 64) -> list[Pixels]:
    """Return frames that do not compress, so that their bytes lie evenly in the file."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def container_times(path: Path) -> list[float]:
    """Return the presentation times that the container gives, in seconds from the first frame's."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    return [float(time - times[0]) for time in times]


def _silence(stream: Any, seconds: float) -> list[av.Packet]:
    samples = np.zeros((1, int(stream.rate * seconds)), np.float32)
    format_ = "fltp" if stream.codec_context.name == "aac" else "flt"
    sound = av.AudioFrame.from_ndarray(samples, format=format_, layout="mono")
    sound.sample_rate, sound.pts, sound.time_base = stream.rate, 0, Fraction(1, stream.rate)
    return [*stream.encode(sound), *stream.encode(None)]
