import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial

import pytest

from activity.features.ahead import ByteBudget, Short, run_ahead

GIVEN_UP = -1
Item = tuple[int, int]
Lives = Callable[[], None]


def numbers(source: int, count: int, lives: Lives) -> Iterator[Item]:
    for number in range(count):
        lives()
        yield source, number


def sources(*counts: int) -> list[Callable[[Lives], Iterator[Item]]]:
    return [partial(numbers, source, count) for source, count in enumerate(counts)]


def ahead_of(
    sources: Sequence[Callable[[Lives], Iterable[Item]]],
    *,
    budget: ByteBudget | None = None,
    size: int = 1,
    capacity: int = 8,
    threads: int = 3,
    hang_seconds: float = 60.0,
) -> Generator[Item | Short, None, None]:
    return run_ahead(
        sources,
        size_of=lambda item: 0 if item[1] == GIVEN_UP else size,
        budget=budget or ByteBudget(1000),
        capacity=capacity,
        threads=threads,
        when_hanging=lambda source: (source, GIVEN_UP),
        hang_seconds=hang_seconds,
    )


def test_a_budget_lets_one_item_through_however_large() -> None:
    budget = ByteBudget(10)
    assert budget.take(50, timeout=0)
    assert not budget.take(1, timeout=0)
    budget.give_back(50)
    assert budget.take(1, timeout=0)


def test_who_waits_for_the_budget_goes_on_when_bytes_are_given_back() -> None:
    budget, taken = ByteBudget(10), []
    assert budget.take(8, timeout=0)
    assert not budget.is_short()  # nobody waits
    waiter = threading.Thread(target=lambda: taken.append(budget.take(5, timeout=30)))
    waiter.start()
    deadline = time.monotonic() + 10
    while not budget.is_short() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert budget.is_short()
    budget.give_back(8)
    waiter.join()
    assert taken == [True]
    assert not budget.is_short()


@pytest.mark.parametrize("threads", [1, 3, 9])
def test_all_items_come_in_the_order_of_their_source(threads: int) -> None:
    counts = [4, 0, 7, 1, 30]
    items = list(ahead_of(sources(*counts), capacity=2, threads=threads))
    for source, count in enumerate(counts):
        assert [item for item in items if not isinstance(item, Short) and item[0] == source] == [
            (source, number) for number in range(count)
        ]


@pytest.mark.parametrize("threads", [1, 3])
def test_where_the_budget_is_used_up_it_is_said_and_nothing_is_lost(threads: int) -> None:
    """Bytes are given back only when it is said that they are short, as late as can be."""
    budget, held, seen = ByteBudget(25), 0, []
    with closing(ahead_of(sources(9, 9, 9), size=10, budget=budget, threads=threads)) as ahead:
        for item in ahead:
            if isinstance(item, Short):
                if budget.is_short():
                    budget.give_back(held)
                    held = 0
                continue
            seen.append(item)
            held += 10
            assert held <= 20
    assert sorted(seen) == [(source, number) for source in range(3) for number in range(9)]


def test_closing_ends_threads_that_wait_for_the_budget() -> None:
    before = set(threading.enumerate())
    ahead = ahead_of(sources(9, 9, 9), size=10, budget=ByteBudget(10))
    next(ahead)
    ahead.close()
    assert set(threading.enumerate()) <= before


def test_no_sources_give_nothing() -> None:
    assert list(ahead_of([])) == []


@pytest.fixture
def blocked() -> Iterator[threading.Event]:
    """What a source that hangs waits for; set at the end, so that no thread stays."""
    event = threading.Event()
    yield event
    event.set()


