"""From a recognizer to a file, in the format that its suffix names."""

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

from activity.formats.compare import Window
from activity.formats.table import FORMATS, INT8_LIBRARY, format_by_suffix
from activity.models.recognizer import Recognizer


def save_model(
    recognizer: Recognizer,
    path: Path,
    examples: Sequence[Window],
    *,
    split: bool = False,
    calibration: Iterable[Window] | None = None,
) -> float:
    """Write a recognizer in the format of the suffix, once it answers as the recognizer does.

    Args:
        recognizer: what to export; moved to the CPU.
        path: the file or folder to write.
        examples: windows to compare on, besides random ones.
        split: of a format with halves: those as a file each too.
        calibration: of a format that may be quantised: windows that the ranges of the CNN's numbers are taken from,
            which is then written in int8. None: it is not.

    Returns:
        The largest difference of scores seen, where both compute in the same precision.

    Raises:
        ValueError: no format has the suffix.
        ModelFileError: the format's extra is not installed, it cannot express the encoder, or scores differ by more
            than 1e-4; nothing is written.
    """
    found = format_by_suffix(path.suffix)
    if found is None:
        accepted = ", ".join(suffix for row in FORMATS for suffix in row.suffixes)
        raise ValueError(f"{path} is of no format; accepted: {accepted}.")
    return found.save(recognizer, path, examples, split, calibration)


def missing_library(suffix: str, *, quantised: bool) -> tuple[str, str] | None:
    """The extra that a format needs to be written and the library of it that is not installed, or None."""
    found = format_by_suffix(suffix)
    wanted = [] if found is None else [(found.extra, library) for library in found.writes_with]
    wanted += [INT8_LIBRARY] if quantised else []
    return next((need for need in wanted if importlib.util.find_spec(need[1]) is None), None)
