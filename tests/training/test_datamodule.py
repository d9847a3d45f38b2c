from collections import Counter
from pathlib import Path

import pytest
import torch

from activity.features.store import FeatureStore
from activity.training import datamodule
from activity.training.datamodule import FeatureDataModule
from tests.training.stored import counting_features, stored_clip

NAMES = ["rare", "common"]


def data_module(folder: Path, balance: str, **settings: float) -> FeatureDataModule:
    store = FeatureStore(folder)
    labels = ["rare", *["common"] * 3]
    train = [stored_clip(store, f"{n}.mp4", label, counting_features(6)) for n, label in enumerate(labels)]
    test = [stored_clip(store, f"test{n}.mp4", label, counting_features(6)) for n, label in enumerate(labels)]
    chosen = {"window_frames": 4, "batch_size": 4, "memory_mb": 16.0, "steps_per_epoch": 10} | settings
    return FeatureDataModule(store, {"train": train, "val": [], "test": test}, NAMES, balance=balance, **chosen)


def drawn_labels(data: FeatureDataModule) -> list[int]:
    return [int(label) for batch in data.train_dataloader() for label in batch.labels]  # type: ignore[attr-defined]


def test_without_balance_classes_come_as_often_as_their_clips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = data_module(tmp_path, "none")
    assert data.class_weights().tolist() == [1.0, 1.0]
    assert Counter(drawn_labels(data)) == {0: 10, 1: 30}


def test_in_the_loss_each_class_weighs_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = data_module(tmp_path, "loss")
    weights = data.class_weights()
    assert weights.tolist() == pytest.approx([2.0, 2 / 3])
    assert float(weights[0] * 1) == pytest.approx(float(weights[1] * 3))
    assert Counter(drawn_labels(data)) == {0: 10, 1: 30}


def test_the_sampler_draws_each_class_as_often_as_any_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = data_module(tmp_path, "sampler", steps_per_epoch=100)
    assert data.class_weights().tolist() == [1.0, 1.0]
    counts = Counter(drawn_labels(data))
    assert sum(counts.values()) == 400
    assert counts[0] == pytest.approx(200, abs=40)


def test_an_epoch_has_so_many_steps_at_least_and_each_clip_once(tmp_path: Path) -> None:
    assert len(data_module(tmp_path, "none", steps_per_epoch=3).train_dataloader()) == 3
    assert sorted(drawn_labels(data_module(tmp_path, "none", steps_per_epoch=1))) == [0, 1, 1, 1]
    assert len(data_module(tmp_path, "none", steps_per_epoch=1, batch_size=3).train_dataloader()) == 2


def test_test_clips_come_once_each_in_order_and_validation_may_be_empty(tmp_path: Path) -> None:
    data = data_module(tmp_path, "sampler")
    (batch,) = data.test_dataloader()  # type: ignore[misc]
    assert batch.labels.tolist() == [0, 1, 1, 1]
    assert data.has_clips("test")
    assert not data.has_clips("val")
    assert data.val_dataloader() == []


def test_another_balance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'foo'.*none, loss, sampler"):
        data_module(tmp_path, "foo")


def test_long_clips_are_scored_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All windows of a clip stand in one batch, and no batch has more than a few clips of many windows."""
    monkeypatch.setattr(datamodule, "_WINDOWS_A_BATCH", 20)
    store, lengths = FeatureStore(tmp_path), [6, 6, 100, 6, 30, 30, 6, 6, 6, 6, 6]
    clips = [stored_clip(store, f"{n}.mp4", NAMES[n % 2], counting_features(t)) for n, t in enumerate(lengths)]
    data = FeatureDataModule(
        store,
        {"train": clips, "val": clips, "test": clips},
        NAMES,
        window_frames=4,
        batch_size=4,
        balance="none",
        memory_mb=1.0,
        steps_per_epoch=1,
    )
    batches = list(data.val_dataloader())  # type: ignore[arg-type]
    assert [len(batch.labels) for batch in batches] == [2, 1, 2, 4, 2]
    assert [label for batch in batches for label in batch.labels.tolist()] == [n % 2 for n in range(len(lengths))]
    assert max(len(batch.features) for batch in batches if len(batch.labels) > 1) <= 20
    assert len(data.test_dataloader()) == len(batches)
