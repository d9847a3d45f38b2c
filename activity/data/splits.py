"""Train, validation and test clips: as the data set gives them, or by group, stratified by class.

No group is ever on two sides: an actor or a source video seen in training makes a test too easy.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from activity.data.clips import SPLIT_NAMES, Clip, DataError, DataWarning, Manifest, count_text, first_few
from activity.data.distribution import distribute, joined_groups, overlaps
from activity.data.layouts import read_clips
from activity.data.names import comparable, given_path


class _OfSome(Exception):  # noqa: N818 - what errors and warnings below have in common
    """`subjects`: the names of all that it is about, each with what is wrong."""

    def __init__(self, message: str, subjects: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.subjects = tuple(subjects)


class LeakError(_OfSome, DataError):
    """Groups, or videos, on more than one side."""


class LeakWarning(DataWarning):
    """The same in a split that is used as published."""


class ClassError(_OfSome, DataError):
    """Classes that cannot be on each side."""


class ClassWarning(_OfSome, DataWarning):
    """Classes that are not on each side."""


@dataclass(frozen=True)
class Splits:
    """The clips of each split, sorted by name and span. `Clip.split` stays what the data set said."""

    train: tuple[Clip, ...]
    val: tuple[Clip, ...]
    test: tuple[Clip, ...]

    @property
    def parts(self) -> dict[str, tuple[Clip, ...]]:
        """The clips by the name of their split."""
        return {"train": self.train, "val": self.val, "test": self.test}


def split_manifest(manifest: Manifest, *, val_fraction: float, test_fraction: float, seed: int) -> Splits:
    """Split the clips of a manifest; the same clips and seed give the same splits, in any order.

    Where the data set itself gives the splits, these are used; validation clips that it does not give are
    taken from its training clips (`val_fraction` of them), by group. Otherwise the groups are distributed so
    that each class stands in each split, with close to the wanted fraction of its clips and of all clips.

    Args:
        manifest: the clips with their groups.
        val_fraction: share of the clips for validation, 0 for none.
        test_fraction: share of the clips for the test, 0 for none.
        seed: chooses among the good distributions; where groups are few, several seeds may find the same one.

    Raises:
        DataError: for fractions out of range, a class with too few groups for the splits, given splits that
            are incomplete or leak.

    Warns:
        DataWarning: for a class that given splits leave out of validation or test, and for groups that a
            published split has on more than one side.

    >>> actors = ("ann", "bob", "cem", "dan")
    >>> names = [f"{label}/{actor}.mp4" for label in ("run", "walk") for actor in actors]
    >>> clips = [
    ...     Clip(path=Path("/data", name), relative_path=name, label=name.split("/")[0], group=name[-7:-4])
    ...     for name in names
    ... ]
    >>> manifest = Manifest(tuple(clips), ("run", "walk"), root=Path("/data"), groups_given=True)
    >>> splits = split_manifest(manifest, val_fraction=0.25, test_fraction=0.25, seed=0)
    >>> {name: len(part) for name, part in splits.parts.items()}
    {'train': 4, 'val': 2, 'test': 2}
    >>> {clip.group for clip in splits.train} & {clip.group for clip in splits.test}
    set()
    """
    in_range = 0 <= val_fraction < 1 and 0 <= test_fraction < 1 and val_fraction + test_fraction < 1
    if not in_range:
        raise DataError(
            f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction} cannot be used; "
            "each must be at least 0, and both together below 1, so that clips are left to train on."
        )
    fractions = {"train": 1 - (val_fraction + test_fraction), "val": val_fraction, "test": test_fraction}
    given = [clip for clip in manifest.clips if clip.split is not None]
    if not given:
        return _splits(_distributed(manifest.clips, fractions, seed))
    if len(given) < len(manifest.clips):
        names = first_few([clip.name for clip in manifest.clips if clip.split is None])
        raise DataError(
            f"A split is given for {len(given)} of {count_text(len(manifest.clips), 'clip')}, but not for {names}; "
            "give every clip a split (train, val or test), or none to have them split by group."
        )
    splits = _completed(manifest, fractions, seed)
    _check_classes(splits, manifest)
    check_no_leak(splits, published_split=manifest.published_split)
    return splits


def check_no_leak(splits: Splits, *, published_split: str | None = None) -> None:
    """Check that no group, and no stretch of a video, is on two sides.

    What a published split itself has on two sides is allowed, with a warning: to refuse it would only keep
    users from figures that can be compared. Validation clips taken from its training clips may add nothing.

    Args:
        splits: the clips of each side.
        published_split: what `Clip.split` of the clips is called, where it is a published protocol.

    Raises:
        DataError: naming the groups, or the videos, and their splits.

    Warns:
        DataWarning: for groups and videos that a published split has on two sides.
    """
    tagged = [(clip, side) for side, clips in splits.parts.items() for clip in clips]
    published = [] if published_split is None else [(clip, clip.split or side) for clip, side in tagged]
    checks = (
        ("group", "Move all clips of a group to one side, or correct the groups.", _leaking_groups),
        (
            "video with overlapping spans",
            "Give overlapping spans the same split and the same group.",
            _leaking_videos,
        ),
    )
    for what, advice, leaking in checks:
        accepted = leaking(published)
        found = [(name, ", ".join(sides)) for name, sides in leaking(tagged).items()]
        own = [(name, sides) for name, sides in found if name not in accepted]
        if own:
            where = f"on more than one side of the split: {_few_with(own)}"
            raise LeakError(f"{count_text(len(own), what)} {where}. {advice}", own)
        if found:
            where = f"on more than one side of {published_split}, as published: {_few_with(found)}"
            warnings.warn(LeakWarning(f"{count_text(len(found), what)} {where}."), stacklevel=3)


def write_splits(splits: Splits, path: str | Path) -> None:
    """Write the splits as a CSV for `read_splits`, and for `read_csv` with `root` set to the data root."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "start", "end", "label", "group", "split"))
        for side, clips in splits.parts.items():
            for clip in clips:
                # None, the end of the file, is written as an empty cell.
                span = (clip.start_seconds, clip.end_seconds)
                writer.writerow((clip.name, *span, clip.label, clip.group, side))


