"""Train a head on stored features, and measure it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning import Trainer

from activity.evaluation.metrics import ClipMetrics
from activity.formats.checkpoint import check_continues, load_checkpoint
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.module import OptimizerFactory, RecognizerModule

BEST, LAST = "best.ckpt", "last.ckpt"


@dataclass(frozen=True)
class TrainingSettings:
    """How a head is trained; see `RecognizerModule`."""

    make_optimizer: OptimizerFactory
    warmup_fraction: float
    label_smoothing: float


@dataclass(frozen=True)
class FittedHead:
    """A trained head: its best checkpoint, and its metrics on the test clips (None where there are none)."""

    checkpoint: Path
    metrics: ClipMetrics | None


def fit_head(
    recognizer: Recognizer,
    data: FeatureDataModule,
    settings: TrainingSettings,
    *,
    make_trainer: Callable[[Path], Trainer],
    folder: Path,
    resume: bool,
) -> FittedHead:
    """Train a recognizer's head, then measure its best checkpoint on the test clips.

    Args:
        recognizer: a fresh one; its head is trained.
        data: the loaders.
        settings: how to train.
        make_trainer: from the folder to a trainer that keeps `checkpoints/best.ckpt` and `last.ckpt` in it.
        folder: where checkpoints and logs go.
        resume: go on from `checkpoints/last.ckpt`.

    Raises:
        ModelFileError: the checkpoint to go on from is damaged, or is of another recognizer.
    """
    trainer = make_trainer(folder)
    checkpoints = folder / "checkpoints"
    module = _module(recognizer, data, settings)
    last = checkpoints / LAST
    if resume:
        check_continues(last, recognizer)  # Lightning would load other weights, or say so in its own words
    trainer.fit(module, data, ckpt_path=last if resume else None, weights_only=True)
    best = checkpoints / BEST
    if not data.has_clips("val"):  # no epoch is better than another: the last stands
        shutil.copyfile(last, best)
    return FittedHead(best, _test(best, data, settings, trainer))


def _test(
    checkpoint: Path, data: FeatureDataModule, settings: TrainingSettings, trainer: Trainer
) -> ClipMetrics | None:
    """Metrics of what is in the file, as whoever loads it will get them."""
    if not data.has_clips("test"):
        return None
    module = _module(load_checkpoint(checkpoint), data, settings)
    trainer.test(module, data, verbose=False)
    return module.test_metrics


def _module(recognizer: Recognizer, data: FeatureDataModule, settings: TrainingSettings) -> RecognizerModule:
    return RecognizerModule(
        recognizer,
        make_optimizer=settings.make_optimizer,
        warmup_fraction=settings.warmup_fraction,
        label_smoothing=settings.label_smoothing,
        class_weights=data.class_weights(),
    )
