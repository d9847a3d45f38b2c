"""What `activity bench extract` measures: extraction against its bound, training from the store, memory."""

import csv
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.utils import instantiate
from omegaconf import DictConfig

from activity.cli.arguments import UsageError, quoted
from activity.cli.bench_alone import Span, batches_of, decoding_seconds, encoding_seconds
from activity.cli.bench_figures import MOST_SECONDS, Figure, machine, medians, timed
from activity.cli.bench_memory import memory_figures
from activity.cli.bench_training import epoch_figures, second_train
from activity.cli.components import (
    encoding_device,
    feature_loaders,
    fresh_recognizer,
    make_encoder,
    quiet_libraries,
)
from activity.cli.configuration import run_with_configuration
from activity.cli.main import EXIT_OK
from activity.cli.settings import check_settings
from activity.data.clips import Clip, Manifest
from activity.data.demo import render_demo
from activity.data.layouts import detect_layout, read_any
from activity.features.fill import constant_batches, fill_store, plain_only
from activity.features.outcome import FailedClip, StoredClip
from activity.features.store import FeatureStore
from activity.features.wanted import fillings_of, wanted_features
from activity.models.encoder import FrameEncoder
from activity.training.lightning import seed_everything
from activity.training.processes import usable_cores


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
    figures.append(second_train([*given, *overrides], say, quick=quick))
    for figure in figures:  # what comes takes long: who stops it has these
        say(f"{figure.name}: {figure.value:,.2f} {figure.unit}".rstrip())
    figures += memory_figures(folder / "memory", overrides, quick=quick, say=say)
    return ExtractBench(machine("pytorch_lightning"), clips, frames, figures)


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
    seed_everything(config.seed, verbose=False)
    encoder = make_encoder(config)
    stored, figures = _extraction(config, store, manifest.clips, encoder, say, quick=quick)
    say("training from the store ...")
    data = feature_loaders(config, store, manifest.class_names, {"train": stored, "val": [], "test": []})
    figures += epoch_figures(config, fresh_recognizer(config, "head", encoder, manifest), data)
    return len(stored), sum(item.length for item in stored), figures


def _extraction(
    config: DictConfig,
    store: FeatureStore,
    clips: Sequence[Clip],
    encoder: FrameEncoder,
    say: Callable[[str], None],
    *,
    quick: bool,
) -> tuple[list[StoredClip], list[Figure]]:
    """The clips whose features are in the store then, and the figures of extraction against its bound."""
    device, cores, sample_fps = encoding_device(config), usable_cores(), config.sampling.sample_fps
    say(f"decoding {len(clips)} clips alone ...")
    decoded = _decoded(clips, encoder, sample_fps)
    (decoding, _), decodings = medians(
        lambda: decoding_seconds(decoded, sample_fps), quick=quick, most_seconds=MOST_SECONDS
    )
    say("encoding alone ...")
    alone = _encoding_alone(config, clips, encoder, quick=quick)
    rates = [alone()]
    say("extracting ...")
    (wall, used), runs, stored = _extracted(config, store, clips, encoder, say, quick=quick)
    encoder.cpu()
    rates.append(alone())  # a machine's speed drifts
    encoding = statistics.mean(rates) * sum(item.length for item in stored)
    bound = (decoding + encoding) / cores
    figures = [
        Figure("decoding alone", decoding, "CPU s", runs=decodings),
        Figure("encoding alone", encoding, "CPU s", runs=len(rates)),
        Figure("cores", cores),
        Figure("bound: decoding and encoding, by the cores", bound, "s", runs=decodings),
        Figure("extraction", wall, "s", runs=runs),
        Figure("extraction, CPU time", used, "CPU s", runs=runs),
    ]
    if device.type == "cpu":  # the bound is one of this machine's cores
        figures.append(Figure("efficiency: bound by extraction", bound / wall, "", "at least", 0.85, runs))
    return stored, figures


def _encoding_alone(
    config: DictConfig, clips: Sequence[Clip], encoder: FrameEncoder, *, quick: bool
) -> Callable[[], float]:
    """Measures the CPU seconds that a frame takes to encode."""
    sample_fps, batch_frames = config.sampling.sample_fps, config.features.batch_frames
    spans: list[Span] = [(clip.path, clip.sampled_indices(sample_fps)) for clip in clips]
    batches = batches_of(constant_batches(encoder, batch_frames), spans, sample_fps, batch_frames)
    return partial(encoding_seconds, batches, batch_frames=batch_frames, quick=quick)


def _extracted(
    config: DictConfig,
    store: FeatureStore,
    clips: Sequence[Clip],
    encoder: FrameEncoder,
    say: Callable[[str], None],
    *,
    quick: bool,
) -> tuple[list[float], int, list[StoredClip]]:
    """Seconds and CPU seconds of extraction, of how many runs, and the clips: each run fills an empty store."""
    outcomes: list[tuple[list[StoredClip], list[FailedClip]]] = []

    def fill(folder: Path) -> None:
        outcome = fill_store(
            FeatureStore(folder / str(len(outcomes))) if outcomes else store,
            clips,
            encoder,
            sample_fps=config.sampling.sample_fps,
            batch_frames=config.features.batch_frames,
            decode_threads=config.features.decode_threads,
            device=encoding_device(config),
            on_progress=lambda _: None,
        )
        outcomes.append(outcome)

    with TemporaryDirectory(prefix="activity-bench-") as folder:
        found, runs = medians(lambda: timed(partial(fill, Path(folder))), quick=quick, most_seconds=MOST_SECONDS)
    stored, failed = outcomes[0]
    for clip in failed:
        say(f"warning: {clip.error}")
    return found, runs, stored


def _decoded(clips: Sequence[Clip], encoder: FrameEncoder, sample_fps: float) -> list[tuple[Path, list[range]]]:
    """What extraction decodes: each video once, all its clips in one pass."""
    digests = dict.fromkeys((clip.path for clip in clips), "")  # no content is asked for here
    wanted, _ = wanted_features(clips, encoder, digests, sample_fps=sample_fps, views_of=plain_only)
    requests = [filling.request() for filling in fillings_of(wanted)]
    return [(request.path, request.reading_spans(encoder.rgb_every)) for request in requests]
