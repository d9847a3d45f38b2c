"""Views: other ways to show the same clip, of which features are stored beside the plain ones, for training."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """How a clip is shown to the recognizer: on its `uint8` frames, before any preprocessing.

    Attributes:
        flip: left and right exchanged.
        crop: share of each side that is kept, above 0 to 1.
        left, top: where the cut lies, from 0 (at the left, at the top) to 1 (at the right, at the bottom).
        rate: how many times faster the clip runs: above 1, its sampled frames lie further apart in time.

    >>> View(flip=True).apply(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).tolist()
    [[[4, 5, 6], [1, 2, 3]]]
    >>> View(crop=0.5, left=1.0).apply(np.zeros((10, 20, 3), np.uint8)).shape
    (5, 10, 3)
    """

    flip: bool = False
    crop: float = 1.0
    left: float = 0.5
    top: float = 0.5
    rate: float = 1.0

    def apply(self, frame: Pixels) -> Pixels:
        """The frame as this view shows it: `uint8 (H, W, 3)` to one of the same size or, with a crop, a smaller one."""
        height, width = (max(1, round(self.crop * size)) for size in frame.shape[:2])
        top, left = round(self.top * (frame.shape[0] - height)), round(self.left * (frame.shape[1] - width))
        shown = frame[top : top + height, left : left + width]
        return np.ascontiguousarray(shown[:, ::-1] if self.flip else shown)

    def sampled(self, sample_fps: float) -> float:
        """Sampled frames a second of the video's own time."""
        return sample_fps / self.rate

    def describe(self) -> dict[str, Any]:
        """Every number of it as plain Python, for the key of what is stored."""
        return asdict(self)


PLAIN = View()

# In the order in which `data.views` takes them: what tells most comes first, and view k is the same however many are
# taken. Crops keep 80 to 90 % of a side: the figure stays in the picture. A rate of 0.8 or 1.25 is a slow or a quick
# person; further off, one activity becomes another.
VIEWS: tuple[View, ...] = (
    PLAIN,
    View(flip=True),
    View(crop=0.85),
    View(flip=True, rate=0.8),
    View(rate=1.25),
    View(flip=True, crop=0.85),
    View(crop=0.8, left=0.0, top=1.0),
    View(flip=True, crop=0.8, left=1.0, top=0.0),
    View(rate=0.8),
    View(flip=True, rate=1.25),
    View(crop=0.9, left=1.0, top=0.0, rate=1.1),
    View(flip=True, crop=0.9, left=0.0, top=1.0, rate=0.9),
)


def first_views(count: int, *, flip: bool) -> tuple[View, ...]:
    """The first `count` views.

    Args:
        count: 1 (the plain one alone) to the length of `VIEWS`; without flips there are fewer.
        flip: False where left and right tell classes apart: no view exchanges them.

    Raises:
        ValueError: there are not so many.

    >>> [view.flip for view in first_views(4, flip=True)], [view.flip for view in first_views(4, flip=False)]
    ([False, True, False, True], [False, False, False, False])
    """
    known = [view for view in VIEWS if flip or not view.flip]
    if not 1 <= count <= len(known):
        without = "" if flip else " without flips (data.flip=false)"
        raise ValueError(f"data.views is {count}; accepted: 1 (the plain frames alone) to {len(known)}{without}.")
    return tuple(known[:count])
