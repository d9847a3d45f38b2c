"""Small recognizers for tests: real in every part but the size of the CNN."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from activity.formats.checkpoint import STATE_PREFIX, describe_into
from activity.formats.torchscript import without_deprecation_warnings
from activity.models.encoder import FrameEncoder, create_encoder
from activity.models.head import MeanPool, StackedLSTM
from activity.models.preprocess import Preprocess
from activity.models.recognizer import Recognizer

# Networks as small as these gain nothing from threads, and beside other work the threads wait for each other.
torch.set_num_threads(1)

CLASS_NAMES = ["run", "sit down", "walk"]
# A CNN of 0.5 million weights that timm keeps for tests: the quickest one that a name can rebuild.
SMALL_ENCODER = "timm/test_resnet.r160_in1k"


def tiny_preprocess() -> Preprocess:
    return Preprocess(
        resize_size=20, crop_size=16, interpolation="bilinear", mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3]
    )


def tiny_encoder(*modalities: str, seed: int = 0, rgb_every: int = 1) -> FrameEncoder:
    """An encoder of one convolution, 32 numbers a modality; "rgb" where no modality is given."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    encoder = FrameEncoder(
        name="tiny",
        preprocess=tiny_preprocess(),
        backbone=backbone,
        modalities=list(modalities) or ["rgb"],
        rgb_every=rgb_every,
    )
    return encoder.eval().requires_grad_(False)


def small_encoder(*modalities: str, rgb_every: int = 1) -> FrameEncoder:
    """An encoder that a checkpoint can name, with small frames."""
    encoder = create_encoder(
        name=SMALL_ENCODER,
        weights="none",
        modalities=list(modalities) or ["rgb"],
        framing="centre",
        rgb_every=rgb_every,
    )
    encoder.preprocess = tiny_preprocess()
    return encoder


def lstm_head(feature_size: int, *, seed: int = 0, **changes: Any) -> StackedLSTM:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return StackedLSTM(**{**_LSTM, "feature_size": feature_size, **changes}).eval()


def mean_pool_head(feature_size: int, *, num_classes: int = 3, modality_weights: Sequence[float] = (1.0,)) -> MeanPool:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MeanPool(
            feature_size=feature_size,
            modality_weights=modality_weights,
            mean_penalty=0.0,
            num_classes=num_classes,
            dropout=0.1,
            modality_dropout=0.5,
        ).eval()


def tiny_recognizer(
    encoder: FrameEncoder | None = None,
    head: StackedLSTM | MeanPool | None = None,
    *,
    sample_fps: float = 5.0,
    window_frames: int = 4,
) -> Recognizer:
    encoder = encoder or tiny_encoder()
    return Recognizer(
        encoder=encoder,
        head=head or lstm_head(encoder.feature_size),
        class_names=CLASS_NAMES,
        sample_fps=sample_fps,
        window_frames=window_frames,
    ).eval()


def random_frames(batch: int, time: int, height: int = 24, width: int = 32, *, seed: int = 0) -> Tensor:
    """Frames `uint8 (batch, time, 3, height, width)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, time, 3, height, width), dtype=torch.uint8, generator=generator)


def script(module: nn.Module) -> Any:
    """TorchScript of a module; that TorchScript is deprecated is no news here."""
    with without_deprecation_warnings():
        return torch.jit.script(module)


def checkpoint_of(recognizer: Recognizer) -> dict[str, Any]:
    """What training saves, less what belongs to Lightning."""
    checkpoint: dict[str, Any] = {
        "state_dict": {STATE_PREFIX + name: tensor for name, tensor in recognizer.state_dict().items()},
        "epoch": 3,
    }
    describe_into(checkpoint, recognizer)
    return checkpoint


class Pickled:
    """An object whose unpickling makes a file: stands for any code that an attacker would have run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


_LSTM = {
    "modality_weights": [1.0],
    "mean_penalty": 0.0,
    "num_classes": 3,
    "projection_size": 5,
    "hidden_size": 6,
    "num_layers": 2,
    "dropout": 0.1,
    "modality_dropout": 0.5,
    "bidirectional": False,
    "readout": "mean",
    "centered": True,
    "shortcut": True,
    "pooled_vote": True,
}
