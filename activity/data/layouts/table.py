"""A table of clips: a CSV with a row for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from activity.data.clips import Clip, DataError, Manifest, repeated_span, span_problem
from activity.data.layouts.disk import existing_folder, rows_error
from activity.data.layouts.manifests import SPLIT_SPELLINGS, make_manifest, warn
from activity.data.layouts.rows import TableForm, cell_problems, check_rows, located, open_table, table_rows
from activity.data.names import NamesOnDisk, given_path

CSV_COLUMNS = ("path", "label", "start", "end", "group", "split")
_FORM = TableForm(columns=CSV_COLUMNS, needed=("path", "label"), path="path", row="clip")


@dataclass(frozen=True)
class _Table:
    """The good clips of a CSV, the path of every file that it names, and the problems of its other rows."""

    root: Path
    clips: list[Clip]
    groups_given: bool
    paths: dict[str, Path]
    problems: list[str]


def read_csv(
    csv: str | Path, *, root: str | Path | None, group_pattern: str | None, skip_bad_rows: bool = False
) -> Manifest:
    """Read a CSV with the columns path and label, and where wanted start, end, group and split.

    Comma, semicolon or tab, as spreadsheets write them. `start` and `end` are seconds; empty is the start and end of
    the file.
    A file that does not exist stays in the manifest, with a warning: extraction names it and goes on.

    Args:
        csv: the file.
        root: the folder that relative paths start from; None: the folder of the CSV.
        group_pattern: as for `read_folder`; used where the CSV has no groups of its own.
        skip_bad_rows: leave out rows with problems, with a RowsWarning, and read the others.

    Raises:
        DataError: with all problems of all rows, each with its line number; or where no file at all exists.

    Warns:
        DataWarning: for files that do not exist, and for a `group_pattern` that the group column overrules.
    """
    csv = given_path(csv)
    table = _read_table(csv, root)
    looked_up = f"Relative paths are looked up in {str(table.root)!r}; data.root= gives another folder."
    check_rows(csv, table.problems, table.paths, looked_up=looked_up, skip=skip_bad_rows)
    if table.groups_given and group_pattern is not None:
        warn(f"data.group_pattern={group_pattern!r} is not used: {str(csv)!r} has a group column.")
        group_pattern = None
    return make_manifest(table.clips, table.root, group_pattern=group_pattern, groups_given=table.groups_given)


def read_clips(csv: Path, *, root: str | Path | None) -> tuple[list[Clip], bool]:
    """The clips of a CSV as `read_csv` takes it, and whether it gives groups. Files need not exist.

    Raises:
        DataError: with all problems of all rows.
    """
    table = _read_table(csv, root)
    if table.problems:
        raise rows_error(csv, table.problems)
    return table.clips, table.groups_given


def _read_table(csv: Path, root: str | Path | None) -> _Table:
    rows = _rows(csv)
    root = existing_folder(csv.parent if root is None else root)
    groups_given = any(cells["group"] for _, cells in rows)
    names = NamesOnDisk()
    paths: dict[str, Path] = {}
    problems: dict[int, list[str]] = defaultdict(list)
    clips: dict[int, Clip] = {}
    for line, cells in rows:
        path, name = located(cells["path"], root, names)
        if path != root:  # an empty cell names no file
            paths[name] = path
        try:
            clips[line] = _row_clip(cells, path, name)
        except DataError as error:
            problems[line].append(str(error))
        if groups_given and not cells["group"]:
            problems[line].append("the group is empty, while other rows have one")
    for line, problem in _repetitions(clips):
        problems[line].append(problem)
    good = [clip for line, clip in clips.items() if line not in problems]
    texts = [f"line {line}: {'; '.join(problems[line])}" for line in sorted(problems)]
    return _Table(root, good, groups_given, paths, texts)


def _rows(csv: Path) -> list[tuple[int, dict[str, str]]]:
    if csv.is_dir():
        raise DataError(f"{str(csv)!r} is a folder, not a CSV; use data=folder data.root={csv}")
    table = open_table(csv, _FORM)
    if "youtube_id" in table.header and "path" not in table.header:
        raise DataError(f"{str(csv)!r} is a Kinetics table; use data=kinetics data.csv={csv} data.root=FOLDER")
    return table_rows(csv, _FORM, table)


def _row_clip(cells: dict[str, str], path: Path, name: str) -> Clip:
    problems = cell_problems(cells, _FORM)
    split = SPLIT_SPELLINGS.get(cells["split"].lower())
    if cells["split"] and split is None:
        problems.append(f"split is {cells['split']!r}; accepted are train, val and test")
    start, end = 0.0, None
    with suppress(ValueError):  # `cell_problems` names what is not a number
        start, end = float(cells["start"] or 0), float(cells["end"]) if cells["end"] else None
    if problem := span_problem(start, end):
        problems.append(f"{name!r}: {problem}")
    if problems:
        raise DataError("; ".join(problems))
    return Clip(
        path=path,
        relative_path=name,
        label=cells["label"],
        start_seconds=start,
        end_seconds=end,
        group=cells["group"] or name,
        split=split,
    )


def _repetitions(clips: dict[int, Clip]) -> Iterator[tuple[int, str]]:
    first_lines: dict[tuple[str, float, float], int] = {}
    for line, clip in clips.items():
        first_line = first_lines.setdefault(clip.key, line)
        if problem := repeated_span(clips[first_line], clip):
            yield line, f"{problem} (see line {first_line})"
