import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from activity.features.ahead import ByteBudget, Short, run_ahead


def numbers(source: int, count: int) -> Iterator[tuple[int, int]]:
    return ((source, number) for number in range(count))


def sources(*counts: int) -> list[Callable[[], Iterator[tuple[int, int]]]]:
    return [partial(numbers, source, count) for source, count in enumerate(counts)]


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
    budget = ByteBudget(1000)
    items = list(run_ahead(sources(*counts), size_of=lambda _: 1, budget=budget, capacity=2, threads=threads))
    for source, count in enumerate(counts):
        assert [item for item in items if not isinstance(item, Short) and item[0] == source] == [
            (source, number) for number in range(count)
        ]


@pytest.mark.parametrize("threads", [1, 3])
def test_where_the_budget_is_used_up_it_is_said_and_nothing_is_lost(threads: int) -> None:
    """Bytes are given back only when it is said that they are short, as late as can be."""
    budget, held, seen = ByteBudget(25), 0, []
    with closing(
        run_ahead(sources(9, 9, 9), size_of=lambda _: 10, budget=budget, capacity=8, threads=threads)
    ) as ahead:
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
    ahead = run_ahead(sources(9, 9, 9), size_of=lambda _: 10, budget=ByteBudget(10), capacity=8, threads=3)
    next(ahead)
    ahead.close()
    assert set(threading.enumerate()) <= before


def test_no_sources_give_nothing() -> None:
    assert list(run_ahead([], size_of=lambda _: 1, budget=ByteBudget(1), capacity=1, threads=4)) == []
