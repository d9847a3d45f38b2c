"""Feature sequences on disk, keyed by all that they depend on."""

import contextlib
import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import safetensors
import torch
from torch import Tensor

from activity.features import contents
from activity.features.remembered import FileMemory, file_state
from activity.features.views import PLAIN
from activity.files import write_atomically

# Part of every key, and a folder of its own. Raise it when the same key would name other numbers: a changed sampling
# rule, say.
STORE_VERSION = 5
_BLOCK_BYTES = 1 << 20
_CHECKED = "checked.json"


class StoreWarning(UserWarning):
    """What the store holds that cannot be used, and is computed again."""


class StoreError(OSError):
    """The store cannot be written: where, why, and what to do."""


@dataclass(frozen=True)
class FeatureKey:
    """What a clip's features depend on.

    Attributes:
        content: digest of the video file's bytes (`video_digest`).
        span: first sampled frame and the one after the last; -1 for "to the end of the video".
        sample_fps: sampled frames a second.
        encoder: `FrameEncoder.describe()`: name, modalities, precision, every number of the preprocessing. One object,
            shared by the keys of a data set.
        weights: `FrameEncoder.weights_hash()`.
        view: `View.describe()`: how the frames were shown; shared likewise.
    """

    content: str
    span: tuple[int, int]
    sample_fps: float
    encoder: dict[str, Any]
    weights: str
    view: dict[str, Any] = field(default_factory=PLAIN.describe)

    def text(self) -> str:
        """The key as JSON: equal keys, equal text."""
        return json.dumps({"version": STORE_VERSION, **self.__dict__}, sort_keys=True)

    def name(self) -> str:
        """A digest of it, which names the entry."""
        return hashlib.blake2b(self.text().encode(), digest_size=20).hexdigest()


@dataclass(frozen=True)
class Entry:
    """What the store says of an entry that is whole and sound.

    Attributes:
        length: features T.
        duration_seconds: of the video, where it ends within the span; None where it goes on.
        damage: what was missing of a video that ends within the span, or None.
    """

    length: int
    duration_seconds: float | None = None
    damage: str | None = None


