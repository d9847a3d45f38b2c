import pytest
import torch
from torch.nn import functional as F

from activity.models.preprocess import Preprocess
from activity.models.resizing import resized_by_matrices
from tests.recognizers import tiny_preprocess

# Height and width, given and wanted: smaller, larger, one each, one side alone, a little, much, from almost nothing.
SIZES = [
    ((240, 320), (224, 224)),
    ((31, 47), (160, 160)),
    ((100, 300), (224, 224)),
    ((224, 500), (224, 224)),
    ((241, 333), (256, 353)),
    ((501, 500), (224, 223)),
    ((540, 1700), (64, 64)),
    ((6, 4), (7, 9)),
    ((1, 1), (5, 5)),
    ((9, 300), (30, 20)),
    ((50, 60), (50, 60)),
]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_every_pixel_is_that_of_torch_on_uint8(
    given: tuple[int, int], wanted: tuple[int, int], interpolation: str
) -> None:
    noise = torch.randint(0, 256, (2, 3, *given), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    edges = (noise > 127).to(torch.uint8) * 255  # a cubic goes beyond what a byte holds
    for frames in (noise, edges):
        expected = F.interpolate(frames, size=wanted, mode=interpolation, antialias=True, align_corners=False)
        found = resized_by_matrices(frames, list(wanted), interpolation)
        assert found.dtype == torch.uint8
        assert torch.equal(found, expected)


def test_autocast_does_not_touch_it() -> None:
    frames = torch.randint(0, 256, (1, 3, 100, 300), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(frames, size=(64, 64), mode="bicubic", antialias=True, align_corners=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resized_by_matrices(frames, [64, 64], "bicubic"), expected)


def test_much_smaller() -> None:
    frames = torch.randint(0, 256, (1, 3, 1100, 2000), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(frames, size=(64, 64), mode="bicubic", antialias=True, align_corners=False)
    assert torch.equal(resized_by_matrices(frames, [64, 64], "bicubic"), expected)


@pytest.mark.parametrize("framing", ["whole", "centre"])
def test_what_exporters_write_down_gives_the_same_pictures(framing: str) -> None:
    described = {**tiny_preprocess().describe(), "framing": framing}
    written, run = Preprocess(**described), Preprocess(**described)
    written.traced = True
    for size in [(40, 50), (50, 40), (41, 41), (9, 90)]:
        frames = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
        assert torch.equal(written.pictures(frames), run.pictures(frames))
        assert torch.equal(written(frames), run(frames))
