import json

import pytest
import torch
from torch import Tensor

from activity.models.encoder import create_encoder, rebuild_encoder
from activity.models.pretrained import EMBEDDED_ENCODER, EncoderError
from tests.recognizers import SMALL_ENCODER, random_frames, small_encoder, tiny_encoder, tiny_recognizer

# Modalities


@pytest.mark.parametrize("modalities", [[], ["rgb", "rgb"], ["flow"], ["rgb", "depth"]])
def test_modalities_that_do_not_exist_are_refused(modalities: list[str]) -> None:
    with pytest.raises(EncoderError, match=r"accepted: \[rgb\], \[motion\] or \[rgb,motion\]"):
        create_encoder(name=EMBEDDED_ENCODER, weights="none", modalities=modalities, framing="centre", rgb_every=1)


def test_features_of_modalities_stand_side_by_side_in_their_order() -> None:
    frames = random_frames(2, 4)
    rgb, motion = tiny_encoder("rgb")(frames), tiny_encoder("motion")(frames)
    assert (rgb - motion).abs().max() > 1e-3
    assert torch.equal(tiny_encoder("rgb", "motion")(frames), torch.cat([rgb, motion], dim=2))
    assert torch.equal(tiny_encoder("motion", "rgb")(frames), torch.cat([motion, rgb], dim=2))
    assert tiny_encoder("rgb", "motion").feature_size == rgb.shape[2] + motion.shape[2]


def test_motion_is_the_signed_difference_of_what_the_network_sees() -> None:
    encoder, frames = tiny_encoder("motion"), random_frames(1, 2)
    pixels = encoder.preprocess(frames[0])
    change = pixels[1:] - pixels[:1]
    # On the [0, 1] scale of pixels: brought to the contrast of a photograph, 0.25, but for 0.01 of noise.
    strength = (change * torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)).square().mean().sqrt()
    expected = encoder.backbone(change * 0.25 / (strength + 0.01))
    torch.testing.assert_close(encoder(frames)[0, 1:], expected, rtol=0, atol=1e-6)
    turned = encoder(frames.flip(1))
    assert (turned[0, 1] - expected[0]).abs().max() > 1e-2  # it tells forth from back


@pytest.mark.parametrize("modalities", [["rgb", "motion"], ["motion", "rgb"]])
@pytest.mark.parametrize("time", [1, 3, 4, 8])
def test_rgb_looks_at_some_frames_and_holds_while_motion_looks_at_each(modalities: list[str], time: int) -> None:
    encoder, frames = tiny_encoder(*modalities, rgb_every=3), random_frames(2, time)
    each = {modality: tiny_encoder(modality)(frames) for modality in modalities}
    each["rgb"] = each["rgb"][:, [index - index % 3 for index in range(time)]]
    expected = torch.cat([each[modality] for modality in modalities], dim=2)
    torch.testing.assert_close(encoder(frames), expected, rtol=0, atol=1e-6)
    # One frame at a time, as of a stream: what rgb said of the frame it looked at comes from the feature before.
    features: list[Tensor] = []
    for index in range(time):
        previous = frames[:, index - 1] if index else None
        features.append(encoder(frames[:, index : index + 1], previous, features[-1] if index % 3 else None))
    torch.testing.assert_close(torch.cat(features, dim=1), expected, rtol=0, atol=1e-6)
    rows = torch.arange(time)
    by_rows = encoder.encode_rows([frames[1]], rows, (rows - 1).clamp_min(0))
    torch.testing.assert_close(by_rows, expected[1], rtol=0, atol=1e-6)


def test_where_rgb_looks_at_each_frame_nothing_is_held() -> None:
    recognizer, frames = tiny_recognizer(tiny_encoder("rgb", "motion")), random_frames(1, 2)
    features = recognizer.encode(frames)
    again = recognizer.encode(frames[:, 1:], frames[:, 0], torch.zeros_like(features[:, 0]))
    torch.testing.assert_close(again, features[:, 1:], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("modalities", "rgb_every"), [(["rgb"], 2), (["motion"], 2), (["rgb", "motion"], 0), (["rgb", "motion"], 65)]
)
def test_how_often_rgb_looks_is_checked(modalities: list[str], rgb_every: int) -> None:
    with pytest.raises(EncoderError, match=f"rgb_every is {rgb_every} .*; accepted: 1, and beside motion up to 64"):
        tiny_encoder(*modalities, rgb_every=rgb_every)


