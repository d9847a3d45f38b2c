"""Labels for whole videos: the mean of the scores of all windows, as in validation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from activity.inference.videos import Failure, in_order, read_videos
from activity.inference.windows import WindowScorer
from activity.models.recognizer import LoadedRecognizer

__all__ = ["Failure", "Prediction", "predict_videos", "predictions_as_completed"]


@dataclass(frozen=True)
class Prediction:
    """The scores of one video.

    Attributes:
        source: as given.
        scores: one for each class, 0 to 1, summing to 1.
        class_names: the class of each score.
        duration_seconds: of the video, as far as it was read.
        windows: how many windows the scores are the mean of.
        damage: what is missing of the video where it could be read in part, or None.
    """

    source: str
    scores: tuple[float, ...]
    class_names: tuple[str, ...]
    duration_seconds: float
    windows: int
    damage: str | None = None

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k best classes with their scores, best first; k from 1 up, all where there are fewer.

        Raises:
            ValueError: a smaller k.
        """
        if k < 1:
            raise ValueError(f"k is {k}; accepted: a whole number from 1 up.")
        ranked = sorted(zip(self.class_names, self.scores, strict=True), key=lambda pair: -pair[1])
        return ranked[:k]


def predict_videos(
    recognizer: LoadedRecognizer,
    sources: Sequence[str],
    *,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
) -> Iterator[Prediction | Failure]:
    """`predictions_as_completed` in the order given: a result waits for that of an earlier, longer video."""
    return in_order(
        predictions_as_completed(
            recognizer, sources, batch_frames=batch_frames, decode_threads=decode_threads, device=device
        )
    )


def predictions_as_completed(
    recognizer: LoadedRecognizer,
    sources: Sequence[str],
    *,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
) -> Iterator[tuple[int, Prediction | Failure]]:
    """Label videos: each one's position and result; a video that cannot be read is a `Failure`, and the rest is done.

    Args:
        recognizer: on `device`.
        sources: paths of video files.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        device: where the recognizer is.
    """
    return read_videos(
        recognizer,
        sources,
        lambda source: _VideoPrediction(source, recognizer, device),
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
    )


class _VideoPrediction:
    """The prediction of one video, from its features as they come."""

    def __init__(self, source: str, recognizer: LoadedRecognizer, device: torch.device) -> None:
        self._source = source
        self._scorer = WindowScorer(recognizer, device)

    def push(self, features: Tensor) -> None:
        self._scorer.push(features)

    def finish(self, duration_seconds: float, damage: str | None) -> Prediction:
        return Prediction(
            source=self._source,
            scores=tuple(self._scorer.finish().tolist()),
            class_names=tuple(self._scorer.class_names),
            duration_seconds=duration_seconds,
            windows=self._scorer.windows,
            damage=damage,
        )
