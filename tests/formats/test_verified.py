"""`export.json`, and which file `--runtime auto` takes."""

import contextlib
import importlib.util
import json
import zipfile
from pathlib import Path

import pytest

from activity.formats import load_recognizer
from activity.formats.contract import ModelFileError
from activity.formats.load import only_on_the_cpu
from activity.formats.verified import (
    FILE_NAME,
    Fastest,
    fastest_model,
    model_digest,
    record,
    this_machine,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with two files made of it, and one that was made of another."""
    for name in ("best.ckpt", "model.ts", "model.onnx", "other.ts"):
        (tmp_path / name).write_text(name)
    (tmp_path / "model.openvino").mkdir()
    (tmp_path / "model.openvino" / "encoder.bin").write_text("weights")
    of_checkpoint = {"checkpoint": model_digest(tmp_path / "best.ckpt"), "checkpoint_frames_per_second": 50.0}
    for name, speed in (("model.ts", 40.0), ("model.onnx", 60.0), ("model.openvino", 90.0)):
        record(tmp_path / name, of_checkpoint | {"frames_per_second": speed})
    record(tmp_path / "other.ts", of_checkpoint | {"checkpoint": "another", "frames_per_second": 999.0})
    return tmp_path


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in names else None)


@pytest.mark.parametrize("given", ["best.ckpt", "model.ts", "model.openvino"])
def test_the_fastest_of_one_checkpoint_that_can_run_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    installed(monkeypatch, "onnx", "onnxruntime", "openvino")
    assert fastest_model(folder / given).path == folder / "model.openvino"
    installed(monkeypatch, "onnx", "onnxruntime")
    assert fastest_model(folder / given).path == folder / "model.onnx"
    installed(monkeypatch, "onnxruntime")  # which alone does not load it
    assert fastest_model(folder / given).path != folder / "model.onnx"


def test_speeds_of_another_machine_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    here = this_machine()
    # Where the checkpoint is the fastest, by speeds of another machine too.
    assert fastest_model(folder / "best.ckpt") == Fastest(folder / "best.ckpt", None)
    monkeypatch.setattr("activity.formats.verified.this_machine", lambda: {"CPU": "another", "cores": 64})
    elsewhere = f"{here['CPU']}, {here['cores']} cores"
    assert fastest_model(folder / "best.ckpt") == Fastest(folder / "best.ckpt", elsewhere)
    assert fastest_model(folder / "model.ts") == Fastest(folder / "model.ts", elsewhere)


def test_of_two_that_are_about_as_fast_the_one_that_loads_fastest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "onnx", "onnxruntime", "openvino")
    digest = model_digest(folder / "best.ckpt")
    of_checkpoint = {"checkpoint": digest, "checkpoint_frames_per_second": 50.0, "checkpoint_load_seconds": 1.0}
    for name, speed, seconds in (("model.ts", 88.0, 0.1), ("model.onnx", 85.0, 0.01), ("model.openvino", 90.0, 3.0)):
        record(folder / name, of_checkpoint | {"frames_per_second": speed, "load_seconds": seconds})
    assert fastest_model(folder / "best.ckpt").path == folder / "model.ts"


def test_without_a_runtime_the_checkpoint_itself_may_be_the_fastest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    assert fastest_model(folder / "best.ckpt").path == folder / "best.ckpt"
    assert fastest_model(folder / "model.ts").path == folder / "model.ts"  # where the checkpoint is, nothing says


def test_a_file_that_is_not_what_was_verified_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "onnx", "onnxruntime", "openvino")
    (folder / "model.openvino" / "encoder.bin").write_text("others")
    (folder / "model.onnx").unlink()
    (folder / "other.ts").write_text("of another checkpoint")
    said: list[str] = []
    assert fastest_model(folder / "model.ts", say=said.append).path == folder / "model.ts"
    assert len(said) == 1
    assert f"{folder / 'model.openvino'} has changed since it was verified and is left out" in said[0]
    (folder / "model.ts").write_text("changed")
    with pytest.raises(ModelFileError, match=r"model\.ts has changed since it was verified"):
        fastest_model(folder / "model.ts")


def test_speeds_are_beside_the_checkpoint_of_the_same_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "onnx", "onnxruntime")
    busy = {"checkpoint": model_digest(folder / "best.ckpt"), "checkpoint_frames_per_second": 10.0}
    record(folder / "model.onnx", busy | {"frames_per_second": 15.0})  # of 50, it would be 75
    assert fastest_model(folder / "model.ts").path == folder / "model.onnx"
    record(folder / "model.onnx", busy | {"frames_per_second": 7.0})
    assert fastest_model(folder / "model.ts").path == folder / "model.ts"


def test_what_is_not_known_is_said(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ModelFileError, match="There is no model file"):
        fastest_model(folder / "none.ts")
    alone = tmp_path_factory.mktemp("alone") / "model.ts"
    alone.touch()
    with pytest.raises(ModelFileError, match=r"no export\.json beside it"):
        fastest_model(alone)
    for broken in ("{", '{"models": {"model.ts": {}}}', "[]"):
        (alone.parent / FILE_NAME).write_text(broken)
        with pytest.raises(ModelFileError, match="not what activity export writes"):
            fastest_model(alone)


def test_a_record_keeps_those_of_other_files(folder: Path) -> None:
    record(folder / "model.ts", {"checkpoint": "x", "checkpoint_frames_per_second": 1.0, "frames_per_second": 2.0})
    models = json.loads((folder / FILE_NAME).read_text())["models"]
    assert list(models) == ["model.onnx", "model.openvino", "model.ts", "other.ts"]
    assert models["model.ts"]["frames_per_second"] == 2.0
    assert models["model.ts"]["digest"] == model_digest(folder / "model.ts")


def test_where_a_model_runs_is_asked_of_a_damaged_file_too(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/extra/activity.json", "{}")
    assert only_on_the_cpu(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"PK\x01\x02", b"PK\x00\x00"))  # its table of contents: loading says what is wrong
    assert not only_on_the_cpu(path)
    with pytest.raises(ModelFileError, match="no model file, or not a whole one"):
        load_recognizer(path)
    assert not only_on_the_cpu(tmp_path / "none.ts")


def test_a_torn_list_of_members_is_damage_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "model.ts"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("archive/constants.pkl", "archive/extra/names é.json"):
            archive.writestr(name, "x" * 100)
    whole = path.read_bytes()
    start = whole.rindex(b"PK\x01\x02")
    for place in range(whole.index(b"PK\x01\x02"), len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        only_on_the_cpu(path)
        with contextlib.suppress(ModelFileError):
            load_recognizer(path)
    path.write_bytes(whole[:start] + whole[start:].replace("é".encode(), b"\xff\xff"))
    with pytest.raises(ModelFileError, match="no model file, or not a whole one"):
        load_recognizer(path)
