"""The digests of videos, remembered: 50,000 files are not read again to know that they have not changed."""

import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from activity.features.store import video_digest
from activity.files import write_atomically
from activity.video.reader import VideoError

FILE_NAME = "digests.json"
# A file may change twice within the precision of its time: what changed just now is not remembered. So does git with
# its index ("racy git").
_TOO_NEW_SECONDS = 2.0

_Known = dict[str, list[object]]


def video_digests(paths: Iterable[Path], folder: Path) -> dict[Path, str | VideoError]:
    """The digest of each video's bytes, or why it cannot be read.

    A file whose size, times and inode are those of last time is not read again.

    Args:
        paths: the videos.
        folder: where digests are remembered; nothing is lost where it cannot be written.
    """
    known = _load(folder / FILE_NAME)
    with ThreadPoolExecutor() as pool:
        found = dict(zip(wanted := list(paths), pool.map(lambda path: _digest(path, known), wanted), strict=True))
    fresh = {str(path): record for path, (_, record) in found.items() if record and known.get(str(path)) != record}
    if fresh:
        _save(folder / FILE_NAME, fresh)
    return {path: digest for path, (digest, _) in found.items()}


def _digest(path: Path, known: _Known) -> tuple[str | VideoError, list[object] | None]:
    """The digest, and what to remember of it."""
    try:
        before = _state(path)
        record = known.get(str(path))
        if record is not None and record[:-1] == before:
            return str(record[-1]), record
        digest = video_digest(path)
        settled = _state(path) == before and time.time() - max(path.stat().st_mtime, path.stat().st_ctime) > (
            _TOO_NEW_SECONDS
        )
        return digest, [*before, digest] if settled else None
    except OSError as error:
        return VideoError(str(path), f"it cannot be read ({error.strerror})", "check the path"), None


def _state(path: Path) -> list[object]:
    """What changes when a file does. The time of its inode (ctime) can be set back by nobody."""
    status = os.stat(path)  # noqa: PTH116 - one call, not two
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _load(path: Path) -> _Known:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):  # none yet, or not a whole one: it only saves time
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: record for name, record in known.items() if isinstance(record, list) and len(record) == 5}


def _save(path: Path, fresh: _Known) -> None:
    """Add to what other processes have written meanwhile; files that are gone are forgotten."""
    known = {name: record for name, record in _load(path).items() if os.path.exists(name)}  # noqa: PTH110
    try:
        write_atomically(path, json.dumps({**known, **fresh}).encode())
    except OSError:  # a store that is only read, or a full disk: whoever must write there will say so
        return
