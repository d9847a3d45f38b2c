"""Which files of a folder are a feature store's own: the folder may hold other things, which are nobody's to remove.

    ROOT/v3/ab/ab…(40 hexadecimal digits).safetensors    entries; the folders of other numbers are of other versions
    ROOT/ab/ab….safetensors                              entries of the first version, which had no folder of its own
    ROOT/configurations/                                 who uses which entries
    .writing-…(32 hexadecimal digits)                    in any of these: a file that is being written

Other processes write and remove files at the same time: what is gone when it is looked at was not there.
"""

import os
import re
import time
from pathlib import Path

from activity.files import TEMPORARY_PREFIX

ENTRY_SUFFIX = ".safetensors"
CONFIGURATIONS = "configurations"
_VERSION = re.compile(r"v[0-9]+")
_PART = re.compile(r"[0-9a-f]{2}")
_ENTRY = re.compile(r"[0-9a-f]{40}" + re.escape(ENTRY_SUFFIX))
_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{32}")
_ABANDONED_SECONDS = 3600.0  # nobody writes one file for an hour


def entry_files(version: Path) -> list[Path]:
    """The entries in the folder of a version, or in a part of one."""
    return [path for folder in (version, *_parts(version)) for path in _named(folder, _ENTRY)]


def other_versions(root: Path, own: Path) -> list[Path]:
    """The folders in `root`, but for `own`, that hold anything that another version stored."""
    folders = [folder for folder in (*_named(root, _VERSION), *_parts(root)) if folder != own]
    return [folder for folder in folders if files_of_version(folder)]


def files_of_version(version: Path) -> list[Path]:
    """All files in the folder of a version that are a store's: entries and what became none."""
    return sorted(entry_files(version) + _temporary_files(version))


def remove_empty_folders(version: Path) -> None:
    """Remove the folder of a version, and its parts, where nothing is left in them."""
    for folder in (*_parts(version), version):
        try:
            folder.rmdir()
        except OSError:  # something of others is in it, or another process was quicker
            continue


def abandoned_files(root: Path, version: Path) -> list[Path]:
    """Temporary files of writers that were killed: an hour old, so that none of a living one is among them."""
    found = [*_named(root, _TEMPORARY), *_named(root / CONFIGURATIONS, _TEMPORARY), *_temporary_files(version)]
    return [path for path in found if _age_seconds(path) > _ABANDONED_SECONDS]


def size_of(path: Path) -> int:
    """The bytes of a file; 0 where it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _temporary_files(version: Path) -> list[Path]:
    return [path for folder in (version, *_parts(version)) for path in _named(folder, _TEMPORARY)]


def _parts(version: Path) -> list[Path]:
    return _named(version, _PART)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """What is in a folder under names of a pattern; nothing where it is no folder, or not to be looked into."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if pattern.fullmatch(name)]  # noqa: PTH208
    except OSError:  # gone meanwhile, a file, or a folder of somebody else: nothing of ours that could be removed
        return []


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