class TestHanging:
    """A source that gives nothing and shows no sign of life."""

    def stuck(self, source: int, blocked: threading.Event, lives: Lives) -> Iterator[Item]:
        yield source, 0
        yield source, 1
        blocked.wait()
        yield source, 2  # too late

    @pytest.mark.parametrize("threads", [1, 2])
    def test_it_is_given_up_and_the_others_are_done(self, blocked: threading.Event, threads: int) -> None:
        work = [partial(self.stuck, 0, blocked), *sources(0, 5, 5)[1:], partial(self.stuck, 3, blocked)]
        start = time.monotonic()
        items = list(ahead_of(work, threads=threads, hang_seconds=0.2))
        assert time.monotonic() - start < 5
        assert [number for source, number in items if source == 0] == [0, 1, GIVEN_UP]
        assert [number for source, number in items if source == 3] == [0, 1, GIVEN_UP]
        assert [number for source, number in items if source == 1] == [0, 1, 2, 3, 4]
        assert [number for source, number in items if source == 2] == [0, 1, 2, 3, 4]

    def test_what_it_gives_later_is_not_wanted(self, blocked: threading.Event) -> None:
        ended = threading.Event()

        def late(lives: Lives) -> Iterator[Item]:
            blocked.wait()
            try:
                lives()
            finally:
                ended.set()
            yield 0, 0

        def waits(lives: Lives) -> Iterator[Item]:
            lives()
            yield 1, 0
            blocked.set()
            assert ended.wait(10)  # the first one's work was ended from within
            yield 1, 1

        items = list(ahead_of([late, waits], threads=1, hang_seconds=0.2))
        assert items == [(0, GIVEN_UP), (1, 0), (1, 1)]

    def test_an_item_that_comes_too_late_is_not_given(self, blocked: threading.Event) -> None:
        def late(lives: Lives) -> Iterator[Item]:
            blocked.wait()
            yield 0, 0

        def goes_on(lives: Lives) -> Iterator[Item]:
            blocked.set()
            for number in range(20):
                time.sleep(0.01)
                lives()
                yield 1, number

        items = list(ahead_of([late, goes_on], threads=1, hang_seconds=0.2))
        assert items == [(0, GIVEN_UP), *((1, number) for number in range(20))]

    def test_closing_does_not_wait_for_it(self, blocked: threading.Event) -> None:
        ahead = ahead_of([partial(self.stuck, 0, blocked), *sources(0, 5)[1:]], threads=1, hang_seconds=0.2)
        assert next(item for item in ahead if item == (0, GIVEN_UP))
        start = time.monotonic()
        ahead.close()
        assert time.monotonic() - start < 2

    def test_closing_waits_a_little_for_one_that_is_silent(
        self, blocked: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("activity.features.ahead._GOODBYE_SECONDS", 0.3)
        ahead = ahead_of([partial(self.stuck, source, blocked) for source in range(3)])
        assert len([next(ahead) for _ in range(6)]) == 6
        start = time.monotonic()
        ahead.close()
        assert time.monotonic() - start < 2

    def test_one_that_shows_signs_of_life_does_not_hang(self) -> None:
        def slow(lives: Lives) -> Iterator[Item]:
            for _ in range(20):
                time.sleep(0.05)
                lives()
            yield 0, 0

        assert list(ahead_of([slow], hang_seconds=0.4)) == [(0, 0)]

    def test_nor_does_one_that_waits_for_the_budget(self) -> None:
        def slow(lives: Lives) -> Iterator[Item]:
            for number in range(20):
                time.sleep(0.05)
                lives()
                yield 1, number

        budget = ByteBudget(10)
        items: list[Item] = []
        for item in run_ahead(
            [*sources(2), slow],
            size_of=lambda item: 10 if item[0] == 0 else 0,
            budget=budget,
            capacity=8,
            threads=2,
            when_hanging=lambda source: (source, GIVEN_UP),
            hang_seconds=0.2,
        ):
            if not isinstance(item, Short):
                items.append(item)
            if item == (1, 19):
                budget.give_back(10)
        assert sorted(items) == [(0, 0), (0, 1), *((1, number) for number in range(20))]

    def test_closing_ends_one_that_is_far_from_its_next_item(self) -> None:
        going = threading.Event()

        def far(lives: Lives) -> Iterator[Item]:
            yield 0, 0
            for _ in range(10_000):
                time.sleep(0.01)
                going.set()
                lives()
            yield 0, 1

        before = set(threading.enumerate())
        ahead = ahead_of([far])
        next(ahead)
        assert going.wait(10)
        ahead.close()
        assert set(threading.enumerate()) <= before
