"""Every video of a data set read once, several at the same time."""

import hashlib
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity.data.doctor.facts import VideoFacts, probe_video
from activity.video.errors import VideoError, unreadable


@dataclass(frozen=True, eq=False)
class VideoRecord:
    """What was found out about one video.

    Attributes:
        path: the video.
        facts: what it is like, or None where it cannot be read.
        error: why it cannot be read, or None.
        digest: SHA-256 of its bytes, only where another video has as many bytes; else None.
    """

    path: Path
    facts: VideoFacts | None
    error: VideoError | None
    digest: str | None


@dataclass(frozen=True)
class SurveyProgress:
    """How far reading is: `done` of `videos`, and the one that has been read for longest, if any, since when."""

    videos: int
    done: int
    oldest: Path | None
    oldest_seconds: float


class _Stopped(Exception):  # noqa: N818 - no error: the reading is no longer wanted
    pass


def survey_videos(
    paths: Sequence[Path], *, jobs: int, on_progress: Callable[[SurveyProgress], None]
) -> dict[Path, VideoRecord]:
    """Read all videos, each once, and return what was found by path, in the order given.

    An exception in the caller's thread (Ctrl-C) ends the reading of all of them within a frame.

    Args:
        paths: the videos, without repetitions.
        jobs: how many are read at the same time (decoding leaves Python's lock).
        on_progress: called in the caller's thread, several times a second.
    """
    sizes = {path: _size(path) for path in paths}
    common = {size for size, count in Counter(sizes.values()).items() if size > 0 and count > 1}
    records: dict[Path, VideoRecord] = {}
    reading: dict[Path, float] = {}  # since when
    for event in _read_all(paths, jobs, lambda path: sizes[path] in common):
        if isinstance(event, VideoRecord):
            records[event.path] = event
            reading.pop(event.path)
        elif event is not None:
            reading[event] = time.monotonic()
        oldest = min(reading, key=reading.__getitem__, default=None)
        seconds = 0.0 if oldest is None else time.monotonic() - reading[oldest]
        on_progress(SurveyProgress(len(paths), len(records), oldest, seconds))
    return {path: records[path] for path in paths}


def _read_all(
    paths: Sequence[Path], jobs: int, needs_digest: Callable[[Path], bool]
) -> Iterator[Path | VideoRecord | None]:
    """Each path as its reading begins, each record as it ends, and None where nothing happened for a while."""
    events: queue.Queue[Path | VideoRecord | BaseException] = queue.Queue()
    work = iter(paths)
    lock, stopped = threading.Lock(), threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise _Stopped

    def read() -> None:
        try:
            while not stopped.is_set():
                with lock:
                    path = next(work, None)
                if path is None:
                    return
                events.put(path)
                events.put(_read(path, needs_digest(path), check))
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, which raises it
            events.put(error)

    # Daemons: one that hangs in the decoder must not keep the program from ending.
    workers = [threading.Thread(target=read, daemon=True) for _ in range(min(jobs, len(paths)))]
    for worker in workers:
        worker.start()
    try:
        left = len(paths)
        while left:
            try:
                event = events.get(timeout=0.25)
            except queue.Empty:
                yield None
                continue
            if isinstance(event, BaseException):
                raise event
            left -= isinstance(event, VideoRecord)
            yield event
    finally:
        stopped.set()
        for worker in workers:
            worker.join(timeout=2)


def _read(path: Path, needs_digest: bool, check: Callable[[], None]) -> VideoRecord:
    facts = error = digest = None
    try:
        facts = probe_video(path, on_frame=check)
        if needs_digest:
            digest = _digest(path)
    except VideoError as failed:
        error = failed
    except OSError as failed:  # removed meanwhile, or a network drive that is gone
        error = unreadable(path, failed)
    return VideoRecord(path, facts, error, digest)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - pathlib's own raises ValueError for some names
    except (OSError, ValueError):  # reading it says what is wrong
        return -1
