"""`activity bench WHAT`: speed and memory, measured the same way each time."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from activity.cli.arguments import ArgumentParser, UsageError, note, positive_number
from activity.cli.bench_chart import check_chart, write_chart
from activity.cli.bench_encoder import bench_encoder
from activity.cli.bench_extract import ExtractBench, bench_extract
from activity.cli.bench_figures import Figure, machine
from activity.cli.bench_live import LiveBench, bench_live, untrained_recognizer
from activity.cli.bench_peers import (
    EVERY_SECONDS,
    OURS,
    PeerSpeed,
    measure_ours,
    measure_peer,
    missing_peers,
    peer_figures,
    peer_makers,
)
from activity.cli.bench_predict import bench_predict
from activity.cli.bench_videos import write_video
from activity.cli.components import quiet_libraries
from activity.cli.export_clips import first_windows, unlabelled
from activity.cli.main import EXIT_OK
from activity.data.clips import count_text
from activity.data.demo import render_demo
from activity.formats import load_recognizer
from activity.formats.contract import ModelFileError
from activity.formats.save import missing_library, save_model
from activity.models.recognizer import Recognizer
from activity.video.files import find_videos


@dataclass(frozen=True)
class Measured:
    """Figures of one kind, and on what they were measured."""

    machine: dict[str, str | int]
    figures: list[Figure]


@dataclass(frozen=True)
class PeersBench(Measured):
    """The figures of `peers`, with the speed of each."""

    video_seconds: int
    speeds: list[PeerSpeed]


Bench = ExtractBench | LiveBench | Measured
_SECONDS = 10  # of the video that peers label


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    measure, taken = _KINDS[options.what]
    for name in ("path", "model", "override", "group_pattern", "limit", "chart"):
        if getattr(options, name) and name not in taken:
            flag = "PATH" if name == "path" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} plays no role in activity bench {options.what}. Leave it out.")
    chart = None if options.chart is None else Path(options.chart)
    if chart is not None:
        check_chart(chart)
    # Standard output is for the figures; what the measured commands print goes where the notes go.
    with TemporaryDirectory(prefix="activity-bench-") as folder, redirect_stdout(sys.stderr):
        quiet_libraries()
        found = measure(Path(folder), options)
    if options.format == "json":
        print(json.dumps(asdict(found), indent=2))
    else:
        _print_table(options.what, found)
    if chart is not None and isinstance(found, PeersBench):
        write_chart(chart, found.speeds, seconds=found.video_seconds)
    return EXIT_OK


def _extract(folder: Path, options: argparse.Namespace) -> ExtractBench:
    return bench_extract(
        folder,
        data=options.path,
        group_pattern=options.group_pattern,
        overrides=options.override,
        limit=options.limit,
        quick=options.quick,
        say=note,
    )


def _live(folder: Path, options: argparse.Namespace) -> LiveBench:
    model, videos = (None if path is None else Path(path) for path in (options.model, options.path))
    return bench_live(folder, model=model, videos=videos, quick=options.quick, say=note)


def _encoder(folder: Path, options: argparse.Namespace) -> Measured:
    recognizer = _untrained(folder, options)
    figures = bench_encoder(folder, recognizer, quick=options.quick, say=note)
    return Measured(machine("onnxruntime", "openvino"), figures)


def _predict(folder: Path, options: argparse.Namespace) -> Measured:
    model = folder / "model.ts"
    save_model(_untrained(folder, options), model, [])
    video = next(iter(find_videos(folder / "films")))
    return Measured(machine(), bench_predict(model, video, quick=options.quick, say=note))


def _peers(folder: Path, options: argparse.Namespace) -> PeersBench:
    recognizer = _untrained(folder, options)
    seconds = 2 if options.quick else _SECONDS
    video = write_video(folder / "video.mp4", seconds=seconds)
    speeds = []
    for name, suffix, quantised in OURS:
        if missing_library(suffix, quantised=quantised) is None:
            note(f"{name} ...")
            model = folder / f"{name}{suffix}"
            calibration = first_windows(unlabelled([video]), recognizer) if quantised else None
            try:
                save_model(recognizer, model, [], calibration=calibration)
            except ModelFileError as error:  # an encoder that this format cannot express
                note(f"warning: {error}")
                continue
            speeds.append(measure_ours(name, load_recognizer(model), recognizer, video, quick=options.quick))
    for name, make in peer_makers().items():
        note(f"{name} ...")
        speeds.append(measure_peer(make, video, quick=options.quick))
        if options.quick:
            break
    if missing := missing_peers():
        note(f"not measured, for they are not installed: {', '.join(missing)} (pip install 'activity[bench]')")
    packages = ("openvino", "nncf", "transformers", "pytorchvideo")
    return PeersBench(machine(*packages), peer_figures(speeds), seconds, speeds)


def _untrained(folder: Path, options: argparse.Namespace) -> Recognizer:
    note("rendering films ...")
    render_demo(folder / "films", actors=2, takes=1, seed=1)
    return untrained_recognizer(folder, folder / "films", options.override)


_KINDS: dict[str, tuple[Callable[[Path, argparse.Namespace], Bench], tuple[str, ...]]] = {
    "extract": (_extract, ("path", "override", "group_pattern", "limit")),
    "live": (_live, ("path", "model")),
    "encoder": (_encoder, ("override",)),
    "predict": (_predict, ("override",)),
    "peers": (_peers, ("override", "chart")),
}


def _print_table(what: str, found: Bench) -> None:
    console = Console()
    console.print(", ".join(f"{name} {value}" for name, value in found.machine.items()), highlight=False)
    title = what
    if isinstance(found, PeersBench):
        console.print(_speeds_table(found))
    if isinstance(found, ExtractBench):
        title = f"extract: {count_text(found.clips, 'clip')}, {count_text(found.frames, 'sampled frame')}"
    table = Table(title=title, title_justify="left")
    for name in ("figure", "measured", "runs", "bound", ""):
        table.add_column(name, justify="left" if name in ("figure", "") else "right")
    for figure in found.figures:
        bound = "" if figure.bound is None else f"{figure.at} {figure.bound:g}"
        holds = "" if figure.holds is None else ("holds" if figure.holds else "MISSED")
        table.add_row(figure.name, f"{figure.value:,.2f} {figure.unit}".rstrip(), str(figure.runs), bound, holds)
    console.print(table)


def _speeds_table(found: PeersBench) -> Table:
    title = f"A video of {found.video_seconds} s, from the file to its labels"
    table = Table(title=title, title_justify="left")
    for name in ("model", "clips end to end", f"every {EVERY_SECONDS:g} s", "multiply-adds a second", "looks at"):
        table.add_column(name, justify="left" if name in ("model", "looks at") else "right")
    for speed in found.speeds:
        table.add_row(
            speed.name,
            f"{speed.covering_seconds:.2f} s",
            f"{speed.dense_seconds:.2f} s",
            f"{speed.gigamacs_a_second:.1f} G",
            speed.clip,
        )
    return table


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="activity bench", description="Speed and memory on this machine.")
    parser.add_argument(
        "what",
        choices=list(_KINDS),
        help="extract: features of a data set, and training from them; live: streams, timelines, many files; encoder: "
        "each runtime that is installed; predict: a fresh process; peers: beside other models",
    )
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        help="extract: a data set, as for doctor; live: videos (default: rendered films)",
    )
    parser.add_argument("--model", metavar="MODEL", help="live: a model file (default: one that has learned nothing)")
    parser.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="a setting, as for extract"
    )
    parser.add_argument("--group-pattern", metavar="REGEX", help="as data.group_pattern")
    parser.add_argument("--chart", metavar="FILE", help="peers: draw them there, as PNG or SVG")
    parser.add_argument("--limit", type=positive_number, metavar="N", help="this many clips of the data set")
    parser.add_argument(
        "--quick", action="store_true", help="few and short videos: to see that it runs, not for figures"
    )
    parser.add_argument("--format", choices=["table", "json"], default="table", help="default: table")
    return parser
