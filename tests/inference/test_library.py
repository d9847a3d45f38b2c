from pathlib import Path

import numpy as np
import pytest
import torch

import activity
from activity.formats.torchscript import export_torchscript
from activity.inference.frame_features import FrameError
from activity.video.reader import VideoReader
from tests.inference.test_live import SETTINGS, restless_recognizer, scenes
from tests.recognizers import CLASS_NAMES, checkpoint_of, small_encoder, tiny_recognizer
from tests.videos import write_video


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.ts"
    export_torchscript(restless_recognizer("rgb", "motion"), path, [])
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "film.mkv", scenes(300), fps=25)


def test_what_one_types_in_a_notebook(model: Path, video: Path) -> None:
    recognizer = activity.load_recognizer(model)
    assert (recognizer.class_names, recognizer.sample_fps, recognizer.window_frames) == (CLASS_NAMES, 5.0, 4)
    assert "3 classes, rgb+motion, windows of 4 at 5 frames/s" in repr(recognizer)
    prediction = recognizer.predict(video)
    timeline = recognizer.timeline(video, settings=SETTINGS)
    assert prediction.scores == timeline.scores
    live = activity.LiveRecognizer(recognizer, settings=SETTINGS)
    with VideoReader(video) as reader:
        events = [event for frame in reader for event in live.push(frame.pixels, frame.time_seconds)] + live.finish()
    starts = [event.time_seconds for event in events if event.kind == "start"]
    assert starts == [segment.start_seconds for segment in timeline.segments]
    assert len(starts) > 1
    page = timeline._repr_html_()
    assert all(segment.label in page for segment in timeline.segments)


def test_a_video_that_cannot_be_read_raises_and_among_many_is_a_failure(model: Path, video: Path) -> None:
    recognizer = activity.load_recognizer(model)
    for call in (recognizer.predict, recognizer.timeline):
        with pytest.raises(activity.VideoError, match=r"missing\.mp4: there is no such file"):
            call("missing.mp4")
    results = list(recognizer.predict_all([video, Path("missing.mp4")]))
    assert isinstance(results[0], activity.Prediction)
    assert isinstance(results[1], activity.Failure)
    assert "no such file" in results[1].error
    timelines = list(recognizer.timelines(["missing.mp4", video]))
    assert [type(item) for item in timelines] == [activity.Failure, activity.Timeline]


def test_a_checkpoint_loads_as_an_exported_file_does(tmp_path: Path, video: Path) -> None:
    torch.save(checkpoint_of(tiny_recognizer(small_encoder())), tmp_path / "best.ckpt")
    assert activity.load_recognizer(tmp_path / "best.ckpt").predict(video).windows > 1
    with pytest.raises(activity.ModelFileError, match="no model file"):
        activity.load_recognizer(tmp_path / "nothing.ts")


def test_what_is_no_path_no_recognizer_and_no_time_is_said(model: Path) -> None:
    recognizer = activity.load_recognizer(model)
    for wrong in (None, np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(TypeError, match=r"source is \w+; accepted: the path of a video file"):
            recognizer.predict(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"path is \w+; accepted: the path of a model,"):
            activity.load_recognizer(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"sources is str; accepted: a list of paths"):
        list(recognizer.predict_all("clip.mp4"))
    with pytest.raises(TypeError, match=r"recognizer is str 'model\.ts'; accepted: what activity\.load_recognizer"):
        activity.LiveRecognizer("model.ts")  # type: ignore[arg-type]
    live = activity.LiveRecognizer(recognizer)
    for time in ("a", None, True):
        with pytest.raises(FrameError, match=r"time_seconds is .*; accepted: seconds, a number"):
            live.push(np.zeros((48, 64, 3), np.uint8), time)  # type: ignore[arg-type]
    assert live.push(np.zeros((48, 64, 3), np.uint8), np.float32(0.5)) == []


def test_every_public_name_is_there_and_another_is_said() -> None:
    assert {name: getattr(activity, name).__name__ for name in activity.__all__} == {
        name: name for name in activity.__all__
    }
    assert set(activity.__all__) <= set(dir(activity))
    with pytest.raises(AttributeError, match="load_recognizer"):
        activity.load_model  # noqa: B018


def test_labels_stay_text_in_a_notebook(video: Path) -> None:
    recognizer = restless_recognizer()
    recognizer.class_names = ["<script>alert(1)</script>", "b", "c"]
    from activity.inference.library import VideoRecognizer

    timeline = VideoRecognizer(recognizer, torch.device("cpu")).timeline(video, settings=SETTINGS)
    assert any("script" in segment.label for segment in timeline.segments)
    assert "<script" not in timeline._repr_html_()


def test_frames_may_be_of_a_camera_that_skips(model: Path) -> None:
    live = activity.LiveRecognizer(activity.load_recognizer(model), scores_every_seconds=0)
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.4, 60))
    events = [event for time, frame in zip(times, scenes(60), strict=True) for event in live.push(frame, float(time))]
    events += live.finish()
    seconds = [event.time_seconds for event in events if event.kind == "scores"]
    assert seconds == pytest.approx([k / 5 for k in range(len(seconds))])
    assert seconds[-1] == pytest.approx(times[-1] - times[0], abs=0.4)
