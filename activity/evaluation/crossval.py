"""What a cross-validation found: the heads side by side on all clips, each scored by a head that had not seen it."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from activity.data.clips import Clip
from activity.evaluation.metrics import ClipMetrics, clip_metrics
from activity.evaluation.statistics import Interval, PairedTest, clip_intervals, paired_test


@dataclass(frozen=True)
class HeadResult:
    """One head's scores `float32 (N, C)` of all clips, pooled over the folds."""

    name: str
    scores: Tensor


@dataclass(frozen=True)
class CrossvalResult:
    """The pooled result.

    Attributes:
        class_names: C names.
        clips: N clips, fold by fold.
        folds: the name of the fold that left each clip out.
        labels: the class of each clip, `int64 (N,)`.
        heads: the head asked for first, then the baseline.
    """

    class_names: tuple[str, ...]
    clips: tuple[Clip, ...]
    folds: tuple[str, ...]
    labels: Tensor
    heads: tuple[HeadResult, ...]

    @cached_property
    def metrics(self) -> Mapping[str, ClipMetrics]:
        """The metrics of each head."""
        return {head.name: clip_metrics(head.scores, self.labels, list(self.class_names)) for head in self.heads}

    @cached_property
    def intervals(self) -> Mapping[str, Mapping[str, Interval]]:
        """The 95 % intervals of each head's accuracy, mean class accuracy and macro F1."""
        return {head.name: clip_intervals(head.scores, self.labels, list(self.class_names)) for head in self.heads}

    @cached_property
    def comparison(self) -> PairedTest | None:
        """The first head against the second; None where there is one head."""
        if len(self.heads) < 2:
            return None
        first, second = (head.scores.argmax(dim=1) == self.labels for head in self.heads[:2])
        return paired_test(first, second)


def crossval_document(result: CrossvalResult) -> dict[str, Any]:
    """What `crossval.json` holds; `confusion` is that of the first head, `[true class][predicted class]`."""
    main = result.heads[0].name
    fold_names = list(dict.fromkeys(result.folds))
    document: dict[str, Any] = {
        "heads": {name: _head_document(result, name) for name in result.metrics},
        "clips": len(result.clips),
        "folds": len(fold_names),
        "class_names": list(result.class_names),
        "confusion": result.metrics[main].document()["confusion"],
        "by_fold": [_fold_document(result, name) for name in fold_names],
    }
    if result.comparison is not None:
        test = result.comparison
        document["paired_test"] = {
            "head": main,
            "against": result.heads[1].name,
            "better": test.better,
            "worse": test.worse,
            "p_value": test.p_value,
        }
    return document


def predictions_csv(result: CrossvalResult) -> str:
    """A row a clip: its fold and label, and what each head says, with the score of that class."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    answers = [column for head in result.heads for column in (f"{head.name}_label", f"{head.name}_score")]
    writer.writerow(["path", "start", "end", "fold", "label", *answers])
    best = [head.scores.max(dim=1) for head in result.heads]
    for row, (clip, fold) in enumerate(zip(result.clips, result.folds, strict=True)):
        said = [
            value
            for scores, classes in best
            for value in (result.class_names[int(classes[row])], f"{float(scores[row]):.4f}")
        ]
        writer.writerow([clip.name, clip.start_seconds, clip.end_seconds, fold, clip.label, *said])
    return text.getvalue()


def _head_document(result: CrossvalResult, name: str) -> dict[str, Any]:
    document = result.metrics[name].document()
    for metric, interval in result.intervals[name].items():
        document |= {f"{metric}_low": interval.low, f"{metric}_high": interval.high}
    return document


def _fold_document(result: CrossvalResult, fold: str) -> dict[str, Any]:
    own = [row for row, name in enumerate(result.folds) if name == fold]
    accuracy = {
        head.name: (head.scores[own].argmax(dim=1) == result.labels[own]).float().mean().item() for head in result.heads
    }
    return {"fold": fold, "clips": len(own), "accuracy": accuracy}
