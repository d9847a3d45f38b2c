import csv
import io
import json
import math
import shutil
from pathlib import Path

import pytest

from tests.cli.command import activity, start
from tests.datasets import colour_frames, write_colour_video
from tests.videos import cut_off, noise_frames, write_video


@pytest.fixture(scope="module")
def red_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_video(tmp_path_factory.mktemp("new") / "new.mp4", "red", frames=25, seed=9)


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


class TestFormats:
    def test_json_lines(self, checkpoint: Path, red_video: Path) -> None:
        outcome = activity("predict", checkpoint, red_video, "--format", "jsonl")
        assert outcome.code == 0, outcome.err
        (line,) = json_lines(outcome.out)
        assert list(line) == ["source", "label", "score", "top", "duration_seconds", "windows", "model"]
        assert line["source"] == str(red_video)
        assert line["label"] in ("blue", "red")
        assert line["top"] == [{"label": line["label"], "score": line["score"]}]
        assert line["duration_seconds"] == pytest.approx(1.0, abs=0.01)
        assert line["windows"] == 4  # ten features, windows of four every two
        assert outcome.err == ""

    def test_top_k_gives_as_many_classes_best_first(self, checkpoint: Path, red_video: Path) -> None:
        outcome = activity("predict", checkpoint, red_video, "--format", "jsonl", "--top-k", "5")
        (line,) = json_lines(outcome.out)
        scores = [entry["score"] for entry in line["top"]]  # type: ignore[attr-defined]
        assert sorted(entry["label"] for entry in line["top"]) == ["blue", "red"]  # type: ignore[attr-defined]
        assert scores == sorted(scores, reverse=True)
        assert math.isclose(sum(scores), 1.0, abs_tol=1e-6)
        assert (line["label"], line["score"]) == (line["top"][0]["label"], scores[0])  # type: ignore[index]

    def test_csv_has_a_header_and_a_row_for_each_source(self, checkpoint: Path, red_video: Path) -> None:
        outcome = activity("predict", checkpoint, red_video, "missing.mp4", "--format", "csv", "--top-k", "2")
        good, bad = csv.DictReader(io.StringIO(outcome.out))
        assert list(good) == [
            *("source", "label", "score", "duration_seconds", "windows", "error", "damage", "label_2", "score_2"),
        ]
        assert (good["source"], good["error"], good["windows"]) == (str(red_video), "", "4")
        assert float(good["score"]) + float(good["score_2"]) == pytest.approx(1.0)
        assert (bad["source"], bad["label"], bad["score_2"]) == ("missing.mp4", "", "")
        assert "no such file" in bad["error"]

    def test_table_is_the_default(self, checkpoint: Path, red_video: Path) -> None:
        outcome = activity("predict", checkpoint, red_video, "--top-k", "2")
        header, best, second = outcome.out.splitlines()
        assert header.split() == ["label", "score", "seconds", "source"]
        assert best.endswith(f"1.0  {red_video}")
        assert {best.split()[0], second.split()[0]} == {"blue", "red"}
        assert best.split()[1].endswith("%")

    def test_output_goes_to_a_file_whose_folders_are_made(
        self, checkpoint: Path, red_video: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "results" / "of today.jsonl"
        outcome = activity("predict", checkpoint, red_video, "--format", "jsonl", "--output", path)
        assert (outcome.code, outcome.out) == (0, "")
        assert json_lines(path.read_text())[0]["source"] == str(red_video)


class TestSources:
    def test_folders_patterns_and_files_in_the_order_given(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("b/deep/er/2.mp4", "b/1.MP4", "a/3.mp4", "a/4.mp4", "last.mp4"):
            write_colour_video(tmp_path / name, "red", frames=4)
        (tmp_path / "b" / "notes.txt").write_text("no video")
        outcome = activity("predict", exported, "last.mp4", "b", "a/*.mp4", "b/**/*.mp4", "--format", "jsonl")
        assert outcome.code == 0, outcome.err
        expected = ["last.mp4", "b/1.MP4", "b/deep/er/2.mp4", "a/3.mp4", "a/4.mp4", "b/deep/er/2.mp4"]
        assert [line["source"] for line in json_lines(outcome.out)] == expected
        said = "note: 1 file in b left out, as its name does not end like a video's: 'notes.txt'. "
        assert f"{said}A file that you name outright is read whatever its suffix." in outcome.err.splitlines()

    def test_a_folder_drops_no_file_in_silence(self, exported: Path, tmp_path: Path) -> None:
        folder = tmp_path / "videos"
        folder.mkdir()
        for name in ("stream.ts", "camera.m2t", "raw.h264", "phone.3gp", "raw.ivf"):
            codec = {".ivf": "libvpx", ".3gp": "mpeg4"}.get(Path(name).suffix)
            write_video(folder / name, colour_frames("red", 8), codec=codec)
        (folder / "model.ts").write_bytes(exported.read_bytes())  # TorchScript
        (folder / "program.ts").write_text("export const seconds: number = 3;\n" * 200)
        for name in ("labels.csv", "data.json", ".hidden"):
            (folder / name).write_text("no video")
        for verb in ("predict", "timeline"):
            outcome = activity(verb, exported, folder, "--format", "jsonl")
            assert outcome.code == 0, outcome.err
            sources = [Path(str(line["source"])).name for line in json_lines(outcome.out)]
            assert sources == ["camera.m2t", "phone.3gp", "raw.h264", "raw.ivf", "stream.ts"]
            by_suffix, by_content = [line for line in outcome.err.splitlines() if "left out" in line]
            assert f"2 files in {folder} left out, as their names do not end like a video's: 'data.json'" in by_suffix
            assert f"2 files in {folder} left out, as they hold no video: 'model.ts', 'program.ts'" in by_content

    def test_one_bad_file_is_named_and_the_rest_is_done(self, exported: Path, red_video: Path, tmp_path: Path) -> None:
        (tmp_path / "notes.mp4").write_text("this is no video")
        (tmp_path / "empty.mp4").touch()
        bad = [tmp_path / "notes.mp4", tmp_path / "empty.mp4", tmp_path / "missing.mp4", tmp_path / "*.avi"]
        outcome = activity("predict", exported, bad[0], red_video, *bad[1:], red_video, "--format", "jsonl")
        assert outcome.code == 1
        lines = json_lines(outcome.out)
        assert [line["source"] for line in lines] == [str(path) for path in (bad[0], red_video, *bad[1:], red_video)]
        for position in (0, 2, 3, 4):
            assert list(lines[position]) == ["source", "error"]
        assert lines[1]["label"] == lines[5]["label"]
        *named, summary = outcome.messages
        assert len(named) == 4  # as they are read, so in any order
        assert all(any(str(path) in message for message in named) for path in bad)
        assert summary == "activity predict: 4 of 6 sources failed"
        assert "Traceback" not in outcome.err

    def test_an_empty_folder_fails_and_says_why(self, exported: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        outcome = activity("predict", exported, tmp_path / "empty", "--format", "jsonl")
        assert outcome.code == 1
        (line,) = json_lines(outcome.out)
        assert line["source"] == str(tmp_path / "empty")
        assert "video" in str(line["error"])

    @pytest.mark.parametrize(
        "name",
        ["with space.mp4", "ünï 走る.mp4", 'it\'s "quoted".mp4', "[brackets] 100%.mp4", "a,b;c.mp4", "#1 & $HOME.mp4"],
    )
    def test_names_of_any_kind(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        write_colour_video(tmp_path / "plain.mp4", "red", frames=6).rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        outcome = activity("predict", exported, name, "--format", "jsonl")
        assert outcome.code == 0, outcome.err
        assert json_lines(outcome.out)[0]["source"] == name
        outcome = activity("predict", exported, ".", "--format", "csv")
        assert [row["source"] for row in csv.DictReader(io.StringIO(outcome.out))] == [name]

    def test_names_that_a_terminal_would_obey_are_escaped_for_people_alone(
        self, exported: Path, red_video: Path, tmp_path: Path
    ) -> None:
        names = ["esc\x1b[31mred.mp4", "line\nbreak.mp4", "turned\u202e4pm.mp4"]
        shown = [r"esc\x1b[31mred.mp4", r"line\nbreak.mp4", r"turned\u202e4pm.mp4"]
        for name in names:
            shutil.copy(red_video, tmp_path / name)
        (tmp_path / "bad\x1b[2J\n.mp4").write_text("no video")
        for verb in ("predict", "timeline"):
            outcome = activity(verb, exported, tmp_path)
            assert not set("\x1b\u202e") & set(outcome.out + outcome.err)
            rows = outcome.out.splitlines()[1:]
            assert [row[row.index(str(tmp_path)) :] for row in rows] == [
                str(tmp_path / name) for name in (r"bad\x1b[2J\n.mp4", *shown)
            ]
            assert any(rf"{tmp_path}/bad\x1b[2J\n.mp4: " in line for line in outcome.err.splitlines())
            lines = json_lines(activity(verb, exported, tmp_path, "--format", "jsonl").out)
            assert [line["source"] for line in lines[1:]] == [str(tmp_path / name) for name in names]

    def test_a_name_with_a_leading_dash_goes_behind_two_dashes(
        self, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write_colour_video(tmp_path / "plain.mp4", "red", frames=6).rename(tmp_path / "-dash.mp4")
        outcome = activity("predict", "--format", "jsonl", exported, "--", "-dash.mp4")
        assert outcome.code == 0, outcome.err
        assert json_lines(outcome.out)[0]["source"] == "-dash.mp4"

    def test_what_is_missing_of_a_video_is_said_with_its_result(self, exported: Path, tmp_path: Path) -> None:
        whole = write_video(tmp_path / "whole.avi", noise_frames(50))
        cut = cut_off(Path(shutil.copy(whole, tmp_path / "cut.avi")), 0.6)
        outcome = activity("predict", exported, cut, whole, "--format", "jsonl")
        assert outcome.code == 0, outcome.err
        rows = list(csv.DictReader(io.StringIO(activity("predict", exported, cut, whole, "--format", "csv").out)))
        of_cut, of_whole = json_lines(outcome.out)
        assert [row["damage"] for row in rows] == [of_cut["damage"], ""]
        assert "it is cut off" in str(of_cut["damage"])
        assert "damage" not in of_whole

    def test_a_video_of_one_frame(self, exported: Path, tmp_path: Path) -> None:
        video = write_colour_video(tmp_path / "one.mp4", "red", frames=1)
        outcome = activity("predict", exported, video, "--format", "jsonl")
        assert outcome.code == 0, outcome.err
        assert json_lines(outcome.out)[0]["windows"] == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--top-k", "0"], "'0'"),
        (["--format", "xml"], "xml"),
        (["--device", "abacus"], "--device is 'abacus', which is no device. Accepted: auto, cpu, cuda."),
        (["--device", "cpu:1"], "--device is 'cpu:1', which is no device."),
        (["--device", "meta"], "--device is 'meta', which is no device."),
        (["--batch-frames", "-1"], "-1"),
    ],
)
def test_wrong_flags(exported: Path, arguments: list[str], named: str) -> None:
    outcome = activity("predict", exported, "a.mp4", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert named in outcome.err
    assert "Traceback" not in outcome.err


def test_an_output_that_cannot_be_written(exported: Path, red_video: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = activity("predict", exported, red_video, "--output", tmp_path / "file" / "results.csv")
    assert outcome.code == 2
    assert len(outcome.messages) == 1
    assert str(tmp_path / "file") in outcome.messages[0]


@pytest.mark.slow
def test_a_reader_that_has_enough_gets_no_traceback(exported: Path, red_video: Path, tmp_path: Path) -> None:
    for arguments in (["predict", exported, red_video, red_video], ["inspect", exported], ["--help"]):
        with start(*arguments, cwd=tmp_path) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()  # as `| head -0` does
            errors = process.stderr.read()
        assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("link", [False, True])
def test_an_output_over_a_source_is_refused_and_the_source_kept(
    tmp_path: Path, checkpoint: Path, red_video: Path, link: bool
) -> None:
    source = tmp_path / "mine.mp4"
    source.write_bytes(red_video.read_bytes())
    output = tmp_path / "link.mp4" if link else source
    if link:
        output.symlink_to(source)
    outcome = activity("predict", checkpoint, tmp_path, "--output", output)
    assert outcome.code == 2
    assert "one of the files to be read" in outcome.err
    assert source.read_bytes() == red_video.read_bytes()


def test_an_empty_name_is_wrong_use(checkpoint: Path) -> None:
    outcome = activity("predict", checkpoint, "")
    assert (outcome.code, outcome.out) == (2, "")
    assert "SOURCE is empty" in outcome.err
