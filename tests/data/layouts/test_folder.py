from __future__ import annotations

from pathlib import Path

import pytest

from activity.data.clips import DataError, DataNote, DataWarning
from activity.data.layouts import folder, read_folder
from activity.video import files
from tests.data.layouts.trees import names, touch


class TestFolder:
    def test_folders_are_classes_at_any_depth_and_in_any_case_of_suffix(self, tmp_path: Path) -> None:
        touch(tmp_path, "walk/day 1/é.MP4", "walk/b.avi", "run/c.Mov", "run/notes.txt", "readme.md")
        with pytest.warns(
            DataNote, match=r"1 file in class folders of .* does not end like a video's: 'run/notes\.txt'"
        ):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert names(manifest) == [("run/c.Mov", "run"), ("walk/b.avi", "walk"), ("walk/day 1/é.MP4", "walk")]
        assert manifest.class_names == ("run", "walk")
        assert manifest.root == tmp_path
        assert manifest.clips[0].path == tmp_path / "run/c.Mov"
        assert {clip.split for clip in manifest.clips} == {None}

    def test_folders_whose_names_look_alike_are_one_class_and_the_spellings_are_shown(self, tmp_path: Path) -> None:
        touch(tmp_path, "caf\u00e9/a.mp4", "cafe\u0301/b.mp4", "run /c.mp4", "walk\u00a0fast/d.mp4")
        with pytest.warns(DataNote, match=r"are taken for one: 'cafe' \+ U\+0301 = 'caf\u00e9'\."):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert manifest.clips_per_class == {"caf\u00e9": 2, "run": 1, "walk fast": 1}
        assert {clip.path.parent.name for clip in manifest.clips} == {
            "caf\u00e9",
            "cafe\u0301",
            "run ",
            "walk\u00a0fast",
        }

    def test_the_root_and_the_folders_of_a_split_are_found_however_they_are_spelled(self, tmp_path: Path) -> None:
        sides = ("train ", "val\u200b", "test")
        touch(tmp_path, *(f"vide\u0301os/{side}/{label}/a.mp4" for side in sides for label in ("run", "walk")))
        manifest = read_folder(f"{tmp_path}/vid\u00e9os", group_pattern=None)
        assert [clip.split for clip in manifest.clips] == ["test", "test", "train", "train", "val", "val"]

    def test_a_relative_root_gives_absolute_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "data/run/a.mp4", "data/walk/b.mp4", "other/x")
        monkeypatch.chdir(tmp_path / "other")
        manifest = read_folder("../data", group_pattern=None)
        assert manifest.clips[0].path == tmp_path / "data/run/a.mp4"

    def test_without_a_pattern_each_file_is_a_group_and_the_manifest_says_so(self, tmp_path: Path) -> None:
        touch(tmp_path, "run/a.mp4", "walk/b.mp4")
        manifest = read_folder(tmp_path, group_pattern=None)
        assert [clip.group for clip in manifest.clips] == ["run/a.mp4", "walk/b.mp4"]
        assert not manifest.groups_given

    def test_a_pattern_finds_the_groups_in_the_relative_paths(self, tmp_path: Path) -> None:
        touch(tmp_path, "run/eli_run.avi", "walk/ira_walk.avi")
        manifest = read_folder(tmp_path, group_pattern=r"/(?P<group>[a-z]+)_")
        assert [clip.group for clip in manifest.clips] == ["eli", "ira"]
        assert manifest.groups_given

    @pytest.mark.parametrize(
        ("train", "val", "test"),
        [("train", "val", "test"), ("TRAIN", "Valid", "Test"), ("train", "validation", "test")],
    )
    def test_a_split_data_set_keeps_its_splits(self, tmp_path: Path, train: str, val: str, test: str) -> None:
        touch(
            tmp_path,
            *(f"{split}/{label}/{split}.mp4" for split in (train, val, test) for label in ("run", "walk")),
        )
        (tmp_path / "annotations").mkdir()
        with pytest.warns(DataWarning, match="1 folder without videos .*'annotations'"):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert manifest.class_names == ("run", "walk")
        splits = {clip.name.split("/")[0]: clip.split for clip in manifest.clips}
        assert splits == {train: "train", val: "val", test: "test"}

    def test_split_names_beside_other_classes_are_classes_with_a_warning(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/x/a.mp4", "test/x/b.mp4", "bus/c.mp4")
        with pytest.warns(DataWarning, match="'test', 'train'.* are read as classes, because 'bus'"):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert manifest.class_names == ("bus", "test", "train")

    def test_no_file_is_looked_at_twice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        touch(tmp_path, "train/x/a.mp4", "test/x/b.mp4", "bus/y/c.mp4")
        asked, real = list[Path](), files.is_video
        for module in (files, folder):
            monkeypatch.setattr(module, "is_video", lambda path: (asked.append(path), real(path))[1])
        with pytest.warns(DataWarning, match="are read as classes"):
            read_folder(tmp_path, group_pattern=None)
        assert sorted(path.name for path in asked) == ["a.mp4", "b.mp4", "c.mp4"]

    def test_train_alone_is_a_class_like_any_other(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/a.mp4", "bus/c.mp4")
        assert read_folder(tmp_path, group_pattern=None).class_names == ("bus", "train")

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no folder '.*nowhere'.*data\.root"):
            read_folder(tmp_path / "nowhere", group_pattern=None)

    def test_a_csv_instead_of_a_folder_says_how_to_use_it(self, tmp_path: Path) -> None:
        touch(tmp_path, "clips.csv")
        with pytest.raises(DataError, match=r"data=csv data\.csv=.*clips\.csv"):
            read_folder(tmp_path / "clips.csv", group_pattern=None)

    def test_a_video_instead_of_a_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.mp4")
        with pytest.raises(DataError, match="is a file, not a folder"):
            read_folder(tmp_path / "a.mp4", group_pattern=None)

    def test_an_empty_folder_says_what_is_expected(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"holds no videos \(.*\.mp4.*\); expected is one folder a class"):
            read_folder(tmp_path, group_pattern=None)

    def test_videos_in_no_class_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.mp4", "b.mp4", "labels.csv")
        with pytest.raises(DataError, match=r"2 videos in no class folder.*run/a\.mp4.*data\.csv=.*labels\.csv"):
            read_folder(tmp_path, group_pattern=None)

    def test_split_folders_without_class_folders(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/a.mp4", "test/b.mp4")
        with pytest.raises(DataError, match="2 videos in no class folder"):
            read_folder(tmp_path, group_pattern=None)

    def test_one_class(self, tmp_path: Path) -> None:
        touch(tmp_path, "run/a.mp4")
        with pytest.raises(DataError, match=r"one class, 'run'.*at least 2"):
            read_folder(tmp_path, group_pattern=None)

    def test_one_level_too_high_names_the_right_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "Weizmann/run/a.mp4", "Weizmann/walk/b.mp4")
        with pytest.raises(DataError, match=r"'run', 'walk' are the classes, use data\.root=.*Weizmann"):
            read_folder(tmp_path, group_pattern=None)

    def test_class_folders_without_videos_are_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "run/a.mp4", "walk/b.mp4", "jump/c.txt")
        (tmp_path / "wave").mkdir()
        (tmp_path / ".git").mkdir()
        with pytest.warns(DataWarning, match="2 folders without videos .*: 'jump', 'wave'"):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert manifest.class_names == ("run", "walk")

    def test_videos_beside_the_class_folders_are_counted(self, tmp_path: Path) -> None:
        touch(tmp_path, "run/a.mp4", "walk/b.mp4", "c.mp4", "d.AVI", ".e.mp4")
        with pytest.warns(DataWarning, match="2 videos in no class folder .*'c.mp4', 'd.AVI'"):
            assert len(read_folder(tmp_path, group_pattern=None).clips) == 2

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            (r"(?P<group>[a-z", "not a regular expression: unterminated character set at position 10"),
            (r"/([a-z]+)_", "no group named 'group'"),
            (r"/(?P<group>eli)_", r"finds no group in 2 of 3 paths: 'run/ira_run.avi', 'walk/eli.avi'"),
            (r"(?P<group>x*)", "finds no group in 3 of 3"),
        ],
    )
    def test_a_pattern_that_does_not_fit(self, tmp_path: Path, pattern: str, message: str) -> None:
        touch(tmp_path, "run/eli_run.avi", "run/ira_run.avi", "walk/eli.avi")
        with pytest.raises(DataError, match=message):
            read_folder(tmp_path, group_pattern=pattern)
