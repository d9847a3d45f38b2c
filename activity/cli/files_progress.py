"""Progress over files, or over how long they last, on standard error. Apart from `progress.py`: no Lightning here."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SPEED_SECONDS = 600.0  # files take their time: the time left is told from those of the last minutes


@contextmanager
def files_progress(total: int, *, done: int, shown: bool) -> Iterator[Callable[[], None]]:
    """A bar over files, of which some are done already; calls of what it gives move it by one."""
    if not shown:
        yield lambda: None
        return
    # Here: what is not shown costs a short command no time.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("files"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=_SPEED_SECONDS,
    )
    begun = time.monotonic()
    with progress:
        task = progress.add_task("files", total=total, completed=done, speed="")

        def advance() -> None:
            progress.advance(task)
            rate = (progress.tasks[0].completed - done) / max(time.monotonic() - begun, 1e-3)
            progress.update(task, speed=f"{rate:.2g} files/s" if rate < 10 else f"{rate:.0f} files/s")

        yield advance


@contextmanager
def seconds_progress(total: float, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """A bar over the seconds that videos last; calls of what it gives move it by so many.

    `total`: as far as the videos say; a part of it that nobody knows makes the end come late.
    """
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("video"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        speed_estimate_period=_SPEED_SECONDS,
    )
    begun = time.monotonic()
    with progress:
        task = progress.add_task("video", total=total or None, speed="")

        def advance(seconds: float) -> None:
            progress.advance(task, seconds)
            rate = progress.tasks[0].completed / max(time.monotonic() - begun, 1e-3)
            progress.update(task, speed=f"{rate:.2g} x its own speed" if rate < 10 else f"{rate:.0f} x its own speed")

        yield advance
