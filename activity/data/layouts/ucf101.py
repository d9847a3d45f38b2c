"""UCF101 with its official lists (Soomro, Zamir and Shah 2012, https://www.crcv.ucf.edu/data/UCF101.php)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from activity.data.clips import DataError, Manifest
from activity.data.layouts.disk import existing_folder, read_text, rows_error
from activity.data.layouts.manifests import make_manifest
from activity.data.layouts.published import ListedVideo, Lists, clips_on_disk, find_lists
from activity.data.names import cleaned

CLASS_LIST = "classInd.txt"
# How UCF101TrainTestSplits-RecognitionTask.zip unpacks, and with its outer folder left away.
PLACES = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist")
# 1 ApplyEyeMakeup
_CLASS = re.compile(r"(?P<number>[0-9]+)\s+(?P<name>\S+)")
# ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
_LINE = re.compile(r"(?P<path>\S+/\S+)(?:\s+(?P<number>[0-9]+))?")
_GROUP = re.compile(r"_(?P<group>g\d+)_c\d+$")


def read_ucf101(root: str | Path, *, annotations: str | Path | None, split: int, group_pattern: str | None) -> Manifest:
    """Read UCF101: videos as `UCF101.rar` unpacks, with the official split and order of classes.

        root/UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
        root/ucfTrainTestlist/classInd.txt, trainlist01.txt, testlist01.txt, ...

    Videos are found by name at any depth below `root`, whatever their suffix. The order of the classes is that
    of `classInd.txt`, which is not that of sorted names. Classes without any video are left out, in order.

    Args:
        root: the folder of the videos.
        annotations: the folder of the lists; None: in `root` or beside it, as they are or as the official
            archive unpacks.
        split: 1, 2 or 3.
        group_pattern: as for `read_folder`; None: the group is the `gNN` of the file name.

    Raises:
        DataError: lists that are not there, do not fit each other, or name none of the videos.

    Warns:
        DataWarning: for missing videos, which stay in the manifest, absent classes, and unlisted videos.
    """
    root = existing_folder(root)
    sides = {"train": f"trainlist{split:02d}.txt", "test": f"testlist{split:02d}.txt"}
    folder = find_lists(
        root,
        annotations,
        patterns=(CLASS_LIST, *sides.values()),
        places=PLACES,
        advice=f"Unpack UCF101TrainTestSplits-RecognitionTask.zip in {str(root)!r}.",
    )
    numbers = class_numbers(folder / CLASS_LIST)
    listed = [video for side, name in sides.items() for video in _listed(folder / name, side, numbers)]
    title = f"{sides['train']!r} and {sides['test']!r} in {str(folder)!r}"
    # The official lists write v_HandStandPushups_..., some copies of the videos v_HandstandPushups_...
    clips = clips_on_disk(listed, root, lists=Lists(title=title, setting="data.annotations"), any_case=True)
    return make_manifest(
        clips,
        root,
        group_pattern=group_pattern,
        groups_given=True,
        class_names=sorted(numbers, key=numbers.__getitem__),
        published_split=f"split {split} of UCF101",
    )


def class_numbers(path: Path) -> dict[str, int]:
    """The number of each class in `classInd.txt`, which counts from 1.

    Raises:
        DataError: it is no such list.
    """
    numbers: dict[str, int] = {}
    problems = []
    for line, text in _lines(path):
        match = _CLASS.fullmatch(text)
        if match is None:
            problems.append(f"line {line}: {text!r} is no number and name such as '1 ApplyEyeMakeup'")
        elif match["name"] in numbers or int(match["number"]) in numbers.values():
            problems.append(f"line {line}: {text!r} has a name or number that stands above already")
        else:
            numbers[match["name"]] = int(match["number"])
    if problems:
        raise rows_error(path, problems)
    if not numbers:
        raise DataError(f"{str(path)!r} names no classes; its lines should be such as '1 ApplyEyeMakeup'.")
    return numbers


def _listed(path: Path, side: str, numbers: Mapping[str, int]) -> list[ListedVideo]:
    """The videos of a list of one side."""
    videos, problems = [], []
    for line, text in _lines(path):
        match = _LINE.fullmatch(text)
        label = match["path"].split("/")[-2] if match else ""
        number = match["number"] if match else None
        if match is None:
            problems.append(f"line {line}: {text!r} is no CLASS/VIDEO.avi")
        elif label not in numbers:
            problems.append(f"line {line}: the class {label!r} is not in {CLASS_LIST}")
        elif number is not None and int(number) != numbers[label]:
            problems.append(f"line {line}: {label!r} has number {number} here, but {numbers[label]} in {CLASS_LIST}")
        else:
            videos.append(_listed_video(match["path"], label, side))
    if problems:
        raise rows_error(path, problems)
    return videos


def _listed_video(listed_path: str, label: str, side: str) -> ListedVideo:
    name = listed_path.rpartition("/")[2]
    stem = Path(name).stem
    # The 25 groups are numbered within each class. Still one number is one group over all classes, for the
    # official splits and the leave-one-group-out protocol of UCF50 hold out whole numbers: groups so large never
    # leak, and "leave one group out" has the published 25 folds.
    match = _GROUP.search(stem)
    return ListedVideo(
        name=name, spans={stem: (0.0, None)}, label=label, group=match["group"] if match else stem, split=side
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if text.strip():
            yield line, cleaned(text)
