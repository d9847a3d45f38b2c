"""What all kinds of `activity bench` have in common: their figures, and the machine."""

import platform
from dataclasses import dataclass
from importlib.metadata import version

from activity.formats.verified import this_machine
from activity.training.processes import usable_cores


@dataclass(frozen=True)
class Figure:
    """One measured number, and the bound that it is to keep, "at least" or "at most"."""

    name: str
    value: float
    unit: str = ""
    at: str = ""
    bound: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether it keeps its bound; None without one."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at == "at least" else self.value <= self.bound


def machine() -> dict[str, str | int]:
    """What was measured on."""
    return {
        "CPU": this_machine()["CPU"],
        "cores": usable_cores(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "opencv-python", "pytorch-lightning")},
    }
