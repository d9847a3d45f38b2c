import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from activity.formats import ModelFileError, load_recognizer
from activity.formats.checkpoint import DESCRIPTION_KEY
from activity.models.recognizer import FORMAT_VERSION, Recognizer
from tests.recognizers import (
    CLASS_NAMES,
    Pickled,
    checkpoint_of,
    lstm_head,
    mean_pool_head,
    random_frames,
    small_encoder,
    tiny_recognizer,
)

WHAT_TO_DO = "Give a checkpoint of `activity train`"


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    encoder = small_encoder("rgb", "motion")
    return tiny_recognizer(encoder, lstm_head(encoder.feature_size), sample_fps=7.5, window_frames=6)


@pytest.fixture
def checkpoint(recognizer: Recognizer) -> dict[str, Any]:
    return checkpoint_of(recognizer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "my model.ckpt"


def refusal(path: Path) -> str:
    """What the user is told; it names the file."""
    with pytest.raises(ModelFileError) as caught:
        load_recognizer(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def assert_refused(path: Path, reason: str) -> None:
    message = refusal(path)
    assert reason in message
    assert WHAT_TO_DO in message


# What training wrote is what inference gets


@pytest.mark.parametrize("kind", ["lstm", "mean_pool"])
def test_a_checkpoint_answers_as_the_recognizer_did(recognizer: Recognizer, path: Path, kind: str) -> None:
    if kind == "mean_pool":
        recognizer = tiny_recognizer(recognizer.encoder, mean_pool_head(recognizer.encoder.feature_size))
    torch.save(checkpoint_of(recognizer), path)
    loaded = load_recognizer(str(path))
    frames = random_frames(2, 3, 40, 30)
    features = loaded.encode(frames, frames[:, 1])
    lengths = torch.tensor([3, 2])
    assert torch.equal(features, recognizer.encode(frames, frames[:, 1]))
    assert torch.equal(loaded.classify(features, lengths), recognizer.classify(features, lengths))


def test_a_checkpoint_says_all_that_inference_needs(checkpoint: dict[str, Any], path: Path) -> None:
    torch.save(checkpoint, path)
    loaded = load_recognizer(path)
    assert (loaded.class_names, loaded.modalities) == (CLASS_NAMES, ["rgb", "motion"])
    assert (loaded.sample_fps, loaded.window_frames, loaded.format_version) == (7.5, 6, FORMAT_VERSION)
    assert isinstance(loaded, nn.Module)
    assert not any(module.training for module in loaded.modules())


def test_the_content_decides_and_not_the_suffix(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    torch.save(checkpoint, tmp_path / "model.ts")
    assert load_recognizer(tmp_path / "model.ts").class_names == CLASS_NAMES


# What is refused


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "lost.ckpt", "There is no model file")
    assert_refused(tmp_path, "is a folder, not a model file")


@pytest.mark.parametrize("content", [b"", b"a", b"hello world, this is text", b"PK\x03\x04 but no archive"])
@pytest.mark.parametrize("name", ["model.ckpt", "model.ts"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, "is no model file, or not a whole one")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(checkpoint: dict[str, Any], path: Path, kept: float) -> None:
    torch.save(checkpoint, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert_refused(path, "is no model file, or not a whole one")


@pytest.mark.parametrize("member", ["notes.txt", "archive/data.txt", "archive/data.pkl"])
def test_an_archive_of_something_else_is_refused(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "this is text")
    assert WHAT_TO_DO in refusal(path)


OTHERS: dict[str, Any] = {
    "weights only": {"conv.weight": torch.zeros(3)},
    "a Lightning checkpoint": {"state_dict": {"conv.weight": torch.zeros(3)}, "epoch": 3},
    "a recognizer of another kind": {"recognizer": "speech", "state_dict": {}},
    "a list": [torch.zeros(3)],
    "a tensor": torch.zeros(3),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_checkpoint_of_another_program_is_refused(path: Path, kind: str) -> None:
    torch.save(OTHERS[kind], path)
    assert_refused(path, "is a checkpoint of another program")


@pytest.mark.parametrize("damage", range(12))
def test_a_checkpoint_with_a_damaged_index_ends_in_a_message(
    checkpoint: dict[str, Any], path: Path, damage: int
) -> None:
    torch.save(checkpoint, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    generator = torch.Generator().manual_seed(damage)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if name.endswith("/data.pkl"):
                place = int(torch.randint(len(data), (1,), generator=generator))
                data = data[:place] + bytes([255 - data[place]]) + data[place + 1 :]
            archive.writestr(name, data)
    try:
        loaded, message = load_recognizer(path), ""
    except ModelFileError as error:
        loaded, message = None, str(error)
    # Or it loads: a changed number is not noticed.
    assert callable(loaded.classify) if loaded is not None else str(path) in message


class Misfit:
    """A tensor that its own arguments do not make: what a damaged or hostile index may ask for."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.arguments


@pytest.mark.parametrize("arguments", [(), ((), 0, (1,), (1,), False, {})])
def test_a_checkpoint_that_asks_for_what_cannot_be_is_refused(path: Path, arguments: tuple[Any, ...]) -> None:
    torch.save(Misfit(*arguments), path)
    assert_refused(path, "is no model file, or not a whole one")


# Code in a file


def test_a_pickle_file_is_never_executed(path: Path) -> None:
    marker = path.with_name("executed")
    path.write_bytes(pickle.dumps({"state_dict": {}, "recognizer": Pickled(marker)}))
    assert_refused(path, "is no model file")
    assert not marker.exists()


@pytest.mark.parametrize("place", ["alone", "description", "weights", "beside"])
def test_pickled_code_in_a_checkpoint_is_never_executed(checkpoint: dict[str, Any], path: Path, place: str) -> None:
    marker = path.with_name("executed")
    code = Pickled(marker)
    if place == "description":
        checkpoint[DESCRIPTION_KEY]["class_names"] = code
    elif place == "weights":
        checkpoint["state_dict"]["recognizer.head.classifier.weight"] = code
    elif place == "beside":
        checkpoint["hyper_parameters"] = code
    torch.save(code if place == "alone" else checkpoint, path)
    assert_refused(path, "holds pickled code, or is of another program; it was not executed")
    assert not marker.exists()


# Checkpoints of ours that cannot be used


@pytest.mark.parametrize("version", [FORMAT_VERSION - 1, FORMAT_VERSION + 1, None, str(FORMAT_VERSION)])
def test_another_version_is_refused(checkpoint: dict[str, Any], path: Path, version: Any) -> None:
    checkpoint[DESCRIPTION_KEY]["format_version"] = version
    torch.save(checkpoint, path)
    message = refusal(path)
    assert f"has format version {version!r}; this program reads version {FORMAT_VERSION}" in message
    assert "Update activity" in message


def test_a_checkpoint_without_all_of_its_weights_is_refused(checkpoint: dict[str, Any], path: Path) -> None:
    del checkpoint["state_dict"]["recognizer.head.classifier.bias"]
    torch.save(checkpoint, path)
    assert "description and weights do not fit" in refusal(path)


@pytest.mark.parametrize("readout", ["max", 3])
def test_a_description_that_builds_nothing_is_refused(checkpoint: dict[str, Any], path: Path, readout: Any) -> None:
    checkpoint[DESCRIPTION_KEY]["head"]["readout"] = readout
    torch.save(checkpoint, path)
    assert "description and weights do not fit" in refusal(path)


def test_an_encoder_that_is_not_installed_is_named(checkpoint: dict[str, Any], path: Path) -> None:
    checkpoint[DESCRIPTION_KEY]["encoder"]["name"] = "timm/of_tomorrow"
    torch.save(checkpoint, path)
    message = refusal(path)
    assert "needs an encoder that is not installed here" in message
    assert "'of_tomorrow'" in message
