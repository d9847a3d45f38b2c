"""The parts of a recognizer as exporters trace them, and what with."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from activity.models.computing import copy_numbers
from activity.models.looks import joined, seen_as_traced
from activity.models.recognizer import Recognizer, rebuild_recognizer

MOST_FRAMES, LARGEST_SIDE = 65_536, 16_384

PARTS = ("resize", "prepare", "encoder", "join", "head")
"""The graphs of a model, in data-flow order, as files name them; shapes as the types of `activity.formats.graphs`."""


class ResizePart(nn.Module):
    """The resizing as it is traced."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.preprocess = recognizer.encoder.preprocess

    def forward(self, frames: Tensor) -> Tensor:
        """Frames resized and cropped; shapes as `ResizeGraph`."""
        return self.preprocess.pictures(frames)


class PreparePart(nn.Module):
    """What the CNN is shown, as it is traced: apart from it, for differences of frames do not survive bfloat16."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.encoder = recognizer.encoder

    def forward(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor) -> Tensor:
        """Pixels of the pictures at `rows`, each after the one at `previous_rows`; shapes as `PrepareGraph`."""
        encoder = self.encoder
        return seen_as_traced(
            pictures,
            rgb_rows=rows[:, 0],
            rows=rows.flatten(),
            previous_rows=previous_rows.flatten(),
            modalities=encoder.modalities,
            mean=encoder.preprocess.mean,
            std=encoder.preprocess.std,
            contrast=encoder.contrast,
            noise=encoder.noise,
        )


class EncoderPart(nn.Module):
    """The CNN as it is traced."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.encoder = recognizer.encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """What the CNN makes of pixels; shapes as `EncodeGraph`."""
        return self.encoder.encode_seen(pixels)


class JoinPart(nn.Module):
    """The joining of looks to features, as it is traced: not of the CNN, which answers whatever looks it is shown."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.modalities, self.rgb_every = list(recognizer.modalities), recognizer.rgb_every

    def forward(self, found: Tensor, rows: Tensor) -> Tensor:
        """Features; shapes as `JoinGraph`."""
        lines, every = rows.shape
        return joined(found, batch=lines, time=every, modalities=self.modalities, rgb_every=self.rgb_every).flatten(
            0, 1
        )


class HeadPart(nn.Module):
    """The head as it is traced."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.head, self.temperature = recognizer.head, recognizer.temperature

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Logits of windows of which `lengths` features count; shapes as `ClassifyGraph`."""
        logits: Tensor = self.head(features, lengths)
        return logits / self.temperature


@dataclass(frozen=True)
class Example:
    """Inputs to trace with: sizes that are no special case."""

    frames: Tensor
    pictures: Tensor
    rows: Tensor
    previous_rows: Tensor
    pixels: Tensor
    found: Tensor
    features: Tensor
    lengths: Tensor


def example_of(recognizer: Recognizer) -> Example:
    """Inputs for a recognizer's parts."""
    rows = torch.arange(1, 1 + 2 * recognizer.rgb_every).view(2, -1)
    looks = sum(2 if modality == "rgb" else rows.numel() for modality in recognizer.modalities)
    size = recognizer.encoder.feature_size
    side = recognizer.encoder.preprocess.crop_size
    return Example(
        frames=torch.zeros(3, 3, 120, 160, dtype=torch.uint8),
        pictures=torch.zeros(rows.numel() + 1, 3, side, side, dtype=torch.uint8),
        rows=rows,
        previous_rows=rows - 1,
        pixels=torch.zeros(3, 3, side, side),  # few: a .pt2 file holds the inputs that it was traced with
        found=torch.zeros(looks, size // len(recognizer.modalities)),
        features=torch.zeros(2, recognizer.window_frames, size),
        lengths=torch.tensor([recognizer.window_frames, 1]),
    )


def same_in(recognizer: Recognizer, precision: str, *, traced: bool = False) -> Recognizer:
    """A recognizer that computes in another precision, with the numbers that this one computes with.

    One of bfloat16 has rounded the weights of its CNN, and it was validated with those: in float32 the rounded ones
    bring scores several times as near to its own as those that they were rounded from (with an EfficientNet-Lite0 ten
    times). Only to be traced and to score with: `follow_backbone`, as after loading weights, rounds anew.

    Args:
        recognizer: on the CPU.
        precision: "float32" or "bfloat16".
        traced: it is to be traced, and not to be run.
    """
    description = copy.deepcopy(recognizer.describe())
    description["encoder"]["precision"] = precision
    other = rebuild_recognizer(description)
    other.load_state_dict(recognizer.state_dict())
    if not recognizer.encoder.trained:
        copy_numbers(recognizer.encoder.computing, other.encoder.computing)
    if traced:
        other.encoder.backbone = nn.Identity()  # no feature is computed with it: the file would hold the CNN twice
    other.encoder.preprocess.traced = traced
    return other.eval().requires_grad_(False)
