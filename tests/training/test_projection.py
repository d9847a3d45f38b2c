"""What the LSTM's features are projected on: what changes within the training clips, each modality by itself."""

from pathlib import Path

import torch

from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.models.pooling import normalised
from activity.training.projection import prepare_head
from tests.recognizers import lstm_head, mean_pool_head
from tests.training.stored import stored_clip

SIZE = 16  # of each modality


def clips_in(folder: Path, *, modalities: int, clips: int = 6) -> tuple[FeatureStore, list[StoredClip]]:
    """Clips that differ much from each other, in each of which one number a modality swings."""
    store, generator = FeatureStore(folder), torch.Generator().manual_seed(0)
    made = []
    for number in range(clips):
        features = torch.randn(SIZE * modalities, generator=generator).repeat(9, 1)
        for modality in range(modalities):
            features[:, SIZE * modality + 3] += torch.linspace(-2, 2, 9)
        made.append(stored_clip(store, str(number), "run", features))
    return store, made


def changes(store: FeatureStore, clips: list[StoredClip], modalities: int) -> torch.Tensor:
    units = [normalised(store.read(item.key)[None], modalities)[0] for item in clips]
    return torch.cat([unit - unit.mean(dim=0) for unit in units])


def test_the_first_direction_is_what_changes_and_not_what_differs_between_clips(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, modalities=2)
    head = lstm_head(2 * SIZE, modality_weights=[1.0, 1.0], projection_size=4)
    prepare_head(head, store, clips, seed=0)
    rows = head.projection.weight
    assert not rows[:2, SIZE:].any()
    assert not rows[2:, :SIZE].any()
    for first in (rows[0, :SIZE], rows[2, SIZE:]):
        assert int(first.abs().argmax()) == 3


def test_what_is_projected_has_a_variance_of_one_in_the_mean_of_each_modality(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, modalities=2)
    head = lstm_head(2 * SIZE, modality_weights=[1.0, 1.0], projection_size=4)
    prepare_head(head, store, clips, seed=0)
    projected = head.projection(changes(store, clips, 2))
    torch.testing.assert_close(projected[:, :2].square().mean(), torch.tensor(1.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(projected[:, 2:].square().mean(), torch.tensor(1.0), rtol=1e-3, atol=0)


def test_the_same_clips_give_the_same_directions_and_leave_the_dice_alone(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, modalities=1)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        expected = torch.rand(3, generator=torch.Generator().manual_seed(seed))
        head = lstm_head(SIZE)
        prepare_head(head, store, clips, seed=0)
        assert torch.equal(torch.rand(3), expected)
        found.append(head.projection.weight)
    assert torch.equal(*found)


def test_more_directions_than_there_are_changes_and_clips_that_stand_still(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    still = [stored_clip(store, "still", "run", torch.randn(SIZE).repeat(3, 1))]
    head = lstm_head(SIZE, projection_size=12)
    prepare_head(head, store, still, seed=0)
    assert head.projection.weight.isfinite().all()
    assert not head.projection.weight[3:].any()
    assert head(torch.randn(2, 4, SIZE), torch.tensor([4, 2])).isfinite().all()


def test_a_head_without_projection_stays_as_it_is(tmp_path: Path) -> None:
    store, clips = clips_in(tmp_path, modalities=1)
    head = mean_pool_head(SIZE)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    prepare_head(head, store, clips, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
