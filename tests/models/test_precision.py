from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from activity.data.demo import render_clip
from activity.formats import load_recognizer
from activity.formats.compare import Window
from activity.formats.torchscript import export_torchscript
from activity.models import precision
from activity.models.encoder import NOISE, FrameEncoder, create_encoder, rebuild_encoder
from activity.models.head import StackedLSTM
from activity.models.precision import PRECISIONS, choose_precision, without_tf32
from activity.models.pretrained import EMBEDDED_ENCODER, EncoderError
from tests.recognizers import SMALL_ENCODER, checkpoint_of, lstm_head, random_frames, tiny_recognizer

CPU = torch.device("cpu")


def encoder_in(name: str, *, seed: int = 0) -> FrameEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create_encoder(
            name=SMALL_ENCODER,
            weights="none",
            modalities=["rgb", "motion"],
            framing="centre",
            rgb_every=1,
            precision=name,
        )


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


CUDNN = torch.backends.cudnn


@pytest.fixture
def gpu_in_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """cuDNN's switches can be turned on any machine; they come back as they were."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    before = CUDNN.allow_tf32
    yield
    CUDNN.allow_tf32 = before


def rounding() -> tuple[str, str]:
    return CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision


@pytest.mark.usefixtures("gpu_in_use")
@pytest.mark.parametrize("users_own", [True, False])
def test_tf32_is_off_while_any_thread_computes_and_as_the_user_had_it_after(users_own: bool) -> None:
    CUDNN.allow_tf32 = users_own
    before, entered, leave = rounding(), Event(), Event()

    def compute() -> tuple[bool, tuple[str, str]]:
        with without_tf32():
            entered.set()
            assert leave.wait(60)
            return CUDNN.allow_tf32, rounding()

    with ThreadPoolExecutor(1) as pool:
        with without_tf32():
            other = pool.submit(compute)
            assert entered.wait(60)
        assert rounding() == ("ieee", "ieee")  # this thread has left, the other one computes
        leave.set()
        assert other.result() == (False, ("ieee", "ieee"))
    assert (CUDNN.allow_tf32, rounding()) == (users_own, before)


@pytest.mark.usefixtures("gpu_in_use")
def test_what_a_user_set_for_convolutions_alone_comes_back() -> None:
    CUDNN.conv.fp32_precision = "ieee"
    with without_tf32():
        assert rounding() == ("ieee", "ieee")
    assert rounding() == ("ieee", "tf32")


def test_bfloat16_differs_from_float32_by_its_rounding_only() -> None:
    frames = random_frames(1, 3, 160, 160)
    exact, rounded = encoder_in("float32")(frames), encoder_in("bfloat16")(frames)
    assert rounded.dtype == torch.float32
    difference = (exact - rounded).abs().max() / exact.abs().max()
    assert 1e-5 < difference < 0.05


@pytest.mark.slow
def test_bfloat16_changes_what_the_pretrained_encoder_leads_to_less_than_a_cameras_noise_does() -> None:
    activities, actors = ("jump", "pick_up", "wave"), (0, 1, 2)
    films = [list(render_clip(name, actor=actor, take=0, seed=0)) for name in activities for actor in actors]
    frames = torch.from_numpy(np.stack([np.stack(film[::8]) for film in films])).movedim(-1, 2)  # (9, 6, 3, 240, 320)
    noise = 255 * NOISE * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    noisy = (frames + noise).round().clamp(0, 255).byte()
    labels = torch.arange(len(activities)).repeat_interleave(len(actors))
    exact, rounded = (
        create_encoder(
            name=EMBEDDED_ENCODER,
            weights="default",
            modalities=["rgb", "motion"],
            framing="centre",
            rgb_every=1,
            precision=name,
        )
        for name in PRECISIONS
    )
    features, in_bfloat16, of_noisy = exact(frames), rounded(frames), exact(noisy)
    seen = torch.arange(len(labels)) % len(actors) < 2  # the last actor is new to the head
    head = trained_head(features[seen], labels[seen])
    lengths = torch.full((len(labels),), features.shape[1])
    with torch.inference_mode():
        scores, other, with_noise = (head(given, lengths).softmax(dim=1) for given in (features, in_bfloat16, of_noisy))
    assert (scores.argmax(dim=1) == labels)[seen].all()
    assert torch.equal(scores.argmax(dim=1), other.argmax(dim=1))
    assert 0 < (in_bfloat16 - features).norm() < (of_noisy - features).norm()
    assert (other - scores).abs().max() < (with_noise - scores).abs().max()


def trained_head(features: Tensor, labels: Tensor) -> StackedLSTM:
    """An LSTM that knows the labels of features `(N, T, D)`."""
    head = lstm_head(features.shape[2], modality_weights=[1.0, 1.0], projection_size=32, hidden_size=32).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    lengths = torch.full((len(labels),), features.shape[1])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(features, lengths), labels).backward()
            optimizer.step()
    return head.eval()


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
    export_torchscript(recognizer, tmp_path / "model.ts", [Window("random", frames)])
    for name in ("model.ckpt", "model.ts"):
        assert torch.equal(load_recognizer(tmp_path / name).encode(frames), features)


def test_single_rows_are_the_features_of_windows() -> None:
    encoder, frames = encoder_in("float32"), random_frames(1, 4, 60, 80)
    rows = torch.arange(4)
    by_rows = encoder.encode_rows([frames[0]], rows, (rows - 1).clamp_min(0))
    torch.testing.assert_close(by_rows, encoder(frames)[0], rtol=0, atol=1e-6)


def test_another_precision_is_refused() -> None:
    with pytest.raises(EncoderError, match="precision is 'float16'; accepted: float32, bfloat16"):
        encoder_in("float16")
