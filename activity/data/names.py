"""Names that people take for the same although their characters differ: one spelling, and files found by any.

macOS writes file names decomposed (NFD: e and U+0301), spreadsheets composed (NFC: é). Text from web pages and chats
brings characters that have no width, and spaces that do not break.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# Soft hyphen, zero-width space, marks of direction (Windows puts U+202A before a copied path), word joiner, byte order.
_INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_CLEANED = dict.fromkeys(map(ord, _INVISIBLE)) | dict.fromkeys(map(ord, "\u00a0\u2007\u202f"), " ")
# Persian, Hindi and emoji need these, so a name keeps them; beside the same name without them they make no other.
_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d\ufe0e\ufe0f"))


def cleaned(name: str) -> str:
    """A name as it is used: NFC, without invisible characters, with plain spaces, and none around it.

    >>> cleaned(" cafe\\u0301\\u00a0bar\\u200b ") == "caf\\u00e9 bar"
    True
    """
    return name.strip() if name.isascii() else unicodedata.normalize("NFC", name.translate(_CLEANED)).strip()


def comparable(name: str) -> str:
    """Equal for names that people take for the same. Upper and lower case stay apart.

    >>> comparable("cafe\\u0301") == comparable("caf\\u00e9\\u200d"), comparable("Run") == comparable("run")
    (True, False)
    """
    return cleaned(name if name.isascii() else name.translate(_JOINERS))


def spelled_out(name: str) -> str:
    """A name in quotes for a message, with the characters by which it differs from others alike.

    >>> spelled_out("cafe\\u0301s"), spelled_out("run "), spelled_out("run\\u200b")
    ("'cafe' + U+0301 + 's'", "'run '", "'run' + U+200B")
    """
    visible = comparable(name)
    parts: list[str] = []
    for letter in name:
        if not (letter.isascii() or letter in visible):
            parts.append(f"U+{ord(letter):04X}")
        elif parts and not parts[-1].startswith("U+"):
            parts[-1] += letter
        else:
            parts.append(letter)
    return " + ".join(part if part.startswith("U+") else repr(part) for part in parts) or "''"


class NamesOnDisk:
    """Finds files and folders whose names on disk are spelled otherwise; lists each folder once.

    Args:
        any_case: whether names that differ only in upper and lower case are alike.
    """

    def __init__(self, *, any_case: bool = False) -> None:
        self._any_case = any_case
        self._alike: dict[Path, list[Path]] = {}
        self._listings: dict[Path, dict[str, set[str]]] = {}

    def find(self, path: Path) -> Path | None:
        """The path as it is on disk: as given where it exists so; None where none or several are alike."""
        if _exists(path):
            return path
        alike = self.alike(path)
        return alike[0] if len(alike) == 1 else None

    def alike(self, path: Path) -> list[Path]:
        """All paths on disk that people take for the same."""
        if path == path.parent:
            return [path]
        if path not in self._alike:
            folders = self.alike(path.parent)
            self._alike[path] = [folder / name for folder in folders for name in self._names(folder, path.name)]
        return self._alike[path]

    def _names(self, folder: Path, name: str) -> set[str]:
        if folder not in self._listings:
            names: dict[str, set[str]] = defaultdict(set)
            with suppress(OSError):  # what may be entered need not be open to be listed
                for entry in folder.iterdir():
                    names[self._key(entry.name)].add(entry.name)
            self._listings[folder] = names
        alike = self._listings[folder].get(self._key(name), set())
        return alike | {name} if _exists(folder / name) else alike

    def _key(self, name: str) -> str:
        return comparable(name).casefold() if self._any_case else comparable(name)


def in_other_case(paths: Mapping[str, Path]) -> dict[str, str]:
    """The names of missing files whose names on disk differ only in upper and lower case, with those on disk.

    Args:
        paths: the path of each missing file by its name.
    """
    names = NamesOnDisk(any_case=True)
    alike = {name: min(names.alike(path), default=None) for name, path in paths.items()}
    return {name: _as_written(name, path) for name, path in alike.items() if path}


def _as_written(name: str, path: Path) -> str:
    parts = Path(name).parts
    return path.as_posix() if ".." in parts else Path(*path.parts[-len(parts) :]).as_posix()


def given_path(given: str | Path) -> Path:
    """A path that a user gave, with `~` expanded, and as it is on disk."""
    path = Path(given).expanduser()
    return NamesOnDisk().find(path) or path


def given_source(given: str) -> str:
    """The same for what may also be an address, a pattern or the number of a camera: these stay as they are."""
    path = Path(given)
    found = NamesOnDisk().find(path)
    return given if found in (None, path) else str(found)


def _exists(path: Path) -> bool:
    # Unlike Path.exists, this one takes a name too long for the file system for a missing file.
    return os.path.exists(path)  # noqa: PTH110
