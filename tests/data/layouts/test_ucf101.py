from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from activity.data.clips import DataError, DataWarning, Manifest
from activity.data.layouts import read_ucf101
from activity.data.splits import split_manifest
from tests.data.layouts.trees import UCF101_CLASSES, touch, ucf101_name, write_csv, write_ucf101


def read(root: Path, *, split: int = 1, annotations: Path | None = None, pattern: str | None = None) -> Manifest:
    return read_ucf101(root, annotations=annotations, split=split, group_pattern=pattern)


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def test_class_order_is_that_of_the_list_and_not_of_sorted_names(tmp_path: Path) -> None:
    manifest = read(write_ucf101(tmp_path))
    assert manifest.class_names == ("Hammering", "HammerThrow", "HandstandPushups", "JumpingJack", "JumpRope")
    assert list(manifest.class_names) != sorted(manifest.class_names)


def test_the_split_is_the_official_one(tmp_path: Path) -> None:
    write_ucf101(tmp_path)
    for split, test_groups in ((1, {"g01", "g02"}), (2, {"g08", "g09"})):
        manifest = read(tmp_path, split=split)
        assert len(manifest.clips) == 20
        for clip in manifest.clips:
            assert clip.split == ("test" if clip.group in test_groups else "train"), clip.name
        assert manifest.published_split == f"split {split} of UCF101"


def test_validation_clips_are_taken_by_group_and_test_clips_stay(tmp_path: Path) -> None:
    manifest = read(write_ucf101(tmp_path, groups=(1, 8, 9, 10, 11)))
    splits = split_manifest(manifest, val_fraction=0.25, test_fraction=0.2, seed=0)
    assert {clip.group for clip in splits.test} == {"g01"}
    (val_group,) = {clip.group for clip in splits.val}
    assert val_group not in {clip.group for clip in splits.train}
    assert len(splits.val) == len(UCF101_CLASSES)


def test_the_spelling_of_handstand_pushups_does_not_matter(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path)
    for path in (root / "UCF-101" / "HandstandPushups").iterdir():
        path.rename(path.with_name(path.name.replace("HandStand", "Handstand")))
    with warnings.catch_warnings(action="error"):
        manifest = read(root)
    assert manifest.clips_per_class["HandstandPushups"] == 4
    assert all(clip.path.exists() for clip in manifest.clips)


