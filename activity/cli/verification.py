"""Whether an exported file answers on real clips as the recognizer it was made of, and how fast."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from activity.data.clips import Clip, DataError
from activity.features.outcome import FailedClip, FillProgress
from activity.formats.compare import LARGEST_DIFFERENCE
from activity.formats.parts import same_in
from activity.inference.scoring import score_videos
from activity.inference.videos import BATCH_FRAMES, DECODE_THREADS
from activity.models.recognizer import LoadedRecognizer, Recognizer

UNEQUAL_LABELS, ONE_ALLOWED_OF = 0.01, 20
"""The most clips, of all, that a file in another precision may label otherwise; of so many, one in any case."""

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Verified:
    """What was seen of one model on the clips.

    Attributes:
        computes_in: what its CNN computes in, "float32", "bfloat16" or "int8".
        compared_in: what that of the recognizer computed in, whose scores these were held to.
        score_difference: the largest.
        clip: where it is.
        equal_labels: the share of clips with the label that the recognizer gives, as it was trained.
        accuracy: on the clips, None where they have no labels.
        frames_per_second: sampled frames from file to label, decoding included.
        problem: why it is not to be used, or None.
    """

    computes_in: str
    compared_in: str
    score_difference: float
    clip: str
    equal_labels: float
    accuracy: float | None
    frames_per_second: float
    problem: str | None


class Verification:
    """A recognizer's answers on clips, which files made of it are held to.

    Args:
        recognizer: on the CPU.
        clips: to be labelled; those that cannot be read are in `failed`.
        labelled: whether their labels are those of a data set.

    Raises:
        DataError: none of the clips can be read.
    """

    def __init__(self, recognizer: Recognizer, clips: Sequence[Clip], *, labelled: bool) -> None:
        self.recognizer = recognizer
        self._labelled = labelled
        self.failed: list[FailedClip] = []
        _score(recognizer, clips[:1])  # what is done but once, such as loading, is nobody's time
        self.clips, scores, speed, self.failed = _score(recognizer, clips)
        if not self.clips:
            reason = str(self.failed[0].error).rstrip(".") if self.failed else "there are none"
            raise DataError(f"There is no clip to verify the export on ({reason}). Give videos that can be read.")
        self._scores = {recognizer.precision: scores}
        self.of_recognizer = Verified(
            computes_in=recognizer.precision,
            compared_in=recognizer.precision,
            score_difference=0.0,
            clip=self.clips[0].name,
            equal_labels=1.0,
            accuracy=self._accuracy(scores),
            frames_per_second=speed,
            problem=None,
        )

    def verify(self, loaded: LoadedRecognizer) -> Verified:
        """What comes of a file, loaded on the CPU, on the same clips."""
        trained_in, computes_in = self.recognizer.precision, loaded.computes_in
        exact = computes_in == "float32" or loaded.by_torch
        compared_in = computes_in if exact else trained_in
        _score(loaded, self.clips[:1])
        scores, speed = self._score_again(loaded)
        difference, row = (scores - self._expected(compared_in)).abs().amax(dim=1).max(dim=0)
        unequal = scores.argmax(dim=1) != self._scores[trained_in].argmax(dim=1)
        clip = self.clips[int(row)].name
        problem = self._not_finite(scores)
        if problem is None and exact:
            problem = _too_different(float(difference), clip)
        elif problem is None:
            problem = self._too_unequal(unequal)
        return Verified(
            computes_in=computes_in,
            compared_in=compared_in,
            score_difference=float(difference),
            clip=clip,
            equal_labels=1.0 - float(unequal.double().mean()),
            accuracy=self._accuracy(scores),
            frames_per_second=speed,
            problem=problem,
        )

    def _not_finite(self, scores: Tensor) -> str | None:
        broken = (~scores.isfinite()).any(dim=1).nonzero().flatten().tolist()
        return f"a score is no number, of {self.clips[broken[0]].name} for one" if broken else None

    def _too_unequal(self, unequal: Tensor) -> str | None:
        others = unequal.nonzero().flatten().tolist()
        if len(others) <= _unequal_allowed(len(self.clips)):
            return None
        return (
            f"it labels {len(others)} of {len(self.clips)} clips otherwise than the checkpoint, "
            f"{self.clips[others[0]].name} for one"
        )

    def _expected(self, precision: str) -> Tensor:
        if precision not in self._scores:
            self._scores[precision], _ = self._score_again(same_in(self.recognizer, precision))
        return self._scores[precision]

    def _score_again(self, recognizer: LoadedRecognizer) -> tuple[Tensor, float]:
        """Scores `(N, C)` of the clips, all of which could be read, and sampled frames a second."""
        _, scores, speed, failed = _score(recognizer, self.clips)
        if failed:
            raise DataError(f"{failed[0].clip.name} could be read once, and not again ({failed[0].error}).")
        return scores, speed

    def _accuracy(self, scores: Tensor) -> float | None:
        if not self._labelled:
            return None
        labels = torch.tensor([self.recognizer.class_names.index(clip.label) for clip in self.clips])
        return float((scores.argmax(dim=1) == labels).double().mean())


def _too_different(difference: float, clip: str) -> str | None:
    if difference <= LARGEST_DIFFERENCE:
        return None
    return f"its scores differ from the checkpoint's by {difference:.2g} on {clip}, more than {LARGEST_DIFFERENCE:g}"


def _unequal_allowed(clips: int) -> int:
    """How many clips may have another label.

    >>> [_unequal_allowed(clips) for clips in (1, 19, 20, 199, 200, 300)]
    [0, 0, 1, 1, 2, 3]
    """
    return max(int(clips >= ONE_ALLOWED_OF), math.floor(UNEQUAL_LABELS * clips))


def _score(recognizer: LoadedRecognizer, clips: Sequence[Clip]) -> tuple[list[Clip], Tensor, float, list[FailedClip]]:
    """The clips that could be read with their scores `(N, C)`, sampled frames a second, and the others."""
    frames = 0

    def count(progress: FillProgress) -> None:
        nonlocal frames
        frames = progress.frames

    began = time.perf_counter()
    scored, failed = score_videos(
        recognizer, clips, batch_frames=BATCH_FRAMES, decode_threads=DECODE_THREADS, device=_CPU, on_progress=count
    )
    speed = frames / (time.perf_counter() - began)
    scores = torch.stack([item.scores for item in scored]) if scored else torch.empty(0, len(recognizer.class_names))
    return [item.clip for item in scored], scores, speed, failed
