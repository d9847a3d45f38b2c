"""Kinetics, all sizes: CSVs of YouTube ids with time spans (Kay et al. 2017), and what could be downloaded."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from activity.data.clips import Clip, DataError, DataNote, Manifest, count_text, first_few
from activity.data.layouts.disk import (
    column_name,
    delimiter_of,
    existing_folder,
    header_of,
    numbered_rows,
    read_text,
    refuse_or_skip_rows,
)
from activity.data.layouts.manifests import SPLIT_SPELLINGS, make_manifest, warn
from activity.data.layouts.published import ListedVideo, Lists, clips_on_disk, say_unused
from activity.data.names import cleaned, given_path

_NEEDED = ("youtube_id", "time_start", "time_end")
_TABLES = "tables with the columns label, youtube_id, time_start, time_end and split"


def read_kinetics(
    csv: str | Path | Sequence[str | Path] | None,
    *,
    root: str | Path | None,
    trimmed: bool | None,
    group_pattern: str | None,
    skip_bad_rows: bool = False,
) -> Manifest:
    """Read Kinetics: the published CSVs `label,youtube_id,time_start,time_end,split`, and the videos there are.

    Videos are found by name at any depth below `root`, in class folders or not, whatever their suffix:
    `{youtube_id}_{start:06d}_{end:06d}.mp4` is the clip; `{youtube_id}.mp4` is the whole video, in which the
    clip is the span from `time_start` to `time_end`, or the clip as well with `trimmed`. The group is the video.

    The splits are those of the CSVs. Without labelled test videos the validation clips are the test clips, as
    published figures are measured on them; validation clips are then taken from the training clips. Where there
    are videos of one split only they count as not split.

    Args:
        csv: a file, a pattern with `*`, a folder of such files, or several of these; None: in `root`, in
            `root/annotations`, or beside `root`.
        root: the folder of the videos; None: the folder of the first CSV.
        trimmed: whether a file named by the id alone holds the clip only; None: no, with a note.
        group_pattern: as for `read_folder`; None: the group is the YouTube id.
        skip_bad_rows: leave out rows with problems, with a RowsWarning, and read the others.

    Raises:
        DataError: no such tables, with all problems of the rows of one, or none of its videos.

    Warns:
        DataWarning: for missing videos, which stay in the manifest, absent classes and splits, unlisted videos.
        DataNote: for what was made of the splits, rows without a label, and files named by the id alone.
    """
    if csv is None and root is None:
        raise DataError("Kinetics needs data.root=FOLDER with the videos, data.csv=FILE with the table, or both.")
    tables = _tables(csv, None if root is None else existing_folder(root))
    root = existing_folder(tables[0].parent if root is None else root)
    listed = [video for table in tables for video in _listed(table, trimmed=trimmed is True, skip=skip_bad_rows)]
    lists = Lists(title=first_few([str(table) for table in tables]), setting="data.csv")
    clips = clips_on_disk(listed, root, lists=lists, any_case=False)
    say_unused(listed, "they have no label")
    if trimmed is None:
        _say_whole_videos(clips)
    clips = _with_test_clips(clips)
    return make_manifest(
        clips,
        root,
        group_pattern=group_pattern,
        groups_given=True,
        published_split="the Kinetics splits" if clips[0].split else None,
    )


def is_kinetics_table(path: Path) -> bool:
    """Whether a CSV has the columns of Kinetics."""
    return set(_NEEDED) <= set(header_of(path, _NEEDED))


def kinetics_tables(folder: Path) -> list[Path]:
    """The Kinetics tables directly in a folder, sorted."""
    return sorted(path for path in folder.glob("*.csv") if is_kinetics_table(path))


def _tables(csv: str | Path | Sequence[str | Path] | None, root: Path | None) -> list[Path]:
    if csv is None:
        assert root is not None
        places = [start / place for start in (root, root.parent) for place in ("", "annotations")]
        for place in places:
            if tables := kinetics_tables(place):
                return tables
        raise DataError(f"There are no {_TABLES} in {first_few([str(place) for place in places])}; give data.csv=FILE.")
    given = [csv] if isinstance(csv, str | Path) else list(csv)
    tables = [table for item in given for table in _tables_of(given_path(item))]
    if not tables:
        raise DataError("data.csv is an empty list; give the published CSVs.")
    return list(dict.fromkeys(tables))


def _tables_of(given: Path) -> list[Path]:
    if given.is_dir():
        if not (tables := kinetics_tables(given)):
            raise DataError(f"The folder {str(given)!r} holds no {_TABLES}; give data.csv the published ones.")
        return tables
    if given.exists() or not (matches := sorted(glob.glob(str(given)))):  # noqa: PTH207 - absolute patterns as well
        return [given]
    return [Path(match) for match in matches]


def _listed(table: Path, *, trimmed: bool, skip: bool) -> list[ListedVideo]:
    """The clips of one table."""
    text = read_text(table)
    rows = numbered_rows(table, text, delimiter=delimiter_of(text, _NEEDED))
    _, header = next(rows, (0, []))
    columns = [column_name(cell) for cell in header]
    if absent := [name for name in _NEEDED if name not in columns]:
        raise DataError(
            f"{str(table)!r} has no column {first_few(absent)}; Kinetics has {_TABLES}. "
            "For a table of files use data=csv."
        )
    of_file = _split_in_name(table.stem)
    videos: list[ListedVideo] = []
    problems: list[str] = []
    for line, row in rows:
        cells = dict(zip(columns, map(cleaned, row), strict=False))
        found = list(_problems(cells))
        if found:
            problems.append(f"line {line}: {'; '.join(found)}")
        else:
            videos.append(_listed_video(cells, of_file, trimmed=trimmed))
    refuse_or_skip_rows(table, problems, skip=skip)
    if not videos:
        raise DataError(f"{str(table)!r} has no {'good ' if problems else ''}rows; give the published CSV.")
    return videos


def _split_in_name(stem: str) -> str:
    """The split that a file name says, such as `kinetics_400_val`; "" for none."""
    words = re.split(r"[^a-z]+", stem.lower())
    return next((SPLIT_SPELLINGS[word] for word in words if word in SPLIT_SPELLINGS), "")


def _problems(cells: dict[str, str]) -> Iterator[str]:
    if not cells.get("youtube_id"):
        yield "the youtube_id is empty"
    start, end = (_seconds(cells.get(name, "")) for name in ("time_start", "time_end"))
    if not 0 <= start < end < math.inf:  # nor for nan
        yield (
            f"time_start is {cells.get('time_start')!r} and time_end {cells.get('time_end')!r}; "
            "needed are seconds, the start before the end"
        )
    if cells.get("split") and cells["split"].lower() not in SPLIT_SPELLINGS:
        yield f"split is {cells['split']!r}; accepted are train, validate and test"


def _seconds(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _listed_video(cells: dict[str, str], split_of_file: str, *, trimmed: bool) -> ListedVideo:
    youtube_id, label = cells["youtube_id"], cells.get("label", "")
    start, end = float(cells["time_start"]), float(cells["time_end"])
    of_clip = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
    split = SPLIT_SPELLINGS.get(cells.get("split", "").lower(), split_of_file)
    return ListedVideo(
        name=f"{of_clip}.mp4",
        spans={of_clip: (0.0, None), youtube_id: (0.0, None) if trimmed else (start, end)},
        label=label,
        group=youtube_id,
        split=split if label else None,
    )


def _say_whole_videos(clips: Sequence[Clip]) -> None:
    whole = [clip.path.name for clip in clips if clip.end_seconds is not None]
    if whole:
        warn(
            f"{count_text(len(whole), 'file')} named by the YouTube id alone ({first_few(whole, limit=2)}), taken for "
            "whole videos, in which the clip lasts from time_start to time_end. If they hold the clip only, set "
            "data.trimmed=true; data.trimmed=false says that they do not.",
            DataNote,
        )


def _with_test_clips(clips: Sequence[Clip]) -> list[Clip]:
    """The clips with splits that can be trained and tested on, or with none."""
    sides = {clip.split for clip in clips}
    if len(sides) == 1 and sides != {None}:
        warn(f"There are {sides.pop()} videos only: they are split anew, by video.", DataNote)
        return [replace(clip, split=None) for clip in clips]
    if sides == {"train", "val"}:
        number = sum(clip.split == "val" for clip in clips)
        warn(
            f"There are no labelled test videos: those of val ({number}) are the test "
            "clips, as for published figures. Validation clips are taken from the training clips.",
            DataNote,
        )
        return [replace(clip, split="test") if clip.split == "val" else clip for clip in clips]
    return list(clips)