@pytest.mark.parametrize(
    ("lists", "videos"),
    [
        (".", "."),
        ("ucfTrainTestlist", "."),
        ("annotations", "videos"),
        ("UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "UCF-101"),
        ("../ucfTrainTestlist", "."),
        ("../UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "."),
    ],
)
def test_lists_and_videos_lie_where_the_archives_unpack(tmp_path: Path, lists: str, videos: str) -> None:
    root = write_ucf101(tmp_path / "root", lists=lists, videos=videos)
    manifest = read(root)
    assert len(manifest.clips) == 20
    first = manifest.clips[0]
    assert first.path.is_file()
    assert first.name == (Path(videos) / ucf101_name("Hammering", 8)).as_posix()


def test_lists_in_a_folder_of_the_users_choice(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path / "root", lists="../elsewhere/lists")
    assert len(read(root, annotations=tmp_path / "elsewhere" / "lists").clips) == 20
    with pytest.raises(DataError, match=r"'classInd\.txt', 'trainlist01\.txt', 'testlist01\.txt', are not in"):
        read(root)


def test_re_encoded_videos_and_a_flat_folder_are_found(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path)
    for path in list((root / "UCF-101").rglob("*.avi")):
        path.rename(root / path.with_suffix(".mp4").name)
    assert all(clip.path.parent == root for clip in read(root).clips)


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"ucfTrainTestlist' holds some .* but not 'trainlist03\.txt', 'testlist03\.txt'"
    ):
        read(write_ucf101(tmp_path), split=3)


def test_missing_videos_are_counted_and_stay_where_they_would_be(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path)
    missing = [root / "UCF-101" / ucf101_name("JumpRope", group) for group in (1, 8, 9)]
    for path in missing:
        path.unlink()
    with pytest.warns(DataWarning, match=r"3 of 20 videos .*\(2 train, 1 test\): 'v_JumpRope_g08_c01\.avi'"):
        manifest = read(root)
    assert [clip.path for clip in manifest.clips if not clip.path.exists()] == [missing[1], missing[2], missing[0]]


def test_classes_without_videos_are_left_out_and_the_order_stays(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path)
    jump_rope = {f"JumpRope/{path.name}" for path in (root / "UCF-101" / "JumpRope").iterdir()}
    for label in ("Hammering", "JumpRope"):
        for path in (root / "UCF-101" / label).iterdir():
            path.unlink()
    with pytest.warns(DataWarning, match=r"2 of 5 classes without videos .* left out: 'Hammering', 'JumpRope'") as said:
        manifest = read(root)
    head, *lines = str(said[0].message).split("\n  ")
    assert head.endswith("Missing are 8 videos:")
    assert [line.split(": ")[0] for line in lines] == ["Hammering", "JumpRope"]
    assert {f"JumpRope/{name}" for name in lines[1].split(": ")[1].split(", ")} == jump_rope
    assert manifest.class_names == ("HammerThrow", "HandstandPushups", "JumpingJack")


def test_of_many_classes_without_videos_each_is_named(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path)
    lists = root / "ucfTrainTestlist"
    gone = [f"Gone{number}" for number in range(9)]
    with (lists / "classInd.txt").open("a") as file:
        file.writelines(f"{number} {name}\n" for number, name in enumerate(gone, start=90))
    with (lists / "trainlist01.txt").open("a") as file:
        file.writelines(f"{name}/v_{name}_g08_c01.avi\n" for name in gone)
    with pytest.warns(DataWarning, match=r"9 of 14 classes without videos") as said:
        read(root)
    message = str(said[0].message)
    assert [name for name in gone if f"'{name}'" not in message or f"v_{name}_g08_c01.avi" not in message] == []


def test_videos_in_neither_list_are_counted(tmp_path: Path) -> None:
    root = touch(write_ucf101(tmp_path), "UCF-101/JumpRope/v_JumpRope_g99_c01.avi")
    with pytest.warns(DataWarning, match=r"1 video in .* do not name, not used: '.*v_JumpRope_g99_c01\.avi'"):
        assert len(read(root).clips) == 20


def test_lists_of_another_data_set_are_refused_and_both_are_named(tmp_path: Path) -> None:
    lists = write_ucf101(tmp_path / "ucf") / "ucfTrainTestlist"
    videos = touch(tmp_path / "weizmann", "run/eli.avi", "walk/ira.avi")
    with pytest.raises(DataError) as raised:
        read(videos, annotations=lists)
    message = str(raised.value)
    for part in (str(lists), str(videos), "Of 20 videos", "holds 2 others", "run/eli.avi", "data.annotations"):
        assert part in message


def test_a_folder_of_archives_says_to_unpack_them(tmp_path: Path) -> None:
    root = touch(write_ucf101(tmp_path / "root", videos="../elsewhere"), "UCF101.rar")
    with pytest.raises(DataError, match=r"holds no videos .*unpack 'UCF101\.rar' there first"):
        read(root)


def test_a_video_on_both_sides_is_refused(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path)
    test = root / "ucfTrainTestlist" / "testlist01.txt"
    write_csv(test.parent, test.read_bytes() + f"{ucf101_name('JumpRope', 8)}\r\n".encode(), test.name)
    with pytest.raises(DataError, match=r"v_JumpRope_g08_c01\.avi.* listed twice"):
        read(root)


def test_a_group_on_both_sides_of_the_official_split_is_a_warning(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path)
    touch(root, "UCF-101/JumpRope/v_JumpRope_g01_c02.avi")
    train = root / "ucfTrainTestlist" / "trainlist01.txt"
    write_csv(train.parent, train.read_bytes() + b"JumpRope/v_JumpRope_g01_c02.avi 48\r\n", train.name)
    with pytest.warns(DataWarning, match=r"1 group on more than one side of split 1 of UCF101, as published"):
        splits = split_manifest(read(root), val_fraction=0, test_fraction=0.2, seed=0)
    assert len(splits.test) == 10


def test_a_pattern_overrules_the_groups_of_the_names(tmp_path: Path) -> None:
    manifest = read(write_ucf101(tmp_path), pattern=r"v_(?P<group>\w+_g\d+)")
    assert manifest.clips[0].group == "Hammering_g08"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("trainlist01.txt", "g08_c01.avi 36", "g08_c01.avi 35", "'HammerThrow' has number 35 here, but 36 in classInd"),
        ("testlist01.txt", "JumpRope/", "Jumprope/", "the class 'Jumprope' is not in classInd.txt"),
        ("testlist01.txt", "JumpRope/", "", "line 9: 'v_JumpRope_g01_c01.avi' is no CLASS/VIDEO.avi"),
        ("classInd.txt", "35 Hammering", "Hammering", "line 1: 'Hammering' is no number and name"),
        ("classInd.txt", "36 HammerThrow", "35 HammerThrow", "line 2: .* stands above already"),
    ],
)
def test_lists_that_do_not_fit_each_other(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    root = write_ucf101(tmp_path)
    replace_in(root / "ucfTrainTestlist" / name, old, new)
    with pytest.raises(DataError, match=message) as raised:
        read(root)
    assert name in str(raised.value)
