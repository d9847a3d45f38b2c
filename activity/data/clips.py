"""Clip, manifest (a data set's table of clips), and the data errors."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from activity.data.names import comparable
from activity.video.sampling import first_index_at_or_after, grid_range

_SPAN_TOLERANCE_SECONDS = 0.1
SPLIT_NAMES = ("train", "val", "test")


class DataError(ValueError):
    """A data set that cannot be used as given.

    It says what was given, what is accepted, and what to do next.
    """


class DataWarning(UserWarning):
    """What the user should know about a data set that is usable."""


class RowsWarning(DataWarning):
    """Rows of a table that were left out.

    Attributes:
        path: the table.
        problems: what is wrong with each row, after its line number.
    """

    def __init__(self, message: str, path: Path, problems: Sequence[str]) -> None:
        super().__init__(message, path, problems)
        self.message, self.path, self.problems = message, path, tuple(problems)

    def __str__(self) -> str:
        return self.message


class DataNote(DataWarning):
    """A fact about a published data set, with nothing to mend."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A labelled span of a video.

    Attributes:
        path: the video, absolute.
        relative_path: the same, relative to the data root, with forward slashes: the clip's name in messages
            and files. A video outside the root that was given by its absolute path keeps that one.
        label: the name of its class.
        start_seconds: where the span begins.
        end_seconds: where the span ends; None is the end of the file.
        group: what must not stand on both sides of a split: the actor, the source video.
        split: "train", "val" or "test" where the data set itself says so, else None.

    Raises:
        DataError: for a span that is not 0 <= start < end, an empty label or group, or an unknown split. Also for a
            relative `path`, or a name that cannot be written as UTF-8.

    >>> clip = Clip(path=Path("/data/run/eli.avi"), relative_path="run/eli.avi", label="run", group="eli")
    >>> clip.name, clip.start_seconds, clip.end_seconds
    ('run/eli.avi', 0.0, None)
    """

    path: Path
    relative_path: str
    label: str
    start_seconds: float = 0.0
    end_seconds: float | None = None
    group: str
    split: str | None = None

    def reaches_beyond(self, duration_seconds: float) -> bool:
        """Whether the span ends, or begins, after the end of the video.

        Seconds in tables are rounded, and players count a last frame's time: a tenth of a second is forgiven.
        """
        return max(self.start_seconds, self.end_seconds or 0.0) > duration_seconds + _SPAN_TOLERANCE_SECONDS

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise DataError(f"{self.name!r}: {problem}")

    @property
    def name(self) -> str:
        """The path relative to the data root."""
        return self.relative_path

    @property
    def key(self) -> tuple[str, float, float]:
        """Name, start and end, which tell clips of a manifest apart.

        An end of infinity is the end of the file.
        """
        return (
            self.relative_path,
            self.start_seconds,
            math.inf if self.end_seconds is None else self.end_seconds,
        )

    def sampled_indices(self, sample_fps: float) -> range:
        """Return the sampled frames of the span, as indices of the grid.

        A span that ends with the file has no last index.

        >>> clip = Clip(path=Path("/a.avi"), relative_path="a.avi", label="run", group="a", end_seconds=0.5)
        >>> clip.sampled_indices(10)
        range(0, 5)
        """
        if self.end_seconds is None:
            return range(first_index_at_or_after(self.start_seconds, sample_fps), sys.maxsize)
        return grid_range(self.start_seconds, self.end_seconds, sample_fps)

    def _problem(self) -> str | None:
        if problem := span_problem(self.start_seconds, self.end_seconds):
            return problem
        if not self.label.strip():
            return "the label is empty; give the name of its class"
        if not self.group:
            return "the group is empty; give the actor or source video"
        if self.split is not None and self.split not in SPLIT_NAMES:
            return f"split is {self.split!r}; accepted are train, val and test"
        if not self.path.is_absolute():
            return f"the path {str(self.path)!r} is relative; a clip needs the absolute one"
        # Names end up in CSV and JSON files; a lone surrogate would fail there, hours later.
        if any("\ud800" <= letter <= "\udfff" for letter in self.relative_path):
            return "the file name is not valid UTF-8; rename the file"
        return None


@dataclass(frozen=True)
class Manifest:
    """The table of clips of a data set.

    Attributes:
        clips: all of them, in the order of the source.
        class_names: sorted, unless the layout knows an order; the position of a name is the class index.
        root: the folder that clip names are relative to, absolute.
        groups_given: whether the data set or a pattern says what the groups are. If not, each file is a group of
            its own. Then one actor or source video may stand on both sides of a split.
        published_split: the name of a published protocol, such as "split 1 of HMDB51", if the splits are its. It is
            used as published, even if it has a group on both sides. None if the splits are the user's own.

    Raises:
        DataError: without clips, with fewer than two classes, or with a class that has no clips. Also for a label
            that is not a class, and if the same span of a file stands there twice.

    >>> def clip(name, label):
    ...     return Clip(path=Path("/data") / name, relative_path=name, label=label, group=name)
    >>> clips = (clip("a.avi", "walk"), clip("b.avi", "run"), clip("c.avi", "run"))
    >>> manifest = Manifest(clips=clips, class_names=("run", "walk"), root=Path("/data"), groups_given=False)
    >>> manifest.clips_per_class
    {'run': 2, 'walk': 1}
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    root: Path
    groups_given: bool
    published_split: str | None = None

    def __post_init__(self) -> None:
        if not self.clips:
            raise DataError(f"The data set {str(self.root)!r} has no clips; add labelled videos.")
        labels = Counter(clip.label for clip in self.clips)
        if len(labels) < 2:
            raise DataError(
                f"The data set {str(self.root)!r} has one class, {next(iter(labels))!r}, with "
                f"{count_text(len(self.clips), 'clip')}; at least 2 classes are needed. Add clips of another class."
            )
        if sorted(labels) != sorted(self.class_names):
            differing = sorted(set(labels) ^ set(self.class_names)) or list(self.class_names)
            raise DataError(
                f"The class names and the labels of the clips differ in {first_few(differing)}; "
                "name each class once and give each at least one clip."
            )
        self._check_spans()

    @property
    def clips_per_class(self) -> dict[str, int]:
        """Number of clips of each class, in the order of `class_names`."""
        counts = Counter(clip.label for clip in self.clips)
        return {name: counts[name] for name in self.class_names}

    def _check_spans(self) -> None:
        seen: dict[tuple[str, float, float], Clip] = {}
        for clip in self.clips:
            if problem := repeated_span(seen.setdefault(clip.key, clip), clip):
                raise DataError(f"{problem}; keep one of the two.")


