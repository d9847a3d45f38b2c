"""The recognizer: all that turns frames into named scores, and what it says of itself."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from activity.models.encoder import FrameEncoder, rebuild_encoder
from activity.models.head import MeanPool, StackedLSTM, build_head

FORMAT_VERSION = 5


class LoadedRecognizer(Protocol):
    """What is known of a recognizer, whatever the file format it was loaded from.

    Attributes:
        class_names: the name of each logit.
        sample_fps: sampled frames a second.
        window_frames: sampled frames that the head reads at once.
        modalities, rgb_every: what the encoder looks at, as of `FrameEncoder`.
        square_pixels: frames are to be given with square pixels, as of `Preprocess`.
        format_version: of what it says of itself.
        format_name: of the file, for people.
        encoder_name: of the CNN.
        precision: what the CNN computed in when the head was trained, "float32" or "bfloat16".
        computes_in: what it computes in, "float32", "bfloat16" (where the processor has it) or "int8".
        by_torch: torch computes, and so in each precision as it did for the checkpoint.
        temperature: `float32 ()`, that logits are divided by.
    """

    class_names: list[str]
    sample_fps: float
    window_frames: int
    modalities: list[str]
    rgb_every: int
    square_pixels: bool
    format_version: int
    format_name: str
    encoder_name: str
    precision: str
    computes_in: str
    by_torch: bool
    temperature: Tensor

    def encode(self, frames: Tensor, previous: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        """Frames `uint8 (B, T, 3, H, W)` to features `(B, T, D)`; see `Recognizer.encode`."""

    def encode_rows(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """Features `(N, D)` of frames `uint8 (M, 3, H, W)`, by size; see `FrameEncoder.encode_rows`."""

    def classify(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features `(B, T, D)` to logits `(B, C)`."""


