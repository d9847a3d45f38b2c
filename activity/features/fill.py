"""Fill the feature store for the clips of a data set: what is stored already is not decoded again."""

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features import contents
from activity.features.digests import video_digests
from activity.features.extract import EncodeRows, FeatureChunk, extract_features
from activity.features.outcome import CheckProgress, FailedClip, FillProgress, FillState, StoredClip
from activity.features.store import FeatureKey, FeatureStore, StoreWarning
from activity.features.views import PLAIN, View
from activity.features.wanted import Filling, fillings_of, wanted_features
from activity.models.encoder import FrameEncoder
from activity.models.looks import whole_looks
from activity.video.errors import VideoError


def plain_only(clip: Clip) -> Sequence[View]:
    """The views of a clip that is not augmented."""
    return (PLAIN,)


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
    digests: Mapping[Path, str | VideoError] | None = None,
    views_of: Callable[[Clip], Sequence[View]] = plain_only,
    on_keys: Callable[[list[FeatureKey]], None] = lambda _: None,
    on_check: Callable[[CheckProgress], None] = lambda _: None,
) -> tuple[list[StoredClip], list[FailedClip]]:
    """Compute and store the features of all clips that are not stored yet.

    A video with several clips is decoded once for each rate among its views. The features of a clip are the same bit
    for bit, whatever else the run encodes, on one machine and with one `batch_frames`.

    Args:
        store: what to fill.
        clips: the clips.
        encoder: is moved to `device`.
        sample_fps: sampled frames a second.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        device: where to encode.
        on_progress: called as work goes on, in this thread.
        digests: of `video_digests`, if they are known already.
        views_of: the views of a clip, the plain one first.
        on_keys: called once with all keys that will be read, before any work.
        on_check: called in this thread while videos are read for their digests, then while stored features are
            checked. Neither is read again unless it has changed.

    Returns:
        The clips with features and those without, each in the order of `clips`; every clip is in one of the two.
        Further views without a sampled frame, of a very short span say, are left out.

    Raises:
        StoreError: the store cannot be written.
    """
    if digests is None:
        digests = digests_of_clips(clips, store, on_check)
    wanted, failed = wanted_features(clips, encoder, digests, sample_fps=sample_fps, views_of=views_of)
    state = FillState(store, clips, failed, sample_fps, on_progress)
    on_keys([item.key for item in wanted])
    fillings = fillings_of(state.take_stored(wanted, on_check))
    encoder.to(device)
    if fillings:
        _prepare(store)
        _fill(fillings, state, encoder, batch_frames=batch_frames, decode_threads=decode_threads, device=device)
    return state.outcome(wanted)


def _fill(
    fillings: list[Filling],
    state: FillState,
    encoder: FrameEncoder,
    *,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
) -> None:
    """Compute features, and store those of each video once it ends."""
    # In a random order the time left is a good guess, and two processes rarely work on the same video.
    random.Random().shuffle(fillings)
    results = extract_features(
        constant_batches(encoder, batch_frames),
        [filling.request() for filling in fillings],
        motion="motion" in encoder.modalities,
        rgb_every=encoder.rgb_every,
        square_pixels=encoder.preprocess.square_pixels,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
        still_wanted=lambda number: state.still_wanted(fillings[number]),
    )
    try:
        for result in results:
            filling = fillings[result.video]
            if isinstance(result, FeatureChunk):
                state.add(filling, result, encoder.feature_size)
            else:
                state.finish(filling, result, encoder.feature_size)
    finally:  # also after a full disk or Ctrl-C
        results.close()
        for filling in fillings:
            filling.let_go()


def digests_of_clips(
    clips: Sequence[Clip], store: FeatureStore, on_check: Callable[[CheckProgress], None]
) -> dict[Path, str | VideoError]:
    """The digest of each clip's video, or why it cannot be read; as `video_digests`."""
    return video_digests(
        sorted({clip.path for clip in clips}),
        store.root,
        on_read=lambda done, of: on_check(CheckProgress("videos", done, of)),
    )


def _prepare(store: FeatureStore) -> None:
    """Before anything is written."""
    with store.writing():
        store.root.mkdir(parents=True, exist_ok=True)
    store.sweep()
    if old := store.other_versions():
        size = sum(contents.size_of(path) for version in old for path in contents.files_of_version(version))
        warnings.warn(
            f"{store.root} holds {size / 1e6:.1f} MB of features that another version of activity stored "
            f"({old[0].name} and so on); they are of no use to this one and are computed again. "
            "activity extract --prune removes them.",
            StoreWarning,
            stacklevel=3,
        )


def constant_batches(encoder: FrameEncoder, batch_frames: int) -> EncodeRows:
    """The encoder with every batch filled up to one size: another size may round otherwise in the last digit."""
    batch_frames = whole_looks(batch_frames, encoder.rgb_every)

    def encode(frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        missing = batch_frames - len(rows)
        if missing:
            rows = torch.cat([rows, rows[-1:].expand(missing)])
            previous_rows = None if previous_rows is None else torch.cat([previous_rows, rows[-1:].expand(missing)])
        return encoder.encode_rows(frames, rows, previous_rows)[: len(rows) - missing]

    return encode
