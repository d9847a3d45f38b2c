"""What was found out about files, remembered: a file that has not changed is not read again."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from activity.files import write_atomically

# A file may change twice within the precision of its time: what changed just now is not remembered. So does git with
# its index ("racy git").
_TOO_NEW_SECONDS = 2.0

_State = list[int]
_Records = dict[str, list[object]]


class FileMemory:
    """Values that were read out of files, and the state of each file when they were.

    It trusts that whoever changes a file changes its size, one of its times (that of the inode, ctime, can be set by
    nobody) or its inode. What a failing disk changes below the file system goes unseen until the file is read again.

    Args:
        path: where they are remembered; nothing but time is lost where it cannot be written.
        values: how many there are of a file.
        file_of: the file of a name.
    """

    def __init__(self, path: Path, *, values: int, file_of: Callable[[str], Path]) -> None:
        self._path = path
        self._values = values
        self._file_of = file_of
        self._known = self._load()
        self._fresh: _Records = {}
        self._saved_at = time.monotonic()

    def recall(self, name: str, state: _State) -> list[object] | None:
        """The values of a file that is in this state (`file_state`), where they are known."""
        record = self._known.get(name)
        return None if record is None or record[: len(state)] != state else record[len(state) :]

    def keep(self, name: str, state: _State, values: list[object]) -> None:
        """Remember values; `state` is that of before the file was read."""
        path = self._file_of(name)
        if file_state(path) == state and time.time() - max(state[1:3]) / 1e9 > _TOO_NEW_SECONDS:
            self._fresh[name] = [*state, *values]

    def save(self, *, at_most_every: float = 0.0) -> None:
        """Add what is new to what other processes have written meanwhile; files that are gone are forgotten.

        Args:
            at_most_every: do nothing where it was written so many seconds ago or less.
        """
        fresh = dict(self._fresh)  # threads add to it
        if not fresh or time.monotonic() - self._saved_at < at_most_every:
            return
        known = {name: record for name, record in self._load().items() if os.path.exists(self._file_of(name))}  # noqa: PTH110
        try:
            write_atomically(self._path, json.dumps({**known, **fresh}).encode())
        except OSError:  # a store that is only read, or a full disk: whoever must write there will say so
            return
        finally:
            self._saved_at = time.monotonic()

    def _load(self) -> _Records:
        try:
            known = json.loads(self._path.read_bytes())
        except (OSError, ValueError):  # none yet, or not a whole one: it only saves time
            return {}
        if not isinstance(known, dict):
            return {}
        length = 4 + self._values
        return {name: record for name, record in known.items() if isinstance(record, list) and len(record) == length}


def file_state(path: Path) -> _State:
    """What changes when a file does: size, time of its content and of its inode (nanoseconds), inode.

    Raises:
        OSError: there is no such file.
    """
    status = os.stat(path)  # noqa: PTH116 - one call, not two
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
