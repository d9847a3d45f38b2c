"""Timelines made by hand, with what plots and pages show of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from activity.data.segments import Segment


@dataclass(frozen=True)
class Thresholds:
    enter_score: float = 0.5
    leave_score: float = 0.35


@dataclass(frozen=True)
class FakeTimeline:
    source: str
    class_names: tuple[str, ...]
    duration_seconds: float
    segments: tuple[Segment, ...]
    frame_seconds: Tensor
    frame_scores: Tensor
    settings: Thresholds


def segment(label: str, start: float, end: float, score: float = 0.9) -> Segment:
    return Segment(label=label, start_seconds=start, end_seconds=end, score=score)


def timeline(
    segments: Sequence[Segment],
    *,
    class_names: Sequence[str] = ("run", "walk"),
    duration_seconds: float = 10.0,
    points: int = 100,
    source: str = "/videos/clip.mp4",
    peaks: dict[str, float] | None = None,
) -> FakeTimeline:
    """Scores are 0.9 within segments; elsewhere 0.1, or the peak of a class."""
    seconds = torch.arange(points, dtype=torch.float64) * duration_seconds / points
    scores = torch.full((points, len(class_names)), 0.1)
    for name, peak in (peaks or {}).items():
        scores[:, class_names.index(name)] = peak
    for item in segments:
        if item.label in class_names:
            inside = (seconds >= item.start_seconds) & (seconds < item.end_seconds)
            scores[inside, class_names.index(item.label)] = 0.9
    return FakeTimeline(source, tuple(class_names), duration_seconds, tuple(segments), seconds, scores, Thresholds())
