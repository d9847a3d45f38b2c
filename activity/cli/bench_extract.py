"""What `activity bench extract` measures: extraction against its bound, training from the store, memory."""

import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

from activity.cli import train
from activity.cli.arguments import UsageError
from activity.cli.bench_alone import Span, batches_of, decoding_seconds, encoding_seconds
from activity.cli.bench_figures import Figure, machine
from activity.cli.bench_memory import memory_figures
from activity.cli.components import (
    encoding_device,
    feature_loaders,
    fresh_recognizer,
    make_encoder,
    quiet_libraries,
    training_settings,
)
from activity.cli.configuration import quoted, run_with_configuration
from activity.cli.main import EXIT_OK
from activity.cli.settings import check_settings
from activity.data.clips import Clip, Manifest
from activity.data.demo import render_demo
from activity.data.layouts import detect_layout, read_any
from activity.features.fill import constant_batches, fill_store, plain_only
from activity.features.store import FeatureStore
from activity.features.wanted import fillings_of, wanted_features
from activity.models.encoder import FrameEncoder
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.datasets import WindowBatch
from activity.training.module import RecognizerModule
from activity.training.processes import usable_cores

_EPOCHS = 25


@dataclass(frozen=True)
class ExtractBench:
    """All that was measured, and on what."""

    machine: dict[str, str | int]
    clips: int
    frames: int
    figures: list[Figure]


def bench_extract(
    folder: Path,
    *,
    data: str | None,
    group_pattern: str | None,
    overrides: Sequence[str],
    limit: int | None,
    quick: bool,
    say: Callable[[str], None],
) -> ExtractBench:
    """Measure extraction and training on a data set, and memory on videos made for it.

    Args:
        folder: an empty one, for what is made.
        data: a data set in any layout; None: rendered films.
        group_pattern: as `data.group_pattern`.
        overrides: settings, as for `activity train`.
        limit: how many clips of the data set.
        quick: small amounts, to see that it runs.
        say: is told what comes next.
    """
    _check(overrides)
    quiet_libraries()
    if data is None:
        say("rendering films ...")
        data = str(folder / "films")
        render_demo(Path(data), actors=4 if quick else 12, takes=1, seed=1)
    manifest = read_any(data, detect_layout(data), root=None, split=1, group_pattern=group_pattern)
    table = _write_table(folder / "clips.csv", manifest.clips, limit)
    paths = {"data.csv": table, "features.store": folder / "store", "hydra.run.dir": folder / "run"}
    given = ["data=csv", *(f"{key}={quoted(str(path.absolute()))}" for key, path in paths.items())]
    found: list[tuple[int, int, list[Figure]]] = []

    def measure(config: DictConfig) -> int:
        found.append(_measured(config, say, quick=quick))
        return EXIT_OK

    run_with_configuration("train", [*given, *overrides], measure)
    ((clips, frames, figures),) = found
    figures.append(_second_train([*given, *overrides], say))
    for figure in figures:  # what comes takes long: who stops it has these
        say(f"{figure.name}: {figure.value:,.2f} {figure.unit}".rstrip())
    figures += memory_figures(folder / "memory", overrides, quick=quick, say=say)
    return ExtractBench(machine("pytorch_lightning"), clips, frames, figures)


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


def _check(overrides: Sequence[str]) -> None:
    """Refuse before hours of work what a command that is measured would refuse in the midst of it."""
    for override in overrides:
        if override.lstrip("+~").startswith("data"):
            raise UsageError(f"{override!r}: give the data set as PATH, and its groups by --group-pattern.")

    def check(config: DictConfig) -> int:
        check_settings("extract", config)
        return EXIT_OK

    run_with_configuration("extract", ["data.root=.", *overrides], check)


