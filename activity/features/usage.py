"""Who uses what is in a feature store: each configuration leaves a record, and what none needs can be removed."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity.features.store import ENTRY_SUFFIX, FeatureKey, FeatureStore, read_entry
from activity.files import write_atomically

_FOLDER = "configurations"


@dataclass(frozen=True)
class Use:
    """A configuration that uses a store.

    Attributes:
        data: the data set: its folder or its table.
        settings: all that its features depend on but the videos, as plain Python.
        verb: what was run; `train` needs fewer views than `extract`.
    """

    data: Path
    settings: Mapping[str, Any]
    verb: str

    def settings_digest(self) -> str:
        """Equal for configurations that read the same features."""
        text = json.dumps([str(self.data), self.settings], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True)
class Removed:
    """What `prune` removed for one reason: how many files, and their bytes."""

    reason: str
    files: int
    size_bytes: int


def record_use(store: FeatureStore, use: Use, keys: Iterable[FeatureKey]) -> None:
    """Write down which entries a configuration uses, before any of them is computed."""
    path = store.root / _FOLDER / f"{use.settings_digest()}-{use.verb}.json"
    names = sorted({key.name() for key in keys})
    document = {"data": str(use.data), "verb": use.verb, "settings": use.settings, "entries": names}
    data = json.dumps(document, indent=1).encode()
    try:
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)
    except OSError:  # a store that is only read, or a full disk: whoever must write features there will say so
        return


def prune(store: FeatureStore, *, current: Use | None, dry_run: bool) -> list[Removed]:
    """Remove what no current configuration uses.

    Current are the recorded configurations whose data set is still there; where `current` is given, it alone of those
    of its data set. Other data sets that share the store keep theirs.

    Args:
        store: the store.
        current: the one configuration of its data set that stays, or None: all of them stay.
        dry_run: remove nothing, only say what would be.

    Raises:
        ValueError: no configuration would be left: all of the store would go.
        StoreError: a file cannot be removed.
    """
    records = {path: _read(path) for path in sorted((store.root / _FOLDER).glob("*.json"))}
    kept = {path: record for path, record in records.items() if record and _is_current(path, record, current)}
    if not kept:
        raise ValueError(
            f"{store.root} has no record of a configuration whose data set is still there, so all of it would be "
            "removed. Run activity extract data.root=FOLDER once, or remove the folder yourself."
        )
    names = {name for record in kept.values() for name in record["entries"]}
    found = dict(_superfluous(store, names))
    found |= {path: "record of a configuration that is no longer used" for path in records if path not in kept}
    sizes = {path: path.stat().st_size for path in found}
    if not dry_run:
        for path in found:
            with store.writing():
                path.unlink(missing_ok=True)
    reasons = dict.fromkeys(found.values())
    return [
        Removed(reason, len(own := [path for path in found if found[path] == reason]), sum(sizes[path] for path in own))
        for reason in reasons
    ]


def _is_current(path: Path, record: dict[str, Any], current: Use | None) -> bool:
    if current is not None and record["data"] == str(current.data):
        return path.name.startswith(f"{current.settings_digest()}-")
    return Path(record["data"]).exists()


def _superfluous(store: FeatureStore, names: set[str]) -> Iterator[tuple[Path, str]]:
    """Files of the store that can go, and why."""
    for folder in store.other_versions():
        yield from ((path, "of another version") for path in sorted(folder.rglob("*")) if path.is_file())
    for path in sorted(store.entries.rglob(f"*{ENTRY_SUFFIX}")):
        if path.stem not in names:
            yield path, "used by no current configuration"
        elif read_entry(path) is None:
            yield path, "damaged"
    abandoned = store.abandoned_files()
    inside = [path for path in abandoned if not any(folder in path.parents for folder in store.other_versions())]
    yield from ((path, "left by a process that was killed") for path in inside)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
        return record if isinstance(record["data"], str) and isinstance(record["entries"], list) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
