from pathlib import Path

import pytest
import torch

from activity.formats import load_recognizer
from activity.formats.torchscript import export_torchscript
from activity.models import precision
from activity.models.encoder import EncoderError, FrameEncoder, create_encoder, rebuild_encoder
from activity.models.precision import choose_precision
from tests.recognizers import SMALL_ENCODER, checkpoint_of, lstm_head, random_frames, tiny_recognizer

CPU = torch.device("cpu")


def encoder_in(name: str, *, seed: int = 0) -> FrameEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create_encoder(name=SMALL_ENCODER, weights="none", modalities=["rgb", "motion"], precision=name)


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_on_a_cpu_that_has_it_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: native)
    assert choose_precision("auto", CPU) == ("bfloat16" if native else "float32")
    assert choose_precision("auto", torch.device("cuda")) == "float32"
    assert [choose_precision(name, CPU) for name in ("float32", "bfloat16")] == ["float32", "bfloat16"]


def test_what_this_cpu_has_is_asked_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, native in (({"avx512_bf16": True}, True), ({"bf16": True}, True), ({"avx512_vnni": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert precision.cpu_computes_bfloat16() is native


def test_bfloat16_differs_from_float32_by_its_rounding_only() -> None:
    frames = random_frames(1, 3, 160, 160)
    exact, rounded = encoder_in("float32")(frames), encoder_in("bfloat16")(frames)
    assert rounded.dtype == torch.float32
    difference = (exact - rounded).abs().max() / exact.abs().max()
    assert 1e-5 < difference < 0.05


def test_the_weights_of_a_checkpoint_are_float32_and_the_same_in_either_precision() -> None:
    exact, rounded = encoder_in("float32"), encoder_in("bfloat16")
    assert exact.state_dict().keys() == rounded.state_dict().keys()
    assert all(torch.equal(tensor, rounded.state_dict()[name]) for name, tensor in exact.state_dict().items())
    assert exact.weights_hash() == rounded.weights_hash()
    assert exact.describe() != rounded.describe()  # so that their features have keys of their own


def test_weights_that_are_loaded_are_those_that_are_computed_with() -> None:
    frames, other = random_frames(1, 2, 160, 160), encoder_in("bfloat16", seed=1)
    rebuilt = rebuild_encoder(other.describe())
    assert not torch.equal(rebuilt(frames), other(frames))
    rebuilt.load_state_dict(other.state_dict())
    assert torch.equal(rebuilt(frames), other(frames))


def test_every_path_computes_as_training_did(tmp_path: Path) -> None:
    encoder = encoder_in("bfloat16")
    recognizer, frames = tiny_recognizer(encoder, lstm_head(encoder.feature_size)), random_frames(1, 4, 160, 160)
    features = recognizer.encode(frames)
    torch.save(checkpoint_of(recognizer), tmp_path / "model.ckpt")
    export_torchscript(recognizer, tmp_path / "model.ts", [frames])
    for name in ("model.ckpt", "model.ts"):
        assert torch.equal(load_recognizer(tmp_path / name).encode(frames), features)


def test_single_rows_are_the_features_of_windows() -> None:
    encoder, frames = encoder_in("float32"), random_frames(1, 4, 60, 80)
    rows = torch.arange(4)
    by_rows = encoder.encode_rows(frames[0], rows, (rows - 1).clamp_min(0))
    torch.testing.assert_close(by_rows, encoder(frames)[0], rtol=0, atol=1e-6)


def test_another_precision_is_refused() -> None:
    with pytest.raises(EncoderError, match="precision is 'float16'; accepted: float32, bfloat16"):
        encoder_in("float16")
