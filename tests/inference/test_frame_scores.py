import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activity.inference.frame_scores import FrameScores, MovingMean


def frame_scores(windows: list[tuple[int, float]], *, window_frames: int, frames: int) -> list[float]:
    given_ = FrameScores(window_frames=window_frames)
    rows = []
    for start, score in windows:
        rows.append(given_.push(start, np.array([score]), frames_in_all=frames))
    rows.append(given_.finish(frames))
    return np.concatenate(rows)[:, 0].tolist()


def test_the_worked_example() -> None:
    scores = frame_scores([(0, 0.0), (2, 4.0), (4, 8.0)], window_frames=4, frames=8)
    assert scores == [0, 0, 1, 3, 5, 7, 8, 8]


def test_one_window_gives_all_frames_its_score() -> None:
    assert frame_scores([(0, 0.5)], window_frames=4, frames=4) == [0.5] * 4


@pytest.mark.parametrize("frames", [1, 2, 3, 9])
def test_a_padded_window(frames: int) -> None:
    assert frame_scores([(0, 0.5)], window_frames=16, frames=frames) == [0.5] * frames


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 100))
def test_each_frame_has_one_score_and_a_ramp_stays_a_ramp(window_frames: int, stride: int, frames: int) -> None:
    stride = min(stride, window_frames)
    starts = list(range(0, max(1, frames - window_frames + 1), stride))
    if starts[-1] + window_frames < frames:
        starts.append(frames - window_frames)  # the one that the end completes
    length = min(window_frames, frames)
    middles = [start + (length - 1) / 2 for start in starts]
    scores = frame_scores(list(zip(starts, middles, strict=True)), window_frames=window_frames, frames=frames)
    assert scores == pytest.approx([min(max(frame, middles[0]), middles[-1]) for frame in range(frames)])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 6))
def test_a_moving_mean_is_centred_and_complete(values: list[float], reach: int) -> None:
    mean = MovingMean(reach=reach)
    told = [mean.push(np.array([value])) for value in values]
    assert all(len(block) <= 1 for block in told)
    scores = np.concatenate([*told, mean.finish()])[:, 0]
    expected = [np.mean(values[max(0, k - reach) : k + reach + 1]) for k in range(len(values))]
    assert scores == pytest.approx(expected)
