"""What a run logged, read back from its tables."""

import csv
from collections.abc import Mapping
from pathlib import Path

from activity.evaluation.report.content import LearningCurves

_COLUMNS = ("train/loss", "val/loss", "val/accuracy")


def read_learning_curves(logs: Path, *, best_epoch: int | None) -> LearningCurves | None:
    """The curves in a run's `logs` folder: `metrics.csv`, and `metrics_N.csv` of the parts before it was resumed.

    Where two parts have the same epoch, the later one stands. None where no table was logged.
    """
    # metrics_1.csv is the first part, metrics_10.csv the tenth, metrics.csv the last.
    parts = sorted(logs.glob("metrics_*.csv"), key=lambda path: (len(path.stem), path.stem))
    values: dict[str, dict[int, float]] = {column: {} for column in _COLUMNS}
    for path in (*parts, logs / "metrics.csv"):
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    _add(values, row)
    if not any(values.values()):
        return None
    train_loss, val_loss, val_accuracy = (tuple(sorted(values[column].items())) for column in _COLUMNS)
    return LearningCurves(train_loss, val_loss, val_accuracy, best_epoch)


def _add(values: dict[str, dict[int, float]], row: Mapping[str, str | None]) -> None:
    for column, found in values.items():
        if (cell := row.get(column)) and (epoch := row.get("epoch")):
            found[int(epoch)] = float(cell)
