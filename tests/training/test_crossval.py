"""Cross-validation on numbers that stand for features."""

import math
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor

from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.models.encoder import FrameEncoder
from activity.models.head import MeanPool, StackedLSTM, build_head
from activity.training.crossval import CrossvalSettings, FoldClips, FoldScores, cross_validate, held_out_temperatures
from activity.training.module import TrainingSettings
from tests.recognizers import lstm_head, mean_pool_head, tiny_encoder
from tests.training.stored import named_clip, named_key, stored_clip

NAMES = ("rise", "fall")
ENCODER = tiny_encoder()
SIZE = ENCODER.feature_size
HEADS = {
    "lstm": lstm_head(SIZE, num_classes=2, hidden_size=8, dropout=0.0).describe(),
    "mean_pool": mean_pool_head(SIZE, num_classes=2).describe(),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings(r"ignore:.*module\(s\) in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated.*"),
]


def turning(label: str, generator: torch.Generator, one: Tensor, other: Tensor) -> Tensor:
    """Features that turn from one direction to another, or back: only their order tells the class."""
    angle = torch.linspace(-1.5, 1.5, 9)[:, None] * (1 if label == "rise" else -1)
    return angle.cos() * one + angle.sin() * other + 0.05 * torch.randn(9, len(one), generator=generator)


