import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from activity.features import store as store_module
from activity.features.store import FeatureKey, FeatureStore, StoreWarning, video_digest
from tests.recognizers import tiny_encoder

KEY = FeatureKey(content="video", span=(0, -1), sample_fps=5.0, encoder=tiny_encoder().describe(), weights="hash")
FEATURES = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def files_in(store: FeatureStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def assert_damaged(store: FeatureStore, key: FeatureKey = KEY) -> None:
    with pytest.warns(StoreWarning, match="stored features are damaged; computing them again") as caught:
        assert key not in store
    assert str(store.path(key)) in str(caught[0].message)


def test_what_is_written_is_read(store: FeatureStore) -> None:
    assert KEY not in store
    store.write(KEY, FEATURES)
    assert KEY in store
    assert store.shape(KEY) == (7, 3)
    assert torch.equal(store.read(KEY), FEATURES)
    assert files_in(store) == [store.path(KEY)]


def test_a_part_is_read(store: FeatureStore) -> None:
    store.write(KEY, FEATURES)
    assert torch.equal(store.read(KEY, 2, 5), FEATURES[2:5])
    assert torch.equal(store.read(KEY, 6), FEATURES[6:])


def test_another_process_finds_what_was_written(store: FeatureStore) -> None:
    store.write(KEY, FEATURES)
    assert replace(KEY) in FeatureStore(store.root)
    assert KEY not in FeatureStore(store.root.parent / "elsewhere")


def test_a_part_of_a_tensor_is_stored_alone(store: FeatureStore) -> None:
    whole = torch.zeros(1000, 3)
    store.write(KEY, whole[::2][:4].double().requires_grad_())
    assert store.read(KEY).dtype == torch.float32
    assert store.path(KEY).stat().st_size < 2000


def other_keys() -> dict[str, FeatureKey]:
    """Keys of which each differs in one thing only."""
    keys = {
        "content": replace(KEY, content="another video"),
        "start": replace(KEY, span=(1, -1)),
        "end": replace(KEY, span=(0, 7)),
        "sample_fps": replace(KEY, sample_fps=5.5),
        "weights": replace(KEY, weights="another hash"),
        "encoder name": replace(KEY, encoder={**KEY.encoder, "name": "other"}),
        "modalities": replace(KEY, encoder={**KEY.encoder, "modalities": ["rgb", "motion"]}),
    }
    changes: dict[str, Any] = {
        "resize_size": 21,
        "crop_size": 15,
        "interpolation": "bicubic",
        "mean": [0.4, 0.5, 0.61],
        "std": [0.2, 0.25, 0.31],
        "framing": "whole",
    }
    for name, value in changes.items():
        preprocess = {**KEY.encoder["preprocess"], name: value}
        keys[name] = replace(KEY, encoder={**KEY.encoder, "preprocess": preprocess})
    return keys


@pytest.mark.parametrize("what", other_keys())
def test_all_that_features_depend_on_tells_entries_apart(store: FeatureStore, what: str) -> None:
    key = other_keys()[what]
    store.write(KEY, FEATURES)
    assert key not in store
    store.write(key, FEATURES + 1)
    assert torch.equal(store.read(KEY), FEATURES)


def test_every_number_of_the_preprocessing_is_in_the_key() -> None:
    assert set(KEY.encoder["preprocess"]) <= set(other_keys())


def test_a_later_version_of_the_rules_reads_nothing_old(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(KEY, FEATURES)
    monkeypatch.setattr(store_module, "STORE_VERSION", store_module.STORE_VERSION + 1)
    assert KEY not in store


# Damage


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_entry_is_not_there(store: FeatureStore, kept: float) -> None:
    store.write(KEY, FEATURES)
    data = store.path(KEY).read_bytes()
    store.path(KEY).write_bytes(data[: int(len(data) * kept)])
    assert_damaged(store)


@pytest.mark.parametrize("place", [-1, -40, 4, 20, 200])
def test_an_entry_with_a_flipped_byte_is_not_there(store: FeatureStore, place: int) -> None:
    store.write(KEY, FEATURES)
    data = bytearray(store.path(KEY).read_bytes())
    data[place] ^= 0xFF
    store.path(KEY).write_bytes(data)
    assert_damaged(store)


def test_an_entry_of_another_key_is_not_there(store: FeatureStore) -> None:
    other = replace(KEY, content="another video")
    store.write(other, FEATURES)
    store.path(KEY).parent.mkdir(parents=True, exist_ok=True)
    store.path(KEY).write_bytes(store.path(other).read_bytes())
    assert_damaged(store)
    assert other in store


def test_an_entry_of_another_program_is_not_there(store: FeatureStore) -> None:
    from safetensors.torch import save_file

    store.path(KEY).parent.mkdir(parents=True)
    save_file({"weights": FEATURES}, store.path(KEY))
    assert_damaged(store)


def test_a_damaged_entry_is_replaced(store: FeatureStore) -> None:
    store.write(KEY, FEATURES)
    store.path(KEY).write_bytes(b"damaged")
    store.write(KEY, FEATURES)
    assert KEY in store
    assert torch.equal(store.read(KEY), FEATURES)


# Whole or not at all


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_writer_that_is_stopped_leaves_nothing(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, stop)
        with pytest.raises(KeyboardInterrupt):
            store.write(KEY, FEATURES)
    assert files_in(store) == []
    assert KEY not in store


def test_a_writer_that_is_stopped_leaves_the_older_entry(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(KEY, FEATURES)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(KEY, FEATURES + 1)
    assert torch.equal(store.read(KEY), FEATURES)
    assert files_in(store) == [store.path(KEY)]


def test_an_entry_with_several_writers_is_whole_at_any_time(store: FeatureStore) -> None:
    """Two processes that train on the same videos may write the same entry."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.write(KEY, FEATURES)  # an error here ends the test: pytest warns of it

    store.write(KEY, FEATURES)
    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(30):
            assert KEY in store
            assert torch.equal(store.read(KEY), FEATURES)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert files_in(store) == [store.path(KEY)]


def test_a_writer_beside_does_not_disturb_who_looks_what_is_there(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its temporary file is renamed between the moment it is seen and the moment it is looked at."""
    store.write(KEY, FEATURES)
    listed, fleeting = os.listdir, store.path(KEY).with_name(f".writing-{'a' * 32}").name

    def listdir(folder: Path) -> list[str]:
        return [*listed(folder), fleeting]

    monkeypatch.setattr("os.listdir", listdir)
    assert store.size_bytes() == store.path(KEY).stat().st_size
    store.sweep()
    assert KEY in store


def test_what_is_there_can_be_looked_at_while_others_write(store: FeatureStore) -> None:
    stop, written = threading.Event(), list[FeatureKey]()

    def write() -> None:
        while not stop.is_set():
            key = replace(KEY, content=str(len(written)))
            store.write(key, FEATURES)
            written.append(key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            store.sweep()
            store.size_bytes()
            store.other_versions()
    finally:
        stop.set()
        writer.join()
    # Neither looked away from the other: all that was written is there, and nothing is left half-written.
    assert written
    assert all(store.find(key) is not None for key in written)
    assert sorted(files_in(store)) == sorted(store.path(key) for key in written)


# The video in the key


def test_a_video_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    first.write_bytes(b"x" * 100_000)
    second.write_bytes(b"x" * 100_000)
    third.write_bytes(b"x" * 50_000 + b"y" + b"x" * 49_999)
    assert video_digest(first) == video_digest(second) != video_digest(third)
