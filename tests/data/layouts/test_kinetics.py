from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from activity.data.clips import DataError, DataNote, DataWarning, Manifest
from activity.data.layouts import detect_layout, read_kinetics
from activity.data.splits import split_manifest
from tests.data.layouts.trees import kinetics_csv, touch, write_csv

TRAIN = [("air drumming", "-3B32lodo2M", 59, "train"), ("abseiling", "_dbcJuKJQNs", 40, "train")]
VAL = [("air drumming", "0aBcDeFgHiJ", 0, "validate"), ("abseiling", "zz_zz-zz_zz", 7, "val")]
TEST = [("air drumming", "testtest001", 3, "test"), ("abseiling", "testtest002", 4, "test")]


def read(
    csv: Path | str | Sequence[Path | str] | None,
    root: Path | None = None,
    *,
    trimmed: bool | None = None,
    pattern: str | None = None,
) -> Manifest:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNote)
        return read_kinetics(csv, root=root, trimmed=trimmed, group_pattern=pattern)


def clip_files(rows: Sequence[tuple[str, str, int, str]], folder: str = "") -> list[str]:
    return [f"{folder}{video}_{start:06d}_{start + 10:06d}.mp4" for _, video, start, _ in rows]


def test_splits_labels_and_groups(tmp_path: Path) -> None:
    touch(tmp_path, *clip_files([*TRAIN, *VAL, *TEST]))
    manifest = read(write_csv(tmp_path, kinetics_csv(*TRAIN, *VAL, *TEST)))
    assert manifest.class_names == ("abseiling", "air drumming")
    assert [clip.split for clip in manifest.clips] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    first = manifest.clips[0]
    assert (first.name, first.label, first.group) == ("-3B32lodo2M_000059_000069.mp4", "air drumming", "-3B32lodo2M")
    assert (first.start_seconds, first.end_seconds) == (0.0, None)
    assert manifest.published_split == "the Kinetics splits"


