"""Read folders, text files and their rows, and find videos by name."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from activity.data.clips import DataError, RowsWarning, count_text, first_few
from activity.data.names import comparable, given_path
from activity.video.files import VIDEO_SUFFIXES, find_videos

USUAL_SUFFIXES = ".mp4, .mkv, .avi, .mov, .webm and others"
"""Of videos, for messages."""

_PROBLEMS_SHOWN = 10
_HEADER_BYTES = 10_000
# The first line of a table for Excel may say how cells are delimited.
_DECLARED = re.compile(r'"?sep=([^\w\s"]|\t)"?(?:\1|[,;\t])*(?:\r\n|\r|\n|$)', re.IGNORECASE)


def existing_folder(given: str | Path) -> Path:
    """The absolute path of a folder with videos.

    Raises:
        DataError: there is no such folder.
    """
    folder = given_path(os.path.normpath(Path(given).expanduser().absolute()))
    if folder.is_dir():
        return folder
    if not folder.exists():
        raise DataError(f"There is no folder {str(folder)!r}; give data.root the folder with the videos.")
    if folder.suffix.lower() == ".csv":
        raise DataError(f"{str(folder)!r} is a CSV, not a folder; use data=csv data.csv={folder}")
    raise DataError(f"{str(folder)!r} is a file, not a folder; give data.root the folder with the class folders.")


def folders_in(parent: Path) -> list[Path]:
    """Return the folders directly in a folder, sorted.

    Names that start with a dot are left out.
    """
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def left_out_texts(files: Sequence[Path], root: Path, where: str) -> Iterator[str]:
    """Name the files below a folder that are not read as videos, a text for each reason.

    Args:
        files: those beside the videos, as `scan_folder` gives them.
        root: the folder.
        where: where they are, in words.
    """
    by_suffix = [path for path in files if path.suffix.lower() not in VIDEO_SUFFIXES]
    by_content = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    for paths, one, several in (
        (by_suffix, "its name does not end like a video's", "their names do not end like a video's"),
        (by_content, "it holds no video", "they hold no video"),
    ):
        if paths:
            names = first_few([path.relative_to(root).as_posix() for path in paths], limit=3)
            reason = one if len(paths) == 1 else several
            yield f"{count_text(len(paths), 'file')} {where} left out, as {reason}: {names}"


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8.

    If it begins with a byte order mark of UTF-16, it is read so.

    Raises:
        DataError: it cannot be read, or is in another encoding.
    """
    try:
        text = _decoded(path.read_bytes(), errors="strict")
    except FileNotFoundError:
        raise DataError(f"There is no file {str(path)!r}; give the path of one.") from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}; give a file that can be.") from None
    except UnicodeDecodeError as error:
        raise _no_utf8(path, error.start) from None
    if "\0" in text:  # UTF-16 without a byte order mark: each of its bytes is UTF-8
        raise _no_utf8(path, text.index("\0"))
    return text


def delimiter_of(text: str, columns: Collection[str]) -> str:
    """Return the delimiter that a table declares or its header shows.

    A header shows the one that finds most of `columns` in it.

    >>> delimiter_of("path;label\\na.mp4;walk, slowly", ["path", "label"]), delimiter_of("sep=|\\npath|label", ["path"])
    (';', '|')
    """
    if declared := _DECLARED.match(text):
        return declared[1]
    header = next((line for line in text.splitlines() if line.strip()), "")[:_HEADER_BYTES]

    def columns_found(delimiter: str) -> int:
        (names,) = csv.reader([header], delimiter=delimiter)
        return sum(column_name(name) in columns for name in names)

    return max(",;\t", key=columns_found)


def numbered_rows(path: Path, text: str, *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row of a CSV.

    Blank rows are left out, and so is a first line that declares the delimiter.

    Raises:
        DataError: for a quote that is never closed.
    """
    text = _DECLARED.sub("\n", text, count=1) if _DECLARED.match(text) else text
    # strict: such a quote would otherwise swallow all further rows without a word.
    # A space before a quote does not make the quote a part of the cell; one before a name may be a part of it.
    spaced = f'{delimiter} "' in text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=spaced, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{str(path)!r}, line {reader.line_num}: {error}; check the quotes there.") from None


def column_name(cell: str) -> str:
    """Return a column's name without case, and spaces or quotes around it."""
    return comparable(cell).strip('"').lower()


def header_of(path: Path, columns: Collection[str]) -> list[str]:
    """Return the names of a table's columns; empty for other files."""
    try:
        with path.open("rb") as file:
            text = _decoded(file.read(_HEADER_BYTES), errors="replace")
        _, cells = next(numbered_rows(path, text, delimiter=delimiter_of(text, columns)), (0, []))
    except (OSError, DataError):  # reading all of it will say why
        return []
    return [column_name(cell) for cell in cells]


def rows_error(path: Path, problems: Sequence[str], *, missing: str = "") -> DataError:
    """Return the error for a file with problems in its rows.

    It says how many, the first few, and the missing files.
    """
    return DataError(_rows_text(path, problems, "correct the rows, or remove them") + (missing and f"\n  {missing}"))


def refuse_or_skip_rows(path: Path, problems: Sequence[str], *, skip: bool, missing: str = "") -> None:
    """Raise `rows_error` if there are problems; with `skip`, warn by RowsWarning."""
    if problems and not skip:
        raise rows_error(path, problems, missing=missing)
    if problems:
        message = _rows_text(path, problems, "these rows are left out")
        warnings.warn(RowsWarning(message, path, problems), stacklevel=3)


def _rows_text(path: Path, problems: Sequence[str], advice: str) -> str:
    more = len(problems) - _PROBLEMS_SHOWN
    lines = [*problems[:_PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return "\n  ".join([f"{count_text(len(problems), 'problem')} in {str(path)!r}; {advice}:", *lines])


class VideosByName:
    """The videos below a folder, found by file name without suffix.

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
        """Return the video with that name.

        Of several it is the one that lies in most of `folders`, then the least deep.
        """
        candidates = self._by_name.get(self._key(name), ())
        if len(candidates) < 2:  # nearly always, and published data sets have hundreds of thousands
            return candidates[0] if candidates else None
        wanted = {_folder_key(folder) for folder in folders}

        def order(path: Path) -> tuple[int, int]:
            parts = path.relative_to(self.root).parts[:-1]
            return -len(wanted & {_folder_key(part) for part in parts}), len(parts)

        return min(candidates, key=order)

    def _key(self, name: str) -> str:
        return comparable(name).casefold() if self._any_case else comparable(name)


def _folder_key(name: str) -> str:
    # Downloaders write the class "air drumming" as the folder air_drumming.
    return comparable(name).casefold().replace(" ", "_")


def _decoded(data: bytes, *, errors: str) -> str:
    # Excel's "Unicode Text" is UTF-16 with a byte order mark.
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig", errors)


def _no_utf8(path: Path, byte: int) -> DataError:
    return DataError(f"{str(path)!r} is not a UTF-8 text (byte {byte}); save it as 'CSV UTF-8'.")
