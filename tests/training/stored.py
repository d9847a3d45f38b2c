"""Stored clips made of numbers, without videos."""

from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.outcome import StoredClip
from activity.features.store import FeatureKey, FeatureStore


def stored_clip(store: FeatureStore, name: str, label: str, features: Tensor) -> StoredClip:
    """Write features `(T, D)` as those of a clip."""
    store.write(named_key(name), features)
    return StoredClip(named_clip(name, label), named_key(name), len(features))


def named_key(name: str) -> FeatureKey:
    """The key of the features of a clip of that name."""
    return FeatureKey(content=name, span=(0, -1), sample_fps=10.0, encoder={"name": "numbers"}, weights="none")


def named_clip(name: str, label: str) -> Clip:
    """A clip that is a group by itself."""
    return Clip(path=Path("/videos", name), relative_path=name, label=label, group=name)


def counting_features(length: int, size: int = 3) -> Tensor:
    """Features `(length, size)` whose every number is 1, 2, 3, ... in time: padding is 0."""
    return torch.arange(1.0, length + 1).unsqueeze(1).expand(length, size).clone()
