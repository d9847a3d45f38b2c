import functools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from activity.models.encoder import create_encoder
from activity.models.preprocess import Preprocess
from tests.recognizers import script, tiny_preprocess

# Height and width: landscape, portrait, square, a side that is right already (and half a pixel to crop), tiny, odd,
# narrow.
SIZES = [(240, 320), (320, 240), (300, 300), (256, 259), (6, 4), (1, 1), (241, 333), (501, 500), (9, 300)]
ENCODERS = ["torchvision/resnet18", "torchvision/efficientnet_b0"]  # bilinear, bicubic
SHORT_SIZES = [(240, 320), (321, 241), (6, 4)]


@functools.cache
def preprocess_of(encoder: str) -> Preprocess:
    return create_encoder(name=encoder, weights="none", modalities=["rgb"], framing="centre", rgb_every=1).preprocess


def preset_of(encoder: str):
    from torchvision import models

    return models.get_model_weights(encoder.removeprefix("torchvision/")).DEFAULT.transforms()


def picture(height: int, width: int) -> np.ndarray:
    """Ramps, waves and a chequerboard: hard edges make an interpolation overshoot."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [127 + 120 * np.sin(x / 9 + y / 13), 127 + 120 * np.cos(x / 5), 255 * ((x // 8 + y // 8) % 2)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def as_frames(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_pixels_are_those_of_torchvision_on_uint8_tensors(encoder: str, size: tuple[int, int]) -> None:
    from torchvision.transforms.v2 import functional as reference

    frames = torch.cat([as_frames(picture(*size)), torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)])
    preset = preset_of(encoder)
    # The steps of the preset, by torchvision's own functions: those of transforms.v2 keep uint8, as Pillow does.
    resized = reference.resize(frames, preset.resize_size, interpolation=preset.interpolation, antialias=True)
    cropped = reference.center_crop(resized, preset.crop_size)
    expected = reference.normalize(cropped.float() / 255, preset.mean, preset.std)

    pixels = preprocess_of(encoder)(frames)

    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SHORT_SIZES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_pictures_are_seen_as_the_weights_were_trained_to_see_them(encoder: str, size: tuple[int, int]) -> None:
    pixels = picture(*size)
    preset = preset_of(encoder)
    # Weights are trained and measured on pictures resized by Pillow.
    expected = preset(Image.fromarray(pixels))[None]
    difference = preprocess_of(encoder)(as_frames(pixels)) - expected
    levels = difference * torch.tensor(preset.std).view(1, 3, 1, 1) * 255
    assert levels.abs().max() < 2.5  # of 255; each of the two passes of a resize rounds
    assert levels.abs().mean() < 0.1


@pytest.mark.parametrize(
    ("encoder", "weights"),
    [
        ("efficientnet_lite0", "tf_efficientnet_lite0"),
        ("timm/mobilenetv4_conv_small.e2400_r224_in1k", "mobilenetv4_conv_small.e2400_r224_in1k"),
    ],
)
def test_timm_weights_get_the_evaluation_transform_of_timm(encoder: str, weights: str) -> None:
    import timm

    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(weights).to_dict())
    pixels = picture(240, 321)
    expected = timm.data.create_transform(**config, is_training=False)(Image.fromarray(pixels))[None]
    levels = (preprocess_of(encoder)(as_frames(pixels)) - expected) * torch.tensor(config["std"]).view(1, 3, 1, 1) * 255
    assert levels.abs().max() < 2.5
    assert levels.abs().mean() < 0.1


@functools.cache
def whole(encoder: str) -> Preprocess:
    return create_encoder(name=encoder, weights="none", modalities=["rgb"], framing="whole", rgb_every=1).preprocess


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_whole_picture_is_resized_to_the_square(encoder: str, size: tuple[int, int]) -> None:
    from torchvision.transforms.v2 import functional as reference

    frames = as_frames(picture(*size))
    preset = preset_of(encoder)
    square = [preset.crop_size[0]] * 2
    resized = reference.resize(frames, square, interpolation=preset.interpolation, antialias=True)
    expected = reference.normalize(resized.float() / 255, preset.mean, preset.std)
    torch.testing.assert_close(whole(encoder)(frames), expected, rtol=0, atol=1e-6)
    assert torch.equal(script(whole(encoder))(frames), whole(encoder)(frames))


def test_what_happens_at_the_side_is_seen_in_the_whole_picture_only() -> None:
    frames = torch.zeros(1, 3, 90, 160, dtype=torch.uint8)
    frames[..., :20] = 255
    seen = {framing: of(ENCODERS[0])(frames) for framing, of in (("whole", whole), ("centre", preprocess_of))}
    assert seen["whole"].std(dim=(2, 3)).min() > 0.5
    assert seen["centre"].std(dim=(2, 3)).max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_scripted_equals_eager(encoder: str, size: tuple[int, int]) -> None:
    frames = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    assert torch.equal(scripted(encoder)(frames), preprocess_of(encoder)(frames))


@functools.cache
def scripted(encoder: str):
    return script(preprocess_of(encoder))


@pytest.mark.parametrize("size", SHORT_SIZES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_memory_as_a_decoder_gives_it_makes_no_difference(encoder: str, size: tuple[int, int]) -> None:
    decoded = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    preprocess = preprocess_of(encoder)
    assert torch.equal(preprocess(decoded), preprocess(decoded.contiguous()))


def test_what_is_given_is_left_as_it_was() -> None:
    preprocess = create_encoder(
        name="efficientnet_lite0", weights="none", modalities=["rgb"], framing="whole", rgb_every=1
    ).preprocess
    pixels = torch.full((1, 3, preprocess.crop_size, preprocess.crop_size), 255.0)
    preprocess.normalised(pixels)
    assert pixels.min() == 255


def test_a_description_makes_the_same_again() -> None:
    for preprocess in (tiny_preprocess(), *map(preprocess_of, ENCODERS), whole(ENCODERS[0])):
        again = Preprocess(**preprocess.describe())
        frames = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
        assert torch.equal(again(frames), preprocess(frames))
        assert again.describe() == preprocess.describe()


def test_what_cannot_be_is_refused() -> None:
    good = tiny_preprocess().describe()
    with pytest.raises(ValueError, match=r"nearest.*accepted: bilinear, bicubic"):
        Preprocess(**{**good, "interpolation": "nearest"})
    with pytest.raises(ValueError, match=r"framing is 'all'; accepted: whole, centre"):
        Preprocess(**{**good, "framing": "all"})
    with pytest.raises(ValueError, match="crop_size is 21; accepted: 1 to resize_size, which is 20"):
        Preprocess(**{**good, "crop_size": 21})
