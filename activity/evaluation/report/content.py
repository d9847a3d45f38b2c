"""What a report says, as plain data: whoever fills it in needs no HTML, and whoever draws it no training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from activity.data.clips import Clip
from activity.evaluation.calibration import ReliabilityBin, expected_calibration_error, reliability_bins
from activity.evaluation.metrics import ClipMetrics
from activity.evaluation.predictions import ScoredClips
from activity.evaluation.statistics import Interval, PairedTest, clip_intervals

# Narrower bins than for the ECE's usual 15 would mostly be empty: test sets of 20 to 500 clips are what people have.
DIAGRAM_BINS = 10


@dataclass(frozen=True)
class HeadReport:
    """A head, its metrics on the tested clips, and their intervals by the metric's name."""

    name: str
    metrics: ClipMetrics
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class Fold:
    """A fold of a cross-validation: the groups held out, how many clips, and each head's accuracy by its name."""

    held_out: str
    clips: int
    accuracy: Mapping[str, float]


@dataclass(frozen=True)
class LearningCurves:
    """What was logged, as (epoch, value): each may be empty. `best_epoch` is the one that was kept, where known."""

    train_loss: tuple[tuple[int, float], ...]
    val_loss: tuple[tuple[int, float], ...]
    val_accuracy: tuple[tuple[int, float], ...]
    best_epoch: int | None


@dataclass(frozen=True)
class Calibration:
    """Whether scores mean what they say.

    Attributes:
        bins: the reliability diagram.
        error: the ECE, 0 to 1.
        error_before: the ECE at temperature 1; None where it is not known.
        temperature: divides the logits; None where it is not known, or each fold has its own.
        fold_temperatures: those of the folds.
    """

    bins: tuple[ReliabilityBin, ...]
    error: float
    error_before: float | None = None
    temperature: float | None = None
    fold_temperatures: tuple[float, ...] = ()


@dataclass(frozen=True)
class Mistake:
    """A clip that was taken for another class.

    Attributes:
        clip: its name.
        span: "" for the whole file.
        label: its class.
        predicted: what it was taken for.
        score: of `predicted`.
        label_score: of `label`.
        strip: some of its frames side by side as JPEG; None where it cannot be read.
    """

    clip: str
    span: str
    label: str
    predicted: str
    score: float
    label_score: float
    strip: bytes | None


@dataclass(frozen=True)
class SplitCount:
    """How many clips and groups a split has."""

    name: str
    clips: int
    groups: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report shows.

    Attributes:
        title: what was measured: a data set's or run's name.
        made: when and by what, in words.
        tested_on: ends the sentence "Of 20 clips ...": which ones these are, for example "it had never seen".
        heads: the main head first; empty where there were no clips to measure on.
        paired: the main head against the second.
        calibration: of the main head.
        curves: of the main head.
        mistakes: the worst ones of the main head, worst first; may be fewer than it made.
        folds: of a cross-validation.
        splits: clips and groups of each split.
        facts: what was trained on what: term and value.
        failed: clips that could not be read, and why.
        warnings: what takes away from the figures.
    """

    title: str
    made: str
    tested_on: str
    heads: tuple[HeadReport, ...] = ()
    paired: PairedTest | None = None
    calibration: Calibration | None = None
    curves: LearningCurves | None = None
    mistakes: tuple[Mistake, ...] = ()
    folds: tuple[Fold, ...] = ()
    splits: tuple[SplitCount, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    failed: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def head_report(name: str, scored: ScoredClips) -> HeadReport:
    """A head's metrics and intervals on scored clips, of which there is at least one."""
    return HeadReport(name, scored.metrics(), clip_intervals(scored.scores, scored.labels, list(scored.class_names)))


def calibration_of(
    scored: ScoredClips,
    *,
    unscaled_scores: Tensor | None = None,
    temperature: float | None = None,
    fold_temperatures: Sequence[float] = (),
) -> Calibration:
    """The calibration of scored clips.

    Args:
        scored: at the recognizer's temperature.
        unscaled_scores: of the same clips at temperature 1.
        temperature: the recognizer's.
        fold_temperatures: those of the folds of a cross-validation.
    """
    before = None if unscaled_scores is None else expected_calibration_error(unscaled_scores, scored.labels)
    return Calibration(
        bins=reliability_bins(scored.scores, scored.labels, DIAGRAM_BINS),
        error=expected_calibration_error(scored.scores, scored.labels),
        error_before=before,
        temperature=temperature,
        fold_temperatures=tuple(fold_temperatures),
    )


def split_counts(parts: Mapping[str, Sequence[Clip]]) -> tuple[SplitCount, ...]:
    """Clips and groups of each split that has clips."""
    return tuple(
        SplitCount(name, len(clips), len({clip.group for clip in clips})) for name, clips in parts.items() if clips
    )
