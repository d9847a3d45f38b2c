"""Timelines as what stands at each moment: frame accuracy, segmental F1 and the edit score (Lea et al. 2017).

Lea, Flynn, Vidal, Reiter and Hager, "Temporal Convolutional Networks for Action Segmentation and Detection", CVPR
2017, section 4.1, as the MS-TCN and ASFormer codes compute them: counts are summed over videos, background is no
segment. Scores of segments play no role.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from activity.data.segments import BACKGROUND, SAME_MOMENT_SECONDS, Segment, gaps_between

Timelines = Mapping[str, Sequence[Segment]]
"""The segments of each video by its name; `BACKGROUND` segments and the time between segments are both background."""

IOU_TOLERANCE = 1e-9
"""By so little an IoU may miss its threshold: seconds such as 0.1 have no exact binary number."""


@dataclass(frozen=True, kw_only=True)
class SegmentCounts:
    """How many segments of a class there are, and how many of them were found.

    Attributes:
        annotated: annotated segments (TP + FN).
        predicted: predicted segments (TP + FP).
        matched: predicted segments that found an annotated one (TP).

    >>> counts = SegmentCounts(annotated=4, predicted=6, matched=3)
    >>> counts.precision, counts.recall, counts.f1
    (0.5, 0.75, 0.6)
    """

    annotated: int = 0
    predicted: int = 0
    matched: int = 0

    @property
    def precision(self) -> float:
        """The share of predicted segments that found one; 0 where none is predicted."""
        return share(self.matched, self.predicted)

    @property
    def recall(self) -> float:
        """The share of annotated segments that were found; 0 where none is annotated."""
        return share(self.matched, self.annotated)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where nothing matched."""
        return share(2 * self.matched, self.annotated + self.predicted)

    def __add__(self, other: "SegmentCounts") -> "SegmentCounts":
        return SegmentCounts(
            annotated=self.annotated + other.annotated,
            predicted=self.predicted + other.predicted,
            matched=self.matched + other.matched,
        )


def share(part: float, whole: float) -> float:
    """Part by whole; 0 where there is nothing to have a part of.

    >>> share(1, 4), share(0, 0)
    (0.25, 0.0)
    """
    return part / whole if whole else 0.0


def frame_accuracy(
    annotated: Timelines, predicted: Timelines, durations_seconds: Mapping[str, float], *, in_activities: bool = False
) -> float:
    """The share of time on which annotated and predicted label agree, 0 to 1, over the time of all videos together.

    It is what the frame accuracy of Lea et al. comes to when frames become short: exact, at whatever rate.

    Args:
        annotated: the segments of each video.
        predicted: the segments of the same videos.
        durations_seconds: how long each video is; what a segment has beyond that is left out.
        in_activities: over the time alone at which an activity is annotated. Where little happens, a model that finds
            nothing has a high accuracy otherwise.

    >>> run = Segment(label="run", start_seconds=2.0, end_seconds=6.0)
    >>> late = Segment(label="run", start_seconds=3.0, end_seconds=6.0)
    >>> frame_accuracy({"a.mp4": [run]}, {"a.mp4": [late]}, {"a.mp4": 10.0})
    0.9
    >>> frame_accuracy({"a.mp4": [run]}, {"a.mp4": [late]}, {"a.mp4": 10.0}, in_activities=True)
    0.75
    """
    agreeing = whole = 0.0
    for name, duration in durations_seconds.items():
        for seconds, label, guess in _shared_spans(annotated[name], predicted[name], duration):
            if label != BACKGROUND or not in_activities:
                whole += seconds
                agreeing += seconds if label == guess else 0.0
    return share(agreeing, whole)


def segment_counts(annotated: Timelines, predicted: Timelines, *, iou: float) -> dict[str, SegmentCounts]:
    """The counts of the segmental F1 at one IoU, by class; classes without a segment are left out.

    In the order of time, each predicted segment looks at the annotated one of its class that it overlaps most: it
    matches where their IoU reaches the threshold and no prediction matched that one before.

    Args:
        annotated: the segments of each video.
        predicted: the segments of the same videos.
        iou: the threshold, 0 to 1; usual are 0.10, 0.25 and 0.50.

    >>> run = Segment(label="run", start_seconds=2.0, end_seconds=6.0)
    >>> halves = [Segment(label="run", start_seconds=start, end_seconds=start + 1.9) for start in (2.0, 4.0)]
    >>> segment_counts({"a.mp4": [run]}, {"a.mp4": halves}, iou=0.25)
    {'run': SegmentCounts(annotated=1, predicted=2, matched=1)}
    """
    counts: dict[str, SegmentCounts] = {}
    for name in annotated:
        own, guesses = _by_label(annotated[name]), _by_label(predicted[name])
        for label in dict.fromkeys([*own, *guesses]):
            runs, guessed = own.get(label, []), guesses.get(label, [])
            matched = _matches(runs, guessed, iou)
            found = SegmentCounts(annotated=len(runs), predicted=len(guessed), matched=matched)
            counts[label] = counts.get(label, SegmentCounts()) + found
    return counts


