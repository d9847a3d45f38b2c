"""The last step of every layout: from clips to a `Manifest`, with the groups that a pattern finds."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from activity.data.clips import SPLIT_NAMES, Clip, DataError, DataNote, DataWarning, Manifest, count_text, first_few
from activity.data.names import cleaned, comparable, spelled_out

SPLIT_SPELLINGS = {name: name for name in SPLIT_NAMES} | {"valid": "val", "validate": "val", "validation": "val"}


def make_manifest(
    clips: Sequence[Clip],
    root: Path,
    *,
    group_pattern: str | None,
    groups_given: bool,
    class_names: Sequence[str] | None = None,
    published_split: str | None = None,
) -> Manifest:
    """The manifest of clips, with the groups that `group_pattern` finds in their names where there is one.

    Args:
        clips: the clips.
        root: the folder that their names are relative to.
        group_pattern: regular expression with a group named `group`, or None: the clips keep their groups.
        groups_given: whether the groups that the clips come with mean anything.
        class_names: the order of the classes, None for the sorted one; names without clips are left out.
        published_split: as for `Manifest`.

    Raises:
        DataError: a pattern that does not fit, and what `Manifest` raises.

    Warns:
        DataWarning: for class names that differ only in case.
    """
    if group_pattern is not None:
        clips = _grouped(clips, group_pattern)
    labels = {clip.label for clip in clips}
    names = tuple(name for name in class_names or sorted(labels) if name in labels)
    manifest = Manifest(tuple(clips), names, root, groups_given or group_pattern is not None, published_split)
    by_lower_case: dict[str, list[str]] = {}
    for name in names:
        by_lower_case.setdefault(name.casefold(), []).append(name)
    if alike := [first_few(names) for names in by_lower_case.values() if len(names) > 1]:
        warn(f"Class names that differ only in case are different classes: {'; '.join(alike)}.")
    return manifest


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """The spelling under which each of some names is used: one for those that people take for the same.

    Warns:
        DataNote: for names that were spelled in several ways.

    >>> one_spelling(["run", " walk "])
    {' walk ': 'walk', 'run': 'run'}
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        alike[comparable(name)].append(name)
    if joined := [spellings for spellings in alike.values() if len(spellings) > 1]:
        pairs = "; ".join(" = ".join(map(spelled_out, spellings)) for spellings in joined)
        warn(f"Names that look alike are taken for one: {pairs}.", DataNote)
    return {name: min(map(cleaned, spellings)) for spellings in alike.values() for name in spellings}


def warn(message: str, category: type[DataWarning] = DataWarning) -> None:
    """Tell the user about a data set that can be used all the same."""
    warnings.warn(message, category, stacklevel=3)


def _grouped(clips: Sequence[Clip], group_pattern: str) -> list[Clip]:
    given = f"data.group_pattern={group_pattern!r}"
    try:
        pattern = re.compile(group_pattern)
    except re.error as error:
        raise DataError(f"{given} is not a regular expression: {error}; correct it there.") from None
    if "group" not in pattern.groupindex:
        raise DataError(f"{given} has no group named 'group'; write (?P<group>...) around what names the group.")
    matches = [pattern.search(clip.name) for clip in clips]
    groups = [cleaned(match["group"]) if match and match["group"] else None for match in matches]
    unmatched = [clip.name for clip, group in zip(clips, groups, strict=True) if not group]
    if unmatched:
        raise DataError(
            f"{given} finds no group in {len(unmatched)} of {count_text(len(clips), 'path')}: {first_few(unmatched)}; "
            "it is searched in the path relative to the data root and must find one in each."
        )
    return [replace(clip, group=group) for clip, group in zip(clips, groups, strict=True) if group]
