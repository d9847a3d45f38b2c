import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from activity.cli.arguments import device_of
from activity.cli.export import _print
from activity.cli.export_clips import export_clips
from activity.cli.verification import Verification, Verified
from activity.formats import load_recognizer
from activity.formats.verified import model_digest
from activity.models.recognizer import LoadedRecognizer, Recognizer
from activity.video import files
from tests.cli.command import activity
from tests.datasets import write_colour_video


def test_checkpoint_and_exported_file_give_the_same_answers(checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    for frames in (3, 10, 40):
        write_colour_video(tmp_path / f"{frames}.mp4", "red", frames=frames)
    of_checkpoint, of_exported = (
        [
            json.loads(line)
            for line in activity("predict", model, tmp_path, "--format", "jsonl", "--top-k", "2").out.splitlines()
        ]
        for model in (checkpoint, exported)
    )
    assert len(of_checkpoint) == 3
    for one, other in zip(of_checkpoint, of_exported, strict=True):
        assert (one["source"], one["label"], one["windows"]) == (other["source"], other["label"], other["windows"])
        scores = [{entry["label"]: entry["score"] for entry in line["top"]} for line in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_an_existing_file_is_replaced_whole_and_the_comparison_said(checkpoint: Path, tmp_path: Path) -> None:
    video = write_colour_video(tmp_path / "mine.mp4", "red")
    out = tmp_path / "new" / "model.ts"
    out.parent.mkdir()
    out.write_text("something old")
    outcome = activity("export", checkpoint, out, "--verify", video)
    assert (outcome.code, out.read_text()) == (2, "something old")
    assert "is there already. Give another name, or --force to replace it" in outcome.err
    outcome = activity("export", checkpoint, out, "--verify", video, "--force")
    assert outcome.code == 0, outcome.err
    assert "Verified on 1 clip" in outcome.out
    assert "model.ts" in outcome.out
    assert sorted(path.name for path in out.parent.iterdir()) == ["export.json", "model.ts"]
    assert activity("inspect", out).code == 0


def test_an_existing_file_stays_where_export_fails(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.ts"
    out.write_text("something old")
    outcome = activity("export", checkpoint, out, "--verify", tmp_path / "missing.mp4", "--force")
    assert outcome.code == 2
    assert "missing.mp4" in outcome.messages[0]
    assert out.read_text() == "something old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.ts"]


@pytest.mark.parametrize("name", ["model.tflite", "model", "model.ckpt"])
def test_a_name_that_is_not_that_of_an_exported_file(checkpoint: Path, tmp_path: Path, name: str) -> None:
    outcome = activity("export", checkpoint, tmp_path / name)
    assert outcome.code == 2
    assert name in outcome.messages[0]
    assert ".ts" in outcome.messages[0]
    assert not list(tmp_path.iterdir())


def test_a_folder_in_place_of_the_file(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "model.ts").mkdir()
    outcome = activity("export", checkpoint, tmp_path / "model.ts")
    assert outcome.code == 2
    assert "folder" in outcome.messages[0]


def test_a_file_in_place_of_the_folder(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    outcome = activity("export", checkpoint, tmp_path / "taken" / "model.ts")
    assert outcome.code == 2
    assert len(outcome.messages) == 1
    assert f"{tmp_path / 'taken' / 'model.ts'} cannot be written" in outcome.messages[0]
    assert "Traceback" not in outcome.err


def test_an_exported_file_is_not_exported_again(exported: Path, tmp_path: Path) -> None:
    outcome = activity("export", exported, tmp_path / "again.ts")
    assert outcome.code == 2
    assert "exported file already" in outcome.messages[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the exporters' libraries say of each other
@pytest.mark.parametrize(("suffix", "says"), [(".pt2", "torch.export"), (".onnx", "ONNX"), (".openvino", "OpenVINO")])
def test_every_verb_takes_every_format(
    checkpoint: Path, tmp_path: Path, suffix: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    video = write_colour_video(tmp_path / "videos" / "red" / "mine.mp4", "red", frames=40)
    out = tmp_path / f"model{suffix}"
    outcome = activity("export", checkpoint, out)
    assert outcome.code == 0, outcome.err
    assert activity("export", checkpoint, out).code == 2  # it is there
    assert activity("export", checkpoint, out, "--force").code == 0
    told = json.loads(activity("inspect", out, "--format", "json").out)
    assert told["format"] == says
    assert told["megabytes"] > 0
    expected, found = (
        json.loads(activity("predict", model, video, "--format", "jsonl", "--top-k", "2").out)
        for model in (checkpoint, out)
    )
    assert (found["label"], found["windows"]) == (expected["label"], expected["windows"])
    # In bfloat16 runtimes differ, and some formats compute in float32 whatever the training did.
    near = 1e-4 if told["encoder"]["precision"] == "float32" else 0.02
    assert found["score"] == pytest.approx(expected["score"], abs=near)
    scores = {entry["label"]: entry["score"] for entry in found["top"]}
    write_colour_video(tmp_path / "videos" / "blue" / "other.mp4", "blue")
    data = (f"data.root={tmp_path / 'videos'}", "split=all", f"features.store={tmp_path / 'features'}")
    outcome = activity("evaluate", out, *data, "format=csv")
    assert outcome.code == 0, outcome.err
    _, row = csv.DictReader(io.StringIO(outcome.out))
    assert (row["predicted"], row["label"]) == (found["label"], "red")
    assert {label: float(row[f"score_{label}"]) for label in scores} == pytest.approx(scores, abs=1e-4)
    segments = [
        [json.loads(line) for line in activity("timeline", model, video, "--format", "jsonl").out.splitlines()]
        for model in (checkpoint, out)
    ]
    (of_checkpoint,), (segment,) = segments
    assert segment == {**of_checkpoint, "score": pytest.approx(of_checkpoint["score"], abs=near)}
    *changes, summary = (json.loads(line) for line in activity("watch", out, video, "--no-scores").out.splitlines())
    assert (summary["event"], summary["scores"]) == ("summary", pytest.approx(scores, abs=1e-4))
    assert [(event["event"], event["label"], event["time_seconds"]) for event in changes] == [
        ("start", segment["label"], segment["start"]),
        ("end", segment["label"], segment["end"]),
    ]
    outcome = activity("export", out, tmp_path / "again.ts")
    assert (outcome.code, "exported file already" in outcome.err) == (2, True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_halves_that_are_there_are_not_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "model.head.onnx").write_text("precious")
    outcome = activity("export", checkpoint, tmp_path / "model.onnx", "--split")
    assert (outcome.code, "model.head.onnx is there already" in outcome.err) == (2, True)
    outcome = activity("export", checkpoint, tmp_path / "model.onnx", "--split", "--force")
    assert outcome.code == 0, outcome.err
    written = ["export.json", "model.encoder.onnx", "model.head.onnx", "model.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == written


def test_a_file_where_a_folder_is_to_be(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "model.openvino").touch()
    outcome = activity("export", checkpoint, tmp_path / "model.openvino", "--force")
    assert (outcome.code, "NAME.openvino is a folder" in outcome.err) == (2, True)


def test_split_is_for_onnx(checkpoint: Path, tmp_path: Path) -> None:
    outcome = activity("export", checkpoint, tmp_path / "model.ts", "--split")
    assert outcome.code == 2
    assert "--split is for NAME.onnx" in outcome.messages[0]


def test_by_default_a_model_runs_where_its_format_can(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto", str(checkpoint)).type == "cuda"
    for name in ("model.onnx", "model.openvino"):
        (tmp_path / name).mkdir() if name.endswith("openvino") else (tmp_path / name).touch()
        assert device_of("auto", str(tmp_path / name)).type == "cpu"


class TestVerify:
    def test_on_the_test_clips_of_the_run_without_a_word_and_the_figures_are_kept(
        self, checkpoint: Path, tmp_path: Path
    ) -> None:
        outcome = activity("export", checkpoint, tmp_path / "model.ts")
        assert outcome.code == 0, outcome.err
        assert "of the test split of its run" in outcome.out
        seen = json.loads((tmp_path / "export.json").read_text())["models"]["model.ts"]
        assert seen["score_difference"] < 1e-4
        assert seen["equal_labels"] == 1.0
        assert 0 <= seen["accuracy"] <= 1
        assert min(seen[name] for name in ("frames_per_second", "load_seconds", "megabytes")) > 0
        assert seen["checkpoint"] == model_digest(checkpoint)
        assert seen["digest"] == model_digest(tmp_path / "model.ts")

    def test_clips_that_the_model_has_learned_from_are_told(
        self, checkpoint: Path, colour_folder: Path, tmp_path: Path
    ) -> None:
        outcome = activity("export", checkpoint, tmp_path / "model.ts", "--verify", colour_folder)
        assert outcome.code == 0, outcome.err
        assert "came from the model's training split" in outcome.err
        for label in ("blue", "red"):
            write_colour_video(tmp_path / "new" / label / "a.mp4", label, seed=99)
        outcome = activity("export", checkpoint, tmp_path / "other.ts", "--verify", tmp_path / "new")
        assert outcome.code == 0, outcome.err
        assert "training split" not in outcome.err

    def test_on_a_data_set_with_other_classes(self, checkpoint: Path, tmp_path: Path) -> None:
        for label in ("swim", "dive"):
            write_colour_video(tmp_path / "data" / label / "a.mp4", "red")
        outcome = activity("export", checkpoint, tmp_path / "model.ts", "--verify", tmp_path / "data")
        assert outcome.code == 2
        assert "2 labels that the model does not know: 'dive', 'swim'" in outcome.messages[0]
        assert not (tmp_path / "model.ts").exists()

    def test_a_video_given_twice_is_one_and_one_that_cannot_be_read_is_told(
        self, checkpoint: Path, tmp_path: Path
    ) -> None:
        videos = tmp_path / "videos"
        video = write_colour_video(videos / "a.mp4", "red")
        outcome = activity("export", checkpoint, tmp_path / "model.ts", "--verify", videos, video)
        assert outcome.code == 0, outcome.err
        assert "Verified on 1 clip " in outcome.out
        (videos / "b.mp4").write_text("text")
        outcome = activity("export", checkpoint, tmp_path / "other.ts", "--verify", videos)
        assert (outcome.code, "b.mp4" in outcome.err) == (1, True)
        assert (tmp_path / "other.ts").exists()

    def test_no_file_is_looked_at_twice(
        self, checkpoint: Path, colour_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recognizer = load_recognizer(checkpoint)
        assert isinstance(recognizer, Recognizer)
        asked, is_video = list[Path](), files.is_video
        monkeypatch.setattr(files, "is_video", lambda path: (asked.append(path), is_video(path))[1])
        for folder in (colour_folder, colour_folder / "red"):  # a data set, and videos
            asked.clear()
            export_clips([str(folder)], checkpoint, recognizer, most=1, folder=tmp_path)
            assert sorted(asked) == sorted(folder.rglob("*.mp4"))

    def test_on_what_is_no_video(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.mp4").write_text("text")
        for given, says in (("empty", "no videos"), ("text.mp4", "text.mp4"), ("none.csv", "no such file or folder")):
            outcome = activity("export", checkpoint, tmp_path / "model.ts", "--verify", tmp_path / given)
            assert (outcome.code, len(outcome.messages)) == (2, 1)
            assert says in outcome.messages[0]

    def test_a_table_is_no_video_among_others(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "clips.csv").write_text("path,label\n")
        video = write_colour_video(tmp_path / "a.mp4", "red")
        outcome = activity("export", checkpoint, tmp_path / "model.ts", "--verify", tmp_path / "clips.csv", video)
        assert (outcome.code, "a table stands alone" in outcome.messages[0]) == (2, True)
        assert not (tmp_path / "model.ts").exists()

    def test_over_tolerance_nothing_is_written_and_the_others_are(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        verify, verified = Verification.verify, []

        def verify_badly(self: Verification, loaded: LoadedRecognizer) -> Verified:
            verified.append(loaded)
            found = verify(self, loaded)
            return found if len(verified) == 2 else replace(found, problem="its scores differ on a.mp4")

        monkeypatch.setattr(Verification, "verify", verify_badly)
        outcome = activity("export", checkpoint, tmp_path / "bad.ts")
        assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
        assert "bad.ts was not written: its scores differ on a.mp4" in outcome.messages[0]
        outcome = activity("export", checkpoint, tmp_path / "good.ts", tmp_path / "bad.pt")
        assert outcome.code == 1
        assert outcome.messages[-1] == "activity export: 1 of 2 files were not written"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["export.json", "good.ts"]
        assert "good.ts" in outcome.out
        assert "bad.pt" not in outcome.out

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")
    def test_int8_is_calibrated_on_other_clips_than_it_is_verified_on(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        videos = tmp_path / "videos"
        for number in range(6):
            write_colour_video(videos / f"{number}.mp4", "red" if number % 2 else "blue")
        recognizer = load_recognizer(checkpoint)
        assert isinstance(recognizer, Recognizer)
        found = export_clips([str(videos)], checkpoint, recognizer, most=100, folder=tmp_path)
        assert (len(found.verified), len(found.verified_apart), len(found.calibration)) == (6, 3, 3)
        assert not {clip.key for clip in found.verified_apart} & {clip.key for clip in found.calibration}
        # However many clips are verified: not of one alone, and of other groups.
        few = export_clips([str(videos)], checkpoint, recognizer, most=5, folder=tmp_path)
        assert (len(few.verified), len(few.verified_apart), len(few.calibration)) == (5, 3, 3)
        table = ["path,label,group", *(f"videos/{n}.mp4,{'red' if n % 2 else 'blue'},{n // 2}" for n in range(6))]
        (tmp_path / "clips.csv").write_text("\n".join(table))
        grouped = export_clips([str(tmp_path / "clips.csv")], checkpoint, recognizer, most=100, folder=tmp_path)
        assert {clip.group for clip in grouped.calibration} == {"1"}
        assert {clip.group for clip in grouped.verified_apart} == {"0", "2"}
        outcome = activity("export", checkpoint, tmp_path / "small.onnx", "--int8", "--verify", videos)
        assert outcome.code == 0, outcome.err
        assert "Verified on 3 clips" in outcome.out
        seen = json.loads((tmp_path / "export.json").read_text())["models"]["small.onnx"]
        assert (seen["computes_in"], seen["accuracy"]) == ("int8", None)
        assert seen["calibrated_on"] == "3 other clips"

    def test_without_the_data_of_the_run_on_rendered_clips(self, trained_run: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        shutil.copytree(trained_run, run)
        config = (run / "config.yaml").read_text()
        told = json.loads((run / "data.json").read_text())
        (run / "config.yaml").write_text(config.replace(told["root"], str(tmp_path / "gone")))
        outcome = activity("export", run / "checkpoints" / "best.ckpt", tmp_path / "model.ts")
        assert outcome.code == 0, outcome.err
        assert "the data set of the run cannot be read" in outcome.err
        assert "rendered ones" in outcome.out

    def test_what_is_not_ours_is_left_alone(self, checkpoint: Path, tmp_path: Path) -> None:
        folder = tmp_path / "model.openvino"
        folder.mkdir()
        for name in ("activity.json", "notes.txt"):
            (folder / name).write_text("mine")
        outcome = activity("export", checkpoint, folder, "--force")
        assert (outcome.code, "holds other things (notes.txt)" in outcome.messages[0]) == (2, True)
        (tmp_path / "export.json").write_text("mine too")
        outcome = activity("export", checkpoint, tmp_path / "model.ts")
        assert (outcome.code, "not what activity export writes" in outcome.messages[0]) == (2, True)
        assert (tmp_path / "export.json").read_text() == "mine too"

    def test_int8_and_split_are_for_some_formats(self, checkpoint: Path, tmp_path: Path) -> None:
        outcome = activity("export", checkpoint, tmp_path / "model.ts", "--int8")
        assert (outcome.code, "--int8 is for NAME.onnx" in outcome.messages[0]) == (2, True)
        outcome = activity("export", checkpoint, tmp_path / "model.ts", tmp_path / "model.ts")
        assert (outcome.code, "given twice" in outcome.messages[0]) == (2, True)
        halves = (tmp_path / "model.onnx", tmp_path / "model.encoder.onnx")
        outcome = activity("export", checkpoint, *halves, "--split")
        assert (outcome.code, "model.encoder.onnx would be written twice" in outcome.messages[0]) == (2, True)
        within = (tmp_path / "model.openvino", tmp_path / "model.openvino" / "model.ts")
        outcome = activity("export", checkpoint, *within)
        assert (outcome.code, "written into another OUT" in outcome.messages[0]) == (2, True)
        (tmp_path / "there.ts").write_text("a model")
        outcome = activity("export", checkpoint, tmp_path / "new" / "model.ts", tmp_path / "there.ts")
        assert (outcome.code, "is there already" in outcome.messages[0]) == (2, True)
        assert list(tmp_path.iterdir()) == [tmp_path / "there.ts"]

    def test_runtime_auto_takes_what_was_fastest(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        video = write_colour_video(tmp_path / "mine.mp4", "red")
        model = tmp_path / "model.ts"
        assert activity("predict", checkpoint, video, "--runtime", "auto").code == 2
        assert activity("export", checkpoint, model).code == 0
        outcome = activity("predict", model, video, "--runtime", "auto", "--format", "jsonl")
        assert (outcome.code, f"model: {model}" in outcome.err) == (0, True)
        assert json.loads(outcome.out)["model"] == model_digest(model)
        assert "another machine" not in outcome.err
        monkeypatch.setattr("activity.formats.verified.this_machine", lambda: {"CPU": "another", "cores": 64})
        assert "measured on another machine" in activity("predict", model, video, "--runtime", "auto").err


def test_a_long_name_leaves_the_figures_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {
        "file": f"{'long' * 12}.openvino",
        "computes_in": "bfloat16",
        "score_difference": 1.2e-7,
        "equal_labels": 1.0,
        "accuracy": 0.987,
        "megabytes": 115.6,
        "frames_per_second": 146.2,
        "load_seconds": 12.34,
    }
    _print([row], "1 clip")
    line = next(line for line in capsys.readouterr().out.splitlines() if "bfloat16" in line)
    assert line.split()[1:] == ["bfloat16", "1e-07", "100.0%", "98.7%", "115.6", "146", "12.3", "s"]
