"""HMDB51 with its official lists (Kuehne et al. 2011, https://serre.lab.brown.edu/hmdb51.html)."""

from __future__ import annotations

import re
from pathlib import Path

from activity.data.clips import Manifest
from activity.data.layouts.disk import existing_folder, read_text, rows_error
from activity.data.layouts.manifests import make_manifest
from activity.data.layouts.published import ListedVideo, Lists, clips_on_disk, find_lists, say_unused
from activity.data.names import cleaned

# How test_train_splits.rar unpacks, with and without a folder of the archive's name.
PLACES = ("testTrainMulti_7030_splits", "test_train_splits/testTrainMulti_7030_splits", "test_train_splits", "splits")
_SIDES = {"1": "train", "2": "test", "0": None}
# April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1
_LINE = re.compile(r"(?P<name>.*\S)\s+(?P<code>[012])")
# Behind source and class: visible body parts, camera motion, number of people, viewpoint, quality, index.
_TAIL = re.compile(r"_[a-z]+_(?:cm|nm)_np\d+_[a-z]+_[a-z]+_\d+$")


def read_hmdb51(root: str | Path, *, annotations: str | Path | None, split: int, group_pattern: str | None) -> Manifest:
    """Read HMDB51: videos as the archives of the classes unpack, with the official split.

        root/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi
        root/testTrainMulti_7030_splits/brush_hair_test_split1.txt, ...

    Videos are found by name at any depth below `root`, whatever their suffix. The lists have a code for each
    video: 1 train, 2 test, 0 not used. Classes are in sorted order, as HMDB51 numbers none; those without any
    video are left out.

    The group is class and source film, the first part of the file name: the lists promise that clips of one
    source are on one side, class by class. Should a list break that promise it is used as published, with a
    warning that counts the sources; validation clips are taken by source in any case.

    Args:
        root: the folder of the videos.
        annotations: the folder of the lists; None: in `root` or beside it, as they are or as the official
            archive unpacks.
        split: 1, 2 or 3.
        group_pattern: as for `read_folder`; None: the group is class and source.

    Raises:
        DataError: lists that are not there or not to be understood, or that name none of the videos.

    Warns:
        DataWarning: for missing videos, which stay in the manifest, absent classes, and unlisted videos.
        DataNote: for the videos of code 0.
    """
    root = existing_folder(root)
    ending = f"_test_split{split}.txt"
    folder = find_lists(
        root,
        annotations,
        patterns=(f"*{ending}",),
        places=PLACES,
        advice=f"Unpack test_train_splits.rar in {str(root)!r}.",
    )
    listed = [
        video for path in sorted(folder.glob(f"*{ending}")) for video in _listed(path, path.name.removesuffix(ending))
    ]
    lists = Lists(title=f"'*{ending}' in {str(folder)!r}", setting="data.annotations")
    clips = clips_on_disk(listed, root, lists=lists, any_case=True)
    say_unused(listed, f"split {split} of HMDB51 has them on neither side (code 0)")
    return make_manifest(
        clips, root, group_pattern=group_pattern, groups_given=True, published_split=f"split {split} of HMDB51"
    )


def _listed(path: Path, label: str) -> list[ListedVideo]:
    """The videos of the list of one class."""
    videos, problems = [], []
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        match = _LINE.fullmatch(text.strip())
        if match:
            stem = Path(match["name"]).stem
            videos.append(
                ListedVideo(
                    name=match["name"],
                    spans={stem: (0.0, None)},
                    label=cleaned(label),
                    group=_group(stem, label),
                    split=_SIDES[match["code"]],
                )
            )
        elif text.strip():
            problems.append(f"line {line}: {text.strip()!r} is no VIDEO.avi and code 0, 1 or 2")
    if problems:
        raise rows_error(path, problems)
    return videos


def _group(stem: str, label: str) -> str:
    """Class and source; where a name does not say its source, it is a group of its own.

    >>> _group("April_09_brush_hair_u_nm_np1_ba_goo_0", "brush_hair")
    'brush_hair/April_09'
    """
    tail = _TAIL.search(stem)
    source = stem[: tail.start()].removesuffix(f"_{label}") if tail else stem
    # Long films gave clips to several classes and stand on both sides of the official splits, so that a group
    # of the film alone would not fit them.
    return f"{label}/{source}"
