from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from activity.video.errors import VideoError
from activity.video.reader import VideoReader
from activity.video.writer import SUFFIXES, VideoWriter
from tests.videos import Pixels


def grey(width: int = 160, height: int = 120) -> Pixels:
    return np.full((height, width, 3), 200, np.uint8)


def test_formats_and_suffixes_are_the_same(tmp_path: Path) -> None:
    for suffix in (*SUFFIXES, ".WEBM"):
        with VideoWriter(tmp_path / f"a{suffix}", suffix=suffix, name="a", rate=Fraction(5)) as writer:
            writer.write(grey(), 0.0)
        assert len(list(VideoReader(tmp_path / f"a{suffix}"))) == 1


def test_frames_of_another_size_are_fitted(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.webm", suffix=".webm", name="out", rate=Fraction(10)) as writer:
        writer.write(grey(64, 48), 0.0)
        writer.write(grey(120, 80), 0.1)
    assert [frame.pixels.shape for frame in VideoReader(tmp_path / "out.webm")] == [(48, 64, 3)] * 2


def test_what_the_encoder_cannot_take(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match=r"mine\.mp4: .* 20000 x 2 pixels"),
        VideoWriter(tmp_path / "out", suffix=".mp4", name="mine.mp4", rate=Fraction(25)) as writer,
    ):
        writer.write(grey(20_000, 2), 0.0)
