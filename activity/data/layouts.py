"""From what a user has on disk, a folder of class folders or a CSV, to a `Manifest`. No video is opened."""

from __future__ import annotations

import csv as csv_format
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from activity.data.clips import SPLIT_NAMES, Clip, DataError, DataWarning, Manifest, first_few, repeated_span
from activity.video.reader import VIDEO_SUFFIXES, find_videos

CSV_COLUMNS = ("path", "label", "start", "end", "group", "split")
_SPLIT_SPELLINGS = {name: name for name in SPLIT_NAMES} | {"valid": "val", "validation": "val"}
_PROBLEMS_SHOWN = 10


def read_folder(root: str | Path, *, group_pattern: str | None) -> Manifest:
    """Read a folder with one subfolder a class and videos at any depth below it.

    A data set that is already split is accepted as well: where the folders that hold videos are `train` and
    one or both of `val` (`valid`, `validation`) and `test`, in any case, the second level are the classes.

        root/run/a.mp4              root/train/run/a.mp4
        root/walk/b.mp4             root/test/walk/b.mp4

    Args:
        root: the folder.
        group_pattern: regular expression with a group named `group`, searched in each path relative to
            `root`, for example `r"/(?P<group>[a-z]+)_"`. None: each file is a group of its own.

    Raises:
        DataError: no such folder, no class folders with videos, one class only, a pattern that does not fit.

    Warns:
        DataWarning: for class folders without videos and for videos outside of class folders.
    """
    root = _existing_folder(root)
    split_folders = _split_folders(root)
    parents = split_folders or {root: None}
    clips: list[Clip] = []
    without_videos = [f for f in _folders(root) if f not in split_folders] if split_folders else []
    for parent, split in parents.items():
        for folder in _folders(parent):
            found = [_clip(path, root, label=folder.name, split=split) for path in find_videos(folder)]
            clips += found
            without_videos += [] if found else [folder]
    loose = [video for parent in dict.fromkeys([root, *parents]) for video in _videos_directly_in(parent)]
    if not clips:
        raise _no_class_folders(root, videos=len(loose))
    _check_not_one_level_too_high(root, clips)
    _warn_of_left_out(root, without_videos, loose)
    return _manifest(clips, root, group_pattern, groups_given=False)


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
    root = _existing_folder(csv.parent if root is None else root)
    _check_files_exist(csv, clips, root)
    if groups_given and group_pattern is not None:
        _warn(f"data.group_pattern={group_pattern!r} is not used: {str(csv)!r} has a group column.")
    return _manifest(clips, root, group_pattern, groups_given=groups_given)


def read_clips(csv: Path, *, root: str | Path | None) -> tuple[list[Clip], bool]:
    """The clips of a CSV as `read_csv` takes it, and whether it gives groups. Files need not exist.

    Raises:
        DataError: with all problems of all rows.
    """
    rows = _rows(csv)
    root = _existing_folder(csv.parent if root is None else root)
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
        raise _row_error(csv, problems)
    return list(clips.values()), groups_given


def _existing_folder(given: str | Path) -> Path:
    folder = Path(os.path.normpath(Path(given).expanduser().absolute()))
    if folder.is_dir():
        return folder
    if not folder.exists():
        raise DataError(f"There is no folder {str(folder)!r}; give data.root the folder with the videos.")
    if folder.suffix.lower() == ".csv":
        raise DataError(f"{str(folder)!r} is a CSV, not a folder; use data=csv data.csv={folder}")
    raise DataError(f"{str(folder)!r} is a file, not a folder; give data.root the folder with the class folders.")


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _split_folders(root: Path) -> dict[Path, str | None]:
    """The folders of a data set that is split at the top level with their splits, or nothing."""
    splits: dict[Path, str | None] = {
        folder: _SPLIT_SPELLINGS[folder.name.lower()]
        for folder in _folders(root)
        if folder.name.lower() in _SPLIT_SPELLINGS
    }
    if "train" not in splits.values() or len(set(splits.values())) < 2:
        return {}
    # A folder of annotations or documents beside train and test makes these no classes; one with videos does.
    others = [folder.name for folder in _folders(root) if folder not in splits and find_videos(folder)]
    if others:
        _warn(
            f"{first_few([f.name for f in splits])} in {str(root)!r} are read as classes, because "
            f"{first_few(others)} beside them hold videos too; for a split data set move these out."
        )
        return {}
    return splits


