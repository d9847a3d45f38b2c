"""Fill the feature store for the clips of a data set: what is stored already is not decoded again."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.extract import FeatureChunk, VideoEnd, VideoRequest, extract_features
from activity.features.store import FeatureKey, FeatureStore, video_digest
from activity.models.encoder import FrameEncoder
from activity.video.reader import VideoError
from activity.video.sampling import first_index_at_or_after, grid_range


class FillWarning(UserWarning):
    """A clip whose features are not all that its span promised."""


@dataclass(frozen=True)
class StoredClip:
    """A clip whose features are in the store.

    Attributes:
        clip: the clip.
        key: where its features are.
        length: how many there are, T.
    """

    clip: Clip
    key: FeatureKey
    length: int


@dataclass(frozen=True)
class FailedClip:
    """A clip without features, and why."""

    clip: Clip
    error: str


@dataclass(frozen=True)
class FillProgress:
    """How far filling is: clips done of `clips`, frames encoded by now, `stored` clips that needed no work."""

    clips: int
    done: int
    stored: int
    frames: int


@dataclass
class _Filling:
    """The clips of one video that are being filled, and the features that have come so far."""

    clips: list[tuple[Clip, FeatureKey, range]]
    indices: list[int] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)


def fill_store(
    store: FeatureStore,
    clips: Sequence[Clip],
    encoder: FrameEncoder,
    *,
    sample_fps: float,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    on_progress: Callable[[FillProgress], None],
) -> tuple[list[StoredClip], list[FailedClip]]:
    """Compute and store the features of all clips that are not stored yet.

    A video with several clips is decoded once. Returns the clips with features and those without, each in the
    order of `clips`; every clip is in one of the two.

    Raises:
        OSError: the store cannot be written.
    """
    failed: dict[tuple[str, float, float], FailedClip] = {}
    keys = _keys(clips, encoder, sample_fps, failed)
    missing = [clip for clip in clips if clip.key in keys and keys[clip.key] not in store]
    stored = len(keys) - len(missing)
    frames, done = 0, len(clips) - len(missing)
    on_progress(FillProgress(len(clips), done, stored, frames))
    fillings = _by_video(missing, keys, sample_fps)
    for result in _extract(fillings, encoder, sample_fps, batch_frames, decode_threads, device):
        filling = fillings[result.video]
        if isinstance(result, FeatureChunk):
            filling.indices += result.indices
            filling.features.append(result.features)
            frames += len(result.indices)
            on_progress(FillProgress(len(clips), done, stored, frames))
            continue
        failed.update({item.clip.key: item for item in _finish(store, filling, result, sample_fps)})
        done += len(filling.clips)
        fillings[result.video] = _Filling([])  # lets its features go
        on_progress(FillProgress(len(clips), done, stored, frames))
    good = [StoredClip(clip, keys[clip.key], store.length(keys[clip.key])) for clip in clips if clip.key not in failed]
    return good, [failed[clip.key] for clip in clips if clip.key in failed]


def _keys(
    clips: Sequence[Clip],
    encoder: FrameEncoder,
    sample_fps: float,
    failed: dict[tuple[str, float, float], FailedClip],
) -> dict[tuple[str, float, float], FeatureKey]:
    """Each clip's key; a clip whose file cannot be read goes to `failed`."""
    paths = sorted({clip.path for clip in clips})
    with ThreadPoolExecutor() as pool:
        digests = dict(zip(paths, pool.map(_digest_or_error, paths), strict=True))
    description, weights = encoder.describe(), encoder.weights_hash()
    keys = {}
    for clip in clips:
        digest = digests[clip.path]
        if isinstance(digest, VideoError):
            failed[clip.key] = FailedClip(clip, str(digest))
            continue
        span = _span(clip, sample_fps)
        keys[clip.key] = FeatureKey(
            content=digest,
            span=(span.start, -1 if clip.end_seconds is None else span.stop),
            sample_fps=float(sample_fps),
            encoder=description,
            weights=weights,
        )
    return keys


def _digest_or_error(path: Path) -> str | VideoError:
    try:
        return video_digest(path)
    except OSError as error:
        return VideoError(str(path), f"it cannot be read ({error.strerror})", "check the path")


def _span(clip: Clip, sample_fps: float) -> range:
    if clip.end_seconds is None:
        return range(first_index_at_or_after(clip.start_seconds, sample_fps), sys.maxsize)
    return grid_range(clip.start_seconds, clip.end_seconds, sample_fps)


def _by_video(
    clips: Sequence[Clip], keys: dict[tuple[str, float, float], FeatureKey], sample_fps: float
) -> list[_Filling]:
    by_path: dict[Path, _Filling] = {}
    for clip in clips:
        filling = by_path.setdefault(clip.path, _Filling([]))
        filling.clips.append((clip, keys[clip.key], _span(clip, sample_fps)))
    return list(by_path.values())


def _extract(
    fillings: list[_Filling],
    encoder: FrameEncoder,
    sample_fps: float,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
) -> Iterator[FeatureChunk | VideoEnd]:
    requests = [
        VideoRequest(filling.clips[0][0].path, tuple(span for _, _, span in filling.clips)) for filling in fillings
    ]
    return extract_features(
        encoder.to(device),
        requests,
        sample_fps=sample_fps,
        motion="motion" in encoder.modalities,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
    )


def _finish(store: FeatureStore, filling: _Filling, end: VideoEnd, sample_fps: float) -> Iterator[FailedClip]:
    """Store each clip of a video that is done; yields those that got nothing."""
    features = torch.cat(filling.features) if filling.features else torch.empty(0, 0)
    indices = torch.tensor(filling.indices, dtype=torch.int64)
    for clip, key, span in filling.clips:
        own = features[(indices >= span.start) & (indices < span.stop)]
        if end.error is not None:
            yield FailedClip(clip, str(end.error))
        elif not len(own):
            yield FailedClip(clip, _no_frames(clip, end.duration_seconds, sample_fps))
        else:
            _warn_of_short_span(clip, end.duration_seconds, sample_fps)
            store.write(key, own)


def _no_frames(clip: Clip, duration_seconds: float, sample_fps: float) -> str:
    end = "its end" if clip.end_seconds is None else f"{clip.end_seconds:g} s"
    if clip.start_seconds >= duration_seconds:
        return (
            f"{clip.name}: the span {clip.start_seconds:g} s to {end} begins after the video ends "
            f"({duration_seconds:.2f} s). Correct the span."
        )
    return (
        f"{clip.name}: the span {clip.start_seconds:g} s to {end} holds no sampled frame at {sample_fps:g} frames/s; "
        "give a longer span or a higher sampling.sample_fps."
    )


def _warn_of_short_span(clip: Clip, duration_seconds: float, sample_fps: float) -> None:
    # One sampled frame's time is the precision that anything here has.
    if clip.end_seconds is not None and clip.end_seconds > duration_seconds + 1.0 / sample_fps:
        warnings.warn(
            f"{clip.name}: the span ends at {clip.end_seconds:g} s but the video at {duration_seconds:.2f} s; "
            "what there is was used. Correct the span.",
            FillWarning,
            stacklevel=2,
        )
