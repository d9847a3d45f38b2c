"""The folders of runs: each is of one run at a time, and gone again where that leaves nothing there."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from activity.cli.arguments import UsageError, quoted

_SWEEP = "multirun.yaml"  # what Hydra itself writes into the folder of a sweep


@dataclass(frozen=True)
class _Folder:
    """A folder of a run or a sweep, and what of it, its parents and what lies in it was there before."""

    path: Path
    before: frozenset[Path]
    is_of_sweep: bool


_looked_at: list[_Folder] = []  # Hydra makes its callbacks itself, and keeps them to itself


class NewFolders(Callback):
    """Hydra's callback that makes a folder before Hydra does; `conf/common.yaml` names it.

    Where the time is its name, another run begun in the same second may have it: then the next free one of NAME,
    NAME_2, NAME_3 is taken.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Before a single run."""
        _make(config.hydra, "run")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Before a sweep, whose runs each have a folder in its own."""
        _make(config.hydra, "sweep")


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
def used_by_no_other_run(folder: Path) -> Iterator[None]:
    """Refuse a folder that another run is using, and keep it from others in this block.

    The system lets go of it with the process, however that ends. Windows and some network drives cannot keep it.

    Raises:
        UsageError: a run is going on there.
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{folder} is in use by another run that is going on. Wait for its end, or give another hydra.run.dir."
            ) from None
        except OSError:  # a network drive, say
            pass
        yield
    finally:
        os.close(descriptor)


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


def _make(config: DictConfig, kind: str) -> None:
    """Make the folder of a run or a sweep; where its name is the time and it is there already, another beside it."""
    path, unresolved = Path(config[kind].dir), OmegaConf.to_container(config)
    is_time = "${now:" in unresolved[kind]["dir"]  # type: ignore[call-overload,index]
    folder = _look(path, is_of_sweep=kind == "sweep")
    with contextlib.suppress(OSError):  # Hydra, which makes it where it is not there, says what is wrong
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            made = path if number == 1 else path.with_name(f"{path.name}_{number}")
            with contextlib.suppress(FileExistsError):
                made.mkdir()
                folder = replace(folder, path=made.absolute(), before=folder.before - {made.absolute()})
                break
            if not is_time:  # somebody may have made it after we looked: it is not ours to remove
                folder = replace(folder, before=folder.before | {folder.path})
                break
    if folder.path != path.absolute():
        with read_write(config):
            config[kind].dir = str(folder.path)
            # What each run of a sweep is composed from.
            config.overrides.hydra.append(f"hydra.{kind}.dir={quoted(str(folder.path))}")
    _looked_at.append(folder)


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
