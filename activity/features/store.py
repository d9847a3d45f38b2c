"""Feature sequences on disk, keyed by all that they depend on."""

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from activity.files import write_atomically

# Part of every key. Raise it when the same key would name other numbers: a changed sampling rule, say.
STORE_VERSION = 2
ARITHMETIC = "float32"  # what the encoder computes in


class StoreWarning(UserWarning):
    """An entry of the store that cannot be trusted, and is computed again."""


@dataclass(frozen=True)
class FeatureKey:
    """What a clip's features depend on.

    Attributes:
        content: digest of the video file's bytes (`video_digest`).
        span: first sampled frame and the one after the last; -1 for "to the end of the video".
        sample_fps: sampled frames a second.
        encoder: `FrameEncoder.describe()`: name, modalities, every number of the preprocessing.
        weights: `FrameEncoder.weights_hash()`.
    """

    content: str
    span: tuple[int, int]
    sample_fps: float
    encoder: dict[str, Any]
    weights: str

    def text(self) -> str:
        """The key as JSON: equal keys, equal text."""
        return json.dumps({"version": STORE_VERSION, "arithmetic": ARITHMETIC, **self.__dict__}, sort_keys=True)


class FeatureStore:
    """A folder of feature sequences, one safetensors file each.

    An entry is written under another name, synced and renamed, so it is there whole or not at all. It carries its key
    and a digest of its numbers: a stale, foreign or damaged entry is never read.

    Args:
        root: the folder; made when the first entry is written.

    >>> import tempfile
    >>> store = FeatureStore(Path(tempfile.mkdtemp()))
    >>> key = FeatureKey("digest", (0, -1), 10.0, {"name": "efficientnet_lite0"}, "hash")
    >>> key in store
    False
    >>> store.write(key, torch.ones(4, 3))
    >>> store.length(key), tuple(store.read(key, 1, 3).shape)
    (4, (2, 3))
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).expanduser()

    def __contains__(self, key: FeatureKey) -> bool:
        """Whether a whole and sound entry is there. Reads all of it; a damaged one is named in a `StoreWarning`."""
        path = self.path(key)
        if not path.exists():
            return False
        try:
            with safetensors.safe_open(path, framework="pt") as entry:
                metadata = entry.metadata() or {}
                digest = _digest(entry.get_tensor("features"))
            sound = metadata.get("key") == key.text() and metadata.get("digest") == digest
        except (safetensors.SafetensorError, OSError):
            sound = False
        if not sound:
            message = f"{path}: stored features are damaged; computing them again."
            warnings.warn(message, StoreWarning, stacklevel=2)
        return sound

    def length(self, key: FeatureKey) -> int:
        """The number of features T of an entry."""
        with safetensors.safe_open(self.path(key), framework="pt") as entry:
            return int(entry.get_slice("features").get_shape()[0])

    def read(self, key: FeatureKey, start: int = 0, stop: int | None = None) -> Tensor:
        """Features `float32 (stop - start, D)` of an entry; reads only that part of the file."""
        with safetensors.safe_open(self.path(key), framework="pt") as entry:
            features: Tensor = entry.get_slice("features")[start:stop]
        return features

    def write(self, key: FeatureKey, features: Tensor) -> None:
        """Store features `float32 (T, D)`, replacing what was there.

        Raises:
            OSError: the folder cannot be written, or the disk is full; no half-written entry is left.
        """
        path = self.path(key)
        features = features.detach().to("cpu", torch.float32).contiguous()
        metadata = {"key": key.text(), "digest": _digest(features)}
        data = safetensors.torch.save({"features": features}, metadata)
        write_atomically(path, data)

    def path(self, key: FeatureKey) -> Path:
        """Where the entry of `key` is or would be."""
        name = hashlib.blake2b(key.text().encode(), digest_size=20).hexdigest()
        return self.root / name[:2] / f"{name}.safetensors"


def video_digest(path: Path) -> str:
    """Digest of a file's bytes: the same video under another name has the same features."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


def _digest(features: Tensor) -> str:
    return hashlib.blake2b(features.numpy().tobytes(), digest_size=16).hexdigest()
