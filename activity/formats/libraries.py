"""The libraries of formats, imported so that they tell nobody of their use."""

import importlib
import sys
from typing import Any

_TELEMETRY = "openvino_telemetry"  # OpenVINO and NNCF send what they are used for, where they can import it


def import_silent(name: str) -> Any:
    """Import a library without what reports each use of it; where that is imported already, its user has chosen so.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    if _TELEMETRY in sys.modules:
        return importlib.import_module(name)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # importing it fails, and they go without
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[_TELEMETRY]
