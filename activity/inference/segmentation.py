"""From scores of sampled frames to segments, frame by frame: one rule for files and for live streams.

A class begins when its score reaches `enter_score` and goes on while it stays at `leave_score` or above (hysteresis, as
in the edge detector of Canny 1986). Its segment reaches back to where it took the lead. With an enter score of 0.6, a
leave score of 0.4, both in no hurry (`min_frames=1`, `merge_frames=0`)::

    frame      0     1     2     3     4     5     6     7     8
    run       0.1   0.5   0.7   0.5   0.45  0.3   0.3   0.3   0.2
    walk      0.1   0.2   0.1   0.2   0.4   0.5   0.65  0.3   0.2
    known at              run begins at 1   walk takes over   walk ends at 7
    segments        [------- run --------) [-- walk --)

Walk leads from frame 5 on; when it is sure, at frame 6, run is found to have ended where walk took the lead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from activity.data.segments import BACKGROUND, Segment
from activity.inference.frame_scores import Scores


class TimelineSettingsError(ValueError):
    """Settings of a timeline that make no sense together."""


@dataclass(frozen=True, kw_only=True)
class TimelineSettings:
    """How scores become segments.

    Attributes:
        enter_score: a class must reach it to begin, above 0 to 1.
        leave_score: a class that has begun goes on while it is at least that, above 0 to `enter_score`.
        smoothing_seconds: frame scores are the mean over so long a time around the frame; 0 leaves them.
        min_seconds: what is shorter is no segment.
        merge_seconds: an interruption up to that long does not end a segment.
        stride: sampled frames from one window to the next; None: an eighth of a window.

    Raises:
        TimelineSettingsError: naming the setting, and what is accepted.

    >>> TimelineSettings(enter_score=0.7, leave_score=0.4).stride_frames(16)
    2
    """

    enter_score: float = 0.5
    leave_score: float = 0.35
    smoothing_seconds: float = 0.5
    min_seconds: float = 0.5
    merge_seconds: float = 0.5
    stride: int | None = None

    def __post_init__(self) -> None:
        for name in ("enter_score", "leave_score"):
            if not 0 < getattr(self, name) <= 1:
                raise TimelineSettingsError(f"{name} is {getattr(self, name)}; accepted: above 0, to 1.")
        if self.leave_score > self.enter_score:
            raise TimelineSettingsError(
                f"leave_score is {self.leave_score}, above enter_score, which is {self.enter_score}: what has "
                "begun would end at once. Accepted: 0 < leave_score <= enter_score <= 1."
            )
        for name in ("smoothing_seconds", "min_seconds", "merge_seconds"):
            if not 0 <= getattr(self, name) <= _LONGEST_SECONDS:
                raise TimelineSettingsError(
                    f"{name} is {getattr(self, name)}; accepted: 0 to {_LONGEST_SECONDS} seconds."
                )

    def stride_frames(self, window_frames: int) -> int:
        """Sampled frames from one window to the next.

        Raises:
            TimelineSettingsError: windows would leave frames out.
        """
        if self.stride is None:
            return max(1, window_frames // 8)
        if not 1 <= self.stride <= window_frames:
            raise TimelineSettingsError(
                f"stride is {self.stride}; accepted: 1 to {window_frames}, the model's window_frames: a longer one "
                "would leave frames out."
            )
        return self.stride


_LONGEST_SECONDS = 3600


@dataclass(frozen=True)
class Change:
    """An activity has begun or ended.

    Attributes:
        kind: "start" or "end".
        label: the class.
        start_frame: the segment's first frame.
        end_frame: the frame after its last one; at a start, the frame after the newest one.
        score: the class's mean score from `start_frame` to `end_frame`.
    """

    kind: Literal["start", "end"]
    label: str
    start_frame: int
    end_frame: int
    score: float


@dataclass
class _Run:
    """A class that leads, or has begun; `before` and `after` are sums of all scores up to its start and its end."""

    label: int
    start: int
    end: int
    before: Scores
    after: Scores
    sure: int = -1  # the last frame in which it reached the enter score


@dataclass
class SegmentTracker:
    """Finds segments in frame scores as these come, in memory that does not grow.

    Args:
        class_names: the class of each score; one called "background" never begins.
        enter_score, leave_score: as in `TimelineSettings`.
        min_frames: frames of the shortest segment.
        merge_frames: frames of the longest interruption.
    """

    class_names: Sequence[str]
    enter_score: float
    leave_score: float
    min_frames: int
    merge_frames: int
    frames: int = field(default=0, init=False)
    _open: _Run | None = field(default=None, init=False)  # the segment that has begun
    _rival: _Run | None = field(default=None, init=False)  # what leads, not yet for long or not yet surely
    _sum: Scores = field(init=False)

    def __post_init__(self) -> None:
        self._sum = np.zeros(len(self.class_names))
        self._is_activity = np.array([name != BACKGROUND for name in self.class_names])

    def push(self, scores: Scores) -> list[Change]:
        """Take the next frame's scores `(C,)`; gives what has come to be known."""
        before = self._sum
        self._sum = before + scores
        self.frames += 1
        self._go_on(scores)
        self._follow_the_leader(scores, before)
        return [*self._begin_if_sure(), *self._end_if_over()]

    def finish(self) -> list[Change]:
        """What is to be said at the end of the stream."""
        self._rival = None
        return self._close()

    def _go_on(self, scores: Scores) -> None:
        run = self._open
        if run is not None and scores[run.label] >= self.leave_score:
            run.end, run.after = self.frames, self._sum

    def _follow_the_leader(self, scores: Scores, before: Scores) -> None:
        leader = int(scores.argmax())
        if scores[leader] < self.leave_score or not self._is_activity[leader]:
            return
        if self._open is not None and leader == self._open.label:
            self._rival = None  # an interruption that is over
            return
        now, rival = self.frames - 1, self._rival
        if rival is None or rival.label != leader or now - rival.end > self.merge_frames:
            rival = self._rival = _Run(leader, now, now, before, before)
        rival.end, rival.after = self.frames, self._sum
        if scores[leader] >= self.enter_score:
            rival.sure = now

    def _begin_if_sure(self) -> list[Change]:
        rival = self._rival
        if rival is None or rival.sure < rival.start or rival.end - rival.start < self.min_frames:
            return []
        if self._open is not None and rival.start < self._open.end:
            self._open.end, self._open.after = rival.start, rival.before
        changes = self._close()
        self._open, self._rival = rival, None
        return [*changes, self._change("start", rival)]

    def _end_if_over(self) -> list[Change]:
        if self._open is None or self.frames - self._open.end <= self.merge_frames:
            return []
        over, rival = self._open, self._rival
        if rival is not None and rival.start < over.end:  # it led while the other had not left
            rival.start, rival.before = over.end, over.after
        return self._close()

    def _close(self) -> list[Change]:
        over, self._open = self._open, None
        return [] if over is None else [self._change("end", over)]

    def _change(self, kind: Literal["start", "end"], run: _Run) -> Change:
        score = (run.after - run.before)[run.label] / (run.end - run.start)
        return Change(kind, self.class_names[run.label], run.start, run.end, float(score))


