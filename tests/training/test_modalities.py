"""Which modality counts is found on groups left out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.training.modalities import choose_head_settings
from tests.training.stored import stored_clip

SIZE = 24  # of each modality
NAMES = ["run", "walk"]


def clips_in(folder: Path, *, told_by: str, groups: int = 8) -> tuple[FeatureStore, list[StoredClip]]:
    """Four clips a group. The first modality shows the group's room, the second noise; `told_by` also the class."""
    store = FeatureStore(folder)
    generator = torch.Generator().manual_seed(0)
    look = torch.randn(2, SIZE, generator=generator)  # of each class
    clips = []
    for group in range(groups):
        room = 4 * torch.randn(SIZE, generator=generator)
        for number in range(4):
            label = (group + (number == 3)) % 2  # mostly one class a room: seen from within, the room tells it
            first = room + (look[label] if told_by in ("first", "both") else 0)
            second = torch.randn(SIZE, generator=generator) + (
                0.7 * look[label] if told_by in ("second", "both") else 0
            )
            noise = 0.1 * torch.randn(5, 2 * SIZE, generator=generator)
            stored = stored_clip(store, f"{group}-{number}", NAMES[label], torch.cat([first, second]) + noise)
            clip = Clip(
                path=stored.clip.path,
                relative_path=stored.clip.relative_path,
                label=stored.clip.label,
                group=f"room{group}",
            )
            clips.append(StoredClip(clip, stored.key, stored.length))
    return store, clips


def found_weights(
    store: FeatureStore, clips: list[StoredClip], modalities: int = 2, names: Sequence[str] = NAMES
) -> list[float]:
    found = choose_head_settings(store, clips, names, num_modalities=modalities, seed=0)
    return list(found["modality_weights"])


def weights(folder: Path, **changes: object) -> list[float]:
    store, clips = clips_in(folder, **changes)  # type: ignore[arg-type]
    return found_weights(store, clips)


def test_what_says_nothing_of_other_groups_does_not_count(tmp_path: Path) -> None:
    rooms, movement = weights(tmp_path, told_by="second")
    assert movement == 1.0
    assert rooms < 0.6


def test_it_may_be_the_other_one(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, told_by="second")
    for item in clips:  # the two modalities exchanged
        features = store.read(item.key)
        store.write(item.key, torch.cat([features[:, SIZE:], features[:, :SIZE]], dim=1))
    movement, rooms = found_weights(store, clips)
    assert movement == 1.0
    assert rooms < 0.6


def test_where_both_say_all_one_is_enough(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, told_by="both")
    show(store, clips, torch.randn(2, 2 * SIZE, generator=torch.Generator().manual_seed(0)))
    assert sorted(found_weights(store, clips)) == [0.0, 1.0]


def test_where_each_says_what_the_other_does_not_both_count(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, told_by="both", groups=12)
    names = ["run left", "run right", "walk left", "walk right"]
    clips = [replace(item, clip=replace(item.clip, label=names[number % 4])) for number, item in enumerate(clips)]
    gait, way = torch.randn(2, 2, SIZE, generator=torch.Generator().manual_seed(0))
    show(store, clips, torch.stack([torch.cat([gait[label // 2], way[label % 2]]) for label in range(4)]), names)
    assert min(found_weights(store, clips, names=names)) > 0.5


def show(store: FeatureStore, clips: list[StoredClip], looks: Tensor, names: Sequence[str] = NAMES) -> None:
    """Make each clip's features the look of its class, with a little noise."""
    generator = torch.Generator().manual_seed(0)
    for item in clips:
        noise = 0.1 * torch.randn(5, 2 * SIZE, generator=generator)
        store.write(item.key, looks[names.index(item.clip.label)] + noise)


def test_noisy_features_ask_for_smaller_weights(tmp_path: Path) -> None:
    penalties = []
    for noise in (0.0, 3.0):
        store, clips = clips_in(tmp_path / str(noise), told_by="both")
        generator = torch.Generator().manual_seed(0)
        for item in clips:
            features = store.read(item.key)
            store.write(item.key, features + noise * torch.randn(2 * SIZE, generator=generator))
        found = choose_head_settings(store, clips, NAMES, num_modalities=2, seed=0)
        penalties.append(found["mean_penalty"])
    assert 0 < penalties[0] < penalties[1]


def test_one_group_leaves_nothing_out_and_no_penalty_to_find(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, told_by="second", groups=1)
    found = choose_head_settings(store, clips, NAMES, num_modalities=2, seed=0)
    assert found == {"modality_weights": [1.0, 1.0], "mean_penalty": 0.0}


@pytest.mark.parametrize(("modalities", "groups"), [(1, 8), (2, 1)])
def test_one_modality_or_one_group_leaves_nothing_to_find(tmp_path: Path, modalities: int, groups: int) -> None:
    store, clips = clips_in(tmp_path, told_by="second", groups=groups)
    found = found_weights(store, clips, modalities)
    assert found == [1.0] * modalities


def test_where_one_group_is_drawn_nothing_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activity.training.modalities._drawn", lambda clips, seed: clips[:4])  # of the first group
    store, clips = clips_in(tmp_path, told_by="second", groups=2)
    found = choose_head_settings(store, clips, NAMES, num_modalities=2, seed=0)
    assert found == {"modality_weights": [1.0, 1.0], "mean_penalty": 0.0}


def test_many_clips_are_drawn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activity.training.modalities._MOST_CLIPS", 20)
    store, clips = clips_in(tmp_path, told_by="second")
    read: list[str] = []
    original = store.read
    monkeypatch.setattr(store, "read", lambda key: read.append(key.content) or original(key))
    first = found_weights(store, clips)
    assert len(set(read)) == 20
    assert first == found_weights(store, clips)
