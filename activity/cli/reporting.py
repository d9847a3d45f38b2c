"""What the reports of several verbs have in common."""

import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch
from omegaconf import DictConfig

from activity.data.clips import Clip, class_indices
from activity.evaluation.predictions import ScoredClips
from activity.features.fill import FailedClip
from activity.models.recognizer import LoadedRecognizer, Recognizer

REPORT = "report.html"
NO_GROUPS = (
    "No groups were given, so each file counts as independent. If several files show the same person or come from one "
    "recording, these figures are too good."
)


def made_by(verb: str) -> str:
    """When a report was made, and by what."""
    return f"activity {verb}, {datetime.now().astimezone():%Y-%m-%d %H:%M}"


def data_name(config: DictConfig) -> str:
    """What a data set is called in a title: the name of its folder, or of its table."""
    given = config.data.root or config.data.get("csv")
    return Path(str(given)).expanduser().absolute().name


def data_facts(config: DictConfig) -> dict[str, str]:
    """Where a data set is, and how it was read."""
    layout = str(config.data.layout["_target_"]).rpartition(".")[2].removeprefix("read_")
    where = [str(config.data[name]) for name in ("csv", "root") if config.data.get(name) is not None]
    return {"Data set": f"{', '.join(where)} (layout: {layout})"}


def recognizer_facts(recognizer: LoadedRecognizer) -> dict[str, str]:
    """What a recognizer says of itself, for people."""
    seconds = recognizer.window_frames / recognizer.sample_fps
    facts = {
        "Classes": str(len(recognizer.class_names)),
        "Modalities": " and ".join(recognizer.modalities),
        "Sampling": f"{recognizer.sample_fps:g} frames a second, windows of {recognizer.window_frames} ({seconds:g} s)",
    }
    if isinstance(recognizer, Recognizer):
        head = recognizer.head.describe()
        settings = ", ".join(
            f"{name.replace('_', ' ')} {value}"
            for name, value in head.items()
            if name not in ("kind", "feature_size", "num_classes")
        )
        facts |= {"Encoder": recognizer.encoder.name, "Head": f"{head['kind']}: {settings}"}
    return facts


def version_facts() -> dict[str, str]:
    """The versions that figures may depend on."""
    programs = {"activity": version("activity"), "torch": torch.__version__, "Python": platform.python_version()}
    return {"Versions": ", ".join(f"{name} {number}" for name, number in programs.items())}


def scored_clips(clips: Sequence[Clip], scores: torch.Tensor, class_names: Sequence[str]) -> ScoredClips:
    """Scores `(N, C)` with the clips they are of."""
    labels = torch.tensor(class_indices(clips, class_names))
    return ScoredClips(tuple(clips), scores, labels, tuple(class_names))


def failures(failed: Sequence[FailedClip]) -> tuple[tuple[str, str], ...]:
    """The clips that failed and why, for a report."""
    return tuple((item.clip.name, item.error) for item in failed)
