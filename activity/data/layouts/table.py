"""A table of clips: a CSV with a row for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from activity.data.clips import Clip, DataError, Manifest, repeated_span
from activity.data.layouts.disk import existing_folder, rows_error
from activity.data.layouts.manifests import SPLIT_SPELLINGS, make_manifest, warn
from activity.data.layouts.rows import TableForm, cell_problems, check_files_exist, located, open_table, table_rows
from activity.data.names import NamesOnDisk, given_path

CSV_COLUMNS = ("path", "label", "start", "end", "group", "split")
_FORM = TableForm(columns=CSV_COLUMNS, needed=("path", "label"), path="path", row="clip")


def read_csv(csv: str | Path, *, root: str | Path | None, group_pattern: str | None) -> Manifest:
    """Read a CSV with the columns path and label, and where wanted start, end, group and split.

    Comma, semicolon or tab, as spreadsheets write them. `start` and `end` are seconds; empty is the start and end of
    the file.
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
    csv = given_path(csv)
    clips, groups_given = read_clips(csv, root=root)
    root = existing_folder(csv.parent if root is None else root)
    looked_up = f"Relative paths are looked up in {str(root)!r}; data.root= gives another folder."
    check_files_exist(csv, {clip.name: clip.path for clip in clips}, looked_up=looked_up)
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
    names = NamesOnDisk()
    problems: list[str] = []
    clips: dict[int, Clip] = {}
    for line, cells in rows:
        try:
            clips[line] = _row_clip(cells, root, names)
        except DataError as error:
            problems.append(f"line {line}: {error}")
    ungrouped = [line for line, cells in rows if groups_given and not cells["group"]]
    problems += [f"line {line}: the group is empty, while other rows have one" for line in ungrouped]
    problems += _repetitions(clips)
    if problems:
        raise rows_error(csv, problems)
    return list(clips.values()), groups_given


def _rows(csv: Path) -> list[tuple[int, dict[str, str]]]:
    if csv.is_dir():
        raise DataError(f"{str(csv)!r} is a folder, not a CSV; use data=folder data.root={csv}")
    table = open_table(csv, _FORM)
    if "youtube_id" in table.header and "path" not in table.header:
        raise DataError(f"{str(csv)!r} is a Kinetics table; use data=kinetics data.csv={csv} data.root=FOLDER")
    return table_rows(csv, _FORM, table)


def _row_clip(cells: dict[str, str], root: Path, names: NamesOnDisk) -> Clip:
    problems = cell_problems(cells, _FORM)
    split = SPLIT_SPELLINGS.get(cells["split"].lower())
    if cells["split"] and split is None:
        problems.append(f"split is {cells['split']!r}; accepted are train, val and test")
    if problems:
        raise DataError("; ".join(problems))
    path, name = located(cells["path"], root, names)
    return Clip(
        path=path,
        relative_path=name,
        label=cells["label"],
        start_seconds=float(cells["start"] or 0),
        end_seconds=float(cells["end"]) if cells["end"] else None,
        group=cells["group"] or name,
        split=split,
    )


def _repetitions(clips: dict[int, Clip]) -> Iterator[str]:
    first_lines: dict[tuple[str, float, float], int] = {}
    for line, clip in clips.items():
        first_line = first_lines.setdefault(clip.key, line)
        if problem := repeated_span(clips[first_line], clip):
            yield f"line {line}: {problem} (see line {first_line})"
