"""Single frames, as a program gives them, to features: each checked, each encoded with the one before it."""

import time

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from activity.models.precision import without_tf32
from activity.models.recognizer import LoadedRecognizer

Pixels = npt.NDArray[np.uint8]


class FrameError(ValueError):
    """A frame, or its time, that cannot be taken."""


class FrameFeatures:
    """Features of consecutive sampled frames, each encoded when it comes.

    Args:
        recognizer: on `device`.
        device: where the recognizer is.
    """

    def __init__(self, recognizer: LoadedRecognizer, device: torch.device) -> None:
        self._recognizer = recognizer
        self._device = device
        self._motion = "motion" in recognizer.modalities
        self.encode_seconds = 0.0  # spent in the encoder so far
        self.begin()

    def begin(self) -> None:
        """What comes next follows nothing."""
        self._before: Pixels | None = None
        self._still: Tensor | None = None  # the feature of the frame before, shown once more
        self._latest: Tensor | None = None
        self._look = -1  # which of the looks of "rgb" holds
        self._own_look = False  # it is of the frame that is shown

    @property
    def latest(self) -> Tensor:
        """The last feature, `float32 (1, D)`."""
        assert self._latest is not None, "no frame was pushed"
        return self._latest

    def push(self, pixels: Pixels, index: int) -> Tensor:
        """The feature `float32 (1, D)` of the next frame `uint8 (H, W, 3)`, sampled frame `index` of what has begun.

        The same array once more is a frame that is still shown: it has not moved, and is encoded once as such.
        """
        before, self._before = self._before, pixels
        held = self._latest if index // self._recognizer.rgb_every == self._look else None
        self._look = index // self._recognizer.rgb_every
        if pixels is not before:
            self._still, self._own_look = None, held is None
            # As in a file: what moved between two sizes cannot be said.
            same_size = before is not None and before.shape == pixels.shape
            self._latest = self._encode(pixels, before if same_size else None, held)
        else:
            held = self._latest if self._own_look else held
            if self._still is None or held is None:
                self._still = self._encode(pixels, pixels, held) if self._motion else self.latest
            self._own_look |= held is None
            self._latest = self._still
        return self._latest

    def stay(self, index: int) -> None:
        """The frame is shown until sampled frame `index`, for longer than anything changes: `latest` is its feature."""
        self._look = index // self._recognizer.rgb_every

    @without_tf32()
    @torch.inference_mode()
    def _encode(self, pixels: Pixels, before: Pixels | None, held: Tensor | None) -> Tensor:
        begun = time.perf_counter()
        previous = None if before is None or not self._motion else self._tensor(before)
        held = None if held is None else held.to(self._device)
        feature = self._recognizer.encode(self._tensor(pixels).unsqueeze(0), previous, held)[0].float().cpu()
        self.encode_seconds += time.perf_counter() - begun
        return feature

    def _tensor(self, pixels: Pixels) -> Tensor:
        """`uint8 (1, 3, H, W)` in the decoder's memory order, in which resizing is fastest."""
        return torch.from_numpy(pixels).to(self._device).permute(2, 0, 1).unsqueeze(0)


def checked_frame(frame: Pixels | Tensor) -> Pixels:
    """A frame as a contiguous array `uint8 (H, W, 3)`.

    Raises:
        FrameError: another type, shape or dtype; says what was meant where that can be told.

    >>> checked_frame(torch.zeros(48, 64, 3, dtype=torch.uint8)).shape
    (48, 64, 3)
    >>> checked_frame(np.zeros((3, 48, 64), np.uint8))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    activity.inference.frame_features.FrameError: a frame is uint8 (3, 48, 64); accepted: RGB uint8 (H, W, 3). ...
    """
    accepted = "accepted: RGB uint8 (H, W, 3)."
    if isinstance(frame, Tensor):
        frame = frame.detach().cpu().numpy()
    if not isinstance(frame, np.ndarray):
        raise FrameError(f"a frame is {type(frame).__name__}; {accepted} Give a numpy array or a tensor.")
    given = f"a frame is {frame.dtype} {frame.shape}; {accepted}"
    if frame.ndim == 3 and frame.shape[2] != 3 and frame.shape[0] == 3:
        raise FrameError(f"{given} Colours come last: frame.permute(1, 2, 0) of a tensor, frame.transpose(1, 2, 0).")
    if frame.ndim == 4 and frame.shape[0] == 1:
        raise FrameError(f"{given} One frame at a time: frame[0].")
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        raise FrameError(f"{given} Of a grey picture: cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB).")
    if frame.ndim == 3 and frame.shape[2] == 4:
        raise FrameError(f"{given} Without transparency: frame[:, :, :3].")
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise FrameError(given)
    if frame.dtype != np.uint8:
        scaled = " Of 0 to 1: (frame * 255).round().astype(numpy.uint8)." if frame.dtype.kind == "f" else ""
        raise FrameError(f"{given}{scaled}")
    return np.ascontiguousarray(frame)
