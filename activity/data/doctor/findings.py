"""The form of a finding, and what a data set is judged by."""

from dataclasses import dataclass
from typing import Literal

from activity.data.clips import Clip

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Subject:
    """What a finding is about: the names of one video, clip, class or group, or of several that belong together."""

    names: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """Something about a data set that its owner should know.

    Attributes:
        code: a stable name of the kind, such as "near-identical".
        severity: "error" would spoil training or its measure; "warning" may; "note" is good to know.
        summary: what was found, a sentence.
        advice: what to do, a sentence.
        subjects: all that it is about.
    """

    code: str
    severity: Severity
    summary: str
    advice: str
    subjects: tuple[Subject, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What training would use by default: the sampling, and how it would split."""

    sample_fps: float
    window_frames: int
    val_fraction: float
    test_fraction: float
    seed: int


def agreeing(advice: str, number: int) -> str:
    """Advice that speaks of so many things: `{them}`, `{they}` and `{their}`, and the endings `{s}` and `{plural}`.

    >>> for number in (1, 2):
    ...     agreeing("Look whether {they} play{s}, and correct {their} path{plural}.", number)
    'Look whether it plays, and correct its path.'
    'Look whether they play, and correct their paths.'
    """
    if number == 1:
        return advice.format(them="it", they="it", their="its", s="s", plural="")
    return advice.format(them="them", they="they", their="their", s="", plural="s")


def span_text(clip: Clip) -> str:
    """The span in words."""
    return f"{clip.start_seconds:g} s to {'the end' if clip.end_seconds is None else f'{clip.end_seconds:g} s'}"
