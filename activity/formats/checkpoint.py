"""Lightning checkpoints that hold everything a recognizer needs, as plain Python and tensors."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from activity.files import write_atomically
from activity.formats.contract import MAKE_ONE, ModelFileError, check_format_version
from activity.models.pretrained import EncoderError
from activity.models.recognizer import Recognizer, rebuild_recognizer

DESCRIPTION_KEY = "recognizer"
STATE_PREFIX = "recognizer."


def describe_into(checkpoint: dict[str, Any], recognizer: Recognizer) -> None:
    """Add to a Lightning checkpoint what its `state_dict` does not say; the weights are there under `STATE_PREFIX`."""
    checkpoint[DESCRIPTION_KEY] = recognizer.describe()


def load_checkpoint(path: Path) -> Recognizer:
    """The recognizer of a checkpoint, on the CPU, in evaluation mode.

    Raises:
        ModelFileError: truncated, of another program, of another version, or holding pickled code (never executed).
    """
    checkpoint = read_checkpoint(path)
    description = read_description(path, checkpoint)
    state = {
        name.removeprefix(STATE_PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(STATE_PREFIX)
    }
    try:
        recognizer = rebuild_recognizer(description)
        recognizer.load_state_dict(state)
    except EncoderError as error:
        raise ModelFileError(f"{path} needs an encoder that is not installed here: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: description and weights do not fit: {error}") from error
    return recognizer.eval()


def keep_temperature(path: Path, temperature: float) -> None:
    """Write a temperature into a checkpoint; all else that is in it stays. Raises as `load_checkpoint`."""
    checkpoint = read_checkpoint(path)
    checkpoint["state_dict"][f"{STATE_PREFIX}temperature"] = torch.tensor(temperature, dtype=torch.float32)
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomically(path, buffer.getvalue())


def check_continues(path: Path, recognizer: Recognizer) -> None:
    """Check that training `recognizer` may go on from a checkpoint: same description, same encoder weights.

    Raises:
        ModelFileError: it may not; names what differs. Or as `load_checkpoint`.
    """
    checkpoint = read_checkpoint(path)
    found, wanted = read_description(path, checkpoint), recognizer.describe()
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if not differing:
        state = checkpoint["state_dict"]
        own = recognizer.encoder.state_dict(prefix=f"{STATE_PREFIX}encoder.")
        same = all(name in state and torch.equal(state[name].cpu(), tensor.cpu()) for name, tensor in own.items())
        differing = [] if same else ["encoder weights"]
    if differing:
        raise ModelFileError(
            f"{path} was trained with other settings ({', '.join(differing)}); training cannot go on from it. "
            "Resume without changing them, or start a new run."
        )


def read_description(path: Path, checkpoint: dict[str, Any] | None = None) -> dict[str, Any]:
    """How the recognizer of a checkpoint describes itself; raises as `load_checkpoint`.

    Args:
        path: the checkpoint.
        checkpoint: its content where that was read already.
    """
    description: dict[str, Any] = (checkpoint or read_checkpoint(path))[DESCRIPTION_KEY]
    check_format_version(path, description.get("format_version"))
    return description


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The plain content of a checkpoint of ours; raises as `load_checkpoint`."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} holds pickled code, or is of another program; it was not executed. {MAKE_ONE}"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path} is no model file, or not a whole one. {MAKE_ONE}") from error
    if not isinstance(checkpoint, dict) or not all(
        isinstance(checkpoint.get(key), dict) for key in (DESCRIPTION_KEY, "state_dict")
    ):
        raise ModelFileError(f"{path} is a checkpoint of another program. {MAKE_ONE}")
    return checkpoint
