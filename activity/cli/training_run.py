"""What the folder of a training run says of its data set, for whoever measures its models later and elsewhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from activity.cli.configuration import CONFIG
from activity.data.clips import Clip, DataError, Manifest, count_text, first_few
from activity.data.layouts import read_clips
from activity.data.names import comparable
from activity.features.store import video_digest
from activity.files import write_atomically

DATA, SPLITS = "data.json", "splits.csv"
_PATHS = ("root", "csv", "annotations")  # settings of the data group that may be relative


@dataclass(frozen=True)
class TrainingRun:
    """The run that a model file lies in.

    Attributes:
        config: its configuration, with absolute paths where the run says from where they start.
        splits: the table of its splits.
        contents: a digest of the bytes of each training clip's video, by the clip's name; None where the run does not
            say.
    """

    config: DictConfig
    splits: Path
    contents: Mapping[str, str] | None

    def trained_on(self) -> set[tuple[str, float, float]]:
        """Content and span of each clip of the training split; raises a DataError where that cannot be told."""
        if self.contents is None:
            raise DataError(f"{self.splits.parent} does not say which videos they are ({DATA} is missing or damaged)")
        clips, _ = read_clips(self.splits, root=self.splits.parent)  # for their names: no file need be there
        contents = {comparable(name): digest for name, digest in self.contents.items()}
        # A clip without content could not be read when the model was trained.
        trained = [clip for clip in clips if clip.split == "train" and comparable(clip.name) in contents]
        return {(contents[comparable(clip.name)], *clip.key[1:]) for clip in trained}


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


def save_data(manifest: Manifest, contents: Mapping[str, str], folder: Path) -> None:
    """Write down, for people and for `training_run`, where the data set of a run is and what is trained on.

    Args:
        manifest: the data set.
        contents: as `TrainingRun` has them: a clip is known again wherever its video lies by then.
        folder: of the run.
    """
    # Relative paths of the run's settings start from the working folder.
    document = {"root": str(manifest.root), "working_folder": str(Path.cwd()), "training_videos": dict(contents)}
    write_atomically(folder / DATA, json.dumps(document, indent=2, ensure_ascii=False).encode())


def training_run(model: Path) -> TrainingRun | None:
    """The run whose folder, `checkpoints` or those of whose baseline a model file lies in, or None."""
    for folder in list(model.absolute().parents)[:3]:
        if (folder / CONFIG).is_file() and (folder / SPLITS).is_file():
            config = OmegaConf.load(folder / CONFIG)
            if isinstance(config, DictConfig) and "data" in config:
                return _run(folder, config)
    return None


def seen_in_training(
    model: Path, clips: Sequence[Clip], contents: Mapping[Path, str], run: TrainingRun | None
) -> SeenInTraining:
    """Which of `clips`, with a digest of each video's bytes, a model was trained on, as far as its run says."""
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
    seen = tuple(clip for clip in clips if (contents.get(clip.path, ""), *clip.key[1:]) in trained_on)
    if not seen:
        return SeenInTraining(seen, None)
    names = first_few(list(dict.fromkeys(clip.name for clip in seen)))
    return SeenInTraining(
        seen,
        f"{len(seen)} of these {count_text(len(clips), 'clip')} came from the model's training split ({names}): the "
        "figures say how well it remembers, not how well it will do on others.",
    )


def videos_seen_in_training(
    model: Path, videos: Mapping[str, Path], run: TrainingRun | None
) -> tuple[tuple[str, ...] | None, str | None]:
    """Which of some videos, given by name, have clips that a model was trained on, as far as its run says.

    Returns:
        Their names, None where that cannot be told; and what is to be said of it, None where nothing is.
    """
    if run is None or run.contents is None:
        where = f"{model.name} does not lie in the folder of a run" if run is None else f"{DATA} is missing or damaged"
        return None, (
            f"{where}, so nothing says which videos {model.name} was trained on. The figures are too good if it has "
            "seen some of these."
        )
    trained_on = set(run.contents.values())
    seen = tuple(name for name, path in videos.items() if path.is_file() and video_digest(path) in trained_on)
    if not seen:
        return seen, None
    return seen, (
        f"{len(seen)} of these {count_text(len(videos), 'video')} have clips in the model's training split "
        f"({first_few(seen)}): the figures say how well it remembers, not how well it will do on others."
    )


def _run(folder: Path, config: DictConfig) -> TrainingRun:
    try:
        document = json.loads((folder / DATA).read_bytes())
        working_folder = Path(document["working_folder"])
        contents = document.get("training_videos")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return TrainingRun(config, folder / SPLITS, None)
    for node in (config.data, config.data.layout):
        for name in _PATHS:
            if node.get(name) is not None:
                node[name] = _absolute(node[name], working_folder)
    config.features.store = _absolute(config.features.store, working_folder)
    return TrainingRun(config, folder / SPLITS, contents if isinstance(contents, dict) else None)


def _absolute(given: str | ListConfig, start: Path) -> str | list[str]:
    if isinstance(given, ListConfig):
        return [str(start / Path(item).expanduser()) for item in given]
    return str(start / Path(given).expanduser())
