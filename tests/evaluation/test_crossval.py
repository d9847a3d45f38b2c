"""The pooled result of a cross-validation, and the files made of it."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from activity.data.clips import Clip
from activity.evaluation.crossval import CrossvalResult, crossval_csv, crossval_document
from activity.evaluation.predictions import ScoredClips


def clip(name: str, label: str) -> Clip:
    return Clip(path=Path("/data", name), relative_path=name, label=label, group=name)


@pytest.fixture
def result() -> CrossvalResult:
    """Four clips in two folds; the first head has three right, the second one."""
    labels = torch.tensor([0, 1, 1, 0])
    names = ("run", "walk, slowly")
    first = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    second = torch.tensor([[0.4, 0.6], [0.7, 0.3], [0.6, 0.4], [0.7, 0.3]])
    clips = tuple(clip(f"{row}.mp4", names[int(label)]) for row, label in enumerate(labels))
    return CrossvalResult(
        scored={
            "lstm": ScoredClips(clips, first, labels, names),
            "mean_pool": ScoredClips(clips, second, labels, names),
        },
        fold_of=("ann", "ann", "bob", "bob"),
        temperatures={"ann": {"lstm": 0.5, "mean_pool": 2.0}, "bob": {"lstm": 0.75, "mean_pool": 1.5}},
    )


def test_the_document_has_the_heads_side_by_side(result: CrossvalResult) -> None:
    document = crossval_document(result)
    assert {"heads", "clips", "folds", "class_names", "confusion"} <= set(document)
    lstm, mean_pool = document["heads"]["lstm"], document["heads"]["mean_pool"]
    assert (lstm["accuracy"], mean_pool["accuracy"]) == (0.75, 0.25)
    assert lstm["mean_class_accuracy"] == 0.75
    assert lstm["expected_calibration_error"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.3) / 4)
    assert lstm["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert 0 <= lstm["accuracy_low"] < 0.75 < lstm["accuracy_high"] <= 1
    assert document["confusion"] == [[2, 0], [1, 1]]  # of the first head
    assert (document["clips"], document["folds"], document["class_names"]) == (4, 2, ["run", "walk, slowly"])


def test_the_document_says_each_fold_and_how_the_heads_compare(result: CrossvalResult) -> None:
    document, by_head = crossval_document(result), result.temperatures
    assert document["by_fold"] == [
        {"fold": "ann", "clips": 2, "accuracy": {"lstm": 1.0, "mean_pool": 0.0}, "temperature": by_head["ann"]},
        {"fold": "bob", "clips": 2, "accuracy": {"lstm": 0.5, "mean_pool": 0.5}, "temperature": by_head["bob"]},
    ]
    assert document["paired_test"] == {
        "head": "lstm", "against": "mean_pool", "better": 2, "worse": 0, "p_value": 0.5
    }  # fmt: skip


def test_the_document_says_what_each_fold_chose(result: CrossvalResult) -> None:
    chosen = {"ann": {"modality_weights": {"rgb": 0.5, "motion": 1.0}}}
    ann, bob = crossval_document(replace(result, chosen=chosen))["by_fold"]
    assert ann["modality_weights"] == {"rgb": 0.5, "motion": 1.0}
    assert set(bob) == {"fold", "clips", "accuracy", "temperature"}


def test_one_head_alone_is_compared_with_nothing(result: CrossvalResult) -> None:
    alone = replace(result, scored={"lstm": result.scored["lstm"]})
    assert alone.comparison is None
    assert "paired_test" not in crossval_document(alone)


def test_predictions_have_a_row_a_clip(result: CrossvalResult) -> None:
    rows = list(csv.DictReader(io.StringIO(crossval_csv(result))))
    assert [row["path"] for row in rows] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    row = rows[1]
    assert [float(row.pop("lstm_score")), float(row.pop("mean_pool_score"))] == pytest.approx([0.8, 0.7])
    assert row == {
        "path": "1.mp4", "start": "0.0", "end": "", "group": "1.mp4", "fold": "ann", "label": "walk, slowly",
        "lstm_predicted": "walk, slowly", "mean_pool_predicted": "run",
    }  # fmt: skip
