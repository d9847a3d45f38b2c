"""The segment: a labelled span of time with a score; and the spans of a video that no segment covers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

BACKGROUND = "background"
"""What a span is called in which no activity is sure, and a class of the time that nobody labelled."""

SAME_MOMENT_SECONDS = 1e-6
"""Borders that are no further apart are one: they differ by rounding."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A labelled span of a video.

    Attributes:
        label: the name of its class, or `BACKGROUND`.
        start_seconds: where it begins, counted from the video's first frame.
        end_seconds: where it ends; later than its start.
        score: how sure the label is, 0 to 1; 1 for an annotation.

    Raises:
        ValueError: for a span that is not 0 <= start < end, or an empty label.

    >>> Segment(label="run", start_seconds=1.0, end_seconds=2.5).duration_seconds
    1.5
    """

    label: str
    start_seconds: float
    end_seconds: float
    score: float = 1.0

    def __post_init__(self) -> None:
        if not self.label.strip():
            raise ValueError("a segment's label is empty; give the name of its class")
        start, end = self.start_seconds, self.end_seconds
        if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
            raise ValueError(f"a segment from {start:g} to {end:g} s; accepted: 0 <= start < end")

    @property
    def duration_seconds(self) -> float:
        """How long it lasts."""
        return self.end_seconds - self.start_seconds

    def overlap_seconds(self, other: "Segment") -> float:
        """How long both last at the same time; 0 where they do not meet."""
        start = max(self.start_seconds, other.start_seconds)
        return max(0.0, min(self.end_seconds, other.end_seconds) - start)

    def iou(self, other: "Segment") -> float:
        """Intersection over union of the two spans, 0 to 1; labels play no role.

        >>> one = Segment(label="run", start_seconds=0.0, end_seconds=2.0)
        >>> one.iou(Segment(label="run", start_seconds=1.0, end_seconds=3.0))
        0.3333333333333333
        """
        overlap = self.overlap_seconds(other)
        return overlap / (self.duration_seconds + other.duration_seconds - overlap)


def gaps_between(segments: Sequence[Segment], duration_seconds: float) -> list[tuple[float, float]]:
    """The spans from 0 to `duration_seconds` that no segment covers, in order; segments may come in any order.

    >>> gaps_between([Segment(label="run", start_seconds=1.0, end_seconds=2.5)], 4.0)
    [(0.0, 1.0), (2.5, 4.0)]
    """
    gaps, covered = [], 0.0
    for segment in sorted(segments, key=lambda item: item.start_seconds):
        if segment.start_seconds > covered:
            gaps.append((covered, min(segment.start_seconds, duration_seconds)))
        covered = max(covered, segment.end_seconds)
    if covered < duration_seconds:
        gaps.append((covered, duration_seconds))
    return [(start, end) for start, end in gaps if start < end]
