"""A table that a user wrote: its rows by column, the files that it names, and what is wrong with either."""

from __future__ import annotations

import csv as csv_format
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from activity.data.clips import DataError, count_text, first_few
from activity.data.layouts.disk import numbered_rows, read_text
from activity.data.layouts.manifests import warn

Rows = Iterator[tuple[int, list[str]]]


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """What a table has to look like.

    Attributes:
        columns: those that it may have.
        needed: those that it must have.
        path: the one that names files: a name may well begin or end with a space.
        row: what a row is, in a word.
    """

    columns: tuple[str, ...]
    needed: tuple[str, ...]
    path: str
    row: str


def open_table(csv: Path, form: TableForm) -> tuple[list[str], Rows]:
    """The names in the header of a table in UTF-8, with comma, semicolon or tab, and its rows by line.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    text = read_text(csv)
    if not text.strip():
        header = ",".join(form.needed)
        raise DataError(f"The CSV {str(csv)!r} is empty; it needs a header such as {header} and a row a {form.row}.")
    rows = numbered_rows(csv, text, delimiter=_delimiter(text, form.columns))
    _, header_cells = next(rows, (0, []))
    return [name.strip().lower() for name in header_cells], rows


def table_rows(csv: Path, form: TableForm, header: Sequence[str], rows: Rows) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row: one for each column, and `surplus` for what is under none.

    Raises:
        DataError: for columns that are missing, unknown or there twice, and a table without rows.
    """
    _check_columns(csv, form, header)
    found = []
    for line, cells in rows:
        given = {name: cell if name == form.path else cell.strip() for name, cell in zip(header, cells, strict=False)}
        surplus = ", ".join(cells[len(header) :])
        found.append((line, dict.fromkeys(form.columns, "") | given | {"surplus": surplus}))
    if not found:
        raise DataError(f"The CSV {str(csv)!r} has a header but no rows; add a row for each {form.row}.")
    return found


def cell_problems(cells: Mapping[str, str], *, filled: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """What is wrong with a row: cells that must not be empty, that must be numbers, and those under no column.

    >>> row = {"path": "a.mp4", "label": "", "start": "1,5", "surplus": ""}
    >>> cell_problems(row, filled=("path", "label"), numbers=("start",))
    ['the label is empty', "start is '1,5', not a number of seconds such as 2.5"]
    """
    problems = [f"the {column} is empty" for column in filled if not cells[column].strip()]
    if cells["surplus"]:
        problems.append(f"more cells than columns: {cells['surplus']!r}; put quotes around a cell with a delimiter")
    for column in numbers:
        try:
            float(cells[column] or 0)
        except ValueError:
            problems.append(f"{column} is {cells[column]!r}, not a number of seconds such as 2.5")
    return problems


def located(given: str, root: Path) -> tuple[Path, str]:
    """The absolute path of a file in a table, and its name: relative to the root wherever it was given so.

    >>> [located(given, Path("/data"))[1] for given in ("x/../a.mp4", "/data/b.mp4", "/other/c.mp4")]
    ['a.mp4', 'b.mp4', '/other/c.mp4']
    """
    path = Path(os.path.normpath(root / given))
    if path.is_relative_to(root):
        return path, path.relative_to(root).as_posix()
    return path, path.as_posix() if Path(given).is_absolute() else Path(os.path.normpath(given)).as_posix()


def check_files_exist(csv: Path, paths: Mapping[str, Path], *, looked_up: str) -> None:
    """Warn of files that do not exist.

    Args:
        csv: the table that names them.
        paths: the path of each, by its name.
        looked_up: where relative paths are looked up, in a sentence.

    Raises:
        DataError: none of them exists.

    Warns:
        DataWarning: for those that do not.
    """
    # Unlike Path.exists, this one takes a name too long for the file system for a missing file.
    missing = [name for name, path in paths.items() if not os.path.exists(path)]  # noqa: PTH110
    if not missing:
        return
    files = count_text(len(missing), "file")
    if len(missing) < len(paths):
        warn(f"{files} named in {str(csv)!r} not found: {first_few(missing)}. {looked_up}")
        return
    hint = " Write paths with / instead of \\." if any("\\" in name for name in missing) else ""
    raise DataError(f"Of {files} named in {str(csv)!r}, none exists: {first_few(missing)}. {looked_up}{hint}")


def _delimiter(text: str, columns: Sequence[str]) -> str:
    """The delimiter that finds most of our columns in the header; seconds such as 1,5 do not mislead it.

    >>> _delimiter("path;label\\na.mp4;walk, slowly", ["path", "label"])
    ';'
    """
    header = next(line for line in text.splitlines() if line.strip())[:10_000]

    def columns_found(delimiter: str) -> int:
        (names,) = csv_format.reader([header], delimiter=delimiter)
        return sum(name.strip().lower() in columns for name in names)

    return max(",;\t", key=columns_found)


def _check_columns(csv: Path, form: TableForm, header: Sequence[str]) -> None:
    accepted, needed = ", ".join(form.columns), ",".join(form.needed)
    problems = [f"column {name!r} is missing" for name in form.needed if name not in header]
    for name in dict.fromkeys(header):
        if name not in form.columns:
            near = get_close_matches(name, form.columns, n=1, cutoff=0.5)
            problems.append(f"column {name!r} is unknown" + (f" (did you mean {near[0]!r}?)" if near else ""))
        elif header.count(name) > 1:
            problems.append(f"column {name!r} stands there {header.count(name)} times")
    if any(header) and not set(header) & set(form.columns):
        raise DataError(
            f"{str(csv)!r} has no header that names its columns: its first line is {','.join(header)!r}. Where that is "
            f"one, rename its columns, else write one above it, such as {needed}; accepted are {accepted}."
        )
    if problems:
        *others, last = form.needed
        raise DataError(
            f"The columns of {str(csv)!r} are {first_few(header, limit=20)}: {', '.join(problems)}. "
            f"Accepted are {accepted}; {', '.join(others)} and {last} are needed. Rename or remove the others."
        )