def make_tracker(settings: TimelineSettings, class_names: Sequence[str], sample_fps: float) -> SegmentTracker:
    """The tracker of settings in seconds, at so many sampled frames a second."""
    return SegmentTracker(
        class_names=class_names,
        enter_score=settings.enter_score,
        leave_score=settings.leave_score,
        min_frames=max(1, round(settings.min_seconds * sample_fps)),
        merge_frames=round(settings.merge_seconds * sample_fps),
    )


def find_segments(
    scores: Scores, *, class_names: Sequence[str], sample_fps: float, settings: TimelineSettings
) -> list[Segment]:
    """The segments in frame scores `(T, C)`: ordered, disjoint, within `T / sample_fps` seconds.

    >>> run, walk = [0.1, 0.5, 0.7, 0.5, 0.45, 0.3, 0.3, 0.3], [0.1, 0.2, 0.1, 0.2, 0.4, 0.5, 0.65, 0.3]
    >>> settings = TimelineSettings(enter_score=0.6, leave_score=0.4, min_seconds=0, merge_seconds=0)
    >>> found = find_segments(np.stack([run, walk], 1), class_names=["run", "walk"], sample_fps=10, settings=settings)
    >>> [(item.label, item.start_seconds, item.end_seconds) for item in found]
    [('run', 0.1, 0.5), ('walk', 0.5, 0.7)]
    """
    tracker = make_tracker(settings, class_names, sample_fps)
    changes = [change for row in scores for change in tracker.push(row)]
    ends = [change for change in [*changes, *tracker.finish()] if change.kind == "end"]
    return [segment_of(change, sample_fps) for change in ends]


def segment_of(change: Change, sample_fps: float) -> Segment:
    """The segment of an "end"."""
    return Segment(
        label=change.label,
        start_seconds=change.start_frame / sample_fps,
        end_seconds=change.end_frame / sample_fps,
        score=min(1.0, max(0.0, change.score)),
    )
