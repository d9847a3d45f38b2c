"""The digests of videos, remembered: 50,000 files are not read again to know that they have not changed."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from activity.features.remembered import FileMemory, file_state
from activity.features.store import video_digest
from activity.video.errors import VideoError, unreadable
from activity.video.opening import check_file

FILE_NAME = "digests.json"
_SAVE_SECONDS = 10.0  # what is lost at most where reading a large data set for the first time is stopped


def video_digests(
    paths: Iterable[Path], folder: Path, *, on_read: Callable[[int, int], None] = lambda done, of: None
) -> dict[Path, str | VideoError]:
    """The digest of each video's bytes, or why it cannot be read.

    A file whose size, times and inode are those of last time is not read again.

    Args:
        paths: the videos.
        folder: where digests are remembered; nothing is lost where it cannot be written.
        on_read: called with the number of videos done and of all, in this thread.
    """
    memory = FileMemory(folder / FILE_NAME, values=1, file_of=Path)
    wanted = list(paths)
    found: dict[Path, str | VideoError] = {}
    pool = ThreadPoolExecutor()
    try:
        for path, digest in zip(wanted, pool.map(lambda path: _digest(path, memory), wanted), strict=True):
            found[path] = digest
            on_read(len(found), len(wanted))
            memory.save(at_most_every=_SAVE_SECONDS)
    finally:  # Ctrl-C: what is not begun is not waited for, and what is done is not done again
        pool.shutdown(cancel_futures=True)
        memory.save()
    return found


def _digest(path: Path, memory: FileMemory) -> str | VideoError:
    try:
        check_file(str(path))
        state = file_state(path)
        known = memory.recall(str(path), state)
        if known is not None:
            return str(known[0])
        digest = video_digest(path)
        memory.keep(str(path), state, [digest])
        return digest
    except VideoError as error:
        return error
    except OSError as error:
        return unreadable(path, error)
