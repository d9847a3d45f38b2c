"""What of an encoder is trained on frames, and features that gradients flow through."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from activity.models.encoder import FrameEncoder
from activity.models.looks import whole_looks

PARTS = ("none", "last", "all")
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class TrainedPart:
    """The part of an encoder's CNN that is trained.

    Attributes:
        modules: by name, in the order of the CNN; "" is all of it.
        trained: how many numbers are trained.
        of: how many the CNN has.
    """

    modules: dict[str, nn.Module]
    trained: int
    of: int

    def parameters(self) -> list[nn.Parameter]:
        """All parameters of the part."""
        return [parameter for module in self.modules.values() for parameter in module.parameters()]

    def describe(self) -> str:
        """The part in words.

        >>> trained_part(nn.Sequential(nn.Linear(9, 3), nn.Linear(3, 9), nn.Linear(9, 9)), "last").describe()
        '2 (0.0 of 0.0 million parameters)'
        """
        names = [name for name, module in self.modules.items() if any(True for _ in module.parameters())]
        where = "the whole CNN" if names == [""] else names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        return f"{where} ({self.trained / 1e6:.1f} of {self.of / 1e6:.1f} million parameters)"


def trained_part(backbone: nn.Module, part: str) -> TrainedPart:
    """The part of a CNN that "last" or "all" names.

    "last": the blocks at the end, as few as hold half of the CNN's parameters. A block is a child module in the order
    of definition, and one that holds more than half by itself is replaced by its children, again and again. In a
    ResNet this is `layer4`, in an EfficientNet or a MobileNet the blocks of the lowest resolution with the layers
    after them, in a ConvNeXt the last stage, in a vision transformer the later half of the layers.

    Raises:
        ValueError: for another part.

    >>> cnn = nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 20)))
    >>> list(trained_part(cnn, "last").modules), list(trained_part(cnn, "all").modules)
    (['2.1'], [''])
    """
    total = _count(backbone)
    if part == "all":
        return TrainedPart({"": backbone}, total, total)
    if part != "last":
        raise ValueError(f"the part of the CNN to train is {part!r}; accepted: last, all.")
    chosen: list[tuple[str, nn.Module]] = []
    for name, block in reversed(_blocks(backbone, "", total)):
        if 2 * sum(_count(module) for _, module in chosen) >= total:
            break
        chosen.append((name, block))
    return TrainedPart(dict(reversed(chosen)), sum(_count(module) for _, module in chosen), total)


def as_trained(encoder: FrameEncoder) -> FrameEncoder:
    """An encoder of the very same weights that computes in float32, through which gradients flow.

    The other one computes with a copy of the weights, which `FrameEncoder.follow_backbone` brings up to date.
    """
    return FrameEncoder(
        name=encoder.name,
        preprocess=encoder.preprocess,
        backbone=encoder.backbone,
        modalities=encoder.modalities,
        rgb_every=encoder.rgb_every,
        contrast=encoder.contrast,
        noise=encoder.noise,
        trained=True,
    )


def set_training_mode(encoder: FrameEncoder, part: TrainedPart) -> None:
    """The trained part in training mode, but for batch norm; the rest in evaluation mode.

    Batch norm keeps its statistics: a step sees a few clips, whose frames are nearly alike, and prediction normalises
    by the stored statistics whatever the batch. Its scale and shift are weights as any other (Wang et al. 2016 freeze
    it likewise where they fine-tune on videos).
    """
    encoder.eval()
    for module in part.modules.values():
        module.train()
        for child in module.modules():
            if isinstance(child, _BATCH_NORMS):
                child.eval()


def encode_windows(
    encoder: FrameEncoder, windows: Sequence[tuple[Tensor, Tensor]], *, window_frames: int, piece_frames: int | None
) -> tuple[Tensor, Tensor]:
    """Features of windows of frames, with gradients.

    Args:
        encoder: of `as_trained`.
        windows: frames `uint8 (T, 3, H, W)` and the sampled frame before the first, `uint8 (3, H, W)`, of each; T is 1
            to `window_frames`, and sizes may differ.
        window_frames: T_w.
        piece_frames: None: what the CNN computes on its way is kept for the gradients. A number: it is computed again
            for them, for so many frames of one window at a time (gradient checkpointing, Chen et al. 2016), which takes
            a third more time and the memory of one such piece.

    Returns:
        Features `float32 (B, T_w, D)`, padded with zeros, and the windows' lengths `int64 (B,)`.
    """
    by_shape: dict[torch.Size, list[int]] = {}
    for position, (frames, _) in enumerate(windows):
        by_shape.setdefault(frames.shape, []).append(position)
    features: dict[int, Tensor] = {}
    for positions in by_shape.values():
        for own in [positions] if piece_frames is None else [[position] for position in positions]:
            frames = torch.stack([windows[position][0] for position in own])
            previous = torch.stack([windows[position][1] for position in own])
            encoded = _encode(encoder, frames, previous, piece_frames)
            features.update(zip(own, encoded, strict=True))
    lengths = torch.tensor([len(frames) for frames, _ in windows], device=windows[0][0].device)
    missing = [window_frames - len(features[position]) for position in range(len(windows))]
    padded = [nn.functional.pad(features[row], (0, 0, 0, more)) for row, more in enumerate(missing)]
    return torch.stack(padded), lengths


def _encode(encoder: FrameEncoder, frames: Tensor, previous: Tensor, piece_frames: int | None) -> Tensor:
    if piece_frames is None:
        encoded: Tensor = encoder(frames, previous)
        return encoded.float()
    pieces = []
    piece_frames = whole_looks(piece_frames, encoder.rgb_every)
    for start in range(0, frames.shape[1], piece_frames):
        piece = frames[:, start : start + piece_frames]
        pieces.append(checkpoint(encoder, piece, previous, use_reentrant=False))
        previous = piece[:, -1]
    return torch.cat(pieces, dim=1).float()


def _blocks(module: nn.Module, prefix: str, total: int) -> list[tuple[str, nn.Module]]:
    blocks = []
    for name, child in module.named_children():
        inner = _blocks(child, f"{prefix}{name}.", total) if 2 * _count(child) > total else []
        blocks += inner or [(f"{prefix}{name}", child)]
    return blocks


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