def _write_table(path: Path, clips: Sequence[Clip], limit: int | None) -> Path:
    """The clips, or so many from the first to the last, as a table that every command reads."""
    count = min(limit or len(clips), len(clips))
    chosen = [clips[position * len(clips) // count] for position in range(count)]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "start", "end", "group", "split"])
        rows.writerows(
            [clip.path, clip.label, clip.start_seconds, clip.end_seconds, clip.group, clip.split] for clip in chosen
        )
    return path


def _measured(config: DictConfig, say: Callable[[str], None], *, quick: bool) -> tuple[int, int, list[Figure]]:
    """Clips, frames, and the figures of extraction and of an epoch. The features stay, for the trainings."""
    store = FeatureStore(Path(config.features.store))
    manifest: Manifest = instantiate(config.data.layout)
    clips = manifest.clips
    seed_everything(config.seed, verbose=False)
    encoder, device = make_encoder(config), encoding_device(config)
    cores, sample_fps, batch_frames = usable_cores(), config.sampling.sample_fps, config.features.batch_frames
    say(f"decoding {len(clips)} clips alone ...")
    decoding, _ = decoding_seconds(_decoded(clips, encoder, sample_fps), sample_fps)
    say("encoding alone ...")
    spans: list[Span] = [(clip.path, clip.sampled_indices(sample_fps)) for clip in clips]
    batches = batches_of(constant_batches(encoder, batch_frames), spans, sample_fps, batch_frames)
    alone = partial(encoding_seconds, batches, batch_frames=batch_frames, quick=quick)
    rates = [alone()]
    say("extracting ...")
    begun, used = time.perf_counter(), time.process_time()
    stored, failed = fill_store(
        store,
        clips,
        encoder,
        sample_fps=sample_fps,
        batch_frames=batch_frames,
        decode_threads=config.features.decode_threads,
        device=device,
        on_progress=lambda _: None,
    )
    wall, used = time.perf_counter() - begun, time.process_time() - used
    encoder.cpu()
    rates.append(alone())  # a machine's speed drifts
    rate = statistics.mean(rates)
    for clip in failed:
        say(f"warning: {clip.error}")
    frames = sum(item.length for item in stored)
    bound = (decoding + rate * frames) / cores
    figures = [
        Figure("decoding alone", decoding, "CPU s"),
        Figure("encoding alone", rate * frames, "CPU s"),
        Figure("cores", cores),
        Figure("bound: decoding and encoding, by the cores", bound, "s"),
        Figure("extraction", wall, "s"),
        Figure("extraction, CPU time", used, "CPU s"),
    ]
    if device.type == "cpu":  # the bound is one of this machine's cores
        figures.append(Figure("efficiency: bound by extraction", bound / wall, "", "at least", 0.85))
    say("training from the store ...")
    data = feature_loaders(config, store, manifest.class_names, {"train": stored, "val": [], "test": []})
    return len(stored), frames, figures + _epochs(config, fresh_recognizer(config, "head", encoder, manifest), data)


def _decoded(clips: Sequence[Clip], encoder: FrameEncoder, sample_fps: float) -> list[Span]:
    """What extraction decodes: each video once, all its clips in one pass."""
    digests = dict.fromkeys((clip.path for clip in clips), "")  # no content is asked for here
    wanted, _ = wanted_features(clips, encoder, digests, sample_fps=sample_fps, views_of=plain_only)
    requests = [filling.request() for filling in fillings_of(wanted)]
    return [(request.path, request.reading_range(encoder.rgb_every)) for request in requests]


def _epochs(config: DictConfig, recognizer: Recognizer, data: FeatureDataModule) -> list[Figure]:
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
        Figure("an epoch from stored features", 1e3 * epoch, "ms"),
        Figure("the head alone on the same batches", 1e3 * alone, "ms"),
        Figure("epoch by head alone", epoch / alone, "", "at most", 1.25),
    ]


def _second_train(overrides: Sequence[str], say: Callable[[str], None]) -> Figure:
    """From the start of work to the first epoch, all features being stored."""
    say("a first and a second training ...")
    common = [*overrides, "trainer.max_epochs=1", "callbacks.progress=null", "optim.steps_per_epoch=1"]
    run_with_configuration("train", [*common, "head=mean_pool"], train.train)
    clock = f"{FirstEpochClock.__module__}.{FirstEpochClock.__qualname__}"
    FirstEpochClock.begun.clear()
    begun = time.perf_counter()
    own = [item for item in common if not item.startswith("hydra.run.dir=")]
    folder = next(item for item in common if item.startswith("hydra.run.dir="))
    second = f"{folder[:-1]}-second{folder[-1]}"
    run_with_configuration("train", [*own, second, f"+callbacks.clock._target_={clock}"], train.train)
    return Figure("a second train, to its first epoch", FirstEpochClock.begun[0] - begun, "s", "at most", 5.0)
