"""The videos that `activity bench` writes, and what it takes of others."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from activity.video.errors import VideoError
from activity.video.reader import VideoReader


def write_mp4(path: Path, frames: Iterable[np.ndarray], *, fps: float) -> Path:
    """Write frames `uint8 (H, W, 3)`, all of one size, of any order of colours, as MPEG-4.

    Raises:
        OSError: OpenCV cannot write it here.
    """
    frames = iter(frames)
    first = next(frames)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, first.shape[1::-1])
    if not writer.isOpened():
        raise OSError(f"cannot write {path}: OpenCV could not open it for MPEG-4")
    try:
        for frame in chain([first], frames):
            writer.write(frame)
    finally:
        writer.release()
    return path


def write_video(path: Path, *, seconds: int) -> Path:
    """A 640 x 360 video of 30 frames a second in which something moves."""
    y, x = np.mgrid[0:360, 0:640]

    def frame(number: int) -> np.ndarray:
        waves = 127 + 100 * np.sin(x / 23 + number / 7) * np.cos(y / 31 - number / 11)
        return np.stack([waves, waves[::-1], 255 - waves], axis=2).astype(np.uint8)

    return write_mp4(path, map(frame, range(seconds * 30)), fps=30)


def first_frames(path: str | Path, sample_fps: float, indices: range | None, *, count: int) -> Tensor | None:
    """The first sampled frames of a span, `uint8 (count, 3, H, W)`, repeated where there are fewer; None without any.

    Of a video that cannot be read there is none: who measures it says so.
    """
    shown: list[np.ndarray] = []
    with suppress(VideoError), VideoReader(path) as reader:
        shown += (frame.pixels for frame in islice(reader.sampled_frames(sample_fps, indices=indices), count))
    shown = [pixels for pixels in shown if pixels.shape == shown[0].shape]
    return torch.from_numpy(np.stack((shown * count)[:count])).permute(0, 3, 1, 2) if shown else None
