"""What `activity bench live` measures: a stream beside its encoder, overlapping windows, long videos, many files."""

import io
import itertools
import json
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from activity.cli import watch
from activity.cli.arguments import UsageError, quoted
from activity.cli.bench_alone import Span, batches_of, decoding_seconds, encoding_seconds
from activity.cli.bench_figures import MOST_SECONDS, Figure, machine, medians, timed
from activity.cli.bench_memory import peak_gigabytes
from activity.cli.bench_videos import write_mp4
from activity.cli.components import fresh_recognizer, make_encoder, quiet_libraries
from activity.cli.configuration import run_with_configuration
from activity.cli.main import EXIT_OK
from activity.data.clips import Manifest
from activity.data.demo import FRAMES_PER_SECOND, render_clip, render_demo
from activity.formats import load_recognizer
from activity.formats.table import format_by_suffix
from activity.formats.torchscript import export_torchscript
from activity.inference.predictor import Failure, predict_videos
from activity.inference.segmentation import TimelineSettings
from activity.inference.timeline import make_timelines
from activity.inference.videos import BATCH_FRAMES, DECODE_THREADS
from activity.models.recognizer import LoadedRecognizer, Recognizer
from activity.training.lightning import seed_everything
from activity.training.processes import usable_cores
from activity.video.files import find_videos

_CPU = torch.device("cpu")
_SIZE = (640, 360)
_WHOLE = (range(2**62),)  # sampled frames of a video


@dataclass(frozen=True)
class LiveBench:
    """All that was measured, and on what."""

    machine: dict[str, str | int]
    figures: list[Figure]


def bench_live(
    folder: Path, *, model: Path | None, videos: Path | None, quick: bool, say: Callable[[str], None]
) -> LiveBench:
    """Measure a model on streams and files, on the CPU.

    Args:
        folder: an empty one, for what is made.
        model: a model file; None: one of the default configuration that has learned nothing.
        videos: a folder of videos for `predict`; None: 300 rendered films.
        quick: small amounts, to see that it runs.
        say: is told what comes next.
    """
    quiet_libraries()
    recognizer = None if model is None else load_recognizer(model, _CPU)  # what is given is looked at before the work
    given = [] if videos is None else find_videos(videos)
    if videos is not None and not given:
        raise UsageError(f"{videos} holds no videos. Give a folder of videos, or none for rendered films.")
    films = folder / "films"
    say("rendering films ...")
    render_demo(films, actors=2 if quick else 50, takes=1, seed=1)
    if recognizer is None or model is None:
        model = folder / "model.ts"
        export_torchscript(untrained_recognizer(folder, films), model, [])
        recognizer = load_recognizer(model, _CPU)
    say("a stream ...")
    seconds = 4 if quick else 60
    film = write_long(folder / "stream.mp4", seconds=seconds)
    figures = _stream(model, film, quick=quick)
    say("overlapping windows ...")
    figures += _strides(recognizer, film, quick=quick)
    say("many files ...")
    sources = [str(path) for path in given or find_videos(films)]
    figures += _many_files(recognizer, sources[: 12 if quick else None], quick=quick, say=say)
    for figure in figures:  # what comes takes long: who stops it has these
        say(f"{figure.name}: {figure.value:,.2f} {figure.unit}".rstrip())
    figures += _long_videos(folder, model, quick=quick, say=say)
    found = format_by_suffix(model.suffix)
    return LiveBench(machine(*(() if found is None else found.runs_with)), figures)


def write_long(path: Path, *, seconds: int) -> Path:
    """A 640 x 360 video of a figure that waves, so long."""
    frames = [cv2.resize(frame, _SIZE)[:, :, ::-1] for frame in render_clip("wave", actor=0, take=0, seed=0)]
    shown = islice(itertools.cycle(frames), seconds * FRAMES_PER_SECOND)
    return write_mp4(path, shown, fps=FRAMES_PER_SECOND)


def untrained_recognizer(folder: Path, films: Path, overrides: Sequence[str] = ()) -> Recognizer:
    """The default encoder and head, whose answers mean nothing and take as long as any.

    Args:
        folder: an empty one, for what is made.
        films: a data set, for its classes.
        overrides: settings, as for `activity train`.
    """
    made: list[Recognizer] = []

    def make(config: DictConfig) -> int:
        seed_everything(config.seed, verbose=False)
        manifest: Manifest = instantiate(config.data.layout)
        made.append(fresh_recognizer(config, "head", make_encoder(config), manifest).eval())
        return EXIT_OK

    paths = {"data.root": films, "hydra.run.dir": folder / "run"}
    given = [f"{key}={quoted(str(path.absolute()))}" for key, path in paths.items()]
    run_with_configuration("train", [*given, *overrides], make)
    return made[0]


