"""What comes of filling the store: the clips with features, those without, and how far it is."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from activity.data.clips import Clip
from activity.features.extract import FeatureChunk, VideoEnd
from activity.features.spans import no_frames, warn_of_short_span
from activity.features.spool import Spool
from activity.features.store import Entry, FeatureKey, FeatureStore
from activity.features.views import PLAIN
from activity.features.wanted import ClipKey, Filling, Wanted
from activity.video.errors import VideoWarning

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


class FillState:
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


def _entry(item: Wanted, length: int, end: VideoEnd) -> Entry:
    """What to say of a clip's features: what a pass over this clip alone would find, whatever else it was read for."""
    return Entry(length, end.duration_seconds, end.damage) if end.is_within(item.span) else Entry(length)


def _warn_of_what_is_known(clip: Clip, entry: Entry) -> None:
    """Say of stored features what was said when they were computed."""
    if entry.damage is not None:
        warnings.warn(f"{clip.path}: {entry.damage}.", VideoWarning, stacklevel=2)
    warn_of_short_span(clip, entry.duration_seconds)
