"""`activity bench WHAT`: speed and memory, measured the same way each time."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from activity.cli.arguments import ArgumentParser, UsageError, note, positive_number
from activity.cli.bench_extract import ExtractBench, bench_extract
from activity.cli.bench_live import LiveBench, bench_live
from activity.cli.main import EXIT_OK
from activity.data.clips import count_text


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    # Standard output is for the figures; what the measured commands print goes where the notes go.
    with TemporaryDirectory(prefix="activity-bench-") as folder, redirect_stdout(sys.stderr):
        found = _extract(Path(folder), options) if options.what == "extract" else _live(Path(folder), options)
    if options.format == "json":
        print(json.dumps(asdict(found), indent=2))
    else:
        _print_table(found)
    return EXIT_OK


def _extract(folder: Path, options: argparse.Namespace) -> ExtractBench:
    _check_unused(options, "model")
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
    _check_unused(options, "override", "group_pattern", "limit")
    model, videos = (None if path is None else Path(path) for path in (options.model, options.path))
    return bench_live(folder, model=model, videos=videos, quick=options.quick, say=note)


def _check_unused(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} plays no role in activity bench {options.what}. Leave it out.")


def _print_table(found: ExtractBench | LiveBench) -> None:
    console = Console()
    console.print(", ".join(f"{name} {value}" for name, value in found.machine.items()), highlight=False)
    title = "live"
    if isinstance(found, ExtractBench):
        title = f"extract: {count_text(found.clips, 'clip')}, {count_text(found.frames, 'sampled frame')}"
    table = Table(title=title, title_justify="left")
    for name in ("figure", "measured", "bound", ""):
        table.add_column(name, justify="left" if name in ("figure", "") else "right")
    for figure in found.figures:
        bound = "" if figure.bound is None else f"{figure.at} {figure.bound:g}"
        holds = "" if figure.holds is None else ("holds" if figure.holds else "MISSED")
        table.add_row(figure.name, f"{figure.value:,.2f} {figure.unit}".rstrip(), bound, holds)
    console.print(table)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="activity bench", description="Speed and memory on this machine.")
    parser.add_argument(
        "what",
        choices=["extract", "live"],
        help="extract: features of a data set, and training from them; live: streams, timelines, many files",
    )
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="a data set, one folder a class (default: rendered films)"
    )
    parser.add_argument("--model", metavar="MODEL", help="live: a model file (default: one that has learned nothing)")
    parser.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="a setting, as for extract"
    )
    parser.add_argument("--group-pattern", metavar="REGEX", help="as data.group_pattern")
    parser.add_argument("--limit", type=positive_number, metavar="N", help="this many clips of the data set")
    parser.add_argument(
        "--quick", action="store_true", help="few and short videos: to see that it runs, not for figures"
    )
    parser.add_argument("--format", choices=["table", "json"], default="table", help="default: table")
    return parser
