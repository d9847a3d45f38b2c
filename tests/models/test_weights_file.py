import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from activity.models.weights_file import NoStateDictError, read_state_dict
from tests.recognizers import Pickled
from tests.videos import index_frames, write_video

STATE = {"weight": torch.arange(2000.0).view(2, 1000), "bias": torch.zeros(2)}
Save = Callable[[Any, Path], None]


def save_as_old_torch(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def refused(path: Path) -> str:
    with pytest.raises(NoStateDictError) as caught:
        read_state_dict(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ""])
@pytest.mark.parametrize("save", [torch.save, save_as_old_torch, save_file])
def test_a_state_dict_is_read_whatever_the_name_of_the_file(tmp_path: Path, save: Save, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save(STATE, path)
    found = read_state_dict(path)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a", "a text file that begins with 'a'"),
        (b" \n", "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid 1", "that begins with 'version https://git-lfs"),
        ("é".encode() * 400, "a text file"),
        (b"{" * 600, "a text file"),
        (b"\x1aE\xdf\xa3" + bytes(600), "is a video"),
        (bytes(range(256)) * 4, "no file of torch or safetensors"),
        (b"\x01" + bytes(7) + b"{", "safetensors file that is cut off or damaged"),
        (b"\x80\x02nonsense", "is damaged, or holds pickled objects"),
        (b"PK\x03\x04" + bytes(600), "an archive that is cut off or damaged"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, said: str, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    assert said in refused(path)


def test_a_video_and_an_archive_are_named(tmp_path: Path) -> None:
    assert refused(write_video(tmp_path / "video.mp4", index_frames(3))) == "is a video"
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "a zip archive that holds nothing of torch" in refused(tmp_path / "some.zip")
    whole = (tmp_path / "some.zip").read_bytes()
    (tmp_path / "damaged.zip").write_bytes(whole.replace(b"PK\x01\x02", b"PK\x09\x09"))
    assert "an archive that is cut off or damaged" in refused(tmp_path / "damaged.zip")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(3)], "no state dict (names to tensors) but a list"),
        (torch.zeros(3), "no state dict (names to tensors) but a Tensor"),
        (
            {"epoch": 3, "model": {}},
            "no state dict (names to tensors), nor one as 'state_dict'; it has 'epoch', 'model'",
        ),
        (nn.Linear(2, 2), "holds pickled objects other than tensors (a whole model"),
    ],
)
def test_what_torch_wrote_and_is_no_state_dict_is_named(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "weights.pth")
    assert said in refused(tmp_path / "weights.pth")


@pytest.mark.parametrize("save", [torch.save, save_as_old_torch, save_file])
def test_a_truncated_file_is_named(tmp_path: Path, save: Save) -> None:
    path = tmp_path / "weights.pth"
    save(STATE, path)
    path.write_bytes(path.read_bytes()[:-500])
    assert "damaged" in refused(path)


@pytest.mark.parametrize("save", [torch.save, save_as_old_torch])
def test_pickled_code_is_never_executed(tmp_path: Path, save: Save) -> None:
    marker = tmp_path / "executed"
    state: dict[str, Tensor | Pickled] = {**STATE, "extra": Pickled(marker)}
    save(state, tmp_path / "weights.pth")
    assert "were not executed" in refused(tmp_path / "weights.pth")
    assert not marker.exists()


def test_models_of_activity_are_named(checkpoint: Path, exported: Path) -> None:
    assert "a checkpoint of activity: a whole recognizer" in refused(checkpoint)
    assert "a model exported as TorchScript" in refused(exported)
