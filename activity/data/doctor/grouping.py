"""A guess at what the groups of a data set are, from the names of its files."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from activity.data.clips import Clip

_TOKEN = r"[^/_. -]+"
_TOKENS_TRIED = 4
# What well-known data sets, and many others, write into their names. Each pattern holds no quote, dollar or
# exclamation mark, so that it can be copied into a command line.
_KNOWN_PATTERNS = (
    r"(?P<group>v_[^/]+_g\d+)_c\d+",  # UCF101: the source video, counted in each class anew
    r"(?P<group>[^/]+)_[fhlu]_(?:cm|nm)_np\d+_(?:ba|fr|le|ri)_(?:bad|goo|med)_\d+\.",  # HMDB51: the source video
    r"S\d{3}C\d{3}(?P<group>P\d{3})R\d{3}A\d{3}",  # NTU RGB+D: the performer
    r"(?:^|/)(?P<group>[\w-]{11})_\d{6}_\d{6}",  # Kinetics: the YouTube video
    *(
        rf"(?P<group>{word}[_-]?\d+)"  # KTH's person01, and others
        for word in ["actor", "subject", "subj", "person", "performer", "participant", "user", "player", "volunteer"]
    ),
)
_SOURCE_AND_INDEX = (
    r"(?:^|/)(?P<group>[^/]*[^/\d_. -][^/]*?)(?:[_. -]\d+){1,3}\.[^./]+\Z"  # source_3.mp4, source_10_20.mp4
)


@dataclass(frozen=True)
class GroupGuess:
    """Groups that file names suggest.

    Attributes:
        pattern: the regular expression, for `data.group_pattern`.
        group_of: the group by the name of the clip.
    """

    pattern: str
    group_of: Mapping[str, str]

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(set(self.group_of.values()))


def guess_groups(clips: Sequence[Clip]) -> GroupGuess | None:
    """Find a pattern that puts several files into most groups, or None.

    Tried are the names of well-known data sets; a folder between that of the class and the file; a part of the file's
    name (between `_`, `-`, dots and spaces) whose values recur in several classes, as an actor's do; and a name
    that is followed by counts, as pieces of one source video are. Each pattern must fit every file, make at most half
    as many groups as files, and leave each class two groups at least.

    >>> from pathlib import Path
    >>> names = ("run/eli_run.avi", "run/ida_run.avi", "walk/eli_walk.avi", "walk/ida_walk.avi")
    >>> clips = [Clip(path=Path("/", name), relative_path=name, label=name.split("/")[0], group=name) for name in names]
    >>> guess = guess_groups(clips)
    >>> guess.groups, guess.pattern
    (2, '(?:^|/)(?P<group>[^/_. -]+)[_. -][^/]*\\\\Z')
    """
    label_of = {clip.name: clip.label for clip in clips}
    if not label_of:
        return None
    for pattern in _KNOWN_PATTERNS:
        if guess := _guess(pattern, label_of):
            return guess
    tokens = [
        rf"(?:^|/)(?:{_TOKEN}[_. -]){{{position}}}(?P<group>{_TOKEN})[_. -][^/]*\Z"
        if position
        else rf"(?:^|/)(?P<group>{_TOKEN})[_. -][^/]*\Z"
        for position in range(_TOKENS_TRIED)
    ]
    for pattern in (*_folder_patterns(clips), *tokens):
        guess = _guess(pattern, label_of)
        if guess and _recur_in_classes(guess, label_of) and not _are_counts(guess):
            return guess
    for pattern in (*_folder_patterns(clips), _SOURCE_AND_INDEX):
        if guess := _guess(pattern, label_of):
            return guess
    return None


def _folder_patterns(clips: Sequence[Clip]) -> list[str]:
    """The folder below that of the class, where the classes are folders."""
    depths = {depth for clip in clips for depth, part in enumerate(clip.name.split("/")[:-1]) if part == clip.label}
    return [rf"^(?:[^/]+/){{{min(depths) + 1}}}(?P<group>[^/]+)/"] if depths else []


def _guess(pattern: str, label_of: Mapping[str, str]) -> GroupGuess | None:
    found = {name: re.search(pattern, name) for name in label_of}
    group_of = {name: match["group"] for name, match in found.items() if match}
    if len(group_of) < len(label_of) or len(set(group_of.values())) > len(label_of) / 2:
        return None
    groups_of_class: dict[str, set[str]] = defaultdict(set)
    for name, group in group_of.items():
        groups_of_class[label_of[name]].add(group)
    if min(map(len, groups_of_class.values())) < 2:
        return None
    return GroupGuess(pattern, group_of)


def _recur_in_classes(guess: GroupGuess, label_of: Mapping[str, str]) -> bool:
    """Whether at least half of the files are in groups with several classes."""
    classes: dict[str, set[str]] = defaultdict(set)
    for name, group in guess.group_of.items():
        classes[group].add(label_of[name])
    sizes = Counter(guess.group_of.values())
    return 2 * sum(size for group, size in sizes.items() if len(classes[group]) > 1) >= len(label_of)


def _are_counts(guess: GroupGuess) -> bool:
    """Whether the groups are numbers, or takes and the like: these recur in every class without being a source."""
    counted = r"(?i)(?:[a-z]|take|clip|video|vid|part|seg|segment|scene|shot|trial|rep|cam|camera|view|file|img|no)?\d+"
    return all(re.fullmatch(counted, group) for group in guess.group_of.values())
