"""A table of clips: a CSV with a row for each."""

from __future__ import annotations

import csv as csv_format
import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from activity.data.clips import Clip, DataError, Manifest, count_text, first_few, repeated_span
from activity.data.layouts.disk import existing_folder, numbered_rows, read_text, rows_error
from activity.data.layouts.manifests import SPLIT_SPELLINGS, make_manifest, warn

CSV_COLUMNS = ("path", "label", "start", "end", "group", "split")


def read_csv(csv: str | Path, *, root: str | Path | None, group_pattern: str | None) -> Manifest:
    """Read a CSV with the columns path and label, and where wanted start, end, group and split.

    Comma, semicolon or tab, in UTF-8. `start` and `end` are seconds; empty is the start and end of the file.
    A file that does not exist stays in the manifest, with a warning: extraction names it and goes on.

    Args:
        csv: the file.
        root: the folder that relative paths start from; None: the folder of the CSV.
        group_pattern: as for `read_folder`; used where the CSV has no groups of its own.

    Raises:
        DataError: with all problems of all rows, each with its line number; or where no file at all exists.

    Warns:
        DataWarning: for files that do not exist, and for a `group_pattern` that the group column overrules.
    """
    csv = Path(csv).expanduser()
    clips, groups_given = read_clips(csv, root=root)
    root = existing_folder(csv.parent if root is None else root)
    _check_files_exist(csv, clips, root)
    if groups_given and group_pattern is not None:
        warn(f"data.group_pattern={group_pattern!r} is not used: {str(csv)!r} has a group column.")
        group_pattern = None
    return make_manifest(clips, root, group_pattern=group_pattern, groups_given=groups_given)


def read_clips(csv: Path, *, root: str | Path | None) -> tuple[list[Clip], bool]:
    """The clips of a CSV as `read_csv` takes it, and whether it gives groups. Files need not exist.

    Raises:
        DataError: with all problems of all rows.
    """
    rows = _rows(csv)
    root = existing_folder(csv.parent if root is None else root)
    groups_given = any(cells["group"] for _, cells in rows)
    problems: list[str] = []
    clips: dict[int, Clip] = {}
    for line, cells in rows:
        try:
            clips[line] = _row_clip(cells, root)
        except DataError as error:
            problems.append(f"line {line}: {error}")
    ungrouped = [line for line, cells in rows if groups_given and not cells["group"]]
    problems += [f"line {line}: the group is empty, while other rows have one" for line in ungrouped]
    problems += _repetitions(clips)
    if problems:
        raise rows_error(csv, problems)
    return list(clips.values()), groups_given


