from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from activity.data.clips import DataError, DataNote, DataWarning
from activity.data.layouts import read_csv, read_folder
from tests.data.layouts.trees import names, touch, write_csv

REAL_DATA = Path(__file__).parents[3] / ".." / "shared" / "data"


def csv_error(folder: Path, text: str | bytes) -> str:
    touch(folder, "a.mp4", "b.mp4", "c.mp4")
    with pytest.raises(DataError) as raised:
        read_csv(write_csv(folder, text), root=None, group_pattern=None)
    return str(raised.value)


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
            "path;label;;;\r\na.mp4;run;;;\r\nb.mp4;walk, slowly;;;\r\n;;;;\r\n",
            "path;;label\na.mp4;;run\nb.mp4;;walk, slowly\n",
            "\ufeffsep=;\r\npath;label\r\na.mp4;run\r\nb.mp4;walk, slowly\r\n",
            '"sep=|"|\nPATH|LABEL\na.mp4|run\nb.mp4|walk, slowly',
            'path , label\n a.mp4 , run\n"b.mp4", "walk, slowly"\n',
            "path;label\ra.mp4;run\rb.mp4;walk, slowly\r",
            "path;label\n.\\a.mp4;run\nfolder\\..\\b.mp4;walk, slowly\n",
            "path\tlabel\r\na.mp4\trun\r\nb.mp4\twalk, slowly\r\n".encode("utf-16"),
            "path;label\n\u202aa.mp4;ru\u00adn\u200b\nb.mp4;walk,\u00a0slowly\n",
        ],
    )
    def test_what_spreadsheets_write(self, tmp_path: Path, text: str | bytes) -> None:
        csv = write_csv(touch(tmp_path, "a.mp4", "b.mp4"), text)
        manifest = read_csv(csv, root=None, group_pattern=None)
        assert names(manifest) == [("a.mp4", "run"), ("b.mp4", "walk, slowly")]

    @pytest.mark.parametrize(
        "text",
        [
            "path;label;start\na.mp4;run;1,5\na.mp4;walk;2,125\n",
            'path,label,start\na.mp4,run,"1,5"\na.mp4,walk,2.125\n',
        ],
    )
    def test_decimals_with_a_comma(self, tmp_path: Path, text: str) -> None:
        manifest = read_csv(write_csv(touch(tmp_path, "a.mp4"), text), root=None, group_pattern=None)
        assert [clip.start_seconds for clip in manifest.clips] == [1.5, 2.125]

    @pytest.mark.parametrize(
        "on_disk", ["vid\u00e9/cafe\u0301.mp4", "vide\u0301/caf\u200b\u00e9.mp4", " vid\u00e9/caf\u00e9.mp4 "]
    )
    @pytest.mark.parametrize(
        "in_table",
        ["vid\u00e9/caf\u00e9.mp4", "vide\u0301/\ufeffcafe\u0301.mp4", "vid\u00e9\u200d\\caf\u00e9.mp4 "],
    )
    def test_a_file_is_found_however_its_name_is_spelled(self, tmp_path: Path, on_disk: str, in_table: str) -> None:
        csv = write_csv(touch(tmp_path, on_disk, "b.mp4"), f"path,label\n{in_table},run\nb.mp4,walk\n")
        clip = read_csv(csv, root=None, group_pattern=None).clips[0]
        assert (clip.path, clip.name) == (tmp_path / on_disk, on_disk)

    def test_of_several_files_that_look_alike_only_the_one_that_is_named_is_taken(self, tmp_path: Path) -> None:
        both = ["cafe\u0301.mp4", "caf\u00e9\u200b.mp4"]
        rows = f"{both[0]},run\n{both[1]},walk\ncaf\u00e9.mp4,walk\n"
        csv = write_csv(touch(tmp_path, *both), f"path,label\n{rows}")
        with pytest.warns(DataWarning, match=r"1 file named .* not found: 'caf\u00e9.mp4'"):
            manifest = read_csv(csv, root=None, group_pattern=None)
        assert [clip.name for clip in manifest.clips[:2]] == both

    def test_names_that_look_alike_are_one_and_the_spellings_are_shown(self, tmp_path: Path) -> None:
        rows = ["caf\u00e9,ann", "cafe\u0301,ann\u200b", "caf\u00e9\u200d,bob", "run,bob", "می\u200cدود,bob"]
        lines = "".join(f"{number}.mp4,{row}\n" for number, row in enumerate(rows))
        csv = write_csv(touch(tmp_path, *(f"{number}.mp4" for number in range(5))), f"path,label,group\n{lines}")
        with pytest.warns(DataNote) as said:
            manifest = read_csv(csv, root=None, group_pattern=None)
        # A joiner that has a meaning stays where no other name lacks it.
        assert manifest.clips_per_class == {"caf\u00e9": 3, "run": 1, "می\u200cدود": 1}
        assert {clip.group for clip in manifest.clips} == {"ann", "bob"}
        shown = [str(warning.message) for warning in said]
        assert shown == [
            "Names that look alike are taken for one: 'cafe' + U+0301 = 'caf\u00e9' = 'caf\u00e9' + U+200D.",
            "Names that look alike are taken for one: 'ann' = 'ann' + U+200B.",
        ]

    def test_paths_start_from_the_root_where_one_is_given(self, tmp_path: Path) -> None:
        touch(tmp_path, "videos/x/a.mp4", "videos/b.mp4", "tables/t")
        other = touch(tmp_path, "elsewhere/c.mp4") / "elsewhere/c.mp4"
        csv = write_csv(
            tmp_path / "tables",
            f"path,label\nx/a.mp4,run\n{tmp_path}/videos/b.mp4,run\n{other},walk\n../elsewhere/../t/d.mp4,walk\n",
        )
        with pytest.warns(DataWarning, match="1 file named"):
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
        with pytest.warns(DataWarning, match=r"2 files named .* not found: 'b\.mp4'"):
            manifest = read_csv(csv, root=None, group_pattern=None)
        assert len(manifest.clips) == 3

    def test_a_file_in_other_upper_and_lower_case_is_shown(self, tmp_path: Path) -> None:
        rows = "Deep/CAFE\u0301.MP4,run\nC.mp4,run\ngone.mp4,walk\na.mp4,walk\n"
        csv = write_csv(touch(tmp_path, "deep/caf\u00e9.mp4", "c.MP4", "a.mp4"), f"path,label\n{rows}")
        both = "'Deep/CAF\u00c9.MP4' is 'deep/caf\u00e9.mp4', 'C.mp4' is 'c.MP4'; write them so in the table"
        with pytest.warns(DataWarning, match=f"in other upper and lower case: {both}"):
            read_csv(csv, root=None, group_pattern=None)

    def test_all_files_missing_says_where_they_were_looked_up(self, tmp_path: Path) -> None:
        csv = write_csv(tmp_path, "path,label\nC:\\run\\a.mp4,run\nb.mp4,walk\n")
        with pytest.raises(DataError) as raised:
            read_csv(csv, root=None, group_pattern=None)
        message = str(raised.value)
        assert "Of 2 files" in message
        assert f"looked up in '{tmp_path}'" in message
        assert "begin with a drive are those of another computer" in message

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
            ("path\tlabel\tstart\na.mp4\trun\t1,500\n", ["line 2: start is '1,500', not a number"]),
            ("sep=;\npath;label;start\na.mp4;run;x\n", ["line 3: start is 'x'"]),
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
            ("path,label\n".encode("utf-16-le"), ["not a UTF-8 text (byte 1); save it as 'CSV UTF-8'"]),
            ("path,label\n".encode("utf-16")[:-1], ["not a UTF-8 text"]),
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

    def test_bad_rows_and_missing_files_are_named_in_one_message(self, tmp_path: Path) -> None:
        rows = ["a.mp4,run,,,", "gone.mp4,run,,,", "b.mp4,walk,3,2,dev", "lost.mp4,,x,1,", "a.mp4,run,,,"]
        message = csv_error(tmp_path, "\n".join(["path,label,start,end,split", *rows]))
        assert message.splitlines() == [
            f"3 problems in '{tmp_path / 'clips.csv'}'; correct the rows, or remove them:",
            "  line 4: split is 'dev'; accepted are train, val and test; 'b.mp4': end 2 is not after start 3; "
            "give seconds, or no end for the whole file",
            "  line 5: the label is empty; start is 'x', not a number of seconds such as 2.5",
            "  line 6: 'a.mp4' ('run') is listed twice with the same span (see line 2)",
            f"  2 files not found: 'gone.mp4', 'lost.mp4'. Relative paths are looked up in '{tmp_path}'; "
            "data.root= gives another folder.",
        ]

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

    def test_class_names_that_differ_in_case_are_pointed_out(self, tmp_path: Path) -> None:
        csv = write_csv(touch(tmp_path, "a.mp4", "b.mp4"), "path,label\na.mp4,Run\nb.mp4,run\n")
        with pytest.warns(DataWarning, match="'Run', 'run'"):
            read_csv(csv, root=None, group_pattern=None)

    def test_a_kinetics_table_says_how_to_use_it(self, tmp_path: Path) -> None:
        message = csv_error(tmp_path, "label,youtube_id,time_start,time_end,split\nrun,a,0,10,train\n")
        assert "data=kinetics data.csv=" in message


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