def read_splits(path: str | Path, manifest: Manifest) -> Splits:
    """Read splits back for the same clips. Labels and groups are those of the manifest, not of the file.

    Raises:
        DataError: for a file that is no table of splits, clips that only the file or only the manifest has, a
            class without training clips, and splits that leak.

    Warns:
        DataWarning: for a class that the splits leave out of validation or test, and for groups that a
            published split has on more than one side.
    """
    path = given_path(path)
    read, _ = read_clips(path, root=manifest.root)
    written = _named_as_in(manifest, read)
    side_of = {clip.key: clip.split for clip in written}
    keys = {clip.key for clip in manifest.clips}
    differences = {
        "without a split": [clip.name for clip in written if clip.split is None],
        "not in the data set": [clip.name for clip in written if clip.key not in keys],
        "of the data set missing": [clip.name for clip in manifest.clips if clip.key not in side_of],
    }
    problems = [
        f"{count_text(len(names), 'clip')} {what}: {first_few(names)}" for what, names in differences.items() if names
    ]
    if problems:
        raise DataError(
            f"The splits {str(path)!r} do not fit the data set {str(manifest.root)!r}: "
            f"{'; '.join(problems)}. "
            "Give data.splits the file that was written for this data set, or leave it out for a new split."
        )
    splits = _splits(_by_side((clip, side_of[clip.key]) for clip in manifest.clips))
    _check_classes(splits, manifest)
    check_no_leak(splits, published_split=manifest.published_split)
    return splits


def _named_as_in(manifest: Manifest, clips: Iterable[Clip]) -> list[Clip]:
    """Clips under the names of the manifest, where a file that is not there is spelled otherwise in a table."""
    keys = {clip.key for clip in manifest.clips}
    names = {comparable(clip.name): clip.name for clip in manifest.clips}
    return [
        clip if clip.key in keys else replace(clip, relative_path=names.get(comparable(clip.name), clip.name))
        for clip in clips
    ]


def _by_side(sided: Iterable[tuple[Clip, str | None]]) -> dict[str, list[Clip]]:
    parts: dict[str, list[Clip]] = {name: [] for name in SPLIT_NAMES}
    for clip, side in sided:
        assert side is not None, clip.name
        parts[side].append(clip)
    return parts


def _splits(parts: Mapping[str, Sequence[Clip]]) -> Splits:
    train, val, test = (tuple(sorted(parts.get(name, ()), key=_key)) for name in SPLIT_NAMES)
    return Splits(train, val, test)


