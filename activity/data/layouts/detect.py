"""Which layout a data set has, by what lies on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from activity.data.clips import DataError, Manifest
from activity.data.layouts import hmdb51, ucf101
from activity.data.layouts.disk import folders_in
from activity.data.layouts.folder import read_folder
from activity.data.layouts.hmdb51 import read_hmdb51
from activity.data.layouts.kinetics import is_kinetics_table, kinetics_tables, read_kinetics
from activity.data.layouts.table import read_csv
from activity.data.layouts.ucf101 import read_ucf101
from activity.data.names import comparable, given_path

Layout = Literal["folder", "csv", "ucf101", "hmdb51", "kinetics"]


def detect_layout(path: str | Path) -> Layout:
    """The layout of the data set at a path, as `data=` names it.

    A CSV is "kinetics" by its columns, else "csv". A folder is "ucf101" or "hmdb51" where the official lists
    are in it, or beside it and name its class folders; "kinetics" where its tables are in it; else "folder".

    Raises:
        DataError: there is nothing at the path.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp(), "clips.csv")
    >>> _ = table.write_text("path,label\\na.mp4,run\\n")
    >>> detect_layout(table), detect_layout(table.parent)
    ('csv', 'folder')
    """
    path = given_path(path).absolute()
    if not path.exists():
        raise DataError(f"There is nothing at {str(path)!r}; give a folder of videos or a CSV.")
    if not path.is_dir():
        return "kinetics" if is_kinetics_table(path) else "csv"
    if _has_lists(path, ucf101.CLASS_LIST, ucf101.PLACES):
        return "ucf101"
    if _has_lists(path, "*_test_split[123].txt", hmdb51.PLACES):
        return "hmdb51"
    tables = [table for folder in (path, path / "annotations") for table in kinetics_tables(folder)]
    return "kinetics" if tables else "folder"


def read_any(
    path: str | Path,
    layout: Layout,
    *,
    root: str | Path | None,
    split: int,
    group_pattern: str | None,
    skip_bad_rows: bool = False,
) -> Manifest:
    """Read the data set at a path.

    Args:
        path: a folder of videos or a CSV.
        layout: what it is; `detect_layout` finds out.
        root: the folder of the videos that a CSV names, None: its own folder. Of no meaning for a folder.
        split: which official split, 1, 2 or 3, where the layout has several.
        group_pattern: as for `read_folder`.
        skip_bad_rows: as for `read_csv`; other layouts than "csv" and "kinetics" refuse them.

    Raises:
        DataError: what the reader of the layout raises.
    """
    if layout == "ucf101":
        return read_ucf101(path, annotations=None, split=split, group_pattern=group_pattern)
    if layout == "hmdb51":
        return read_hmdb51(path, annotations=None, split=split, group_pattern=group_pattern)
    if layout == "csv":
        return read_csv(path, root=root, group_pattern=group_pattern, skip_bad_rows=skip_bad_rows)
    if layout == "kinetics":
        is_folder = given_path(path).is_dir()
        return read_kinetics(
            None if is_folder else path,
            root=path if is_folder else root,
            trimmed=None,
            group_pattern=group_pattern,
            skip_bad_rows=skip_bad_rows,
        )
    return read_folder(path, group_pattern=group_pattern)


def _has_lists(root: Path, pattern: str, places: tuple[str, ...]) -> bool:
    places = ("", "annotations", *places)
    if any(any((root / place).glob(pattern)) for place in places):
        return True
    # Beside a folder there may be the lists of another data set: they must name a class folder of this one.
    beside = [path for place in places for path in (root.parent / place).glob(pattern)]
    classes = {comparable(name) for path in beside for name in _class_names(path)}
    parents = [parent for parent in (root, root / "UCF-101") if parent.is_dir()]
    return bool(classes & {comparable(folder.name) for parent in parents for folder in folders_in(parent)})


def _class_names(path: Path) -> list[str]:
    if path.name == ucf101.CLASS_LIST:
        return list(ucf101.class_numbers(path))
    return [path.name.rpartition("_test_split")[0]]
