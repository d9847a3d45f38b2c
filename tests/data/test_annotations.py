from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from activity.data.annotations import read_annotations
from activity.data.clips import DataError, DataWarning
from activity.data.segments import BACKGROUND
from tests.data.layouts.trees import touch

HEADER = "source,start,end,label\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "annotations.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def spans(folder: Path, text: str) -> dict[str, list[tuple[str, float, float]]]:
    return {
        video.name: [(segment.label, segment.start_seconds, segment.end_seconds) for segment in video.segments]
        for video in read_annotations(written(folder, text))
    }


def error(folder: Path, text: str | bytes) -> str:
    touch(folder, "a.mp4", "b.mp4")
    with pytest.raises(DataError) as raised:
        read_annotations(written(folder, text))
    return str(raised.value)


def test_segments_of_each_video_in_the_order_of_time(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "deep/b c.mp4")
    found = spans(
        tmp_path,
        f"{HEADER}deep/b c.mp4,3,4.5,walk\na.mp4,0,2,run\ndeep/b c.mp4,1,2,run fast\na.mp4,2,3,{BACKGROUND}\n",
    )
    assert found == {
        "deep/b c.mp4": [("run fast", 1.0, 2.0), ("walk", 3.0, 4.5)],
        "a.mp4": [("run", 0.0, 2.0), (BACKGROUND, 2.0, 3.0)],
    }
    assert list(found) == ["deep/b c.mp4", "a.mp4"]


def test_paths_start_from_the_folder_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "table/a.mp4", "b.mp4", "elsewhere/t")
    monkeypatch.chdir(tmp_path / "elsewhere")
    csv = written(tmp_path / "table", f"{HEADER}a.mp4,0,1,run\n../b.mp4,0,1,run\n{tmp_path}/b.mp4,1,2,walk\n")
    for given in (csv, "../table/annotations.csv"):
        videos = read_annotations(given)
        # One file under two names is one video, under the first of them.
        assert [(video.name, video.path) for video in videos] == [
            ("a.mp4", tmp_path / "table/a.mp4"),
            ("../b.mp4", tmp_path / "b.mp4"),
        ]
        assert [segment.label for segment in videos[1].segments] == ["run", "walk"]


@pytest.mark.parametrize(
    "text",
    [
        "label;end;start;source\r\nrun;2;1;a.mp4\r\n",
        "source\tstart\tend\tlabel\tscore\na.mp4\t1\t2\trun\t0.7\n",
        '\ufeffSource, Start ,End,Label\n\n"a.mp4", 1, 2.0, run \n,,,\n',
        "sep=;\nsource;start;end;label;;\n a.mp4 ;1,0;2,0;run\u200b;;\n",
    ],
)
def test_what_spreadsheets_and_timelines_write(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a.mp4")
    assert spans(tmp_path, text) == {"a.mp4": [("run", 1.0, 2.0)]}


def test_segments_that_touch_do_not_overlap_however_their_seconds_are_rounded(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    assert len(spans(tmp_path, f"{HEADER}a.mp4,0,0.30000000000000004,run\na.mp4,0.3,0.6,walk\n")["a.mp4"]) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source,start,label\na.mp4,1,run\n", ["'end' is missing", "source, start, end and label are needed"]),
        ("source,start,end,lable\n", ["'label' is missing", "'lable' is unknown (did you mean 'label'?)"]),
        ("a.mp4,0,1,run\n", ["has no header", "such as source,start,end,label"]),
        (f"{HEADER}a.mp4,x,2,run\n", ["line 2: start is 'x', not a number of seconds"]),
        (f"{HEADER}a.mp4,,2,run\n", ["line 2: the start is empty"]),
        (f"{HEADER}a.mp4,1,,run\n", ["line 2: the end is empty"]),
        (f"{HEADER},1,2,run\na.mp4,1,2,\n", ["line 2: the source is empty", "line 3: the label is empty"]),
        (f"{HEADER}a.mp4,2,2,run\n", ["line 2: a segment from 2 to 2 s; accepted: 0 <= start < end"]),
        (f"{HEADER}a.mp4,-1,2,run\n", ["line 2: a segment from -1 to 2 s"]),
        (f"{HEADER}a.mp4,nan,2,run\n", ["line 2: a segment from nan to 2 s"]),
        (f"{HEADER}a.mp4,1,inf,run\n", ["line 2: a segment from 1 to inf s"]),
        (f"{HEADER}a.mp4,1,2,run,fast\n", ["line 2: more cells than columns: 'fast'"]),
        (
            f"{HEADER}a.mp4,4,6,run\na.mp4,1,5,walk\n",
            ["line 2: 'a.mp4' has 'run' from 4 s, while 'walk' lasts to 5 s (line 3): two labels at once"],
        ),
        (
            f"{HEADER}a.mp4,0,9,run\na.mp4,1,2,walk\nx/../a.mp4,3,4,walk\n",
            ["2 problems", "line 3: 'a.mp4'", "line 4: 'a.mp4' has 'walk' from 3 s, while 'run' lasts to 9 s (line 2)"],
        ),
        (f'{HEADER}a.mp4,0,1,"run\nb.mp4,0,1,run\n', ["line 3", "quotes"]),
        ("", ["is empty", "source,start,end,label and a row a segment"]),
        (HEADER, ["header but no rows; add a row for each segment"]),
        (f"{HEADER}".encode("utf-16-le"), ["not a UTF-8 text"]),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str | bytes, expected: list[str]) -> None:
    message = error(tmp_path, text)
    assert "annotations.csv" in message
    for part in expected:
        assert part in message


def test_all_problems_of_all_rows_are_said_at_once(tmp_path: Path) -> None:
    message = error(tmp_path, f"{HEADER}a.mp4,1,x,\na.mp4,3,2,run\nb.mp4,0,5,run\nb.mp4,4,6,walk\n")
    assert message.startswith("4 problems")
    for line in ("line 2: the label is empty", "line 2: end is 'x'", "line 3: a segment", "line 5: 'b.mp4'"):
        assert line in message


def test_bad_rows_and_missing_files_are_named_in_one_message(tmp_path: Path) -> None:
    message = error(tmp_path, f"{HEADER}a.mp4,2,1,run\ngone.mp4,0,1,run\nlost.mp4,0,1,\n")
    assert message.startswith("2 problems in ")
    assert "line 2:" in message
    assert "line 4: the label is empty" in message
    assert f"2 files not found: 'gone.mp4', 'lost.mp4'. Relative sources are looked up in '{tmp_path}'." in message


def test_missing_files_stay_and_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    csv = written(tmp_path, f"{HEADER}a.mp4,0,1,run\ngone.mp4,0,1,run\n")
    with pytest.warns(DataWarning, match=r"1 file named in .*annotations\.csv' not found: 'gone\.mp4'"):
        assert [video.name for video in read_annotations(csv)] == ["a.mp4", "gone.mp4"]
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(DataError, match=r"none exists: 'gone\.mp4'.*looked up"),
    ):
        read_annotations(written(tmp_path, f"{HEADER}gone.mp4,0,1,run\n"))


def test_a_table_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        read_annotations(tmp_path / "none.csv")
    with pytest.raises(DataError, match=f"'{tmp_path}' cannot be read"):
        read_annotations(tmp_path)
