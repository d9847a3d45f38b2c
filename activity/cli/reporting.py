"""What the reports of several verbs have in common."""

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig

from activity.data.clips import Clip, class_indices
from activity.evaluation.predictions import ScoredClips
from activity.features.outcome import FailedClip
from activity.models.recognizer import LoadedRecognizer, Recognizer

REPORT = "report.html"
_NAMES_IN_TITLE = 3
NO_GROUPS = (
    "No groups were given, so each file counts as independent. If several files show the same person or come from one "
    "recording, these figures are too good."
)


def made_by(verb: str) -> str:
    """When a report was made, and by what."""
    return f"activity {verb}, {datetime.now().astimezone():%Y-%m-%d %H:%M}"


def data_name(config: DictConfig) -> str:
    """What a data set is called in a title: the name of its folder, or of its tables."""
    given = config.data.root or config.data.csv
    tables = list(given) if isinstance(given, ListConfig) else [given]
    names = [Path(str(table)).expanduser().absolute().name for table in tables]
    shown, more = names[:_NAMES_IN_TITLE], len(names) - _NAMES_IN_TITLE
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def data_facts(config: DictConfig) -> dict[str, str]:
    """Where a data set is, and how it was read."""
    layout = str(config.data.layout["_target_"]).rpartition(".")[2].removeprefix("read_")
    given = [config.data[name] for name in ("csv", "root") if config.data.get(name) is not None]
    where = [str(path) for item in given for path in (item if isinstance(item, ListConfig) else [item])]
    return {"Data set": f"{', '.join(where)} (layout: {layout})"}


def recognizer_facts(recognizer: LoadedRecognizer, *, chosen: Sequence[Mapping[str, Any]] = ()) -> dict[str, str]:
    """What a recognizer says of itself, for people.

    Args:
        recognizer: what is described.
        chosen: where there are many of its kind, the settings of `by_modality` that each has instead of its own.
    """
    seconds = recognizer.window_frames / recognizer.sample_fps
    facts = {
        "Classes": str(len(recognizer.class_names)),
        "Modalities": " and ".join(recognizer.modalities),
        "Sampling": f"{recognizer.sample_fps:g} frames a second, windows of {recognizer.window_frames} ({seconds:g} s)",
    }
    if isinstance(recognizer, Recognizer):
        encoder = recognizer.encoder
        facts |= {
            "Encoder": f"{encoder.name}, computing in {encoder.precision}",
            "Head": _head_text(recognizer, chosen),
        }
    return facts


def by_modality(settings: Mapping[str, Any], modalities: Sequence[str]) -> dict[str, Any]:
    """Settings of a head, with the weights of modalities by their names.

    >>> by_modality({"modality_weights": [1.0, 0.5], "dropout": 0.1}, ["rgb", "motion"])
    {'modality_weights': {'rgb': 1.0, 'motion': 0.5}, 'dropout': 0.1}
    """
    named = dict(settings)
    if "modality_weights" in named:
        named["modality_weights"] = dict(zip(modalities, named["modality_weights"], strict=True))
    return named


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


def _head_text(recognizer: Recognizer, chosen: Sequence[Mapping[str, Any]]) -> str:
    """The kind of a head and its settings; of those that were chosen anew in each fold, the range."""
    head = recognizer.head.describe()
    own = by_modality(head, recognizer.modalities)
    texts = []
    for name in (name for name in own if name not in ("kind", "feature_size", "num_classes")):
        found = [settings[name] for settings in chosen if name in settings]
        by_fold = " (found in each fold)" if found else ""
        texts.append(f"{name.replace('_', ' ')} {_range_text(found or [own[name]])}{by_fold}")
    return f"{head['kind']}: {', '.join(texts)}"


def _range_text(values: Sequence[Any]) -> str:
    """Values of one setting, from the least to the largest; by name where each is several.

    >>> _range_text([{"rgb": 0.5, "motion": 1.0}, {"rgb": 0.70710678, "motion": 1.0}]), _range_text(["mean"])
    ('rgb 0.5 to 0.71 and motion 1', 'mean')
    """
    if isinstance(values[0], Mapping):
        return " and ".join(f"{name} {_range_text([value[name] for value in values])}" for name in values[0])
    ends = dict.fromkeys(_value_text(value) for value in (min(values), max(values)))
    return " to ".join(ends)


def _value_text(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
