"""`activity doctor PATH`: what is wrong with a data set, before training."""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from activity.cli.arguments import ArgumentParser, UsageError, positive_number
from activity.cli.configuration import default_configuration
from activity.cli.diagnosis import print_diagnosis
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.output import check_output, open_output
from activity.cli.printable import printable
from activity.data.clips import Manifest
from activity.data.doctor import (
    Diagnosis,
    Distribution,
    Settings,
    SurveyProgress,
    VideoRecord,
    diagnose,
    find_class_lists,
    read_for_diagnosis,
    survey_videos,
)
from activity.data.layouts import Layout, detect_layout, read_any
from activity.data.names import given_path

FORMAT_VERSION = 1
LAYOUTS = ("auto", *get_args(Layout))
_FIRST_SPLIT = 1
_SLOW_SECONDS = 10  # a video that is being read for longer is named beside the bar


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    path = _existing(options.path)
    check_output(options.output, [path])
    settings = _settings(options)
    reading = read_for_diagnosis(lambda: _read(path, options), path if path.is_dir() else None)
    videos = list(dict.fromkeys(clip.path for clip in reading.clips))
    check_output(options.output, videos)
    with _progress() as on_progress:
        records = survey_videos(videos, jobs=options.jobs, on_progress=on_progress)
    class_lists = find_class_lists(path if path.is_dir() else path.parent)
    diagnosis = diagnose(reading, records, class_lists, settings=settings)
    with open_output(options.output) as output:
        if options.format == "json":
            document = {"format_version": FORMAT_VERSION, "path": str(path)} | json_document(diagnosis)
            print(json.dumps(document, ensure_ascii=False, indent=2), file=output)
        else:
            print_diagnosis(diagnosis, str(path), output)
    return EXIT_SOME_FAILED if diagnosis.counts["error"] else EXIT_OK


