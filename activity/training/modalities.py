"""What a head is told before it is trained, found by cross-validation on the training clips."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from activity.data.clips import class_indices
from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.models.pooling import normalised

_SHARES = 4  # shares are counted in quarters
_RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
_FOLDS = 5
_MOST_CLIPS = 1000  # their kernel has so many rows: all solves together take a second or two
# A ridge stands beside the halved squared error, whose curvature in a score is 1; the cross-entropy's in a logit is 1/4
# at even odds, and so much smaller is what weighs the same beside it. Half of it, since the penalty is not halved.
_RIDGE_TO_PENALTY = 0.125


def choose_head_settings(
    store: FeatureStore, clips: Sequence[StoredClip], class_names: Sequence[str], *, num_modalities: int, seed: int
) -> dict[str, Any]:
    """How much each modality counts and how small weights are to be, as a part of a head's `describe()`.

    What a clip shows and how it moves do not say equally much, and a head fitted to few recordings cannot know: in
    training the scene tells every clip apart. Groups left out know. So a ridge classifier on the clips' mean features
    (Hoerl & Kennard 1970, in its dual form) is cross-validated by group for each mixture of the modalities' kernels and
    each strength of the ridge, and the smallest squared error on the clips left out counts. One modality is kept by
    itself where a mixture is not better by a standard error: the rule of Breiman, Friedman, Olshen & Stone (1984,
    "Classification and regression trees", 3.4.3), since what tells little new is one more thing to learn by heart.

    Args:
        store: where the features are.
        clips: those to train on, with their groups; no others.
        class_names: the order of the classes.
        num_modalities: how many stand side by side in a feature.
        seed: chooses clips where there are more than 1,000.

    Returns:
        `modality_weights`, 0 to 1 with the largest 1, and `mean_penalty`, the ridge as a penalty of the mean
        cross-entropy. All 1 and no penalty where there is one group: nothing can be left out.
    """
    chosen = _drawn(clips, seed)
    if len({item.clip.group for item in chosen}) < 2:
        return {"modality_weights": [1.0] * num_modalities, "mean_penalty": 0.0}
    kernels, size = _kernels(store, chosen, num_modalities)
    labels = torch.tensor(class_indices([item.clip for item in chosen], class_names))
    targets = torch.nn.functional.one_hot(labels, len(class_names)).to(kernels.dtype)
    folds = _folds([item.clip.group for item in chosen])
    errors = {
        (shares, ridge): own
        for shares in _mixtures(num_modalities)
        for ridge, own in zip(_RIDGES, _errors(kernels, shares, targets, folds), strict=True)
    }
    shares, ridge = _fewest(errors)
    return {
        # A kernel is a product of two features: its share is the square of the features' weight.
        "modality_weights": [(share / max(shares)) ** 0.5 for share in shares],
        "mean_penalty": _RIDGE_TO_PENALTY * ridge * size / max(shares) / len(clips),
    }


def _mixtures(num_modalities: int) -> list[tuple[float, ...]]:
    """Shares of the modalities in quarters that sum to 1."""
    counts = itertools.product(range(_SHARES + 1), repeat=num_modalities)
    return [tuple(count / _SHARES for count in row) for row in counts if sum(row) == _SHARES]


def _drawn(clips: Sequence[StoredClip], seed: int) -> list[StoredClip]:
    if len(clips) <= _MOST_CLIPS:
        return list(clips)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))[:_MOST_CLIPS]
    return [clips[position] for position in sorted(order.tolist())]


def _kernels(store: FeatureStore, clips: Sequence[StoredClip], num_modalities: int) -> tuple[Tensor, int]:
    """Products `float64 (M, N, N)` of the clips' mean features in each modality around the mean of all, and D / M."""
    means = torch.stack([normalised(store.read(item.key)[None], num_modalities)[0].mean(dim=0) for item in clips])
    parts = means.double().view(len(clips), num_modalities, -1).transpose(0, 1)  # (M, N, D / M)
    parts = parts - parts.mean(dim=1, keepdim=True)
    return parts @ parts.transpose(1, 2) / parts.shape[2], parts.shape[2]


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


def _fewest(errors: dict[tuple[tuple[float, ...], float], Tensor]) -> tuple[tuple[float, ...], float]:
    """The mixture and ridge with the smallest error; with one modality, if that is within a standard error."""

    def error(tried: tuple[tuple[float, ...], float]) -> float:
        return float(errors[tried].mean())

    best = min(errors, key=error)
    single = min((tried for tried in errors if max(tried[0]) == 1.0), key=error)
    deviation = float(errors[best].std()) / len(errors[best]) ** 0.5
    return single if error(single) <= error(best) + deviation else best


def _errors(kernels: Tensor, shares: tuple[float, ...], targets: Tensor, folds: list[Tensor]) -> Tensor:
    """The squared error of a mixture on each clip, left out, at each ridge: `(R, N)`."""
    kernel = torch.einsum("m,mij->ij", torch.tensor(shares, dtype=kernels.dtype), kernels)
    errors = torch.empty(len(_RIDGES), len(targets), dtype=kernels.dtype)
    for test in folds:
        kept = torch.ones(len(targets), dtype=torch.bool)
        kept[test] = False
        own, mean = kernel[kept][:, kept], targets[kept].mean(dim=0)
        for number, ridge in enumerate(_RIDGES):
            factor = torch.linalg.cholesky(own + ridge * torch.eye(len(own), dtype=own.dtype))
            scores = kernel[test][:, kept] @ torch.cholesky_solve(targets[kept] - mean, factor) + mean
            errors[number, test] = (scores - targets[test]).square().sum(dim=1)
    return errors
