"""Files that are there whole or not at all."""

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_PREFIX = ".writing-"


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file under another name, sync it and rename it; missing folders are made.

    The folder is synced too: after a power cut the file is there, or what was there before.

    Args:
        path: the file.
        data: its bytes, in one piece or in several.

    Raises:
        OSError: the folder cannot be written, or the disk is full; `path` is then as it was.
    """
    with renamed_when_whole(path) as temporary, temporary.open("xb") as file:
        for block in (data,) if isinstance(data, bytes) else data:
            file.write(block)


@contextmanager
def renamed_when_whole(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; at the end that file is synced and takes its place.

    Whatever ends the block early leaves `path` as it was, and nothing beside it. Raises as `write_atomically` does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.filename not in (None, str(temporary)):  # of what is read meanwhile
            raise
        # Writing and syncing name no file: whoever reads the message wants to know which disk is full.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def replace_folder(new: Path, place: Path) -> None:
    """Move a folder to a place beside it in the tree, where one may be already; whatever fails, one of them is there.

    Args:
        new: the folder; the one that was at `place` is left beside it, as "NAME.older".
        place: where it is to be.
    """
    older = new.with_name(f"{new.name}.older")
    if place.is_dir():
        place.rename(older)
    try:
        new.rename(place)
    except BaseException:
        if older.is_dir() and not place.exists():
            older.rename(place)
        raise


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folder, and needs no sync of one
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
