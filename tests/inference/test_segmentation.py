from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activity.data.segments import BACKGROUND
from activity.inference.segmentation import (
    SegmentTracker,
    TimelineSettings,
    TimelineSettingsError,
    find_segments,
    make_tracker,
    segment_of,
)

NAMES = ["a", "b", BACKGROUND]
FPS = 10.0


def found(rows: Sequence[Sequence[float]], names: Sequence[str] = ("a", "b"), **settings: float) -> list[str]:
    """Segments as text such as "a 1-3": label, first frame, frame after the last."""
    given = {"enter_score": 0.6, "leave_score": 0.4, "min_seconds": 0.0, "merge_seconds": 0.0} | settings
    segments = find_segments(
        np.array(rows),
        class_names=names,
        sample_fps=FPS,
        settings=TimelineSettings(**given),  # type: ignore[arg-type]
    )
    return [f"{item.label} {item.start_seconds * FPS:.0f}-{item.end_seconds * FPS:.0f}" for item in segments]


def of_a(text: str) -> list[list[float]]:
    """Rows of the classes a and b: `#` a is sure, `+` a goes on, `.` neither, `B` b is sure, `b` b leads."""
    return [
        {"#": [0.7, 0.1], "+": [0.5, 0.2], ".": [0.3, 0.2], "B": [0.1, 0.8], "b": [0.2, 0.5]}[sign] for sign in text
    ]


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ("..##..", ["a 2-4"]),
        (".++#++.", ["a 1-6"]),  # reaches back to, and goes on at, the leave score
        (".+++++.", []),  # never sure
        ("##", ["a 0-2"]),
        ("......", []),
        ("##..##", ["a 0-2", "a 4-6"]),
        ("##BB", ["a 0-2", "b 2-4"]),
        ("##bB", ["a 0-2", "b 2-4"]),  # b took the lead before it was sure
        ("##b##", ["a 0-2", "a 3-5"]),
        ("#+b+#", ["a 0-2", "a 3-5"]),
    ],
)
def test_hysteresis(signs: str, expected: list[str]) -> None:
    assert found(of_a(signs)) == expected


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ("##..##", ["a 0-6"]),
        ("##...##", ["a 0-2", "a 5-7"]),
        ("##BB##", ["a 0-2", "b 2-4", "a 4-6"]),  # another activity is no interruption
        ("##bb##", ["a 0-6"]),  # one that is never sure is
        ("#..#..#", ["a 0-7"]),
        ("##....", ["a 0-2"]),
    ],
)
def test_interruptions_of_two_frames_are_bridged(signs: str, expected: list[str]) -> None:
    assert found(of_a(signs), merge_seconds=0.2) == expected


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        (".##.", []),
        (".###.", ["a 1-4"]),
        (".+#+.", ["a 1-4"]),
        ("#.#", []),  # no bridge: two that are too short
        ("####BB####", ["a 0-4", "a 6-10"]),
    ],
)
def test_what_is_shorter_than_three_frames_is_no_segment(signs: str, expected: list[str]) -> None:
    assert found(of_a(signs), min_seconds=0.3) == expected


def test_a_short_flicker_of_another_activity_does_not_cut_a_segment_in_two() -> None:
    assert found(of_a("####BB####"), min_seconds=0.3, merge_seconds=0.2) == ["a 0-10"]
    assert found(of_a("#.#"), min_seconds=0.3, merge_seconds=0.2) == ["a 0-3"]


def test_a_class_goes_on_while_another_leads_without_being_sure() -> None:
    rows = [[0.7, 0.1], [0.42, 0.5], [0.42, 0.5], [0.41, 0.5], [0.3, 0.2]]
    assert found(rows) == ["a 0-4"]
    # Sure in the end: it began where it took the lead.
    assert found([*rows[:-1], [0.3, 0.65]]) == ["a 0-1", "b 1-5"]


def test_what_led_while_another_had_not_left_begins_where_that_ended() -> None:
    # b leads from frame 1, but a goes on until frame 3 and ends for good at frame 4; b is sure at frame 5 only.
    rows = [[0.7, 0.1], [0.42, 0.5], [0.42, 0.5], [0.1, 0.5], [0.1, 0.5], [0.1, 0.7]]
    assert found(rows) == ["a 0-3", "b 3-6"]


def test_a_moment_in_which_another_activity_still_went_on_makes_none_begin() -> None:
    sure_of_a, both, only_b = [0.6, 0.1], [0.4, 0.55], [0.1, 0.45]
    rows = [sure_of_a] * 3 + [both] + [only_b] * 3
    assert found(rows, enter_score=0.5, leave_score=0.35, min_seconds=0.3) == ["a 0-4"]


def test_a_class_called_background_is_no_activity() -> None:
    rows = [[0.7, 0.1, 0.2], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8], [0.1, 0.7, 0.2]]
    assert found(rows, NAMES) == ["a 0-1", "b 3-4"]