def _rows(csv: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row: one for each column, and `surplus` for what is under none."""
    text = _read_text(csv)
    numbered = numbered_rows(csv, text, delimiter=_delimiter(text))
    _, header = next(numbered, (0, []))
    columns = [name.strip().lower() for name in header]
    _check_columns(csv, columns)
    rows = []
    for line, cells in numbered:
        # Stripped, but for the path: a file name may well begin or end with a space.
        given = {name: cell if name == "path" else cell.strip() for name, cell in zip(columns, cells, strict=False)}
        surplus = ", ".join(cells[len(columns) :])
        rows.append((line, dict.fromkeys(CSV_COLUMNS, "") | given | {"surplus": surplus}))
    if not rows:
        raise DataError(f"The CSV {str(csv)!r} has a header but no rows; add a row for each clip.")
    return rows


def _row_clip(cells: dict[str, str], root: Path) -> Clip:
    problems = [f"the {column} is empty" for column in ("path", "label") if not cells[column].strip()]
    if cells["surplus"]:
        problems.append(f"more cells than columns: {cells['surplus']!r}; put quotes around a cell with a delimiter")
    seconds: dict[str, float | None] = {}
    for column in ("start", "end"):
        try:
            seconds[column] = float(cells[column]) if cells[column] else None
        except ValueError:
            problems.append(f"{column} is {cells[column]!r}, not a number of seconds such as 2.5")
    split = SPLIT_SPELLINGS.get(cells["split"].lower())
    if cells["split"] and split is None:
        problems.append(f"split is {cells['split']!r}; accepted are train, val and test")
    if problems:
        raise DataError("; ".join(problems))
    path, name = _located(cells["path"], root)
    return Clip(
        path=path,
        relative_path=name,
        label=cells["label"],
        start_seconds=seconds["start"] or 0.0,
        end_seconds=seconds["end"],
        group=cells["group"] or name,
        split=split,
    )


def _located(given: str, root: Path) -> tuple[Path, str]:
    """The absolute path of a file in a CSV, and its name: relative to the root wherever it was given so."""
    path = Path(os.path.normpath(root / given))
    if path.is_relative_to(root):
        return path, path.relative_to(root).as_posix()
    return path, path.as_posix() if Path(given).is_absolute() else Path(os.path.normpath(given)).as_posix()


def _repetitions(clips: dict[int, Clip]) -> Iterator[str]:
    first_lines: dict[tuple[str, float, float], int] = {}
    for line, clip in clips.items():
        first_line = first_lines.setdefault(clip.key, line)
        if problem := repeated_span(clips[first_line], clip):
            yield f"line {line}: {problem} (see line {first_line})"


def _check_files_exist(csv: Path, clips: Sequence[Clip], root: Path) -> None:
    # Unlike Path.exists, this one takes a name too long for the file system for a missing file.
    missing = list(dict.fromkeys(c.name for c in clips if not os.path.exists(c.path)))  # noqa: PTH110
    if not missing:
        return
    looked_up = f"Relative paths are looked up in {str(root)!r}; data.root= gives another folder."
    if len(missing) < len({clip.name for clip in clips}):
        warn(f"{count_text(len(missing), 'file')} named in {str(csv)!r} not found: {first_few(missing)}. {looked_up}")
        return
    hint = " Write paths with / instead of \\." if any("\\" in name for name in missing) else ""
    files = count_text(len(missing), "file")
    raise DataError(f"Of {files} named in {str(csv)!r}, none exists: {first_few(missing)}. {looked_up}{hint}")


def _read_text(csv: Path) -> str:
    if csv.is_dir():
        raise DataError(f"{str(csv)!r} is a folder, not a CSV; use data=folder data.root={csv}")
    text = read_text(csv)
    if not text.strip():
        raise DataError(f"The CSV {str(csv)!r} is empty; it needs a header such as path,label and a row a clip.")
    return text


def _delimiter(text: str) -> str:
    """The delimiter that finds most of our columns in the header; seconds such as 1,5 do not mislead it.

    >>> _delimiter("path;label\\na.mp4;walk, slowly")
    ';'
    """
    header = next(line for line in text.splitlines() if line.strip())[:10_000]

    def columns_found(delimiter: str) -> int:
        (names,) = csv_format.reader([header], delimiter=delimiter)
        return sum(name.strip().lower() in CSV_COLUMNS for name in names)

    return max(",;\t", key=columns_found)


def _check_columns(csv: Path, columns: Sequence[str]) -> None:
    problems = [f"column {name!r} is missing" for name in ("path", "label") if name not in columns]
    for name in dict.fromkeys(columns):
        if name not in CSV_COLUMNS:
            near = get_close_matches(name, CSV_COLUMNS, n=1, cutoff=0.5)
            problems.append(f"column {name!r} is unknown" + (f" (did you mean {near[0]!r}?)" if near else ""))
        elif columns.count(name) > 1:
            problems.append(f"column {name!r} stands there {columns.count(name)} times")
    if "youtube_id" in columns and "path" not in columns:
        raise DataError(f"{str(csv)!r} is a Kinetics table; use data=kinetics data.csv={csv} data.root=FOLDER")
    if any(columns) and not set(columns) & set(CSV_COLUMNS):
        raise DataError(
            f"{str(csv)!r} has no header: its first line is {','.join(columns)!r}. Write one above it that names the "
            f"columns, such as path,label; accepted are {', '.join(CSV_COLUMNS)}."
        )
    if problems:
        raise DataError(
            f"The columns of {str(csv)!r} are {first_few(columns, limit=20)}: {', '.join(problems)}. "
            f"Accepted are {', '.join(CSV_COLUMNS)}; path and label are needed. Rename or remove the others."
        )
