"""From a report's content to its page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from activity.evaluation.metrics import ClipMetrics
from activity.evaluation.report import charts
from activity.evaluation.report.content import Report
from activity.evaluation.statistics import wilson_interval
from activity.files import write_atomically

TEMPLATE = "page.html"
# A matrix with figures is legible on a phone up to here; a larger one is drawn as shades.
LARGEST_TABLE = 12
PAIRS_SHOWN = 12


@dataclass(frozen=True)
class _Pair:
    """Clips of one class that were taken for another."""

    label: str
    predicted: str
    count: int
    share: float


def write_report(path: Path, report: Report) -> None:
    """Write a report as one HTML file, whole or not at all.

    It loads nothing and runs nothing: style, charts and pictures are in it. All text is escaped.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(path, render_report(report).encode("utf-8", errors="replace"))


def render_report(report: Report) -> str:
    """The page of a report."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "data_uri": _data_uri, "p_value": _p_value}
    main = report.heads[0] if report.heads else None
    return environment.get_template(TEMPLATE).render(
        report=report,
        charts=charts,
        main=main,
        right=sum(row[i] for i, row in enumerate(main.metrics.confusion)) if main else 0,
        pairs=_confused_pairs(main.metrics) if main else (),
        pairs_shown=PAIRS_SHOWN,
        largest_table=LARGEST_TABLE,
        wilson=wilson_interval,
        metric_names={
            "accuracy": "Accuracy",
            "mean_class_accuracy": "Mean class accuracy",
            "macro_f1": "Macro F1",
        },
    )


def _confused_pairs(metrics: ClipMetrics) -> Sequence[_Pair]:
    """Classes taken for others, the most frequent first."""
    names = [item.name for item in metrics.classes]
    pairs = [
        _Pair(names[row], names[column], count, count / sum(counts))
        for row, counts in enumerate(metrics.confusion)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.label))


def _percent(share: float, digits: int = 1) -> str:
    """A share as people read it, in one piece; all and nothing have no decimals.

    >>> _percent(0.9444), _percent(1.0), _percent(0.5, 0)
    ('94.4\xa0%', '100\xa0%', '50\xa0%')
    """
    return f"{share * 100:.{0 if share in (0.0, 1.0) else digits}f}\N{NO-BREAK SPACE}%"


def _p_value(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
