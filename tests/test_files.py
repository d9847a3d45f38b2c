import os
import stat
from pathlib import Path

import pytest

from activity.files import replace_folder, write_atomically


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert names_in(tmp_path) == ["file.bin"]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    write_atomically(path, b"a longer content that was there before")
    write_atomically(path, b"short")
    assert path.read_bytes() == b"short"
    assert names_in(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_in_the_middle_leaves_things_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    older = tmp_path / "older.bin"
    write_atomically(older, b"as it was")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(step, fail)
    for path in (older, tmp_path / "new.bin"):
        with pytest.raises(type(error)):
            write_atomically(path, b"something else")
    assert older.read_bytes() == b"as it was"
    assert names_in(tmp_path) == ["older.bin"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        write_atomically(tmp_path / "file" / "below.bin", b"content")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_users_umask_decides_who_may_read(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"content")
        assert os.umask(umask) == umask  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_folder_takes_the_place_of_another_or_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "file").read_text() == "place"
    replace_folder(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "file").read_text() == "new"
