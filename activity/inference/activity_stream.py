"""Features of one video or stream, as they come, to frame scores and to what begins and ends: the path of both."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from activity.inference.frame_scores import FrameScores, MovingMean, Scores
from activity.inference.segmentation import Change, TimelineSettings, make_tracker
from activity.inference.windows import SlidingWindows, WindowScorer
from activity.models.recognizer import LoadedRecognizer


@dataclass(frozen=True, eq=False)
class Step:
    """What has come to be known by some features.

    Attributes:
        scores: smoothed scores `float64 (n, C)` of the next n sampled frames.
        changes: what has begun and ended, in order.
    """

    scores: Scores
    changes: list[Change]


class ActivityStream:
    """Windows slide over the features, their scores become those of frames, are smoothed, and become segments.

    Args:
        recognizer: on `device`.
        settings: how scores become segments.
        device: where the recognizer is.

    Raises:
        TimelineSettingsError: the stride does not fit the recognizer's windows.
    """

    def __init__(self, recognizer: LoadedRecognizer, settings: TimelineSettings, device: torch.device) -> None:
        self._recognizer = recognizer
        fps, window_frames = recognizer.sample_fps, recognizer.window_frames
        self._windows = SlidingWindows(recognizer, device, stride=settings.stride_frames(window_frames))
        self._whole = WindowScorer(recognizer, device)
        self._frames = FrameScores(window_frames=window_frames)
        self._smoothed = MovingMean(reach=round(settings.smoothing_seconds * fps / 2))
        self._tracker = make_tracker(settings, recognizer.class_names, fps)

    @property
    def frames(self) -> int:
        """Sampled frames whose features were pushed."""
        return self._windows.features

    @property
    def windows(self) -> int:
        """Windows that the whole video's scores are the mean of, so far."""
        return self._whole.windows

    def push(self, features: Tensor) -> Step:
        """Take the features `float32 (n, D)` of the next n sampled frames."""
        self._whole.push(features)
        starts, scores = self._windows.push(features)
        rows = [self._frames.push(start, row) for start, row in zip(starts, scores.numpy(), strict=True)]
        return self._step(rows, last=False)

    def finish(self) -> tuple[Step, Tensor]:
        """What is left at the end, and the scores `float64 (C,)` of the whole: those of `predict`.

        Raises:
            ValueError: no feature was pushed.
        """
        starts, scores = self._windows.finish()
        rows = [
            self._frames.push(start, row, frames_in_all=self.frames)
            for start, row in zip(starts, scores.numpy(), strict=True)
        ]
        rows.append(self._frames.finish(self.frames))
        return self._step(rows, last=True), self._whole.finish()

    def _step(self, rows: list[Scores], *, last: bool) -> Step:
        told = [self._smoothed.push(row) for block in rows for row in block]
        told += [self._smoothed.finish()] if last else []
        scores = np.concatenate([np.empty((0, len(self._recognizer.class_names))), *told])
        changes = [change for row in scores for change in self._tracker.push(row)]
        return Step(scores, [*changes, *(self._tracker.finish() if last else [])])
