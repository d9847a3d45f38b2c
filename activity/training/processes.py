"""Worker processes that share this machine's cores, and end when whoever started them does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_MEMORY_FACTS = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")  # what control groups, version 2, allow this process


def usable_cores() -> int:
    """The cores that this process may use: a container or a batch system may give it fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(_CONTAINER / "cpu.max").partition(" ")  # microseconds of work in so many of time
    return max(1, min(cores, int(quota) // int(period))) if quota.isdigit() else cores


def available_memory_mb() -> float | None:
    """The memory that can be had without swapping, in MB of 10**6 bytes; None where the system does not say (Linux).

    In a container, that is what its limit leaves where this is less.
    """
    found = [line.split()[1] for line in _read(_MEMORY_FACTS).splitlines() if line.startswith("MemAvailable:")]
    available = [int(kilobytes) * 1024 for kilobytes in found]
    limit, used = _read(_CONTAINER / "memory.max"), _read(_CONTAINER / "memory.current")
    if limit.isdigit() and used.isdigit():
        # Files that were read are counted as used, and given back when something else needs the room.
        facts = dict(line.split() for line in _read(_CONTAINER / "memory.stat").splitlines())
        available.append(int(limit) - int(used) + int(facts.get("inactive_file", 0)))
    return max(0, min(available)) / 1e6 if available else None


@contextmanager
def worker_processes(number: int, begin: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; they are killed where the block ends by an error, Ctrl-C among them, and end by themselves
    where this process is killed.

    Ctrl-C in a terminal reaches all processes of a command. The workers pass it over, from their first moment, so that
    one process alone says what has happened. They must hold nothing that would be lost.

    Args:
        number: of processes.
        begin: called in each, before all else.
        arguments: of `begin`.
    """
    before = set(multiprocessing.active_children())
    # spawn: a forked process would share the state of torch's threads, which do not live on in it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(number, context, initializer=_begin, initargs=(begin, *arguments))
    try:
        with _inherited_by_processes_that_pass_over_ctrl_c():
            for _ in range(number):  # one is started with each task that finds none idle
                pool.submit(_nothing)
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _inherited_by_processes_that_pass_over_ctrl_c() -> Iterator[None]:
    """Processes started in this block never see a SIGINT; one that comes to this process waits for the block's end.

    A worker that said so itself would do it late: it first imports torch, which takes seconds. And a process that is
    interrupted while it starts another leaves that one without what it waits for.
    """
    received: list[tuple[int, FrameType | None]] = []
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda *caught: received.append(caught)) if in_main else None
    # Handed down to a new process, as a handler is not. Windows has no such thing: there `_begin` has to do.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
    if received and callable(handler):
        handler(*received[0])


def _begin(begin: Callable[..., None], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*arguments)


def _end_with_parent() -> None:
    """A pool's process waits for work, and would for ever: it holds both ends of the pipe that the work comes by."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(path: Path) -> str:
    """The text of a file of the system's; nothing where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _nothing() -> None:
    """A task that only needs a process to be there."""
