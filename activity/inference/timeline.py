"""Timelines: what happens when in a video, from features that are computed once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from activity.data.segments import BACKGROUND, Segment, gaps_between
from activity.inference.activity_stream import ActivityStream, Step
from activity.inference.frame_scores import Scores
from activity.inference.html import timeline_html
from activity.inference.segmentation import TimelineSettings, segment_of
from activity.inference.videos import Failure, in_order, read_videos
from activity.models.recognizer import LoadedRecognizer

MOST_POINTS = 4096
"""Points of `Timeline.frame_scores`: more frames than that are averaged in twos, fours and so on."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """What happens when in one video.

    Attributes:
        source: as given.
        class_names: the recognizer's classes.
        duration_seconds: of the video, as far as it could be read.
        segments: the activities, ordered and disjoint. Where none is sure, there is no segment: `with_background`.
        scores: of the whole video, one for each class, summing to 1: those of `predict`.
        windows: how many windows `scores` is the mean of.
        frame_seconds: `float64 (N,)`, N points in time, `MOST_POINTS` at most: the sampled frames, or the beginnings
            of blocks of them.
        frame_scores: `float32 (N, C)`, smoothed scores at these points: what the segments were found in.
        settings: how they were found.
        damage: what is missing of the video where it could be read in part, or None.
    """

    source: str
    class_names: tuple[str, ...]
    duration_seconds: float
    segments: tuple[Segment, ...]
    scores: tuple[float, ...]
    windows: int
    frame_seconds: Tensor
    frame_scores: Tensor
    settings: TimelineSettings
    damage: str | None = None

    def _repr_html_(self) -> str:
        """How a notebook shows it: a bar of segments along the time, and a table."""
        return timeline_html(
            source=self.source,
            duration_seconds=self.duration_seconds,
            class_names=self.class_names,
            segments=self.segments,
        )

    def with_background(self) -> list[Segment]:
        """The segments, and between them what no activity is sure of, labelled `background`: the whole video.

        The score of background is what the best activity leaves: 1 less its score, in the mean.
        """
        spans = gaps_between(self.segments, self.duration_seconds)
        gaps = [
            Segment(label=BACKGROUND, start_seconds=start, end_seconds=end, score=self._no_activity(start, end))
            for start, end in spans
        ]
        return sorted([*self.segments, *gaps], key=lambda item: item.start_seconds)

    def _no_activity(self, start_seconds: float, end_seconds: float) -> float:
        activities = [name != BACKGROUND for name in self.class_names]
        best = self.frame_scores[:, torch.tensor(activities)].amax(dim=1)
        span = torch.tensor([start_seconds, end_seconds], dtype=torch.float64)
        first, end = torch.searchsorted(self.frame_seconds, span).tolist()
        first = min(first, len(best) - 1)
        return float(1 - best[first : max(end, first + 1)].mean().clamp(0, 1))


class _Trace:
    """Frame scores at a bounded number of points: blocks of frames whose length doubles when there are too many."""

    def __init__(self, sample_fps: float) -> None:
        self._sample_fps = sample_fps
        self._block = 1  # frames a point
        self._points: list[Scores] = []
        self._pending: list[Scores] = []  # frames of the next point

    def push(self, scores: Scores) -> None:
        for row in scores:
            self._pending.append(row.astype(np.float32))
            if len(self._pending) == self._block:
                self._points.append(np.mean(self._pending, axis=0))
                self._pending = []
            if len(self._points) == MOST_POINTS:
                pairs = zip(self._points[::2], self._points[1::2], strict=True)
                self._points = [(one + other) / 2 for one, other in pairs]
                self._block *= 2

    def points(self) -> tuple[Tensor, Tensor]:
        """Seconds `float64 (N,)` and scores `float32 (N, C)`."""
        rows = [*self._points, *([np.mean(self._pending, axis=0)] if self._pending else [])]
        seconds = torch.arange(len(rows), dtype=torch.float64) * self._block / self._sample_fps
        return seconds, torch.from_numpy(np.stack(rows)).float()


class TimelineBuilder:
    """The timeline of one video, from its features as they come."""

    def __init__(
        self, source: str, recognizer: LoadedRecognizer, settings: TimelineSettings, device: torch.device
    ) -> None:
        self._source = source
        self._class_names = tuple(recognizer.class_names)
        self._settings = settings
        self._sample_fps = recognizer.sample_fps
        self._stream = ActivityStream(recognizer, settings, device)
        self._trace = _Trace(recognizer.sample_fps)
        self._segments: list[Segment] = []

    def push(self, features: Tensor) -> None:
        """Take the features `float32 (n, D)` of the next sampled frames."""
        self._take(self._stream.push(features))

    def finish(self, duration_seconds: float, damage: str | None) -> Timeline:
        """The timeline of the video, which ends at `duration_seconds`, and what is missing of it."""
        step, scores = self._stream.finish()
        self._take(step)
        seconds, frame_scores = self._trace.points()
        return Timeline(
            source=self._source,
            class_names=self._class_names,
            duration_seconds=duration_seconds,
            segments=tuple(within(self._segments, duration_seconds)),
            scores=tuple(scores.tolist()),
            windows=self._stream.windows,
            frame_seconds=seconds,
            frame_scores=frame_scores,
            settings=self._settings,
            damage=damage,
        )

    def _take(self, step: Step) -> None:
        self._trace.push(step.scores)
        self._segments += [segment_of(change, self._sample_fps) for change in step.changes if change.kind == "end"]


def within(segments: Sequence[Segment], duration_seconds: float) -> list[Segment]:
    """Segments as far as they lie within a video: the last sampled frame is shown no longer than the video lasts.

    >>> within([Segment(label="run", start_seconds=0.5, end_seconds=1.0)], 0.96)[0].end_seconds
    0.96
    """
    return [
        Segment(
            label=item.label,
            start_seconds=item.start_seconds,
            end_seconds=min(item.end_seconds, duration_seconds),
            score=item.score,
        )
        for item in segments
        if item.start_seconds < duration_seconds
    ]


def make_timelines(
    recognizer: LoadedRecognizer,
    sources: Sequence[str],
    *,
    settings: TimelineSettings,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    on_frames: Callable[[int, int], None] = lambda position, frames: None,
) -> Iterator[Timeline | Failure]:
    """`timelines_as_completed` in the order given: a result waits for that of an earlier, longer video."""
    return in_order(
        timelines_as_completed(
            recognizer,
            sources,
            settings=settings,
            batch_frames=batch_frames,
            decode_threads=decode_threads,
            device=device,
            on_frames=on_frames,
        )
    )


def timelines_as_completed(
    recognizer: LoadedRecognizer,
    sources: Sequence[str],
    *,
    settings: TimelineSettings,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    on_frames: Callable[[int, int], None] = lambda position, frames: None,
) -> Iterator[tuple[int, Timeline | Failure]]:
    """The timelines of videos, each with its position; a video that cannot be read is a `Failure`, the rest is done.

    Every sampled frame is encoded once, and memory does not grow with the length of the videos.

    Args:
        recognizer: on `device`.
        sources: paths of video files.
        settings: how scores become segments.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        device: where the recognizer is.
        on_frames: told the position of a video, and how many more of its sampled frames are encoded.

    Raises:
        TimelineSettingsError: the settings do not fit the recognizer.
    """
    settings.stride_frames(recognizer.window_frames)  # now, and not when the first result is asked for
    return read_videos(
        recognizer,
        sources,
        lambda source: TimelineBuilder(source, recognizer, settings, device),
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
        on_frames=on_frames,
    )
