"""State dicts from files. What a file is, its content says and not its name."""

import pickle
import zipfile
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

_HEAD_BYTES = 512
_TEXT_SHOWN, _KEYS_SHOWN = 40, 5
_LARGEST_SAFETENSORS_HEADER = 100_000_000  # bytes, by the format
_KEYS_OF_OURS = {"recognizer", "state_dict"}  # of a checkpoint of activity
_CUT_OFF = "is an archive that is cut off or damaged; copy or download it again"
_VIDEO_SIGNATURES = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"RIFF"))  # MP4 and MOV, Matroska and WebM, AVI


class NoStateDictError(ValueError):
    """A file that holds no state dict; its message says what the file is, as in "is empty"."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Names to tensors, of a file that `torch.save` or safetensors wrote; no pickled code is executed.

    Raises:
        NoStateDictError: the file holds none.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if _begins_as_safetensors(head):
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        _check_archive(path)
    elif not head.startswith(pickle.PROTO):  # what torch wrote before version 1.6
        raise NoStateDictError(_named(head))
    return _read_torch(path)


def _begins_as_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_SAFETENSORS_HEADER


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise NoStateDictError(f"is a safetensors file that is cut off or damaged ({error})") from error


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {PurePosixPath(name).name for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise NoStateDictError(_CUT_OFF) from error
    if "constants.pkl" in members:
        raise NoStateDictError("is a model exported as TorchScript, of which no state dict is taken")
    if "data.pkl" not in members:
        raise NoStateDictError("is a zip archive that holds nothing of torch")


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:  # of a path torch takes the name for what it is
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (
        *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError),
        *(LookupError, TypeError, AttributeError),  # what the unpickler makes of a file that is no pickle at all
    ) as error:
        raise NoStateDictError(
            "is damaged, or holds pickled objects other than tensors (a whole model, for instance), which were not "
            "executed"
        ) from error
    if not isinstance(content, dict):
        raise NoStateDictError(f"holds no state dict (names to tensors) but a {type(content).__name__}")
    if content.keys() >= _KEYS_OF_OURS:
        raise NoStateDictError(
            "is a checkpoint of activity: a whole recognizer, with which activity train goes on by resume=RUN_FOLDER"
        )
    state: dict[str, Tensor] = content.get("state_dict", content)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        found = ", ".join(map(repr, list(content)[:_KEYS_SHOWN]))
        raise NoStateDictError(f"holds no state dict (names to tensors), nor one as 'state_dict'; it has {found}")
    return state


def _named(head: bytes) -> str:
    """What a file that begins so is, for a message."""
    if not head:
        return "is empty"
    if head.startswith(b"PK"):
        return _CUT_OFF
    if any(head[start:].startswith(signature) for start, signature in _VIDEO_SIGNATURES):
        return "is a video"
    text = head.decode("utf-8", errors="ignore")  # where a character is cut in two
    if "\0" not in text and len(text.encode()) > len(head) - 4:
        return f"is a text file that begins with {text.strip()[:_TEXT_SHOWN].partition(chr(10))[0]!r}"
    return "is no file of torch or safetensors"
