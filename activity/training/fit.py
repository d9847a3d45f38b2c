"""Train a head on stored features, and measure it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from activity.evaluation.calibration import clip_scores, fit_temperature
from activity.evaluation.metrics import ClipMetrics
from activity.files import write_atomically
from activity.formats.checkpoint import check_continues, keep_temperature, load_checkpoint
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.datasets import WindowBatch
from activity.training.module import RecognizerModule, TrainingSettings, clips_loss

BEST, LAST = "best.ckpt", "last.ckpt"
BEFORE = "before_finetuning.ckpt"  # what best.ckpt was before the encoder was fine-tuned


@dataclass(frozen=True)
class FittedHead:
    """A trained head, measured on the test clips.

    Attributes:
        checkpoint: its best checkpoint.
        metrics: None where there are no test clips.
        scores: of the test clips in their order, `(N, C)`.
        unscaled_scores: the same at temperature 1.
        temperature: what the validation clips made of it; 1 where there are none.
    """

    checkpoint: Path
    metrics: ClipMetrics | None
    scores: Tensor
    unscaled_scores: Tensor
    temperature: float


def fit_head(
    recognizer: Recognizer,
    data: FeatureDataModule,
    settings: TrainingSettings,
    *,
    make_trainer: Callable[[Path], Trainer],
    folder: Path,
    resume: bool,
) -> FittedHead:
    """Train a recognizer's head, fit its temperature on the validation clips, then measure it on the test clips.

    What is measured is the best checkpoint, with its temperature in it.

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
        if (before := checkpoints / BEFORE).is_file():
            before.replace(checkpoints / BEST)
    trainer.fit(module, data, ckpt_path=last if resume else None, weights_only=True)
    best = checkpoints / BEST
    if not data.has_clips("val"):  # no epoch is better than another: the last stands
        write_atomically(best, last.read_bytes())
    return measured(best, data, settings, trainer)


def measured(best: Path, data: FeatureDataModule, settings: TrainingSettings, trainer: Trainer) -> FittedHead:
    """Fit the temperature of a checkpoint and keep it there, then measure the checkpoint on the test clips.

    Args:
        best: the checkpoint.
        data: features of its encoder.
        settings: how it was trained.
        trainer: runs the test.
    """
    temperature = _temperature(_module(load_checkpoint(best), data, settings), data)
    keep_temperature(best, temperature)
    # What is in the file, as whoever loads it will get it.
    tested = _module(load_checkpoint(best), data, settings)
    if data.has_clips("test"):
        trainer.test(tested, data, verbose=False)
    unscaled = clip_scores(tested.test_logits, tested.test_windows, len(tested.test_scores))
    return FittedHead(best, tested.test_metrics, tested.test_scores, unscaled, temperature)


def validation_loss(recognizer: Recognizer, data: FeatureDataModule, settings: TrainingSettings) -> float:
    """What `val/loss` is while the head is trained: the mean negative log-likelihood at temperature 1."""
    logits, labels, clips = _validation_windows(_module(recognizer, data, settings), data)
    return float(clips_loss(clip_scores(logits, clips, len(labels)), labels))


def _temperature(module: RecognizerModule, data: FeatureDataModule) -> float:
    """The temperature that the validation clips ask for, through the very path that scores clips."""
    if not data.has_clips("val"):
        return 1.0
    logits, labels, clips = _validation_windows(module, data)
    return fit_temperature(logits, labels, clips)


@torch.inference_mode()
def _validation_windows(module: RecognizerModule, data: FeatureDataModule) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of all validation windows at temperature 1, the class of each clip, and the clip of each window."""
    module.eval().recognizer.temperature.fill_(1.0)
    logits, labels, clips, before = [], [], [], 0
    for batch in cast(Iterable[WindowBatch], data.val_dataloader()):
        logits.append(module.window_logits(batch))
        labels.append(batch.labels)
        clips.append(batch.clips + before)
        before += len(batch.labels)
    return torch.cat(logits), torch.cat(labels), torch.cat(clips)


def _module(recognizer: Recognizer, data: FeatureDataModule, settings: TrainingSettings) -> RecognizerModule:
    return RecognizerModule(recognizer, settings, class_weights=data.class_weights())
