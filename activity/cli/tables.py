"""Tables on standard output."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from activity.cli.printable import printable
from activity.data.clips import count_text
from activity.evaluation.crossval import CrossvalResult
from activity.evaluation.metrics import ClassMetrics, ClipMetrics
from activity.evaluation.statistics import Interval, PairedTest
from activity.evaluation.timelines import COUNTS_IOU, TimelineMetrics


def print_metrics(heads: dict[str, ClipMetrics], main: str) -> None:
    """The numbers of each head side by side, then those of each class for the `main` head."""
    console = Console()
    clips = heads[main].clips
    overall = Table(title=f"Test: {count_text(clips, 'clip')}", title_justify="left")
    overall.add_column("head")
    for name in ("accuracy", "top-5", "mean class accuracy", "macro F1"):
        overall.add_column(name, justify="right")
    for name, metrics in heads.items():
        overall.add_row(name, *(f"{value:.1%}" for value in metrics.summary().values()))
    console.print(overall)
    console.print(_class_table(main, heads[main].classes))


def print_crossval(result: CrossvalResult) -> None:
    """The heads side by side with their intervals, whether they differ, and the classes of the main one."""
    console = Console()
    title = f"{count_text(result.heads[0].metrics.clips, 'clip')}, each tested once, in {len(result.folds)} folds"
    overall = Table(title=title, title_justify="left")
    overall.add_column("head")
    for name in ("accuracy", "mean class accuracy", "macro F1"):
        overall.add_column(name, justify="right")
    for head in result.heads:
        overall.add_row(head.name, *(_with_interval(interval) for interval in head.intervals.values()))
    console.print(overall)
    print("In brackets: 95 % bootstrap interval over clips.")
    if result.comparison is not None and result.against is not None:
        print(_comparison(result.main, result.against, result.comparison))
    console.print(_class_table(result.main, result.heads[0].metrics.classes))


def print_timelines(metrics: TimelineMetrics) -> None:
    """The numbers of timelines in percent, as papers give them, then those of each class."""
    console = Console()
    hours, seconds = divmod(round(metrics.duration_seconds), 3600)
    length = f"{hours}:{seconds // 60:02}:{seconds % 60:02}"
    overall = Table(title=f"{count_text(metrics.videos, 'video')}, {length}", title_justify="left")
    names = ("frame accuracy", "in activities", *(f"F1@{100 * iou:.0f}" for iou in metrics.f1), "edit score")
    for name in names:
        overall.add_column(name, justify="right")
    values = (metrics.frame_accuracy, metrics.frame_accuracy_in_activities, *metrics.f1.values(), metrics.edit)
    overall.add_row(*(f"{value:.1%}" for value in values))
    console.print(overall)
    precision = Table(title="Mean average precision by IoU", title_justify="left")
    for iou in metrics.mean_average_precision:
        precision.add_column(f"{iou:.1f}", justify="right")
    precision.add_column("mean", justify="right")
    precision.add_row(*(f"{value:.1%}" for value in (*metrics.mean_average_precision.values(), metrics.average_map)))
    console.print(precision)
    console.print(_timeline_classes(metrics))


def _timeline_classes(metrics: TimelineMetrics) -> Table:
    table = Table(title=f"Segments by class; found: at an IoU of {COUNTS_IOU:g}", title_justify="left")
    table.add_column("class")
    for name in ("annotated", "predicted", "found", "F1", "AP, mean"):
        table.add_column(name, justify="right")
    for item in metrics.classes:
        counts, mean = item.counts, item.mean_average_precision
        numbers = map(str, (counts.annotated, counts.predicted, counts.matched))
        table.add_row(Text(printable(item.name)), *numbers, f"{counts.f1:.1%}", "" if mean is None else f"{mean:.1%}")
    return table


def _with_interval(interval: Interval) -> str:
    return f"{interval.value:.1%} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _comparison(head: str, other: str, test: PairedTest) -> str:
    """What the paired test says, in a sentence."""
    counts = f"{head} alone is right on {test.better}, {other} alone on {count_text(test.worse, 'clip')}"
    if test.p_value < 0.05:
        better = head if test.better > test.worse else other
        return f"{counts}: {better} is better (exact McNemar test, p = {test.p_value:.2g})."
    return f"{counts}: no difference that chance would not make (exact McNemar test, p = {test.p_value:.2g})."


def _class_table(head: str, classes: tuple[ClassMetrics, ...]) -> Table:
    table = Table(title=f"{head}, by class", title_justify="left")
    table.add_column("class")
    for name in ("precision", "recall", "F1", "clips"):
        table.add_column(name, justify="right")
    for item in classes:
        numbers = (f"{value:.1%}" for value in (item.precision, item.recall, item.f1))
        table.add_row(Text(printable(item.name)), *numbers, str(item.support))
    return table
