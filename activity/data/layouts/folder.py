"""A folder with one subfolder a class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from activity.data.clips import Clip, DataError, DataNote, Manifest, count_text, first_few
from activity.data.layouts.disk import USUAL_SUFFIXES, existing_folder, folders_in, left_out_texts
from activity.data.layouts.manifests import SPLIT_SPELLINGS, make_manifest, one_spelling, warn
from activity.data.names import comparable
from activity.video.files import is_video, scan_folder


def read_folder(root: str | Path, *, group_pattern: str | None) -> Manifest:
    """Read a folder with one subfolder a class and videos at any depth below it.

    A data set that is already split is accepted as well: where the folders that hold videos are `train` and
    one or both of `val` (`valid`, `validate`, `validation`) and `test`, in any case, the second level are the classes.

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
        DataNote: for files in class folders that are not read as videos.
    """
    root = existing_folder(root)
    scan = functools.cache(scan_folder)
    split_folders = _split_folders(root, lambda folder: bool(scan(folder)[0]))
    parents = split_folders or {root: None}
    clips: list[Clip] = []
    others: list[Path] = []
    without_videos = [f for f in folders_in(root) if f not in split_folders] if split_folders else []
    label_of = one_spelling(folder.name for parent in parents for folder in folders_in(parent))
    for parent, split in parents.items():
        for folder in folders_in(parent):
            videos, rest = scan(folder)
            clips += [_clip(path, root, label=label_of[folder.name], split=split) for path in videos]
            if videos:
                others += rest
            else:
                without_videos.append(folder)
    loose = [video for parent in dict.fromkeys([root, *parents]) for video in videos_directly_in(parent)]
    if not clips:
        raise _no_class_folders(root, videos=len(loose))
    _check_not_one_level_too_high(root, clips)
    _warn_of_left_out(root, without_videos, loose)
    _say_other_files(root, others)
    return make_manifest(clips, root, group_pattern=group_pattern, groups_given=False)


def videos_directly_in(folder: Path) -> list[Path]:
    """Return the videos in a folder, without those in its subfolders."""
    entries = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in entries if is_video(path))


def _split_folders(root: Path, has_videos: Callable[[Path], bool]) -> dict[Path, str | None]:
    """The folders of a data set that is split at the top level with their splits, or nothing."""
    splits: dict[Path, str | None] = {
        folder: SPLIT_SPELLINGS[name]
        for folder in folders_in(root)
        if (name := comparable(folder.name).lower()) in SPLIT_SPELLINGS
    }
    if "train" not in splits.values() or len(set(splits.values())) < 2:
        return {}
    # A folder of annotations or documents beside train and test makes these no classes; one with videos does.
    others = [folder.name for folder in folders_in(root) if folder not in splits and has_videos(folder)]
    if others:
        warn(
            f"{first_few([f.name for f in splits])} in {str(root)!r} are read as classes, because "
            f"{first_few(others)} beside them hold videos too; for a split data set move these out."
        )
        return {}
    return splits


def _no_class_folders(root: Path, *, videos: int) -> DataError:
    shape = f"one folder a class, such as {root / 'run'}/a.mp4 and {root / 'walk'}/b.mp4"
    tables = sorted(root.glob("*.csv"))
    hint = f"; or use the table in it: data=csv data.csv={tables[0]}" if tables else ""
    if videos:
        return DataError(
            f"{str(root)!r} holds {count_text(videos, 'video')} in no class folder; expected is {shape}{hint}."
        )
    return DataError(f"{str(root)!r} holds no videos ({USUAL_SUFFIXES}); expected is {shape}{hint}.")


def _check_not_one_level_too_high(root: Path, clips: Sequence[Clip]) -> None:
    """A zip file often unpacks to `data/data/...`: then the one class is a folder of class folders."""
    labels = {clip.label for clip in clips}
    inner = {clip.path.relative_to(root).parts[1] for clip in clips if clip.path.parent.parent != root}
    if len(labels) == 1 and len(inner) >= 2 and clips[0].split is None:
        (label,) = labels
        folder = root / clips[0].path.relative_to(root).parts[0]
        raise DataError(
            f"{str(root)!r} has one class folder, {label!r}; at least 2 are needed. "
            f"If {first_few(sorted(inner))} are the classes, use data.root={folder}"
        )


def _warn_of_left_out(root: Path, without_videos: Sequence[Path], loose: Sequence[Path]) -> None:
    if without_videos:
        names = first_few([folder.relative_to(root).as_posix() for folder in without_videos], limit=20)
        warn(f"{count_text(len(without_videos), 'folder')} without videos in {str(root)!r}, left out: {names}.")
    if loose:
        names = first_few([video.relative_to(root).as_posix() for video in loose])
        warn(f"{count_text(len(loose), 'video')} in no class folder of {str(root)!r}, left out: {names}.")


def _say_other_files(root: Path, others: Sequence[Path]) -> None:
    """Name the files in class folders that are not read as videos: some may be videos."""
    for text in left_out_texts(others, root, f"in class folders of {str(root)!r}"):
        warn(f"{text}. A file that a table names (data=csv) is read whatever its suffix.", DataNote)


def _clip(path: Path, root: Path, *, label: str, split: str | None) -> Clip:
    name = path.relative_to(root).as_posix()
    return Clip(path=path, relative_path=name, label=label, group=name, split=split)
