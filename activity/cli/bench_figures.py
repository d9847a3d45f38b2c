"""What all kinds of `activity bench` have in common: their figures, and the machine."""

import platform
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version

from activity.formats.verified import this_machine
from activity.training.processes import usable_cores

_MODULES = ("torch", "torchvision", "timm", "cv2")  # of all kinds


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


def machine(*modules: str) -> dict[str, str | int]:
    """What was measured on, and the versions of all packages that were.

    Args:
        modules: of this kind of bench, as they are imported; those that are not installed are left out.
    """
    packages = packages_distributions()  # a module may come from one of several, as cv2 does
    installed = [name for module in (*_MODULES, *modules) for name in packages.get(module, ())]
    return {
        "CPU": this_machine()["CPU"],
        "cores": usable_cores(),
        "python": platform.python_version(),
        **{name: version(name) for name in installed},
    }
