from pathlib import Path

import pytest
import torch

from activity.features.store import FeatureKey, FeatureStore
from activity.training.datasets import FeatureMemory, WindowDataset
from activity.video.sampling import window_starts
from tests.training.stored import counting_features, stored_clip

WINDOW = 4


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def dataset(store: FeatureStore, lengths: list[int], *, random_window: bool) -> WindowDataset:
    clips = [
        stored_clip(store, f"{position}.mp4", ("run", "walk")[position % 2], counting_features(length))
        for position, length in enumerate(lengths)
    ]
    return WindowDataset(store, clips, ["run", "walk"], window_frames=WINDOW, random_window=random_window)


def test_random_windows_stay_inside_the_clip_and_reach_both_ends(store: FeatureStore) -> None:
    torch.manual_seed(0)
    clip = dataset(store, [7], random_window=True)
    starts = set()
    for _ in range(60):
        (window,) = clip[0].windows
        assert torch.equal(window[:, 0], window[0, 0] + torch.arange(4.0))
        starts.add(int(window[0, 0]))
    assert starts == {1, 2, 3, 4}


def test_a_clip_shorter_than_a_window_is_padded_and_its_length_said(store: FeatureStore) -> None:
    for random_window in (True, False):
        clips = dataset(store, [2, 4], random_window=random_window)
        batch = clips.collate([clips[0], clips[1]])
        assert batch.features.shape == (2, WINDOW, 3)
        assert batch.lengths.tolist() == [2, 4]
        assert batch.features[0, :, 0].tolist() == [1, 2, 0, 0]
        assert batch.features[1, :, 0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("length", [1, 4, 5, 6, 7, 12])
def test_all_windows_are_those_of_prediction(store: FeatureStore, length: int) -> None:
    windows = dataset(store, [length], random_window=False)[0].windows
    assert [int(window[0, 0]) - 1 for window in windows] == window_starts(length, WINDOW)
    assert all(len(window) == min(length, WINDOW) for window in windows)


def test_a_batch_says_which_window_is_of_which_clip_and_class(store: FeatureStore) -> None:
    clips = dataset(store, [7, 3, 8], random_window=False)
    batch = clips.collate([clips[position] for position in range(3)])
    assert batch.clips.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert batch.labels.tolist() == [0, 1, 0]
    assert batch.lengths.tolist() == [4, 4, 4, 3, 4, 4, 4]
    assert batch.features.dtype == torch.float32
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.features, batch.features)


class CountingStore(FeatureStore):
    """Notes how many features are read of which entry."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[tuple[str, int]] = []

    def read(self, key: FeatureKey, start: int = 0, stop: int | None = None) -> torch.Tensor:
        features = super().read(key, start, stop)
        self.reads.append((key.content, len(features)))
        return features


def test_what_does_not_fit_into_memory_is_read_in_parts_only(tmp_path: Path) -> None:
    """Also once the memory is nearly, but never quite, used up."""
    store = CountingStore(tmp_path)
    keys = [stored_clip(store, name, "run", counting_features(10)).key for name in ("first", "second", "third")]
    small = stored_clip(store, "small", "run", counting_features(2)).key
    memory = FeatureMemory(store, int(1.5 * 10 * 3 * 4))
    for _ in range(2):
        for key in (*keys, small):
            assert memory.read(key, 1, 3)[:, 0].tolist() == [2.0, 3.0][: store.shape(key)[0] - 1]
    parts = [("second", 2), ("third", 2)]
    assert store.reads == [("first", 10), *parts, ("small", 2), *parts]  # kept: not read again
