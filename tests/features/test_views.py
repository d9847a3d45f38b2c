from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from activity.features.fill import fill_store
from activity.features.store import FeatureStore
from activity.features.views import PLAIN, VIEWS, View, first_views
from activity.video.reader import VideoReader
from tests.features.test_fill import CPU, clip_of, forbid_decoding
from tests.recognizers import tiny_encoder
from tests.videos import noise_frames, write_video

FRAME = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)


def test_view_k_is_the_same_whatever_the_number_of_views() -> None:
    for flip in (True, False):
        longest = first_views(12 if flip else 6, flip=flip)
        assert all(first_views(count, flip=flip) == longest[:count] for count in range(1, len(longest) + 1))
        assert longest[0] == PLAIN
        assert len(set(longest)) == len(longest)
    assert len(VIEWS) == 12


def test_where_left_and_right_tell_classes_apart_no_view_flips() -> None:
    assert not any(view.flip for view in first_views(6, flip=False))
    with pytest.raises(ValueError, match=r"data\.views is 7; accepted: 1 .* to 6 without flips \(data\.flip=false\)"):
        first_views(7, flip=False)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_a_part_of_the_frame(view: View) -> None:
    shown = view.apply(FRAME)
    height, width = round(view.crop * 10), round(view.crop * 20)
    assert shown.shape == (height, width, 3)
    assert shown.flags.c_contiguous
    back = shown[:, ::-1] if view.flip else shown
    places = [
        (top, left)
        for top in range(11 - height)
        for left in range(21 - width)
        if np.array_equal(FRAME[top : top + height, left : left + width], back)
    ]
    assert places


def test_crops_lie_where_they_are_said_to() -> None:
    assert np.array_equal(View(crop=0.5, left=0.0, top=1.0).apply(FRAME), FRAME[5:, :10])
    assert np.array_equal(View(crop=0.5, left=1.0, top=0.0).apply(FRAME), FRAME[:5, 10:])


def test_views_are_stored_beside_the_plain_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_video(tmp_path / "clip.mp4", noise_frames(50), fps=25)
    store, encoder, clips = FeatureStore(tmp_path / "store"), tiny_encoder("rgb", "motion"), [clip_of(video)]
    views = (PLAIN, View(flip=True), View(crop=0.5), View(rate=1.25), View(flip=True, rate=0.5))
    opened: list[Path] = []

    class CountingReader(VideoReader):
        def __init__(self, source: Path, **options: Any) -> None:
            opened.append(source)
            super().__init__(source, **options)

    def fill(count: int) -> list[torch.Tensor]:
        [stored], failed = fill_store(
            store,
            clips,
            encoder,
            sample_fps=5.0,
            batch_frames=4,
            decode_threads=2,
            device=CPU,
            on_progress=lambda _: None,
            views_of=lambda _: views[:count],
        )
        assert failed == []
        return [store.read(key) for key in (stored.key, *(view.key for view in stored.views))]

    monkeypatch.setattr("activity.features.extract.VideoReader", CountingReader)
    (plain,) = fill(1)
    found = fill(5)
    assert len(opened) == 1 + 3  # of the further views: two share a rate with the plain one, the others have their own
    assert torch.equal(found[0], plain)
    for view, features in zip(views, found, strict=True):
        with VideoReader(video) as reader:
            frames = [view.apply(frame.pixels) for frame in reader.sampled_frames(5.0 / view.rate)]
        expected = encoder(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[None])[0]
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)
    assert [len(features) for features in found] == [10, 10, 10, 8, 20]
    forbid_decoding(monkeypatch)
    assert len(fill(3)) == 3


def test_every_number_of_a_view_is_in_its_key() -> None:
    from tests.features.test_store import KEY

    others = [View(flip=True), View(crop=0.9), View(left=0.1), View(top=0.1), View(rate=1.1)]
    names = {replace(KEY, view=view.describe()).name() for view in (PLAIN, *others)}
    assert len(names) == 6 == len(PLAIN.describe()) + 1
