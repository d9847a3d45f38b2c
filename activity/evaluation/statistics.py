"""How sure a figure is: intervals over clips, and whether one head is better than another."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

RESAMPLES = 5000
LEVEL = 0.95
_CLIPS_AT_ONCE = 2_000_000  # drawn clips held in memory: about 50 MB
_Z = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Interval:
    """A figure, 0 to 1, and the 95 % interval around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two heads on the same clips.

    Attributes:
        better: clips that the first has right and the second wrong.
        worse: clips that the first has wrong and the second right.
        p_value: how often equally good heads would differ this much or more, by chance (two-sided).
    """

    better: int
    worse: int
    p_value: float


def clip_intervals(
    scores: Tensor, labels: Tensor, class_names: list[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Accuracy, mean class accuracy and macro F1 of scored clips, each with its interval; see `bootstrap_interval`.

    Args:
        scores: `(N, C)`; the best-scored class is what a clip was taken for.
        labels: `int64 (N,)`.
        class_names: C of them.
        resamples: how many sets of N clips are drawn.
        seed: of the draw: the same one gives the same intervals.

    >>> import torch
    >>> scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    >>> intervals = clip_intervals(scores, torch.tensor([0, 1, 1, 1]), ["run", "walk"])
    >>> intervals["accuracy"]
    Interval(value=0.75, low=0.25, high=1.0)
    """
    predicted = scores.argmax(dim=1)
    return bootstrap_interval(predicted, labels, len(class_names), resamples=resamples, seed=seed)


def bootstrap_interval(
    predicted: Tensor, labels: Tensor, num_classes: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Percentile bootstrap over clips (Efron & Tibshirani 1993, chapter 13) of the three metrics.

    As many clips as there are get drawn with replacement, again and again; the interval holds the middle 95 % of the
    figures of these sets. As in `clip_metrics`, a class that has no clip in a set counts in no mean.

    What it cannot show: clips of one group (an actor, a source video) are alike, and are taken for independent here, so
    with few groups the truth is less sure. Where all clips are right, or all wrong, each draw is the same and the
    interval has no width; `wilson_interval` says what so many clips allow then.

    Args:
        predicted: the class each clip was taken for, `int64 (N,)`.
        labels: the class it is of, `int64 (N,)`.
        num_classes: C.
        resamples: how many sets are drawn.
        seed: of the draw.

    Raises:
        ValueError: there is no clip, or not one prediction a label.
    """
    if not len(labels) or predicted.shape != labels.shape:
        raise ValueError(f"{tuple(predicted.shape)} predictions for {tuple(labels.shape)} labels; accepted: one each.")
    rng = np.random.default_rng(seed)
    counted = _Counted(predicted.cpu().numpy(), labels.cpu().numpy(), num_classes)
    clips = len(labels)
    at_once = max(1, _CLIPS_AT_ONCE // clips)
    draws = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(0, clips, (rows, clips)) + clips * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * clips).reshape(rows, clips)
        draws.append(counted.metrics(weights.astype(np.float32)))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail], axis=0)
    (value,) = counted.metrics(np.ones((1, clips), np.float32))
    names = ("accuracy", "mean_class_accuracy", "macro_f1")
    return {name: Interval(float(value[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def wilson_interval(right: int, clips: int) -> Interval:
    """The interval of an accuracy by Wilson's score (1927): it has a width also where all clips are right.

    >>> interval = wilson_interval(18, 18)
    >>> interval.value, round(interval.low, 3), interval.high
    (1.0, 0.824, 1.0)
    """
    if not 0 <= right <= clips or not clips:
        raise ValueError(f"{right} of {clips} clips are right; accepted: 0 to all of at least one clip.")
    share, spread = right / clips, _Z**2 / clips
    center = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / clips + spread / (4 * clips)) / (1 + spread)
    return Interval(
        share, 0.0 if right == 0 else max(0.0, center - half), 1.0 if right == clips else min(1.0, center + half)
    )


def paired_test(correct: Tensor, other_correct: Tensor) -> PairedTest:
    """McNemar's exact test (1947; binomial, two-sided): do two heads differ on the same clips by more than chance?

    Only the clips count on which one is right and the other wrong; equally good heads win each of them like a tossed
    coin.

    Args:
        correct: which clips the first head has right, `bool (N,)`.
        other_correct: the same for the second.

    >>> import torch
    >>> first = torch.tensor([True] * 9 + [False])
    >>> second = torch.tensor([True] * 3 + [False] * 7)
    >>> paired_test(first, second)
    PairedTest(better=6, worse=0, p_value=0.03125)
    """
    if correct.shape != other_correct.shape:
        raise ValueError(f"{tuple(correct.shape)} and {tuple(other_correct.shape)} clips; accepted: the same clips.")
    better = int((correct & ~other_correct).sum())
    worse = int((~correct & other_correct).sum())
    differing = better + worse
    ways, total = 1, 0  # of choosing k of the differing clips, exactly: whole numbers do not round
    for k in range(min(better, worse) + 1):
        total += ways
        ways = ways * (differing - k) // (k + 1)
    return PairedTest(better, worse, min(1.0, 2 * total / 2**differing))


def interval_fields(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """The ends of intervals as a JSON file has them, beside the values: `accuracy_low`, `accuracy_high`, ...

    >>> interval_fields({"accuracy": Interval(0.75, 0.25, 1.0)})
    {'accuracy_low': 0.25, 'accuracy_high': 1.0}
    """
    ends = {name: (interval.low, interval.high) for name, interval in intervals.items()}
    return {f"{name}_{end}": pair[i] for name, pair in ends.items() for i, end in enumerate(("low", "high"))}


class _Counted:
    """Metrics of many weighted sets of the same clips at once, by matrix products."""

    def __init__(self, predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], num_classes: int) -> None:
        classes = np.arange(num_classes)
        self._of_class = (labels[:, None] == classes).astype(np.float32)  # (N, C)
        self._taken_for = (predicted[:, None] == classes).astype(np.float32)
        self._hits = self._of_class * self._taken_for

    def metrics(self, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Accuracy, mean class accuracy and macro F1 `(R, 3)` of sets in which clips stand `weights (R, N)` times."""
        support, taken, hits = (
            (weights @ matrix).astype(np.float64) for matrix in (self._of_class, self._taken_for, self._hits)
        )
        present = support > 0
        recall = np.divide(hits, support, out=np.zeros_like(hits), where=present)
        f1 = np.divide(2 * hits, support + taken, out=np.zeros_like(hits), where=present)
        classes = present.sum(axis=1)
        return np.stack(
            [hits.sum(axis=1) / support.sum(axis=1), recall.sum(axis=1) / classes, f1.sum(axis=1) / classes], axis=1
        )
