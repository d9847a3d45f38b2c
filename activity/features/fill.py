"""Fill the feature store for the clips of a data set: what is stored already is not decoded again."""

import bisect
import random
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.digests import video_digests
from activity.features.extract import EncodeRows, FeatureChunk, VideoEnd, VideoRequest, extract_features
from activity.features.store import Entry, FeatureKey, FeatureStore, StoreWarning
from activity.features.views import PLAIN, View
from activity.models.encoder import FrameEncoder
from activity.video.reader import VideoError, VideoWarning

_SPOOLED_BYTES = 8 << 20  # of each video being read; beyond that its features wait on the disk
_BLOCK_ROWS = 256


class FillWarning(UserWarning):
    """A clip whose features are not all that its span promised."""


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
        single_frame: its video has one frame only.
        damage: what was missing of its video, or None.
    """

    clip: Clip
    key: FeatureKey
    length: int
    views: tuple[StoredView, ...] = ()
    single_frame: bool = False
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
class _Wanted:
    """The features of one view of a clip: sampled frames `span` of the view's own grid."""

    clip: Clip
    view: View
    key: FeatureKey
    span: range


@dataclass
class _Filling:
    """What is wanted of one video at one rate, and the features that have come so far, by view."""

    path: Path
    spans: tuple[range, ...]
    sample_fps: float
    wanted: list[_Wanted]
    views: tuple[View, ...]
    rows: list["_Spool"] = field(default_factory=list)

    def request(self) -> VideoRequest:
        return VideoRequest(self.path, self.spans, self.sample_fps, self.views)

    def let_go(self) -> None:
        """Give up the features that have come."""
        for spool in self.rows:
            spool.close()
        self.rows = []


