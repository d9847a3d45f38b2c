"""Hydra, for the verbs that take overrides."""

import difflib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from activity.cli.arguments import UsageError, note, quoted
from activity.cli.errors import message_of
from activity.cli.new_folders import empty_new_folders_removed, used_by_no_other_run

CONFIG, OVERRIDES = "config.yaml", "overrides.yaml"  # what a run's folder says of how it was started
_PACKAGE = Path(__file__).parents[1]
# Beside the package in a checkout, inside it in an installed wheel.
CONFIG_FOLDER = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


# Hydra's own (its argparse would answer another one with a usage of many lines, in its name).
_FLAGS = (
    *("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r"),
    *("--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
)


def run_with_configuration(config_name: str, arguments: Sequence[str], task: Callable[[DictConfig], int]) -> int:
    """Compose a configuration from `arguments` as Hydra's command line does, and run a task with it.

    All of Hydra's flags work (`--help`, `--cfg job`, `--multirun`, `--config-dir`, ...).

    Raises:
        UsageError: for overrides that do not fit, with the nearest names that do.
        Exception: what the task raised.
    """
    _check_flags(config_name, arguments)
    outcomes: list[int | Exception] = []

    def guarded(config: DictConfig) -> None:
        # Hydra prints a message of its own for what a task raises; ours is raised after it, and only once.
        try:
            # `extract` leaves nothing in its folder, which is the current one: others may run there.
            is_current = run_folder() == Path.cwd()
            with nullcontext() if is_current else used_by_no_other_run(run_folder()):
                outcomes.append(task(config))
        except Exception as error:  # noqa: BLE001 - raised below
            outcomes.append(error)

    _call_hydra(config_name, list(map(_letters_quoted, arguments)), guarded)
    errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    for error in errors[1:]:  # of several runs (--multirun) more than one may fail
        note(f"activity {config_name}: {message_of(error) or repr(error)}")
    if errors:
        raise errors[0]
    return max((outcome for outcome in outcomes if isinstance(outcome, int)), default=0)


def default_configuration(verb: str) -> DictConfig:
    """The configuration of a verb as shipped, without overrides."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_FOLDER)):
        return hydra.compose(verb)


def run_folder() -> Path:
    """The folder of the run in progress (`hydra.run.dir`), absolute."""
    return Path(HydraConfig.get().runtime.output_dir)


def _call_hydra(config_name: str, arguments: list[str], task: Callable[[DictConfig], None]) -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, where Hydra would print and exit
    main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(task)
    before = sys.argv
    sys.argv = [f"activity {config_name}", *arguments]  # where Hydra looks for its arguments
    try:
        with empty_new_folders_removed():
            main()
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: a group that is null, say
        raise UsageError(_explained(error, config_name, arguments)) from error
    finally:
        sys.argv = before


def _letters_quoted(argument: str) -> str:
    """An override whose value Hydra's grammar takes: unquoted, that knows the letters of English alone.

    >>> _letters_quoted("data.root=vidéos"), _letters_quoted("data.csv=['vidéos.csv']")
    ('data.root="vidéos"', "data.csv=['vidéos.csv']")
    """
    key, _, value = argument.partition("=")
    plain = value.isascii() or argument.startswith("-") or re.search(r"""["'\[\]{},$\\]""", value)
    return argument if plain else f"{key}={quoted(value)}"


def _check_flags(verb: str, arguments: Sequence[str]) -> None:
    for argument in arguments:
        name = argument.partition("=")[0]
        if not name.startswith("-") or name in _FLAGS:
            continue
        setting = name.lstrip("-").replace("-", "_")
        if setting in known_keys(verb):
            advice = f"Settings stand without dashes: {setting}=VALUE"
        else:
            near = difflib.get_close_matches(name, _FLAGS, n=1, cutoff=0.7)
            advice = f"Nearest: {near[0]}" if near else "Settings are given as KEY=VALUE"
        raise UsageError(f"activity {verb} has no flag {name}. {advice}; see activity {verb} --help.")


def _explained(error: Exception, verb: str, arguments: Sequence[str]) -> str:
    """Hydra's message in one sentence, with the nearest valid name of what was given."""
    message = str(error).split("\n")[0].rstrip(".")
    keys = known_keys(verb)
    for argument in arguments:
        if argument.startswith("-"):
            continue
        try:
            override = OverridesParser.create().parse_override(argument)
        except HydraException:
            if Path(argument).exists():
                named = f"data.root={shlex.quote(argument)}"
                return f"{argument!r} stands alone. Accepted: KEY=VALUE; for a data set {named}."
            return (
                f"the override {argument!r} cannot be read. Accepted: KEY=VALUE; a value with brackets, spaces or "
                "signs goes into two pairs of quotes: 'KEY=\"VALUE\"'."
            )
        key = override.key_or_group
        groups = _choices(key)
        if groups:
            if key not in _files_of(verb)[1]:
                return f"{key} plays no role in activity {verb}. Leave it out, or see activity {verb} --cfg job."
            chosen = override.value()
            if not isinstance(chosen, list) and not override.is_delete() and chosen not in groups:
                return _not_among(argument, str(chosen), groups)
        elif key not in keys and not key.startswith("hydra.") and not override.is_add():
            return _not_among(key, key, keys, all_of=f"activity {verb} --cfg job")
    if "missing" in message.lower() or isinstance(error, OmegaConfBaseException):
        return f"{message}. See activity train --cfg job for all settings."
    return message


def _not_among(given: str, name: str, known: Sequence[str], all_of: str | None = None) -> str:
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    tails = {key.rpartition(".")[2]: key for key in known}
    nearest = nearest or [tails[tail] for tail in difflib.get_close_matches(name.rpartition(".")[2], list(tails), n=3)]
    hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
    what, accepted = ("setting", f"All: {all_of}") if all_of else ("choice", f"Accepted: {', '.join(known)}")
    return f"there is no {what} {given!r}.{hint} {accepted}."


def _choices(group: str) -> list[str]:
    """The options of a configuration group, or nothing where there is no such group."""
    folder = CONFIG_FOLDER / group.partition("@")[0]
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "base") if folder.is_dir() else []


