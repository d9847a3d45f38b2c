"""Work done in threads ahead of whoever needs it, but not away: bounded in number and in bytes."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_PATIENCE_SECONDS = 0.1  # how long a thread waits for room before it looks whether it is still needed


class ByteBudget:
    """How many bytes may be held at once, by all threads together.

    What is larger than all of it is let through where nothing else is held: one item at a time always goes on.

    >>> budget = ByteBudget(10)
    >>> budget.take(8, timeout=0), budget.take(8, timeout=0), budget.is_short()
    (True, False, False)
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = 0
        self._waiting: list[int] = []
        self._changed = threading.Condition()

    def take(self, size: int, *, timeout: float) -> bool:
        """Hold `size` more bytes; False where there is no room for them within `timeout` seconds."""
        with self._changed:
            self._waiting.append(size)
            try:
                if not self._changed.wait_for(lambda: self._fits(size), timeout):
                    return False
            finally:
                self._waiting.remove(size)
            self._held += size
            return True

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def is_short(self) -> bool:
        """Whether threads wait, and none of them can go on before something is given back."""
        with self._changed:
            return bool(self._waiting) and not any(map(self._fits, self._waiting))

    def _fits(self, size: int) -> bool:
        return not self._held or self._held + size <= self._most_bytes


@dataclass(frozen=True)
class Short:
    """Nothing more comes until some of the budget is given back."""


@dataclass(frozen=True)
class _Done:
    """A thread has nothing more to do."""


@dataclass(frozen=True)
class _Crash:
    """An error of ours in a thread, to be raised where it is seen."""

    error: BaseException


class _Ahead(Generic[_Item]):
    """What the threads share."""

    def __init__(
        self,
        sources: Iterable[Callable[[], Iterable[_Item]]],
        size_of: Callable[[_Item], int],
        budget: ByteBudget,
        capacity: int,
    ) -> None:
        self.ready: queue.Queue[_Item | Short | _Done | _Crash] = queue.Queue(maxsize=capacity)
        self.stopped = threading.Event()
        self._sources = iter(sources)
        self._lock = threading.Lock()
        self._size_of = size_of
        self._budget = budget

    def work(self) -> None:
        """Go through one source after the other, until there is none or nobody waits any more."""
        try:
            while not self.stopped.is_set() and (source := self._following()) is not None:
                for item in source():
                    if not (self._held(self._size_of(item)) and self._put(item)):
                        return
            self._put(_Done())
        except BaseException as error:  # noqa: BLE001 - carried to the consumer, which raises it
            self._put(_Crash(error))

    def _following(self) -> Callable[[], Iterable[_Item]] | None:
        with self._lock:
            return next(self._sources, None)

    def _held(self, size: int) -> bool:
        """Have room for an item; False where it is not wanted any more."""
        if not size or self._budget.take(size, timeout=0):
            return True
        while not self.stopped.is_set():
            with contextlib.suppress(queue.Full):  # then there is enough to be done, and it is said later
                self.ready.put_nowait(Short())
            if self._budget.take(size, timeout=_PATIENCE_SECONDS):
                return True
        return False

    def _put(self, item: _Item | _Done | _Crash) -> bool:
        while not self.stopped.is_set():
            try:
                self.ready.put(item, timeout=_PATIENCE_SECONDS)
                return True
            except queue.Full:
                continue
        return False


def run_ahead(
    sources: Sequence[Callable[[], Iterable[_Item]]],
    *,
    size_of: Callable[[_Item], int],
    budget: ByteBudget,
    capacity: int,
    threads: int,
) -> Generator[_Item | Short, None, None]:
    """The items of all sources, gone through in threads, of which each has one source at a time.

    Items of one source come in order; those of several interleave. Closing the iterator stops the threads. An error in
    a source is raised here.

    Args:
        sources: called in their order, in a thread each; what they give is what comes.
        size_of: the bytes of an item, which are taken from the budget before it comes. Who has used the item gives
            them back; after a `Short`, threads wait for that.
        budget: the bytes that may be held.
        capacity: items that may wait to be taken from here.
        threads: sources gone through at the same time.
    """
    ahead = _Ahead(sources, size_of, budget, capacity)
    with _running(ahead, min(threads, len(sources))) as working:
        left = working
        while left:
            item = ahead.ready.get()
            if isinstance(item, _Crash):
                raise item.error
            if isinstance(item, _Done):
                left -= 1
            else:
                yield item


@contextlib.contextmanager
def _running(ahead: _Ahead[_Item], threads: int) -> Iterator[int]:
    workers = [threading.Thread(target=ahead.work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield threads
    finally:
        ahead.stopped.set()
        for worker in workers:
            worker.join()
