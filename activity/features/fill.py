"""Fill the feature store for the clips of a data set: what is stored already is not decoded again."""

import random
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.digests import video_digests
from activity.features.extract import EncodeRows, FeatureChunk, VideoEnd, extract_features
from activity.features.spans import no_frames, warn_of_short_span
from activity.features.spool import Spool
from activity.features.store import Entry, FeatureKey, FeatureStore, StoreWarning
from activity.features.views import PLAIN, View
from activity.features.wanted import ClipKey, Filling, Wanted, fillings_of, wanted_features
from activity.models.encoder import FrameEncoder
from activity.video.reader import VideoError, VideoWarning

_SAVE_SECONDS = 10.0  # what is lost at most where checking a large store for the first time is stopped


@dataclass(frozen=True)
class StoredView:
    """A view of a clip: where its features are, and how many, T."""

    key: FeatureKey
    length: int


@dataclass(frozen=True)
class StoredClip:
    """A clip whose features are in the store.

    Attributes:
        clip: the clip.
        key: where its features are.
        length: how many there are, T.
        views: those of its other views, where they were asked for.
        video_seconds: the duration of its video, where that ends within the clip's span; 0 for one frame.
        damage: what was missing of its video where that ends within the clip's span, or None.
    """

    clip: Clip
    key: FeatureKey
    length: int
    views: tuple[StoredView, ...] = ()
    video_seconds: float | None = None
    damage: str | None = None


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


@dataclass(frozen=True)
class CheckProgress:
    """How far looking is what is there: `done` of `total`, of videos or of stored features (`what`)."""

    what: str
    done: int
    total: int


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

    A video with several clips is decoded once for each rate among its views. Videos come in a random order: the time
    left is then well guessed, and two processes that fill one store rarely meet at the same video.
    A clip's features are the same bit for bit, whatever else is encoded in the same run (on the same machine, with the
    same `batch_frames`): all batches are of one size.

    Args:
        store: what to fill.
        clips: the clips.
        encoder: is moved to `device`.
        sample_fps: sampled frames a second.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        device: where to encode.
        on_progress: called as work goes on, in this thread.
        digests: of `video_digests`, where they have been asked for already.
        views_of: the views of a clip, the plain one first.
        on_keys: called once, before any work, with all keys that will be read.
        on_check: called in this thread as videos are read to know them again, and then stored features to know that
            they are sound; what has not changed since it was read last is not read again.

    Returns:
        The clips with features and those without, each in the order of `clips`; every clip is in one of the two. A
        further view that shows no sampled frame (of a very short span, say) is left out.

    Raises:
        StoreError: the store cannot be written.
    """
    if digests is None:
        digests = digests_of_clips(clips, store, on_check)
    wanted, failed = wanted_features(clips, encoder, digests, sample_fps=sample_fps, views_of=views_of)
    state = _State(store, clips, failed, sample_fps, on_progress)
    on_keys([item.key for item in wanted])
    missing = state.take_stored(wanted, on_check)
    fillings = fillings_of(missing)
    random.Random().shuffle(fillings)
    if fillings:
        _prepare(store)
    results = extract_features(
        constant_batches(encoder.to(device), batch_frames),
        [filling.request() for filling in fillings],
        motion="motion" in encoder.modalities,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
        still_wanted=lambda number: state.still_wanted(fillings[number]),
    )
    _store(results, fillings, state, encoder.feature_size)
    return state.outcome(wanted)


def _store(
    results: Generator[FeatureChunk | VideoEnd, None, None], fillings: Sequence[Filling], state: "_State", size: int
) -> None:
    """Store features of size D as they come."""
    try:
        for result in results:
            filling = fillings[result.video]
            if isinstance(result, FeatureChunk):
                state.add(filling, result, size)
            else:
                state.finish(filling, result, size)
    finally:  # a full disk, Ctrl-C: what is half done is let go
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


class _State:
    """What is stored by now, what has failed, and how far it is."""

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[Clip],
        failed: Mapping[ClipKey, str],
        sample_fps: float,
        on_progress: Callable[[FillProgress], None],
    ) -> None:
        self.failed = {clip.key: FailedClip(clip, failed[clip.key]) for clip in clips if clip.key in failed}
        self._store = store
        self._clips = clips
        self._sample_fps = sample_fps
        self._on_progress = on_progress
        self._entries: dict[str, Entry] = {}
        self._damaged: set[str] = set()
        self._left: Counter[ClipKey] = Counter()  # views of a clip that are still to be computed
        self._stored = self._frames = self._open = 0

    def take_stored(self, wanted: Sequence[Wanted], on_check: Callable[[CheckProgress], None]) -> list[Wanted]:
        """Look up what is stored; returns what is not. Said of the stored: what was said when they were computed."""
        missing: list[Wanted] = []
        for item, entry in zip(wanted, _stored(self._store, wanted, on_check), strict=True):
            name = item.key.name()
            if entry is not None:
                self._entries[name] = entry
                if item.view == PLAIN:
                    _warn_of_what_is_known(item.clip, entry)
                continue
            self._left[item.clip.key] += 1
            if self._store.path(item.key).exists():
                self._damaged.add(name)
            missing.append(item)
        self._open = len(self._left)
        self._stored = len(self._clips) - self._open - len(self.failed)
        self._report()
        return missing

    def still_wanted(self, filling: Filling) -> bool:
        """Whether another process has not stored all of it meanwhile."""
        names = [(item.key.name(), self._store.path(item.key)) for item in filling.wanted]
        return any(name in self._damaged or not path.exists() for name, path in names)

    def add(self, filling: Filling, chunk: FeatureChunk, size: int) -> None:
        """Features have come."""
        with self._store.writing():
            if not filling.rows:
                filling.rows = [Spool(self._store.root, size) for _ in filling.views]
            filling.rows[chunk.view].add(chunk)
        self._frames += len(chunk.indices)
        self._report()

    def finish(self, filling: Filling, end: VideoEnd, size: int) -> None:
        """A video is done: store what came of it."""
        for item in filling.wanted:
            if end.skipped:
                self._take_others(item)
            elif end.error is not None:
                self.failed[item.clip.key] = FailedClip(item.clip, str(end.error))
            else:
                self._keep(item, filling, end, size)
            self._left[item.clip.key] -= 1
            self._open -= not self._left[item.clip.key]
        filling.let_go()
        self._report()

    def outcome(self, wanted: Sequence[Wanted]) -> tuple[list[StoredClip], list[FailedClip]]:
        """The clips with features and those without, in the order given."""
        by_clip: dict[ClipKey, list[StoredView]] = {}
        for item in wanted:
            entry = self._entries.get(item.key.name())
            if entry is not None and entry.length:
                by_clip.setdefault(item.clip.key, []).append(StoredView(item.key, entry.length))
        good = []
        for clip in self._clips:
            if clip.key not in self.failed:
                plain, *others = by_clip[clip.key]
                entry = self._entries[plain.key.name()]
                good.append(
                    StoredClip(clip, plain.key, plain.length, tuple(others), entry.duration_seconds, entry.damage)
                )
        return good, [self.failed[clip.key] for clip in self._clips if clip.key in self.failed]

    def _keep(self, item: Wanted, filling: Filling, end: VideoEnd, size: int) -> None:
        rows = filling.rows[filling.views.index(item.view)].between(item.span) if filling.rows else ()
        if len(rows) or item.view != PLAIN:  # that a view shows nothing is stored: its video need not be read again
            entry = _entry(item, len(rows), end)
            self._store.write_blocks(item.key, entry, size, rows)
            self._entries[item.key.name()] = entry
        if item.view != PLAIN:
            return
        if len(rows):
            warn_of_short_span(item.clip, end.duration_seconds)
        else:
            error = no_frames(item.clip, end.duration_seconds, self._sample_fps)
            self.failed[item.clip.key] = FailedClip(item.clip, error)

    def _take_others(self, item: Wanted) -> None:
        """What another process has stored meanwhile."""
        entry = self._store.find(item.key)
        if entry is not None:
            self._entries[item.key.name()] = entry
            if item.view == PLAIN:
                _warn_of_what_is_known(item.clip, entry)
        elif item.view == PLAIN:
            path = self._store.path(item.key)
            error = f"{item.clip.name}: its features in {path} were removed or damaged meanwhile. Start again."
            self.failed[item.clip.key] = FailedClip(item.clip, error)

    def _report(self) -> None:
        self._on_progress(FillProgress(len(self._clips), len(self._clips) - self._open, self._stored, self._frames))


def _entry(item: Wanted, length: int, end: VideoEnd) -> Entry:
    """What to say of a clip's features: what a pass over this clip alone would find, whatever else it was read for."""
    return Entry(length, end.duration_seconds, end.damage) if end.is_within(item.span) else Entry(length)


