"""What is wanted of the videos of a data set: the views of its clips, and what one pass over a video gives of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from activity.data.clips import Clip
from activity.features.extract import VideoRequest
from activity.features.spans import no_frames
from activity.features.spool import Spool
from activity.features.store import FeatureKey
from activity.features.views import View
from activity.models.encoder import FrameEncoder
from activity.video.errors import VideoError

ClipKey = tuple[str, float, float]


@dataclass(frozen=True)
class Wanted:
    """The features of one view of a clip: sampled frames `span` of the view's own grid."""

    clip: Clip
    view: View
    key: FeatureKey
    span: range


@dataclass
class Filling:
    """What is wanted of one video at one rate, and the features that have come so far, by view."""

    path: Path
    spans: tuple[range, ...]
    sample_fps: float
    wanted: list[Wanted]
    views: tuple[View, ...]
    rows: list[Spool] = field(default_factory=list)

    def request(self) -> VideoRequest:
        """What to decode."""
        return VideoRequest(self.path, self.spans, self.sample_fps, self.views)

    def let_go(self) -> None:
        """Give up the features that have come."""
        for spool in self.rows:
            spool.close()
        self.rows = []


def wanted_features(
    clips: Sequence[Clip],
    encoder: FrameEncoder,
    digests: Mapping[Path, str | VideoError],
    *,
    sample_fps: float,
    views_of: Callable[[Clip], Sequence[View]],
) -> tuple[list[Wanted], dict[ClipKey, str]]:
    """Each view of each clip with its key; and by clip why there is nothing to be wanted of it.

    A further view between whose sampled frames a very short span lies is left out.
    """
    description, weights = encoder.describe(), encoder.weights_hash()
    described: dict[View, dict[str, Any]] = {}  # one object for all keys
    wanted, failed = [], dict[ClipKey, str]()
    for clip in clips:
        digest = digests[clip.path]
        if isinstance(digest, VideoError):
            failed[clip.key] = str(digest)
            continue
        if not clip.sampled_indices(sample_fps):
            failed[clip.key] = no_frames(clip, None, sample_fps)
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
            if span:
                wanted.append(Wanted(clip, view, key, span))
    return wanted, failed


def fillings_of(missing: Sequence[Wanted]) -> list[Filling]:
    """One for each video and rate, or several where its views are wanted of different spans."""
    by_view: dict[tuple[Path, View], list[Wanted]] = {}
    for item in missing:
        by_view.setdefault((item.clip.path, item.view), []).append(item)
    groups: dict[tuple[Path, float, tuple[range, ...]], list[Wanted]] = {}
    for (path, view), own in by_view.items():
        groups.setdefault((path, view.rate, tuple(item.span for item in own)), []).extend(own)
    return [
        Filling(path, spans, own[0].key.sample_fps / rate, own, tuple(dict.fromkeys(item.view for item in own)))
        for (path, rate, spans), own in groups.items()
    ]
