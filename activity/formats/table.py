"""The formats, a row each: what is known of them outside their own files, which are imported where they are used."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from activity.formats.compare import Window
from activity.formats.contract import CONTRACT, TORCHSCRIPT_SUFFIXES
from activity.models.recognizer import LoadedRecognizer, Recognizer

_Calibration = Iterable[Window] | None
Save = Callable[[Recognizer, Path, Sequence[Window], bool, _Calibration], float]
"""Writes a file; arguments and result as of `activity.formats.save.save_model`, all by place."""


@dataclass(frozen=True)
class Format:
    """A format of exported files.

    Attributes:
        suffixes: of its files; the first is the one that is named.
        what: it is called.
        save: writes it.
        load: reads it, on a device.
        recognises: whether a path is of this format, by the path and the members of the archive that it is, if any.
        extra: that brings its libraries.
        writes_with: the libraries that it is written with, beside torch.
        runs_with: those that it runs with.
        on_gpus: it runs on GPUs too.
        quantised: it may hold a CNN in int8.
        halves: that it may be split in, as names put before the suffix.
        check_replaceable: refuses to replace a folder that holds other things; None: it is a file.
    """

    suffixes: tuple[str, ...]
    what: str
    save: Save
    load: Callable[[Path, torch.device], LoadedRecognizer]
    recognises: Callable[[Path, Sequence[str]], bool]
    extra: str = ""
    writes_with: tuple[str, ...] = ()
    runs_with: tuple[str, ...] = ()
    on_gpus: bool = False
    quantised: bool = False
    halves: tuple[str, ...] = ()
    check_replaceable: Callable[[Path], None] | None = None

    def paths(self, path: Path, *, split: bool) -> list[Path]:
        """What is written for a path."""
        halves = self.halves if split else ()
        return [path, *(path.with_suffix(f".{half}{path.suffix}") for half in halves)]


def _save_torchscript(recognizer: Recognizer, path: Path, examples: Sequence[Window], *_: object) -> float:
    from activity.formats.torchscript import export_torchscript

    return export_torchscript(recognizer, path, examples)


def _load_torchscript(path: Path, device: torch.device) -> LoadedRecognizer:
    from activity.formats.torchscript import load_torchscript

    return load_torchscript(path, device)


def _save_program(recognizer: Recognizer, path: Path, examples: Sequence[Window], *_: object) -> float:
    from activity.formats.exported_program import export_program

    return export_program(recognizer, path, examples)


def _load_program(path: Path, _: torch.device) -> LoadedRecognizer:
    from activity.formats.exported_program import load_program

    return load_program(path)


def _save_onnx(
    recognizer: Recognizer, path: Path, examples: Sequence[Window], split: bool, calibration: _Calibration
) -> float:
    from activity.formats.onnx import export_onnx

    return export_onnx(recognizer, path, examples, split=split, calibration=calibration)


def _load_onnx(path: Path, _: torch.device) -> LoadedRecognizer:
    from activity.formats.onnx import load_onnx

    return load_onnx(path)


def _save_openvino(
    recognizer: Recognizer, path: Path, examples: Sequence[Window], _: bool, calibration: _Calibration
) -> float:
    from activity.formats.openvino import export_openvino

    return export_openvino(recognizer, path, examples, calibration=calibration)


def _load_openvino(path: Path, _: torch.device) -> LoadedRecognizer:
    from activity.formats.openvino import load_openvino

    return load_openvino(path)


def _check_is_ours(path: Path) -> None:
    from activity.formats.openvino import check_is_ours

    check_is_ours(path)


FORMATS = (
    Format(
        suffixes=TORCHSCRIPT_SUFFIXES,
        what="TorchScript",
        save=_save_torchscript,
        load=_load_torchscript,
        recognises=lambda _, members: any(name.endswith("/constants.pkl") for name in members),
        on_gpus=True,
    ),
    Format(
        suffixes=(".pt2",),
        what="torch.export",
        save=_save_program,
        load=_load_program,
        recognises=lambda _, members: any(name.endswith(("/archive_format", f"/extra/{CONTRACT}")) for name in members),
    ),
    Format(
        suffixes=(".onnx",),
        what="ONNX",
        save=_save_onnx,
        load=_load_onnx,
        # Protobuf: nothing at its beginning tells what it is.
        recognises=lambda path, _: path.is_file() and path.suffix.lower() == ".onnx",
        extra="onnx",
        writes_with=("onnx", "onnxscript", "onnxruntime"),
        runs_with=("onnx", "onnxruntime"),
        quantised=True,
        halves=("encoder", "head"),
    ),
    Format(
        suffixes=(".openvino",),
        what="OpenVINO, a folder",
        save=_save_openvino,
        load=_load_openvino,
        recognises=lambda path, _: path.is_dir() and (path.suffix == ".openvino" or (path / CONTRACT).exists()),
        extra="openvino",
        writes_with=("openvino",),
        runs_with=("openvino",),
        quantised=True,
        check_replaceable=_check_is_ours,
    ),
)

INT8_LIBRARY = ("int8", "nncf")
"""The extra and the library that a CNN is brought to int8 with."""


def format_by_suffix(suffix: str) -> Format | None:
    """The format that a suffix names."""
    return next((row for row in FORMATS if suffix in row.suffixes), None)
