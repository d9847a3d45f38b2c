"""The projection of features before the LSTM: the principal components of what changes in the training clips."""

from collections.abc import Sequence

import torch
from torch import Tensor

from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.models.head import MeanPool, StackedLSTM
from activity.models.pooling import normalised

_MOST_CLIPS = 500  # more say nothing new of a hundred directions
_MOST_FEATURES = 5000
_POWER_ITERATIONS = 2
_LEAST_VARIANCE = 1e-6  # of features with a variance of 1: below it nothing changes but the last digits


def prepare_head(head: StackedLSTM | MeanPool, store: FeatureStore, clips: Sequence[StoredClip], *, seed: int) -> None:
    """Set a fresh head's projection to the principal components of its training clips' changes.

    A change is a normalised feature less its clip's mean. Each modality has an equal share of the directions, found by
    itself (Halko, Martinsson & Tropp 2011) and scaled so that what is projected has a variance of 1 in the mean: the
    LSTM meets both alike, and their weights say how much each counts.

    Args:
        head: its `projection` is set; one that has none stays as it is.
        store: where the features are.
        clips: those to train on; no others.
        seed: chooses clips and features where there are many.
    """
    if isinstance(head, MeanPool):
        return
    modalities = len(head.modality_weights)
    parts = _changes(store, clips, modalities, seed).chunk(modalities, dim=1)  # (N, D / M) each
    # svd_lowrank draws at random: the same directions for the same clips, and nothing taken from the caller's dice.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = [_principal_directions(part, count) for part, count in zip(parts, head.directions, strict=True)]
    head.set_projection(torch.block_diag(*found))


def _changes(store: FeatureStore, clips: Sequence[StoredClip], num_modalities: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(clips), generator=generator)[:_MOST_CLIPS].tolist()
    share = max(1, _MOST_FEATURES // len(drawn))
    changes = []
    for number in sorted(drawn):
        features = normalised(store.read(clips[number].key)[None], num_modalities)[0]  # (T, D)
        some = torch.randperm(len(features), generator=generator)[:share]
        changes.append(features[some] - features.mean(dim=0))
    return torch.cat(changes)


def _principal_directions(changes: Tensor, count: int) -> Tensor:
    """Rows `(count, D)`; zeros for those that so few changes `(N, D)` do not have."""
    rank = min(count, *changes.shape)
    _, deviations, directions = torch.svd_lowrank(changes, q=rank, niter=_POWER_ITERATIONS)
    variance = deviations.square().sum() / (len(changes) * rank)
    rows = changes.new_zeros(count, changes.shape[1])
    rows[:rank] = directions.T / variance.clamp_min(_LEAST_VARIANCE).sqrt()
    return rows
