"""Tables on standard output."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from activity.evaluation.metrics import ClassMetrics, ClipMetrics


def print_metrics(heads: dict[str, ClipMetrics], main: str) -> None:
    """The numbers of each head side by side, then those of each class for the `main` head."""
    console = Console()
    clips = heads[main].clips
    overall = Table(title=f"Test: {clips} clips", title_justify="left")
    overall.add_column("head")
    for name in ("accuracy", "top-5", "mean class accuracy", "macro F1"):
        overall.add_column(name, justify="right")
    for name, metrics in heads.items():
        overall.add_row(name, *(f"{value:.1%}" for value in metrics.summary().values()))
    console.print(overall)
    console.print(_class_table(main, heads[main].classes))


def _class_table(head: str, classes: tuple[ClassMetrics, ...]) -> Table:
    table = Table(title=f"{head}, by class", title_justify="left")
    table.add_column("class")
    for name in ("precision", "recall", "F1", "clips"):
        table.add_column(name, justify="right")
    for item in classes:
        numbers = (f"{value:.1%}" for value in (item.precision, item.recall, item.f1))
        table.add_row(Text(item.name), *numbers, str(item.support))
    return table
