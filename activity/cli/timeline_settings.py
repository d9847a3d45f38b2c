"""The flags that say how scores become segments: those of `timeline` and `watch`."""

import argparse
from dataclasses import fields

from activity.cli.arguments import ArgumentParser
from activity.inference.segmentation import TimelineSettings

_HELP = {
    "enter_score": "a class must reach this score to begin",
    "leave_score": "a class that has begun goes on while its score is at least this",
    "smoothing_seconds": "scores are the mean over so long a time",
    "min_seconds": "what is shorter is left out",
    "merge_seconds": "an interruption up to that long does not end an activity",
    "stride": "sampled frames from one window to the next (default: an eighth of a window)",
}


def add_timeline_settings(parser: ArgumentParser) -> None:
    """One flag for each field of `TimelineSettings`, whose defaults are the only ones."""
    group = parser.add_argument_group("how scores become segments")
    for field in fields(TimelineSettings):
        what = _HELP[field.name]
        shown = what if field.default is None else f"{what} (default: {field.default})"
        kind = int if field.name == "stride" else float
        group.add_argument(_flag(field.name), type=kind, default=field.default, metavar="N", help=shown)


def timeline_settings(options: argparse.Namespace) -> TimelineSettings:
    """The settings of parsed flags.

    Raises:
        TimelineSettingsError: one of no use, or two that contradict each other.
    """
    return TimelineSettings(**{field.name: getattr(options, field.name) for field in fields(TimelineSettings)})


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
