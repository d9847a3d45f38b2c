"""How good the timelines of long videos are, in the numbers that papers give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from activity.data.clips import DataError, count_text
from activity.data.segments import BACKGROUND, SAME_MOMENT_SECONDS, Segment
from activity.evaluation.detection import average_precision
from activity.evaluation.segmental import (
    SegmentCounts,
    Timelines,
    edit_score,
    frame_accuracy,
    in_order,
    segment_counts,
)

F1_IOUS = (0.10, 0.25, 0.50)
MAP_IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
COUNTS_IOU = 0.50


@dataclass(frozen=True, kw_only=True)
class ClassTimelines:
    """The segments of one class in all videos.

    Attributes:
        name: of the class.
        counts: annotated, predicted and matched at IoU `COUNTS_IOU`, as for the segmental F1.
        average_precision: by IoU; None where none is annotated: the class then counts in no mean.
    """

    name: str
    counts: SegmentCounts
    average_precision: Mapping[float, float] | None

    @property
    def mean_average_precision(self) -> float | None:
        """The mean over IoUs."""
        return None if self.average_precision is None else fmean(self.average_precision.values())

    def document(self) -> dict[str, Any]:
        """All of it as plain Python, for JSON."""
        return {
            "name": self.name,
            **vars(self.counts),
            **{name: getattr(self.counts, name) for name in ("precision", "recall", "f1")},
            "average_precision": None if self.average_precision is None else _by_iou(self.average_precision),
        }


@dataclass(frozen=True, kw_only=True)
class TimelineMetrics:
    """How well predicted timelines fit annotated ones; every number is a share, 0 to 1, where papers give percent.

    Attributes:
        frame_accuracy: share of all time on which the label is right, background included.
        frame_accuracy_in_activities: the same over the time at which an activity is annotated.
        f1: the segmental F1 by IoU, `F1_IOUS`.
        edit: the edit score, mean over videos.
        mean_average_precision: the mAP by IoU, `MAP_IOUS`; mean over the classes with annotations.
        classes: by class, background left out.
        videos: how many.
        duration_seconds: of all of them together.
    """

    frame_accuracy: float
    frame_accuracy_in_activities: float
    f1: Mapping[float, float]
    edit: float
    mean_average_precision: Mapping[float, float]
    classes: tuple[ClassTimelines, ...]
    videos: int
    duration_seconds: float

    @property
    def average_map(self) -> float:
        """The mean of the mAPs over IoUs."""
        return fmean(self.mean_average_precision.values())

    def document(self) -> dict[str, Any]:
        """What `timeline_metrics.json` holds, as plain Python."""
        return {
            "frame_accuracy": self.frame_accuracy,
            "frame_accuracy_in_activities": self.frame_accuracy_in_activities,
            "f1": _by_iou(self.f1),
            "edit": self.edit,
            "map": _by_iou(self.mean_average_precision),
            "average_map": self.average_map,
            "classes": [item.document() for item in self.classes],
            "videos": self.videos,
            "duration_seconds": self.duration_seconds,
        }


def timeline_metrics(
    annotated: Timelines,
    predicted: Timelines,
    durations_seconds: Mapping[str, float],
    class_names: Sequence[str],
) -> TimelineMetrics:
    """Measure the timelines of one or more videos.

    Args:
        annotated: the annotated segments of each video, in any order; `BACKGROUND` is the same as no segment.
        predicted: the predicted segments of the same videos.
        durations_seconds: how long each of them is.
        class_names: the classes, in their order; background, where it is among them, is left out.

    Raises:
        ValueError: without videos; videos that not all three have; a duration that is not above 0; labels that are no
            class; segments of a video that overlap.
        DataError: no activity is annotated in any video.

    >>> run = Segment(label="run", start_seconds=2.0, end_seconds=6.0)
    >>> late = Segment(label="run", start_seconds=3.0, end_seconds=6.0, score=0.8)
    >>> metrics = timeline_metrics({"a.mp4": [run]}, {"a.mp4": [late]}, {"a.mp4": 10.0}, ["run"])
    >>> metrics.frame_accuracy, metrics.f1[0.5], metrics.mean_average_precision[0.7], metrics.edit
    (0.9, 1.0, 1.0, 1.0)
    """
    names = [name for name in class_names if name != BACKGROUND]
    _check_videos(annotated, predicted, durations_seconds)
    for timelines in (annotated, predicted):
        for video, segments in timelines.items():
            _check_segments(video, segments, names)
    classes = _classes(annotated, predicted, names)
    measured = [item.average_precision for item in classes if item.average_precision is not None]
    if not measured:
        raise DataError(
            f"No activity is annotated in {count_text(len(annotated), 'video')}, so there is nothing to find; give "
            f"annotations with at least one label that is not {BACKGROUND!r}."
        )
    return TimelineMetrics(
        frame_accuracy=frame_accuracy(annotated, predicted, durations_seconds),
        frame_accuracy_in_activities=frame_accuracy(annotated, predicted, durations_seconds, in_activities=True),
        f1={iou: _total(segment_counts(annotated, predicted, iou=iou)).f1 for iou in F1_IOUS},
        edit=fmean(edit_score(annotated[name], predicted[name]) for name in annotated),
        mean_average_precision={iou: fmean(own[iou] for own in measured) for iou in MAP_IOUS},
        classes=tuple(classes),
        videos=len(annotated),
        duration_seconds=sum(durations_seconds.values()),
    )


def _classes(annotated: Timelines, predicted: Timelines, names: Sequence[str]) -> list[ClassTimelines]:
    counts = segment_counts(annotated, predicted, iou=COUNTS_IOU)
    present = {segment.label for segments in annotated.values() for segment in segments}
    return [
        ClassTimelines(
            name=name,
            counts=counts.get(name, SegmentCounts()),
            average_precision={iou: average_precision(annotated, predicted, name, iou=iou) for iou in MAP_IOUS}
            if name in present
            else None,
        )
        for name in names
    ]


def _total(counts: Mapping[str, SegmentCounts]) -> SegmentCounts:
    return sum(counts.values(), start=SegmentCounts())


def _check_videos(annotated: Timelines, predicted: Timelines, durations_seconds: Mapping[str, float]) -> None:
    if not annotated:
        raise ValueError("There is no video to measure; give at least one with annotations.")
    differing = (set(annotated) ^ set(predicted)) | (set(annotated) ^ set(durations_seconds))
    if differing:
        raise ValueError(f"Annotations, predictions and durations must be of the same videos; not so: {differing}.")
    for name, duration in durations_seconds.items():
        if not duration > 0:
            raise ValueError(f"The duration of {name!r} is {duration:g} s; it must be above 0.")


def _check_segments(video: str, segments: Sequence[Segment], names: Sequence[str]) -> None:
    unknown = sorted({segment.label for segment in segments} - {*names, BACKGROUND})
    if unknown:
        raise ValueError(f"{video!r} has the labels {unknown}, which are no classes; classes are {list(names)}.")
    for before, segment in pairwise(in_order(segments)):
        if before.end_seconds - segment.start_seconds > SAME_MOMENT_SECONDS:
            raise ValueError(
                f"{video!r} has {before.label!r} to {before.end_seconds:g} s and {segment.label!r} from "
                f"{segment.start_seconds:g} s: two labels at once. Give segments that do not overlap."
            )


def _by_iou(values: Mapping[float, float]) -> dict[str, float]:
    return {f"{iou:.2f}": value for iou, value in values.items()}
