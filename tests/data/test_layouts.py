from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from activity.data.clips import DataError, DataWarning, Manifest
from activity.data.layouts import read_csv, read_folder

REAL_DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_csv(folder: Path, text: str | bytes, name: str = "clips.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names(manifest: Manifest) -> list[tuple[str, str]]:
    return [(clip.name, clip.label) for clip in manifest.clips]


def csv_error(folder: Path, text: str | bytes) -> str:
    touch(folder, "a.mp4", "b.mp4", "c.mp4")
    with pytest.raises(DataError) as raised:
        read_csv(write_csv(folder, text), root=None, group_pattern=None)
    return str(raised.value)


class TestFolder:
    def test_folders_are_classes_at_any_depth_and_in_any_case_of_suffix(self, tmp_path: Path) -> None:
        touch(tmp_path, "walk/day 1/é.MP4", "walk/b.avi", "run/c.Mov", "run/notes.txt", "readme.md")
        manifest = read_folder(tmp_path, group_pattern=None)
        assert names(manifest) == [("run/c.Mov", "run"), ("walk/b.avi", "walk"), ("walk/day 1/é.MP4", "walk")]
        assert manifest.class_names == ("run", "walk")
        assert manifest.root == tmp_path
        assert manifest.clips[0].path == tmp_path / "run/c.Mov"
        assert {clip.split for clip in manifest.clips} == {None}

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
        with pytest.warns(DataWarning, match="1 folders .* hold no videos .*'annotations'"):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert manifest.class_names == ("run", "walk")
        splits = {clip.name.split("/")[0]: clip.split for clip in manifest.clips}
        assert splits == {train: "train", val: "val", test: "test"}

    def test_split_names_beside_other_classes_are_classes_with_a_warning(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/x/a.mp4", "test/x/b.mp4", "bus/c.mp4")
        with pytest.warns(DataWarning, match="'test', 'train'.* are read as classes, because 'bus'"):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert manifest.class_names == ("bus", "test", "train")

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
        with pytest.warns(DataWarning, match="2 folders .* hold no videos .*: 'jump', 'wave'"):
            manifest = read_folder(tmp_path, group_pattern=None)
        assert manifest.class_names == ("run", "walk")

    def test_videos_beside_the_class_folders_are_counted(self, tmp_path: Path) -> None:
        touch(tmp_path, "run/a.mp4", "walk/b.mp4", "c.mp4", "d.AVI", ".e.mp4")
        with pytest.warns(DataWarning, match="2 videos .* lie in no class folder .*'c.mp4', 'd.AVI'"):
            assert len(read_folder(tmp_path, group_pattern=None).clips) == 2

    def test_class_names_that_differ_in_case_are_pointed_out(self, tmp_path: Path) -> None:
        csv = write_csv(touch(tmp_path, "a.mp4", "b.mp4"), "path,label\na.mp4,Run\nb.mp4,run\n")
        with pytest.warns(DataWarning, match="'Run', 'run'"):
            read_csv(csv, root=None, group_pattern=None)

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


class TestCsv:
    def test_all_columns(self, tmp_path: Path) -> None:
        touch(tmp_path, "a b.mp4", "ü, 2.mp4")
        csv = write_csv(
            tmp_path,
            "path,label,start,end,group,split\n"
            'a b.mp4,run,0.5,2,eli,train\n"ü, 2.mp4","walk ""fast""",,,ira,Validation\n',
        )
        manifest = read_csv(csv, root=None, group_pattern=None)
        first, second = manifest.clips
        assert (first.start_seconds, first.end_seconds, first.group, first.split) == (
            0.5,
            2.0,
            "eli",
            "train",
        )
        assert (second.start_seconds, second.end_seconds, second.split) == (0.0, None, "val")
        assert (second.name, second.label, second.path) == ("ü, 2.mp4", 'walk "fast"', tmp_path / "ü, 2.mp4")
        assert manifest.groups_given
        assert manifest.class_names == ("run", 'walk "fast"')

    @pytest.mark.parametrize(
        "text",
        [
            "label;path\r\nrun;a.mp4\r\nwalk, slowly;b.mp4\r\n",
            "path\tlabel\na.mp4\trun\nb.mp4\twalk, slowly\n",
            '\ufeffPath, Label\n\na.mp4, run \n,,\nb.mp4,"walk, slowly"\n',
        ],
    )
    def test_what_spreadsheets_write(self, tmp_path: Path, text: str) -> None:
        csv = write_csv(touch(tmp_path, "a.mp4", "b.mp4"), text)
        manifest = read_csv(csv, root=None, group_pattern=None)
        assert names(manifest) == [("a.mp4", "run"), ("b.mp4", "walk, slowly")]

    def test_paths_start_from_the_root_where_one_is_given(self, tmp_path: Path) -> None:
        touch(tmp_path, "videos/x/a.mp4", "videos/b.mp4", "tables/t")
        other = touch(tmp_path, "elsewhere/c.mp4") / "elsewhere/c.mp4"
        csv = write_csv(
            tmp_path / "tables",
            f"path,label\nx/a.mp4,run\n{tmp_path}/videos/b.mp4,run\n{other},walk\n../elsewhere/../t/d.mp4,walk\n",
        )
        with pytest.warns(DataWarning, match="1 files"):
            manifest = read_csv(csv, root=tmp_path / "videos", group_pattern=None)
        assert [clip.name for clip in manifest.clips] == ["x/a.mp4", "b.mp4", other.as_posix(), "../t/d.mp4"]
        assert manifest.clips[3].path == tmp_path / "t/d.mp4"
        assert manifest.root == tmp_path / "videos"

    def test_spans_of_one_file_are_one_group_unless_groups_are_given(self, tmp_path: Path) -> None:
        csv = write_csv(touch(tmp_path, "a.mp4"), "path,label,start,end\na.mp4,run,0,2\na.mp4,walk,2,4\n")
        manifest = read_csv(csv, root=None, group_pattern=None)
        assert {clip.group for clip in manifest.clips} == {"a.mp4"}
        assert not manifest.groups_given

    def test_a_pattern_is_used_where_the_csv_has_no_groups(self, tmp_path: Path) -> None:
        csv = write_csv(touch(tmp_path, "a1.mp4", "b2.mp4"), "path,label,group\na1.mp4,run,\nb2.mp4,walk,\n")
        manifest = read_csv(csv, root=None, group_pattern=r"^(?P<group>.)")
        assert [clip.group for clip in manifest.clips] == ["a", "b"]
        assert manifest.groups_given

    def test_a_pattern_that_the_group_column_overrules_is_pointed_out(self, tmp_path: Path) -> None:
        csv = write_csv(touch(tmp_path, "a.mp4", "b.mp4"), "path,label,group\na.mp4,run,x\nb.mp4,walk,y\n")
        with pytest.warns(DataWarning, match="not used.*has a group column"):
            manifest = read_csv(csv, root=None, group_pattern=r"^(?P<group>.)")
        assert [clip.group for clip in manifest.clips] == ["x", "y"]

    def test_missing_files_stay_with_a_warning(self, tmp_path: Path) -> None:
        csv = write_csv(touch(tmp_path, "a.mp4"), f"path,label\na.mp4,run\nb.mp4,walk\n{'c' * 300}.mp4,walk\n")
        with pytest.warns(DataWarning, match=r"2 files named .* do not exist: 'b\.mp4'"):
            manifest = read_csv(csv, root=None, group_pattern=None)
        assert len(manifest.clips) == 3

    def test_all_files_missing_says_where_they_were_looked_up(self, tmp_path: Path) -> None:
        csv = write_csv(tmp_path, "path,label\nrun\\a.mp4,run\nb.mp4,walk\n")
        with pytest.raises(DataError) as raised:
            read_csv(csv, root=None, group_pattern=None)
        message = str(raised.value)
        assert "None of the 2 files" in message
        assert f"looked up in '{tmp_path}'" in message
        assert "Write paths with /" in message

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("path,clas\na.mp4,run\n", ["'label' is missing", "columns", "'path', 'clas'"]),
            ("path,label,grup\na.mp4,run,x\n", ["'grup' is unknown (did you mean 'group'?)", "start, end"]),
            ("path,label,label\na.mp4,run,x\n", ["'label' stands there 2 times"]),
            (",,\n", ["'path' is missing"]),
            ("path,label\n,run\na.mp4,\n", ["line 2: the path is empty", "line 3: the label is empty"]),
            ("path,label,start,end\na.mp4,run,3,2\n", ["line 2: 'a.mp4': end 2 is not after start 3"]),
            ("path,label,start\na.mp4,run,-1\n", ["line 2: 'a.mp4': start is -1"]),
            ("path,label,start\na.mp4,run,nan\n", ["line 2: 'a.mp4': start is nan"]),
            ("path;label;start\na.mp4;run;1,5\n", ["line 2: start is '1,5', not a number"]),
            (
                "path,label,split\na.mp4,run,dev\n",
                ["line 2: split is 'dev'; accepted are train, val and test"],
            ),
            ("path,label\na.mp4,run,fast\n", ["line 2: more cells than columns: 'fast'"]),
            ("path,label,group\na.mp4,run,x\nb.mp4,walk,\n", ["line 3: the group is empty"]),
            (
                "path,label\na.mp4,run\nb.mp4,run\na.mp4,walk\n",
                ["line 4: 'a.mp4' has two labels for the same span, 'run' and 'walk' (see line 2)"],
            ),
            (
                "path,label\na.mp4,run\nx/../a.mp4,run\n",
                ["line 3: 'a.mp4' ('run') is listed twice", "line 2"],
            ),
            ('path,label\na.mp4,"run\nb.mp4,walk\n', ["line 3", "unexpected end of data", "quotes"]),
            ("path,label\na.mp4,run\n", ["one class, 'run'"]),
            ("", ["is empty"]),
            ("\n \n", ["is empty"]),
            ("path,label\n", ["header but no rows"]),
            (b"path,label\n\xe9t\xe9.mp4,run\n", ["not a UTF-8 text"]),
            ("path,label\n".encode("utf-16"), ["not a UTF-8 text"]),
        ],
    )
    def test_a_bad_csv(self, tmp_path: Path, text: str | bytes, expected: list[str]) -> None:
        message = csv_error(tmp_path, text)
        assert "clips.csv" in message or "one class" in message
        for part in expected:
            assert part in message

    def test_all_problems_are_counted_and_the_first_ten_shown(self, tmp_path: Path) -> None:
        rows = "a.mp4,,x\n" + "b.mp4,run,x\n" * 14
        message = csv_error(tmp_path, "path,label,start\n" + rows)
        assert message.startswith("15 problems")
        assert "line 2: the label is empty; start is 'x'" in message
        assert "line 11:" in message
        assert "line 12:" not in message
        assert "and 5 more" in message

    def test_a_missing_csv(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no file '.*clips\.csv'"):
            read_csv(tmp_path / "clips.csv", root=None, group_pattern=None)

    def test_a_folder_instead_of_a_csv_says_how_to_use_it(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"data=folder data\.root="):
            read_csv(tmp_path, root=None, group_pattern=None)

    def test_a_missing_root(self, tmp_path: Path) -> None:
        csv = write_csv(tmp_path, "path,label\na.mp4,run\nb.mp4,walk\n")
        with pytest.raises(DataError, match=r"no folder '.*nowhere'"):
            read_csv(csv, root=tmp_path / "nowhere", group_pattern=None)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the development videos are not beside the checkout")
def test_real_data_sets_are_read_without_a_warning() -> None:
    with warnings.catch_warnings(action="error"):
        weizmann = read_folder(REAL_DATA / "weizmann", group_pattern=r"/(?P<group>[a-z]+)_")
        fights = read_csv(REAL_DATA / "surv-fight" / "clips.csv", root=None, group_pattern=None)
    assert len({clip.group for clip in weizmann.clips}) == 9
    assert set(weizmann.clips_per_class.values()) == {9}
    assert len(weizmann.class_names) == 10
    assert fights.clips_per_class == {"fight": 150, "noFight": 150}
    assert fights.groups_given
