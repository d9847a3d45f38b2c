"""What the folder of a training run says of its data set, for whoever measures its models later and elsewhere."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from activity.cli.configuration import CONFIG
from activity.data.clips import Clip, DataError, Manifest, count_text, first_few
from activity.data.layouts import read_clips
from activity.files import write_atomically

DATA, SPLITS = "data.json", "splits.csv"
_PATHS = ("root", "csv", "annotations")  # settings of the data group that may be relative


@dataclass(frozen=True)
class TrainingRun:
    """The run that a model file lies in.

    Attributes:
        config: its configuration, with absolute paths where `root` is known.
        splits: the table of its splits.
        root: the folder that clip names are relative to; None where the run does not say.
    """

    config: DictConfig
    splits: Path
    root: Path | None

    def trained_on(self) -> set[tuple[Path, float, float]]:
        """File and span of each clip of the training split; raises a DataError where that cannot be told."""
        if self.root is None:
            raise DataError(f"{self.splits.parent} does not say where its data set was ({DATA} is missing)")
        clips, _ = read_clips(self.splits, root=self.root)
        return {_place(clip) for clip in clips if clip.split == "train"}


@dataclass(frozen=True)
class SeenInTraining:
    """Which of some clips a model was trained on.

    Attributes:
        clips: those; None where that cannot be told.
        text: what is to be said of it, a warning where `clips` has some; None where nothing is.
    """

    clips: tuple[Clip, ...] | None
    text: str | None

    def document(self) -> list[dict[str, Any]] | None:
        """The clips as plain Python, for JSON."""
        if self.clips is None:
            return None
        return [{"path": clip.name, "start": clip.start_seconds, "end": clip.end_seconds} for clip in self.clips]


def save_data(manifest: Manifest, folder: Path) -> None:
    """Write down where the data set of a run is, and from where relative paths of its settings start."""
    document = {"root": str(manifest.root), "working_folder": str(Path.cwd())}
    write_atomically(folder / DATA, json.dumps(document, indent=2, ensure_ascii=False).encode())


def training_run(model: Path) -> TrainingRun | None:
    """The run whose folder, `checkpoints` or those of whose baseline a model file lies in, or None."""
    for folder in list(model.absolute().parents)[:3]:
        if (folder / CONFIG).is_file() and (folder / SPLITS).is_file():
            config = OmegaConf.load(folder / CONFIG)
            if isinstance(config, DictConfig) and "data" in config:
                return _run(folder, config)
    return None


def seen_in_training(model: Path, clips: Sequence[Clip], run: TrainingRun | None) -> SeenInTraining:
    """Which of `clips` a model was trained on, as far as its run says."""
    if run is None:
        return SeenInTraining(
            None,
            f"{model.name} does not lie in the folder of a run, so nothing says which clips it was trained on. The "
            "figures are too good if it has seen some of these.",
        )
    try:
        trained_on = run.trained_on()
    except DataError as error:
        reason = str(error).rstrip(".")
        return SeenInTraining(
            None,
            f"Which of these clips {model.name} was trained on cannot be told: {reason}. The figures may be too good.",
        )
    seen = tuple(clip for clip in clips if _place(clip) in trained_on)
    if not seen:
        return SeenInTraining(seen, None)
    names = first_few(list(dict.fromkeys(clip.name for clip in seen)))
    return SeenInTraining(
        seen,
        f"{len(seen)} of these {count_text(len(clips), 'clip')} came from the model's training split ({names}): the "
        "figures say how well it remembers, not how well it will do on others.",
    )


def _run(folder: Path, config: DictConfig) -> TrainingRun:
    try:
        document = json.loads((folder / DATA).read_bytes())
        root, working_folder = Path(document["root"]), Path(document["working_folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return TrainingRun(config, folder / SPLITS, None)
    for node in (config.data, config.data.layout):
        for name in _PATHS:
            if node.get(name) is not None:
                node[name] = _absolute(node[name], working_folder)
    config.features.store = _absolute(config.features.store, working_folder)
    return TrainingRun(config, folder / SPLITS, root)


def _absolute(given: str | ListConfig, start: Path) -> str | list[str]:
    if isinstance(given, ListConfig):
        return [str(start / Path(item).expanduser()) for item in given]
    return str(start / Path(given).expanduser())


def _place(clip: Clip) -> tuple[Path, float, float]:
    return (clip.path, *clip.key[1:])