def json_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as plain Python, in full.

    `counts`: findings by severity. `clips`. `groups`: `given` (a number or null), `guessed` and `guessed_pattern`
    (or null). `classes`: `name`, `clips`, `videos`, `groups` and clips by split, in the order of the class indices.
    `durations_seconds`, `frame_rates`: `minimum`, `median`, `maximum`, `total`, or null. `sizes`, `codecs`: number of
    videos of each. `findings`: `code`, `severity` (error, warning, note), `summary`, `advice` and `subjects`, each
    with `names` and `detail`. `videos`: for each its `name` and what it is like, or its `error`.
    """
    guess = diagnosis.guess
    return {
        "counts": diagnosis.counts,
        "clips": diagnosis.clips,
        "groups": {
            "given": diagnosis.groups,
            "guessed": guess.groups if guess else None,
            "guessed_pattern": guess.pattern if guess else None,
        },
        "classes": [
            {"name": item.name, "clips": item.clips, "videos": item.videos, "groups": item.groups, **item.splits}
            for item in diagnosis.classes
        ],
        "durations_seconds": _distribution(diagnosis.durations_seconds),
        "frame_rates": _distribution(diagnosis.frame_rates, total=False),
        "sizes": [{"width": w, "height": h, "videos": count} for (w, h), count in diagnosis.frame_sizes.items()],
        "codecs": [{"codec": codec, "videos": count} for codec, count in diagnosis.codecs.items()],
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity,
                "summary": finding.summary,
                "advice": finding.advice,
                "subjects": [{"names": list(item.names), "detail": item.detail} for item in finding.subjects],
            }
            for finding in diagnosis.findings
        ],
        "videos": [{"name": name} | _video(record) for name, record in diagnosis.videos.items()],
    }


def _distribution(numbers: Distribution | None, *, total: bool = True) -> dict[str, float] | None:
    if numbers is None:
        return None
    named = {"minimum": numbers.minimum, "median": numbers.median, "maximum": numbers.maximum}
    return {name: round(value, 3) for name, value in (named | ({"total": numbers.total} if total else {})).items()}


def _video(record: VideoRecord) -> dict[str, Any]:
    facts = record.facts
    if facts is None:
        return {"error": str(record.error)}
    return {
        "frames": facts.frames,
        "duration_seconds": round(facts.duration_seconds, 3),
        "fps": None if facts.fps is None else round(facts.fps, 3),
        "variable_rate": facts.variable_rate,
        "longest_gap_seconds": round(facts.longest_gap_seconds, 3),
        "width": facts.sizes[0][0],
        "height": facts.sizes[0][1],
        "codec": facts.codec,
        "rotation": facts.rotation,
        "damage": facts.damage,
        "notes": list(facts.notes),
        "black": facts.black,
        "frozen": facts.frozen,
    }


def _existing(given: str) -> Path:
    if not given:
        raise UsageError("PATH is empty (an unset variable?). Give a folder of videos or a CSV.")
    path = given_path(os.path.abspath(Path(given).expanduser()))  # noqa: PTH100 - keeps links, as the readers do
    if not os.path.exists(path):  # noqa: PTH110 - pathlib's own raises for a name that is too long
        raise UsageError(f"there is nothing at {given}. Give a folder of videos or a CSV.")
    return path


def _read(path: Path, options: argparse.Namespace) -> Manifest:
    layout: Layout = detect_layout(path) if options.layout == "auto" else options.layout
    _check_flags(layout, path, options)
    return read_any(
        path,
        layout,
        root=options.root,
        split=options.split or _FIRST_SPLIT,
        group_pattern=options.group_pattern,
        skip_bad_rows=True,
    )


def _check_flags(layout: Layout, path: Path, options: argparse.Namespace) -> None:
    """Refuse flags that would do nothing."""
    what = f"{path} is {'a folder' if path.is_dir() else 'a table'}, read with the layout {layout!r}"
    if options.root is not None and (path.is_dir() or layout not in ("csv", "kinetics")):
        raise UsageError(
            f"--root plays no role here: {what}. Accepted with a table (csv or kinetics), for the folder that its "
            "paths start from; leave it out."
        )
    if options.split is not None and layout not in ("ucf101", "hmdb51"):
        raise UsageError(
            f"--split plays no role here: {what}. Accepted with ucf101 and hmdb51, which have official splits by "
            "number; leave it out, or say what it is with --layout."
        )


def _settings(options: argparse.Namespace) -> Settings:
    """What the configuration of `activity train` says, where no flag does."""
    train = default_configuration("train")
    return Settings(
        sample_fps=options.sample_fps or float(train.sampling.sample_fps),
        window_frames=options.window_frames or int(train.sampling.window_frames),
        val_fraction=float(train.data.val_fraction),
        test_fraction=float(train.data.test_fraction),
        seed=int(train.seed),
    )


@contextmanager
def _progress() -> "Iterator[_Bar]":
    progress = Progress(
        TextColumn("videos"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[slow]}"),
        console=Console(stderr=True),
    )
    with progress:
        yield _Bar(progress)


class _Bar:
    """Shows `SurveyProgress`, and the name of a video that takes long."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("videos", total=None, slow="")

    def __call__(self, state: SurveyProgress) -> None:
        slow = ""
        if state.oldest is not None and state.oldest_seconds > _SLOW_SECONDS:
            slow = escape(f"{state.oldest_seconds:.0f} s: {printable(state.oldest.name)}")
        self._progress.update(self._task, total=state.videos, completed=state.done, slow=slow)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="activity doctor",
        description="What is wrong with a data set, before training. Reads every video once.",
        epilog="Exit code: 0 nothing that would spoil training, 1 something that would, 2 wrong use.",
    )
    parser.add_argument("path", metavar="PATH", help="a folder with one subfolder a class, or a CSV of clips")
    parser.add_argument("--layout", choices=LAYOUTS, default="auto", help="default: auto, by what lies at PATH")
    parser.add_argument(
        "--root", metavar="DIR", help="the folder that the paths in a CSV start from (default: its own)"
    )
    parser.add_argument(
        "--split", type=int, choices=(1, 2, 3), help="official split, of UCF101 and HMDB51 (default: 1)"
    )
    parser.add_argument("--group-pattern", metavar="RE", help="as data.group_pattern: (?P<group>...) in the path")
    parser.add_argument("--sample-fps", type=_positive, metavar="N", help="default: that of training")
    parser.add_argument("--window-frames", type=positive_number, metavar="N", help="default: that of training")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    parser.add_argument("--jobs", type=positive_number, default=os.cpu_count() or 1, metavar="N", help="videos at once")
    parser.add_argument("--output", metavar="FILE", help="write there, not to standard output")
    return parser
