"""From uint8 frames of any size to the pixels that a pretrained network was trained on."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from activity.models.resizing import resized_by_matrices, smaller

INTERPOLATIONS = ("bilinear", "bicubic")
FRAMINGS = ("whole", "centre")


class Preprocess(nn.Module):
    """Frames to the square of pixels that the weights read, scaled to [0, 1] and normalised.

    Framing "centre" resizes the shorter side and crops the centre: the steps of
    `torchvision.transforms._presets.ImageClassification`. Of a 16:9 picture that leaves half, and what happens at its
    sides is not seen. Framing "whole" resizes the whole picture to the square instead: seen in full, and narrower.
    Either gives the pixels of torchvision's functions on uint8 (and Pillow's, with which the weights were trained),
    without torchvision: an exported file needs nothing but torch.

    Args:
        resize_size: length of the shorter side after resizing, pixels.
        crop_size: side of the square cut from the centre, pixels; at most `resize_size`.
        interpolation: "bilinear" or "bicubic"; both antialiased.
        mean, std: one number a channel (red, green, blue), on the [0, 1] scale.
        framing: "whole" or "centre".

    `square_pixels` says whether frames are to be given with pixels as wide as high: a centred square of a picture
    depends on its proportions, and the whole of it, resized to a square, does not.

    >>> preprocess = Preprocess(
    ...     resize_size=8, crop_size=6, interpolation="bilinear", mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]
    ... )
    >>> pixels = preprocess(torch.full((2, 3, 20, 30), 255, dtype=torch.uint8))
    >>> tuple(pixels.shape), pixels.max().item()
    ((2, 3, 6, 6), 1.0)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        resize_size: int,
        crop_size: int,
        interpolation: str,
        mean: list[float],
        std: list[float],
        framing: str = "centre",
    ) -> None:
        super().__init__()
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation is {interpolation!r}; accepted: {', '.join(INTERPOLATIONS)}.")
        if framing not in FRAMINGS:
            raise ValueError(f"framing is {framing!r}; accepted: {', '.join(FRAMINGS)}.")
        if not 0 < crop_size <= resize_size:
            raise ValueError(f"crop_size is {crop_size}; accepted: 1 to resize_size, which is {resize_size}.")
        self.resize_size = resize_size
        self.crop_size = crop_size
        self.interpolation = interpolation
        self.framing = framing
        self.square_pixels = framing != "whole"
        # For exporters, which write down what is done with one example: nothing is decided by a picture's size, and no
        # operation is taken that torch alone has.
        self.traced = False
        # Beside the float32 buffers, with the digits they were given in.
        self._given_mean = [float(value) for value in mean]
        self._given_std = [float(value) for value in std]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `uint8 (N, 3, H, W)`, any H and W, to normalised pixels `float32 (N, 3, crop_size, crop_size)`."""
        return self.normalised(self.pictures(frames))

    def pictures(self, frames: Tensor) -> Tensor:
        """Frames `uint8 (N, 3, H, W)`, any H and W, resized and cropped, `uint8 (N, 3, crop_size, crop_size)`."""
        return self._crop(self._resize(frames, self._size(frames.shape[-2], frames.shape[-1])))

    def normalised(self, pictures: Tensor) -> Tensor:
        """Pictures `uint8 (N, 3, crop_size, crop_size)` as the pixels that the weights read, float32."""
        # Laid out anew while they are bytes; a copy, whatever they are.
        return normalise_(pictures.contiguous().to(torch.float32, copy=True), self.mean, self.std)

    def describe(self) -> dict[str, Any]:
        """Every number of it as plain Python: `Preprocess(**description)` is the same again."""
        return {
            "resize_size": self.resize_size,
            "crop_size": self.crop_size,
            "interpolation": self.interpolation,
            "mean": self._given_mean,
            "std": self._given_std,
            "framing": self.framing,
        }

    def _size(self, height: int, width: int) -> list[int]:
        """Height and width after resizing."""
        if self.framing == "whole":
            return [self.crop_size, self.crop_size]
        short = smaller(height, width)
        return [self.resize_size * height // short, self.resize_size * width // short]

    def _resize(self, frames: Tensor, size: list[int]) -> Tensor:
        if not self.traced and frames.shape[-2] == size[0] and frames.shape[-1] == size[1]:
            return frames
        if not self.traced and frames.device.type == "cpu":  # the only one that interpolates uint8
            return F.interpolate(frames, size=size, mode=self.interpolation, antialias=True, align_corners=False)
        return resized_by_matrices(frames, size, self.interpolation)

    def _crop(self, frames: Tensor) -> Tensor:
        if self.framing == "whole":
            return frames
        top, left = _half(frames.shape[-2] - self.crop_size), _half(frames.shape[-1] - self.crop_size)
        if self.traced:  # a slice whose ends are computed has no known length to an exporter
            steps = torch.arange(self.crop_size, device=frames.device)
            return frames.index_select(2, steps + top).index_select(3, steps + left)
        return frames[:, :, top : top + self.crop_size, left : left + self.crop_size]


def normalise_(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Pixels of 0 to 255, `float32 (N, 3, S, S)`, as the weights read them; in place, since memory is what it takes."""
    return pixels.div_(255.0).sub_(mean).div_(std)


def _half(pixels: int) -> int:
    """Half of a whole number, to the nearest even one where it lies between two, as `round` has it.

    >>> [_half(pixels) for pixels in (0, 1, 2, 3, 5, 7)] == [round(pixels / 2) for pixels in (0, 1, 2, 3, 5, 7)]
    True
    """
    whole = pixels // 2
    return whole + (pixels % 2) * (whole % 2)
