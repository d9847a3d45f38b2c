"""Groups distributed over splits or folds: whole, with each class in each part, and parts of the wanted sizes."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from activity.data.clips import Clip

# The search stops after about so many updates of a count: one to two seconds of plain Python.
_SEARCH_UPDATES = 1_000_000
_RESTARTS = 12
# Outweighs any deviation from the wanted sizes: a class must stand in each split where the groups allow it.
_ABSENT = 1e9


def distribute(clips: Sequence[Clip], fractions: Mapping[str, float], seed: int) -> dict[str, list[Clip]]:
    """Distribute clips over named parts, no group over two, each class over as many parts as its groups allow.

    Args:
        clips: in any order: it does not matter.
        fractions: the wanted share of each part, each above 0, with the sum 1.
        seed: chooses among the good distributions.
    """
    units = joined_groups(clips)
    labels = sorted({clip.label for clip in clips})
    sides = _Search(units, labels, list(fractions.values())).best(random.Random(seed))
    parts: dict[str, list[Clip]] = {name: [] for name in fractions}
    for unit, side in zip(units, sides, strict=True):
        parts[list(fractions)[side]] += unit
    return parts


def joined_groups(clips: Sequence[Clip]) -> list[list[Clip]]:
    """The clips of each group, sorted by group, so that the order of the clips does not matter.

    Groups are joined where their spans of one video overlap, for these must not be separated either.
    """
    joined: dict[str, str] = {}

    def first(group: str) -> str:
        while group in joined:
            group = joined[group]
        return group

    for _, one, other in overlaps((clip, clip.group) for clip in clips):
        if first(one) != first(other):
            joined[first(other)] = first(one)
    units: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        units[first(clip.group)].append(clip)
    return [units[name] for name in sorted(units)]


def overlaps(tagged: Iterable[tuple[Clip, str]]) -> Iterator[tuple[Clip, str, str]]:
    """Pairs of overlapping spans of one file, as the later clip and both tags.

    Each span is paired with the one before it that ends last. That connects all spans of a chain of overlaps:
    where a chain has two tags, some pair has.
    """
    previous: tuple[Clip, str] | None = None
    for clip, tag in sorted(tagged, key=lambda pair: (pair[0].key, pair[1])):
        _, start, end = clip.key
        if previous and previous[0].name == clip.name and start < previous[0].key[2]:
            yield clip, previous[1], tag
            if end <= previous[0].key[2]:
                continue
        previous = (clip, tag)


class _Search:
    """Random restarts of a greedy distribution, each improved by moving and swapping units.

    Minimised are first the classes that are absent from a split, then Pearson's chi-squared between the
    number of clips of each class (and of all classes together) in each split and the wanted number.
    """

    def __init__(self, units: Sequence[Sequence[Clip]], labels: Sequence[str], fractions: Sequence[float]) -> None:
        column_of = {label: column for column, label in enumerate(labels)}
        everything = len(labels)
        # Column and number of clips of each class in a unit; the last column counts all clips.
        self.units = [
            [*sorted(Counter(column_of[clip.label] for clip in unit).items()), (everything, len(unit))]
            for unit in units
        ]
        totals = [0] * (everything + 1)
        for unit in self.units:
            for column, number in unit:
                totals[column] += number
        self.wanted = [[fraction * total for total in totals] for fraction in fractions]

    def best(self, random_state: random.Random) -> list[int]:
        """For each unit the index of its split."""
        updates = sum(map(len, self.units)) * len(self.wanted)
        restarts = max(1, min(_RESTARTS, _SEARCH_UPDATES // (4 * updates)))
        proposals = _SEARCH_UPDATES * len(self.units) // (6 * updates * restarts)
        proposals = min(proposals, 40 * len(self.units) * len(self.wanted))
        results = [self._attempt(random_state, proposals) for _ in range(restarts)]
        return min(results, key=lambda result: result[0])[1]

    def _attempt(self, random_state: random.Random, proposals: int) -> tuple[float, list[int]]:
        self.counts = [[0] * len(wanted) for wanted in self.wanted]
        splits = range(len(self.wanted))
        sides = [0] * len(self.units)
        # Large units first, roughly: small ones then even out what these leave.
        size = {index: unit[-1][1] * (0.5 + random_state.random()) for index, unit in enumerate(self.units)}
        for index in sorted(size, key=lambda index: -size[index]):
            changes = [self._change(index, split, +1) for split in splits]
            sides[index] = min(splits, key=changes.__getitem__)
            for split in splits:
                if split != sides[index]:
                    self._change(index, split, -1)
        for _ in range(proposals):
            self._propose(random_state, sides)
        columns = range(len(self.wanted[0]))
        return sum(self._cost(s, c, self.counts[s][c]) for s in splits for c in columns), sides

    def _propose(self, random_state: random.Random, sides: list[int]) -> None:
        """Move a unit, or swap two, unless that makes it worse."""
        index, other = random_state.randrange(len(sides)), random_state.randrange(len(sides))
        if sides[index] != sides[other] and random_state.random() < 0.5:
            moves = [(index, sides[other]), (other, sides[index])]
        else:
            moves = [(index, random_state.randrange(len(self.wanted)))]
        back = [(moved, sides[moved]) for moved, _ in moves]
        if sum(self._move(moved, split, sides) for moved, split in moves) > 0:
            for moved, split in back:
                self._move(moved, split, sides)

    def _move(self, index: int, split: int, sides: list[int]) -> float:
        change = self._change(index, sides[index], -1) + self._change(index, split, +1)
        sides[index] = split
        return change

    def _change(self, index: int, split: int, sign: int) -> float:
        """Count a unit into a split (+1) or out of it (-1). Returns the change of the cost."""
        counts, change = self.counts[split], 0.0
        for column, number in self.units[index]:
            before = counts[column]
            counts[column] = before + sign * number
            change += self._cost(split, column, counts[column]) - self._cost(split, column, before)
        return change

    def _cost(self, split: int, column: int, count: int) -> float:
        wanted = self.wanted[split][column]
        return (count - wanted) ** 2 / wanted + (0 if count else _ABSENT)
