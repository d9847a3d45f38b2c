"""Labels for whole videos: the mean of the scores of all windows, as in validation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from activity.features.extract import FeatureChunk, VideoEnd, VideoRequest, encode_by, extract_features
from activity.models.recognizer import LoadedRecognizer
from activity.video.sampling import tail_window, windows_completed

_WHOLE_VIDEO = (range(2**62),)


@dataclass(frozen=True)
class Prediction:
    """The scores of one video.

    Attributes:
        source: as given.
        scores: one for each class, 0 to 1, summing to 1.
        class_names: the class of each score.
        duration_seconds: of the video, as far as it was read.
        windows: how many windows the scores are the mean of.
    """

    source: str
    scores: tuple[float, ...]
    class_names: tuple[str, ...]
    duration_seconds: float
    windows: int

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k best classes with their scores, best first."""
        ranked = sorted(zip(self.class_names, self.scores, strict=True), key=lambda pair: -pair[1])
        return ranked[:k]


@dataclass(frozen=True)
class Failure:
    """A source that could not be read, and why."""

    source: str
    error: str


class WindowScorer:
    """Scores of a video from its features as they come, in memory that does not grow with the video.

    The windows are those of `activity.video.sampling.window_starts`; only the last features are kept.
    """

    def __init__(self, recognizer: LoadedRecognizer, device: torch.device) -> None:
        self.class_names = recognizer.class_names
        self._recognizer = recognizer
        self._device = device
        self._recent = torch.empty(0, 0)
        self._num_features = 0
        self._sum = torch.zeros(len(recognizer.class_names), dtype=torch.float64)
        self.windows = 0

    def push(self, features: Tensor) -> None:
        """The next features `float32 (n, D)`."""
        kept = torch.cat([self._recent, features]) if self._num_features else features
        before, after = self._num_features, self._num_features + len(features)
        first = after - len(kept)  # the stream's index of the first feature still kept
        window_frames = self._recognizer.window_frames
        starts = windows_completed(before, after, window_frames)
        if len(starts):
            self._score([kept[start - first : start - first + window_frames] for start in starts])
        self._recent = kept[-window_frames:].clone()  # a view would keep all of it
        self._num_features = after

    @property
    def features(self) -> int:
        """How many were pushed."""
        return self._num_features

    def finish(self) -> Tensor:
        """Scores `float64 (C,)` of the video that ends here.

        Raises:
            ValueError: no feature was pushed.
        """
        if tail_window(self._num_features, self._recognizer.window_frames) is not None:
            self._score([self._recent])
        return self._sum / self.windows

    @torch.inference_mode()
    def _score(self, windows: list[Tensor]) -> None:
        lengths = torch.tensor([len(window) for window in windows], device=self._device)
        padded = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True).to(self._device)
        scores = self._recognizer.classify(padded, lengths).softmax(dim=1)
        self._sum += scores.double().sum(dim=0).cpu()
        self.windows += len(windows)


def predict_videos(
    recognizer: LoadedRecognizer,
    sources: Sequence[str],
    *,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
) -> Iterator[Prediction | Failure]:
    """Label videos, in the order given; a video that cannot be read is a `Failure`, and the rest is done.

    Args:
        recognizer: on `device`.
        sources: paths of video files.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        device: where the recognizer is.
    """
    scorers: dict[int, WindowScorer] = {}  # of the videos being read
    done: dict[int, Prediction | Failure] = {}
    following = 0
    for result in extract_features(
        encode_by(recognizer.encode),
        [VideoRequest(Path(source), _WHOLE_VIDEO, recognizer.sample_fps) for source in sources],
        motion="motion" in recognizer.modalities,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
    ):
        if isinstance(result, FeatureChunk):
            scorers.setdefault(result.video, WindowScorer(recognizer, device)).push(result.features)
            continue
        done[result.video] = _finished(sources[result.video], scorers.pop(result.video, None), result)
        while following in done:
            yield done.pop(following)
            following += 1


def _finished(source: str, scorer: WindowScorer | None, end: VideoEnd) -> Prediction | Failure:
    if end.error is not None:
        return Failure(source, str(end.error))
    # A video without an error has a first frame, and all of it was read.
    assert scorer is not None
    assert end.duration_seconds is not None
    scores = scorer.finish()
    return Prediction(
        source=source,
        scores=tuple(scores.tolist()),
        class_names=tuple(scorer.class_names),
        duration_seconds=end.duration_seconds,
        windows=scorer.windows,
    )
