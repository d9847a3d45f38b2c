"""Who uses what is in a feature store: each configuration leaves a record, and what none needs can be removed."""

import contextlib
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity.features import contents
from activity.features.store import FeatureKey, FeatureStore, StoreError, read_entry
from activity.files import write_atomically

_RECORD = re.compile(r"[0-9a-f]{24}-[a-z]+\.json")
_UNUSED = "used by no current configuration"


@dataclass(frozen=True)
class Use:
    """A configuration that uses a store.

    Attributes:
        data: the data set: its folder, or its tables (files, folders or patterns) and the folder of its videos.
        settings: all that its features depend on but the videos, as plain Python.
        selection: all that says which clips of the data set these are, as plain Python: two official splits, say, or
            two seeds of a random one, are two configurations that need other entries.
        verb: what was run; `train` needs fewer views than `extract`.
    """

    data: tuple[Path, ...]
    settings: Mapping[str, Any]
    selection: Mapping[str, Any]
    verb: str

    def record_name(self) -> str:
        """Names the record: the same configuration replaces its own, and no other's."""
        text = json.dumps([[str(path) for path in self.data], self.settings, self.selection], sort_keys=True)
        return f"{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}-{self.verb}.json"


@dataclass(frozen=True)
class Removed:
    """What `prune` removed for one reason: how many files, and their bytes."""

    reason: str
    files: int
    size_bytes: int


@dataclass(frozen=True)
class Pruned:
    """What `prune` did.

    Attributes:
        removed: what was removed, by reason.
        missing: the data sets that cannot be found and whose features were kept.
    """

    removed: tuple[Removed, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Record:
    """What a configuration wrote down."""

    data: tuple[str, ...]
    settings: object
    entries: frozenset[str]

    def missing(self) -> list[str]:
        """What of its data set cannot be found."""
        there = (os.path.exists(path) or any(glob.iglob(path)) for path in self.data)  # noqa: PTH110, PTH207
        return [path for path, found in zip(self.data, there, strict=True) if not found]


def record_use(store: FeatureStore, use: Use, keys: Iterable[FeatureKey]) -> None:
    """Write down which entries a configuration uses, before any of them is computed."""
    path = store.configurations / use.record_name()
    document = {
        "data": [str(item) for item in use.data],
        "verb": use.verb,
        "settings": use.settings,
        "selection": use.selection,
        "entries": sorted({key.name() for key in keys}),
    }
    data = json.dumps(document, indent=1).encode()
    try:
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)
    except OSError:  # a store that is only read, or a full disk: whoever must write features there will say so
        return


def prune(store: FeatureStore, *, current: Use | None, forget_missing: bool, dry_run: bool) -> Pruned:
    """Remove what no current configuration uses.

    Current are the recorded configurations; where `current` is given, those of its data set are so that have its
    settings, whichever of its clips they select. Other data sets that share the store keep theirs. A data set that
    cannot be found, as on a drive that is not mounted, keeps its features where it is not to be forgotten.

    Args:
        store: the store.
        current: what of its data set stays, or None: all of it.
        forget_missing: remove the features of data sets that cannot be found.
        dry_run: remove nothing, only say what would be.

    Raises:
        ValueError: no configuration would be left: all of the store would go.
        StoreError: a file cannot be removed.
    """
    # Before the records: what another process begins now leaves its record before its first entry.
    versions = store.other_versions()
    entries = contents.entry_files(store.entries)
    records = _records(store)
    kept = _current(records, current, forget_missing)
    if not kept:
        raise ValueError(
            f"{store.root} has no record of a configuration whose data set is still there, so all of it would be "
            "removed. Run activity extract data.root=FOLDER once, or remove the folder yourself."
        )
    found = {path: "of another version" for version in versions for path in contents.files_of_version(version)}
    found |= _superfluous(entries, _entries(kept))
    found |= dict.fromkeys(contents.abandoned_files(store.root, store.entries), "left by a process that was killed")
    found |= dict.fromkeys(records.keys() - kept.keys(), "record of a configuration that is no longer used")
    # Looking took a while: what has been recorded since is somebody's.
    used = _entries(_current(_records(store), current, forget_missing))
    found = {path: reason for path, reason in found.items() if reason != _UNUSED or path.stem not in used}
    removed = _summary(found)
    if not dry_run:
        _remove(store, found, versions)
    missing = {path: None for record in kept.values() for path in record.missing()}
    return Pruned(removed, tuple(missing))


def _records(store: FeatureStore) -> dict[Path, _Record | None]:
    """The records by file; None for one that is damaged."""
    records = {}
    for path in sorted(store.configurations.glob("*.json")):
        if _RECORD.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker to remove it
                records[path] = _read(path)
    return records


def _current(records: Mapping[Path, _Record | None], current: Use | None, forget_missing: bool) -> dict[Path, _Record]:
    return {path: record for path, record in records.items() if record and _is_current(record, current, forget_missing)}


def _entries(records: Mapping[Path, _Record]) -> frozenset[str]:
    return frozenset[str]().union(*(record.entries for record in records.values()))


def _read(path: Path) -> _Record | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path}: it cannot be read ({error.strerror}), so nobody knows which features its configuration uses. "
            "Change its permissions, or remove it where its configuration is no longer used."
        ) from error
    try:
        document = json.loads(text)
        data, entries = document["data"], document["entries"]
        if not isinstance(entries, list):
            return None
        return _Record((data,) if isinstance(data, str) else tuple(data), document["settings"], frozenset(entries))
    except (ValueError, KeyError, TypeError):
        return None


def _is_current(record: _Record, current: Use | None, forget_missing: bool) -> bool:
    if forget_missing and record.missing():
        return False
    if current is None or record.data != tuple(map(str, current.data)):
        return True
    return bool(record.settings == json.loads(json.dumps(current.settings)))  # as it is once written


def _superfluous(entries: Iterable[Path], names: frozenset[str]) -> dict[Path, str]:
    """Entries that can go, and why."""
    found = {}
    for path in entries:
        if path.stem not in names:
            found[path] = _UNUSED
        elif read_entry(path) is None:
            found[path] = "damaged"
    return found


def _summary(found: Mapping[Path, str]) -> tuple[Removed, ...]:
    """How much goes for which reason, in the order of the reasons."""
    sizes: dict[str, list[int]] = {}
    for path, reason in found.items():
        sizes.setdefault(reason, []).append(contents.size_of(path))
    return tuple(Removed(reason, len(own), sum(own)) for reason, own in sizes.items())


def _remove(store: FeatureStore, paths: Iterable[Path], versions: Iterable[Path]) -> None:
    for path in paths:
        with store.writing():
            path.unlink(missing_ok=True)
    for version in versions:
        contents.remove_empty_folders(version)
