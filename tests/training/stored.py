"""Stored clips made of numbers, without videos."""

from pathlib import Path

import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features.fill import StoredClip
from activity.features.store import FeatureKey, FeatureStore


def stored_clip(store: FeatureStore, name: str, label: str, features: Tensor) -> StoredClip:
    """Write features `(T, D)` as those of a clip."""
    key = FeatureKey(content=name, span=(0, -1), sample_fps=10.0, encoder={"name": "numbers"}, weights="none")
    store.write(key, features)
    clip = Clip(path=Path("/videos", name), relative_path=name, label=label, group=name)
    return StoredClip(clip, key, len(features))


def counting_features(length: int, size: int = 3) -> Tensor:
    """Features `(length, size)` whose every number is 1, 2, 3, ... in time: padding is 0."""
    return torch.arange(1.0, length + 1).unsqueeze(1).expand(length, size).clone()