def folds_in(store: FeatureStore, *, wrong_fold: int | None = None, size: int = SIZE) -> list[FoldClips]:
    """Three folds of four clips; in `wrong_fold` the labels are swapped."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, size, generator=generator)
    parts: list[list[StoredClip]] = []
    for fold in range(3):
        parts.append([])
        for number in range(4):
            label = NAMES[number % 2]
            features = turning(label, generator, one, other)
            if fold == wrong_fold:
                label = NAMES[1 - number % 2]
            parts[-1].append(stored_clip(store, f"fold{fold}-{number}.mp4", label, features))
    return [
        FoldClips(
            str(left), [clip for number, part in enumerate(parts) for clip in part if number != left], parts[left]
        )
        for left in range(3)
    ]


def settings(store: FeatureStore, *, epochs: int = 8, seed: int = 0) -> CrossvalSettings:
    return CrossvalSettings(
        store=store,
        class_names=NAMES,
        sample_fps=10.0,
        window_frames=4,
        batch_size=8,
        balance="none",
        steps_per_epoch=4,
        memory_mb=16.0,
        training=TrainingSettings(
            partial(torch.optim.AdamW, lr=0.02), warmup_fraction=0.1, label_smoothing=0.0, reading_lr_factor=1.0
        ),
        make_trainer=partial(Trainer, accelerator="cpu", max_epochs=epochs, enable_model_summary=False),
        weigh_modalities=False,
        seed=seed,
    )


def validated(tmp_path: Path, *, wrong_fold: int | None = None, processes: int = 1, **changes: int) -> list[FoldScores]:
    store = FeatureStore(tmp_path / "features")
    folds = folds_in(store, wrong_fold=wrong_fold)
    return list(cross_validate(folds, HEADS, ENCODER, settings(store, **changes), processes=processes))


def accuracy(results: list[FoldScores], head: str, fold: str | None = None) -> float:
    own = [result for result in results if result.head == head and fold in (None, result.fold)]
    labels = torch.tensor([NAMES.index(clip.clip.label) for result in own for clip in result.clips])
    return (torch.cat([result.scores() for result in own]).argmax(dim=1) == labels).float().mean().item()


def test_the_lstm_learns_the_order_in_time_and_the_baseline_cannot(tmp_path: Path) -> None:
    results = validated(tmp_path)
    assert {(result.fold, result.head) for result in results} == {(f, h) for f in "012" for h in HEADS}
    assert accuracy(results, "lstm") == 1.0
    assert accuracy(results, "mean_pool") < 0.9


def test_scores_are_those_of_the_clips_left_out_in_their_order(tmp_path: Path) -> None:
    for result in validated(tmp_path, epochs=1):
        assert [clip.clip.name for clip in result.clips] == [f"fold{result.fold}-{number}.mp4" for number in range(4)]
        assert result.scores().shape == (4, 2)
        assert torch.allclose(result.scores().sum(dim=1), torch.ones(4))


def test_a_head_has_not_seen_what_it_is_tested_on(tmp_path: Path) -> None:
    # Wrong labels in the fold that is left out: whoever had seen them would be right there.
    assert accuracy(validated(tmp_path, wrong_fold=1), "lstm", fold="1") == 0.0


def fold_scores(fold: str, *, sure: float, right: int, clips: int = 200, head: str = "lstm") -> FoldScores:
    """A head that gives one class the same logit each time, and is right on so many clips."""
    own = [named_clip(f"{fold}-{number}.mp4", NAMES[number >= right]) for number in range(clips)]
    stored = [StoredClip(clip, named_key(clip.relative_path), 1) for clip in own]
    logits = torch.tensor([sure, 0.0]).repeat(clips, 1)
    return FoldScores(fold, head, tuple(stored), logits, torch.arange(clips), {})


def test_a_folds_temperature_comes_from_the_other_folds_of_its_head() -> None:
    # Of 400 clips 360 are right: a score of 0.9 is true of them, and log(9) is its logit.
    modest = [fold_scores(fold, sure=0.5, right=right) for fold, right in (("a", 20), ("b", 180), ("c", 180))]
    other = [fold_scores(fold, sure=8.0, right=180, head="mean_pool") for fold in "abc"]
    by_fold = held_out_temperatures([*modest, *other], NAMES)
    assert by_fold[0] == pytest.approx(0.5 / math.log(9), rel=0.1)  # of its own 180 mistakes nothing is known
    assert by_fold[1] > 2 * by_fold[0]
    assert min(by_fold[3:]) > 2
    assert modest[0].scores(by_fold[0])[0, 0].item() == pytest.approx(0.9, abs=0.02)
    assert held_out_temperatures(modest[:1], NAMES) == [1.0]  # no other fold is left


def test_the_same_seed_gives_the_same_scores_and_another_one_others(tmp_path: Path) -> None:
    first, again, other = (validated(tmp_path, epochs=1, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(one.scores(), two.scores()) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0].scores(), other[0].scores())


@pytest.mark.slow
def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    here = {(result.fold, result.head): result.scores() for result in validated(tmp_path, epochs=1)}
    there = {(result.fold, result.head): result.scores() for result in validated(tmp_path, epochs=1, processes=2)}
    assert here.keys() == there.keys()
    assert all(torch.allclose(here[task], there[task], atol=1e-5) for task in here)


def test_an_error_in_a_fold_is_raised(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    folds = folds_in(store)
    for clip in folds[0].test:
        store.path(clip.key).unlink()
    with pytest.raises(FileNotFoundError):
        list(cross_validate(folds, HEADS, ENCODER, settings(store, epochs=1), processes=1))


def test_ctrl_c_in_a_fold_is_ctrl_c(tmp_path: Path) -> None:
    class Interrupted(Callback):
        def on_train_batch_start(self, *_: object) -> None:
            raise KeyboardInterrupt

    def make_trainer(**further: Any) -> Trainer:
        return Trainer(**{**further, "accelerator": "cpu", "max_epochs": 1, "callbacks": [Interrupted()]})

    store = FeatureStore(tmp_path / "features")
    own = replace(settings(store), make_trainer=make_trainer)
    handler = signal.getsignal(signal.SIGINT)  # Lightning takes it away
    try:
        with pytest.raises(KeyboardInterrupt):
            list(cross_validate(folds_in(store), HEADS, ENCODER, own, processes=1))
    finally:
        signal.signal(signal.SIGINT, handler)


def test_processes_share_the_memory_for_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[CrossvalSettings] = []

    @contextmanager
    def recorded(number: int, begin: object, encoder: object, own: CrossvalSettings, threads: int) -> Iterator[None]:
        begun.append(own)
        raise BrokenProcessPool
        yield

    monkeypatch.setattr("activity.training.crossval.worker_processes", recorded)
    with pytest.raises(BrokenProcessPool):
        validated(tmp_path, processes=4)
    assert [own.memory_mb for own in begun] == [4.0]


def test_the_encoder_stays_as_it_is(tmp_path: Path) -> None:
    def digest(encoder: FrameEncoder) -> str:
        return encoder.weights_hash()

    before = digest(ENCODER)
    validated(tmp_path, epochs=1)
    assert digest(ENCODER) == before


class TestModalityWeights:
    """Two modalities that say nothing; what is chosen for a fold is what its heads are built with."""

    ENCODER = tiny_encoder("rgb", "motion")

    def validated(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, weigh: bool = True
    ) -> tuple[list[FoldScores], list[set[str]]]:
        asked: list[set[str]] = []

        def choose(store: FeatureStore, clips: Sequence[StoredClip], *_: object, **__: object) -> dict[str, Any]:
            asked.append({item.clip.name.partition("-")[0] for item in clips})
            return {"modality_weights": [1.0, len(asked) / 4], "mean_penalty": 0.0}

        monkeypatch.setattr("activity.training.crossval.choose_head_settings", choose)
        store = FeatureStore(tmp_path / "features")
        size = self.ENCODER.feature_size
        heads = {
            "lstm": lstm_head(size, num_classes=2, modality_weights=[1.0, 1.0]).describe(),
            "mean_pool": mean_pool_head(size, num_classes=2, modality_weights=[1.0, 1.0]).describe(),
        }
        settled = replace(settings(store, epochs=1), weigh_modalities=weigh)
        folds = folds_in(store, size=size)
        return list(cross_validate(folds, heads, self.ENCODER, settled, processes=1)), asked

    def test_are_chosen_once_a_fold_on_its_training_clips_and_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built: list[list[float]] = []

        def build(description: dict[str, Any]) -> StackedLSTM | MeanPool:
            built.append(description["modality_weights"])
            return build_head(description)

        monkeypatch.setattr("activity.training.crossval.build_head", build)
        results, asked = self.validated(tmp_path, monkeypatch)
        assert asked == [{f"fold{n}" for n in range(3) if n != left} for left in range(3)]
        expected = [[1.0, number / 4] for number in (1, 1, 2, 2, 3, 3)]
        assert [result.chosen for result in results] == [
            {"modality_weights": weights, "mean_penalty": 0.0} for weights in expected
        ]
        assert built == expected

    def test_that_are_not_asked_for_are_not_chosen(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        results, asked = self.validated(tmp_path, monkeypatch, weigh=False)
        assert asked == []
        assert all(result.chosen == {} for result in results)
