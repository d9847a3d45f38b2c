"""Lists of class names that lie beside a data set, and whether their order is ours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    folders += [around, *sorted(path for path in around.iterdir() if path.is_dir() and path != root)]
    found = []
    for folder in dict.fromkeys(folders):
        try:
            paths = sorted(path for path in folder.glob("*.txt") if _NAMES.fullmatch(path.name))
        except PermissionError:  # a folder of somebody else's beside ours
            continue
        found += [entry for path in paths if (entry := _read(path))]
    return found


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
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):  # not a list for us to read
        return None
    numbered = [re.fullmatch(r"(\d+)[\s:,]+(.+)", line) for line in lines]
    if lines and all(numbered):
        pairs = sorted((int(match[1]), match[2].strip()) for match in numbered if match)
        lines = [name for _, name in pairs]
    return ClassList(path, tuple(lines)) if len(set(lines)) == len(lines) >= 2 else None
