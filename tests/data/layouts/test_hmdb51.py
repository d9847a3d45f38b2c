from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path

import pytest

from activity.data.clips import DataError, DataNote, DataWarning, Manifest
from activity.data.layouts import detect_layout, read_hmdb51
from activity.data.splits import split_manifest
from tests.data.layouts.trees import HMDB51_VIDEOS, touch, write_csv, write_hmdb51


def read(root: Path, *, annotations: Path | None = None, split: int = 1, pattern: str | None = None) -> Manifest:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNote)
        return read_hmdb51(root, annotations=annotations, split=split, group_pattern=pattern)


def test_codes_are_sides_and_names_may_have_any_letters(tmp_path: Path) -> None:
    manifest = read(write_hmdb51(tmp_path))
    assert manifest.class_names == ("kick_ball", "ride_bike")
    expected = {
        f"{label}/{name}": {1: "train", 2: "test"}[code]
        for label, codes in HMDB51_VIDEOS.items()
        for name, code in codes.items()
        if code
    }
    assert {clip.name: clip.split for clip in manifest.clips} == expected
    assert all(clip.path.is_file() for clip in manifest.clips)
    assert manifest.published_split == "split 1 of HMDB51"


def test_classes_and_videos_whose_names_are_spelled_otherwise_on_disk(tmp_path: Path) -> None:
    for label in ("caf\u00e9", "run"):
        video = f"Film_{label}_f_cm_np1_ba_bad_5.avi"
        write_csv(tmp_path / "splits", f"{video} 1\n", f"{label}_test_split1.txt")
        touch(tmp_path / "videos", unicodedata.normalize("NFD", f"{label}/{video}"))
    assert detect_layout(tmp_path / "videos") == "hmdb51"
    manifest = read(tmp_path / "videos")
    assert manifest.class_names == ("caf\u00e9", "run")


def test_videos_of_code_0_are_counted_by_a_note_and_nothing_else_is_said(tmp_path: Path) -> None:
    write_hmdb51(tmp_path)
    with pytest.warns(DataWarning) as caught:
        read_hmdb51(tmp_path, annotations=None, split=1, group_pattern=None)
    (said,) = caught
    assert said.category is DataNote
    assert str(said.message).startswith("1 of 8 listed videos not used: split 1 of HMDB51 has them on neither side")


def test_groups_are_class_and_source(tmp_path: Path) -> None:
    groups = {clip.name.split("/")[1]: clip.group for clip in read(write_hmdb51(tmp_path)).clips}
    assert groups["Amazing_Soccer_#2_kick_ball_f_cm_np1_ba_bad_5.avi"] == "kick_ball/Amazing_Soccer_#2"
    assert groups["Amazing_Soccer_#2_kick_ball_f_cm_np1_le_bad_2.avi"] == "kick_ball/Amazing_Soccer_#2"
    assert groups["#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ba_med_0.avi"] == "ride_bike/#437_How_To_Ride_A_Bike"


def test_a_film_may_stand_on_both_sides_in_different_classes(tmp_path: Path) -> None:
    root = write_hmdb51(tmp_path)
    for label, code in (("kick_ball", 1), ("ride_bike", 2)):
        name = f"Fellowship_5_{label}_f_cm_np1_fr_med_0.avi"
        touch(root, f"{label}/{name}")
        path = root / "testTrainMulti_7030_splits" / f"{label}_test_split1.txt"
        path.write_text(f"{path.read_text()}{name} {code} \n")
    with warnings.catch_warnings(action="error"):
        splits = split_manifest(read(root), val_fraction=0, test_fraction=0.2, seed=0)
    assert len(splits.test) == 3


def test_a_source_on_both_sides_as_published_is_used_with_a_warning_that_counts(tmp_path: Path) -> None:
    root = write_hmdb51(tmp_path)
    path = root / "testTrainMulti_7030_splits" / "kick_ball_test_split1.txt"
    path.write_text(path.read_text().replace("le_bad_2.avi 1", "le_bad_2.avi 2"))
    with pytest.warns(DataWarning, match=r"1 group .* of split 1 of HMDB51, as published: 'kick_ball/Amazing"):
        splits = split_manifest(read(root), val_fraction=0, test_fraction=0.2, seed=0)
    assert len(splits.test) == 3


@pytest.mark.parametrize(
    "lists",
    [
        ".",
        "splits",
        "annotations",
        "test_train_splits/testTrainMulti_7030_splits",
        "../testTrainMulti_7030_splits",
    ],
)
def test_lists_lie_where_the_archive_unpacks(tmp_path: Path, lists: str) -> None:
    assert len(read(write_hmdb51(tmp_path / "root", lists=lists)).clips) == 7


def test_lists_in_a_folder_of_the_users_choice(tmp_path: Path) -> None:
    root = write_hmdb51(tmp_path / "root", lists="../x/y")
    assert len(read(root, annotations=tmp_path / "x" / "y").clips) == 7
    with pytest.raises(DataError, match=r"'\*_test_split1.txt', are not in .*Unpack test_train_splits.rar"):
        read(root)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\*_test_split2\.txt', are not in"):
        read(write_hmdb51(tmp_path), split=2)


def test_archives_that_are_not_unpacked(tmp_path: Path) -> None:
    root = write_hmdb51(tmp_path)
    for label in HMDB51_VIDEOS:
        for path in (root / label).iterdir():
            path.unlink()
        touch(root, f"{label}.rar")
    with pytest.raises(DataError, match=r"holds no videos .*: unpack 'kick_ball\.rar', 'ride_bike\.rar' there first"):
        read(root)


def test_a_class_whose_archive_is_not_unpacked_is_left_out_with_that_hint(tmp_path: Path) -> None:
    root = touch(write_hmdb51(tmp_path), "wave.rar")
    write_csv(root / "testTrainMulti_7030_splits", "a_wave_f_cm_np1_ba_med_0.avi 1 \n", "wave_test_split1.txt")
    with pytest.warns(DataWarning, match=r"1 of 3 classes without videos .*: 'wave'.*unpack 'wave\.rar'"):
        assert read(root).class_names == ("kick_ball", "ride_bike")


def test_missing_videos_are_counted_and_stay(tmp_path: Path) -> None:
    root = write_hmdb51(tmp_path)
    (root / "kick_ball" / "Goal_Kicking_-_Rugby_kick_ball_f_cm_np1_fr_med_1.avi").unlink()
    with pytest.warns(DataWarning, match=r"1 of 7 videos .* not found .*\(1 test\): 'Goal_Kicking"):
        assert len(read(root).clips) == 7


def test_a_line_without_a_code(tmp_path: Path) -> None:
    root = write_hmdb51(tmp_path)
    write_csv(root / "testTrainMulti_7030_splits", "a.avi 1\nb.avi\nc.avi 3\n", "kick_ball_test_split1.txt")
    with pytest.raises(
        DataError, match=r"2 problems in '.*kick_ball_test_split1\.txt'(.|\n)*line 2: 'b\.avi' is no VIDEO"
    ):
        read(root)