def class_indices(clips: Iterable[Clip], class_names: Sequence[str]) -> list[int]:
    """Return each clip's class index, its label's position in `class_names`.

    >>> clip = Clip(path=Path("/b.avi"), relative_path="b.avi", label="walk", group="b")
    >>> class_indices([clip], ["run", "walk"])
    [1]
    """
    index_of = {name: index for index, name in enumerate(class_names)}
    return [index_of[clip.label] for clip in clips]


def labels_as_known(labels: Iterable[str], class_names: Sequence[str], *, of: str) -> dict[str, str]:
    """Return the class of a model that each label names.

    A model may spell a class otherwise than the data set.

    Args:
        labels: as people have given them.
        class_names: what the model knows.
        of: what has these labels, such as "clips".

    Raises:
        DataError: with the labels that it does not know, and the model's classes.

    >>> labels_as_known(["run", "walk"], ["run", "walk ", "wave"], of="clips")
    {'run': 'run', 'walk': 'walk '}
    """
    alike = {comparable(name): name for name in class_names}
    known = {label: label if label in class_names else alike.get(comparable(label)) for label in sorted(set(labels))}
    unknown = [label for label, name in known.items() if name is None]
    if unknown:
        raise DataError(
            f"{count_text(len(unknown), 'label')} that the model does not know: {first_few(unknown, limit=10)}. "
            f"Its classes: {first_few(list(class_names), limit=20)}. Rename the labels, or take these {of} out."
        )
    return {label: name for label, name in known.items() if name is not None}


def clips_as_known(clips: Iterable[Clip], class_names: Sequence[str]) -> tuple[Clip, ...]:
    """Return clips with a model's labels; raises as `labels_as_known`."""
    clips = tuple(clips)
    known = labels_as_known((clip.label for clip in clips), class_names, of="clips")
    return tuple(replace(clip, label=known[clip.label]) for clip in clips)


def span_problem(start: float, end: float | None) -> str | None:
    """Say what is wrong with a span in seconds, if anything is."""
    if not (math.isfinite(start) and start >= 0):
        return f"start is {start:g} seconds; it must be 0 or more, counted from the start of the file"
    if end is not None and not (math.isfinite(end) and end > start):
        return f"end {end:g} is not after start {start:g}; give seconds, or no end for the whole file"
    return None


def repeated_span(first: Clip, second: Clip) -> str | None:
    """Say what is wrong with two clips of one span.

    They have two labels, or one is a repetition.

    Returns None for one and the same object, so that it can be called with the result of `setdefault`.
    """
    if first is second:
        return None
    if first.label != second.label:
        return f"{second.name!r} has two labels for the same span, {first.label!r} and {second.label!r}"
    return f"{second.name!r} ({second.label!r}) is listed twice with the same span"


def first_few(names: Sequence[str], limit: int = 5) -> str:
    """Return the first few names in quotes, and the number of others.

    >>> first_few(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural.

    >>> count_text(1, "class"), count_text(0, "class"), count_text(12, "clip")
    ('1 class', '0 classes', '12 clips')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
