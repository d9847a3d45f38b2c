"""Work done in threads ahead of whoever needs it, but not away: bounded in number and in bytes."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
Source = Callable[[Callable[[], None]], Iterable[_Item]]

_PATIENCE_SECONDS = 0.1  # how long a thread waits for room before it looks whether it is still needed
_LOOKS = 4  # at a source that hangs: time alone would take a process that was stopped for one
_GOODBYE_SECONDS = 5.0  # for threads to end; one that hangs does not


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


class _NotWanted(Exception):  # noqa: N818 - no error: it ends a source's work from within
    """Nobody waits for this source any more."""


@dataclass(eq=False)
class _Turn:
    """One source, as a thread goes through it.

    Attributes:
        number: the source's position.
        signs: counts the signs of life.
        inside: it is the source that works, and not the thread that waits for room.
        given_up: it hangs, and another thread has taken this one's place.
        silent_looks: how often in a row there was no sign of life since the look before.
    """

    number: int
    signs: int = 0
    inside: bool = False
    given_up: bool = False
    silent_looks: int = 0
    _signs_seen: int = -1

    def is_silent(self) -> bool:
        """Look at it; whether there was no sign of life for so many looks that it hangs."""
        moved, self._signs_seen = self.signs != self._signs_seen, self.signs
        self.silent_looks = 0 if moved or not self.inside else self.silent_looks + 1
        return self.silent_looks >= _LOOKS


class _Ahead(Generic[_Item]):
    """What the threads share."""

    def __init__(
        self,
        sources: Iterable[Source[_Item]],
        size_of: Callable[[_Item], int],
        budget: ByteBudget,
        capacity: int,
        when_hanging: Callable[[int], _Item],
    ) -> None:
        self.ready: queue.Queue[_Item | Short | _Done | _Crash] = queue.Queue(maxsize=capacity)
        self._stopped = threading.Event()
        self._sources = iter(enumerate(sources))
        self._lock = threading.Lock()
        self._size_of = size_of
        self._budget = budget
        self._when_hanging = when_hanging
        self._turns: dict[threading.Thread, _Turn | None] = {}  # of the threads that are waited for

    def start_thread(self, first: _Item | None = None) -> None:
        """One thread more, which first says `first`."""
        # A daemon: one that hangs in the decoder must not keep the program from ending.
        thread = threading.Thread(target=self._work, args=(first,), daemon=True)
        self._turns[thread] = None
        thread.start()

    def replace_hanging(self) -> None:
        """Look at the threads, and let others take the place of those that hang."""
        with self._lock:
            hanging = [(thread, turn) for thread, turn in self._turns.items() if turn and turn.is_silent()]
            for thread, turn in hanging:
                turn.given_up = True
                del self._turns[thread]
        for _, turn in hanging:
            self.start_thread(self._when_hanging(turn.number))

    def stop(self) -> None:
        """End the threads, and wait for those that can be."""
        self._stopped.set()
        until = time.monotonic() + _GOODBYE_SECONDS
        for thread in tuple(self._turns):
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, first: _Item | None) -> None:
        """Go through one source after the other, until there is none or nobody waits any more."""
        try:
            if first is not None and not self._put(first):
                return
            while not self._stopped.is_set() and (following := self._following()) is not None:
                for item in self._items(*following):
                    if not (self._held(self._size_of(item)) and self._put(item)):
                        return
            self._put(_Done())
        except _NotWanted:
            pass
        except BaseException as error:  # noqa: BLE001 - carried to the consumer, which raises it
            self._put(_Crash(error))

    def _following(self) -> tuple[_Turn, Source[_Item]] | None:
        with self._lock:
            number, source = next(self._sources, (0, None))
            if source is None:
                return None
            self._turns[threading.current_thread()] = turn = _Turn(number)
            return turn, source

    def _items(self, turn: _Turn, source: Source[_Item]) -> Iterator[_Item]:
        def lives() -> None:
            turn.signs += 1
            if turn.given_up or self._stopped.is_set():
                raise _NotWanted

        turn.inside = True
        for item in source(lives):
            self._leave(turn)
            yield item
            turn.signs += 1
            turn.inside = True
        self._leave(turn)

    def _leave(self, turn: _Turn) -> None:
        with self._lock:  # either it is given up or it goes on, and what it gives comes before its end
            if turn.given_up:
                raise _NotWanted
            turn.inside = False

    def _held(self, size: int) -> bool:
        """Have room for an item; False where it is not wanted any more."""
        if not size or self._budget.take(size, timeout=0):
            return True
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):  # then there is enough to be done, and it is said later
                self.ready.put_nowait(Short())
            if self._budget.take(size, timeout=_PATIENCE_SECONDS):
                return True
        return False

    def _put(self, item: _Item | _Done | _Crash) -> bool:
        while not self._stopped.is_set():
            try:
                self.ready.put(item, timeout=_PATIENCE_SECONDS)
                return True
            except queue.Full:
                continue
        return False


def run_ahead(
    sources: Sequence[Source[_Item]],
    *,
    size_of: Callable[[_Item], int],
    budget: ByteBudget,
    capacity: int,
    threads: int,
    when_hanging: Callable[[int], _Item],
    hang_seconds: float,
) -> Generator[_Item | Short, None, None]:
    """The items of all sources, gone through in threads, of which each has one source at a time.

    Items of one source come in order; those of several interleave. Closing the iterator stops the threads. An error in
    a source is raised here.

    A source that neither gives an item nor a sign of life for `hang_seconds` is given up: `when_hanging` says what
    comes as its last item, its thread is left alone, and another takes its place. Time in which nobody asks this
    iterator for an item, or in which the whole process is stopped, does not count.

    Args:
        sources: called in their order, in a thread each; what they give is what comes. Each is given a function to be
            called as a sign of life; it raises where nobody waits for the source any more, which ends it.
        size_of: the bytes of an item, which are taken from the budget before it comes. Who has used the item gives
            them back; after a `Short`, threads wait for that.
        budget: the bytes that may be held.
        capacity: items that may wait to be taken from here.
        threads: sources gone through at the same time.
        when_hanging: the last item of the source at a position, of no bytes, once it is given up.
        hang_seconds: how long a source may be silent.
    """
    ahead = _Ahead(sources, size_of, budget, capacity, when_hanging)
    pause = hang_seconds / _LOOKS
    try:
        left = min(threads, len(sources))
        for _ in range(left):
            ahead.start_thread()
        look = time.monotonic() + pause
        while left:
            if time.monotonic() >= look:
                ahead.replace_hanging()
                look = time.monotonic() + pause
            try:
                item = ahead.ready.get(timeout=pause)
            except queue.Empty:
                continue
            if isinstance(item, _Crash):
                raise item.error
            if isinstance(item, _Done):
                left -= 1
            else:
                yield item
    finally:
        ahead.stop()
