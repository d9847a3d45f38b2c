"""The folders that Hydra makes before a run: gone again where the run, refused as a rule, has left nothing there."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

_SWEEP = "multirun.yaml"  # what Hydra itself writes into the folder of a sweep


@dataclass(frozen=True)
class _Folder:
    """A folder of a run or a sweep, and what of it, its parents and what lies in it was there before."""

    path: Path
    before: frozenset[Path]
    is_of_sweep: bool


_looked_at: list[_Folder] = []  # Hydra makes its callbacks itself, and keeps them to itself


class NewFolders(Callback):
    """Hydra's callback that looks what is there before Hydra makes a folder; `conf/common.yaml` names it."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Before a single run."""
        _looked_at.append(_look(Path(config.hydra.run.dir), is_of_sweep=False))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Before a sweep, whose runs each have a folder in its own."""
        _looked_at.append(_look(Path(config.hydra.sweep.dir), is_of_sweep=True))


@contextlib.contextmanager
def empty_new_folders_removed() -> Iterator[None]:
    """Call Hydra in this block: folders that it makes and in which there is nothing at the end are removed."""
    _looked_at.clear()
    try:
        yield
    finally:
        for folder in _looked_at:
            with contextlib.suppress(OSError):  # what the run itself says counts
                _remove_if_empty(folder)


@contextlib.contextmanager
def kept_unless_empty(folders: Iterable[Path]) -> Iterator[None]:
    """Of folders that are made in this block, with their parents, remove those in which there is nothing at the end."""
    before = [_look(folder, is_of_sweep=False) for folder in folders]
    try:
        yield
    finally:
        for folder in before:
            with contextlib.suppress(OSError):  # it was never made
                _remove_if_empty(folder)


def _look(path: Path, *, is_of_sweep: bool) -> _Folder:
    path = path.absolute()
    inside = path.iterdir() if is_of_sweep and path.is_dir() else ()
    return _Folder(path, frozenset(each for each in (path, *path.parents, *inside) if each.exists()), is_of_sweep)


def _remove_if_empty(folder: _Folder) -> None:
    if folder.is_of_sweep:
        for run in set(folder.path.iterdir()) - folder.before:
            if run.is_dir() and not any(run.iterdir()):
                run.rmdir()
        if folder.path not in folder.before and list(folder.path.iterdir()) == [folder.path / _SWEEP]:
            (folder.path / _SWEEP).unlink()
    for path in (folder.path, *folder.path.parents):
        if path in folder.before or any(path.iterdir()):
            return
        path.rmdir()
