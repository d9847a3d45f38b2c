"""Small frames along a video."""

from pathlib import Path

import cv2

from activity.video.picture import Pixels
from activity.video.reader import VideoReader

Thumbnail = tuple[float, Pixels]
"""When a frame is shown, in seconds, and its picture, RGB `uint8 (H, W, 3)`."""


def thumbnails_of(source: str | Path, *, count: int, duration_seconds: float, height: int) -> list[Thumbnail]:
    """Frames in the middles of `count` equal parts of a video, with these times; fewer where it is shorter than said.

    They have square pixels. What lies between them is decoded only where it must be, once; memory does not grow with
    the length.

    Args:
        source: the video.
        count: 1 at least.
        duration_seconds: of the video.
        height: of each picture, in pixels; RGB `uint8 (height, W, 3)`.

    Raises:
        VideoError: it cannot be read.
    """
    with VideoReader(source, square_pixels=True) as video:
        if duration_seconds <= 0:  # one frame
            return [(0.0, _scaled(next(iter(video)).pixels, height))]
        # A grid twice as fine: its odd points are the middles.
        middles = [range(index, index + 1) for index in range(1, 2 * count, 2)]
        grid = video.sampled_spans(2 * count / duration_seconds, middles)
        return [(shown.index * duration_seconds / (2 * count), _scaled(shown.pixels, height)) for shown in grid]


def _scaled(pixels: Pixels, height: int) -> Pixels:
    width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
