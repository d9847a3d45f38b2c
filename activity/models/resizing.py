"""Antialiased resizing of uint8 pictures in operations of any runtime, to the very pixels that torch's CPU gives."""

import torch
from torch import Tensor


def resized_by_matrices(frames: Tensor, size: list[int], interpolation: str) -> Tensor:
    """What `torch.nn.functional.interpolate` gives on a CPU for uint8 with `antialias=True`, without it.

    First each row, then each column is multiplied by a matrix of weights; either time the sums are rounded to uint8, as
    in Pillow. The weights are whole numbers, so that every runtime sums them to the same pixels: float64 always, which
    neither autocast nor a GPU's TF32 touches; a runtime that has float32 alone, up to a reduction to an eighth.

    Args:
        frames: `uint8 (N, C, H, W)`.
        size: height and width of the result.
        interpolation: "bilinear" or "bicubic".

    Returns:
        `uint8 (N, C, *size)`.
    """
    across, of_across = _whole_weights(frames.shape[-1], size[1], interpolation)
    down, of_down = _whole_weights(frames.shape[-2], size[0], interpolation)
    across, of_across = across.to(frames.device), of_across.to(frames.device)
    down, of_down = down.to(frames.device), of_down.to(frames.device)
    pixels = frames.double() - 128  # around the middle, sums are half as large
    pixels = _rounded(pixels.matmul(across.transpose(0, 1)) + 128 * (across.sum(1) - of_across), of_across)
    pixels = _rounded(down.matmul(pixels) + 128 * (down.sum(1) - of_down).unsqueeze(1), of_down)
    return (pixels + 128).to(torch.uint8)


def smaller(one: int, other: int) -> int:
    """The smaller of two sizes, as every exporter takes it: `min` would be decided once for all by one that traces.

    >>> smaller(3, 5), smaller(5, 3), smaller(4, 4)
    (3, 3, 4)
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        size: object = one
        if isinstance(size, torch.SymInt):  # of `torch.export`, which cannot write `abs` down
            return torch.sym_min(one, other)  # type: ignore[no-any-return]
    return (one + other - abs(one - other)) // 2


def _rounded(sums: Tensor, one: Tensor) -> Tensor:
    """Pixels around the middle: a half goes up."""
    return (sums / one + 0.5).floor().clamp(-128, 127)


def _whole_weights(given: int, wanted: int, interpolation: str) -> tuple[Tensor, Tensor]:
    """Weights `float64 (wanted, given)`, all whole numbers, and the power of two `float64 ()` that stands for 1.

    >>> weights, one = _whole_weights(4, 2, "bilinear")
    >>> (weights / one).round(decimals=2)
    tensor([[0.4300, 0.4300, 0.1400, 0.0000],
            [0.0000, 0.1400, 0.4300, 0.4300]], dtype=torch.float64)
    """
    to = torch.arange(wanted).unsqueeze(1)
    at = torch.arange(given).unsqueeze(0)
    # How far pixel `at` lies from the centre of pixel `to`, in pixels of the coarser of the two pictures: a quotient of
    # whole numbers, so that a runtime without float64 is as good as exact.
    coarser = given + wanted - smaller(given, wanted)
    far = ((2 * at + 1) * wanted - given * (2 * to + 1)).abs().double() / (2 * coarser)
    if interpolation == "bilinear":
        weights = (1 - far).clamp(min=0)
    else:  # Keys 1981, with a = -0.5 as in Pillow
        near = (1.5 * far - 2.5) * far * far + 1
        off = -0.5 * (((far - 5) * far + 8) * far - 4)
        weights = torch.where(far < 1, near, torch.where(far < 2, off, torch.zeros_like(far)))
    weights = weights / weights.sum(1, keepdim=True)
    # As many bits after the point as leave the largest weight below 2^15, up to 22.
    powers = 2.0 ** torch.arange(1, 23).double()
    bits = ((weights.max() * powers + 0.5).floor() < 2**15).sum()
    one = 2.0 ** bits.double()
    weights = weights * one
    whole = torch.where(weights < 0, -(0.5 - weights).floor(), (weights + 0.5).floor())
    return whole, one
