"""Progress on standard error: one bar for extraction, one for a whole training run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from activity.features.outcome import CheckProgress, FillProgress
from activity.training.lightning import Callback, LightningModule, Trainer

_MOMENT_SECONDS = 1.0


class TrainingProgress(Callback):
    """One bar over all steps of a run, with the last validation's numbers."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._progress.start()
        self._progress.add_task("training", total=int(trainer.estimated_stepping_batches))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch's numbers."""
        if self._progress is None:
            return
        numbers = [
            f"{name.replace('val/', '')} {float(trainer.callback_metrics[name]):.3f}"
            for name in ("val/loss", "val/accuracy")
            if name in trainer.callback_metrics
        ]
        text = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} " + " ".join(
            ["validation", *numbers] if numbers else []
        )
        self._progress.update(self._progress.task_ids[0], description=text)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@contextmanager
def steps_progress(what: str, total: int) -> "Iterator[Callable[[], None]]":
    """A bar over `total` equal steps; calls of what it gives move it by one."""
    progress = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def extraction_progress() -> "Iterator[ExtractionProgress]":
    """A bar over the clips whose features are being computed; none appears where all are stored.

    Before it, one over what is read to know that, where this takes more than a moment.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with progress:
        yield ExtractionProgress(progress)


class ExtractionProgress:
    """Shows `FillProgress` on a bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._begun = 0.0
        self._done_before = 0
        self._check: TaskID | None = None
        self._checking, self._check_begun = "", 0.0

    def check(self, state: CheckProgress) -> None:
        """Show how far reading is what is there."""
        if state.what != self._checking:
            self._checking, self._check_begun = state.what, time.monotonic()
        if self._check is None and time.monotonic() - self._check_begun > _MOMENT_SECONDS:
            self._check = self._progress.add_task(f"reading {state.what}", total=state.total, speed="")
        if self._check is not None:
            self._progress.update(self._check, completed=state.done)
            if state.done == state.total:
                self._progress.remove_task(self._check)
                self._check = None

    def __call__(self, state: FillProgress) -> None:
        """Move the bar."""
        if self._task is None and state.done < state.clips:
            self._begun, self._done_before = time.monotonic(), state.done
            self._task = self._progress.add_task("features", total=state.clips, completed=state.done, speed="")
        if self._task is not None:
            self._progress.update(self._task, completed=state.done, speed=self._speed(state))

    def _speed(self, state: FillProgress) -> str:
        seconds = max(time.monotonic() - self._begun, 1e-3)
        clips, frames = (state.done - self._done_before) / seconds, state.frames / seconds
        return f"clips, {clips:.1f} clips/s, {frames:.0f} frames/s"
