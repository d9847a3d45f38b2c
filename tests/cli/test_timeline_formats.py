import csv
import html
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activity.cli.arguments import UsageError
from activity.cli.timeline_formats import (
    FORMATS,
    SUBTITLES,
    failure_text,
    subtitle_files,
    timeline_header,
    timeline_text,
)
from activity.data.segments import BACKGROUND, Segment

STAMP = {"srt": r"(\d{2,}):(\d\d):(\d\d),(\d{3})", "vtt": r"(\d{2,}):(\d\d):(\d\d)\.(\d{3})"}
AWKWARD = ["a, b; c", 'the "best"', "<i>tilted</i>", "x --> y", "{\\an8}top", "two\nlines\n\nmore", "R&D &lt;", "走る"]


def segment(label: str, start: float, end: float, score: float = 0.875) -> Segment:
    return Segment(label=label, start_seconds=start, end_seconds=end, score=score)


def document(format_name: str, segments: list[Segment], source: str = "a.mp4", duration: float = 10.0) -> str:
    return timeline_header(format_name) + timeline_text(format_name, source, segments, duration)


def seconds_of(parts: tuple[str, ...]) -> float:
    hours, minutes, seconds, milliseconds = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def cues(format_name: str, text: str) -> list[tuple[float, float, str]]:
    """What a player reads: cues are parted by empty lines, a cue's second or first line says when."""
    if format_name == "vtt":
        head, text = text.split("\n\n", 1)
        assert head == "WEBVTT"
    found = []
    for number, block in enumerate(text.removesuffix("\n\n").split("\n\n") if text.strip() else [], 1):
        lines = block.split("\n")
        if format_name == "srt":
            assert lines.pop(0) == str(number)
        times, words = lines
        match = re.fullmatch(f"{STAMP[format_name]} --> {STAMP[format_name]}", times)
        assert match is not None, times
        found.append((seconds_of(match.groups()[:4]), seconds_of(match.groups()[4:]), words))
    return found


class TestRows:
    @pytest.mark.parametrize("label", AWKWARD)
    def test_json_and_csv_come_back_as_they_were(self, label: str) -> None:
        segments = [segment(label, 0.1234, 1.0), segment("walk", 1.0, 4000.25, 1.0)]
        source = 'dir/a "b", c.mp4'
        expected = [(source, 0.123, 1.0, label, 0.875), (source, 1.0, 4000.25, "walk", 1.0)]
        lines = [json.loads(line) for line in document("jsonl", segments, source).split("\n")[:-1]]
        assert [list(line) for line in lines] == [["source", "start", "end", "label", "score"]] * 2
        assert [tuple(line.values()) for line in lines] == expected
        rows = list(csv.DictReader(io.StringIO(document("csv", segments, source), newline="")))
        assert [row["error"] for row in rows] == ["", ""]
        found = [(r["source"], float(r["start"]), float(r["end"]), r["label"], float(r["score"])) for r in rows]
        assert found == expected
        assert rows[1]["start"] == "1.000"

    def test_the_table_is_aligned(self) -> None:
        header, first, second = document("table", [segment("run", 0, 2.5), segment("sit down", 2.5, 4000)]).splitlines()
        assert header.split() == ["start", "end", "score", "label", "source"]
        assert first.split() == ["0.000", "2.500", "87.5%", "run", "a.mp4"]
        assert first.index("run") == second.index("sit down") == header.index("label")
        assert second.index("a.mp4") == header.index("source")

    def test_a_video_without_segments_is_a_line_of_the_table(self) -> None:
        _, line = document("table", [], duration=2.5).splitlines()
        assert line.split() == ["0.000", "2.500", "(no", "segments)", "a.mp4"]

    def test_a_failed_source(self) -> None:
        error = 'it is, "they say", no video'
        assert json.loads(failure_text("jsonl", "a.mp4", error)) == {"source": "a.mp4", "error": error}
        (row,) = csv.DictReader(io.StringIO(timeline_header("csv") + failure_text("csv", "a.mp4", error)))
        assert row == {"source": "a.mp4", "start": "", "end": "", "label": "", "score": "", "error": error}
        assert failure_text("table", "a.mp4", error).split() == ["(failed)", "a.mp4"]
        assert [failure_text(name, "a.mp4", error) for name in SUBTITLES] == ["", ""]

    def test_files_of_several_videos_are_one_document(self) -> None:
        for name in ("csv", "jsonl", "table"):
            one, other = (timeline_text(name, source, [segment("run", 0, 1)], 2.0) for source in ("a.mp4", "b.mp4"))
            lines = (timeline_header(name) + one + failure_text(name, "c.mp4", "gone") + other).splitlines()
            assert len(lines) == 3 + bool(timeline_header(name))


