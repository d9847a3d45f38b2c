"""Scored clips, and the table of them."""

import csv
import io
from dataclasses import dataclass

from torch import Tensor

from activity.data.clips import Clip
from activity.evaluation.metrics import ClipMetrics, clip_metrics


@dataclass(frozen=True, eq=False)
class ScoredClips:
    """Clips with what a recognizer said of them.

    Attributes:
        clips: N clips.
        scores: `(N, C)`, each row summing to 1.
        labels: the class of each clip, `int64 (N,)`.
        class_names: C of them.
    """

    clips: tuple[Clip, ...]
    scores: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> Tensor:
        """The class each clip was taken for, `int64 (N,)`."""
        return self.scores.argmax(dim=1)

    @property
    def correct(self) -> Tensor:
        """Which clips were recognised, `bool (N,)`."""
        return self.predicted == self.labels

    def metrics(self) -> ClipMetrics:
        """The metrics of all clips."""
        return clip_metrics(self.scores, self.labels, list(self.class_names))


def predictions_csv(scored: ScoredClips) -> str:
    """A CSV with a row a clip: its span, label, prediction, whether that is right, and the score of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("path", "start", "end", "group", "label", "predicted", "correct", "score"),
            *(f"score_{name}" for name in scored.class_names),
        ]
    )
    for clip, row, best, right in zip(
        scored.clips, scored.scores.tolist(), scored.predicted.tolist(), scored.correct.tolist(), strict=True
    ):
        end = "" if clip.end_seconds is None else clip.end_seconds
        predicted = scored.class_names[best]
        cells = [clip.name, clip.start_seconds, end, clip.group, clip.label, predicted, str(right).lower(), row[best]]
        writer.writerow([*cells, *row])
    return text.getvalue()
