import os
from dataclasses import replace
from pathlib import Path

import pytest

from activity.features.store import FeatureStore
from activity.features.usage import Removed, Use, prune, record_use
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
    return Use(data=tmp_path / "data", settings={"sample_fps": 10.0}, verb="extract")


def reasons(removed: list[Removed]) -> dict[str, int]:
    return {item.reason: item.files for item in removed}


def test_what_no_configuration_uses_is_removed_and_its_bytes_are_said(store: FeatureStore, use: Use) -> None:
    size = store.path(THIRD).stat().st_size
    record_use(store, use, [KEY, OTHER])
    assert prune(store, current=None, dry_run=True) == [Removed("used by no current configuration", 1, size)]
    assert THIRD in store
    assert prune(store, current=None, dry_run=False) == [Removed("used by no current configuration", 1, size)]
    assert [key in store for key in (KEY, OTHER, THIRD)] == [True, True, False]
    assert prune(store, current=None, dry_run=False) == []


def test_another_data_set_in_the_same_store_keeps_its_features(store: FeatureStore, use: Use, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    record_use(store, use, [KEY])
    record_use(store, replace(use, data=tmp_path / "others"), [OTHER])
    prune(store, current=use, dry_run=False)
    assert [key in store for key in (KEY, OTHER, THIRD)] == [True, True, False]


def test_of_one_data_set_the_configuration_that_is_given_stays(store: FeatureStore, use: Use) -> None:
    earlier = replace(use, settings={"sample_fps": 5.0})
    record_use(store, use, [KEY])
    record_use(store, replace(use, verb="train"), [OTHER])
    record_use(store, earlier, [THIRD])
    assert prune(store, current=None, dry_run=False) == []
    found = prune(store, current=use, dry_run=False)
    assert reasons(found) == {
        "used by no current configuration": 1,
        "record of a configuration that is no longer used": 1,
    }
    assert [key in store for key in (KEY, OTHER, THIRD)] == [True, True, False]


def test_a_data_set_that_is_gone_uses_nothing(store: FeatureStore, use: Use, tmp_path: Path) -> None:
    record_use(store, use, [KEY])
    record_use(store, replace(use, data=tmp_path / "gone"), [OTHER, THIRD])
    prune(store, current=None, dry_run=False)
    assert [key in store for key in (KEY, OTHER, THIRD)] == [True, False, False]


def test_damaged_old_and_abandoned_files_go(store: FeatureStore, use: Use) -> None:
    record_use(store, use, [KEY, OTHER, THIRD])
    data = bytearray(store.path(OTHER).read_bytes())
    data[-3] ^= 1
    store.path(OTHER).write_bytes(data)
    for folder in ("ab", "v1"):
        (store.root / folder).mkdir()
        (store.root / folder / "entry.safetensors").write_bytes(b"older")
    dead, alive = (store.path(KEY).with_name(f".writing-{name}") for name in ("dead", "alive"))
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (0, 0))
    assert reasons(prune(store, current=None, dry_run=False)) == {
        "of another version": 2,
        "damaged": 1,
        "left by a process that was killed": 1,
    }
    assert alive.exists()
    assert KEY in store


def test_where_nothing_is_recorded_nothing_is_removed(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="no record of a configuration"):
        prune(store, current=None, dry_run=False)
    assert KEY in store
