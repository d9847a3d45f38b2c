import csv
import io
import json
from pathlib import Path

import pytest

from activity.video.reader import VideoReader
from tests.cli.command import activity
from tests.datasets import write_colour_video
from tests.videos import write_video


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of red, three of blue, two of red."""
    folder = tmp_path_factory.mktemp("long")
    frames = []
    for label, count in (("red", 50), ("blue", 75), ("red", 50)):
        part = write_colour_video(folder / f"{label}.mp4", label, frames=count, seed=3)
        with VideoReader(part) as reader:
            frames += [frame.pixels for frame in reader]
        part.unlink()
    return write_video(folder / "day.mp4", frames, fps=25)


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def spans(text: str) -> list[tuple[object, object, object]]:
    return [(row["label"], row["start"], row["end"]) for row in rows(text)]


def test_segments_are_where_the_activities_are(exported: Path, checkpoint: Path, long_video: Path) -> None:
    outcome = activity("timeline", exported, long_video, "--format", "jsonl", "--no-background")
    assert (outcome.code, outcome.err) == (0, "")
    found = spans(outcome.out)
    assert [label for label, _, _ in found] == ["red", "blue", "red"]
    borders = [second for _, start, end in found for second in (start, end)]
    assert borders == pytest.approx([0.0, 2.0, 2.0, 5.0, 5.0, 7.0], abs=0.35)
    of_checkpoint = activity("timeline", checkpoint, long_video, "--format", "jsonl", "--no-background")
    assert spans(of_checkpoint.out) == found
    (row, *_) = rows(outcome.out)
    assert list(row) == ["source", "start", "end", "label", "score"]
    assert row["source"] == str(long_video)


def test_what_no_class_is_sure_of_is_background(exported: Path, long_video: Path) -> None:
    arguments = ["timeline", exported, long_video, "--enter-score", "1", "--leave-score", "1", "--format", "jsonl"]
    assert spans(activity(*arguments).out) == [("background", 0.0, 7.0)]
    assert activity(*arguments, "--no-background").out == ""


def test_csv_and_table_name_what_failed_and_do_the_rest(exported: Path, long_video: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is no video")
    outcome = activity("timeline", exported, tmp_path / "notes.mp4", long_video, "--format", "csv")
    assert outcome.code == 1
    failed, *good = csv.DictReader(io.StringIO(outcome.out))
    assert "it is not a video" in failed["error"]
    assert {row["source"] for row in good} == {str(long_video)}
    assert len(outcome.messages) == 2
    table = activity("timeline", exported, tmp_path / "notes.mp4", long_video)
    assert "(failed)" in table.out
    assert "blue" in table.out


def test_what_it_writes_can_be_corrected_and_measured_against(exported: Path, long_video: Path, tmp_path: Path) -> None:
    table = tmp_path / "day.csv"
    found = activity("timeline", exported, long_video, tmp_path / "none.mp4", "--format", "csv", "--output", table)
    assert found.code == 1
    run = f"hydra.run.dir={tmp_path / 'run'}"
    refused = activity("evaluate", exported, "--timeline", table, run, "format=json")
    assert refused.code == 2
    assert "none.mp4" in refused.err
    assert "Take the row out" in refused.err
    lines = [line for line in table.read_text().splitlines() if "none.mp4" not in line]
    table.write_text("\n".join(lines))
    outcome = activity("evaluate", exported, "--timeline", table, run, "format=json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["frame_accuracy"] > 0.99


def test_the_format_is_that_of_the_suffix_where_none_is_given(exported: Path, long_video: Path, tmp_path: Path) -> None:
    for name, begin in (("a.csv", "source,start,"), ("a.JSONL", "{"), ("a.vtt", "WEBVTT"), ("a.txt", "     start")):
        outcome = activity("timeline", exported, long_video, "--output", tmp_path / name)
        assert outcome.code == 0, outcome.err
        assert (tmp_path / name).read_text().startswith(begin)


def test_subtitles_of_several_videos_go_to_a_folder(exported: Path, long_video: Path, tmp_path: Path) -> None:
    other = tmp_path / "night.mp4"
    other.write_bytes(long_video.read_bytes())
    outcome = activity("timeline", exported, long_video, other, "--format", "srt", "--output", tmp_path / "subtitles")
    assert outcome.code == 0, outcome.err
    written = sorted((tmp_path / "subtitles").rglob("*.srt"))
    assert [path.name for path in written] == ["day.srt", "night.srt"]
    assert all(" --> " in path.read_text() for path in written)
    outcome = activity("timeline", exported, long_video, other, "--format", "srt")
    assert outcome.code == 2
    assert "--output FOLDER" in outcome.err


@pytest.mark.slow
def test_a_plot_and_a_video_with_labels(exported: Path, long_video: Path, tmp_path: Path) -> None:
    plot, overlay = tmp_path / "day.png", tmp_path / "labelled.webm"
    arguments = ["timeline", exported, long_video, "--plot", plot, "--overlay", overlay]
    outcome = activity(*arguments)
    assert outcome.code == 0, outcome.err
    assert plot.read_bytes().startswith(b"\x89PNG")
    with VideoReader(overlay) as shown, VideoReader(long_video) as source:
        pairs = list(zip(shown, source, strict=True))
    assert all(one.pixels.shape == other.pixels.shape for one, other in pairs)
    assert [one.time_seconds for one, _ in pairs] == pytest.approx([other.time_seconds for _, other in pairs], abs=2e-3)
    before = overlay.read_bytes()
    outcome = activity(*arguments)  # both are there now
    assert outcome.code == 2
    assert "--force" in outcome.err
    assert overlay.read_bytes() == before
    assert activity(*arguments, "--force").code == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--enter-score", "0.3", "--leave-score", "0.6"], "leave_score is 0.6, above enter_score"),
        (["--stride", "99"], "stride is 99; accepted: 1 to 4"),
        (["--min-seconds", "-1"], "min_seconds is -1"),
        (["--plot", "out.txt"], "out.txt"),
        (["--overlay", "out.avi"], ".webm"),
        (["--format", "xml"], "xml"),
        (["--smoothing-seconds", "much"], "much"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(exported: Path, long_video: Path, flags: list[str], said: str) -> None:
    outcome = activity("timeline", exported, long_video, *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.messages) == 1, outcome.err
    assert said in outcome.err


def test_nothing_is_written_over_a_source_or_by_accident(exported: Path, long_video: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.webm"
    own.write_bytes(long_video.read_bytes())
    link = tmp_path / "link.webm"
    link.symlink_to(own)
    (tmp_path / "there.jsonl").write_text("mine")
    for flags in (
        ["--overlay", own, "--force"],
        ["--overlay", link, "--force"],
        ["--output", own, "--force"],
        ["--output", tmp_path / "there.jsonl"],
        ["--plot", own, "--force"],
    ):
        assert activity("timeline", exported, own, *flags).code == 2, flags
    assert own.read_bytes() == long_video.read_bytes()
    assert (tmp_path / "there.jsonl").read_text() == "mine"
    same = activity("timeline", exported, own, "--plot", tmp_path / "a.png", "--output", tmp_path / "." / "a.png")
    assert same.code == 2
    assert "one file twice" in same.err
    outcome = activity("timeline", exported, own, long_video, "--plot", tmp_path / "two.png")
    assert outcome.code == 2
    assert "one video" in outcome.err
