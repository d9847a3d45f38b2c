"""Timelines as detections: the average precision of their segments, as THUMOS and ActivityNet define it."""

from activity.data.segments import Segment
from activity.evaluation.segmental import IOU_TOLERANCE, Timelines


def average_precision(annotated: Timelines, predicted: Timelines, label: str, *, iou: float) -> float:
    """The average precision of the segments of one class over all videos, 0 to 1.

    Detections are taken from the highest score down. Each matches the annotation of its video and class that it
    overlaps most among those that none matched before, where their IoU reaches the threshold; else it is wrong. The
    precision at a recall is the best one at this or a higher recall (Caba Heilbron et al., "ActivityNet", CVPR 2015;
    its `compute_average_precision_detection`).

    Args:
        annotated: the segments of each video, each an instance of its own, even where two touch.
        predicted: the segments of the same videos, with their scores; of equal scores the earlier one is taken first.
        label: of the class.
        iou: the threshold, 0 to 1.

    Returns:
        The area below the curve of precision over recall; 0 where the class has no annotation.

    >>> runs = [Segment(label="run", start_seconds=start, end_seconds=start + 2) for start in (0.0, 4.0)]
    >>> guesses = [
    ...     Segment(label="run", start_seconds=start, end_seconds=start + 2, score=score)
    ...     for start, score in ((0.0, 0.9), (8.0, 0.8), (4.0, 0.7))
    ... ]
    >>> round(average_precision({"a.mp4": runs}, {"a.mp4": guesses}, "run", iou=0.5), 4)  # right, wrong, right
    0.8333
    """
    free = {name: [item for item in segments if item.label == label] for name, segments in annotated.items()}
    instances = sum(map(len, free.values()))
    guesses = [(name, item) for name in annotated for item in predicted[name] if item.label == label]
    correct = []
    for name, guess in sorted(guesses, key=lambda pair: (-pair[1].score, pair[1].start_seconds)):
        found = _best(guess, free[name], iou)
        if found is not None:
            free[name].remove(found)
        correct.append(found is not None)
    return _area(correct, instances) if instances else 0.0


def _best(guess: Segment, free: list[Segment], iou: float) -> Segment | None:
    """The free annotation that a detection overlaps most, if by enough."""
    best = max(free, key=guess.iou, default=None)
    return best if best is not None and guess.iou(best) >= iou - IOU_TOLERANCE else None


def _area(correct: list[bool], instances: int) -> float:
    """The area below the precision envelope: each right detection adds 1 / instances of recall."""
    precisions, right = [], 0
    for number, is_right in enumerate(correct, start=1):
        right += is_right
        precisions.append(right / number)
    area = envelope = 0.0
    for precision, is_right in zip(reversed(precisions), reversed(correct), strict=True):
        envelope = max(envelope, precision)
        area += envelope / instances if is_right else 0.0
    return area
