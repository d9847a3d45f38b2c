"""Cross-validation on stored features: a fresh head a fold, each clip scored once by a head that has not seen it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from pytorch_lightning import Trainer, seed_everything
from torch import Tensor

from activity.allocator import keep_freed_memory
from activity.data.clips import class_indices
from activity.evaluation.calibration import clip_scores, fit_temperature
from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.models.encoder import FrameEncoder
from activity.models.head import build_head
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.lightning import quiet_lightning
from activity.training.modalities import choose_head_settings
from activity.training.module import RecognizerModule, TrainingSettings
from activity.training.processes import usable_cores, worker_processes
from activity.training.projection import prepare_head


@dataclass(frozen=True)
class FoldClips:
    """The clips of a fold that have features: those to train on and those to test."""

    name: str
    train: Sequence[StoredClip]
    test: Sequence[StoredClip]


@dataclass(frozen=True)
class CrossvalSettings:
    """What is the same in every fold.

    Attributes:
        store: where the features are.
        class_names: the order of the classes.
        sample_fps: of the features.
        window_frames: features a window.
        batch_size: clips a batch.
        balance: as `FeatureDataModule` has it.
        steps_per_epoch: batches an epoch has at least.
        memory_mb: features kept in memory, by all processes together.
        training: how a head is trained.
        make_trainer: a trainer without callbacks, loggers and checkpoints; called with keyword arguments to add.
        weigh_modalities: find how much each modality counts in each fold; see `choose_settings`.
        seed: set before each head.
    """

    store: FeatureStore
    class_names: tuple[str, ...]
    sample_fps: float
    window_frames: int
    batch_size: int
    balance: str
    steps_per_epoch: int
    memory_mb: float
    training: TrainingSettings
    make_trainer: Callable[..., Trainer]
    weigh_modalities: bool
    seed: int


@dataclass(frozen=True)
class FoldScores:
    """What one head says of the clips that one fold left out.

    Attributes:
        fold: its name.
        head: the head's name.
        clips: the clips, in the order of `FoldClips.test`.
        logits: `float32 (W, C)` of all their windows.
        windows: `int64 (W,)`, which clip each window is of.
        chosen: the settings that `choose_settings` found for the heads of this fold.
    """

    fold: str
    head: str
    clips: tuple[StoredClip, ...]
    logits: Tensor
    windows: Tensor
    chosen: Mapping[str, Any]

    def scores(self, temperature: float = 1.0) -> Tensor:
        """Scores of the clips, `float32 (N, C)`; each row sums to 1."""
        return clip_scores(self.logits, self.windows, len(self.clips), temperature)


@dataclass(frozen=True)
class _Task:
    """A head to train in a fold; of its description, `chosen` replaces what it names."""

    fold: FoldClips
    head: str
    description: Mapping[str, Any]
    chosen: Mapping[str, Any]


def cross_validate(
    folds: Sequence[FoldClips],
    heads: Mapping[str, Mapping[str, Any]],
    encoder: FrameEncoder,
    settings: CrossvalSettings,
    *,
    processes: int,
) -> Iterator[FoldScores]:
    """Train each head on each fold and score what the fold leaves out; results come as they are done.

    A fold trains for all its epochs and its last weights count: choosing an epoch by the clips that are left out would
    be a look at the answers.

    Args:
        folds: the folds.
        heads: name to `describe()` of a head.
        encoder: that made the features.
        settings: what is the same in every fold.
        processes: folds trained at the same time; 1 trains them here.

    Raises:
        BrokenProcessPool: a process was killed, for want of memory as a rule.
        KeyboardInterrupt: on Ctrl-C, also where Lightning would end the program by itself.
    """
    if processes == 1:
        for fold in folds:
            for task in _tasks(fold, heads, choose_settings(fold.train, encoder, settings)):
                yield _fit_and_score(task, encoder, settings)
        return
    shared = replace(settings, memory_mb=settings.memory_mb / processes)
    threads = max(1, usable_cores() // processes)
    with worker_processes(processes, _begin_worker, encoder, shared, threads) as pool:
        choices = [pool.submit(_choose, fold) for fold in folds]
        tasks = [task for fold, own in zip(folds, choices, strict=True) for task in _tasks(fold, heads, own.result())]
        futures: list[Future[FoldScores]] = [pool.submit(_work, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()


def choose_settings(train: Sequence[StoredClip], encoder: FrameEncoder, settings: CrossvalSettings) -> dict[str, Any]:
    """What a fold's training clips say of how all its heads are to be built: see `choose_head_settings`."""
    if not settings.weigh_modalities:
        return {}
    return choose_head_settings(
        settings.store, train, settings.class_names, num_modalities=len(encoder.modalities), seed=settings.seed
    )


