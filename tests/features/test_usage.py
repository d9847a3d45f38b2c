import os
from dataclasses import replace
from pathlib import Path

import pytest

from activity.features import usage
from activity.features.store import Entry, FeatureStore, StoreError, read_entry
from activity.features.usage import Pruned, Removed, Use, prune, record_use
from tests.features.test_store import FEATURES, KEY

OTHER, THIRD = replace(KEY, content="another"), replace(KEY, content="a third")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "store")
    for key in (KEY, OTHER, THIRD):
        store.write(key, FEATURES)
    return store


@pytest.fixture
def use(tmp_path: Path) -> Use:
    (tmp_path / "data").mkdir()
    return Use(data=(tmp_path / "data",), settings={"sample_fps": 10.0}, selection={"split": 1}, verb="extract")


def pruned(
    store: FeatureStore, current: Use | None = None, *, forget_missing: bool = False, dry_run: bool = False
) -> Pruned:
    return prune(store, current=current, forget_missing=forget_missing, dry_run=dry_run)


def reasons(found: Pruned) -> dict[str, int]:
    return {item.reason: item.files for item in found.removed}


def left(store: FeatureStore) -> list[bool]:
    return [key in store for key in (KEY, OTHER, THIRD)]


def test_what_no_configuration_uses_is_removed_and_its_bytes_are_said(store: FeatureStore, use: Use) -> None:
    superfluous = Removed("used by no current configuration", 1, store.path(THIRD).stat().st_size)
    record_use(store, use, [KEY, OTHER])
    assert pruned(store, dry_run=True) == Pruned((superfluous,), ())
    assert THIRD in store
    assert pruned(store) == Pruned((superfluous,), ())
    assert left(store) == [True, True, False]
    assert pruned(store) == Pruned((), ())


def test_what_is_recorded_while_it_looks_is_kept(
    store: FeatureStore, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_use(store, use, [KEY])

    def look(path: Path) -> Entry | None:  # another process begins meanwhile, and finds what it needs
        record_use(store, replace(use, verb="train"), [OTHER])
        return read_entry(path)

    monkeypatch.setattr(usage, "read_entry", look)
    assert reasons(pruned(store)) == {"used by no current configuration": 1}
    assert left(store) == [True, True, False]


def test_a_record_that_cannot_be_read_stops_it(store: FeatureStore, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    record_use(store, use, [KEY])
    record_use(store, replace(use, verb="train"), [OTHER])
    (theirs,) = store.configurations.glob("*-train.json")
    original = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path == theirs:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(StoreError, match=rf"{theirs.name}: it cannot be read \(Permission denied\)"):
        pruned(store)
    monkeypatch.undo()
    assert left(store) == [True, True, True]


def test_another_data_set_in_the_same_store_keeps_its_features(store: FeatureStore, use: Use, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    record_use(store, use, [KEY])
    record_use(store, replace(use, data=(tmp_path / "others",)), [OTHER])
    pruned(store, use)
    assert left(store) == [True, True, False]


def test_of_one_data_set_the_configuration_that_is_given_stays(store: FeatureStore, use: Use) -> None:
    earlier = replace(use, settings={"sample_fps": 5.0})
    record_use(store, use, [KEY])
    record_use(store, replace(use, verb="train"), [OTHER])
    record_use(store, earlier, [THIRD])
    assert pruned(store).removed == ()
    assert reasons(pruned(store, use)) == {
        "used by no current configuration": 1,
        "record of a configuration that is no longer used": 1,
    }
    assert left(store) == [True, True, False]


@pytest.mark.parametrize("given", [False, True])
def test_two_selections_of_one_data_set_both_keep_their_entries(store: FeatureStore, use: Use, given: bool) -> None:
    """Official splits, seeds: neither replaces the other's record."""
    record_use(store, use, [KEY])
    record_use(store, replace(use, selection={"split": 2}), [OTHER])
    pruned(store, use if given else None)
    assert left(store) == [True, True, False]


def test_data_sets_that_share_a_table_are_two(store: FeatureStore, use: Use, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).touch()
    record_use(store, replace(use, data=(tmp_path / "a.csv", tmp_path / "b.csv")), [KEY])
    record_use(store, replace(use, data=(tmp_path / "a.csv", tmp_path / "c.csv")), [OTHER])
    pruned(store)
    assert left(store) == [True, True, False]


def test_a_configuration_replaces_its_own_record(store: FeatureStore, use: Use) -> None:
    """A video that was replaced by another one leaves nothing behind."""
    record_use(store, use, [KEY, THIRD])
    record_use(store, use, [KEY, OTHER])
    pruned(store)
    assert left(store) == [True, True, False]


def test_a_data_set_that_cannot_be_found_is_named_and_keeps_its_features(
    store: FeatureStore, use: Use, tmp_path: Path
) -> None:
    gone = tmp_path / "not mounted"
    record_use(store, use, [KEY])
    record_use(store, replace(use, data=(gone,)), [OTHER])
    assert pruned(store).missing == (str(gone),)
    assert left(store) == [True, True, False]
    assert pruned(store, forget_missing=True).missing == ()
    assert left(store) == [True, False, False]


def test_the_pattern_of_tables_that_are_there_is_not_missing(store: FeatureStore, use: Use, tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    record_use(store, replace(use, data=(tmp_path / "*.csv",)), [KEY])
    assert pruned(store).missing == ()


def test_damaged_old_and_abandoned_files_go(store: FeatureStore, use: Use) -> None:
    record_use(store, use, [KEY, OTHER, THIRD])
    data = bytearray(store.path(OTHER).read_bytes())
    data[-3] ^= 1
    store.path(OTHER).write_bytes(data)
    name = store.path(KEY).name
    for old in (store.root / name[:2] / name, store.root / "v1" / name[:2] / name):
        old.parent.mkdir(parents=True)
        old.write_bytes(b"older")
    dead, alive = (store.path(KEY).with_name(f".writing-{digit * 32}") for digit in "ab")
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (0, 0))
    assert reasons(pruned(store)) == {"of another version": 2, "damaged": 1, "left by a process that was killed": 1}
    assert alive.exists()
    assert KEY in store
    assert sorted(path.name for path in store.root.iterdir()) == ["configurations", store.entries.name]


def test_files_of_the_users_in_the_folder_of_the_store_are_left_alone(store: FeatureStore, use: Use) -> None:
    """A store may be given as a folder that holds other things, whatever these are called."""
    record_use(store, use, [KEY])
    name = store.path(KEY).name
    own = [
        Path("v2_clips", "walk", "a.mp4"),
        Path("v2", "walk", "a.mp4"),
        Path("v2", "weights.safetensors"),
        Path("v2", "walk", name),
        Path("ab", "run.mp4"),
        Path("ab", "deeper", name),
        Path("v1", "ab", "run.mp4"),
        Path("v2x", name[:2], name),
        Path(".writing-a-book"),
        Path("deeper", f".writing-{'a' * 32}"),
        Path("configurations", "mine.json"),
        Path(store.entries.name, "notes.safetensors"),
        Path(store.entries.name, "walk", name),
    ]
    for path in own:
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(b"mine")
        os.utime(store.root / path, (0, 0))
    size = store.size_bytes()
    assert store.other_versions() == []
    assert size == sum(store.path(key).stat().st_size for key in (KEY, OTHER, THIRD))
    assert reasons(pruned(store)) == {"used by no current configuration": 2}
    assert [path for path in own if not (store.root / path).exists()] == []


def test_where_nothing_is_recorded_nothing_is_removed(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="no record of a configuration"):
        pruned(store)
    assert KEY in store
