"""How much each modality is to count, found by cross-validation on the training clips before a head is trained."""

import itertools
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from activity.data.clips import class_indices
from activity.features.fill import StoredClip
from activity.features.store import FeatureStore
from activity.models.head import normalised

_SHARES = 4  # shares are counted in quarters
_RIDGES = (0.03, 0.1, 0.3, 1.0)
_FOLDS = 5
_MOST_CLIPS = 2000  # their kernel has so many rows: a solve takes about a second


def choose_modality_weights(
    store: FeatureStore, clips: Sequence[StoredClip], class_names: Sequence[str], *, num_modalities: int, seed: int
) -> list[float]:
    """Weights, 0 to 1 with the largest 1, by which a head multiplies each modality's normalised features.

    What a clip shows and how it moves do not say equally much, and a head fitted to few recordings cannot know: in
    training the scene tells every clip apart. Groups left out know. So a ridge classifier on the clips' mean features
    (Hoerl & Kennard 1970, in its dual form) is cross-validated by group for each mixture of the modalities' kernels;
    the one that has most clips right counts; among equals, the most even one.

    Args:
        store: where the features are.
        clips: those to train on, with their groups; no others.
        class_names: the order of the classes.
        num_modalities: how many stand side by side in a feature.
        seed: chooses clips where there are more than 2,000.

    Returns:
        A weight for each modality; all 1 where there is one modality, or one group.
    """
    groups = sorted({item.clip.group for item in clips})
    if num_modalities == 1 or len(groups) < 2:
        return [1.0] * num_modalities
    chosen = _drawn(clips, seed)
    kernels = _kernels(store, chosen, num_modalities)
    labels = torch.tensor(class_indices((item.clip for item in chosen), class_names))
    folds = _folds([item.clip.group for item in chosen])
    right = {shares: _right_at_best(kernels, shares, labels, folds) for shares in _mixtures(num_modalities)}
    best = max(right, key=lambda shares: (right[shares], -max(shares)))
    # A kernel is a product of two features: its share is the square of the features' weight.
    return [(share / max(best)) ** 0.5 for share in best]


def _mixtures(num_modalities: int) -> list[tuple[float, ...]]:
    """Shares of the modalities in quarters that sum to 1."""
    counts = itertools.product(range(_SHARES + 1), repeat=num_modalities)
    return [tuple(count / _SHARES for count in row) for row in counts if sum(row) == _SHARES]


def _drawn(clips: Sequence[StoredClip], seed: int) -> list[StoredClip]:
    if len(clips) <= _MOST_CLIPS:
        return list(clips)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))[:_MOST_CLIPS]
    return [clips[position] for position in sorted(order.tolist())]


def _kernels(store: FeatureStore, clips: Sequence[StoredClip], num_modalities: int) -> Tensor:
    """Products `float64 (M, N, N)` of the clips' mean features in each modality, around the mean of all clips."""
    means = torch.stack([normalised(store.read(item.key)[None], num_modalities)[0].mean(dim=0) for item in clips])
    parts = means.double().view(len(clips), num_modalities, -1).transpose(0, 1)  # (M, N, D / M)
    parts = parts - parts.mean(dim=1, keepdim=True)
    return parts @ parts.transpose(1, 2) / parts.shape[2]


def _folds(groups: Sequence[str]) -> list[Tensor]:
    """Positions of the clips of each fold; whole groups, large ones first, each into the smallest fold."""
    sizes = Counter(groups)
    parts: list[set[str]] = [set() for _ in range(min(_FOLDS, len(sizes)))]
    filled = [0] * len(parts)
    for group, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        smallest = filled.index(min(filled))
        parts[smallest].add(group)
        filled[smallest] += size
    return [torch.tensor([row for row, group in enumerate(groups) if group in part]) for part in parts]


def _right_at_best(kernels: Tensor, shares: tuple[float, ...], labels: Tensor, folds: list[Tensor]) -> int:
    """How many held-out clips a mixture has right, at the ridge that suits it best."""
    kernel = torch.einsum("m,mij->ij", torch.tensor(shares, dtype=kernels.dtype), kernels)
    targets = torch.nn.functional.one_hot(labels).to(kernel.dtype)
    return max(_right(kernel, targets, labels, folds, ridge) for ridge in _RIDGES)


def _right(kernel: Tensor, targets: Tensor, labels: Tensor, folds: list[Tensor], ridge: float) -> int:
    right = 0
    for test in folds:
        kept = torch.ones(len(labels), dtype=torch.bool)
        kept[test] = False
        mean = targets[kept].mean(dim=0)
        regularised = kernel[kept][:, kept] + ridge * torch.eye(int(kept.sum()), dtype=kernel.dtype)
        scores = kernel[test][:, kept] @ torch.linalg.solve(regularised, targets[kept] - mean) + mean
        right += int((scores.argmax(dim=1) == labels[test]).sum())
    return right
