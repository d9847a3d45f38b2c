from __future__ import annotations

from pathlib import Path

import pytest

from activity.data.clips import DataError, DataNote
from activity.data.layouts import detect_layout, read_any
from tests.data.layouts.trees import kinetics_csv, touch, write_csv, write_hmdb51, write_ucf101

KINETICS = kinetics_csv(
    ("run", "a", 0, "train"), ("walk", "b", 0, "train"), ("run", "c", 0, "val"), ("walk", "d", 0, "val")
)


def kinetics_videos(root: Path) -> Path:
    return touch(root, *(f"{video}_000000_000010.mp4" for video in "abcd"))


@pytest.mark.parametrize("lists", ["ucfTrainTestlist", "../UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist"])
@pytest.mark.parametrize("videos", ["UCF-101", "."])
def test_ucf101(tmp_path: Path, lists: str, videos: str) -> None:
    root = write_ucf101(tmp_path / "root", lists=lists, videos=videos)
    assert detect_layout(root) == "ucf101"
    manifest = read_any(root, detect_layout(root), root=None, split=2, group_pattern=None)
    assert manifest.published_split == "split 2 of UCF101"


@pytest.mark.parametrize("lists", ["splits", "../testTrainMulti_7030_splits"])
def test_hmdb51(tmp_path: Path, lists: str) -> None:
    root = write_hmdb51(tmp_path / "root", lists=lists)
    assert detect_layout(root) == "hmdb51"
    with pytest.warns(DataNote):
        manifest = read_any(root, "hmdb51", root=None, split=1, group_pattern=None)
    assert manifest.published_split == "split 1 of HMDB51"


def test_lists_of_another_data_set_beside_a_folder_do_not_mislead(tmp_path: Path) -> None:
    write_ucf101(tmp_path / "UCF", lists="../ucfTrainTestlist")
    write_hmdb51(tmp_path / "HMDB", lists="../testTrainMulti_7030_splits")
    root = touch(tmp_path / "weizmann", "run/a.avi", "walk/b.avi")
    assert detect_layout(root) == "folder"
    assert detect_layout(tmp_path / "UCF") == "ucf101"
    assert detect_layout(tmp_path / "HMDB") == "hmdb51"


def test_kinetics_by_the_columns_of_a_table_or_of_one_in_the_folder(tmp_path: Path) -> None:
    table = write_csv(kinetics_videos(tmp_path) / "annotations", KINETICS, "train.csv")
    assert detect_layout(table) == detect_layout(tmp_path) == "kinetics"
    for path, root in ((table, tmp_path), (tmp_path, None)):
        with pytest.warns(DataNote, match="those of val \\(.*are the test clips"):
            assert len(read_any(path, detect_layout(path), root=root, split=1, group_pattern=None).clips) == 4


def test_a_table_and_a_folder(tmp_path: Path) -> None:
    table = write_csv(touch(tmp_path, "run/a.avi", "walk/b.avi"), "path,label\nrun/a.avi,x\nwalk/b.avi,y\n")
    assert (detect_layout(table), detect_layout(tmp_path)) == ("csv", "folder")
    assert read_any(table, detect_layout(table), root=None, split=1, group_pattern=None).class_names == ("x", "y")
    grouped = read_any(tmp_path, detect_layout(tmp_path), root=None, split=1, group_pattern=r"/(?P<group>[ab])\.")
    assert (grouped.class_names, grouped.clips[1].group) == (("run", "walk"), "b")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing at '.*nowhere'"):
        detect_layout(tmp_path / "nowhere")
