"""What the published data sets share: lists name the videos, their classes and splits; the videos lie anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity.data.clips import Clip, DataError, DataNote, count_text, first_few
from activity.data.layouts.disk import USUAL_SUFFIXES, VideosByName
from activity.data.layouts.manifests import warn
from activity.data.names import given_path

_ARCHIVES = (".rar", ".zip", ".tar", ".gz", ".tgz")


@dataclass(frozen=True, kw_only=True)
class ListedVideo:
    """A clip as the lists of a published data set name it.

    Attributes:
        name: the name of its file.
        spans: names that the file may have on disk, without suffix, the preferred one first; for each the
            start and the end of the clip in that file, in seconds (None: the end of the file).
        label: the name of its class.
        group: what must not stand on both sides of a split.
        split: "train", "val" or "test"; "" where no split is given; None where the clip is, as published, not used.
    """

    name: str
    spans: Mapping[str, tuple[float, float | None]]
    label: str
    group: str
    split: str | None


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The lists that name the videos, for messages.

    Attributes:
        title: what they are, for example `"'trainlist01.txt' and 'testlist01.txt' in '/data/ucf101'"`.
        setting: the setting that gives other ones.
    """

    title: str
    setting: str


def find_lists(
    root: Path, annotations: str | Path | None, *, patterns: Sequence[str], places: Sequence[str], advice: str
) -> Path:
    """The folder with the lists of a published data set: `annotations`, or in or beside `root`.

    Args:
        root: the folder of the videos.
        annotations: the folder that the user gives, or None.
        patterns: names of the lists, `*` for any letters; a folder must hold them all.
        places: folders that the official archive unpacks to.
        advice: where to get the lists.

    Raises:
        DataError: with where it looked, and which lists were not there.
    """
    starts = [root, root.parent] if annotations is None else [given_path(annotations).absolute()]
    folders = [start / place for start in starts for place in ("", "annotations", *places)]
    absent = {folder: [name for name in patterns if not any(folder.glob(name))] for folder in folders}
    for folder, names in absent.items():
        if not names:
            return folder
    given = "" if annotations is None else f"data.annotations={str(annotations)!r}: "
    nearest, names = min(absent.items(), key=lambda item: len(item[1]))
    if len(names) < len(patterns):
        raise DataError(
            f"{given}{str(nearest)!r} holds some of the official lists, but not {first_few(names)}. {advice}"
        )
    raise DataError(
        f"{given}the official lists, {first_few(patterns)}, are not in "
        f"{' or '.join(repr(str(start)) for start in starts)}, nor in folders there called "
        f"{first_few(['annotations', *places])}. {advice} Or give data.annotations the folder with the lists."
    )


def clips_on_disk(listed: Sequence[ListedVideo], root: Path, *, lists: Lists, any_case: bool) -> list[Clip]:
    """The listed clips, found by name at any depth below a folder; without those that are, as published, not used.

    A split or a class of which no video is there is left out: part of a data set is a data set. A single video
    that is missing stays, so that extraction names it as failed and goes on.

    Args:
        listed: what the lists say.
        root: the folder of the videos.
        lists: the lists, for messages.
        any_case: whether names that differ only in case are the same.

    Raises:
        DataError: none of the videos is there.

    Warns:
        DataWarning: for splits and classes that are left out, for missing and for unlisted videos.
    """
    videos = VideosByName(root, any_case=any_case)
    found = {index: match for index, video in enumerate(listed) if (match := _match(video, videos))}
    if not any(listed[index].split is not None for index in found):
        raise _none_found(listed, videos, lists)
    wanted = _without_absent_parts(listed, found, root, lists)
    expected = _expected([index for index in wanted if index not in found], listed, found)
    clips = [_clip(listed[index], *(found.get(index) or expected[index]), root) for index in wanted]
    _warn_of_missing([listed[index] for index in expected], len(clips), root, lists)
    unlisted = sorted(set(videos.paths) - {path for path, _ in found.values()})
    if unlisted:
        names = first_few([path.relative_to(root).as_posix() for path in unlisted])
        warn(
            f"{count_text(len(unlisted), 'video')} in {str(root)!r} that {lists.title} do not name, not used: {names}."
        )
    return clips


_Match = tuple[Path, tuple[float, float | None]]


def _match(video: ListedVideo, videos: VideosByName) -> _Match | None:
    folders = [video.label, *([video.split] if video.split else [])]
    for name, span in video.spans.items():
        if path := videos.find(name, folders=folders):
            return path, span
    return None


