"""From a recognizer to a file, in the format that its suffix names."""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch import Tensor

from activity.models.recognizer import Recognizer

Windows = Sequence[Tensor]


def save_model(
    recognizer: Recognizer,
    path: Path,
    examples: Windows,
    *,
    split: bool = False,
    calibration: Iterable[Tensor] | None = None,
) -> float:
    """Write a recognizer in the format of the suffix, one of `SUFFIXES`, once it answers as the recognizer does.

    Args:
        recognizer: what to export; moved to the CPU.
        path: the file or folder to write.
        examples: windows of frames `uint8 (1, T, 3, H, W)` to compare on, besides random ones.
        split: of `.onnx`: encoder and head as a file each too.
        calibration: of one of `QUANTISED`: windows that the ranges of the CNN's numbers are taken from, which is then
            written in int8. None: it is not.

    Returns:
        The largest difference of scores seen, where both compute in the same precision.

    Raises:
        ModelFileError: the format's extra is not installed, it cannot express the encoder, or scores differ by more
            than 1e-4; nothing is written.
    """
    return _SAVERS[path.suffix](recognizer, path, examples, split, calibration)


def missing_library(suffix: str, *, quantised: bool) -> tuple[str, str] | None:
    """The extra that a format needs and the library of it that is not installed, or None."""
    wanted = [*_NEEDS.get(suffix, ()), *([("int8", "nncf")] if quantised else [])]
    return next((need for need in wanted if importlib.util.find_spec(need[1]) is None), None)


def _torchscript(recognizer: Recognizer, path: Path, examples: Windows, *_: object) -> float:
    from activity.formats.torchscript import export_torchscript

    return export_torchscript(recognizer, path, list(examples))


def _program(recognizer: Recognizer, path: Path, examples: Windows, *_: object) -> float:
    from activity.formats.exported_program import export_program

    return export_program(recognizer, path, examples)


def _onnx(
    recognizer: Recognizer, path: Path, examples: Windows, split: bool, calibration: Iterable[Tensor] | None
) -> float:
    from activity.formats.onnx import export_onnx

    return export_onnx(recognizer, path, examples, split=split, calibration=calibration)


def _openvino(
    recognizer: Recognizer, path: Path, examples: Windows, _: bool, calibration: Iterable[Tensor] | None
) -> float:
    from activity.formats.openvino import export_openvino

    return export_openvino(recognizer, path, examples, calibration=calibration)


_SAVERS: dict[str, Callable[[Recognizer, Path, Windows, bool, Iterable[Tensor] | None], float]] = {
    ".ts": _torchscript,
    ".pt": _torchscript,
    ".pt2": _program,
    ".onnx": _onnx,
    ".openvino": _openvino,
}
_NEEDS = {
    ".onnx": (("onnx", "onnx"), ("onnx", "onnxscript"), ("onnx", "onnxruntime")),
    ".openvino": (("openvino", "openvino"),),
}
SUFFIXES, QUANTISED = tuple(_SAVERS), (".onnx", ".openvino")
