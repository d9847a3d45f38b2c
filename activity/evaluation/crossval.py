"""What a cross-validation found: the heads side by side on all clips, each scored by a head that had not seen it."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from activity.evaluation.calibration import expected_calibration_error
from activity.evaluation.predictions import ScoredClips
from activity.evaluation.report.content import Fold, HeadReport, head_report
from activity.evaluation.statistics import PairedTest, interval_fields, paired_test


@dataclass(frozen=True)
class CrossvalResult:
    """All clips, fold by fold, with what each head says of them.

    Attributes:
        scored: by head, the one asked for first; the same clips in the same order.
        fold_of: the name of the fold that left each clip out.
        temperatures: by fold, then by head, what the scores were made with.
        chosen: by fold, the settings of its heads that its training clips chose, as plain Python; empty where none.
    """

    scored: Mapping[str, ScoredClips]
    fold_of: tuple[str, ...]
    temperatures: Mapping[str, Mapping[str, float]]
    chosen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The head asked for."""
        return next(iter(self.scored))

    @property
    def against(self) -> str | None:
        """The head that it is compared with; None where it is alone."""
        return next((name for name in self.scored if name != self.main), None)

    @cached_property
    def heads(self) -> tuple[HeadReport, ...]:
        """The metrics of each head with their intervals."""
        return tuple(head_report(name, scored) for name, scored in self.scored.items())

    @cached_property
    def comparison(self) -> PairedTest | None:
        """Whether the main head is better than the other, on the same clips."""
        if self.against is None:
            return None
        return paired_test(self.scored[self.main].correct, self.scored[self.against].correct)

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The folds with each head's accuracy, in the order in which they stand."""
        return tuple(self._fold(name) for name in dict.fromkeys(self.fold_of))

    def _fold(self, name: str) -> Fold:
        rows = [row for row, fold in enumerate(self.fold_of) if fold == name]
        accuracy = {head: scored.correct[rows].float().mean().item() for head, scored in self.scored.items()}
        return Fold(name, len(rows), accuracy)


def crossval_document(result: CrossvalResult) -> dict[str, Any]:
    """What `crossval.json` holds; `confusion` is that of the main head, `[true class][predicted class]`.

    In `by_fold`, what a fold's training clips chose stands beside its accuracy, under the name of the setting.
    """
    scored = result.scored[result.main]
    document: dict[str, Any] = {
        "heads": {head.name: _head_document(head, result.scored[head.name]) for head in result.heads},
        "clips": len(scored.clips),
        "folds": len(result.folds),
        "class_names": list(scored.class_names),
        "confusion": result.heads[0].metrics.document()["confusion"],
        "by_fold": [
            {"fold": fold.held_out, "clips": fold.clips, "accuracy": fold.accuracy}
            | {"temperature": dict(result.temperatures[fold.held_out])}
            | dict(result.chosen.get(fold.held_out, {}))
            for fold in result.folds
        ],
    }
    if result.comparison is not None:
        document["paired_test"] = {"head": result.main, "against": result.against, **vars(result.comparison)}
    return document


def crossval_csv(result: CrossvalResult) -> str:
    """A row a clip: its fold and label, and what each head takes it for, with the score of that class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    answers = [f"{head}_{column}" for head in result.scored for column in ("predicted", "score")]
    writer.writerow(["path", "start", "end", "group", "fold", "label", *answers])
    for row, clip in enumerate(result.scored[result.main].clips):
        said = [
            value
            for scored in result.scored.values()
            for value in (scored.class_names[int(scored.predicted[row])], scored.scores[row].max().item())
        ]
        span = (clip.start_seconds, "" if clip.end_seconds is None else clip.end_seconds)
        writer.writerow([clip.name, *span, clip.group, result.fold_of[row], clip.label, *said])
    return text.getvalue()


def _head_document(head: HeadReport, scored: ScoredClips) -> dict[str, Any]:
    error = expected_calibration_error(scored.scores, scored.labels)
    return head.metrics.document() | interval_fields(head.intervals) | {"expected_calibration_error": error}
