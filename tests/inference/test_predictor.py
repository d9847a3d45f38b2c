from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from activity.features import extract
from activity.inference.predictor import Failure, Prediction, predict_videos
from activity.inference.windows import WindowScorer
from activity.models.recognizer import Recognizer
from activity.video.reader import VideoReader
from activity.video.sampling import window_starts
from tests.recognizers import CLASS_NAMES, lstm_head, tiny_encoder, tiny_recognizer
from tests.videos import noise_frames, write_video

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    encoder = tiny_encoder("rgb", "motion", rgb_every=3)
    return tiny_recognizer(encoder, lstm_head(encoder.feature_size), sample_fps=5, window_frames=4)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of 13, 3 and 1 sampled frames: several windows, less than one, a single frame."""
    folder = tmp_path_factory.mktemp("videos")
    files = [
        write_video(folder / "long.mp4", noise_frames(65), fps=25),
        write_video(folder / "short 'clip' ü.mp4", noise_frames(15, width=48, height=80), fps=25),
        write_video(folder / "one frame.mp4", noise_frames(1), fps=25),
    ]
    return [str(path) for path in files]


def predict(recognizer: Any, sources: Sequence[str], **changes: Any) -> list[Prediction | Failure]:
    arguments = {"batch_frames": 4, "decode_threads": 2, "device": CPU}
    return list(predict_videos(recognizer, sources, **{**arguments, **changes}))


@torch.inference_mode()
def scores_by_hand(recognizer: Recognizer, source: str) -> tuple[Tensor, int]:
    """Mean of the scores of all windows, frame by frame and window by window, and how many windows."""
    features, previous = [], None
    with VideoReader(source) as reader:
        for frame in reader.sampled_frames(recognizer.sample_fps):
            pixels = torch.from_numpy(frame.pixels).permute(2, 0, 1)[None]
            held = features[-1][None] if frame.index % recognizer.rgb_every else None
            features.append(recognizer.encode(pixels[None], previous, held)[0, 0])
            previous = pixels
    starts = window_starts(len(features), recognizer.window_frames)
    windows = [torch.stack(features[start : start + recognizer.window_frames])[None] for start in starts]
    return torch.cat([recognizer.classify(window).softmax(1) for window in windows]).double().mean(0), len(windows)


# Windows as they come


HEAD_ONLY = lstm_head(3, hidden_size=4, num_layers=1, readout="last")


@settings(max_examples=50, deadline=None)
@given(window_frames=st.integers(1, 9), pieces=st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_scores_do_not_depend_on_how_features_come(window_frames: int, pieces: list[int]) -> None:
    recognizer = tiny_recognizer(head=HEAD_ONLY, window_frames=window_frames)
    features = torch.randn(sum(pieces), 3, generator=torch.Generator().manual_seed(0))
    scorer = WindowScorer(recognizer, CPU)
    for piece in features.split(pieces):
        scorer.push(piece)
    starts = window_starts(len(features), window_frames)
    with torch.inference_mode():
        each = [recognizer.classify(features[None, s : s + window_frames]).softmax(1)[0] for s in starts]
    scores = scorer.finish()
    torch.testing.assert_close(scores, torch.stack(each).double().mean(0), rtol=0, atol=1e-6)
    assert scorer.windows == len(starts)


def test_a_long_stream_keeps_no_more_than_a_window() -> None:
    scorer = WindowScorer(tiny_recognizer(head=HEAD_ONLY, window_frames=5), CPU)
    held = []
    for _ in range(40):
        scorer.push(torch.zeros(50, 3))
        tensors = [value for value in vars(scorer).values() if isinstance(value, Tensor)]
        held.append(sum(tensor.untyped_storage().nbytes() for tensor in tensors))
    assert max(held) == held[0] < 200


def test_scores_without_features_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sampled frame is needed"):
        WindowScorer(tiny_recognizer(), CPU).finish()


# Videos


@pytest.mark.parametrize("batch_frames", [1, 4, 64])
def test_a_prediction_is_the_mean_over_the_windows(
    recognizer: Recognizer, videos: list[str], batch_frames: int
) -> None:
    predictions = predict(recognizer, videos, batch_frames=batch_frames)
    for source, prediction, windows in zip(videos, predictions, [6, 1, 1], strict=True):
        assert isinstance(prediction, Prediction)
        expected, count = scores_by_hand(recognizer, source)
        assert prediction.windows == count == windows
        assert prediction.source == source
        assert prediction.class_names == tuple(CLASS_NAMES)
        assert sum(prediction.scores) == pytest.approx(1)
        torch.testing.assert_close(torch.tensor(prediction.scores).double(), expected, rtol=0, atol=1e-6)


def test_durations_are_those_of_the_videos(recognizer: Recognizer, videos: list[str]) -> None:
    long, short, single = predict(recognizer, videos)
    assert isinstance(long, Prediction)
    assert isinstance(short, Prediction)
    assert isinstance(single, Prediction)
    assert long.duration_seconds == pytest.approx(2.6, abs=0.05)
    assert short.duration_seconds == pytest.approx(0.6, abs=0.05)
    assert single.duration_seconds < 0.1


@pytest.mark.parametrize("decode_threads", [1, 3])
def test_answers_come_in_the_order_asked_and_a_bad_file_is_one_of_them(
    recognizer: Recognizer, videos: list[str], tmp_path: Path, decode_threads: int
) -> None:
    long, short, single = videos
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    lost = str(tmp_path / "lost.mp4")
    sources = [str(text), long, single, lost, short, long]
    answers = predict(recognizer, sources, decode_threads=decode_threads)
    assert [answer.source for answer in answers] == sources
    assert [type(answer) for answer in answers] == [Failure, Prediction, Prediction, Failure, Prediction, Prediction]
    for answer in (answers[0], answers[3]):
        assert isinstance(answer, Failure)
        assert answer.source in answer.error
    assert "there is no such file" in answers[3].error
    alone = predict(recognizer, [long])[0].scores
    for answer in (answers[1], answers[5]):
        assert answer.scores == pytest.approx(alone, abs=1e-6)


def test_a_video_that_breaks_off_with_an_error_is_a_failure(
    recognizer: Recognizer, videos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from activity.video.errors import VideoError

    class BreakingReader(VideoReader):
        def sampled_spans(self, *arguments: Any, **options: Any) -> Any:
            for frame in super().sampled_spans(*arguments, **options):
                if frame.index == 6:
                    raise VideoError(self.source, "it broke off", "copy it again")
                yield frame

    monkeypatch.setattr(extract, "VideoReader", BreakingReader)
    broken, good = predict(recognizer, videos[:2])
    assert isinstance(broken, Failure)
    assert "it broke off" in broken.error
    assert isinstance(good, Prediction)


def test_an_answer_comes_before_the_next_video_is_done(
    recognizer: Recognizer, videos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of many answers is not held back until the last."""
    frames = []

    def encode(batch: Tensor, previous: Tensor | None = None) -> Tensor:
        frames.append(len(batch))
        return Recognizer.encode(recognizer, batch, previous)

    monkeypatch.setattr(recognizer, "encode", encode)
    answers = predict_videos(recognizer, [videos[0]] * 20, batch_frames=4, decode_threads=1, device=CPU)
    next(answers)
    assert sum(frames) < 2 * 13 + 2 * 4
    answers.close()


def test_no_sources_give_no_answers(recognizer: Recognizer) -> None:
    assert predict(recognizer, []) == []


def test_the_best_classes_come_first() -> None:
    prediction = Prediction("a.mp4", (0.2, 0.5, 0.3), ("run", "sit", "walk"), 1.0, 1)
    assert prediction.top(2) == [("sit", 0.5), ("walk", 0.3)]
    assert prediction.top(9) == [("sit", 0.5), ("walk", 0.3), ("run", 0.2)]


def test_windows_are_scored_in_one_thread_beside_those_that_encode(recognizer: Recognizer, videos: list[str]) -> None:
    class Watched:
        threads: set[int] = set()  # noqa: RUF012 - of this test alone

        def __getattr__(self, name: str) -> Any:
            return getattr(recognizer, name)

        def classify(self, *arguments: Any) -> Tensor:
            self.threads.add(torch.get_num_threads())
            return recognizer.classify(*arguments)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        predict(Watched(), videos)
        assert (Watched.threads, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)
