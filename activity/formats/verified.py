"""`export.json`: what was seen of exported files when they were verified, and the fastest of them that can run here."""

import hashlib
import importlib.util
import json
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from activity.files import write_atomically
from activity.formats.contract import ModelFileError
from activity.formats.load import only_on_the_cpu
from activity.formats.table import format_by_suffix

FILE_NAME = "export.json"
# Of the fastest: from a few clips speeds are not known better, and of such files the one that loads fastest is taken.
_AS_FAST = 0.95


@dataclass(frozen=True)
class Fastest:
    """The file that is the fastest.

    Attributes:
        path: of the file.
        elsewhere: another machine than this, on which speeds were measured that it was chosen by, or None.
    """

    path: Path
    elsewhere: str | None


def model_digest(path: Path) -> str:
    """What tells one model from another: a digest of the bytes of its file, or of the files of its folder."""
    digest = hashlib.blake2b(digest_size=8)
    for item in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if item.is_file():
            with item.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def record(path: Path, seen: dict[str, Any]) -> None:
    """Write down in the folder of an exported file what was seen of it.

    Args:
        path: the file or folder that was written.
        seen: plain Python; with "frames_per_second" and "load_seconds", and of the checkpoint that it was made of
            "checkpoint" (its digest), "checkpoint_frames_per_second" and "checkpoint_load_seconds".
    """
    models = known_models(path.parent)
    models[path.name] = {"digest": model_digest(path), "machine": this_machine(), **seen}
    text = json.dumps({"models": dict(sorted(models.items()))}, indent=2, ensure_ascii=False)
    write_atomically(path.parent / FILE_NAME, text.encode())


def this_machine() -> dict[str, str | int]:
    """What a speed on a CPU depends on."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    name = str(found.get("cpu_name") or platform.processor() or platform.machine())
    return {"CPU": name, "cores": torch.get_num_threads()}


def fastest_model(path: Path, *, on_gpu: bool = False, say: Callable[[str], None] = lambda _: None) -> Fastest:
    """The fastest of the files that were exported from the same checkpoint into the folder of a model.

    Speeds are those of the verification; of those that are about as fast, the one that loads fastest. A file that was
    changed since, or whose library is not installed, is left out.

    Args:
        path: an exported file, or the checkpoint, with an `export.json` in its folder.
        on_gpu: leave out what runs on the CPU alone; the speeds are those of a CPU all the same.
        say: is told of files that were changed.

    Raises:
        ModelFileError: there is no model at the path, or nothing is known of it.
    """
    if not path.exists():
        raise ModelFileError(f"There is no model file {path}.")
    digest, models = model_digest(path), known_models(path.parent)
    own = models.get(path.name, {})
    checkpoint = own["checkpoint"] if own.get("digest") == digest else digest
    speeds: dict[Path, float] = {}
    loads: dict[Path, float] = {}  # seconds
    elsewhere: str | None = None
    for name, seen in models.items():
        file = path.parent / name
        if seen["checkpoint"] != checkpoint:
            continue
        if digest == checkpoint:
            known = float(seen.get("checkpoint_load_seconds", "inf"))
            speeds[path], loads[path] = 1.0, min(known, loads.get(path, math.inf))
        if not file.exists():
            continue
        if model_digest(file) != seen["digest"]:
            say(f"warning: {file} has changed since it was verified and is left out; to use it, export it anew.")
        elif _can_run(file, on_gpu=on_gpu):
            # Beside the checkpoint in the same run: another run had other clips and another load of the machine.
            speeds[file] = seen["frames_per_second"] / seen["checkpoint_frames_per_second"]
            loads[file] = float(seen.get("load_seconds", "inf"))
            elsewhere = elsewhere or _elsewhere(seen)
    if not speeds and own and own["digest"] != digest:
        raise ModelFileError(
            f"{path} has changed since it was verified, and with it what is known of its speed. Copy it or export it "
            "again, or leave --runtime auto out."
        )
    if not speeds:
        raise ModelFileError(
            f"Nothing is known of files made of {path}: no {FILE_NAME} beside it names them. Export into its folder "
            "(activity export CHECKPOINT model.ts model.onnx), or leave --runtime auto out."
        )
    as_fast = [file for file, speed in speeds.items() if speed >= _AS_FAST * max(speeds.values())]
    return Fastest(min(as_fast, key=lambda file: loads[file]), elsewhere)


def known_models(folder: Path) -> dict[str, Any]:
    """What `export.json` says of the files of a folder, by name; nothing where there is none.

    Raises:
        ModelFileError: it is something else.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    try:
        models = json.loads(path.read_bytes())["models"]
        for seen in models.values():
            _ = seen["digest"], seen["checkpoint"], seen["frames_per_second"] / seen["checkpoint_frames_per_second"]
            _ = [float(seen.get(name, 0)) for name in ("load_seconds", "checkpoint_load_seconds")]
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ModelFileError(f"{path} is not what activity export writes. Remove it and export again.") from error
    return dict(models)


def _can_run(file: Path, *, on_gpu: bool) -> bool:
    if on_gpu and only_on_the_cpu(file):
        return False
    found = format_by_suffix(file.suffix)
    return found is None or all(importlib.util.find_spec(library) is not None for library in found.runs_with)


def _elsewhere(seen: Mapping[str, Any]) -> str | None:
    """The machine on which a file was verified, where that was another one than this."""
    machine = seen.get("machine")
    if machine is None or machine == this_machine():
        return None
    return f"{machine.get('CPU')}, {machine.get('cores')} cores"
