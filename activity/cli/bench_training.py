"""What `activity bench extract` measures of training from stored features."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from activity.cli import train
from activity.cli.bench_figures import MOST_SECONDS, Figure, medians
from activity.cli.components import training_settings
from activity.cli.configuration import run_with_configuration
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.datasets import WindowBatch
from activity.training.lightning import Callback, LightningModule, Trainer
from activity.training.module import RecognizerModule

_EPOCHS = 25


def epoch_figures(config: DictConfig, recognizer: Recognizer, data: FeatureDataModule) -> list[Figure]:
    """An epoch by Lightning from the store, and the head's forward and backward on such batches in memory."""
    settings, clock = training_settings(config), _EpochClock(list(data.train_dataloader()))
    trainer: Trainer = instantiate(
        config.trainer,
        max_epochs=_EPOCHS,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        limit_val_batches=0,
    )
    trainer.fit(RecognizerModule(recognizer, settings, class_weights=data.class_weights()), data)
    epoch, alone = statistics.median(clock.epochs[1:]), statistics.median(clock.alone[1:])
    return [
        Figure("an epoch from stored features", 1e3 * epoch, "ms", runs=_EPOCHS - 1),
        Figure("the head alone on the same batches", 1e3 * alone, "ms", runs=_EPOCHS - 1),
        Figure("epoch by head alone", epoch / alone, "", "at most", 1.25, _EPOCHS - 1),
    ]


def second_train(overrides: Sequence[str], say: Callable[[str], None], *, quick: bool) -> Figure:
    """From the start of work to the first epoch, all features being stored."""
    say("a first and a second training ...")
    common = [*overrides, "trainer.max_epochs=1", "callbacks.progress=null", "optim.steps_per_epoch=1"]
    run_with_configuration("train", [*common, "head=mean_pool"], train.train)
    clock = f"+callbacks.clock._target_={FirstEpochClock.__module__}.{FirstEpochClock.__qualname__}"
    own = [item for item in common if not item.startswith("hydra.run.dir=")]
    folder = next(item for item in common if item.startswith("hydra.run.dir="))
    numbers = itertools.count(2)

    def train_again() -> tuple[float]:
        FirstEpochClock.begun.clear()
        begun = time.perf_counter()
        next_folder = f"{folder[:-1]}-{next(numbers)}{folder[-1]}"
        run_with_configuration("train", [*own, next_folder, clock], train.train)
        return (FirstEpochClock.begun[0] - begun,)

    (seconds,), runs = medians(train_again, quick=quick, most_seconds=MOST_SECONDS, warm_up=False)
    return Figure("a second train, to its first epoch", seconds, "s", "at most", 5.0, runs)


class FirstEpochClock(Callback):
    """Notes when epochs begin."""

    begun: ClassVar[list[float]] = []  # by run

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the time; the baseline's epochs come after."""
        self.begun.append(time.perf_counter())


class _EpochClock(Callback):
    """Notes how long each epoch's training takes, and after it the head alone: both meet the same noise.

    Args:
        batches: for the head alone, of the size of an epoch.
    """

    def __init__(self, batches: Sequence[WindowBatch]) -> None:
        self._batches = batches
        self.epochs: list[float] = []  # seconds
        self.alone: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begun = _clock(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, RecognizerModule)
        self.epochs.append(_clock(pl_module) - self._begun)
        batches = [batch.to(pl_module.device) for batch in self._batches]
        begun = _clock(pl_module)
        for batch in batches:
            pl_module.zero_grad()
            with trainer.precision_plugin.forward_context():
                loss = pl_module.window_loss(batch.features, batch.lengths, batch.labels)
            loss.backward()
        self.alone.append(_clock(pl_module) - begun)


def _clock(module: LightningModule) -> float:
    """Seconds, once its device has done what it was given."""
    if module.device.type != "cpu":
        torch.accelerator.synchronize(module.device)
    return time.perf_counter()