@pytest.mark.parametrize("format_name", SUBTITLES)
class TestSubtitles:
    def test_cues_say_when_and_what(self, format_name: str) -> None:
        segments = [segment("run", 1.0, 2.5), segment(BACKGROUND, 2.5, 60), segment("sit down", 60.0, 3661.005, 1.0)]
        assert cues(format_name, document(format_name, segments)) == [
            (1.0, 2.5, "run (88%)"),
            (60.0, 3661.005, "sit down (100%)"),
        ]

    def test_hours_beyond_99(self, format_name: str) -> None:
        ((start, end, _),) = cues(format_name, document(format_name, [segment("run", 359_999.9995, 400_000.0)]))
        assert (start, end) == (360_000.0, 400_000.0)

    def test_no_cue_is_shorter_than_the_clock_tells(self, format_name: str) -> None:
        ((start, end, _),) = cues(format_name, document(format_name, [segment("run", 1.0, 1.0001)]))
        assert start < end

    @pytest.mark.parametrize("label", AWKWARD)
    def test_no_label_breaks_a_cue_or_is_taken_for_markup(self, format_name: str, label: str) -> None:
        segments = [segment(label, 1.0, 2.0), segment("run", 2.0, 3.0)]
        (_, _, words), (_, _, after) = cues(format_name, document(format_name, segments))
        assert after == "run (88%)"
        assert not re.search("<|-->", words)
        shown = " ".join(label.split())
        if format_name == "vtt":
            assert html.unescape(words) == f"{shown} (88%)"
        else:
            assert words == f"{shown.translate(str.maketrans('<>{}', '‹›()'))} (88%)"

    def test_nothing_found(self, format_name: str) -> None:
        assert cues(format_name, document(format_name, [])) == []


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip),
            st.floats(0, 1e6),
            st.floats(0.002, 1e5),
        ),
        max_size=5,
    ),
    st.sampled_from(SUBTITLES),
)
def test_any_segments_make_readable_subtitles(spans: list[tuple[str, float, float]], format_name: str) -> None:
    segments = [segment(label, start, start + length) for label, start, length in spans if label != BACKGROUND]
    found = cues(format_name, document(format_name, segments))
    assert [start for start, _, _ in found] == pytest.approx([item.start_seconds for item in segments], abs=0.0006)
    assert [end for _, end, _ in found] == pytest.approx([item.end_seconds for item in segments], abs=0.0006)


class TestSubtitleFiles:
    def test_one_video_goes_to_the_file_or_to_standard_output(self, tmp_path: Path) -> None:
        assert subtitle_files("srt", ["a.mp4"], None) is None
        assert subtitle_files("srt", ["a.mp4"], str(tmp_path / "a.srt")) is None

    def test_several_need_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"2 sources, and there is no --output.*--output FOLDER.*NAME\.vtt"):
            subtitle_files("vtt", ["a.mp4", "b.mp4"], None)
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match="is a file"):
            subtitle_files("srt", ["a.mp4", "b.mp4"], str(tmp_path / "file"))

    def test_a_folder_gets_a_file_for_each_where_the_videos_lie(self, tmp_path: Path) -> None:
        sources = [str(tmp_path / name) for name in ("a.mp4", "sub/a.mp4", "sub/b.c.mkv")]
        found = subtitle_files("srt", sources, "new")
        assert found == [Path("new/a.srt"), Path("new/sub/a.srt"), Path("new/sub/b.c.srt")]

    def test_a_folder_that_is_there_or_ends_in_a_slash_is_one_for_a_single_video_too(self, tmp_path: Path) -> None:
        assert subtitle_files("vtt", ["in/a.mp4"], str(tmp_path)) == [tmp_path / "a.vtt"]
        assert subtitle_files("vtt", ["in/a.mp4"], "new/") == [Path("new/a.vtt")]

    def test_videos_of_one_name_do_not_overwrite_each_other(self) -> None:
        found = subtitle_files("srt", ["in/a.mp4", "in/a.avi", "in/b.mp4", "in/b.mp4"], "out")
        assert found == [Path("out/a.mp4.srt"), Path("out/a.avi.srt"), Path("out/b.srt"), Path("out/b.srt")]

    @pytest.mark.parametrize("format_name", sorted({*FORMATS} - {*SUBTITLES}))
    def test_other_formats_hold_all_videos(self, format_name: str) -> None:
        assert subtitle_files(format_name, ["a.mp4", "b.mp4"], None) is None
