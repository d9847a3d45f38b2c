import json

import pytest
import torch
from torch import Tensor

from activity.evaluation.metrics import ClassMetrics, clip_metrics, metrics_document

NAMES = ["run", "sit", "walk"]
# Worked by hand. True run, run, run, sit, sit, walk; predicted run, run, sit, sit, walk, walk.
LABELS = torch.tensor([0, 0, 0, 1, 1, 2])
PREDICTED = [0, 0, 1, 1, 2, 2]


def scores_for(predicted: list[int], classes: int) -> Tensor:
    """The predicted class has the best score; of the others, the later the better."""
    scores = torch.arange(classes).repeat(len(predicted), 1) * 0.01
    scores[torch.arange(len(predicted)), predicted] = 1.0
    return scores.softmax(dim=1)


def test_numbers_worked_by_hand() -> None:
    metrics = clip_metrics(scores_for(PREDICTED, 3), LABELS, NAMES)
    assert metrics.clips == 6
    assert metrics.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert metrics.accuracy == pytest.approx(4 / 6)
    assert metrics.mean_class_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    run, sit, walk = metrics.classes
    assert (run.name, run.support) == ("run", 3)
    assert (run.precision, run.recall, run.f1) == pytest.approx((1.0, 2 / 3, 4 / 5))
    assert (sit.name, sit.support) == ("sit", 2)
    assert (sit.precision, sit.recall, sit.f1) == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert (walk.name, walk.support) == ("walk", 1)
    assert (walk.precision, walk.recall, walk.f1) == pytest.approx((1 / 2, 1.0, 2 / 3))
    assert metrics.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)


def test_rows_of_the_confusion_are_the_true_classes() -> None:
    metrics = clip_metrics(scores_for([1, 1, 1], 2), torch.tensor([0, 0, 1]), ["a", "b"])
    assert metrics.confusion == ((0, 2), (0, 1))


def test_the_right_class_among_the_five_best() -> None:
    scores = torch.linspace(0.9, 0.1, 8).softmax(0).repeat(4, 1)  # class 0 best, class 7 last
    metrics = clip_metrics(scores, torch.tensor([0, 4, 5, 7]), [f"class {i}" for i in range(8)])
    assert metrics.accuracy == 0.25
    assert metrics.top5 == 0.5


@pytest.mark.parametrize("classes", [2, 4, 5])
def test_with_five_classes_or_fewer_the_right_one_is_always_among_them(classes: int) -> None:
    metrics = clip_metrics(scores_for([0, 0], classes), torch.tensor([0, 1]), [str(i) for i in range(classes)])
    assert metrics.top5 == 1.0
    assert metrics.accuracy == 0.5


def test_a_class_without_clips_counts_in_no_mean() -> None:
    names = [*NAMES, "jump"]
    scores = scores_for(PREDICTED, 4)
    metrics = clip_metrics(scores, LABELS, names)
    assert metrics.mean_class_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert metrics.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert metrics.classes[3] == ClassMetrics("jump", 0.0, 0.0, 0.0, 0)
    assert metrics.confusion[3] == (0, 0, 0, 0)


def test_a_class_without_clips_still_takes_what_is_predicted_as_it() -> None:
    metrics = clip_metrics(scores_for([2, 0, 1], 3), torch.tensor([0, 0, 1]), NAMES)
    assert metrics.accuracy == pytest.approx(2 / 3)
    assert metrics.mean_class_accuracy == pytest.approx((1 / 2 + 1) / 2)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.confusion == ((1, 0, 1), (0, 1, 0), (0, 0, 0))


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    metrics = clip_metrics(scores_for([0, 0], 2), torch.tensor([0, 1]), ["a", "b"])
    assert metrics.classes[1] == ClassMetrics("b", 0.0, 0.0, 0.0, 1)
    assert metrics.mean_class_accuracy == 0.5


def test_the_document_has_what_the_file_promises() -> None:
    lstm = clip_metrics(scores_for(PREDICTED, 3), LABELS, NAMES)
    mean_pool = clip_metrics(scores_for([0] * 6, 3), LABELS, NAMES)
    document = metrics_document({"lstm": lstm, "mean_pool": mean_pool}, NAMES, main="lstm")
    assert json.loads(json.dumps(document)) == document  # plain Python
    assert set(document) >= {"heads", "clips", "class_names", "confusion"}
    assert list(document["heads"]) == ["lstm", "mean_pool"]
    for head, metrics in (("lstm", lstm), ("mean_pool", mean_pool)):
        numbers = document["heads"][head]
        assert numbers["accuracy"] == metrics.accuracy
        assert numbers["top5"] == metrics.top5
        assert numbers["mean_class_accuracy"] == metrics.mean_class_accuracy
        assert numbers["macro_f1"] == metrics.macro_f1
        assert numbers["confusion"] == [list(row) for row in metrics.confusion]
    assert document["heads"]["mean_pool"]["accuracy"] == pytest.approx(0.5)
    assert document["heads"]["mean_pool"]["classes"][0]["recall"] == 1.0
    assert document["heads"]["lstm"]["classes"][1] == {
        "name": "sit",
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "support": 2,
    }
    assert document["clips"] == 6
    assert document["class_names"] == NAMES
    assert document["confusion"] == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]  # of the main head