def _stream(model: Path, film: Path, *, quick: bool) -> list[Figure]:
    """`activity watch` on a file, as fast as it goes; its summary says what the encoder took."""

    def watched() -> tuple[float, float, float]:
        printed = io.StringIO()
        with redirect_stdout(printed):
            watch.main([str(model), str(film), "--device", "cpu"])
        summary = json.loads(printed.getvalue().splitlines()[-1])
        encoding, busy = summary["encode_ms"], summary["busy_seconds"]
        return encoding, 1e3 * busy / summary["sampled"] - encoding, summary["time_seconds"] / busy

    (encoding, beyond, speed), runs = medians(watched, quick=quick)
    return [
        Figure("live: encoding a sampled frame", encoding, "ms", runs=runs),
        Figure("live: all else for a sampled frame", beyond, "ms", runs=runs),
        Figure("live: all else by encoding", beyond / encoding, "", "at most", 0.1, runs),
        Figure("live: video seconds a second", speed, "x", runs=runs),
    ]


def _strides(recognizer: LoadedRecognizer, film: Path, *, quick: bool) -> list[Figure]:
    """A timeline with the windows as near to each other as can be, and side by side."""
    how: dict[str, Any] = {"batch_frames": BATCH_FRAMES, "decode_threads": DECODE_THREADS, "device": _CPU}

    def seconds(stride: int) -> float:
        settings = TimelineSettings(stride=stride)
        return timed(lambda: list(make_timelines(recognizer, [str(film)], settings=settings, **how)))[0]

    (coarse, fine), runs = medians(lambda: [seconds(recognizer.window_frames), seconds(1)], quick=quick)
    return [
        Figure("timeline, windows side by side", coarse, "s", runs=runs),
        Figure("timeline, a window at each sampled frame", fine, "s", runs=runs),
        Figure("overlapping by side by side", fine / coarse, "", "at most", 1.15, runs),
    ]


def _many_files(
    recognizer: LoadedRecognizer, sources: Sequence[str], *, quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """`predict` against its bound: the CPU time of decoding alone and of encoding alone, by the cores."""
    spans: list[Span] = [(source, None) for source in sources]
    (decoding, frames), decoded = medians(
        lambda: decoding_seconds([(source, _WHOLE) for source in sources], recognizer.sample_fps),
        quick=quick,
        most_seconds=MOST_SECONDS,
    )
    batches = batches_of(recognizer.encode_rows, spans, recognizer.sample_fps, BATCH_FRAMES)
    encoding = frames * encoding_seconds(batches, batch_frames=BATCH_FRAMES, quick=quick)
    failed: dict[str, Failure] = {}  # by source: each run finds the same

    def predict() -> None:
        how: dict[str, Any] = {"batch_frames": BATCH_FRAMES, "decode_threads": DECODE_THREADS, "device": _CPU}
        results = predict_videos(recognizer, sources, **how)
        failed.update({result.source: result for result in results if isinstance(result, Failure)})

    (wall, _), runs = medians(lambda: timed(predict), quick=quick, most_seconds=MOST_SECONDS)
    for failure in failed.values():
        say(f"warning: {failure.error}")
    bound = (decoding + encoding) / usable_cores()
    return [
        Figure("predict: files", len(sources) - len(failed)),
        Figure("predict: decoding alone", decoding, "CPU s", runs=decoded),
        Figure("predict: encoding alone", encoding, "CPU s"),
        Figure("predict: bound, both by the cores", bound, "s", runs=decoded),
        Figure("predict", wall, "s", runs=runs),
        Figure("predict: bound by time", bound / wall, "", "at least", 0.85, runs),
    ]


def _long_videos(folder: Path, model: Path, *, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """The peak memory of `activity timeline` on a long video and on a longer one.

    One run of each: an hour of video takes minutes, in which chance evens out, and a peak is of what is held.
    """
    lengths = (10, 20) if quick else (600, 3600)
    peaks, seconds = [], 0.0
    for length in lengths:
        say(f"a video of {length} s ...")
        film = write_long(folder / f"{length}.mp4", seconds=length)
        begun = time.perf_counter()
        peaks.append(peak_gigabytes(["timeline", str(model), str(film), "--device", "cpu"]))
        seconds = time.perf_counter() - begun
        film.unlink()
    names = [f"{length / 60:g} minutes" for length in lengths]
    return [
        *(Figure(f"peak memory of timeline, {name}", peak, "GB") for name, peak in zip(names, peaks, strict=True)),
        Figure("the longer by the shorter", peaks[1] / peaks[0], "", "at most", 1.05),
        Figure(f"timeline of {names[1]}: video seconds a second, one run", lengths[1] / seconds, "x"),
    ]
