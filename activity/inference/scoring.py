"""Scores of labelled clips: from stored features, or from the videos themselves."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.extract import FeatureChunk, VideoEnd, VideoRequest, encode_by, extract_features
from activity.features.fill import FailedClip, FillProgress, StoredClip
from activity.features.spans import no_frames, warn_of_short_span
from activity.features.store import FeatureStore
from activity.inference.windows import WindowScorer
from activity.models.recognizer import LoadedRecognizer

_FEATURES_AT_ONCE = 1024
_Key = tuple[str, float, float]  # of a clip


def score_stored(
    recognizer: LoadedRecognizer, store: FeatureStore, clip: StoredClip, *, device: torch.device
) -> Tensor:
    """Scores `float64 (C,)` of a clip whose features are in the store, as `predict` gives them."""
    scorer = WindowScorer(recognizer, device)
    for start in range(0, clip.length, _FEATURES_AT_ONCE):
        scorer.push(store.read(clip.key, start, min(clip.length, start + _FEATURES_AT_ONCE)))
    return scorer.finish()


def score_videos(
    recognizer: LoadedRecognizer,
    clips: Sequence[Clip],
    *,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    on_progress: Callable[[FillProgress], None],
) -> tuple[list[Clip], list[Tensor], list[FailedClip]]:
    """Scores `float64 (C,)` of clips without a store; a video with several clips is decoded once.

    Returns the clips that could be read, their scores, and the clips that failed, each in the order of `clips`.
    """
    by_path: dict[Path, list[Clip]] = {}
    for clip in clips:
        by_path.setdefault(clip.path, []).append(clip)
    videos = [_Video(own, recognizer, device) for own in by_path.values()]
    scores: dict[_Key, Tensor] = {}
    failed: dict[_Key, FailedClip] = {}
    frames = 0
    on_progress(FillProgress(len(clips), 0, 0, 0))
    for result in extract_features(
        encode_by(recognizer.encode),
        [video.request() for video in videos],
        motion="motion" in recognizer.modalities,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
    ):
        if isinstance(result, FeatureChunk):
            videos[result.video].push(result)
            frames += len(result.indices)
        else:
            for clip, outcome in videos[result.video].finish(result):
                if isinstance(outcome, FailedClip):
                    failed[clip.key] = outcome
                else:
                    scores[clip.key] = outcome
        on_progress(FillProgress(len(clips), len(scores) + len(failed), 0, frames))
    good = [clip for clip in clips if clip.key in scores]
    return good, [scores[clip.key] for clip in good], [failed[clip.key] for clip in clips if clip.key in failed]


class _Video:
    """The clips of one video; what is remembered of them is let go when the video ends."""

    def __init__(self, clips: Sequence[Clip], recognizer: LoadedRecognizer, device: torch.device) -> None:
        self._clips = clips
        self._recognizer = recognizer
        self._device = device
        self._scorers: dict[_Key, WindowScorer] = {}

    def request(self) -> VideoRequest:
        spans = tuple(clip.sampled_indices(self._recognizer.sample_fps) for clip in self._clips)
        return VideoRequest(self._clips[0].path, spans, self._recognizer.sample_fps)

    def push(self, chunk: FeatureChunk) -> None:
        """The next features of the video go to the clips that they are of."""
        for clip in self._clips:
            span = clip.sampled_indices(self._recognizer.sample_fps)
            rows = [row for row, index in enumerate(chunk.indices) if index in span]
            if rows:
                if clip.key not in self._scorers:
                    self._scorers[clip.key] = WindowScorer(self._recognizer, self._device)
                self._scorers[clip.key].push(chunk.features[rows])

    def finish(self, end: VideoEnd) -> Iterator[tuple[Clip, Tensor | FailedClip]]:
        """The scores of each clip, or why it has none."""
        for clip in self._clips:
            scorer = self._scorers.pop(clip.key, None)
            fps = self._recognizer.sample_fps
            if end.error is not None or scorer is None:
                yield clip, FailedClip(clip, str(end.error or no_frames(clip, end.duration_seconds, fps)))
            else:
                warn_of_short_span(clip, end.duration_seconds)
                yield clip, scorer.finish()