@pytest.mark.parametrize("folder", ["", "{label}/", "{label_}/", "{split}/", "{split}/{label}/", "{split}/{label_}/"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_videos_lie_where_downloaders_put_them(tmp_path: Path, folder: str, suffix: str) -> None:
    for row in (*TRAIN, *VAL):
        place = folder.format(label=row[0], label_=row[0].replace(" ", "_"), split=row[3])
        touch(tmp_path, *(Path(name).with_suffix(suffix).as_posix() for name in clip_files([row], place)))
    manifest = read(write_csv(tmp_path, kinetics_csv(*TRAIN, *VAL)))
    assert all(clip.path.is_file() for clip in manifest.clips)


def test_a_video_in_two_folders_is_taken_from_that_of_its_class_and_split(tmp_path: Path) -> None:
    touch(tmp_path, *clip_files(TRAIN, "a_copy/"), *clip_files(TRAIN[:1], "train/air_drumming/"))
    with pytest.warns(DataWarning, match="1 video .* not used"):
        manifest = read(write_csv(tmp_path, kinetics_csv(*TRAIN)))
    assert manifest.clips[0].name == "train/air_drumming/-3B32lodo2M_000059_000069.mp4"


def test_a_table_that_a_spreadsheet_has_written(tmp_path: Path) -> None:
    rows = [("caf\u00e9", *TRAIN[0][1:]), ("cafe\u0301 ", *TRAIN[1][1:]), ("run", *VAL[0][1:])]
    table = "sep=;\r\n" + kinetics_csv(*rows).replace(",", ";").replace("\n", ";;\r\n")
    csv = write_csv(touch(tmp_path, *clip_files(rows)), table.encode("utf-16"))
    assert detect_layout(csv) == "kinetics"
    assert read(csv).clips_per_class == {"caf\u00e9": 2, "run": 1}


def test_a_file_named_by_the_id_alone_is_the_whole_video(tmp_path: Path) -> None:
    touch(tmp_path, "-3B32lodo2M.mp4", "_dbcJuKJQNs.mkv")
    csv = write_csv(tmp_path, kinetics_csv(TRAIN[0], ("abseiling", "_dbcJuKJQNs", 40, "test")))
    with pytest.warns(DataNote, match=r"2 files named by the YouTube id alone .*data\.trimmed=true"):
        manifest = read_kinetics(csv, root=None, trimmed=None, group_pattern=None)
    assert [(clip.start_seconds, clip.end_seconds) for clip in manifest.clips] == [(59.0, 69.0), (40.0, 50.0)]
    spans = [(clip.start_seconds, clip.end_seconds) for clip in read(csv, trimmed=True).clips]
    assert spans == [(0.0, None), (0.0, None)]


def test_ids_that_differ_in_case_are_different_videos(tmp_path: Path) -> None:
    touch(tmp_path, *clip_files(TRAIN), "_DBCJUKJQNS_000040_000050.mp4")
    with pytest.warns(DataWarning, match="1 video .* not used"):
        manifest = read(write_csv(tmp_path, kinetics_csv(*TRAIN)))
    assert manifest.clips[1].path.name == "_dbcJuKJQNs_000040_000050.mp4"


def test_missing_files_are_counted_and_stay(tmp_path: Path) -> None:
    extra = [("abseiling", "gone0000000", 1, "train"), ("abseiling", "gone0000001", 2, "val")]
    touch(tmp_path, *clip_files([*TRAIN, *VAL], "videos/"))
    csv = write_csv(tmp_path, kinetics_csv(*TRAIN, *VAL, *extra))
    with pytest.warns(DataWarning, match=r"2 of 6 videos .*\(1 train, 1 val\): 'gone0000000_000001_000011\.mp4'"):
        manifest = read(csv)
    assert [clip.name for clip in manifest.clips if not clip.path.exists()] == clip_files(extra, "videos/")


def test_all_files_missing_says_where_it_looked(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, kinetics_csv(*TRAIN))
    with pytest.raises(DataError, match=r"Of 2 videos .*clips\.csv.* none is in '.*': it holds no videos"):
        read(csv)
    touch(tmp_path, "run/eli.avi")
    with pytest.raises(DataError, match=r"holds 1 other \('run/eli\.avi'\).*data\.csv the lists of these videos"):
        read(csv)


class TestSplits:
    def test_val_is_the_test_where_there_are_no_labelled_test_videos(self, tmp_path: Path) -> None:
        unlabelled = "youtube_id,time_start,time_end,split\ntesttest001,3,13,test\n"
        more = [(label, f"more{n:07d}", n, "train") for n in range(8) for label in [TRAIN[n % 2][0]]]
        touch(tmp_path, *clip_files([*TRAIN, *more, *VAL, TEST[0]]))
        tables = [
            write_csv(tmp_path, kinetics_csv(*TRAIN, *more), "train.csv"),
            write_csv(tmp_path, kinetics_csv(*VAL), "val.csv"),
            write_csv(tmp_path, unlabelled, "test.csv"),
        ]
        with pytest.warns(DataNote) as caught:
            manifest = read_kinetics(tables, root=None, trimmed=None, group_pattern=None)
        said = [str(warning.message) for warning in caught]
        assert len(said) == 2
        assert "1 of 13 listed videos not used: they have no label" in said[0]
        assert "those of val (2) are the test clips" in said[1]
        splits = split_manifest(manifest, val_fraction=0.2, test_fraction=0.2, seed=0)
        assert {clip.group for clip in splits.test} == {row[1] for row in VAL}
        assert len(splits.val) == 2

    def test_a_test_split_of_which_no_video_is_there_is_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, *clip_files([*TRAIN, *VAL]))
        with pytest.warns(DataWarning, match="Of 2 test videos .* is left out"):
            manifest = read(write_csv(tmp_path, kinetics_csv(*TRAIN, *VAL, *TEST)))
        assert [clip.split for clip in manifest.clips] == ["train"] * 2 + ["test"] * 2

    def test_one_split_alone_is_no_split(self, tmp_path: Path) -> None:
        touch(tmp_path, *clip_files(VAL))
        csv = write_csv(tmp_path, kinetics_csv(*VAL))
        with pytest.warns(DataNote, match="There are val videos only: they are split anew"):
            manifest = read_kinetics(csv, root=None, trimmed=None, group_pattern=None)
        assert {clip.split for clip in manifest.clips} == {None}
        assert manifest.published_split is None

    def test_the_file_name_says_the_split_where_no_column_does(self, tmp_path: Path) -> None:
        header = "label,youtube_id,time_start,time_end\n"
        touch(tmp_path, *clip_files([*TRAIN, *VAL, *TEST]))
        for name, rows in (("kinetics_400_train", TRAIN), ("validate", VAL), ("test", TEST)):
            lines = [f"{label},{video},{start},{start + 10}\n" for label, video, start, _ in rows]
            write_csv(tmp_path, header + "".join(lines), f"{name}.csv")
        splits = {clip.group: clip.split for clip in read(tmp_path).clips}
        assert list(splits.values()) == ["train", "train", "test", "test", "val", "val"]


class TestTables:
    @pytest.fixture
    def videos(self, tmp_path: Path) -> Path:
        return touch(tmp_path / "k400" / "videos", *clip_files([*TRAIN, *VAL]))

    @pytest.mark.parametrize("place", ["videos", "videos/annotations", ".", "annotations"])
    def test_are_found_in_or_beside_the_root(self, videos: Path, place: str) -> None:
        folder = videos.parent / place
        write_csv(folder, "path,label\n", "other.csv")
        write_csv(folder, kinetics_csv(*TRAIN), "train.csv")
        write_csv(folder, kinetics_csv(*VAL), "val.csv")
        assert len(read(None, videos).clips) == 4

    def test_may_be_a_folder_a_pattern_or_a_list(self, videos: Path, tmp_path: Path) -> None:
        folder = tmp_path / "x"
        train = write_csv(folder, kinetics_csv(*TRAIN), "train.csv")
        val = write_csv(folder, kinetics_csv(*VAL), "val.csv")
        for given in (folder, f"{folder}/*.csv", [str(train), val]):
            assert len(read(given, videos).clips) == 4
        with pytest.warns(DataWarning, match="2 videos .* not used"):
            assert len(read(train, videos).clips) == 2

    def test_are_asked_for(self, videos: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no tables .*youtube_id.* in '.*videos'.*data\.csv=FILE"):
            read(None, videos)
        with pytest.raises(DataError, match=r"data\.root=FOLDER"):
            read(None)
        with pytest.raises(DataError, match=r"no file '.*nowhere\.csv'"):
            read(tmp_path / "nowhere.csv", videos)
        with pytest.raises(DataError, match=r"holds no tables with the columns"):
            read(videos, videos)
        with pytest.raises(DataError, match="empty list"):
            read([], videos)

    def test_with_other_columns(self, videos: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no column 'youtube_id'.*data=csv"):
            read(write_csv(tmp_path, "path,time_start,time_end\n"), videos)

    def test_problems_are_named_with_their_lines(self, videos: Path, tmp_path: Path) -> None:
        header = "label,youtube_id,time_start,time_end,split\n"
        rows = "a,,0,10,train\na,x,10,1,train\na,x,inf,x,train\na,x,0,inf,train\na,x,0,10,dev\na\n"
        with pytest.raises(DataError) as raised:
            read(write_csv(tmp_path, header + rows), videos)
        message = str(raised.value)
        for part in (
            "line 2: the youtube_id is empty",
            "line 3: time_start is '10' and time_end '1'",
            "line 4: time_start is 'inf' and time_end 'x'",
            "line 5: time_start is '0' and time_end 'inf'",
            "line 6: split is 'dev'; accepted are train, validate and test",
            "line 7: the youtube_id is empty",
        ):
            assert part in message