def held_out_temperatures(results: Sequence[FoldScores], class_names: Sequence[str]) -> list[float]:
    """For each result, the temperature that the results of the same head in the other folds ask for.

    Training fits a temperature on validation clips. A fold has none, but the other folds' clips were each scored by a
    head that had not seen them. Its own clips have no part in it, so that the scores stay an honest guess.
    """
    return [
        _temperature([other for other in results if other.head == own.head and other.fold != own.fold], class_names)
        for own in results
    ]


def _temperature(results: Sequence[FoldScores], class_names: Sequence[str]) -> float:
    if not results:
        return 1.0
    labels = class_indices((item.clip for result in results for item in result.clips), class_names)
    before = accumulate((len(result.clips) for result in results), initial=0)
    windows = [result.windows + offset for result, offset in zip(results, before, strict=False)]
    return fit_temperature(torch.cat([result.logits for result in results]), torch.tensor(labels), torch.cat(windows))


def _tasks(fold: FoldClips, heads: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any]) -> list[_Task]:
    return [_Task(fold, name, description, chosen) for name, description in heads.items()]


_worker: dict[str, Any] = {}  # what a worker process was begun with


def _begin_worker(encoder: FrameEncoder, settings: CrossvalSettings, threads: int) -> None:
    keep_freed_memory()
    torch.set_num_threads(threads)
    quiet_lightning()
    _worker.update(encoder=encoder, settings=settings)


def _choose(fold: FoldClips) -> dict[str, Any]:
    return choose_settings(fold.train, _worker["encoder"], _worker["settings"])


def _work(task: _Task) -> FoldScores:
    return _fit_and_score(task, _worker["encoder"], _worker["settings"])


def _fit_and_score(task: _Task, encoder: FrameEncoder, settings: CrossvalSettings) -> FoldScores:
    seed_everything(settings.seed, verbose=False)
    recognizer = Recognizer(
        encoder=encoder,
        head=build_head({**task.description, **task.chosen}),
        class_names=list(settings.class_names),
        sample_fps=settings.sample_fps,
        window_frames=settings.window_frames,
    )
    data = FeatureDataModule(
        settings.store,
        {"train": task.fold.train, "val": (), "test": task.fold.test},
        settings.class_names,
        window_frames=settings.window_frames,
        batch_size=settings.batch_size,
        balance=settings.balance,
        steps_per_epoch=settings.steps_per_epoch,
        memory_mb=settings.memory_mb,
    )
    prepare_head(recognizer.head, settings.store, task.fold.train, seed=settings.seed)
    module = RecognizerModule(recognizer, settings.training, class_weights=data.class_weights())
    trainer = settings.make_trainer(
        callbacks=[], logger=False, enable_checkpointing=False, limit_val_batches=0, enable_progress_bar=False
    )
    try:
        trainer.fit(module, data)
        trainer.test(module, data, verbose=False)
    except SystemExit as error:  # how Lightning ends on Ctrl-C
        raise KeyboardInterrupt from error
    return FoldScores(
        task.fold.name, task.head, tuple(task.fold.test), module.test_logits, module.test_windows, task.chosen
    )
