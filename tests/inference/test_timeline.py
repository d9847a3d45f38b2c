from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from activity.data.segments import BACKGROUND, Segment
from activity.inference import timeline as timelines
from activity.inference.predictor import Failure, Prediction, predict_videos
from activity.inference.segmentation import TimelineSettings, TimelineSettingsError
from activity.inference.timeline import Timeline, make_timelines, within
from tests.inference.test_live import SETTINGS, restless_recognizer, scenes
from tests.recognizers import CLASS_NAMES
from tests.videos import noise_frames, write_video

CPU = torch.device("cpu")
HOW = {"batch_frames": 7, "decode_threads": 2, "device": CPU}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "long.mkv", scenes(300), fps=25)


def test_its_scores_are_those_of_predict(video: Path) -> None:
    recognizer = restless_recognizer("rgb", "motion")
    (timeline,) = make_timelines(recognizer, [str(video)], settings=SETTINGS, **HOW)
    (prediction,) = predict_videos(recognizer, [str(video)], **HOW)
    assert isinstance(timeline, Timeline)
    assert isinstance(prediction, Prediction)
    assert timeline.scores == prediction.scores
    assert (timeline.windows, timeline.duration_seconds) == (prediction.windows, prediction.duration_seconds)
    assert timeline.class_names == tuple(CLASS_NAMES)


def test_sources_come_in_order_and_one_that_fails_is_named(video: Path, tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mkv", noise_frames(5), fps=25)
    sources = [str(short), "missing.mp4", str(video), str(short)]
    results = list(make_timelines(restless_recognizer(), sources, settings=SETTINGS, **HOW))
    assert [result.source for result in results] == sources
    assert [isinstance(result, Failure) for result in results] == [False, True, False, False]


def test_background_fills_the_gaps(video: Path) -> None:
    recognizer = restless_recognizer()
    (timeline,) = make_timelines(recognizer, [str(video)], settings=SETTINGS, **HOW)
    assert isinstance(timeline, Timeline)
    all_of_it = timeline.with_background()
    assert all_of_it[0].start_seconds == 0
    assert all_of_it[-1].end_seconds == timeline.duration_seconds
    assert all(one.end_seconds == other.start_seconds for one, other in pairwise(all_of_it))
    assert [item for item in all_of_it if item.label != BACKGROUND] == list(timeline.segments)
    unsure = TimelineSettings(enter_score=1.0, leave_score=1.0)
    (timeline,) = make_timelines(recognizer, [str(video)], settings=unsure, **HOW)
    assert isinstance(timeline, Timeline)
    assert timeline.segments == ()
    (background,) = timeline.with_background()
    best = timeline.frame_scores.amax(dim=1).mean().item()
    assert (background.label, background.score) == (BACKGROUND, pytest.approx(1 - best))


def test_a_video_of_one_frame_has_no_segment_but_scores(tmp_path: Path) -> None:
    video = write_video(tmp_path / "one.mkv", noise_frames(1), fps=25)
    (timeline,) = make_timelines(restless_recognizer(), [str(video)], settings=SETTINGS, **HOW)
    assert isinstance(timeline, Timeline)
    assert (timeline.duration_seconds, timeline.segments, timeline.with_background()) == (0.0, (), [])
    assert sum(timeline.scores) == pytest.approx(1.0)


def test_frame_scores_stay_few_however_long_the_video_is(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = restless_recognizer()
    (exact,) = make_timelines(recognizer, [str(video)], settings=SETTINGS, **HOW)
    monkeypatch.setattr(timelines, "MOST_POINTS", 16)
    (few,) = make_timelines(recognizer, [str(video)], settings=SETTINGS, **HOW)
    assert isinstance(exact, Timeline)
    assert isinstance(few, Timeline)
    assert len(exact.frame_scores) == 60
    assert len(few.frame_scores) == 15
    blocks = exact.frame_scores.view(15, 4, -1).mean(dim=1)
    assert few.frame_scores.numpy() == pytest.approx(blocks.numpy(), abs=1e-6)
    assert few.frame_seconds.tolist() == pytest.approx(exact.frame_seconds[::4].tolist())
    assert few.segments == exact.segments


def test_another_stride_gives_nearly_the_same_segments(video: Path) -> None:
    recognizer = restless_recognizer(window_frames=8)
    found = []
    for stride in (1, 4):
        settings = TimelineSettings(enter_score=0.5, leave_score=0.4, smoothing_seconds=0, stride=stride)
        (timeline,) = make_timelines(recognizer, [str(video)], settings=settings, **HOW)
        assert isinstance(timeline, Timeline)
        found.append(timeline)
    fine, coarse = found
    assert len(fine.segments) > 1
    difference = (fine.frame_scores.argmax(dim=1) != coarse.frame_scores.argmax(dim=1)).float().mean()
    assert difference < 0.1


def test_a_stride_that_does_not_fit_is_refused_before_any_work() -> None:
    with pytest.raises(TimelineSettingsError, match="stride is 9"):
        make_timelines(restless_recognizer(), ["missing.mp4"], settings=TimelineSettings(stride=9), **HOW)


def test_segments_end_with_the_video() -> None:
    segments = [Segment(label="a", start_seconds=start, end_seconds=start + 1) for start in (0.0, 2.5, 3.0)]
    assert [(item.start_seconds, item.end_seconds) for item in within(segments, 3.0)] == [(0.0, 1.0), (2.5, 3.0)]


def test_frame_scores_are_of_the_time_they_say(tmp_path: Path) -> None:
    frames = [np.full((24, 32, 3), level, np.uint8) for level in [20] * 100 + [230] * 100]
    video = write_video(tmp_path / "two halves.mkv", frames, fps=25)
    recognizer = restless_recognizer()
    (timeline,) = make_timelines(recognizer, [str(video)], settings=TimelineSettings(smoothing_seconds=0), **HOW)
    assert isinstance(timeline, Timeline)
    first, last = timeline.frame_scores[0], timeline.frame_scores[-1]
    middle = (timeline.frame_scores - (first + last) / 2).abs().sum(dim=1).argmin()
    assert timeline.frame_seconds[middle] == pytest.approx(4.0, abs=0.3)
