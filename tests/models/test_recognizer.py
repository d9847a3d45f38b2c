import json

import pytest
import torch

from activity.models.head import READOUTS
from activity.models.recognizer import FORMAT_VERSION, Recognizer, rebuild_recognizer
from tests.recognizers import (
    CLASS_NAMES,
    lstm_head,
    mean_pool_head,
    random_frames,
    script,
    small_encoder,
    tiny_encoder,
    tiny_recognizer,
)


def test_it_says_what_inference_needs_to_know() -> None:
    recognizer = tiny_recognizer(tiny_encoder("rgb", "motion"), sample_fps=7, window_frames=12)
    assert recognizer.class_names == CLASS_NAMES
    assert recognizer.sample_fps == 7.0
    assert isinstance(recognizer.sample_fps, float)
    assert recognizer.window_frames == 12
    assert recognizer.modalities == ["rgb", "motion"]
    assert recognizer.format_version == FORMAT_VERSION


def test_forward_is_encode_and_classify() -> None:
    recognizer, frames = tiny_recognizer(tiny_encoder("rgb", "motion")), random_frames(2, 4)
    features = recognizer.encode(frames)
    logits = recognizer.classify(features)
    assert features.shape == (2, 4, 64)
    assert logits.shape == (2, len(CLASS_NAMES))
    assert torch.equal(recognizer(frames), logits)
    assert torch.equal(recognizer.classify(features, torch.tensor([4, 4])), logits)


def test_lengths_say_which_features_count() -> None:
    recognizer = tiny_recognizer()
    features = recognizer.encode(random_frames(1, 4))
    short = recognizer.classify(features, torch.tensor([2]))
    torch.testing.assert_close(short, recognizer.classify(features[:, :2]), rtol=0, atol=1e-6)
    assert (short - recognizer.classify(features)).abs().max() > 1e-4


@pytest.mark.parametrize(
    "frames",
    [
        random_frames(1, 4).float(),  # another dtype
        random_frames(1, 4)[0],  # one dimension less
        random_frames(1, 4).movedim(2, -1),  # channels last
    ],
)
def test_frames_of_another_kind_are_refused(frames: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"frames are (float32|uint8) \[.*accepted: uint8 RGB \(B, T, 3, H, W\)"):
        tiny_recognizer().encode(frames)


def test_features_of_another_size_are_refused() -> None:
    for features in (torch.zeros(2, 4, 5), torch.zeros(4, 32), torch.zeros(32), torch.zeros(2, 4, 32).double()):
        with pytest.raises(ValueError, match=r"features are float.*accepted: float32 \(B, T, 32\)"):
            tiny_recognizer().classify(features)


@pytest.mark.parametrize("kind", [*READOUTS, "mean_pool"])
def test_everything_is_scriptable(kind: str) -> None:
    encoder = tiny_encoder("rgb", "motion")
    size = encoder.feature_size
    head = mean_pool_head(size) if kind == "mean_pool" else lstm_head(size, readout=kind, bidirectional=True)
    recognizer = tiny_recognizer(encoder, head)
    scripted, frames = script(recognizer), random_frames(2, 4)
    features = scripted.encode(frames, frames[:, 0])
    lengths = torch.tensor([4, 2])
    torch.testing.assert_close(features, recognizer.encode(frames, frames[:, 0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        scripted.classify(features, lengths), recognizer.classify(features, lengths), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(scripted(frames), recognizer(frames), rtol=0, atol=1e-6)
    assert (scripted.class_names, scripted.modalities) == (CLASS_NAMES, ["rgb", "motion"])
    assert (scripted.sample_fps, scripted.window_frames, scripted.format_version) == (5.0, 4, FORMAT_VERSION)


@pytest.mark.parametrize("kind", ["lstm", "mean_pool"])
def test_a_description_and_the_weights_make_the_same_recognizer_again(kind: str) -> None:
    encoder = small_encoder("rgb", "motion")
    make_head = lstm_head if kind == "lstm" else mean_pool_head
    recognizer = tiny_recognizer(encoder, make_head(encoder.feature_size), sample_fps=7.5, window_frames=6)
    description = recognizer.describe()
    assert json.loads(json.dumps(description)) == description  # plain Python
    again: Recognizer = rebuild_recognizer(description)
    again.load_state_dict(recognizer.state_dict())
    frames = random_frames(1, 4)
    assert torch.equal(again(frames), recognizer(frames))
    assert again.describe() == description
    assert (again.class_names, again.sample_fps, again.window_frames) == (CLASS_NAMES, 7.5, 6)
    assert not again.training


def test_a_previous_frame_of_another_kind_is_refused() -> None:
    recognizer = tiny_recognizer(tiny_encoder("rgb", "motion"))
    frames = random_frames(2, 3)
    as_many = (frames[:, 0].movedim(1, -1), frames[:, 0].transpose(2, 3), frames[:, 0].flatten())
    for previous in (frames[:, 0].float(), frames[:, 0, :, :-1], frames[:1, 0], *as_many):
        with pytest.raises(ValueError, match="previous is"):
            recognizer.encode(frames, previous)


@pytest.mark.parametrize("lengths", [[0, 4], [5, 4], [4], [[4, 4]]])
def test_lengths_that_no_window_has_are_refused(lengths: list[int]) -> None:
    recognizer = tiny_recognizer()
    features = recognizer.encode(random_frames(2, 4))
    with pytest.raises(ValueError, match="lengths are int64"):
        recognizer.classify(features, torch.tensor(lengths))
    with pytest.raises(ValueError, match=r"lengths are float32 \[2\] .*; accepted: int64 \(2,\), 1 to 4"):
        recognizer.classify(features, torch.tensor([4.0, 4.0]))
