"""What values the settings of a configuration may have: checked before any work is done."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from activity.cli.arguments import UsageError
from activity.models.head import READOUTS
from activity.models.precision import PRECISIONS
from activity.training.datamodule import BALANCES


@dataclass(frozen=True)
class _Kind:
    accepted: str
    accepts: Callable[[object], bool]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value)  # type: ignore[arg-type]


def _one_of(*choices: str) -> _Kind:
    return _Kind(f"one of {', '.join(choices)}", lambda value: value in choices)


_COUNT = _Kind("a whole number from 1 up", lambda value: _is_whole(value) and value >= 1)  # type: ignore[operator]
_SEED = _Kind("a whole number from 0 to 4294967295", lambda value: _is_whole(value) and 0 <= value < 2**32)  # type: ignore[operator]
_ABOVE_0 = _Kind("a number above 0", lambda value: _is_number(value) and value > 0)  # type: ignore[operator]
_FROM_0 = _Kind("a number from 0 up", lambda value: _is_number(value) and value >= 0)  # type: ignore[operator]
_SHARE = _Kind("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1)  # type: ignore[operator]
_SWITCH = _Kind("true or false", lambda value: isinstance(value, bool))
# A folder called 2024 arrives as a number, of which the name cannot always be made again.
_TEXT = _Kind(
    "text; a file or folder whose name is a number is given as ./NUMBER", lambda value: isinstance(value, str)
)
_TEXT_OR_NULL = _Kind(f"{_TEXT.accepted}; or null", lambda value: value is None or isinstance(value, str))

KINDS: dict[str, _Kind] = {
    "seed": _SEED,
    "data.root": _TEXT_OR_NULL,
    "data.csv": _TEXT,
    "data.splits": _TEXT_OR_NULL,
    "data.group_pattern": _TEXT_OR_NULL,
    "data.val_fraction": _SHARE,
    "data.test_fraction": _SHARE,
    "data.views": _COUNT,
    "data.flip": _SWITCH,
    "data.balance": _one_of(*BALANCES),
    "features.store": _TEXT,
    "features.batch_frames": _COUNT,
    "features.decode_threads": _COUNT,
    "features.precision": _one_of("auto", *PRECISIONS),
    "features.memory_mb": _FROM_0,
    "features.device": _one_of("auto", "cpu", "gpu", "cuda"),
    "sampling.sample_fps": _ABOVE_0,
    "sampling.window_frames": _COUNT,
    "head.hidden_size": _COUNT,
    "head.num_layers": _COUNT,
    "head.dropout": _SHARE,
    "head.bidirectional": _SWITCH,
    "head.readout": _one_of(*READOUTS),
    "head.centered": _SWITCH,
    "head.shortcut": _SWITCH,
    "baseline.dropout": _SHARE,
    "optim.optimizer.lr": _ABOVE_0,
    "optim.optimizer.weight_decay": _FROM_0,
    "optim.warmup_fraction": _SHARE,
    "optim.label_smoothing": _SHARE,
    "optim.batch_size": _COUNT,
    "optim.steps_per_epoch": _COUNT,
    "trainer.max_epochs": _COUNT,
    "trainer.precision": _one_of("32-true", "16-mixed", "bf16-mixed"),
    "trainer.devices": _Kind(
        "1: features are computed, and the head is trained, on one device", lambda value: value == 1
    ),
    "callbacks.early_stopping.patience": _COUNT,
}
_ABSENT = object()


def check_settings(verb: str, config: DictConfig) -> None:
    """Refuse settings that are not given, or whose value is of no use.

    Raises:
        UsageError: with the setting, its value, and what is accepted.
    """
    for key, kind in KINDS.items():
        if _is_missing(config, key):
            raise UsageError(
                f"{key} is not given. Accepted: activity {verb} data.root=FOLDER (one subfolder a class), or "
                f"activity {verb} data=csv data.csv=FILE."
            )
        value = OmegaConf.select(config, key, default=_ABSENT)  # absent: the chosen head or data has no such setting
        if value is not _ABSENT and not kind.accepts(value):
            raise UsageError(f"{key} is {value!r}; accepted: {kind.accepted}.")


def _is_missing(config: DictConfig, key: str) -> bool:
    """Whether a setting stands there as ???; `OmegaConf.missing_keys` raises at references to such a setting."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and OmegaConf.is_missing(node, name)
