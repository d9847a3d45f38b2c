"""TorchScript: one file that answers as training did and needs torch alone. The one caller of `torch.jit`."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from activity.files import write_atomically
from activity.formats.compare import check_same_scores
from activity.formats.contract import MAKE_ONE, ModelFileError, cannot_express, check_format_version
from activity.models.encoder import FrameEncoder
from activity.models.recognizer import LoadedRecognizer, Recognizer

CONTRACT = (
    "class_names",
    "sample_fps",
    "window_frames",
    "modalities",
    "rgb_every",
    "format_version",
    "encode",
    "encode_rows",
    "classify",
)


def export_torchscript(recognizer: Recognizer, path: Path, examples: list[Tensor]) -> float:
    """Write a recognizer as a TorchScript file, after comparing it with the eager one.

    What is compared is the file's own content, loaded again. The file appears whole or not at all.

    Args:
        recognizer: what to export; moved to the CPU.
        path: the file to write; the suffix is `.ts` by convention.
        examples: windows of frames `uint8 (1, T, 3, H, W)`, to compare on besides random ones.

    Returns:
        The largest difference of scores seen.

    Raises:
        ModelFileError: TorchScript cannot express the encoder, or scores differ by more than 1e-4; nothing is written.
    """
    recognizer = recognizer.cpu().eval()
    try:
        with _without_deprecation_warnings(), _without_training_weights(recognizer.encoder):
            scripted = torch.jit.script(recognizer)
    except Exception as error:  # of many kinds, AssertionError and OSError too
        raise cannot_express("TorchScript", recognizer.encoder.name, error) from error
    buffer = io.BytesIO()
    with _without_deprecation_warnings():
        torch.jit.save(scripted, buffer)
        buffer.seek(0)
        loaded = torch.jit.load(buffer)
    difference = check_same_scores(recognizer, [loaded], examples)
    write_atomically(path, buffer.getvalue())
    return difference


def load_torchscript(path: Path, device: torch.device) -> LoadedRecognizer:
    """The recognizer of an exported file.

    Raises:
        ModelFileError: truncated, of another program, or of another version.
    """
    try:
        with _without_deprecation_warnings():
            module = torch.jit.load(path, map_location=device)
    except RuntimeError as error:
        raise ModelFileError(f"{path} is no model file, or not a whole one. {MAKE_ONE}") from error
    missing = [name for name in CONTRACT if not hasattr(module, name)]
    if missing:
        raise ModelFileError(f"{path} is a TorchScript file of another program: no {', '.join(missing)}. {MAKE_ONE}")
    check_format_version(path, module.format_version)
    return module.eval()  # type: ignore[no-any-return]


def answer_at_once() -> None:
    """Have TorchScript run graphs as they are, in all of this process, and not watch its first runs for what to fuse.

    On a CPU it fuses nothing, and a first label comes a tenth of a second sooner.
    """
    with _without_deprecation_warnings():
        torch.jit.set_fusion_strategy([])


@contextmanager
def _without_training_weights(encoder: FrameEncoder) -> Iterator[None]:
    """Leave out the weights that no feature is computed with: a file of half the size."""
    backbone = encoder.backbone
    encoder.backbone = nn.Identity()
    try:
        yield
    finally:
        encoder.backbone = backbone


@contextmanager
def _without_deprecation_warnings() -> Iterator[None]:
    """TorchScript is deprecated since torch 2.11 and works; that it does is this file's business, not the user's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        yield