def _key(clip: Clip) -> tuple[str, float, float]:
    return clip.key


def _completed(manifest: Manifest, fractions: Mapping[str, float], seed: int) -> Splits:
    """The splits that the data set gives, with validation clips taken from training where it gives none."""
    parts = _by_side((clip, clip.split) for clip in manifest.clips)
    if not parts["train"]:
        raise DataError("The data set gives splits, but no clip to train on; give some clips split=train.")
    if not parts["test"] and fractions["test"] > 0:
        raise DataError(
            f"The data set gives splits, but no test clips, and data.test_fraction={fractions['test']:g}; "
            "give some clips split=test, set data.test_fraction=0, or give no splits at all."
        )
    if not parts["val"] and fractions["val"] > 0:
        wanted = {"train": 1 - fractions["val"], "val": fractions["val"]}
        parts |= _distributed(parts["train"], wanted, seed)
    return _splits(parts)


def _check_classes(splits: Splits, manifest: Manifest) -> None:
    for side, clips in splits.parts.items():
        labels = {clip.label for clip in clips}
        absent = [name for name in manifest.class_names if name not in labels]
        classes = [(name, f"no clips in {side}") for name in absent]
        if absent and side == "train":
            raise ClassError(
                f"{count_text(len(absent), 'class')} without clips to train on: {first_few(absent)}. "
                "Move clips of each to split=train, or remove the class.",
                classes,
            )
        if absent and clips:
            message = f"{count_text(len(absent), 'class')} without clips in the {side} split: {first_few(absent)}."
            warnings.warn(ClassWarning(message, classes), stacklevel=3)


def _leaking_groups(tagged: Iterable[tuple[Clip, str]]) -> dict[str, list[str]]:
    """The groups on more than one side, with their sides."""
    sides: dict[str, dict[str, None]] = defaultdict(dict)
    for clip, side in tagged:
        sides[clip.group][side] = None
    return {group: list(names) for group, names in sides.items() if len(names) > 1}


def _leaking_videos(tagged: Iterable[tuple[Clip, str]]) -> dict[str, list[str]]:
    """The videos with overlapping spans on more than one side, with two of these sides."""
    return {clip.name: [one, other] for clip, one, other in overlaps(tagged) if one != other}


def _distributed(clips: Sequence[Clip], fractions: Mapping[str, float], seed: int) -> dict[str, list[Clip]]:
    """Groups distributed over the splits with a fraction above 0, each class in each of them."""
    fractions = {name: fraction for name, fraction in fractions.items() if fraction > 0}
    units = joined_groups(clips)
    _check_enough_groups(units, list(fractions))
    parts = distribute(clips, fractions, seed)
    labels = {clip.label for clip in clips}
    absent = [(label, name) for name, part in parts.items() for label in sorted(labels - {c.label for c in part})]
    if absent:
        raise ClassError(
            f"No distribution of the {count_text(len(units), 'group')} was found with every class in every split; "
            f"missing would be {_few_with(absent)}. {_way_out(list(fractions))}",
            [(label, f"none would be in {name}") for label, name in absent],
        )
    return parts


def _check_enough_groups(units: Sequence[Sequence[Clip]], names: Sequence[str]) -> None:
    clips = Counter(clip.label for unit in units for clip in unit)
    groups = Counter(label for unit in units for label in {clip.label for clip in unit})
    few = [
        (label, f"{count_text(clips[label], 'clip')} in {count_text(groups[label], 'group')}")
        for label in sorted(clips)
        if groups[label] < len(names)
    ]
    if few:
        raise ClassError(
            f"{count_text(len(few), 'class')} with too few groups for {len(names)} splits ({', '.join(names)}), each "
            f"of which needs a group of its own: {_few_with(few, limit=20)}. {_way_out(names)}",
            few,
        )


def _few_with(subjects: Sequence[tuple[str, str]], limit: int = 5) -> str:
    return first_few([f"{name} ({detail})" for name, detail in subjects], limit=limit)


def _way_out(names: Sequence[str]) -> str:
    without = " or ".join(f"data.{name}_fraction=0" for name in names if name != "train")
    return f"Add clips of other groups, set {without}, choose other groups, or remove the class."
