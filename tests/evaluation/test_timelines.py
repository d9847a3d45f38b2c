"""Numbers of timelines: worked out by hand, and against the published definitions over frame labels."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activity.data.clips import DataError
from activity.data.segments import BACKGROUND, Segment
from activity.evaluation.detection import average_precision
from activity.evaluation.segmental import SegmentCounts, edit_score, frame_accuracy, segment_counts
from activity.evaluation.timelines import F1_IOUS, MAP_IOUS, timeline_metrics

CLASSES = ("jump", "run", "walk")


def timeline(*spans: tuple[str, float, float] | tuple[str, float, float, float]) -> list[Segment]:
    return [
        Segment(label=label, start_seconds=start, end_seconds=end, score=score[0] if score else 1.0)
        for label, start, end, *score in spans
    ]


# 20 seconds. Annotated: run 2-6, walk 8-12, run 14-18. Predicted: run 3-6, jump 8-9, walk 9-12, run 17-20.
ANNOTATED = timeline(("run", 2, 6), ("walk", 8, 12), ("run", 14, 18))
PREDICTED = timeline(("run", 3, 6, 0.9), ("jump", 8, 9, 0.5), ("walk", 9, 12, 0.8), ("run", 17, 20, 0.7))


class TestByHand:
    def test_frame_accuracy(self) -> None:
        # Wrong: 2-3 (missed), 8-9 (jump for walk), 14-17 (missed), 18-20 (run for nothing): 7 of 20 s.
        accuracy = frame_accuracy({"a": ANNOTATED}, {"a": PREDICTED}, {"a": 20.0})
        assert accuracy == pytest.approx(13 / 20)
        # Of the 12 annotated seconds 5 are wrong.
        within = frame_accuracy({"a": ANNOTATED}, {"a": PREDICTED}, {"a": 20.0}, in_activities=True)
        assert within == pytest.approx(7 / 12)

    def test_frame_accuracy_is_over_all_time_not_a_mean_of_videos(self) -> None:
        run = timeline(("run", 0, 9))
        accuracy = frame_accuracy({"a": run, "b": []}, {"a": run, "b": timeline(("run", 0, 1))}, {"a": 9.0, "b": 1.0})
        assert accuracy == pytest.approx(0.9)

    def test_what_lies_beyond_the_end_is_left_out(self) -> None:
        one, other = timeline(("run", 1, 5), ("run", 6, 7)), timeline(("run", 1, 3))
        assert frame_accuracy({"a": one}, {"a": other}, {"a": 4.0}) == pytest.approx(3 / 4)

    def test_a_background_segment_is_the_same_as_none(self) -> None:
        said = timeline((BACKGROUND, 0, 2), ("run", 2, 4), (BACKGROUND, 4, 6))
        unsaid = timeline(("run", 2, 4))
        assert frame_accuracy({"a": said}, {"a": unsaid}, {"a": 6.0}) == 1.0
        assert edit_score(said, unsaid) == 1.0
        assert segment_counts({"a": said}, {"a": unsaid}, iou=0.5)["run"].f1 == 1.0
        metrics = timeline_metrics({"a": said}, {"a": unsaid}, {"a": 6.0}, [*CLASSES, BACKGROUND])
        assert [item.name for item in metrics.classes] == list(CLASSES)
        assert metrics.mean_average_precision[0.7] == 1.0

    @pytest.mark.parametrize(("iou", "matched"), [(0.10, 3), (0.25, 2), (0.50, 2)])
    def test_segmental_f1(self, iou: float, matched: int) -> None:
        # IoU: run 3/4, walk 3/4, the second run 1/6; jump has none to match. 3 annotated, 4 predicted.
        counts = segment_counts({"a": ANNOTATED}, {"a": PREDICTED}, iou=iou)
        assert counts["jump"] == SegmentCounts(annotated=0, predicted=1, matched=0)
        assert counts["walk"] == SegmentCounts(annotated=1, predicted=1, matched=1)
        assert counts["run"].matched == matched - 1
        metrics = timeline_metrics({"a": ANNOTATED}, {"a": PREDICTED}, {"a": 20.0}, CLASSES)
        assert metrics.f1[iou] == pytest.approx(2 * matched / 7)

    def test_an_annotated_segment_is_matched_once_and_the_first_prediction_has_it(self) -> None:
        # Both halves overlap it by 0.5; the second one finds it taken, even where it would overlap more.
        run = timeline(("run", 0, 10))
        for halves in (timeline(("run", 0, 5), ("run", 5.5, 10)), timeline(("run", 0, 4), ("run", 4.5, 10))):
            counts = segment_counts({"a": run}, {"a": halves}, iou=0.4)["run"]
            assert counts == SegmentCounts(annotated=1, predicted=2, matched=1)

    def test_a_prediction_looks_at_the_one_it_overlaps_most_and_no_other(self) -> None:
        # 2-5.2 overlaps 0-4 most (2/5.2), which the prediction before it has; 4.2-6 would be free, at IoU 1/4.
        own = timeline(("run", 0, 4), ("run", 4.2, 6))
        guesses = timeline(("run", 0, 1.9), ("run", 2, 5.2))
        assert segment_counts({"a": own}, {"a": guesses}, iou=0.2)["run"].matched == 1
        assert segment_counts({"a": own}, {"a": guesses[1:]}, iou=0.2)["run"].matched == 1

    def test_counts_are_summed_over_videos_and_segments_never_match_across_them(self) -> None:
        run = timeline(("run", 0, 4))
        counts = segment_counts({"a": run, "b": [], "c": run}, {"a": run, "b": run, "c": []}, iou=0.5)
        assert counts == {"run": SegmentCounts(annotated=2, predicted=2, matched=1)}

    def test_an_iou_of_just_the_threshold_counts_however_floats_round(self) -> None:
        # 0.3 of 0.6 seconds.
        own, guess = timeline(("run", 0.1, 0.7)), timeline(("run", 0.1, 0.4))
        assert own[0].iou(guess[0]) != 0.5
        assert segment_counts({"a": own}, {"a": guess}, iou=0.5)["run"].matched == 1
        assert average_precision({"a": own}, {"a": guess}, "run", iou=0.5) == 1.0

    def test_edit_score(self) -> None:
        # run walk run against run jump walk run: one label too many, of four.
        assert edit_score(ANNOTATED, PREDICTED) == pytest.approx(0.75)
        assert edit_score(ANNOTATED, PREDICTED[::-1]) == pytest.approx(0.75)  # in the order of time
        assert edit_score(ANNOTATED, []) == 0.0
        assert edit_score([], []) == 1.0

    def test_touching_segments_of_one_label_are_one_in_frames_but_two_instances(self) -> None:
        two, one = timeline(("run", 0, 2), ("run", 2, 4)), timeline(("run", 0, 4))
        assert edit_score(two, one) == 1.0
        assert segment_counts({"a": two}, {"a": one}, iou=0.5)["run"].f1 == 1.0
        assert average_precision({"a": two}, {"a": one}, "run", iou=0.3) == pytest.approx(0.5)

    def test_average_precision(self) -> None:
        # Two runs. From the best score down: right, wrong (taken), right. Precision 1, 1/2, 2/3; the envelope is
        # 1 up to recall 1/2 and 2/3 up to recall 1.
        own = timeline(("run", 0, 4), ("run", 10, 14))
        guesses = timeline(("run", 0, 2.2, 0.9), ("run", 2.3, 4, 0.8), ("run", 10, 14, 0.7))
        assert average_precision({"a": own}, {"a": guesses}, "run", iou=0.4) == pytest.approx(0.5 + 0.5 * 2 / 3)

    def test_the_highest_score_is_taken_first_over_all_videos(self) -> None:
        own = {"a": timeline(("run", 0, 4)), "b": timeline(("run", 0, 4))}
        guesses = {"a": timeline(("run", 5, 9, 0.9)), "b": timeline(("run", 0, 4, 0.8))}
        # Wrong, then right: precision 1/2 at recall 1/2, and no more.
        assert average_precision(own, guesses, "run", iou=0.5) == pytest.approx(0.25)
        guesses["a"] = timeline(("run", 5, 9, 0.7))
        assert average_precision(own, guesses, "run", iou=0.5) == pytest.approx(0.5)

    def test_a_detection_takes_the_next_best_where_the_best_is_taken(self) -> None:
        # Unlike for the F1: 1.9-6 overlaps 0-4 (2.1/6) and 4-6 (2/4.1); the first detection has taken 4-6.
        own = timeline(("run", 0, 4), ("run", 4, 6))
        guesses = timeline(("run", 4, 6, 0.9), ("run", 1.9, 6, 0.8))
        assert average_precision({"a": own}, {"a": guesses}, "run", iou=0.3) == 1.0

    def test_map_is_the_mean_over_classes_with_annotations(self) -> None:
        metrics = timeline_metrics({"a": ANNOTATED}, {"a": PREDICTED}, {"a": 20.0}, CLASSES)
        # run: right at 3/4, the other one at 1/6 is wrong: 1/2. walk: 3/4 is right: 1. jump is annotated nowhere.
        assert metrics.mean_average_precision == pytest.approx(dict.fromkeys(MAP_IOUS, 0.75))
        assert metrics.average_map == pytest.approx(0.75)
        by_name = {item.name: item for item in metrics.classes}
        assert by_name["jump"].average_precision is None
        assert by_name["run"].mean_average_precision == pytest.approx(0.5)

    def test_what_is_written_down(self) -> None:
        document = timeline_metrics({"a": ANNOTATED}, {"a": PREDICTED}, {"a": 20.0}, CLASSES).document()
        assert json.loads(json.dumps(document)) == document
        assert document["f1"]["0.10"] == pytest.approx(6 / 7)
        assert list(document["map"]) == ["0.30", "0.40", "0.50", "0.60", "0.70"]
        assert (document["videos"], document["duration_seconds"]) == (1, 20.0)
        run = document["classes"][1]
        assert (run["name"], run["annotated"], run["predicted"], run["matched"]) == ("run", 2, 2, 1)
        assert (run["precision"], run["recall"], run["f1"]) == (0.5, 0.5, 0.5)
        assert document["classes"][0]["average_precision"] is None


class TestWrongUse:
    @pytest.mark.parametrize(
        ("annotated", "predicted", "durations", "expected"),
        [
            ({}, {}, {}, "no video"),
            ({"a": ANNOTATED}, {"b": PREDICTED}, {"a": 20.0}, "same videos.*'b'"),
            ({"a": ANNOTATED}, {"a": PREDICTED}, {"a": 0.0}, "duration of 'a' is 0"),
            ({"a": timeline(("swim", 0, 1))}, {"a": []}, {"a": 20.0}, "'swim'.*no classes.*'jump'"),
            (
                {"a": timeline(("run", 0, 2), ("walk", 1, 3))},
                {"a": []},
                {"a": 20.0},
                "'run' to 2 s and 'walk' from 1 s",
            ),
            ({"a": ANNOTATED}, {"a": timeline(("run", 0, 2), ("run", 1, 3))}, {"a": 20.0}, "two labels at once"),
        ],
    )
    def test_is_said(self, annotated: dict, predicted: dict, durations: dict, expected: str) -> None:
        with pytest.raises(ValueError, match=expected):
            timeline_metrics(annotated, predicted, durations, CLASSES)

    def test_nothing_annotated(self) -> None:
        with pytest.raises(DataError, match=r"No activity is annotated in 2 videos.*not 'background'"):
            timeline_metrics(
                {"a": [], "b": timeline((BACKGROUND, 0, 2))}, {"a": PREDICTED, "b": []}, {"a": 20.0, "b": 2.0}, CLASSES
            )


# The published definitions, written down straight from them over frame labels: Lea et al. 2017 as in the evaluation of
# MS-TCN and ASFormer (segments of frame labels, Levenshtein, f_score), and ActivityNet's detection evaluation.

FRAMES_PER_SECOND = 10


def frame_labels(segments: Sequence[Segment], frames: int) -> list[str]:
    labels = [BACKGROUND] * frames
    for segment in segments:
        for frame in range(round(segment.start_seconds * FRAMES_PER_SECOND), round(segment.end_seconds * 10)):
            labels[frame] = segment.label
    return labels


def segments_of_frames(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    borders = [0, *(k for k in range(1, len(labels)) if labels[k] != labels[k - 1]), len(labels)]
    return [(labels[start], start, end) for start, end in pairwise(borders) if labels[start] != BACKGROUND]


def published_edit(recognized: Sequence[str], truth: Sequence[str]) -> float:
    one, other = ([label for label, _, _ in segments_of_frames(labels)] for labels in (recognized, truth))
    table = np.zeros((len(one) + 1, len(other) + 1))
    table[:, 0], table[0, :] = range(len(one) + 1), range(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            cheapest = min(table[i - 1, j], table[i, j - 1], table[i - 1, j - 1]) + 1
            table[i, j] = table[i - 1, j - 1] if one[i - 1] == other[j - 1] else cheapest
    return 1 - table[-1, -1] / max(len(one), len(other)) if one or other else 1.0


def published_f_score(recognized: Sequence[str], truth: Sequence[str], overlap: float) -> tuple[float, float, float]:
    predicted, annotated = segments_of_frames(recognized), segments_of_frames(truth)
    true_positives = false_positives = 0
    hits = [False] * len(annotated)
    for label, start, end in predicted:
        ious = [
            (min(end, e) - max(start, s)) / (max(end, e) - min(start, s)) * (label == own) for own, s, e in annotated
        ]
        best = int(np.argmax(ious)) if ious else None
        if best is not None and ious[best] >= overlap and not hits[best]:
            true_positives += 1
            hits[best] = True
        else:
            false_positives += 1
    return true_positives, false_positives, len(annotated) - sum(hits)


def published_average_precision(truth: list, detections: list, threshold: float) -> float:
    """ActivityNet: truth (video, start, end), detections (video, start, end, score), all in frames and of one class."""
    detections = sorted(detections, key=lambda item: -item[3])
    locked: set[int] = set()
    right = np.zeros(len(detections))
    for number, (video, start, end, _) in enumerate(detections):
        ious = {}
        for place, (other, s, e) in enumerate(truth):
            if other == video:
                intersection = max(0, min(end, e) - max(start, s))
                ious[place] = intersection / ((end - start) + (e - s) - intersection)
        for place in sorted(ious, key=lambda place: -ious[place]):
            if ious[place] < threshold:
                break
            if place not in locked:
                locked.add(place)
                right[number] = 1
                break
    cumulated = np.cumsum(right)
    recall, precision = cumulated / len(truth), cumulated / np.arange(1, len(detections) + 1)
    padded = np.hstack([[0], precision, [0]])
    recalls = np.hstack([[0], recall, [1]])
    for i in range(len(padded) - 1)[::-1]:
        padded[i] = max(padded[i], padded[i + 1])
    steps = np.where(recalls[1:] != recalls[:-1])[0] + 1
    return float(np.sum((recalls[steps] - recalls[steps - 1]) * padded[steps]))


@st.composite
def videos(draw: st.DrawFn) -> tuple[dict[str, list[Segment]], dict[str, list[Segment]], dict[str, float]]:
    """One to three videos with borders on whole frames, and detections with scores that all differ."""
    scores = iter(draw(st.permutations(range(60))))
    annotated, predicted, durations = {}, {}, {}
    for name in "abc"[: draw(st.integers(1, 3))]:
        frames = draw(st.integers(1, 80))
        durations[name] = frames / FRAMES_PER_SECOND
        for timelines in (annotated, predicted):
            borders = sorted(draw(st.sets(st.integers(0, frames), min_size=2, max_size=10)))
            labels = draw(
                st.lists(
                    st.sampled_from([*CLASSES, BACKGROUND, None]),
                    min_size=len(borders) - 1,
                    max_size=len(borders) - 1,
                )
            )
            timelines[name] = draw(st.permutations(_segments(borders, labels, scores)))
    return annotated, predicted, durations


def _segments(borders: Sequence[int], labels: Sequence[str | None], scores: object) -> list[Segment]:
    return [
        Segment(label=label, start_seconds=start / 10, end_seconds=end / 10, score=next(scores) / 60)
        for start, end, label in zip(borders[:-1], borders[1:], labels, strict=True)
        if label is not None
    ]


@settings(max_examples=150, deadline=None)
@given(videos())
def test_the_published_definitions_say_the_same(drawn: tuple) -> None:
    annotated, predicted, durations = drawn
    truth = {name: frame_labels(own, round(durations[name] * 10)) for name, own in annotated.items()}
    guess = {name: frame_labels(own, round(durations[name] * 10)) for name, own in predicted.items()}
    right = sum(one == other for name in truth for one, other in zip(truth[name], guess[name], strict=True))
    accuracy = frame_accuracy(annotated, predicted, durations)
    assert accuracy == pytest.approx(right / sum(map(len, truth.values())), abs=1e-9)
    for name in annotated:
        assert edit_score(annotated[name], predicted[name]) == pytest.approx(published_edit(guess[name], truth[name]))
    for iou in F1_IOUS:
        counted = sum(segment_counts(annotated, predicted, iou=iou).values(), SegmentCounts())
        published = np.sum([published_f_score(guess[name], truth[name], iou) for name in annotated], axis=0)
        missed = counted.annotated - counted.matched
        assert (counted.matched, counted.predicted - counted.matched, missed) == tuple(published)


@settings(max_examples=150, deadline=None)
@given(videos(), st.sampled_from(MAP_IOUS))
def test_activitynets_average_precision_is_the_same(drawn: tuple, iou: float) -> None:
    annotated, predicted, durations = drawn
    by_class = []
    for label in CLASSES:
        instances = [
            (name, round(item.start_seconds * 10), round(item.end_seconds * 10), item.score)
            for timelines in (annotated, predicted)
            for name, own in timelines.items()
            for item in own
            if item.label == label
        ]
        number = sum(item.label == label for own in annotated.values() for item in own)
        truth, detections = [item[:3] for item in instances[:number]], instances[number:]
        if not truth:
            assert average_precision(annotated, predicted, label, iou=iou) == 0.0
            continue
        by_class.append(published_average_precision(truth, detections, iou) if detections else 0.0)
        assert average_precision(annotated, predicted, label, iou=iou) == pytest.approx(by_class[-1], abs=1e-9)
    if by_class:
        metrics = timeline_metrics(annotated, predicted, durations, CLASSES)
        assert metrics.mean_average_precision[iou] == pytest.approx(math.fsum(by_class) / len(by_class))
