"""From a path to a recognizer, whatever the format of the file."""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from activity.formats.contract import MAKE_ONE, ModelFileError, reason_of
from activity.formats.table import FORMATS, Format
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
    found = _format_of(path, _members(path))
    if found is not None and device.type != "cpu" and not found.on_gpus:
        raise ModelFileError(
            f"{path} runs on the CPU alone, and {device} was asked for. Ask for cpu, or give a .ts file."
        )
    _check_device(path, device)
    if found is not None:
        return found.load(path, device)
    # Imported here: an exported file needs none of the libraries that a checkpoint's encoder may come from.
    from activity.formats.checkpoint import load_checkpoint

    return load_checkpoint(path).to(device)


def only_on_the_cpu(path: Path) -> bool:
    """Whether a model is of a format that runs on the CPU alone: all but checkpoints and TorchScript."""
    try:
        found = _format_of(path, _members(path, check=False))
    except ModelFileError:  # what is wrong, loading says
        return False
    return found is not None and not found.on_gpus


def _format_of(path: Path, members: Sequence[str]) -> Format | None:
    """That of a file; None for a checkpoint."""
    return next((row for row in FORMATS if row.recognises(path, members)), None)


def _check_device(path: Path, device: torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelFileError(f"{path} cannot be loaded on {device} ({reason_of(error)}). Ask for cpu.") from error


def _members(path: Path, *, check: bool = True) -> list[str]:
    """The members of the zip archive that a model file is; none of what is of a format that is no archive.

    Args:
        path: the file, or folder.
        check: read them, to see that they are whole.

    Raises:
        ModelFileError: it is missing, or it should be an archive, and is none, or damaged.
    """
    if not path.exists():
        raise ModelFileError(f"There is no model file {path}. {MAKE_ONE}")
    if _format_of(path, ()) is not None:
        return []
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder, not a model file. {MAKE_ONE}")
    try:
        with zipfile.ZipFile(path) as archive:
            if check and (damaged := archive.testzip()):  # torch reads members without a look at their checksums
                raise ModelFileError(f"{path} is damaged (in {damaged}); copy or export it again.")
            return archive.namelist()
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, LookupError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} is no model file, or not a whole one. {MAKE_ONE}") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}). {MAKE_ONE}") from error
