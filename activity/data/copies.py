"""Videos that are there under several names, byte for byte the same: found, and their groups joined.

A copy under another name looks like another recording. Where its group may be parted from that of the original, a
model is tested on what it was trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from activity.data.clips import Clip


@dataclass(frozen=True)
class JoinedGroups:
    """Groups that count as one, for each holds a video that another one holds too.

    Attributes:
        sets: the names of the groups of each set, sorted; the first is the name of them all from now on.
    """

    sets: tuple[tuple[str, ...], ...]

    def applied(self, clips: Iterable[Clip]) -> tuple[Clip, ...]:
        """The clips with their joined groups."""
        new = {name: names[0] for names in self.sets for name in names[1:]}
        return tuple(replace(clip, group=new[clip.group]) if clip.group in new else clip for clip in clips)


def copied_groups(tagged: Iterable[tuple[Clip, str | None]], content_of: Mapping[Path, str]) -> JoinedGroups:
    """The groups to be joined: those that hold copies of one video and are not parted already.

    Args:
        tagged: clips, each with the side that it stands on, or None where that is to be decided. Copies on different
            sides join nothing: these sides are given.
        content_of: a digest of each video's bytes; a video that it leaves out is taken for the only one of its kind.

    >>> def clip(name, group):
    ...     return Clip(path=Path("/data", name), relative_path=name, label="run", group=group)
    >>> clips = [clip("a.mp4", "ann"), clip("copy.mp4", "bob"), clip("c.mp4", "cem")]
    >>> content_of = dict(zip((each.path for each in clips), ("1f", "1f", "07")))
    >>> copied_groups([(each, None) for each in clips], content_of).sets
    (('ann', 'bob'),)
    >>> copied_groups(zip(clips, ("train", "test", "train")), content_of).sets
    ()
    """
    groups_of: dict[tuple[str, str | None], dict[str, None]] = defaultdict(dict)
    paths_of: dict[str, set[Path]] = defaultdict(set)
    for clip, side in tagged:
        if content := content_of.get(clip.path):
            groups_of[content, side][clip.group] = None
            paths_of[content].add(clip.path)
    # The spans of one file may be in several groups: its owner has said so. Of a copy nobody has said anything.
    copied = [groups for (content, _), groups in groups_of.items() if len(paths_of[content]) > 1]
    pairs = [(first, other) for first, *others in copied for other in others]
    return JoinedGroups(tuple(sorted(tuple(sorted(map(str, names))) for names in connected_sets(pairs))))


def identical_sets(digests: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Names whose digests are the same, in sets of two and more, in the order given.

    >>> identical_sets({"a.avi": "1f", "b.avi": "07", "c.avi": "1f"})
    [('a.avi', 'c.avi')]
    """
    by_digest: dict[str, list[str]] = defaultdict(list)
    for name, digest in digests.items():
        by_digest[digest].append(name)
    return [tuple(names) for names in by_digest.values() if len(names) > 1]


def connected_sets(pairs: Iterable[tuple[Hashable, Hashable]]) -> list[tuple[Hashable, ...]]:
    """Join pairs with a member in common.

    >>> connected_sets([(1, 2), (3, 4), (2, 5)])
    [(1, 2, 5), (3, 4)]
    """
    set_of: dict[Hashable, list[Hashable]] = {}
    for one, other in pairs:
        first, second = set_of.setdefault(one, [one]), set_of.setdefault(other, [other])
        if first is not second:
            first += second
            set_of.update(dict.fromkeys(second, first))
    return [tuple(members) for members in {id(members): members for members in set_of.values()}.values()]