def edit_score(annotated: Sequence[Segment], predicted: Sequence[Segment]) -> float:
    """Whether the segments of a video come in the right order, 0 to 1, whenever they begin and end.

    1 minus the Levenshtein distance of the two sequences of labels by the longer one's length (Lea et al. 2016; papers
    give it times 100). 1 where both are empty: where nothing happens, nothing was found.

    >>> def timeline(*labels):
    ...     return [
    ...         Segment(label=label, start_seconds=2.0 * place, end_seconds=2.0 * place + 1)
    ...         for place, label in enumerate(labels)
    ...     ]
    >>> edit_score(timeline("run", "jump", "walk"), timeline("run", "walk"))
    0.6666666666666667
    """
    wanted, found = ([run.label for run in activity_runs(segments)] for segments in (annotated, predicted))
    longer = max(len(wanted), len(found))
    return 1 - _levenshtein(wanted, found) / longer if longer else 1.0


def activity_runs(segments: Sequence[Segment]) -> list[Segment]:
    """The activities in the order of time, without background; touching ones of one label are one, as in frame labels.

    >>> halves = [Segment(label="run", start_seconds=start, end_seconds=start + 1) for start in (1.0, 0.0)]
    >>> [(run.label, run.start_seconds, run.end_seconds) for run in activity_runs(halves)]
    [('run', 0.0, 2.0)]
    """
    runs: list[Segment] = []
    for segment in in_order(segments):
        before = runs[-1] if runs else None
        if segment.label == BACKGROUND:
            continue
        if before and before.label == segment.label and _touches(before, segment):
            end = max(before.end_seconds, segment.end_seconds)
            runs[-1] = Segment(label=before.label, start_seconds=before.start_seconds, end_seconds=end)
        else:
            runs.append(segment)
    return runs


def in_order(segments: Sequence[Segment]) -> list[Segment]:
    """Segments as they begin.

    >>> late, early = (Segment(label="run", start_seconds=start, end_seconds=9.0) for start in (2.0, 1.0))
    >>> [segment.start_seconds for segment in in_order([late, early])]
    [1.0, 2.0]
    """
    return sorted(segments, key=lambda segment: segment.start_seconds)


def _touches(before: Segment, segment: Segment) -> bool:
    return segment.start_seconds - before.end_seconds <= SAME_MOMENT_SECONDS


def _shared_spans(
    annotated: Sequence[Segment], predicted: Sequence[Segment], duration_seconds: float
) -> Iterator[tuple[float, str, str]]:
    """Seconds between the borders of two timelines, with the label that each has there."""
    one, other = _filled(annotated, duration_seconds), _filled(predicted, duration_seconds)
    start, place, other_place = 0.0, 0, 0
    while place < len(one) and other_place < len(other):
        (end, label), (other_end, guess) = one[place], other[other_place]
        border = min(end, other_end)
        yield border - start, label, guess
        start = border
        place += end <= border
        other_place += other_end <= border


def _filled(segments: Sequence[Segment], duration_seconds: float) -> list[tuple[float, str]]:
    """Where each span ends, and its label, from 0 to the duration without a gap."""
    gaps = gaps_between(segments, duration_seconds)
    spans = [(segment.end_seconds, segment.label) for segment in segments if segment.start_seconds < duration_seconds]
    spans += [(end, BACKGROUND) for _, end in gaps]
    return [(min(end, duration_seconds), label) for end, label in sorted(spans)]


def _by_label(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    runs: dict[str, list[Segment]] = {}
    for run in activity_runs(segments):
        runs.setdefault(run.label, []).append(run)
    return runs


def _matches(annotated: Sequence[Segment], predicted: Sequence[Segment], iou: float) -> int:
    """How many predicted segments match, all of one class: as many as annotated ones are taken."""
    taken: set[int] = set()
    for guess in predicted:
        overlaps = [guess.iou(run) for run in annotated]
        best = max(range(len(annotated)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= iou - IOU_TOLERANCE:
            taken.add(best)
    return len(taken)


def _levenshtein(one: Sequence[str], other: Sequence[str]) -> int:
    """How many labels must be put in, taken out or exchanged to make one sequence the other."""
    row = list(range(len(other) + 1))
    for number, label in enumerate(one, start=1):
        diagonal, row[0] = row[0], number
        for place, guess in enumerate(other, start=1):
            changed = diagonal + (label != guess)
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, changed)
    return row[-1]
