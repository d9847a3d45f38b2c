"""The temperature is in every model file and on every path."""

from pathlib import Path

import pytest
import torch

from activity.formats import ModelFileError, load_recognizer
from activity.formats.checkpoint import keep_temperature
from activity.formats.compare import Window
from activity.formats.torchscript import export_torchscript
from tests.recognizers import checkpoint_of, random_frames, small_encoder, tiny_recognizer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(checkpoint_of(tiny_recognizer(small_encoder())), tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def test_it_divides_the_logits_and_all_else_in_the_file_stays(path: Path) -> None:
    before, frames = load_recognizer(path), random_frames(2, 4)
    content = torch.load(path, weights_only=True)
    keep_temperature(path, 2.5)
    after = load_recognizer(path)
    features = before.encode(frames)
    assert torch.allclose(after.classify(features), before.classify(features) / 2.5)
    assert torch.allclose(after(frames), before(frames) / 2.5)  # type: ignore[operator]
    kept = torch.load(path, weights_only=True)
    assert kept.keys() == content.keys()
    assert kept["epoch"] == content["epoch"]
    for name, tensor in content["state_dict"].items():
        assert name.endswith("temperature") or torch.equal(kept["state_dict"][name], tensor), name


def test_an_exported_file_obeys_it(path: Path, tmp_path: Path) -> None:
    keep_temperature(path, 0.4)
    recognizer = load_recognizer(path)
    export_torchscript(recognizer, tmp_path / "model.ts", [Window("random", random_frames(1, 4))])  # type: ignore[arg-type]
    exported = load_recognizer(tmp_path / "model.ts")
    features = recognizer.encode(random_frames(1, 4))
    assert torch.allclose(exported.classify(features), recognizer.classify(features), atol=1e-5)
    assert float(exported.temperature) == pytest.approx(0.4)  # type: ignore[attr-defined]


def test_a_file_that_is_no_checkpoint_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").write_bytes(b"something else")
    with pytest.raises(ModelFileError):
        keep_temperature(tmp_path / "best.ckpt", 2.0)
    assert (tmp_path / "best.ckpt").read_bytes() == b"something else"