def _videos_directly_in(folder: Path) -> list[Path]:
    entries = (path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    return sorted(path for path in entries if path.is_file() and not path.name.startswith("."))


def _no_class_folders(root: Path, *, videos: int) -> DataError:
    shape = f"one folder a class, such as {root / 'run'}/a.mp4 and {root / 'walk'}/b.mp4"
    tables = sorted(root.glob("*.csv"))
    hint = f"; or use the table in it: data=csv data.csv={tables[0]}" if tables else ""
    if videos:
        return DataError(f"{str(root)!r} holds {videos} videos in no class folder; expected is {shape}{hint}.")
    suffixes = ", ".join(sorted(VIDEO_SUFFIXES))
    return DataError(f"{str(root)!r} holds no videos ({suffixes}); expected is {shape}{hint}.")


def _check_not_one_level_too_high(root: Path, clips: Sequence[Clip]) -> None:
    """A zip file often unpacks to `data/data/...`: then the one class is a folder of class folders."""
    labels = {clip.label for clip in clips}
    inner = {clip.path.relative_to(root).parts[1] for clip in clips if clip.path.parent.parent != root}
    if len(labels) == 1 and len(inner) >= 2 and clips[0].split is None:
        (label,) = labels
        raise DataError(
            f"{str(root)!r} has one class folder, {label!r}; at least 2 are needed. "
            f"If {first_few(sorted(inner))} are the classes, use data.root={root / label}"
        )


def _warn_of_left_out(root: Path, without_videos: Sequence[Path], loose: Sequence[Path]) -> None:
    if without_videos:
        names = first_few([folder.relative_to(root).as_posix() for folder in without_videos], limit=20)
        _warn(f"{len(without_videos)} folders in {str(root)!r} hold no videos and are left out: {names}.")
    if loose:
        names = first_few([video.relative_to(root).as_posix() for video in loose])
        _warn(f"{len(loose)} videos in {str(root)!r} lie in no class folder and are left out: {names}.")


def _clip(path: Path, root: Path, *, label: str, split: str | None) -> Clip:
    name = path.relative_to(root).as_posix()
    return Clip(path=path, relative_path=name, label=label, group=name, split=split)


def _manifest(clips: Sequence[Clip], root: Path, group_pattern: str | None, *, groups_given: bool) -> Manifest:
    if group_pattern is not None and not groups_given:
        clips = _grouped(clips, group_pattern)
        groups_given = True
    class_names = tuple(sorted({clip.label for clip in clips}))
    manifest = Manifest(tuple(clips), class_names, root, groups_given)
    by_lower_case: dict[str, list[str]] = {}
    for name in class_names:
        by_lower_case.setdefault(name.casefold(), []).append(name)
    if alike := [first_few(names) for names in by_lower_case.values() if len(names) > 1]:
        _warn(f"Class names that differ only in case are different classes: {'; '.join(alike)}.")
    return manifest


def _grouped(clips: Sequence[Clip], group_pattern: str) -> list[Clip]:
    given = f"data.group_pattern={group_pattern!r}"
    try:
        pattern = re.compile(group_pattern)
    except re.error as error:
        raise DataError(f"{given} is not a regular expression: {error}; correct it there.") from None
    if "group" not in pattern.groupindex:
        raise DataError(f"{given} has no group named 'group'; write (?P<group>...) around what names the group.")
    matches = [pattern.search(clip.name) for clip in clips]
    groups = [match["group"] if match else None for match in matches]
    unmatched = [clip.name for clip, group in zip(clips, groups, strict=True) if not group]
    if unmatched:
        raise DataError(
            f"{given} finds no group in {len(unmatched)} of {len(clips)} paths: {first_few(unmatched)}; "
            "it is searched in the path relative to the data root and must find one in each."
        )
    return [replace(clip, group=group) for clip, group in zip(clips, groups, strict=True) if group]


def _rows(csv: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row: one for each column, and `surplus` for what is under none."""
    numbered = _numbered_rows(csv, _read_text(csv))
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
    split = _SPLIT_SPELLINGS.get(cells["split"].lower())
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


def _row_error(csv: Path, problems: Sequence[str]) -> DataError:
    more = len(problems) - _PROBLEMS_SHOWN
    lines = [*problems[:_PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return DataError(
        "\n  ".join([f"{len(problems)} problems in {str(csv)!r}; correct these rows, or remove them:", *lines])
    )


def _check_files_exist(csv: Path, clips: Sequence[Clip], root: Path) -> None:
    # Unlike Path.exists, this one takes a name too long for the file system for a missing file.
    missing = list(dict.fromkeys(c.name for c in clips if not os.path.exists(c.path)))  # noqa: PTH110
    if not missing:
        return
    looked_up = f"Relative paths are looked up in {str(root)!r}; data.root= gives another folder."
    if len(missing) < len({clip.name for clip in clips}):
        _warn(f"{len(missing)} files named in {str(csv)!r} do not exist: {first_few(missing)}. {looked_up}")
        return
    hint = " Write paths with / instead of \\." if any("\\" in name for name in missing) else ""
    raise DataError(
        f"None of the {len(missing)} files named in {str(csv)!r} exists: {first_few(missing)}. {looked_up}{hint}"
    )


def _read_text(csv: Path) -> str:
    if csv.is_dir():
        raise DataError(f"{str(csv)!r} is a folder, not a CSV; use data=folder data.root={csv}")
    try:
        text = csv.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"There is no file {str(csv)!r}; give the path of a CSV.") from None
    except OSError as error:
        raise DataError(f"{str(csv)!r} cannot be read: {error.strerror}; give the path of a CSV.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{str(csv)!r} is not a UTF-8 text (byte {error.start}); save it as 'CSV UTF-8'.") from None
    if not text.strip():
        raise DataError(f"The CSV {str(csv)!r} is empty; it needs a header such as path,label and a row a clip.")
    return text


def _numbered_rows(csv: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    # strict: a quote that is never closed would otherwise swallow all further rows without a word.
    reader = csv_format.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv_format.Error as error:
        raise DataError(f"{str(csv)!r}, line {reader.line_num}: {error}; check the quotes there.") from None


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
    if problems:
        raise DataError(
            f"The columns of {str(csv)!r} are {first_few(columns, limit=20)}: {', '.join(problems)}. "
            f"Accepted are {', '.join(CSV_COLUMNS)}; path and label are needed. Rename or remove the others."
        )


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=3)
