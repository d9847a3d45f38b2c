"""A table that a user wrote: its rows by column, the files that it names, and what is wrong with either."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import zip_longest
from pathlib import Path, PureWindowsPath

from activity.data.clips import DataError, count_text, first_few
from activity.data.layouts.disk import column_name, delimiter_of, numbered_rows, read_text, refuse_or_skip_rows
from activity.data.layouts.manifests import one_spelling, warn
from activity.data.names import NamesOnDisk, cleaned, in_other_case

_PAIRS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """What a table has to look like.

    Attributes:
        columns: those that it may have.
        needed: those that it must have.
        path: the one that names files: a name may well begin or end with a space.
        numbers: those of seconds.
        row: what a row is, in a word.
    """

    columns: tuple[str, ...]
    needed: tuple[str, ...]
    path: str
    numbers: tuple[str, ...] = ("start", "end")
    row: str


@dataclass(frozen=True)
class Table:
    """An open table: the names in its header, "" for none, and the cells of its rows by line."""

    header: list[str]
    rows: Iterator[tuple[int, list[str]]]
    delimiter: str


def open_table(csv: Path, form: TableForm) -> Table:
    """Open a table with comma, semicolon or tab, in UTF-8, or UTF-16 with a byte order mark.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    text = read_text(csv)
    if not text.strip():
        header = ",".join(form.needed)
        raise DataError(f"The CSV {str(csv)!r} is empty; it needs a header such as {header} and a row a {form.row}.")
    delimiter = delimiter_of(text, form.columns)
    rows = numbered_rows(csv, text, delimiter=delimiter)
    _, header_cells = next(rows, (0, []))
    return Table([column_name(cell) for cell in header_cells], rows, delimiter)


