"""The report of a run: one HTML file that needs nothing else."""

from activity.evaluation.report.content import (
    Calibration,
    Fold,
    HeadReport,
    LearningCurves,
    Mistake,
    Report,
    SplitCount,
    calibration_of,
    head_report,
    split_counts,
)
from activity.evaluation.report.mistakes import frame_strip, worst_mistakes
from activity.evaluation.report.page import render_report, write_report

__all__ = [
    "Calibration",
    "Fold",
    "HeadReport",
    "LearningCurves",
    "Mistake",
    "Report",
    "SplitCount",
    "calibration_of",
    "frame_strip",
    "head_report",
    "render_report",
    "split_counts",
    "worst_mistakes",
    "write_report",
]
