import json
import os
from pathlib import Path

import pytest

from activity.features import digests, remembered
from activity.features.digests import FILE_NAME, video_digests
from activity.features.store import video_digest
from activity.video.errors import VideoError


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was written long ago, as far as the digests know."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"one")
    monkeypatch.setattr(remembered, "_TOO_NEW_SECONDS", -1.0)
    return path


def read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(digests, "video_digest", read)


def test_a_file_that_has_not_changed_is_not_read_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = video_digests([old], old.parent / "store")
    assert first == {old: video_digest(old)}
    read_nothing(monkeypatch)
    assert video_digests([old], old.parent / "store") == first


def test_a_change_of_the_same_size_and_time_is_noticed(old: Path) -> None:
    before, status = video_digests([old], old.parent), old.stat()
    old.write_bytes(b"two")
    os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert video_digests([old], old.parent) != before


def test_a_file_of_this_very_moment_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"one")
    video_digests([path], tmp_path)
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"/clip.mp4": 3}', b"\xff"])
def test_a_damaged_memory_is_none(old: Path, content: bytes) -> None:
    (old.parent / FILE_NAME).write_bytes(content)
    assert video_digests([old], old.parent) == {old: video_digest(old)}


def test_a_store_that_cannot_be_written_costs_time_only(old: Path) -> None:
    (old.parent / "taken").touch()
    assert video_digests([old], old.parent / "taken") == {old: video_digest(old)}


def test_files_that_are_gone_are_forgotten_and_named(old: Path) -> None:
    other = old.with_name("other.mp4")
    other.write_bytes(b"other")
    video_digests([old, other], old.parent)
    other.unlink()
    old.write_bytes(b"changed")
    found = video_digests([old, other], old.parent)
    assert isinstance(found[other], VideoError)
    assert list(json.loads((old.parent / FILE_NAME).read_bytes())) == [str(old)]


def test_how_far_it_is_is_said_and_what_was_read_is_not_lost_when_it_is_stopped(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [old.with_name(f"{number}.mp4") for number in range(4)]
    for path in paths:
        path.write_text(path.name)
    seen: list[tuple[int, int]] = []

    def stopped(done: int, of: int) -> None:
        seen.append((done, of))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        video_digests(paths, old.parent, on_read=stopped)
    assert seen == [(1, 4), (2, 4), (3, 4)]
    read_nothing(monkeypatch)
    assert len(video_digests(paths[:3], old.parent)) == 3


def test_what_was_read_is_saved_on_the_way(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed loses a few seconds' work."""
    monkeypatch.setattr(digests, "_SAVE_SECONDS", 0.0)
    paths = [old.with_name(f"{number}.mp4") for number in range(3)]
    for path in paths:
        path.write_text(path.name)
    saved: list[int] = []

    def look(done: int, of: int) -> None:
        memory = old.parent / FILE_NAME
        saved.append(len(json.loads(memory.read_bytes())) if memory.exists() else 0)

    video_digests(paths, old.parent, on_read=look)
    assert saved[1] >= 1
    assert saved[2] >= 2