def test_a_modality_alone_looks_at_each_frame() -> None:
    for modalities, rgb_every in ((["rgb"], 1), (["motion"], 1), (["rgb", "motion"], 4)):
        encoder = create_encoder(
            name=SMALL_ENCODER, weights="none", modalities=modalities, framing="centre", rgb_every=4
        )
        assert encoder.rgb_every == rebuild_encoder(encoder.describe()).rgb_every == rgb_every


@pytest.mark.parametrize("modalities", [["rgb"], ["motion"], ["rgb", "motion"]])
def test_single_rows_are_encoded_as_windows_are(modalities: list[str]) -> None:
    encoder, frames = tiny_encoder(*modalities), random_frames(1, 5)
    rows = torch.tensor([4, 0, 2])
    by_rows = encoder.encode_rows([frames[0]], rows, (rows - 1).clamp_min(0))
    torch.testing.assert_close(by_rows, encoder(frames)[0, rows], rtol=0, atol=1e-6)


def test_how_far_apart_two_frames_are_in_time_does_not_make_the_motion_stronger() -> None:
    encoder = tiny_encoder("motion")
    ground = torch.full((1, 1, 3, 24, 32), 100, dtype=torch.uint8)
    moved = random_frames(1, 1) // 4 * 2  # even numbers to 126: half of them is exact

    def feature(change: Tensor) -> Tensor:
        return encoder(torch.cat([ground, ground + change], dim=1))[0, 1]

    still, full, half = feature(moved * 0), feature(moved), feature(moved // 2)
    assert (full - half).norm() < 0.25 * (full - still).norm()
    grain = feature(moved // 126)  # a level or none: what a camera's noise looks like
    assert (grain - still).norm() < 0.5 * (full - still).norm()


def test_nothing_has_moved_at_the_first_frame() -> None:
    encoder, frames = tiny_encoder("motion"), random_frames(1, 3)
    still = encoder(frames[:, :1].expand(-1, 3, -1, -1, -1))
    torch.testing.assert_close(encoder(frames)[:, 0], still[:, 2], rtol=0, atol=1e-6)
    assert (encoder(frames)[:, 1] - still[:, 1]).abs().max() > 1e-2


@pytest.mark.parametrize("dimensions", [4, 5])
@pytest.mark.parametrize("modalities", [["rgb"], ["motion"], ["rgb", "motion"]])
@pytest.mark.parametrize("cut", [1, 3, 4])
def test_reading_in_pieces_equals_reading_whole(modalities: list[str], cut: int, dimensions: int) -> None:
    encoder, frames = tiny_encoder(*modalities), random_frames(2, 5)
    previous = frames[:, cut - 1] if dimensions == 4 else frames[:, cut - 1 : cut]
    pieces = torch.cat([encoder(frames[:, :cut]), encoder(frames[:, cut:], previous)], dim=1)
    torch.testing.assert_close(pieces, encoder(frames), rtol=0, atol=1e-6)


# What it says of itself


def test_a_description_and_the_weights_make_the_same_encoder_again() -> None:
    encoder = small_encoder("motion", "rgb")  # its preprocessing is not that of the pretrained weights
    encoder.contrast, encoder.noise = 0.5, 0.04  # nor are these those of today's motion
    description = encoder.describe()
    assert json.loads(json.dumps(description)) == description
    again = rebuild_encoder(description)
    assert again.weights_hash() != encoder.weights_hash()
    again.load_state_dict(encoder.state_dict())
    frames = random_frames(1, 3)
    assert torch.equal(again(frames), encoder(frames))
    assert again.describe() == description
    assert again.weights_hash() == encoder.weights_hash()
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_each_weight_and_statistic_counts_in_the_hash() -> None:
    encoder = small_encoder()
    hashes = {encoder.weights_hash()}
    state = encoder.backbone.state_dict()
    names = [next(name for name in state if name.endswith(end)) for end in ("weight", "bias", "running_mean")]
    for name in names:
        state[name].select(0, -1).add_(1e-3)  # one channel of it
        hashes.add(encoder.weights_hash())
    assert len(hashes) == 1 + len(names)
