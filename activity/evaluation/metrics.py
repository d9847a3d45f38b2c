"""Metrics of clip classification, by torchmetrics."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional import classification

TOP_K = 5


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class (0 to 1), and its support: how many clips of it there are."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClipMetrics:
    """How well the clips of a split were recognised.

    Attributes:
        accuracy: share of clips whose best-scored class is right (top-1).
        top5: share of clips with the right class among the five best.
        mean_class_accuracy: mean recall over the classes that have clips.
        macro_f1: mean F1 over the classes that have clips.
        classes: by class.
        confusion: counts, `[true class][predicted class]`.
        clips: how many clips.
    """

    accuracy: float
    top5: float
    mean_class_accuracy: float
    macro_f1: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    clips: int

    def summary(self) -> dict[str, float]:
        """The four numbers that sum up a head."""
        names = ("accuracy", "top5", "mean_class_accuracy", "macro_f1")
        return {name: getattr(self, name) for name in names}

    def document(self) -> dict[str, Any]:
        """All of it as plain Python, for JSON."""
        return {
            **self.summary(),
            "classes": [vars(item) for item in self.classes],
            "confusion": [list(row) for row in self.confusion],
        }


def clip_metrics(scores: Tensor, labels: Tensor, class_names: list[str]) -> ClipMetrics:
    """Metrics of scores `(N, C)` against the clips' classes `int64 (N,)`.

    A class without a clip counts in no mean: nothing can be said of it.

    >>> scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    >>> metrics = clip_metrics(scores, torch.tensor([0, 1, 1, 1]), ["run", "walk"])
    >>> metrics.accuracy, round(metrics.mean_class_accuracy, 3), metrics.confusion
    (0.75, 0.833, ((1, 0), (1, 2)))
    """
    classes = len(class_names)
    confusion = classification.multiclass_confusion_matrix(scores, labels, classes)
    support = confusion.sum(dim=1)
    precision = classification.multiclass_precision(scores, labels, classes, average="none")
    recall = classification.multiclass_recall(scores, labels, classes, average="none")
    f1 = classification.multiclass_f1_score(scores, labels, classes, average="none")
    present = support > 0
    return ClipMetrics(
        accuracy=_accuracy(scores, labels, classes, top_k=1),
        top5=_accuracy(scores, labels, classes, top_k=min(TOP_K, classes)),
        mean_class_accuracy=recall[present].mean().item(),
        macro_f1=f1[present].mean().item(),
        classes=tuple(
            ClassMetrics(name, precision[i].item(), recall[i].item(), f1[i].item(), int(support[i]))
            for i, name in enumerate(class_names)
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        clips=len(labels),
    )


def metrics_document(heads: dict[str, ClipMetrics], class_names: list[str], main: str) -> dict[str, Any]:
    """What `test_metrics.json` holds: the numbers of each head; `confusion` is that of the `main` head."""
    return {
        "heads": {name: metrics.document() for name, metrics in heads.items()},
        "clips": heads[main].clips,
        "class_names": list(class_names),
        "confusion": heads[main].document()["confusion"],
    }


def _accuracy(scores: Tensor, labels: Tensor, classes: int, top_k: int) -> float:
    accuracy = classification.multiclass_accuracy(scores, labels, classes, average="micro", top_k=top_k)
    return torch.as_tensor(accuracy).item()
