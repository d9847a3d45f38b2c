"""Scores of labelled clips: from stored features, or from the videos themselves."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.extract import FeatureChunk, VideoRequest, encode_by, extract_features
from activity.features.fill import FailedClip, FillProgress, StoredClip
from activity.features.store import FeatureStore
from activity.inference.predictor import WindowScorer
from activity.models.recognizer import LoadedRecognizer

_FEATURES_AT_ONCE = 1024


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
    spans = {clip.key: clip.sampled_indices(recognizer.sample_fps) for clip in clips}
    videos = list(by_path.values())
    scorers = {clip.key: WindowScorer(recognizer, device) for clip in clips}
    scores: dict[tuple[str, float, float], Tensor] = {}
    failed: dict[tuple[str, float, float], FailedClip] = {}
    frames = 0
    on_progress(FillProgress(len(clips), 0, 0, 0))
    for result in extract_features(
        encode_by(recognizer.encode),
        [VideoRequest(own[0].path, tuple(spans[clip.key] for clip in own), recognizer.sample_fps) for own in videos],
        motion="motion" in recognizer.modalities,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
    ):
        for clip in videos[result.video]:
            scorer = scorers[clip.key]
            if isinstance(result, FeatureChunk):
                rows = [row for row, index in enumerate(result.indices) if index in spans[clip.key]]
                if rows:
                    scorer.push(result.features[rows])
            elif result.error is None and scorer.features:
                scores[clip.key] = scorer.finish()
            else:
                failed[clip.key] = FailedClip(clip, str(result.error or _no_frames(clip, recognizer.sample_fps)))
        frames += len(result.indices) if isinstance(result, FeatureChunk) else 0
        on_progress(FillProgress(len(clips), len(scores) + len(failed), 0, frames))
    good = [clip for clip in clips if clip.key in scores]
    return good, [scores[clip.key] for clip in good], [failed[clip.key] for clip in clips if clip.key in failed]


def _no_frames(clip: Clip, sample_fps: float) -> str:
    return (
        f"{clip.name}: the span from {clip.start_seconds:g} s holds no sampled frame at {sample_fps:g} frames/s, or "
        "begins after the video ends. Correct the span."
    )
