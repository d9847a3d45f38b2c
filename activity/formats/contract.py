"""What every model file of ours must say of itself, whatever its format."""

from pathlib import Path

from activity.models.recognizer import FORMAT_VERSION

MAKE_ONE = "Give a checkpoint of `activity train` (best.ckpt) or a file of `activity export` (.ts)."


class ModelFileError(ValueError):
    """A file that is no model of ours, not a whole one, or one that cannot be made."""


def check_format_version(path: Path, version: object) -> None:
    """Refuse a file of a version that this program does not know."""
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version!r}; this program reads version {FORMAT_VERSION}. "
            "Update activity where the file is newer; where it is older, train the model again."
        )
