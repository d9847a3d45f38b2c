"""Scores of labelled clips: from stored features, or from the videos themselves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.batches import beside_encoding
from activity.features.extract import FeatureChunk, VideoEnd, VideoRequest, extract_features
from activity.features.outcome import FailedClip, FillProgress, StoredClip
from activity.features.spans import no_frames, warn_of_short_span
from activity.features.store import FeatureStore
from activity.inference.windows import WindowScorer
from activity.models.recognizer import LoadedRecognizer

_FEATURES_AT_ONCE = 1024
_Key = tuple[str, float, float]  # of a clip


@dataclass(frozen=True, eq=False)
class ScoredClip:
    """A clip with its scores, `float64 (C,)`; `video_seconds` and `damage` as `StoredClip` has them."""

    clip: Clip
    scores: Tensor
    video_seconds: float | None
    damage: str | None


def score_stored(
    recognizer: LoadedRecognizer, store: FeatureStore, clip: StoredClip, *, device: torch.device
) -> ScoredClip:
    """A clip whose features are in the store, with its scores as `predict` gives them."""
    scorer = WindowScorer(recognizer, device)
    for start in range(0, clip.length, _FEATURES_AT_ONCE):
        scorer.push(store.read(clip.key, start, min(clip.length, start + _FEATURES_AT_ONCE)))
    return ScoredClip(clip.clip, scorer.finish(), clip.video_seconds, clip.damage)


def score_videos(
    recognizer: LoadedRecognizer,
    clips: Sequence[Clip],
    *,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    on_progress: Callable[[FillProgress], None],
) -> tuple[list[ScoredClip], list[FailedClip]]:
    """Score clips without a store; a video with several clips is decoded once.

    Returns the clips that could be read, and those that failed, each in the order of `clips`.
    """
    by_path: dict[Path, list[Clip]] = {}
    for clip in clips:
        by_path.setdefault(clip.path, []).append(clip)
    videos = [_Video(own, recognizer, device) for own in by_path.values()]
    scored: dict[_Key, ScoredClip] = {}
    failed: dict[_Key, FailedClip] = {}
    frames = 0
    on_progress(FillProgress(len(clips), 0, 0, 0))
    for result in extract_features(
        recognizer.encode_rows,
        [video.request() for video in videos],
        motion="motion" in recognizer.modalities,
        rgb_every=recognizer.rgb_every,
        square_pixels=recognizer.square_pixels,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
    ):
        if isinstance(result, FeatureChunk):
            with beside_encoding():
                videos[result.video].push(result)
            frames += len(result.indices)
        else:
            with beside_encoding():
                outcomes = list(videos[result.video].finish(result))
            for outcome in outcomes:
                if isinstance(outcome, FailedClip):
                    failed[outcome.clip.key] = outcome
                else:
                    scored[outcome.clip.key] = outcome
        on_progress(FillProgress(len(clips), len(scored) + len(failed), 0, frames))
    good = [scored[clip.key] for clip in clips if clip.key in scored]
    return good, [failed[clip.key] for clip in clips if clip.key in failed]


class _Video:
    """The clips of one video; what is remembered of them is let go when the video ends."""

    def __init__(self, clips: Sequence[Clip], recognizer: LoadedRecognizer, device: torch.device) -> None:
        self._clips = clips
        self._recognizer = recognizer
        self._device = device
        self._spans = tuple(clip.sampled_indices(recognizer.sample_fps) for clip in clips)
        self._scorers: dict[_Key, WindowScorer] = {}

    def request(self) -> VideoRequest:
        return VideoRequest(self._clips[0].path, self._spans, self._recognizer.sample_fps)

    def push(self, chunk: FeatureChunk) -> None:
        """The next features of the video go to the clips that they are of."""
        first, last = chunk.indices[0], chunk.indices[-1]  # they ascend
        for clip, span in zip(self._clips, self._spans, strict=True):
            if span.start > last or span.stop <= first:  # most, if a long video has thousands
                continue
            rows = [row for row, index in enumerate(chunk.indices) if index in span]
            if rows:
                if clip.key not in self._scorers:
                    self._scorers[clip.key] = WindowScorer(self._recognizer, self._device)
                self._scorers[clip.key].push(chunk.features[rows])

    def finish(self, end: VideoEnd) -> Iterator[ScoredClip | FailedClip]:
        """The scores of each clip, or why it has none."""
        for clip, span in zip(self._clips, self._spans, strict=True):
            scorer = self._scorers.pop(clip.key, None)
            fps = self._recognizer.sample_fps
            if end.error is not None or scorer is None:
                yield FailedClip(clip, str(end.error or no_frames(clip, end.duration_seconds, fps)))
                continue
            warn_of_short_span(clip, end.duration_seconds)
            if end.is_within(span):
                yield ScoredClip(clip, scorer.finish(), end.duration_seconds, end.damage)
            else:
                yield ScoredClip(clip, scorer.finish(), None, None)