class Recognizer(nn.Module):
    """Preprocessing, encoder, head, class names and sampling in one scriptable module.

    Args:
        encoder: frames to features.
        head: features to logits.
        class_names: the name of each logit.
        sample_fps: sampled frames a second that the head was trained on.
        window_frames: sampled frames that the head reads at once.

    Its buffer `temperature`, a number above 0, divides the head's logits (Guo et al. 2017): fitted after training, it
    makes scores mean what they say and changes no ranking of a window's classes. It is part of the weights.
    """

    class_names: list[str]
    modalities: list[str]
    temperature: Tensor

    def __init__(
        self,
        *,
        encoder: FrameEncoder,
        head: StackedLSTM | MeanPool,
        class_names: list[str],
        sample_fps: float,
        window_frames: int,
    ) -> None:
        super().__init__()
        self.format_version = FORMAT_VERSION
        self.class_names = list(class_names)
        self.sample_fps = float(sample_fps)
        self.window_frames = int(window_frames)
        self.modalities = list(encoder.modalities)
        self.rgb_every = encoder.rgb_every
        self.square_pixels = encoder.preprocess.square_pixels
        self.format_name = "checkpoint"
        self.encoder_name = encoder.name
        self.precision = self.computes_in = encoder.precision
        self.by_torch = True
        self.encoder = encoder
        self.head = head
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, frames: Tensor) -> Tensor:
        """Sampled frames `uint8 (B, T, 3, H, W)`, RGB, any H and W, to logits `(B, C)`: one window an item."""
        return self.classify(self.encode(frames, None, None), None)

    @torch.jit.export
    def encode(self, frames: Tensor, previous: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        """Features `float32 (B, T, D)` of consecutive sampled frames.

        Args:
            frames: `uint8 (B, T, 3, H, W)`, RGB, any H and W. "rgb" looks at the first and each `rgb_every`-th after.
            previous: the sampled frame before the first, `uint8 (B, 3, H, W)` or `(B, 1, 3, H, W)`, when a video is
                read in pieces.
            held: the feature of the sampled frame before the first, `float32 (B, D)` or `(B, 1, D)`, when a piece
                begins at a frame that "rgb" does not look at (one whose index is no multiple of `rgb_every`) and ends
                before the next that it does. Of no use where it looks at each.

        Raises:
            ValueError: for another dtype or shape.
        """
        check_frames(frames, previous)
        if held is not None:
            check_held(held, frames, self.head.feature_size, self.rgb_every)
        features: Tensor = self.encoder(frames, previous, held if self.rgb_every > 1 else None)
        return features

    @torch.jit.export
    def encode_rows(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """Features `float32 (N, D)` of single frames; see `FrameEncoder.encode_rows`.

        Raises:
            ValueError: for another dtype, shape or number, or where "motion" is to be seen without `previous_rows`.
        """
        check_rows(frames, rows, previous_rows, self.modalities)
        features: Tensor = self.encoder.encode_rows(frames, rows, previous_rows)
        return features

    @torch.jit.export
    def classify(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits `(B, C)` of windows of features `(B, T, D)`, divided by the temperature.

        Args:
            features: `float32 (B, T, D)`.
            lengths: `int64 (B,)`, 1 to T: how many features of each window count; the rest is padding. None: all.

        Raises:
            ValueError: for another dtype, shape or length.
        """
        check_features(features, self.head.feature_size, self.temperature.dtype)
        if lengths is None:
            lengths = torch.full((features.shape[0],), features.shape[1], dtype=torch.int64, device=features.device)
        check_lengths(lengths, features)
        logits: Tensor = self.head(features, lengths)
        return logits / self.temperature

    def describe(self) -> dict[str, Any]:
        """All but the weights, as plain Python, for `rebuild_recognizer`."""
        return {
            "format_version": self.format_version,
            "class_names": list(self.class_names),
            "sample_fps": self.sample_fps,
            "window_frames": self.window_frames,
            "encoder": self.encoder.describe(),
            "head": self.head.describe(),
        }


def _in_words(tensor: Tensor) -> str:
    """Dtype and shape, for messages: TorchScript prints a dtype as a number that only torch knows."""
    kinds = [torch.uint8, torch.int64, torch.float32, torch.float64, torch.float16, torch.bfloat16]
    names = ["uint8", "int64", "float32", "float64", "float16", "bfloat16"]
    kind = names[kinds.index(tensor.dtype)] if tensor.dtype in kinds else "of another dtype"
    return f"{kind} {list(tensor.shape)}"


def check_frames(frames: Tensor, previous: Tensor | None) -> None:
    """Refuse what `encode` cannot take, as it says."""
    if frames.dtype != torch.uint8 or frames.dim() != 5 or frames.shape[2] != 3 or frames.numel() == 0:
        raise ValueError(f"frames are {_in_words(frames)}; accepted: uint8 RGB (B, T, 3, H, W).")
    if previous is not None:
        shaped = previous.shape == frames[:, 0].shape or previous.shape == frames[:, :1].shape
        if previous.dtype != torch.uint8 or not shaped:
            raise ValueError(f"previous is {_in_words(previous)}; accepted: uint8 (B, 3, H, W), as frames.")


def check_held(held: Tensor, frames: Tensor, feature_size: int, rgb_every: int) -> None:
    """Refuse a `held` that `encode` cannot take, as it says."""
    batch, time = frames.shape[0], frames.shape[1]
    shaped = held.shape == (batch, feature_size) or held.shape == (batch, 1, feature_size)
    if held.dtype != torch.float32 or not shaped:
        raise ValueError(
            f"held is {_in_words(held)}; accepted: float32 ({batch}, {feature_size}), of the frame before."
        )
    if rgb_every > 1 and time >= rgb_every:
        raise ValueError(
            f"held is given for {time} frames; accepted: fewer than rgb_every ({rgb_every}), those up to the next look."
        )


def check_features(features: Tensor, feature_size: int, dtype: torch.dtype) -> None:
    """Refuse features that `classify` cannot take, as it says; `dtype` is that of the head."""
    if features.dtype != dtype or features.dim() != 3 or features.shape[2] != feature_size:
        raise ValueError(f"features are {_in_words(features)}; accepted: float32 (B, T, {feature_size}).")


def check_lengths(lengths: Tensor, features: Tensor) -> None:
    """Refuse lengths that `classify` cannot take, as it says."""
    batch, time = features.shape[0], features.shape[1]
    shaped = lengths.dtype == torch.int64 and lengths.shape == features.shape[:1]
    if not shaped or bool((lengths < 1).any()) or bool((lengths > time).any()):
        raise ValueError(f"lengths are {_in_words(lengths)} {lengths}; accepted: int64 ({batch},), 1 to {time}.")


def check_rows(frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None, modalities: list[str]) -> None:
    """Refuse what `encode_rows` cannot take, as it says."""
    for alike in frames:
        if alike.dtype != torch.uint8 or alike.dim() != 4 or alike.shape[1] != 3:
            raise ValueError(f"frames are {_in_words(alike)}; accepted: uint8 RGB (M, 3, H, W), by size.")
    if len(rows) == 0:
        raise ValueError("rows are none; accepted: one or more.")
    if previous_rows is None and "motion" in modalities:
        raise ValueError("previous_rows is None, and motion lies between two frames: give the row of each one before.")
    if previous_rows is not None and len(previous_rows) != len(rows):
        raise ValueError(f"previous_rows are {len(previous_rows)}; accepted: as many as rows ({len(rows)}).")


def rebuild_recognizer(description: dict[str, Any]) -> Recognizer:
    """The recognizer that `Recognizer.describe` described, its weights still to be loaded."""
    return Recognizer(
        encoder=rebuild_encoder(description["encoder"]),
        head=build_head(description["head"]),
        class_names=description["class_names"],
        sample_fps=description["sample_fps"],
        window_frames=description["window_frames"],
    ).eval()