class FeatureStore:
    """A folder of feature sequences, one safetensors file each.

    An entry is written under another name, synced and renamed, so it is there whole or not at all. It carries its key
    and a digest of its numbers: a stale, foreign or damaged entry is never taken for a good one.

    Args:
        root: the folder; made when the first entry is written.

    >>> import tempfile
    >>> store = FeatureStore(Path(tempfile.mkdtemp()))
    >>> key = FeatureKey("digest", (0, -1), 10.0, {"name": "efficientnet_lite0"}, "hash")
    >>> key in store
    False
    >>> store.write(key, torch.ones(4, 3))
    >>> store.shape(key), tuple(store.read(key, 1, 3).shape)
    ((4, 3), (2, 3))
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).expanduser()

    def __contains__(self, key: FeatureKey) -> bool:
        """Whether a whole and sound entry is there; see `find`."""
        return self.find(key) is not None

    def find(self, key: FeatureKey, *, checked: FileMemory | None = None) -> Entry | None:
        """What is there under a key; a damaged entry is named in a `StoreWarning` and is not there.

        Args:
            key: what the features depend on.
            checked: the entries that were found sound before, of `checked_entries`: one that has not changed since is
                not read again, and what is found sound now is noted there. None: read all of it.
        """
        path, name = self.path(key), key.name()
        try:
            state = file_state(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        known = None if checked is None else checked.recall(name, state)
        if known is not None:
            length, duration_seconds, damage = known
            return Entry(cast(int, length), cast(float | None, duration_seconds), cast(str | None, damage))
        found = read_entry(path, key.text())
        if found is None:
            message = f"{path}: stored features are damaged; computing them again."
            warnings.warn(message, StoreWarning, stacklevel=2)
        elif checked is not None:
            checked.keep(name, state, [found.length, found.duration_seconds, found.damage])
        return found

    def checked_entries(self) -> FileMemory:
        """The entries that were read and found sound; `FileMemory` says what is trusted."""
        return FileMemory(self.root / _CHECKED, values=3, file_of=self._entry_path)

    def shape(self, key: FeatureKey) -> tuple[int, int]:
        """The number of features T of an entry, and their size D; reads none of them."""
        with safetensors.safe_open(self.path(key), framework="pt") as entry:
            length, size = entry.get_slice("features").get_shape()
        return int(length), int(size)

    def read(self, key: FeatureKey, start: int = 0, stop: int | None = None) -> Tensor:
        """Features `float32 (stop - start, D)` of an entry; reads only that part of the file."""
        with safetensors.safe_open(self.path(key), framework="pt") as entry:
            features: Tensor = entry.get_slice("features")[start:stop]
        return features

    def write(
        self, key: FeatureKey, features: Tensor, *, duration_seconds: float | None = None, damage: str | None = None
    ) -> None:
        """Store features `float32 (T, D)`, replacing what was there.

        Raises:
            StoreError: the folder cannot be written, or the disk is full; no half-written entry is left.
        """
        features = features.detach().to("cpu", torch.float32).contiguous()
        length, size = features.shape
        entry = Entry(length, duration_seconds, damage)
        self.write_blocks(key, entry, size, [features.numpy().reshape(-1).view("uint8").data])

    def write_blocks(self, key: FeatureKey, entry: Entry, size: int, blocks: Iterable[Any]) -> None:
        """Store features given as blocks of bytes, which are gone through twice: memory does not grow with them.

        Args:
            key: what they depend on.
            entry: what to say of them.
            size: D.
            blocks: `float32` numbers in C order, `entry.length * size` of them in all.

        Raises:
            StoreError: as `write`.
        """
        digest = hashlib.blake2b(digest_size=16)
        for block in blocks:
            digest.update(block)
        facts = {"duration_seconds": entry.duration_seconds, "damage": entry.damage}
        metadata = {"key": key.text(), "digest": digest.hexdigest(), "facts": json.dumps(facts)}
        with self.writing():
            write_atomically(self.path(key), itertools.chain([_header(metadata, entry.length, size)], blocks))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turns what goes wrong in writing into one message.

        Raises:
            StoreError: for an OSError.
        """
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"features cannot be stored in {self.root} ({error.strerror or error}: {error.filename or self.root}). "
                "What is stored by now stays. Make room there or let it be written, or give another "
                "features.store=FOLDER; then start again: it goes on where it was."
            ) from error

    def path(self, key: FeatureKey) -> Path:
        """Where the entry of `key` is or would be."""
        return self._entry_path(key.name())

    def _entry_path(self, name: str) -> Path:
        return self.entries / name[:2] / f"{name}{contents.ENTRY_SUFFIX}"

    @property
    def entries(self) -> Path:
        """The folder of this version's entries."""
        return self.root / f"v{STORE_VERSION}"

    @property
    def configurations(self) -> Path:
        """The folder in which the configurations that use the store leave their records."""
        return self.root / contents.CONFIGURATIONS

    def other_versions(self) -> list[Path]:
        """Folders with entries that another version of this program made; they are of no use to this one."""
        return contents.other_versions(self.root, self.entries)

    def size_bytes(self) -> int:
        """What the entries take, those of other versions too."""
        versions = [self.entries, *self.other_versions()]
        return sum(contents.size_of(path) for version in versions for path in contents.files_of_version(version))

    def sweep(self) -> None:
        """Remove what writers left that were killed."""
        for path in contents.abandoned_files(self.root, self.entries):
            with self.writing():
                path.unlink(missing_ok=True)


def read_entry(path: Path, key_text: str | None = None) -> Entry | None:
    """What an entry's file says of itself, or None where it is damaged or not of the key `key_text` (None: any)."""
    try:
        with safetensors.safe_open(path, framework="pt") as entry:
            metadata = entry.metadata() or {}
            length = int(entry.get_slice("features").get_shape()[0])
        facts = json.loads(metadata["facts"])
        sound = metadata["digest"] == _digest_of_data(path) and key_text in (None, metadata["key"])
        duration = facts["duration_seconds"]
        found = Entry(length, None if duration is None else float(duration), facts["damage"])
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError):
        return None
    return found if sound else None


def video_digest(path: Path) -> str:
    """Digest of a file's bytes: the same video under another name has the same features."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_digest).hexdigest()


def _new_digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=20)


def _header(metadata: dict[str, str], length: int, size: int) -> bytes:
    """What stands before the numbers in a safetensors file: the length of a JSON text (8 bytes), then that text."""
    tensor = {"dtype": "F32", "shape": [length, size], "data_offsets": [0, length * size * 4]}
    text = json.dumps({"__metadata__": metadata, "features": tensor}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _digest_of_data(path: Path) -> str:
    """Digest of the numbers in an entry, read block by block."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), os.SEEK_CUR)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
