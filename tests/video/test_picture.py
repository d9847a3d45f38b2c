"""A frame that is shrunk as it is converted shows what the whole one shows."""

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorTrc

from activity.video.picture import Converter

SCENE = cv2.resize(np.random.default_rng(0).integers(60, 200, (6, 8, 3), dtype=np.uint8), (640, 360))

HIGHLIGHTS = SCENE.copy()
HIGHLIGHTS[::24, ::24] = 230  # small and far brighter than white


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p", "nv12", "rgb24", "bgra"])
@pytest.mark.parametrize("size", [(640, 360), (127, 97), (6000, 40)])
def test_in_every_format_and_size(pixel_format: str, size: tuple[int, int]) -> None:
    frame = av.VideoFrame.from_ndarray(cv2.resize(SCENE, size), format="rgb24").reformat(format=pixel_format)
    assert_alike(frame)


@pytest.mark.parametrize("transfer", [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_in_hdr_and_with_every_matrix(transfer: ColorTrc, matrix: int) -> None:
    frame = av.VideoFrame.from_ndarray(HIGHLIGHTS, format="rgb24").reformat(format="yuv420p10le")
    frame.color_trc, frame.colorspace = transfer, matrix
    assert_alike(frame)


def assert_alike(frame: av.VideoFrame) -> None:
    expected = cv2.resize(Converter().rgb(frame), (16, 16), interpolation=cv2.INTER_AREA)
    small = Converter().rgb(frame, side=64)
    assert small.shape == (64, 64, 3)
    small = cv2.resize(small, (16, 16), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() <= 4
    assert np.corrcoef(small.ravel(), expected.ravel())[0, 1] > 0.995
