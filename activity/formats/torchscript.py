"""TorchScript: one file that answers as training did and needs torch alone. The one caller of `torch.jit`."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from activity.files import write_atomically
from activity.formats.compare import Window, check_same_scores
from activity.formats.contract import (
    MAKE_ONE,
    ModelFileError,
    cannot_express,
    check_format_version,
    of_another_version,
)
from activity.models.recognizer import LoadedRecognizer, Recognizer

NAME = "TorchScript"
# Of the interface: what each version has had, and the rest.
_FIRST = ("class_names", "sample_fps", "window_frames", "modalities", "format_version", "encode", "classify")
_FURTHER = (
    "rgb_every",
    "encode_rows",
    "format_name",
    "encoder_name",
    "precision",
    "computes_in",
    "by_torch",
    "temperature",
)


def export_torchscript(recognizer: Recognizer, path: Path, examples: Sequence[Window]) -> float:
    """Write a recognizer as a TorchScript file, after comparing it with the eager one.

    What is compared is the file's own content, loaded again. The file appears whole or not at all.

    Args:
        recognizer: what to export; moved to the CPU.
        path: the file to write; the suffix is `.ts` by convention.
        examples: windows to compare on, besides random ones.

    Returns:
        The largest difference of scores seen.

    Raises:
        ModelFileError: TorchScript cannot express the encoder, or scores differ by more than 1e-4; nothing is written.
    """
    recognizer = recognizer.cpu().eval()
    try:
        with without_deprecation_warnings(), _as_in_a_file(recognizer):
            scripted = torch.jit.script(recognizer)
    except Exception as error:  # of many kinds, AssertionError and OSError too
        raise cannot_express(path, NAME, recognizer.encoder.name, error) from error
    buffer = io.BytesIO()
    with without_deprecation_warnings():
        torch.jit.save(scripted, buffer)
        buffer.seek(0)
        loaded = torch.jit.load(buffer)
    difference = check_same_scores(path, recognizer, [loaded], examples)
    write_atomically(path, buffer.getvalue())
    return difference


def load_torchscript(path: Path, device: torch.device) -> LoadedRecognizer:
    """The recognizer of an exported file.

    Raises:
        ModelFileError: truncated, of another program, or of another version.
    """
    try:
        with without_deprecation_warnings():
            module = torch.jit.load(path, map_location=device)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ModelFileError(f"{path} is no model file, or not a whole one. {MAKE_ONE}") from error
    if missing := [name for name in _FIRST if not hasattr(module, name)]:
        raise ModelFileError(f"{path} is a TorchScript file of another program: no {', '.join(missing)}. {MAKE_ONE}")
    check_format_version(path, module.format_version)
    if not all(hasattr(module, name) for name in _FURTHER):
        raise of_another_version(path)
    # Said of the recognizer itself only in files that know of pixels that are not square.
    module.square_pixels = module.encoder.preprocess.framing != "whole"
    return module.eval()  # type: ignore[no-any-return]


def answer_at_once() -> None:
    """Have TorchScript run graphs as they are, in all of this process, and not watch its first runs for what to fuse.

    On a CPU it fuses nothing, and a first label comes a tenth of a second sooner.
    """
    with without_deprecation_warnings():
        torch.jit.set_fusion_strategy([])


@contextmanager
def _as_in_a_file(recognizer: Recognizer) -> Iterator[None]:
    """Leave out the weights that no feature is computed with, for a file of half the size, and name the format."""
    encoder, backbone, name = recognizer.encoder, recognizer.encoder.backbone, recognizer.format_name
    encoder.backbone, recognizer.format_name = nn.Identity(), NAME
    try:
        yield
    finally:
        encoder.backbone, recognizer.format_name = backbone, name


@contextmanager
def without_deprecation_warnings() -> Iterator[None]:
    """Keep torch from saying that TorchScript is deprecated: it works, and that it does is not the user's business.

    The category depends on the version: DeprecationWarning since torch 2.11, FutureWarning since 2.14.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit")
        yield
