"""From exceptions to messages: which errors are a user's, and what they say."""

import sys
import warnings
from typing import TextIO

from activity.cli.printable import tell


def message_of(error: Exception) -> str | None:
    """What to tell a user, or None for an error of ours, whose traceback is wanted."""
    if _is_users(error):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}. Give a path that can be read and written, on a disk with room."
    return _lightning_message(error) or _hydra_message(error)


def show_warnings_on_stderr() -> None:
    """One plain line a warning, without the source line that caused it."""
    warnings.showwarning = _show_warning


def _is_users(error: BaseException) -> bool:
    """Whether our code raised it for the user. Looked up by what is imported: no import of torch to say a message."""
    homes = {
        "activity.data.clips": "DataError",
        "activity.video.errors": "VideoError",
        "activity.models.pretrained": "EncoderError",
        "activity.features.store": "StoreError",
        "activity.inference.segmentation": "TimelineSettingsError",
        "activity.inference.plot.figure": "PlotError",
        "activity.formats.contract": "ModelFileError",
        "activity.training.module": "DivergedError",
        "activity.cli.arguments": "UsageError",
    }
    known = tuple(getattr(sys.modules[home], name) for home, name in homes.items() if home in sys.modules)
    return isinstance(error, known)


def _lightning_message(error: Exception) -> str | None:
    if "lightning_fabric" not in sys.modules:
        return None
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    return str(error) if isinstance(error, MisconfigurationException) else None


def _hydra_message(error: Exception) -> str | None:
    if "hydra" not in sys.modules:
        return None
    from hydra.errors import HydraException, InstantiationException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, InstantiationException):
        cause = error.__cause__
        if isinstance(cause, Exception) and (message := message_of(cause)):
            return message
        return str(cause) if isinstance(cause, ValueError | TypeError) else None
    if isinstance(error, HydraException | OmegaConfBaseException):
        return str(error)
    return None


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    # A note, unlike a warning, asks for nothing to be done; looked up by name for the reason above.
    kind = "note" if category.__name__ in ("DataNote", "VideoNote") else "warning"
    tell(f"{kind}: {message}")
