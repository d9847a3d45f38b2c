import itertools
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from activity.formats import ModelFileError, compare, load_recognizer
from activity.formats.compare import Window
from activity.formats.torchscript import export_torchscript, without_deprecation_warnings
from activity.models.recognizer import FORMAT_VERSION, Recognizer
from tests.recognizers import CLASS_NAMES, lstm_head, random_frames, script, tiny_encoder, tiny_recognizer
from tests.videos import index_frames, write_video


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    encoder = tiny_encoder("rgb", "motion", rgb_every=3)
    head = lstm_head(encoder.feature_size, bidirectional=True, readout="attention")
    return tiny_recognizer(encoder, head, sample_fps=7.5, window_frames=6)


@pytest.fixture(scope="module")
def exported(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.ts"
    assert export_torchscript(recognizer, path, [Window("random", random_frames(1, 6))]) < 1e-4
    return path


def run_python(program: str, *arguments: Any, folder: Path) -> Any:
    """What a program says as JSON, run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(compare.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# The file alone, with plain torch

PLAIN_TORCH = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"activity", "torchvision", "timm", "cv2", "pytorch_lightning"}:
            raise ImportError(name + " is not to be imported here")

sys.meta_path.insert(0, Blocked())
import torch

model = torch.jit.load(sys.argv[1])
given = torch.load(sys.argv[2])
frames, lengths = given["frames"], given["lengths"]
features = model.encode(frames)
results = {
    "whole": features,
    "alone": model.encode(frames, None),
    "pieces": torch.cat([model.encode(frames[:, :3]), model.encode(frames[:, 3:], frames[:, 2])], dim=1),
    "held": torch.cat([features[:, :1], model.encode(frames[:, 1:3], frames[:, 0], features[:, 0])], dim=1),
    "logits": model.classify(features, lengths),
    "forward": model(frames),
}
torch.save(results, sys.argv[3])
attributes = "class_names", "sample_fps", "window_frames", "modalities", "rgb_every", "format_version"
print(json.dumps({name: getattr(model, name) for name in attributes}))
"""


def test_the_file_works_with_plain_torch(recognizer: Recognizer, exported: Path, tmp_path: Path) -> None:
    frames, lengths = random_frames(2, 5, 37, 53), torch.tensor([5, 3])
    torch.save({"frames": frames, "lengths": lengths}, tmp_path / "given.pt")
    says = run_python(PLAIN_TORCH, exported, tmp_path / "given.pt", tmp_path / "results.pt", folder=tmp_path)
    assert says == {
        "class_names": CLASS_NAMES,
        "sample_fps": 7.5,
        "window_frames": 6,
        "modalities": ["rgb", "motion"],
        "rgb_every": 3,
        "format_version": FORMAT_VERSION,
    }
    results: dict[str, Tensor] = torch.load(tmp_path / "results.pt", weights_only=True)
    features = recognizer.encode(frames)
    expected = {
        "whole": features,
        "alone": features,
        "pieces": features,
        "held": features[:, :3],
        "logits": recognizer.classify(features, lengths),
        "forward": recognizer(frames),
    }
    for name, tensor in expected.items():
        torch.testing.assert_close(results[name], tensor, rtol=0, atol=1e-4)


def test_frames_of_another_kind_are_refused_by_the_file_too(exported: Path) -> None:
    with pytest.raises(torch.jit.Error, match=r"frames are float32 \[1, 2, 3, .*; accepted: uint8 RGB"):
        load_recognizer(exported).encode(random_frames(1, 2).float())


# Loaded as any other recognizer


def test_an_exported_file_answers_as_the_recognizer_did(recognizer: Recognizer, exported: Path) -> None:
    loaded = load_recognizer(exported)
    frames, lengths = random_frames(2, 6, 60, 41), torch.tensor([4, 6])
    features = loaded.encode(frames)
    torch.testing.assert_close(features, recognizer.encode(frames), rtol=0, atol=1e-5)
    expected = recognizer.classify(features, lengths)
    torch.testing.assert_close(loaded.classify(features, lengths), expected, rtol=0, atol=1e-5)
    assert (loaded.class_names, loaded.modalities) == (CLASS_NAMES, ["rgb", "motion"])
    assert (loaded.sample_fps, loaded.window_frames, loaded.format_version) == (7.5, 6, FORMAT_VERSION)


def test_the_content_decides_and_not_the_suffix(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(exported.read_bytes())
    assert load_recognizer(path).class_names == CLASS_NAMES


PREDICT = """
import json, sys
import torch
from activity.formats import load_recognizer
from activity.inference.predictor import predict_videos

model = load_recognizer(sys.argv[1])
[found] = predict_videos(model, [sys.argv[2]], batch_frames=4, decode_threads=1, device=torch.device("cpu"))
heavy = {"pytorch_lightning", "lightning", "hydra", "omegaconf", "timm", "torchvision", "torchmetrics"}
print(json.dumps({"scores": found.scores, "imported": sorted(heavy & set(sys.modules))}))
"""


def test_predicting_from_an_exported_file_imports_no_library_of_training(exported: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", index_frames(20))
    says = run_python(PREDICT, exported, video, folder=tmp_path)
    assert sum(says["scores"]) == pytest.approx(1)
    assert says["imported"] == []


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning])  # of torch 2.11 and of 2.14
def test_only_that_torchscript_is_deprecated_is_not_said(category: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with without_deprecation_warnings():
            warnings.warn("`torch.jit.load` is deprecated. Please switch to `torch.export`.", category, stacklevel=1)
            warnings.warn("a tensor was copied", category, stacklevel=1)
    assert [str(warning.message) for warning in said] == ["a tensor was copied"]


# Written whole or not at all


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_file_that_differs_is_not_written(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float, where: str
) -> None:
    """A difference in any example counts, and so does one that is no number."""
    differences = [0.0, 0.0, 0.0, difference]
    # One given window and three random ones, for each of the two exports.
    answers = itertools.cycle(differences if where == "last" else differences[::-1])
    monkeypatch.setattr(compare, "_score_difference", lambda *_: next(answers))
    (tmp_path / "older.ts").write_bytes(b"an older model")
    for name in ("older.ts", "new.ts"):
        with pytest.raises(
            ModelFileError, match=r"was not written: its scores differ .* on .*random.*, more than 0\.0001"
        ):
            export_torchscript(recognizer, tmp_path / name, [Window("random", random_frames(1, 6))])
    assert files_in(tmp_path) == ["older.ts"]
    assert (tmp_path / "older.ts").read_bytes() == b"an older model"


class Unlike(nn.Module):
    """A CNN whose TorchScript answers otherwise than it does itself."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, pixels: Tensor) -> Tensor:
        features = pixels.mean(dim=(2, 3))
        return features * self.factor if torch.jit.is_scripting() else features


def recognizer_with(backbone: nn.Module) -> Recognizer:
    encoder = tiny_encoder()
    encoder.computing, encoder.feature_size = backbone, 3
    return tiny_recognizer(encoder, lstm_head(3))


@pytest.mark.parametrize(("factor", "refused"), [(1.0, False), (-1.0, True), (float("nan"), True)])
def test_scores_are_compared_on_what_was_written(tmp_path: Path, factor: float, refused: bool) -> None:
    recognizer, path = recognizer_with(Unlike(factor)), tmp_path / "model.ts"
    if not refused:
        assert export_torchscript(recognizer, path, []) <= 1e-4
        assert path.exists()
        return
    with pytest.raises(ModelFileError, match=r"was not written: its scores differ .* Train with another encoder"):
        export_torchscript(recognizer, path, [])
    assert files_in(tmp_path) == []


class Unscriptable(nn.Module):
    def forward(self, pixels: Tensor, *more: Any) -> Tensor:
        return pixels.mean(dim=(2, 3))


def test_an_encoder_that_torchscript_cannot_express_is_named(tmp_path: Path) -> None:
    recognizer = recognizer_with(Unscriptable())
    recognizer.encoder.name = "timm/odd"
    with pytest.raises(ModelFileError, match=r"cannot express the encoder timm/odd: .*Train with another encoder"):
        export_torchscript(recognizer, tmp_path / "model.ts", [])
    assert files_in(tmp_path) == []


# What is refused


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_recognizer(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(exported: Path, tmp_path: Path, kept: float) -> None:
    data = exported.read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[: int(len(data) * kept)])
    message = refusal(tmp_path / "cut.ts")
    assert "is no model file, or not a whole one" in message
    assert "`activity export` (.ts" in message


def test_an_archive_that_lacks_a_part_is_refused(exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as whole, zipfile.ZipFile(tmp_path / "part.ts", "w") as part:
        for name in whole.namelist():
            if not name.endswith("/data.pkl"):
                part.writestr(name, whole.read(name))
    assert "is no model file, or not a whole one" in refusal(tmp_path / "part.ts")


def save_script(module: nn.Module, path: Path) -> Path:
    with without_deprecation_warnings():
        torch.jit.save(script(module), path)
    return path


def test_torchscript_of_another_program_is_refused(tmp_path: Path) -> None:
    message = refusal(save_script(nn.Linear(3, 2), tmp_path / "other.ts"))
    assert "is a TorchScript file of another program: no class_names" in message
    assert "Give a checkpoint of `activity train`" in message


def test_a_file_that_lacks_what_this_version_writes_is_to_be_exported_again(tmp_path: Path) -> None:
    recognizer = tiny_recognizer()
    del recognizer.encoder_name
    message = refusal(save_script(recognizer, tmp_path / "older.ts"))
    assert "older.ts was written by another version of activity; export it again from its checkpoint" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_that_is_what_is_said(exported: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot be loaded on cuda \(.*\)\. Ask for cpu"):
        load_recognizer(exported, "cuda")


def test_another_version_is_refused(tmp_path: Path) -> None:
    recognizer = tiny_recognizer()
    recognizer.format_version = FORMAT_VERSION + 1
    message = refusal(save_script(recognizer, tmp_path / "newer.ts"))
    assert f"has format version {FORMAT_VERSION + 1}; this program reads version {FORMAT_VERSION}" in message
    assert "Update activity" in message
