"""What the doctor says of files and classes that training cannot use as they are."""

from pathlib import Path

import pytest

from tests.cli.test_doctor import PATTERN, diagnose, findings, moving_frames, write_set
from tests.videos import cut_off, noise_frames, spoil, write_video


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def test_a_loss_too_small_to_be_told_by_the_time_is_found(root: Path) -> None:
    cut_off(write_video(root / "run" / "actor0.avi", noise_frames(75)), 0.95)
    faststart = {"movflags": "faststart"}
    cut_off(write_video(root / "run" / "actor1.mp4", moving_frames(1), container_options=faststart), 0.9)
    spoil(write_video(root / "walk" / "actor0.avi", noise_frames(75)), 0.4, 0.5)
    document = diagnose(root, *PATTERN, code=1)
    found = findings(document)
    assert found["cut-off"] == ("error", [["run/actor0.avi"], ["run/actor1.mp4"]])
    assert found["damaged"] == ("error", [["walk/actor0.avi"]])
    assert "bytes that it declares are missing" in document["videos"][0]["damage"]
