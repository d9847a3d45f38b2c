"""Fine-tuning says beforehand where most of its time would go into decoding what no window shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from activity.features.store import FeatureStore
from activity.training.finetune import _of_long_ways
from activity.training.frames import FrameWindowLoader
from tests.training.stored import counting_features, stored_clip


def seconds(folder: Path, *, start: int, length: int, clips: int = 4) -> tuple[float, float]:
    item = stored_clip(FeatureStore(folder), "a", "run", counting_features(length))
    item = replace(item, key=replace(item.key, span=(start, start + length)))
    loader = FrameWindowLoader(
        [item] * clips,
        ["run", "walk"],
        window_frames=20,
        rgb_every=1,
        clips_at_once=2,
        step_clips=4,
        balanced=False,
        flip=False,
        smallest_crop=1.0,
        decode_threads=1,
    )
    return loader.seconds()


def test_what_an_epoch_decodes_is_told_from_what_it_shows(tmp_path: Path) -> None:
    # 10 sampled frames a second; windows of 2 s begin 0 to 4 s after the start of the clip, at 600 s.
    assert seconds(tmp_path, start=6000, length=60) == pytest.approx((4 * 604, 4 * 2))
    assert seconds(tmp_path, start=0, length=10) == pytest.approx((4 * 1, 4 * 1))  # shorter than a window
    # Three clips make a step of four: one of them is drawn twice, any one.
    assert seconds(tmp_path, start=6000, length=60, clips=3) == pytest.approx((4 * 604, 4 * 2))


def test_it_is_said_where_windows_lie_late_in_long_videos(tmp_path: Path) -> None:
    warning = _of_long_ways(*seconds(tmp_path, start=6000, length=60))
    assert warning is not None
    assert "about 40 minutes of video an epoch, of which the windows show 8 seconds" in warning
    assert "Cut long videos into one file a clip first" in warning
    assert _of_long_ways(*seconds(tmp_path, start=0, length=60)) is None
