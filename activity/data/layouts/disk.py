"""What lies on disk: folders, text files and their rows, and videos by name."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from activity.data.clips import DataError, count_text
from activity.video.reader import find_videos

USUAL_SUFFIXES = ".mp4, .mkv, .avi, .mov, .webm and others"
"""Of videos, for messages."""

_PROBLEMS_SHOWN = 10


def existing_folder(given: str | Path) -> Path:
    """The absolute path of a folder with videos.

    Raises:
        DataError: there is no such folder.
    """
    folder = Path(os.path.normpath(Path(given).expanduser().absolute()))
    if folder.is_dir():
        return folder
    if not folder.exists():
        raise DataError(f"There is no folder {str(folder)!r}; give data.root the folder with the videos.")
    if folder.suffix.lower() == ".csv":
        raise DataError(f"{str(folder)!r} is a CSV, not a folder; use data=csv data.csv={folder}")
    raise DataError(f"{str(folder)!r} is a file, not a folder; give data.root the folder with the class folders.")


def folders_in(parent: Path) -> list[Path]:
    """The folders directly in a folder, sorted; names that start with a dot are left out."""
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"There is no file {str(path)!r}; give the path of one.") from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}; give a file that can be.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is not a UTF-8 text (byte {error.start}); save it as 'CSV UTF-8'.") from None


def numbered_rows(path: Path, text: str, *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row of a CSV that is not blank.

    Raises:
        DataError: for a quote that is never closed.
    """
    # strict: such a quote would otherwise swallow all further rows without a word.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{str(path)!r}, line {reader.line_num}: {error}; check the quotes there.") from None


def rows_error(path: Path, problems: Sequence[str]) -> DataError:
    """The error for a file with problems in its rows: how many, and the first few."""
    more = len(problems) - _PROBLEMS_SHOWN
    lines = [*problems[:_PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return DataError(
        "\n  ".join(
            [f"{count_text(len(problems), 'problem')} in {str(path)!r}; correct the rows, or remove them:", *lines]
        )
    )


class VideosByName:
    """The videos at any depth below a folder, found by file name without suffix.

    Published data sets are re-encoded and sorted into folders in many ways; the names of the videos stay.

    Args:
        root: the folder.
        any_case: whether names that differ only in case are the same.
    """

    def __init__(self, root: Path, *, any_case: bool) -> None:
        self.root = root
        self.paths = find_videos(root)
        self._any_case = any_case
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_name[self._key(path.stem)].append(path)

    def find(self, name: str, *, folders: Collection[str]) -> Path | None:
        """The video with that name; of several the one that lies in most of `folders`, then the least deep."""
        candidates = self._by_name.get(self._key(name), ())
        if len(candidates) < 2:  # nearly always, and published data sets have hundreds of thousands
            return candidates[0] if candidates else None
        wanted = {_folder_key(folder) for folder in folders}

        def order(path: Path) -> tuple[int, int]:
            parts = path.relative_to(self.root).parts[:-1]
            return -len(wanted & {_folder_key(part) for part in parts}), len(parts)

        return min(candidates, key=order)

    def _key(self, name: str) -> str:
        return name.casefold() if self._any_case else name


def _folder_key(name: str) -> str:
    # Downloaders write the class "air drumming" as the folder air_drumming.
    return name.casefold().replace(" ", "_")
