"""The class `background`: clips of what nobody labelled, from videos of which spans are labelled.

A model that is to find activities in long videos must have seen what is none. What lies between the labelled spans of a
video is the best example: the same camera, the same people, and nothing that has a name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from statistics import median

from activity.data.clips import Clip, DataError, Manifest
from activity.data.segments import BACKGROUND, Segment, gaps_between

# Between two labels that nearly adjoin there is no background: the borders that people set differ by about as much.
_SHORTEST_GAP_SECONDS = 1.0
# Containers round, and count the sound's length: a span that ends so far before the declared end has frames.
_TRUSTED_BEFORE_END_SECONDS = 0.5

Span = tuple[float, float]
SpansOf = Mapping[str, Sequence[Span]]
"""Spans in seconds of each video, by the name of its clips."""


def unlabelled_spans(manifest: Manifest, *, declared_seconds: Callable[[Path], float | None]) -> dict[str, list[Span]]:
    """Spans of a data set's videos without a label, such as can be clips of the class `background`.

    What lies before, between and after the labelled spans of a video, where it lasts a second or more, is cut into
    pieces about as long as the median labelled clip of the data set. At most as many as the video has labelled clips
    are taken, evenly over all of them: background is then no more frequent than all else together. Videos that are
    labelled as a whole have none.

    Args:
        manifest: the labelled clips.
        declared_seconds: how long a video is as its container says, or None where it says nothing; what comes after the
            last labelled span is then left out.

    Raises:
        DataError: no clip has a start or end, or nothing of a second or more is unlabelled.

    >>> def clip(label, start, end):
    ...     span = {"start_seconds": start, "end_seconds": end}
    ...     return Clip(path=Path("/data/a.mp4"), relative_path="a.mp4", label=label, group="a", **span)
    >>> clips = (clip("run", 2.0, 4.0), clip("walk", 8.0, 10.0))
    >>> manifest = Manifest(clips, ("run", "walk"), root=Path("/data"), groups_given=False)
    >>> unlabelled_spans(manifest, declared_seconds=lambda path: 14.5)
    {'a.mp4': [(4.0, 6.0), (10.0, 12.0)]}
    """
    clips_of = _by_name(manifest.clips)
    cut = {name: own for name, own in clips_of.items() if any(_has_span(clip) for clip in own)}
    if not cut:
        raise DataError(
            f"data.background=true, and no clip of {str(manifest.root)!r} has a start or end, so nothing of the videos "
            "is unlabelled. Accepted: data=csv with the columns start and end, or data=kinetics with whole videos. "
            f"Leave data.background out; videos in which nothing happens may be a class {BACKGROUND!r} of the data set."
        )
    ends = {name: declared_seconds(own[0].path) for name, own in cut.items()}
    lengths = [clip.end_seconds - clip.start_seconds for clip in manifest.clips if clip.end_seconds is not None]
    seconds = median(lengths) if lengths else _SHORTEST_GAP_SECONDS
    spans = {name: _pieces(_gaps(own, ends[name]), seconds, most=len(own)) for name, own in cut.items()}
    if not any(spans.values()):
        raise DataError(
            f"data.background=true, and between the labelled spans of {str(manifest.root)!r} nowhere "
            f"{_SHORTEST_GAP_SECONDS:g} s or more are unlabelled. Leave data.background out."
        )
    return {name: own for name, own in spans.items() if own}


def with_background(manifest: Manifest, spans: SpansOf) -> Manifest:
    """A data set with one class more, `background`, the last one, of which the given spans are clips.

    Each has the group and split of the labelled clip of its video that is nearest; one between clips of two splits
    belongs to neither, and is left out.

    Args:
        manifest: the labelled clips.
        spans: of its videos; those of videos that it does not have are left out.

    Raises:
        DataError: the data set has a class of that name, or no span is left.
    """
    if BACKGROUND in manifest.class_names:
        raise DataError(
            f"data.background=true, and the data set {str(manifest.root)!r} has a class {BACKGROUND!r} of its own. "
            "Leave data.background out, or rename the class."
        )
    clips_of = _by_name(manifest.clips)
    clips = [
        clip for name, own in clips_of.items() for span in spans.get(name, ()) if (clip := _clip(span, own)) is not None
    ]
    if not clips:
        raise DataError(
            f"data.background=true, and every unlabelled span of {str(manifest.root)!r} lies between clips of two "
            "splits. Leave data.background out, or give all clips of a video one split."
        )
    return replace(manifest, clips=(*manifest.clips, *clips), class_names=(*manifest.class_names, BACKGROUND))


def background_spans(clips: Iterable[Clip]) -> dict[str, list[Span]]:
    """The spans of clips of the class `background`: those of a table of splits that an earlier run has written.

    Which spans are taken depends on the end that a container declares, and so on the decoder's version; what was
    trained on once stays what it was.

    >>> clip = Clip(path=Path("/a"), relative_path="a", label="background", group="a", end_seconds=2.0)
    >>> background_spans([clip, replace(clip, label="run", start_seconds=1.0)])
    {'a': [(0.0, 2.0)]}
    """
    spans: dict[str, list[Span]] = {}
    for clip in clips:
        if clip.label == BACKGROUND and clip.end_seconds is not None:
            spans.setdefault(clip.name, []).append((clip.start_seconds, clip.end_seconds))
    return spans


def _by_name(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    clips_of: dict[str, list[Clip]] = {}
    for clip in clips:
        clips_of.setdefault(clip.name, []).append(clip)
    return clips_of


def _has_span(clip: Clip) -> bool:
    return clip.start_seconds > 0 or clip.end_seconds is not None


def _gaps(clips: Sequence[Clip], declared_seconds: float | None) -> list[Span]:
    """What of a video is unlabelled, in order, where that lasts long enough."""
    labelled = [
        Segment(label=clip.label, start_seconds=clip.start_seconds, end_seconds=clip.end_seconds)
        for clip in clips
        if clip.end_seconds is not None
    ]
    last = max((segment.end_seconds for segment in labelled), default=0.0)
    end = last if declared_seconds is None else declared_seconds - _TRUSTED_BEFORE_END_SECONDS
    # A clip without an end lasts to that of the video.
    end = min([end, *(clip.start_seconds for clip in clips if clip.end_seconds is None)])
    return [span for span in gaps_between(labelled, end) if span[1] - span[0] >= _SHORTEST_GAP_SECONDS]


def _pieces(gaps: Sequence[Span], seconds: float, *, most: int) -> list[Span]:
    """Gaps in pieces of about so many seconds, of which `most` are taken, evenly.

    Of seven pieces three, each from the middle of a third of them::

        gaps      [a b c]   [d]   [e f g]
        taken        b       d       f

    Pieces are counted, and only those that are taken are made: a video may claim to last for years.
    """
    counts = [max(1, round((end - start) / seconds)) for start, end in gaps]
    before = [0, *accumulate(counts)]
    total = before[-1]
    taken = range(total) if total <= most else [int((number + 0.5) * total / most) for number in range(most)]
    pieces = []
    for index in taken:
        gap = bisect_right(before, index) - 1
        pieces.append(_piece(gaps[gap], index - before[gap], counts[gap]))
    return pieces


def _piece(gap: Span, number: int, count: int) -> Span:
    """One of `count` equal parts of a gap; milliseconds are exact enough, and short in a table."""
    start, end = gap
    first, last = (round(start + (end - start) * part / count, 3) for part in (number, number + 1))
    return start if number == 0 else first, end if number == count - 1 else last


def _clip(span: Span, clips: Sequence[Clip]) -> Clip | None:
    """The clip of a span of a video with these labelled clips, or None where it lies between two splits."""
    start, end = span
    before = [clip for clip in clips if clip.start_seconds < end]
    after = [clip for clip in clips if clip.start_seconds >= end]
    neighbours = [
        *([max(before, key=_end)] if before else []),
        *([min(after, key=lambda clip: clip.start_seconds)] if after else []),
    ]
    if len({clip.split for clip in neighbours}) > 1:
        return None
    nearest = min(neighbours, key=lambda clip: max(start - _end(clip), clip.start_seconds - end))
    return replace(nearest, label=BACKGROUND, start_seconds=start, end_seconds=end)


def _end(clip: Clip) -> float:
    return clip.key[2]
