"""Lists of class names that lie beside a data set, and whether their order is ours."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity.data.clips import DataError
from activity.data.layouts.disk import read_text
from activity.data.names import cleaned

_NAMES = re.compile(r"(class_?ind(ex)?|class(es|_?names|_?list)|labels?(_?map)?|categories)\.txt", re.IGNORECASE)
_LIMIT_BYTES = 1_000_000


@dataclass(frozen=True)
class ClassList:
    """A file with one class name a line, a number before it or not, such as UCF101's classInd.txt."""

    path: Path
    class_names: tuple[str, ...]


def find_class_lists(root: Path) -> list[ClassList]:
    """Class lists in a data set's folder, in the folder around it, and in the folders beside it.

    UCF101, for one, keeps its list in `ucfTrainTestlist/classInd.txt`, beside the folder of the videos.
    """
    around = root.parent
    folders = [root, *_folders_in(root), around, *_folders_in(around)]
    lists = [path for folder in dict.fromkeys(folders) for path in _lists_in(folder)]
    return [entry for path in lists if (entry := _read(path))]


def _folders_in(folder: Path) -> list[Path]:
    return _entries(folder, lambda entry: entry.is_dir())


def _lists_in(folder: Path) -> list[Path]:
    return _entries(folder, lambda entry: _NAMES.fullmatch(entry.name) is not None)


def _entries(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[Path]:
    """What is wanted of a folder, sorted; nothing of one of somebody else's that may not be looked into."""
    try:
        with os.scandir(folder) as entries:  # a folder may hold very many videos: no path is made of each
            return sorted(Path(entry.path) for entry in entries if wanted(entry))
    except OSError:
        return []


def difference(class_names: Sequence[str], class_list: ClassList) -> str | None:
    """What a list says otherwise, or None where it says the same or is about other classes."""
    listed = class_list.class_names
    common = set(class_names) & set(listed)
    if 2 * len(common) < len(class_names):  # a list of something else
        return None
    if missing := [name for name in class_names if name not in common]:
        return f"does not list {', '.join(map(repr, missing))}"
    expected = [name for name in listed if name in common]
    positions = [index for index, pair in enumerate(zip(class_names, expected, strict=True)) if pair[0] != pair[1]]
    if not positions:
        return None
    first = positions[0]
    return f"has {len(positions)} classes at other places: {expected[first]!r} where {class_names[first]!r} is here"


def _read(path: Path) -> ClassList | None:
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            return None
        lines = [name for line in read_text(path).splitlines() if (name := cleaned(line))]
    except (OSError, DataError):  # not a list for us to read
        return None
    numbered = [re.fullmatch(r"(\d+)[\s:,]+(.+)", line) for line in lines]
    if lines and all(numbered):
        pairs = sorted((int(match[1]), match[2].strip()) for match in numbered if match)
        lines = [name for _, name in pairs]
    return ClassList(path, tuple(lines)) if len(set(lines)) == len(lines) >= 2 else None