def test_the_score_is_the_mean_of_the_class_over_its_segment() -> None:
    rows = np.array([[0.1, 0.1], [0.5, 0.1], [0.9, 0.0], [0.2, 0.1], [0.6, 0.2], [0.1, 0.1], [0.1, 0.1]])
    settings = TimelineSettings(enter_score=0.6, leave_score=0.4, min_seconds=0, merge_seconds=0.1)
    (segment,) = find_segments(rows, class_names=["a", "b"], sample_fps=FPS, settings=settings)
    assert segment.score == pytest.approx((0.5 + 0.9 + 0.2 + 0.6) / 4)


SCORES = st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=60)
THRESHOLDS = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted)
FRAMES = st.integers(0, 8).map(lambda frames: frames / FPS)


@given(SCORES, THRESHOLDS, FRAMES, FRAMES)
def test_segments_are_ordered_disjoint_inside_and_long_enough(
    rows: list[list[float]], thresholds: list[float], shortest: float, bridge: float
) -> None:
    settings = TimelineSettings(
        leave_score=thresholds[0], enter_score=thresholds[1], min_seconds=shortest, merge_seconds=bridge
    )
    segments = find_segments(np.array(rows), class_names=NAMES, sample_fps=FPS, settings=settings)
    assert all(one.end_seconds <= other.start_seconds for one, other in pairwise(segments))
    assert all(0 <= item.start_seconds < item.end_seconds <= len(rows) / FPS for item in segments)
    assert all(item.label in ("a", "b") and 0 <= item.score <= 1 for item in segments)
    assert all(item.duration_seconds >= shortest - 1e-9 for item in segments)
    for one, other in pairwise(segments):
        if one.label == other.label:
            assert other.start_seconds - one.end_seconds > bridge + 1e-9
    for item in segments:  # none without a moment in which the class was sure
        column = NAMES.index(item.label)
        frames = range(round(item.start_seconds * FPS), round(item.end_seconds * FPS))
        assert max(rows[frame][column] for frame in frames) >= thresholds[1]


@given(SCORES, THRESHOLDS, FRAMES, FRAMES)
def test_changes_alternate_and_are_said_after_they_happen(
    rows: list[list[float]], thresholds: list[float], shortest: float, bridge: float
) -> None:
    settings = TimelineSettings(
        leave_score=thresholds[0], enter_score=thresholds[1], min_seconds=shortest, merge_seconds=bridge
    )
    tracker = make_tracker(settings, NAMES, FPS)
    changes = []
    for number, row in enumerate(np.array(rows), 1):
        said = tracker.push(row)
        assert all(change.end_frame <= number for change in said)
        changes += said
    changes += tracker.finish()
    assert [change.kind for change in changes] == ["start", "end"] * (len(changes) // 2)
    for start, end in zip(changes[::2], changes[1::2], strict=True):
        assert (start.label, start.start_frame) == (end.label, end.start_frame)


def test_more_frames_cost_no_more_memory() -> None:
    tracker = SegmentTracker(class_names=NAMES, enter_score=0.6, leave_score=0.4, min_frames=2, merge_frames=2)
    for number in range(2000):
        changes = tracker.push(np.array([0.9, 0.05, 0.05] if number // 10 % 2 else [0.05, 0.05, 0.9]))
        assert len(changes) <= 1
    held = [value for value in vars(tracker).values() if isinstance(value, list | tuple | dict | np.ndarray)]
    assert max(len(value) for value in held) <= len(NAMES)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"enter_score": 0.3, "leave_score": 0.5}, "leave_score is 0.5, above enter_score"),
        ({"enter_score": 0.0}, "enter_score is 0.0; accepted: above 0, to 1"),
        ({"enter_score": 1.5}, "enter_score is 1.5"),
        ({"leave_score": float("nan")}, "leave_score is nan"),
        ({"min_seconds": -1.0}, "min_seconds is -1.0; accepted: 0 to 3600 seconds"),
        ({"merge_seconds": float("inf")}, "merge_seconds is inf"),
        ({"smoothing_seconds": float("nan")}, "smoothing_seconds is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(TimelineSettingsError, match=said):
        TimelineSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("stride", [0, -1, 17])
def test_a_stride_is_at_most_a_window(stride: int) -> None:
    with pytest.raises(TimelineSettingsError, match=f"stride is {stride}; accepted: 1 to 16"):
        TimelineSettings(stride=stride).stride_frames(16)


def test_a_segment_is_made_of_an_end_only() -> None:
    tracker = SegmentTracker(class_names=NAMES, enter_score=0.6, leave_score=0.4, min_frames=1, merge_frames=0)
    (start,) = tracker.push(np.array([0.9, 0.0, 0.1]))
    (end,) = tracker.push(np.array([0.0, 0.1, 0.9]))
    assert (start.kind, end.kind) == ("start", "end")
    assert segment_of(end, FPS).end_seconds == pytest.approx(0.1)
