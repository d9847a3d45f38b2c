"""Cross-validation folds: each clip is tested once, by a head that has seen nothing of its group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from activity.data.clips import Clip, DataError, Manifest, count_text, first_few
from activity.data.distribution import distribute, joined_groups

BY_GROUP = "groups"


@dataclass(frozen=True)
class Fold:
    """One part of a cross-validation.

    Attributes:
        name: the group that is left out, or the fold's number.
        train: the clips of all other folds.
        test: the clips that are left out.
    """

    name: str
    train: tuple[Clip, ...]
    test: tuple[Clip, ...]


def make_folds(manifest: Manifest, folds: str | int, *, seed: int) -> tuple[Fold, ...]:
    """Part the clips of a manifest; no group is ever on both sides. Splits that the data set gives play no role.

    Args:
        manifest: the clips with their groups.
        folds: "groups": leave one group out; or a number k: k-fold, stratified by class, whole groups.
        seed: chooses among the good distributions of k-fold.

    Raises:
        DataError: another value of `folds`, more folds than groups, or a class whose clips are all in one group: when
            that group is left out there is nothing to learn the class from.

    >>> from pathlib import Path
    >>> names = [f"{label}/{actor}" for actor in ("ann", "bob", "cem", "dan") for label in ("run", "walk")]
    >>> clips = tuple(
    ...     Clip(path=Path("/data", name), relative_path=name, label=name.split("/")[0], group=name.split("/")[1])
    ...     for name in names
    ... )
    >>> manifest = Manifest(clips, ("run", "walk"), root=Path("/data"), groups_given=True)
    >>> [(fold.name, len(fold.train), len(fold.test)) for fold in make_folds(manifest, "groups", seed=0)]
    [('ann', 6, 2), ('bob', 6, 2), ('cem', 6, 2), ('dan', 6, 2)]
    >>> [len(fold.test) for fold in make_folds(manifest, 2, seed=0)]
    [4, 4]
    """
    if folds != BY_GROUP and (not isinstance(folds, int) or isinstance(folds, bool) or folds < 2):
        raise DataError(f"folds={folds} cannot be used; accepted: groups (leave one group out), or a number from 2 up.")
    units = joined_groups(manifest.clips)
    _check_groups(manifest, units, folds)
    if isinstance(folds, int):
        parts = distribute(manifest.clips, {str(number): 1 / folds for number in range(1, folds + 1)}, seed)
    else:
        parts = {unit[0].group: list(unit) for unit in units}
    return tuple(_fold(manifest, name, part) for name, part in parts.items())


def _check_groups(manifest: Manifest, units: Sequence[Sequence[Clip]], folds: str | int) -> None:
    where = defaultdict(set)
    for number, unit in enumerate(units):
        for clip in unit:
            where[clip.label].add(number)
    counts = Counter(clip.label for clip in manifest.clips)
    if lonely := [
        f"{label} ({count_text(counts[label], 'clip')})" for label in manifest.class_names if len(where[label]) < 2
    ]:
        raise DataError(
            f"{count_text(len(lonely), 'class')} with all clips in one group: {first_few(lonely, limit=20)}. When that "
            "group is left out, nothing is left to learn the class from. Add clips of other groups, choose other "
            "groups (data.group_pattern, a group column), or remove the class."
        )
    if isinstance(folds, int) and len(units) < folds:
        raise DataError(
            f"folds={folds}, and the data set has {len(units)} groups, which must stay whole. "
            f"Accepted: folds=groups, or 2 to {len(units)}."
        )


def _fold(manifest: Manifest, name: str, test: Sequence[Clip]) -> Fold:
    left_out = {clip.key for clip in test}
    train = [clip for clip in manifest.clips if clip.key not in left_out]
    absent = sorted(set(manifest.class_names) - {clip.label for clip in train})
    if absent:
        raise DataError(
            f"Without fold {name!r} nothing is left to learn {first_few(absent)} from: its groups are too few or too "
            "large for that many folds. Use folds=groups, fewer folds, or choose other groups."
        )
    by_name = sorted(train, key=lambda clip: clip.key), sorted(test, key=lambda clip: clip.key)
    return Fold(name, tuple(by_name[0]), tuple(by_name[1]))
