import json
from pathlib import Path

import pytest
import torch

from activity.cli.arguments import device_of
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
    outcome = activity("export", checkpoint, out, "--compare-on", video)
    assert (outcome.code, out.read_text()) == (2, "something old")
    assert "is there already. Give another name, or --force to replace it" in outcome.err
    outcome = activity("export", checkpoint, out, "--compare-on", video, "--force")
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{out}\n"
    assert "1 given clip " in outcome.err
    assert [path.name for path in out.parent.iterdir()] == ["model.ts"]
    assert activity("inspect", out).code == 0


def test_an_existing_file_stays_where_export_fails(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.ts"
    out.write_text("something old")
    outcome = activity("export", checkpoint, out, "--compare-on", tmp_path / "missing.mp4", "--force")
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
    assert str(tmp_path / "taken") in outcome.messages[0]
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
    video, out = write_colour_video(tmp_path / "mine.mp4", "red", frames=40), tmp_path / f"model{suffix}"
    outcome = activity("export", checkpoint, out)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{out}\n"
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
    assert found["score"] == pytest.approx(expected["score"], abs=0.02)  # of a model that was trained in bfloat16
    segments = [
        [json.loads(line) for line in activity("timeline", model, video, "--format", "jsonl").out.splitlines()]
        for model in (checkpoint, out)
    ]
    assert [item["label"] for item in segments[0]] == [item["label"] for item in segments[1]]
    events = [json.loads(line) for line in activity("watch", out, video, "--no-scores").out.splitlines()]
    assert events[-1]["event"] == "summary"
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
    assert outcome.out.splitlines() == [str(tmp_path / f"model.{half}.onnx") for half in ("encoder", "head")]


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
