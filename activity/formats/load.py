"""From a path to a recognizer, whatever the format of the file."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from activity.formats.contract import CONTRACT, MAKE_ONE, ModelFileError, of_another_program
from activity.models.recognizer import LoadedRecognizer
from activity.video.addresses import is_address, without_credentials


def load_recognizer(path: str | Path, device: str | torch.device = "cpu") -> LoadedRecognizer:
    """Load a checkpoint or an exported file. The content decides, not the suffix, but for .onnx.

    No pickled code is executed, whatever the file holds. An exported file is a program all the same:
    load only those you trust.

    Raises:
        ModelFileError: missing, truncated, of another program, of an unknown version, or holding pickled code.
    """
    if is_address(str(path)):
        raise ModelFileError(
            f"{without_credentials(str(path))} is the address of a stream, not a model file. {MAKE_ONE}"
        )
    path, device = Path(path), torch.device(device)
    if path.is_dir() and (path.suffix == ".openvino" or (path / CONTRACT).exists()):
        return _on_the_cpu(_load_openvino, path, device)
    if path.is_file() and path.suffix.lower() == ".onnx":  # protobuf: nothing at its beginning tells what it is
        return _on_the_cpu(_load_onnx, path, device)
    names = _archive_names(path)
    if any(name.endswith("/constants.pkl") for name in names):
        from activity.formats.torchscript import load_torchscript

        return load_torchscript(path, device)
    if any(name.endswith(f"extra/{CONTRACT}") for name in names):
        return _on_the_cpu(_load_program, path, device)
    if any(name.endswith("/archive_format") for name in names):
        raise of_another_program(path)
    # Imported here: an exported file needs none of the libraries that a checkpoint's encoder may come from.
    from activity.formats.checkpoint import load_checkpoint

    return load_checkpoint(path).to(device)


def only_on_the_cpu(path: Path) -> bool:
    """Whether a model is of a format that runs on the CPU alone: all but checkpoints and TorchScript."""
    if path.is_dir() or path.suffix.lower() == ".onnx":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"extra/{CONTRACT}") for name in archive.namelist())
    except (zipfile.BadZipFile, struct.error, RuntimeError, ValueError, OSError):  # what is wrong, loading says
        return False


def _on_the_cpu(load: Callable[[Path], LoadedRecognizer], path: Path, device: torch.device) -> LoadedRecognizer:
    if device.type != "cpu":
        raise ModelFileError(
            f"{path} runs on the CPU alone, and {device} was asked for. Ask for cpu, or give a .ts file."
        )
    return load(path)


def _load_openvino(path: Path) -> LoadedRecognizer:
    from activity.formats.openvino import load_openvino

    return load_openvino(path)


def _load_onnx(path: Path) -> LoadedRecognizer:
    from activity.formats.onnx import load_onnx

    return load_onnx(path)


def _load_program(path: Path) -> LoadedRecognizer:
    from activity.formats.exported_program import load_program

    return load_program(path)


def _archive_names(path: Path) -> list[str]:
    """The members of a model file that is a zip archive."""
    if not path.exists():
        raise ModelFileError(f"There is no model file {path}. {MAKE_ONE}")
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder, not a model file. {MAKE_ONE}")
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch reads members without a look at their checksums
                raise ModelFileError(f"{path} is damaged (in {damaged}); copy or export it again.")
            return archive.namelist()
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, LookupError) as error:
        raise ModelFileError(f"{path} is no model file, or not a whole one. {MAKE_ONE}") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}). {MAKE_ONE}") from error
