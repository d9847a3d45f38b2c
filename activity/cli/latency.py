"""How long things took, by percentiles, in memory that does not grow with their number."""

import math
from collections import Counter

_STEP = 1.01  # of one bin to the next: percentiles are right to half a percent
_SMALLEST_SECONDS = 1e-6


class Latencies:
    """Counts of durations in bins that grow by a percent.

    >>> latencies = Latencies()
    >>> for milliseconds in range(1, 101):
    ...     latencies.add(milliseconds / 1000)
    >>> {name: round(value) for name, value in latencies.document().items()}
    {'p50': 50, 'p95': 95, 'p99': 99}
    """

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self._bins[round(math.log(max(seconds, _SMALLEST_SECONDS)) / math.log(_STEP))] += 1

    def percentile(self, percent: float) -> float:
        """Seconds that `percent` of them took at most; NaN where there are none."""
        left = math.ceil(percent / 100 * self._bins.total())
        for bin_, count in sorted(self._bins.items()):
            left -= count
            if left <= 0:
                return float(_STEP**bin_)
        return math.nan

    def document(self) -> dict[str, float]:
        """Milliseconds, for JSON; empty where there are none."""
        if not self._bins:
            return {}
        return {f"p{percent}": round(1e3 * self.percentile(percent), 3) for percent in (50, 95, 99)}
