"""Live recognition: frames in, events out, by the same path as a file's timeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from activity.inference.activity_stream import ActivityStream, Step
from activity.inference.frame_features import FrameError, FrameFeatures, Pixels, checked_frame
from activity.inference.frame_scores import Scores
from activity.inference.segmentation import TimelineSettings
from activity.models.recognizer import LoadedRecognizer
from activity.video.clock import MOST_GAP_SECONDS
from activity.video.sampling import GridSampler


@dataclass(frozen=True)
class LiveEvent:
    """What has come to be known of a stream.

    Attributes:
        kind: "start" or "end" of an activity, or the "scores" of one moment.
        label: the class that begins or ends; of scores the best class.
        score: its score, 0 to 1: of an activity the mean so far, of scores that moment's.
        time_seconds: when it begins, ends, or is: in the stream's own time, before the frame that made it known.
        scores: with "scores", of all classes in their order; else None.
    """

    kind: Literal["start", "end", "scores"]
    label: str
    score: float
    time_seconds: float
    scores: tuple[float, ...] | None = None


class LiveRecognizer:
    """Recognizes activities in frames as they come, in memory that does not grow.

    The frames' times decide which are sampled, windows slide over their features, and what begins and ends is found as
    in `make_timelines`: the same frames give the same segments. A moment's scores are known half a window, half the
    smoothing and a stride later; a start `min_seconds` after that, an end `merge_seconds`.

    Args:
        recognizer: on `device`.
        settings: how scores become events.
        device: where the recognizer is; None: where it says itself, or on the CPU.
        scores_every_seconds: how often "scores" are given; 0: of each sampled frame; None: never.

    Raises:
        TimelineSettingsError: the settings do not fit the recognizer.
        TypeError: `recognizer` is none.
    """

    _held: Pixels | None  # the frame on screen
    _times: tuple[float, float] | None  # of the first frame and of the last one

    def __init__(
        self,
        recognizer: LoadedRecognizer,
        *,
        settings: TimelineSettings | None = None,
        device: torch.device | str | None = None,
        scores_every_seconds: float | None = None,
    ) -> None:
        if not hasattr(recognizer, "classify"):
            raise TypeError(
                f"recognizer is {type(recognizer).__name__} {recognizer!r}; accepted: what "
                "activity.load_recognizer(path) gives."
            )
        self._recognizer = recognizer
        self._settings = settings or TimelineSettings()
        self._device = torch.device(getattr(recognizer, "device", "cpu") if device is None else device)
        self._scores_every = scores_every_seconds
        self._features = FrameFeatures(recognizer, self._device)
        self.scores: Tensor | None = None  # of the last stream that ended
        self._next = 0
        self._start_clock()
        self._begin(0)

    def push(self, frame: Pixels | Tensor, time_seconds: float) -> list[LiveEvent]:
        """Take the next frame; what has come to be known by it.

        A frame is shown until the next one comes, for ten minutes at most: after a longer gap all begins anew.

        Args:
            frame: RGB `uint8 (H, W, 3)`, a numpy array or a tensor; of any size, which may change.
            time_seconds: when it is shown, later than the frame before; the first one's is time 0 of the events.

        Raises:
            FrameError: another shape or dtype, or a time that is not later.
        """
        pixels = checked_frame(frame).copy()  # it is needed until the next one, and the caller's may change meanwhile
        self._check_time(time_seconds)
        if self._times is None:
            self._times = (time_seconds, time_seconds)
        first, last = self._times
        events = self.interrupt() if time_seconds - last > MOST_GAP_SECONDS else []
        self._interval = time_seconds - last  # 0 for the first frame
        sampled = self._sampler.push(time_seconds - first)
        if self._held is not None:  # what came before a break is not shown on
            events += self._shown(sampled, self._held)
        self._held, self._times = pixels, (first, time_seconds)
        return events

    @property
    def encode_seconds(self) -> float:
        """Time spent in the encoder so far."""
        return self._features.encode_seconds

    def push_sampled(self, index: int, pixels: Pixels) -> list[LiveEvent]:
        """Take the frame that is shown at `index / sample_fps` seconds: for sources that are sampled already.

        Indices rise. For what was missed since the one before its feature stands; where a window or more was missed,
        what had begun ends there, and the stream begins anew.

        Args:
            index: of the time grid.
            pixels: RGB `uint8 (H, W, 3)`.
        """
        missed = index - self._next
        events: list[LiveEvent] = []
        if missed >= self._recognizer.window_frames or not self._stream.frames:
            events += self._end()
            self._begin(index)
        elif missed > 0:
            events += self._events(self._stream.push(self._features.latest.repeat(missed, 1)))
        self._next = index + 1
        return [*events, *self._events(self._stream.push(self._features.push(pixels, index - self._first)))]

    def interrupt(self) -> list[LiveEvent]:
        """The source gives nothing more for now: what had begun has ended; what comes then is taken by itself."""
        self._held = None
        return self._end()

    def finish(self) -> list[LiveEvent]:
        """The stream has ended; what is left to be known. What is pushed next is another stream, from time 0.

        `scores` are then those `float64 (C,)` of the whole stream, or of what came after its last break.
        """
        events: list[LiveEvent] = []
        if self._times is not None and self._held is not None:
            first, last = self._times
            events += self._shown(self._sampler.finish(last - first + self._interval), self._held)
        events += self._end()
        self._start_clock()
        self._begin(0)
        return events

    def _shown(self, sampled: Sequence[int], pixels: Pixels) -> list[LiveEvent]:
        """Take a frame that is shown at several consecutive times, at some of which it only stays."""
        moving = 1 + self._recognizer.rgb_every  # after so many even "rgb" sees what has come, and nothing changes
        events = [event for index in sampled[:moving] for event in self.push_sampled(index, pixels)]
        staying, most = len(sampled[moving:]), self._recognizer.window_frames
        for start in range(0, staying, most):
            count = min(most, staying - start)
            events += self._events(self._stream.push(self._features.latest.repeat(count, 1)))
            self._next += count
        self._features.stay(self._next - 1 - self._first)
        return events

    def _end(self) -> list[LiveEvent]:
        if not self._stream.frames:
            return []
        step, self.scores = self._stream.finish()
        events = self._events(step)
        self._begin(self._next)
        return events

    def _start_clock(self) -> None:
        """No frame has come yet."""
        self._sampler = GridSampler(sample_fps=self._recognizer.sample_fps)
        self._held = None
        self._times = None
        self._interval = 0.0  # between the last two frames

    def _begin(self, index: int) -> None:
        """A new stream of features, whose first sampled frame is `index`."""
        self._stream = ActivityStream(self._recognizer, self._settings, self._device)
        self._first = self._next = index
        self._told = 0  # frames of the stream whose scores are known
        self._features.begin()

    def _events(self, step: Step) -> list[LiveEvent]:
        events = list(self._score_events(step.scores))
        self._told += len(step.scores)
        for change in step.changes:
            frame = change.start_frame if change.kind == "start" else change.end_frame
            events.append(LiveEvent(change.kind, change.label, change.score, self._seconds(frame)))
        return events

    def _score_events(self, scores: Scores) -> Iterator[LiveEvent]:
        if self._scores_every is None:
            return
        every = max(1, round(self._scores_every * self._recognizer.sample_fps))
        for frame, row in enumerate(scores, self._told):
            if (self._first + frame) % every == 0:
                best = int(row.argmax())
                label = self._recognizer.class_names[best]
                yield LiveEvent("scores", label, float(row[best]), self._seconds(frame), tuple(row.tolist()))

    def _seconds(self, frame: int) -> float:
        return (self._first + frame) / self._recognizer.sample_fps

    def _check_time(self, time_seconds: float) -> None:
        _check_number(time_seconds)
        if not np.isfinite(time_seconds):
            raise FrameError(f"time_seconds is {time_seconds}; accepted: seconds, later with each frame.")
        if self._times is not None and time_seconds <= self._times[1]:
            raise FrameError(
                f"time_seconds is {time_seconds:g}, not later than that of the frame before, {self._times[1]:g}. "
                "Accepted: seconds that rise with each frame, time.monotonic() for a camera."
            )


def _check_number(time_seconds: object) -> None:
    if isinstance(time_seconds, bool) or not isinstance(time_seconds, Real):
        given = f"{type(time_seconds).__name__} {time_seconds!r}"
        raise FrameError(f"time_seconds is {given}; accepted: seconds, a number.")