def known_keys(verb: str) -> list[str]:
    """Every key, with its full name, that a shipped YAML file of a verb sets."""
    roots, groups = _files_of(verb)
    keys = {key for name in roots for key in _leaves(OmegaConf.load(CONFIG_FOLDER / f"{name}.yaml"))}
    for group in groups:
        folder, _, place = group.partition("@")
        prefix = "" if folder == "experiment" else f"{place or folder}."
        for path in (CONFIG_FOLDER / folder).glob("*.yaml"):
            keys |= {prefix + key for key in _leaves(OmegaConf.load(path))}
    return sorted(keys)


def _files_of(root: str) -> tuple[list[str], set[str]]:
    """The root files that a verb is made of, and the groups that these choose from: GROUP or GROUP@PLACE."""
    roots, groups = [root], set[str]()
    for entry in OmegaConf.load(CONFIG_FOLDER / f"{root}.yaml").defaults:
        if isinstance(entry, str):
            own: tuple[list[str], set[str]] = ([], set()) if entry == "_self_" else _files_of(entry)
            roots, groups = roots + own[0], groups | own[1]
        else:
            groups |= {str(name) for name in entry if not str(name).startswith("override ")}
    return roots, groups


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for key in node:
        if key in ("defaults", "_target_", "_partial_") or not isinstance(key, str):
            continue
        yield prefix + key
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_missing() and not child._is_none():
            yield from _leaves(child, f"{prefix}{key}.")


def check_holds_no_run(folder: Path, *, result: str, or_else: str = "") -> None:
    """Refuse a folder for a new run that has one already.

    Args:
        folder: of the run.
        result: a name in the folder that says that a run is there already, which must not be mixed with another.
        or_else: what the user may do instead of giving another folder.

    Raises:
        UsageError: it does.
    """
    if (folder / result).exists():
        raise UsageError(f"{folder} holds a run already ({result} is there). Give another hydra.run.dir{or_else}.")


def save_run(config: DictConfig, folder: Path) -> None:
    """Write down what a new run was started with: the whole configuration, and the overrides that led to it.

    Once nothing can refuse it any more: what is refused leaves no folder.
    """
    OmegaConf.save(config, folder / CONFIG, resolve=True)
    OmegaConf.save(HydraConfig.get().overrides.task, folder / OVERRIDES)


def saved_overrides(folder: Path) -> list[str]:
    """The overrides that the run in `folder` was started with.

    Raises:
        UsageError: it is the folder of no run.
    """
    path = folder / OVERRIDES
    if not path.is_file():
        raise UsageError(
            f"{folder} is not the folder of a run: {path} is missing. Give a run's folder or its last.ckpt."
        )
    return [str(override) for override in OmegaConf.load(path)]


def resumed(arguments: Sequence[str]) -> list[str]:
    """Arguments with `resume=PATH` replaced by all that makes the run there go on: its settings, folder and splits."""
    given = [argument for argument in arguments if re.match(r"resume=(?!null$|$)", argument)]
    if not given:
        return list(arguments)
    path = Path(re.sub(r"""^(['"])(.*)\1$""", r"\2", given[-1].removeprefix("resume="))).absolute()
    folder = path.parents[1] if path.suffix == ".ckpt" else path
    if not (folder / "checkpoints" / "last.ckpt").is_file():
        if not folder.is_dir():
            raise UsageError(
                f"there is no folder {folder} to go on from. Give a run's folder or its last.ckpt; a run that was "
                "stopped before it trained left none: give its command again."
            )
        raise UsageError(f"{folder} has no checkpoints/last.ckpt to go on from. Give a run's folder or its last.ckpt.")
    kept = [argument for argument in saved_overrides(folder) if not argument.startswith("resume=")]
    others = [argument for argument in arguments if argument not in given]
    paths = {"resume": folder, "hydra.run.dir": folder, "data.splits": folder / "splits.csv"}
    own = [f"{key}={quoted(str(value))}" for key, value in paths.items()]
    return [*kept, *own, *others]  # all overrides in a row: Hydra takes none behind a flag
