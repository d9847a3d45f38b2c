"""Long videos with known borders, to measure timelines on: labelled clips one after the other."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from activity.data.clips import Clip, DataError
from activity.data.demo import write_film
from activity.data.drawing import Image
from activity.data.segments import Segment
from activity.video.reader import VideoReader


def stitch(clips: Sequence[Clip], path: Path, *, size: tuple[int, int], fps: float, seed: int) -> list[Segment]:
    """Join clips in a random order into one video, a Motion JPEG file (.avi), and say what is where in it.

    Each clip is shown at its own speed, whatever its rate, with black at two sides where its form is another one.
    Memory does not grow with the length. There is no idle time between clips: a frozen picture would be no honest one,
    for nobody stands so still, and motion would give it away.

    Args:
        clips: at least one.
        path: the video to be written; missing folders are made.
        size: its width and height in pixels.
        fps: its frames a second.
        seed: of the order.

    Returns:
        The segment of each clip, in the order of time; each begins where the one before it ends.

    Raises:
        VideoError: a clip's video cannot be read.
        DataError: a clip without a frame: its span lies beyond the end of its video.

    >>> import tempfile
    >>> from activity.data.demo import render_clip
    >>> folder = Path(tempfile.mkdtemp())
    >>> for activity in ("wave", "jump"):
    ...     write_film(folder / f"{activity}.avi", render_clip(activity, actor=0, take=0, seed=0, size=(80, 60)))
    >>> clips = [
    ...     Clip(path=folder / f"{label}.avi", relative_path=f"{label}.avi", label=label, group="0", end_seconds=1.5)
    ...     for label in ("wave", "jump")
    ... ]
    >>> for segment in stitch(clips, folder / "long.avi", size=(64, 48), fps=10, seed=0):
    ...     print(segment.label, segment.start_seconds, segment.end_seconds)
    jump 0.0 1.5
    wave 1.5 3.0
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = random.Random(seed).sample(clips, k=len(clips))
    frames_of: list[int] = []
    write_film(path, _frames(ordered, size, fps, frames_of), fps=fps)
    borders = [sum(frames_of[:number]) / fps for number in range(len(ordered) + 1)]
    return [
        Segment(label=clip.label, start_seconds=start, end_seconds=end)
        for clip, start, end in zip(ordered, borders[:-1], borders[1:], strict=True)
    ]


def letterboxed(frame: Image, size: tuple[int, int]) -> Image:
    """A frame of any size as large as it fits into another (width, height), the rest black.

    >>> letterboxed(np.full((10, 20, 3), 255, np.uint8), (8, 8))[:, 0, 0].tolist()
    [0, 0, 255, 255, 255, 255, 0, 0]
    """
    width, height = size
    scale = min(width / frame.shape[1], height / frame.shape[0])
    inner = max(1, round(scale * frame.shape[1])), max(1, round(scale * frame.shape[0]))
    picture = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture[top : top + inner[1], left : left + inner[0]] = cv2.resize(frame, inner, interpolation=how)
    return picture


def _frames(clips: Sequence[Clip], size: tuple[int, int], fps: float, frames_of: list[int]) -> Iterator[Image]:
    """The frames of all clips; how many each has is known when it ends."""
    for clip in clips:
        frames = 0
        with VideoReader(clip.path, square_pixels=True) as video:
            for shown in video.sampled_frames(fps, indices=clip.sampled_indices(fps)):
                frames += 1
                yield letterboxed(shown.pixels, size)
        if not frames:
            raise DataError(f"{clip.name!r} has no frame from {clip.start_seconds:g} s on; correct its span.")
        frames_of.append(frames)
