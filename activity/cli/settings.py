"""What values the settings of a configuration may have: checked before any work is done."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from activity.cli.arguments import UsageError
from activity.models.encoder import MOST_RGB_EVERY
from activity.models.finetuning import PARTS
from activity.models.head import READOUTS
from activity.models.precision import PRECISIONS
from activity.models.preprocess import FRAMINGS
from activity.training.datamodule import BALANCES


@dataclass(frozen=True)
class _Kind:
    accepted: str
    accepts: Callable[[object], bool]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value)  # type: ignore[arg-type]


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, ListConfig) else [value]


def _one_of(*choices: str) -> _Kind:
    return _Kind(f"one of {', '.join(choices)}", lambda value: value in choices)


_COUNT = _Kind("a whole number from 1 up", lambda value: _is_whole(value) and value >= 1)  # type: ignore[operator]
_SEED = _Kind("a whole number from 0 to 4294967295", lambda value: _is_whole(value) and 0 <= value < 2**32)  # type: ignore[operator]
_ABOVE_0 = _Kind("a number above 0", lambda value: _is_number(value) and value > 0)  # type: ignore[operator]
_FROM_0 = _Kind("a number from 0 up", lambda value: _is_number(value) and value >= 0)  # type: ignore[operator]
_SHARE = _Kind("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1)  # type: ignore[operator]
_PROBABILITY = _Kind("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)  # type: ignore[operator]
_SHARE_TO_1 = _Kind("a number above 0, to 1", lambda value: _is_number(value) and 0 < value <= 1)  # type: ignore[operator]
_SWITCH = _Kind("true or false", lambda value: isinstance(value, bool))
_RATE = _Kind("a number above 0, to 1000", lambda value: _is_number(value) and 0 < value <= 1000)  # type: ignore[operator]
_SIZE = _Kind("a whole number from 1 to 8192", lambda value: _is_whole(value) and 1 <= value <= 8192)  # type: ignore[operator]
# A folder called 2024 arrives as a number, of which the name cannot always be made again.
_TEXT = _Kind(
    "text; a file or folder whose name is a number is given as ./NUMBER",
    lambda value: isinstance(value, str) and bool(value.strip()),
)
_TEXT_OR_NULL = _Kind(f"{_TEXT.accepted}; or null", lambda value: value is None or _TEXT.accepts(value))
_TEXTS_OR_NULL = _Kind(
    f"{_TEXT.accepted}; a list of these; or null",
    lambda value: value is None or all(_TEXT.accepts(item) for item in _listed(value)),
)
_NUMBER_OR_NULL = _Kind("a number, or null", lambda value: value is None or _is_number(value))
_COUNT_OR_NULL = _Kind("a whole number from 1 up, or null", lambda value: value is None or _COUNT.accepts(value))
_SWITCH_OR_NULL = _Kind("true, false or null", lambda value: value is None or isinstance(value, bool))
_OFFICIAL_SPLIT = _Kind("1, 2 or 3", lambda value: _is_whole(value) and value in (1, 2, 3))

KINDS: dict[str, _Kind] = {
    "seed": _SEED,
    "split": _one_of("train", "val", "test", "all"),
    "format": _one_of("table", "json", "csv"),
    "data.root": _TEXT_OR_NULL,
    "data.csv": _TEXT,
    "data.annotations": _TEXT_OR_NULL,
    "data.split": _OFFICIAL_SPLIT,
    "data.trimmed": _SWITCH_OR_NULL,
    "data.splits": _TEXT_OR_NULL,
    "data.group_pattern": _TEXT_OR_NULL,
    "data.val_fraction": _SHARE,
    "data.test_fraction": _SHARE,
    "data.background": _SWITCH,
    "data.views": _COUNT,
    "data.flip": _SWITCH,
    "data.balance": _one_of("auto", *BALANCES),
    "features.store": _TEXT,
    "features.batch_frames": _COUNT,
    "features.decode_threads": _COUNT,
    "features.precision": _one_of("auto", *PRECISIONS),
    "features.memory_mb": _FROM_0,
    "trainer.accelerator": _one_of("auto", "cpu", "gpu", "cuda"),  # before features.device, which is the same
    "features.device": _one_of("auto", "cpu", "gpu", "cuda"),
    "modalities": _Kind("[rgb], [motion] or [rgb,motion]", lambda value: isinstance(value, ListConfig)),
    "framing": _one_of(*FRAMINGS),
    "sampling.sample_fps": _RATE,
    "sampling.window_frames": _COUNT,
    "sampling.rgb_every": _Kind(
        f"a whole number from 1 to {MOST_RGB_EVERY}",
        lambda value: _is_whole(value) and 1 <= value <= MOST_RGB_EVERY,  # type: ignore[operator]
    ),
    "modality_weights": _one_of("auto", "equal"),
    "head.projection_size": _SIZE,
    "head.hidden_size": _SIZE,
    "head.num_layers": _COUNT,
    "head.dropout": _SHARE,
    "head.modality_dropout": _PROBABILITY,
    "head.bidirectional": _SWITCH,
    "head.readout": _one_of(*READOUTS),
    "head.centered": _SWITCH,
    "head.shortcut": _SWITCH,
    "head.pooled_vote": _SWITCH,
    "baseline.dropout": _SHARE,
    "baseline.modality_dropout": _PROBABILITY,
    "optim.optimizer.lr": _ABOVE_0,
    "optim.optimizer.weight_decay": _FROM_0,
    "optim.reading_lr_factor": _ABOVE_0,
    "optim.warmup_fraction": _SHARE,
    "optim.label_smoothing": _SHARE,
    "optim.batch_size": _COUNT,
    "optim.steps_per_epoch": _COUNT,
    "finetune.part": _one_of(*PARTS),
    "finetune.lr": _ABOVE_0,
    "finetune.head_lr": _ABOVE_0,
    "finetune.epochs": _COUNT,
    "finetune.patience": _COUNT,
    "finetune.batch_size": _COUNT,
    "finetune.clips_at_once": _COUNT,
    "finetune.gradient_checkpointing": _SWITCH,
    "finetune.smallest_crop": _SHARE_TO_1,
    "trainer.max_epochs": _COUNT,
    "trainer.precision": _one_of("32-true", "16-mixed", "bf16-mixed"),
    "trainer.devices": _Kind(
        "1: features are computed, and the head is trained, on one device", lambda value: value == 1
    ),
    "callbacks.early_stopping.patience": _COUNT,
    "timeline.enter_score": _NUMBER_OR_NULL,  # its own constructor says what range
    "timeline.leave_score": _NUMBER_OR_NULL,
    "timeline.smoothing_seconds": _NUMBER_OR_NULL,
    "timeline.min_seconds": _NUMBER_OR_NULL,
    "timeline.merge_seconds": _NUMBER_OR_NULL,
    "timeline.stride": _COUNT_OR_NULL,
    "folds": _Kind(
        "groups (leave one group out), or a number from 2 up",
        lambda value: value == "groups" or (_is_whole(value) and value >= 2),  # type: ignore[operator]
    ),
    "processes": _Kind(
        "auto, or a whole number from 1 up",
        lambda value: value == "auto" or (_is_whole(value) and value >= 1),  # type: ignore[operator]
    ),
}
# What differs with the layout, by the name of the function that reads it.
_KINDS_OF_LAYOUT: dict[str, dict[str, _Kind]] = {"read_kinetics": {"data.csv": _TEXTS_OR_NULL}}
_FOLDER_OR_CSV = (
    "activity VERB data.root=FOLDER (one subfolder a class), or activity VERB data=csv data.csv=FILE; "
    "or data=ucf101, data=hmdb51 or data=kinetics with data.root=FOLDER"
)
_USAGE_OF_LAYOUT = {
    f"read_{name}": f"activity VERB data={name} data.root=FOLDER data.split=1 (the class folders of {name.upper()})"
    for name in ("ucf101", "hmdb51")
}
# What is made of its settings: null does not switch it off.
_MADE = ("data.layout", "encoder", "head", "baseline", "optim.optimizer", "trainer", "callbacks.best")
_SECTIONS = ("features", "timeline", *_MADE)
_ABSENT = object()

# Of the data groups, what a verb has no use for, and what is to be said to whoever expects that it has.
_UNUSED = {
    "crossval": (("val_fraction", "test_fraction", "splits"), "folds= says how the clips are parted"),
    "extract": (("val_fraction", "test_fraction", "splits", "balance"), "features are computed for all clips"),
    "evaluate": (
        ("val_fraction", "test_fraction", "balance", "views", "flip"),
        "it makes no split and trains nothing; split=all takes all clips, data.splits=FILE a split",
    ),
}
# Of a layout, what some verbs have no use for.
_UNUSED_OF_DATA = {
    (verb, "ucf101"): (("split",), "each official split of UCF101 names the same videos, and all of them are taken")
    for verb in ("crossval", "extract")
}


def check_settings(verb: str, config: DictConfig) -> None:
    """Refuse settings that are not given, or whose value is of no use.

    Raises:
        UsageError: with the setting, its value, and what is accepted.
    """
    _check_sections(verb, config)
    layout = str(OmegaConf.select(config, "data.layout._target_", default="")).rpartition(".")[2]
    for key, kind in (KINDS | _KINDS_OF_LAYOUT.get(layout, {})).items():
        if _is_missing(config, key):
            accepted = _USAGE_OF_LAYOUT.get(layout, _FOLDER_OR_CSV).replace("activity VERB", f"activity {verb}")
            raise UsageError(f"{key} is not given. Accepted: {accepted}.")
        value = OmegaConf.select(config, key, default=_ABSENT)  # absent: the chosen head or data has no such setting
        if value is not _ABSENT and not kind.accepts(value):
            raise UsageError(f"{key} is {value!r}; accepted: {kind.accepted}.")


def check_overrides(verb: str, overrides: Sequence[str]) -> None:
    """Refuse overrides of settings that a verb has but makes no use of.

    Raises:
        UsageError: with the setting.
    """
    given = [override.lstrip("+~").partition("=")[::2] for override in overrides]
    data = next((value for key, value in reversed(given) if key == "data"), "")
    unused = [_UNUSED[verb]] if verb in _UNUSED else []
    unused += [_UNUSED_OF_DATA[verb, data]] if (verb, data) in _UNUSED_OF_DATA else []
    reason_of = {f"data.{name}": instead for names, instead in unused for name in names}
    for key, _ in given:
        if instead := reason_of.get(key):
            raise UsageError(f"{key} plays no role in activity {verb}: {instead}. Leave it out.")


def _check_sections(verb: str, config: DictConfig) -> None:
    for key in _SECTIONS:
        section = OmegaConf.select(config, key, default=_ABSENT)
        if section is _ABSENT:
            continue
        shown = f"activity {verb} --cfg job shows"
        if not isinstance(section, DictConfig):
            raise UsageError(
                f"{key} is {section!r}, but cannot be left out; accepted: {key}.NAME=VALUE, with a name that {shown}."
            )
        if key in _MADE and not isinstance(target := section.get("_target_"), str):
            raise UsageError(f"{key}._target_ is {target!r}; accepted: the name of a class or function, as {shown}.")
        if key in _MADE:
            _check_can_be_imported(key, target)


def _check_can_be_imported(key: str, target: str) -> None:
    try:
        get_object(target)
    except (ImportError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(
            f"{key}._target_ is {target!r}, which cannot be imported ({reason}). Accepted: package.module.NAME of a "
            "class or function that is installed."
        ) from error


def _is_missing(config: DictConfig, key: str) -> bool:
    """Whether a setting stands there as ???; `OmegaConf.missing_keys` raises at references to such a setting."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and OmegaConf.is_missing(node, name)