def table_rows(csv: Path, form: TableForm, table: Table) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row: one for each column, and `surplus` for what is under none.

    Names that people take for the same have one spelling, but for those of files.

    Raises:
        DataError: for columns that are missing, unknown or there twice, and a table without rows.

    Warns:
        DataNote: for names that were spelled in several ways.
    """
    _check_columns(csv, form, table.header)
    found = [(line, _by_column(cells, form, table)) for line, cells in table.rows]
    if not found:
        raise DataError(f"The CSV {str(csv)!r} has a header but no rows; add a row for each {form.row}.")
    for column in (name for name in form.columns if name not in (form.path, *form.numbers)):
        spelling = one_spelling(row[column] for _, row in found)
        for _, row in found:
            row[column] = spelling[row[column]]
    return found


def cell_problems(cells: Mapping[str, str], form: TableForm) -> list[str]:
    """What is wrong with a row: cells that must not be empty, that must be numbers, and those under no column.

    >>> columns = ("path", "label", "start", "end")
    >>> form = TableForm(columns=columns, needed=("path", "label"), path="path", row="clip")
    >>> cell_problems({"path": "a.mp4", "label": "", "start": "1:05", "end": "", "surplus": ""}, form)
    ['the label is empty', "start is '1:05', not a number of seconds such as 2.5"]
    """
    problems = [f"the {column} is empty" for column in form.needed if not cleaned(cells[column])]
    if cells["surplus"]:
        problems.append(f"more cells than columns: {cells['surplus']!r}; put quotes around a cell with a delimiter")
    for column in form.numbers:
        try:
            float(cells[column] or 0)
        except ValueError:
            problems.append(f"{column} is {cells[column]!r}, not a number of seconds such as 2.5")
    return problems


def located(given: str, root: Path, names: NamesOnDisk) -> tuple[Path, str]:
    r"""The absolute path of a file in a table, and its name: relative to the root wherever it was given so.

    Of a file that is there both are spelled as on disk, however the table spells them, with / or with \.

    >>> files = ("x/../a.mp4", "/data/b.mp4", "/other/c.mp4", " d.mp4")
    >>> [located(given, Path("/data"), NamesOnDisk())[1] for given in files]
    ['a.mp4', 'b.mp4', '/other/c.mp4', 'd.mp4']
    """
    plain = cleaned(given)
    spellings = dict.fromkeys((given, plain, plain.replace("\\", "/")))
    found = ((name, names.find(Path(os.path.normpath(root / name)))) for name in spellings)
    given, on_disk = next(((name, path) for name, path in found if path), (plain, None))
    path = on_disk or Path(os.path.normpath(root / plain))
    if path.is_relative_to(root):
        return path, path.relative_to(root).as_posix()
    return path, path.as_posix() if Path(given).is_absolute() else Path(os.path.relpath(path, root)).as_posix()


def check_rows(
    csv: Path, problems: Sequence[str], paths: Mapping[str, Path], *, looked_up: str, skip: bool = False
) -> None:
    """Refuse a table for its bad rows, or warn of files that do not exist.

    Args:
        csv: the table.
        problems: what is wrong with its rows.
        paths: the path of each file that it names, by its name.
        looked_up: where relative paths are looked up, in a sentence.
        skip: warn of bad rows, too.

    Raises:
        DataError: for bad rows, with the missing files; and if none of the files exists.

    Warns:
        RowsWarning: for bad rows, with `skip`.
        DataWarning: for missing files.
    """
    # Unlike Path.exists, this one takes a name too long for the file system for a missing file.
    missing = [name for name, path in paths.items() if not os.path.exists(path)]  # noqa: PTH110
    files = count_text(len(missing), "file")
    if other_case := in_other_case({name: paths[name] for name in missing}):
        pairs = [f"{name!r} is {on_disk!r}" for name, on_disk in list(other_case.items())[:_PAIRS_SHOWN]]
        more = len(other_case) - len(pairs)
        shown = ", ".join(pairs) + (f" and {more} more" if more else "")
        looked_up += f" On disk, in other upper and lower case: {shown}; write them so in the table."
    not_there = f"{files} not found: {first_few(missing)}. {looked_up}" if missing else ""
    refuse_or_skip_rows(csv, problems, skip=skip, missing=not_there)
    if not missing:
        return
    if len(missing) < len(paths):
        warn(f"{files} named in {str(csv)!r} not found: {first_few(missing)}. {looked_up}")
        return
    windows = any(PureWindowsPath(name).drive and not Path(name).drive for name in missing)
    hint = " Paths that begin with a drive are those of another computer: write them relative." if windows else ""
    raise DataError(f"Of {files} named in {str(csv)!r}, none exists: {first_few(missing)}. {looked_up}{hint}")


def _by_column(cells: Sequence[str], form: TableForm, table: Table) -> dict[str, str]:
    row = dict.fromkeys(form.columns, "")
    surplus = []
    for name, cell in zip_longest(table.header, cells, fillvalue=""):
        if name in form.numbers:
            row[name] = _with_point(cell.strip(), table.delimiter)
        elif name:
            row[name] = cell if name == form.path else cell.strip()
        elif cell.strip():  # spreadsheets write empty cells of columns without a name
            surplus.append(cell)
    return row | {"surplus": ", ".join(surplus)}


def _with_point(cell: str, delimiter: str) -> str:
    """A number whose decimals a comma may part, unless it may as well part the thousands.

    >>> _with_point("1,5", ","), _with_point("1,500", ";"), _with_point("1,500", "\\t")
    ('1.5', '1.500', '1,500')
    """
    number = re.fullmatch(r"([+-]?\d+),(\d+)", cell)
    # Spreadsheets delimit cells by semicolons where decimals have a comma.
    return f"{number[1]}.{number[2]}" if number and (delimiter == ";" or len(number[2]) != 3) else cell


def _check_columns(csv: Path, form: TableForm, header: Sequence[str]) -> None:
    accepted, needed = ", ".join(form.columns), ",".join(form.needed)
    problems = [f"column {name!r} is missing" for name in form.needed if name not in header]
    for name in dict.fromkeys(header):
        if name and name not in form.columns:
            near = get_close_matches(name, form.columns, n=1, cutoff=0.5)
            problems.append(f"column {name!r} is unknown" + (f" (did you mean {near[0]!r}?)" if near else ""))
        elif name and header.count(name) > 1:
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
