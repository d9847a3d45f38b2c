"""The chart of `activity bench peers`."""

from collections.abc import Sequence
from pathlib import Path

from activity.cli.arguments import UsageError
from activity.cli.bench_peers import PeerSpeed

_PICTURES = (".png", ".svg")


def check_chart(path: Path) -> None:
    """Refuse before minutes of work what could not be written after them.

    Raises:
        UsageError: the suffix is not that of a picture, or there is no such folder.
    """
    if path.suffix.lower() not in _PICTURES:
        raise UsageError(f"--chart {path}: accepted: a name that ends in {' or '.join(_PICTURES)}.")
    if not path.parent.is_dir():
        raise UsageError(f"--chart {path}: there is no folder {path.parent}. Make it, or give another.")


def write_chart(path: Path, speeds: Sequence[PeerSpeed], *, seconds: float) -> None:
    """Bars of how many seconds of video are labelled in a second, with labels every half a second.

    Args:
        path: a picture file, its format by the suffix.
        speeds: of models.
        seconds: of the video.
    """
    from matplotlib.figure import Figure as Picture

    ordered = sorted(speeds, key=lambda speed: -speed.dense_seconds)
    figure = Picture(figsize=(7.2, 0.42 * len(ordered) + 1.1), layout="constrained")
    axes = figure.subplots()
    rates = [seconds / speed.dense_seconds for speed in ordered]
    colours = ["#c2410c" if speed.name.startswith("activity") else "#94a3b8" for speed in ordered]
    bars = axes.barh([speed.name for speed in ordered], rates, color=colours)
    axes.bar_label(bars, [f"{rate:.2g}" for rate in rates], padding=3)
    axes.set_xlabel("seconds of video labelled in a second (a label every half a second)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    figure.savefig(path, dpi=150)
