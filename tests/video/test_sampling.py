import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activity.video.sampling import (
    TIME_TOLERANCE_SECONDS,
    GridSampler,
    first_index_at_or_after,
    grid_range,
    tail_window,
    window_starts,
    windows_completed,
)

RATES = st.sampled_from([0.1, 1.0, 5.0, 8.0, 12.5, 25.0, 30000 / 1001, 60.0])
TIMES = st.integers(0, 7_200_000).map(lambda ms: ms / 1000) | st.floats(0, 7200)


@given(TIMES, RATES)
def test_first_index_is_the_smallest_that_is_not_before_the_time(time_seconds: float, fps: float) -> None:
    index = first_index_at_or_after(time_seconds, fps)
    assert index / fps + TIME_TOLERANCE_SECONDS >= time_seconds
    assert index == 0 or (index - 1) / fps + TIME_TOLERANCE_SECONDS < time_seconds


@given(st.lists(TIMES, min_size=2, max_size=8), RATES)
def test_spans_that_adjoin_share_no_grid_point_and_leave_none_out(times: list[float], fps: float) -> None:
    cuts = sorted(times)
    parts = [k for start, end in pairwise(cuts) for k in grid_range(start, end, fps)]
    assert parts == list(grid_range(cuts[0], cuts[-1], fps))


def test_a_grid_point_belongs_to_the_span_that_starts_there() -> None:
    assert grid_range(1.0, 2.0, sample_fps=8) == range(8, 16)
    assert grid_range(0.0, 0.1, sample_fps=8) == range(1)
    assert len(grid_range(0.01, 0.1, sample_fps=8)) == 0


def test_times_that_were_rounded_to_milliseconds_meet_the_grid() -> None:
    # 1/3 s is stored as 0.333 or 0.334 s; 1001/30000 * 30 s as 1.001 s.
    assert first_index_at_or_after(0.333, 3) == first_index_at_or_after(0.334, 3) == 1
    assert first_index_at_or_after(1.001, 30000 / 1001) == 30


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_makes_no_grid_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="sample_fps"):
        first_index_at_or_after(1.0, fps)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before it starts"):
        grid_range(2.0, 1.0, 8)


@pytest.mark.parametrize(
    ("num_features", "window_frames", "starts"),
    [
        (7, 4, [0, 2, 3]),
        (8, 4, [0, 2, 4]),
        (4, 4, [0]),
        (5, 4, [0, 1]),
        (1, 4, [0]),
        (3, 1, [0, 1, 2]),
        (40, 16, [0, 8, 16, 24]),
        (7, 5, [0, 2]),
    ],
)
def test_window_starts(num_features: int, window_frames: int, starts: list[int]) -> None:
    assert window_starts(num_features, window_frames) == starts


@given(st.integers(1, 300), st.integers(1, 40))
def test_windows_cover_every_feature_and_stay_inside(num_features: int, window_frames: int) -> None:
    starts = window_starts(num_features, window_frames)
    assert starts == sorted(set(starts))
    covered = {index for start in starts for index in range(start, start + window_frames)}
    assert covered >= set(range(num_features))
    assert starts == [0] or starts[-1] + window_frames == num_features


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 20))
def test_a_stream_gives_the_windows_of_a_file_and_needs_only_the_last_features(
    chunks: list[int], window_frames: int
) -> None:
    total = 0
    starts: list[int] = []
    for chunk in chunks:
        completed = windows_completed(total, total + chunk, window_frames)
        assert all(start > total - window_frames for start in completed)  # else it was complete before
        starts += completed
        total += chunk
    if total == 0:
        return
    tail = tail_window(total, window_frames)
    starts += [] if tail is None else [tail]
    assert starts == window_starts(total, window_frames)


def test_no_features_make_no_window() -> None:
    with pytest.raises(ValueError, match="0 features"):
        window_starts(0, 16)


def test_a_window_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="window_frames is 0"):
        window_starts(5, 0)


@given(st.lists(TIMES, min_size=1, max_size=30), RATES)
def test_a_sampler_gives_each_grid_point_once_with_the_last_frame_not_later(times: list[float], fps: float) -> None:
    times = sorted(times)
    sampler, shown = GridSampler(sample_fps=fps), []
    for number, time in enumerate(times):
        shown += [(index, number - 1) for index in sampler.push(time)[:50]]
    end = sampler.finish(times[-1] + 3 / fps)
    shown += [(index, len(times) - 1) for index in end[:50]]
    assert len(end) > 0
    for index, number in shown:
        assert times[number] <= index / fps + TIME_TOLERANCE_SECONDS or number == 0  # it stands until the second
        assert number == len(times) - 1 or index / fps + TIME_TOLERANCE_SECONDS < times[number + 1]
    assert [index for index, _ in shown] == sorted({index for index, _ in shown})
    assert shown[0][0] == 0
    assert sampler.push(times[-1] + 9 / fps).stop >= end.stop


def test_a_stream_of_one_frame_shows_it_once() -> None:
    sampler = GridSampler(sample_fps=8)
    assert list(sampler.finish(0.0)) == []  # there was none
    assert list(sampler.push(0.0)) == []
    assert list(sampler.finish(0.0)) == [0]
