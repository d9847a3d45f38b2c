"""What all kinds of `activity bench` have in common: their figures, and the machine."""

import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version

from activity.formats.verified import this_machine
from activity.training.processes import usable_cores

_MODULES = ("torch", "torchvision", "timm", "cv2")  # of all kinds

MOST_SECONDS = 120.0
"""Of runs of what a user gave, which may be long: no other begins after these."""


@dataclass(frozen=True)
class Figure:
    """One measured number, and the bound that it is to keep, "at least" or "at most".

    Attributes:
        name, value, unit: what was measured.
        at, bound: "at least" or "at most" what; or none.
        runs: of which the value is the median, or what it is computed from; 1 also where nothing is run.
    """

    name: str
    value: float
    unit: str = ""
    at: str = ""
    bound: float | None = None
    runs: int = 1

    @property
    def holds(self) -> bool | None:
        """Whether it keeps its bound; None without one."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at == "at least" else self.value <= self.bound


def medians(
    measure: Callable[[], Sequence[float]],
    *,
    quick: bool,
    runs: int = 3,
    most_seconds: float = math.inf,
    warm_up: bool = True,
) -> tuple[list[float], int]:
    """The median of each number of some runs, and of how many; after one that warms up, unless that was done already.

    Args:
        measure: one run. What is compared is measured in the same one, so that all meet the same noise.
        quick: a single run, to see that it goes.
        runs: how many.
        most_seconds: no run begins after these. Where they are not enough for all, the first run counts too: what
            takes long takes no notice of what is done but once. So what is very long is a single run.
        warm_up: whether the first run warms up.

    >>> numbers = iter([9.0, 1.0, 3.0, 2.0])
    >>> medians(lambda: [next(numbers)], quick=False)
    ([2.0], 3)
    """
    if quick:
        return list(measure()), 1
    begun = time.perf_counter()
    first = measure()
    is_long = (runs + 1) * (time.perf_counter() - begun) > most_seconds
    found = [first] if is_long or not warm_up else []
    while len(found) < runs and (not found or time.perf_counter() - begun < most_seconds):
        found.append(measure())
    return [statistics.median(values) for values in zip(*found, strict=True)], len(found)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds that a run takes, and CPU seconds of this process."""
    begun, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - begun, time.process_time() - used


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
