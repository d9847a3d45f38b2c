"""Model files, one file a format; `load_recognizer` tells them apart by their content."""

from activity.formats.contract import ModelFileError
from activity.formats.load import load_recognizer

__all__ = ["ModelFileError", "load_recognizer"]