def _stored(
    store: FeatureStore, wanted: Sequence[Wanted], on_check: Callable[[CheckProgress], None]
) -> list[Entry | None]:
    """What is stored of it, and sound."""
    checked, found = store.checked_entries(), list[Entry | None]()
    pool = ThreadPoolExecutor()
    try:
        for entry in pool.map(lambda item: store.find(item.key, checked=checked), wanted):
            found.append(entry)
            on_check(CheckProgress("stored features", len(found), len(wanted)))
            checked.save(at_most_every=_SAVE_SECONDS)
    finally:  # Ctrl-C: what is not begun is not waited for, and what is done is not done again
        pool.shutdown(cancel_futures=True)
        checked.save()
    return found


def _prepare(store: FeatureStore) -> None:
    """Before anything is written."""
    with store.writing():
        store.root.mkdir(parents=True, exist_ok=True)
    store.sweep()
    if old := store.other_versions():
        warnings.warn(
            f"{store.root} holds features that another version of activity stored ({old[0].name} and so on); they are "
            "of no use to this one and are computed again. activity extract --prune removes them.",
            StoreWarning,
            stacklevel=3,
        )


def constant_batches(encoder: FrameEncoder, batch_frames: int) -> EncodeRows:
    """The encoder with every batch filled up to one size: another size may round otherwise in the last digit."""

    def encode(frames: Sequence[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        missing = batch_frames - len(rows)
        if missing:
            rows = torch.cat([rows, rows[-1:].expand(missing)])
            previous_rows = None if previous_rows is None else torch.cat([previous_rows, rows[-1:].expand(missing)])
        return encoder.encode_rows(frames, rows, previous_rows)[: len(rows) - missing]

    return encode


def _warn_of_what_is_known(clip: Clip, entry: Entry) -> None:
    """Say of stored features what was said when they were computed."""
    if entry.damage is not None:
        warnings.warn(f"{clip.path}: {entry.damage}.", VideoWarning, stacklevel=2)
    warn_of_short_span(clip, entry.duration_seconds)