class _Spool:
    """Features of one view of a video, in order; on disk where there are many."""

    def __init__(self, folder: Path, size: int) -> None:
        self.indices: list[int] = []
        self._row_bytes = 4 * size
        self._file: Any = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, dir=str(folder))  # noqa: SIM115 - closed in `close`

    def add(self, chunk: FeatureChunk) -> None:
        self.indices += chunk.indices
        self._file.seek(0, 2)
        self._file.write(chunk.features.contiguous().numpy().tobytes())

    def between(self, span: range) -> "_Rows":
        return _Rows(self, bisect.bisect_left(self.indices, span.start), bisect.bisect_left(self.indices, span.stop))

    def read(self, start: int, stop: int) -> bytes:
        self._file.seek(start * self._row_bytes)
        data: bytes = self._file.read((stop - start) * self._row_bytes)
        return data

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class _Rows:
    """Rows start to stop of a spool, as blocks of bytes."""

    spool: _Spool
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[bytes]:
        for row in range(self.start, self.stop, _BLOCK_ROWS):
            yield self.spool.read(row, min(row + _BLOCK_ROWS, self.stop))


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
    views_of: Callable[[Clip], Sequence[View]] = plain_only,
    on_keys: Callable[[list[FeatureKey]], None] = lambda _: None,
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
        views_of: the views of a clip, the plain one first.
        on_keys: called once, before any work, with all keys that will be read.

    Returns:
        The clips with features and those without, each in the order of `clips`; every clip is in one of the two. A
        further view that shows no sampled frame (of a very short span, say) is left out.

    Raises:
        StoreError: the store cannot be written.
    """
    state = _State(store, clips, sample_fps, on_progress)
    wanted = _wanted(clips, encoder, sample_fps, views_of, store, state.failed)
    on_keys([item.key for item in wanted])
    missing = state.take_stored(wanted)
    fillings = _fillings(missing)
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
    try:
        for result in results:
            filling = fillings[result.video]
            if isinstance(result, FeatureChunk):
                state.add(filling, result, encoder.feature_size)
            else:
                state.finish(filling, result, encoder.feature_size)
    finally:  # a full disk, Ctrl-C: what is half done is let go
        results.close()
        for filling in fillings:
            filling.let_go()
    return state.outcome(wanted)


class _State:
    """What is stored by now, what has failed, and how far it is."""

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[Clip],
        sample_fps: float,
        on_progress: Callable[[FillProgress], None],
    ) -> None:
        self.failed: dict[tuple[str, float, float], FailedClip] = {}
        self._store = store
        self._clips = clips
        self._sample_fps = sample_fps
        self._on_progress = on_progress
        self._entries: dict[str, Entry] = {}
        self._damaged: set[str] = set()
        self._left: Counter[tuple[str, float, float]] = Counter()  # views of a clip that are still to be computed
        self._stored = self._frames = self._open = 0

    def take_stored(self, wanted: Sequence[_Wanted]) -> list[_Wanted]:
        """Look up what is stored; returns what is not. Said of the stored: what was said when they were computed."""
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda item: self._store.find(item.key), wanted))
        missing: list[_Wanted] = []
        for item, entry in zip(wanted, found, strict=True):
            name = item.key.name()
            if entry is not None:
                self._entries[name] = entry
                if item.view == PLAIN:
                    _warn_of_what_is_known(item.clip, entry, self._sample_fps)
                continue
            self._left[item.clip.key] += 1
            if self._store.path(item.key).exists():
                self._damaged.add(name)
            missing.append(item)
        self._open = len(self._left)
        self._stored = len(self._clips) - self._open - len(self.failed)
        self._report()
        return missing

    def still_wanted(self, filling: _Filling) -> bool:
        """Whether another process has not stored all of it meanwhile."""
        names = [(item.key.name(), self._store.path(item.key)) for item in filling.wanted]
        return any(name in self._damaged or not path.exists() for name, path in names)

    def add(self, filling: _Filling, chunk: FeatureChunk, size: int) -> None:
        """Features have come."""
        with self._store.writing():
            if not filling.rows:
                filling.rows = [_Spool(self._store.root, size) for _ in filling.views]
            filling.rows[chunk.view].add(chunk)
        self._frames += len(chunk.indices)
        self._report()

    def finish(self, filling: _Filling, end: VideoEnd, size: int) -> None:
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

    def outcome(self, wanted: Sequence[_Wanted]) -> tuple[list[StoredClip], list[FailedClip]]:
        """The clips with features and those without, in the order given."""
        by_clip: dict[tuple[str, float, float], list[StoredView]] = {}
        for item in wanted:
            entry = self._entries.get(item.key.name())
            if entry is not None:
                by_clip.setdefault(item.clip.key, []).append(StoredView(item.key, entry.length))
        good = []
        for clip in self._clips:
            if clip.key not in self.failed:
                plain, *others = by_clip[clip.key]
                entry = self._entries[plain.key.name()]
                # A second frame, even one after the span, has given the video a duration.
                single_frame = entry.duration_seconds == 0
                good.append(StoredClip(clip, plain.key, plain.length, tuple(others), single_frame, entry.damage))
        return good, [self.failed[clip.key] for clip in self._clips if clip.key in self.failed]

    def _keep(self, item: _Wanted, filling: _Filling, end: VideoEnd, size: int) -> None:
        rows = filling.rows[filling.views.index(item.view)].between(item.span) if filling.rows else ()
        if len(rows):
            entry = Entry(len(rows), end.duration_seconds, end.damage)
            self._store.write_blocks(item.key, entry, size, rows)
            self._entries[item.key.name()] = entry
        if item.view != PLAIN:
            return
        if len(rows):
            _warn_of_short_span(item.clip, end.duration_seconds, self._sample_fps)
        else:
            error = _no_frames(item.clip, end.duration_seconds, self._sample_fps)
            self.failed[item.clip.key] = FailedClip(item.clip, error)

    def _take_others(self, item: _Wanted) -> None:
        """What another process has stored meanwhile."""
        entry = self._store.find(item.key)
        if entry is not None:
            self._entries[item.key.name()] = entry
            if item.view == PLAIN:
                _warn_of_what_is_known(item.clip, entry, self._sample_fps)
        elif item.view == PLAIN:
            path = self._store.path(item.key)
            error = f"{item.clip.name}: its features in {path} were removed or damaged meanwhile. Start again."
            self.failed[item.clip.key] = FailedClip(item.clip, error)

    def _report(self) -> None:
        self._on_progress(FillProgress(len(self._clips), len(self._clips) - self._open, self._stored, self._frames))


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

    def encode(frames: Tensor, rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        missing = batch_frames - len(rows)
        if missing:
            rows = torch.cat([rows, rows[-1:].expand(missing)])
            previous_rows = None if previous_rows is None else torch.cat([previous_rows, rows[-1:].expand(missing)])
        return encoder.encode_rows(frames, rows, previous_rows)[: len(rows) - missing]

    return encode


def _wanted(
    clips: Sequence[Clip],
    encoder: FrameEncoder,
    sample_fps: float,
    views_of: Callable[[Clip], Sequence[View]],
    store: FeatureStore,
    failed: dict[tuple[str, float, float], FailedClip],
) -> list[_Wanted]:
    """Each view of each clip with its key; a clip whose file cannot be read goes to `failed`."""
    digests = video_digests(sorted({clip.path for clip in clips}), store.root)
    description, weights = encoder.describe(), encoder.weights_hash()
    described: dict[View, dict[str, Any]] = {}  # one object for all keys
    wanted = []
    for clip in clips:
        digest = digests[clip.path]
        if isinstance(digest, VideoError):
            failed[clip.key] = FailedClip(clip, str(digest))
            continue
        for view in views_of(clip):
            span = clip.sampled_indices(view.sampled(sample_fps))
            key = FeatureKey(
                content=digest,
                span=(span.start, -1 if clip.end_seconds is None else span.stop),
                sample_fps=float(sample_fps),
                encoder=description,
                weights=weights,
                view=described.setdefault(view, view.describe()),
            )
            wanted.append(_Wanted(clip, view, key, span))
    return wanted


def _fillings(missing: Sequence[_Wanted]) -> list[_Filling]:
    """One for each video and rate, or several where its views are wanted of different spans."""
    by_view: dict[tuple[Path, View], list[_Wanted]] = {}
    for item in missing:
        by_view.setdefault((item.clip.path, item.view), []).append(item)
    groups: dict[tuple[Path, float, tuple[range, ...]], list[_Wanted]] = {}
    for (path, view), own in by_view.items():
        groups.setdefault((path, view.rate, tuple(item.span for item in own)), []).extend(own)
    return [
        _Filling(path, spans, own[0].key.sample_fps / rate, own, tuple(dict.fromkeys(item.view for item in own)))
        for (path, rate, spans), own in groups.items()
    ]


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


def _warn_of_what_is_known(clip: Clip, entry: Entry, sample_fps: float) -> None:
    """Say of stored features what was said when they were computed."""
    if entry.damage is not None:
        warnings.warn(f"{clip.path}: {entry.damage}.", VideoWarning, stacklevel=2)
    _warn_of_short_span(clip, entry.duration_seconds, sample_fps)


def _warn_of_short_span(clip: Clip, duration_seconds: float, sample_fps: float) -> None:
    # One sampled frame's time is the precision that anything here has.
    if clip.end_seconds is not None and clip.end_seconds > duration_seconds + 1.0 / sample_fps:
        warnings.warn(
            f"{clip.name}: the span ends at {clip.end_seconds:g} s but the video at {duration_seconds:.2f} s; "
            "what there is was used. Correct the span.",
            FillWarning,
            stacklevel=2,
        )