def _without_absent_parts(
    listed: Sequence[ListedVideo], found: Mapping[int, _Match], root: Path, lists: Lists
) -> list[int]:
    """The positions of the clips to use: no unused ones, none of splits or classes that are not there at all."""
    wanted = [index for index, video in enumerate(listed) if video.split is not None]
    splits = {listed[index].split for index in found}
    for split, number in Counter(listed[index].split for index in wanted).items():
        if split not in splits:
            noun = f"{split or 'other'} video"
            warn(
                f"Of {count_text(number, noun)} that {lists.title} name, none is in {str(root)!r}: "
                f"that split is left out.{_archives_hint(root)}"
            )
    wanted = [index for index in wanted if listed[index].split in splits]
    classes = dict.fromkeys(listed[index].label for index in wanted)
    present = {listed[index].label for index in wanted if index in found}
    if absent := [name for name in classes if name not in present]:
        missing = [listed[index] for index in wanted if listed[index].label not in present]
        warn(
            f"{len(absent)} of {count_text(len(classes), 'class')} without videos in {str(root)!r}, left out: "
            f"{first_few(absent, limit=len(absent))}.{_archives_hint(root)} {_by_class(missing)}"
        )
    return [index for index in wanted if listed[index].label in present]


def _by_class(missing: Sequence[ListedVideo]) -> str:
    """All names of missing videos, a line a class."""
    names: dict[str, list[str]] = {}
    for video in missing:
        names.setdefault(video.label, []).append(video.name)
    lines = (f"{label}: {', '.join(own)}" for label, own in names.items())
    return "\n  ".join([f"Missing are {count_text(len(missing), 'video')}:", *lines])


def _expected(missing: Sequence[int], listed: Sequence[ListedVideo], found: Mapping[int, _Match]) -> dict[int, _Match]:
    """Where missing videos would be: beside another one of their class, of their split if there is one."""
    folders: dict[tuple[str, str | None], Path] = {}
    for index, (path, _) in found.items():
        folders.setdefault((listed[index].label, listed[index].split), path.parent)
        folders.setdefault((listed[index].label, None), path.parent)
    expected = {}
    for index in missing:
        own = listed[index]
        folder = folders.get((own.label, own.split), folders[own.label, None])
        expected[index] = (folder / own.name, next(iter(own.spans.values())))
    return expected


def _clip(video: ListedVideo, path: Path, span: tuple[float, float | None], root: Path) -> Clip:
    start, end = span
    return Clip(
        path=path,
        relative_path=path.relative_to(root).as_posix(),
        label=video.label,
        start_seconds=start,
        end_seconds=end,
        group=video.group,
        split=video.split or None,
    )


def _warn_of_missing(missing: Sequence[ListedVideo], number_wanted: int, root: Path, lists: Lists) -> None:
    if missing:
        counts = Counter(video.split for video in missing if video.split)
        by_split = f" ({', '.join(f'{number} {split}' for split, number in counts.items())})" if counts else ""
        warn(
            f"{len(missing)} of {count_text(number_wanted, 'video')} that {lists.title} name not found in {str(root)!r}"
            f"{by_split}: {first_few([video.name for video in missing])}. The others are used."
        )


def _none_found(listed: Sequence[ListedVideo], videos: VideosByName, lists: Lists) -> DataError:
    named = first_few([video.name for video in listed], limit=2)
    root = str(videos.root)
    problem = f"Of {count_text(len(listed), 'video')} that {lists.title} name ({named}), none is in {root!r}"
    if not videos.paths:
        advice = _archives_hint(videos.root) or " Give data.root the folder with the videos."
        return DataError(f"{problem}: it holds no videos ({USUAL_SUFFIXES}).{advice}")
    there = first_few([path.relative_to(videos.root).as_posix() for path in videos.paths], limit=2)
    others = count_text(len(videos.paths), "other")
    return DataError(
        f"{problem}, which holds {others} ({there}). These belong to different data sets: "
        f"give data.root the folder with the listed videos, or {lists.setting} the lists of these videos."
    )


def _archives_hint(root: Path) -> str:
    archives = sorted(path.name for path in root.iterdir() if path.suffix.lower() in _ARCHIVES)
    return f" There are archives: unpack {first_few(archives)} there first." if archives else ""


def say_unused(listed: Sequence[ListedVideo], reason: str) -> None:
    """Count the clips that are, as published, on no side of the split."""
    if number := sum(video.split is None for video in listed):
        warn(f"{number} of {count_text(len(listed), 'listed video')} not used: {reason}.", DataNote)
