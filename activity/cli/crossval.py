"""`activity crossval [overrides]`: each clip tested once, by heads trained on the other groups."""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from activity.cli.arguments import UsageError, note, quoted
from activity.cli.components import (
    balance_of,
    check_classes_are_left,
    check_optimizer,
    encoding_device,
    feature_store,
    fresh_recognizer,
    make_encoder,
    quiet_libraries,
    read_digests,
    say_failures,
    stored_clips,
    training_settings,
    warn_of_missing_groups,
)
from activity.cli.configuration import check_holds_no_run, run_folder, run_with_configuration, save_run
from activity.cli.dataset import read_manifest
from activity.cli.findings import contents_of, join_copies, report_warnings, say_findings, say_what_spoils
from activity.cli.printable import printable
from activity.cli.progress import steps_progress
from activity.cli.reporting import (
    NO_GROUPS,
    REPORT,
    by_modality,
    data_facts,
    data_name,
    failures,
    made_by,
    recognizer_facts,
    scored_clips,
    version_facts,
)
from activity.cli.settings import check_overrides, check_settings
from activity.cli.tables import print_crossval
from activity.data.clips import Manifest, count_text
from activity.data.folds import BY_GROUP, Fold, make_folds
from activity.evaluation.crossval import CrossvalResult, crossval_csv, crossval_document
from activity.evaluation.report import Report, calibration_of, worst_mistakes, write_report
from activity.features.outcome import FailedClip, StoredClip
from activity.files import write_atomically
from activity.models.encoder import FrameEncoder
from activity.training.crossval import (
    CrossvalSettings,
    FoldClips,
    FoldScores,
    cross_validate,
    held_out_temperatures,
)
from activity.training.kept_folds import KeptFolds
from activity.training.lightning import seed_everything
from activity.training.processes import available_memory_mb, usable_cores

RESULT, PREDICTIONS, FOLDS = "crossval.json", "predictions.csv", "folds"
_PROCESS_MB = 700  # what a process that trains a fold takes besides the features: torch, the encoder and the head


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    quiet_libraries()
    return run_with_configuration("crossval", arguments, crossval)


def crossval(config: DictConfig) -> int:
    """Cross-validate one configuration; returns the exit code."""
    check_settings("crossval", config)
    check_overrides("crossval", HydraConfig.get().overrides.task)
    folder = run_folder()
    check_holds_no_run(folder, result=RESULT)
    manifest = read_manifest(config)
    seed_everything(config.seed, verbose=False)  # an encoder without pretrained weights is random
    encoder = make_encoder(config)
    heads = _heads(config, encoder, manifest)
    digests = read_digests(config, manifest.clips)
    manifest, joined = join_copies(manifest, contents_of(digests), within_splits=False)
    folds = make_folds(manifest, config.folds, seed=config.seed)
    _say_what_is_done(manifest, folds)
    stored, failed = stored_clips(config, encoder, manifest.clips, digests=digests)
    findings = say_findings(config, manifest, stored)
    fold_clips = _with_features(folds, stored, failed, manifest)
    save_run(config, folder)
    scored = _cross_validated(config, encoder, manifest, fold_clips, heads, folder)
    result = _result(manifest, encoder, fold_clips, heads, scored)
    document = crossval_document(result) | {"joined_groups": [list(names) for names in joined.sets]}
    write_atomically(folder / PREDICTIONS, crossval_csv(result).encode())
    report = _report(config, manifest, encoder, heads, failed, result)
    write_report(folder / REPORT, replace(report, warnings=report.warnings + report_warnings(findings)))
    # Last: that it is there says that the run is done.
    write_atomically(folder / RESULT, json.dumps(document, indent=2, ensure_ascii=False).encode())
    shutil.rmtree(folder / FOLDS)
    print_crossval(result)
    for name, path in (("results", folder / RESULT), ("report", folder / REPORT)):
        print(f"{name}: {printable(str(path))}")
    return max(say_what_spoils("crossval", findings), say_failures("crossval", failed, len(manifest.clips)))


def _say_what_is_done(manifest: Manifest, folds: Sequence[Fold]) -> None:
    clips, classes = count_text(len(manifest.clips), "clip"), count_text(len(manifest.class_names), "class")
    groups = count_text(len({clip.group for clip in manifest.clips}), "group")
    note(f"{clips}, {classes}, {groups}: {count_text(len(folds), 'fold')}")
    if any(clip.split for clip in manifest.clips):
        note("note: the splits that the data set gives play no role here: folds are made anew, and test every clip")
    warn_of_missing_groups(manifest)


def _heads(config: DictConfig, encoder: FrameEncoder, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The heads compared, by kind, as they describe themselves: that asked for, then the baseline."""
    encoding_device(config)
    instantiate(config.trainer)  # a mistake in a setting is said before hours of extraction
    heads: dict[str, dict[str, Any]] = {}
    for part in ("head", "baseline"):
        recognizer = fresh_recognizer(config, part, encoder, manifest)
        check_optimizer(config, recognizer)
        description = recognizer.head.describe()
        heads.setdefault(description["kind"], description)
    return heads


def _with_features(
    folds: Sequence[Fold], stored: Sequence[StoredClip], failed: list[FailedClip], manifest: Manifest
) -> list[FoldClips]:
    """The folds without the clips that could not be read; a fold of which none is left is left out."""
    by_key = {item.clip.key: item for item in stored}
    kept = [
        FoldClips(
            fold.name,
            tuple(by_key[clip.key] for clip in fold.train if clip.key in by_key),
            tuple(by_key[clip.key] for clip in fold.test if clip.key in by_key),
        )
        for fold in folds
    ]
    for fold in kept:
        check_classes_are_left("crossval", manifest, fold.train, failed, without=f" without fold {fold.name!r}")
    return [fold for fold in kept if fold.test]


def _cross_validated(
    config: DictConfig,
    encoder: FrameEncoder,
    manifest: Manifest,
    folds: Sequence[FoldClips],
    heads: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> list[FoldScores]:
    """The scores of each head in each fold; those that an earlier run in this folder has left are not made again."""
    kept = KeptFolds(folder / FOLDS, folds, heads, _settings_that_matter(config))
    done = kept.done()
    missing = [fold for fold in folds if fold.name not in {scores.fold for scores in done}]
    _say_what_is_kept(len(folds), len(missing), kept)
    tasks = len(missing) * len(heads)
    processes = max(1, _processes(config, encoding_device(config), tasks))
    settings = _crossval_settings(config, manifest)
    try:
        with steps_progress("folds", tasks) as advance:
            for scores in cross_validate(missing, heads, encoder, settings, processes=processes):
                kept.keep(scores)
                done.append(scores)
                advance()
    except KeyboardInterrupt:
        _say_how_to_go_on(len(folds), kept, folder)
        raise
    except BrokenProcessPool as error:
        _say_how_to_go_on(len(folds), kept, folder)
        raise UsageError(
            f"one of the {processes} processes that train folds was killed, most likely because memory ran out. Give "
            f"fewer, processes=1 for one, or less features.memory_mb than {config.features.memory_mb:g}."
        ) from error
    return done


def _settings_that_matter(config: DictConfig) -> dict[str, Any]:
    """All settings that scores depend on; what features depend on is in their keys."""
    settings = OmegaConf.to_container(config, resolve=True)
    assert isinstance(settings, dict)
    return {str(name): value for name, value in settings.items() if name not in ("features", "processes")}


def _say_what_is_kept(folds: int, missing: int, kept: KeptFolds) -> None:
    others = kept.folder.parent
    if missing < folds:
        note(f"{folds - missing} of {count_text(folds, 'fold')} were done before this run was stopped")
    elif others.exists() and not kept.folder.exists():
        note(f"note: what is in {others} was made of other clips or with other settings, and is not used")


def _say_how_to_go_on(folds: int, kept: KeptFolds, folder: Path) -> None:
    if done := {scores.fold for scores in kept.done()}:
        again = ["activity", "crossval", *HydraConfig.get().overrides.task, f"hydra.run.dir={quoted(str(folder))}"]
        note(f"stopped; {len(done)} of {count_text(folds, 'fold')} are done and kept. Go on with: {shlex.join(again)}")


def _crossval_settings(config: DictConfig, manifest: Manifest) -> CrossvalSettings:
    return CrossvalSettings(
        store=feature_store(config),
        class_names=manifest.class_names,
        sample_fps=config.sampling.sample_fps,
        window_frames=config.sampling.window_frames,
        batch_size=config.optim.batch_size,
        balance=balance_of(config),
        steps_per_epoch=config.optim.steps_per_epoch,
        memory_mb=config.features.memory_mb,
        training=training_settings(config),
        make_trainer=instantiate(config.trainer, _partial_=True),
        weigh_modalities=config.modality_weights == "auto",
        seed=config.seed,
    )


def _processes(config: DictConfig, device: torch.device, tasks: int) -> int:
    if config.processes != "auto":
        return min(int(config.processes), tasks)
    if device.type == "cuda":
        return 1
    memory_mb = available_memory_mb()
    room = tasks if memory_mb is None else max(1, int((memory_mb - config.features.memory_mb) / _PROCESS_MB))
    return min(usable_cores(), room, tasks)


def _result(
    manifest: Manifest,
    encoder: FrameEncoder,
    folds: Sequence[FoldClips],
    heads: Mapping[str, Mapping[str, Any]],
    scored: Sequence[FoldScores],
) -> CrossvalResult:
    """All folds' scores in the order of the folds, whatever order they were done in."""
    names = [fold.name for fold in folds]
    scored = sorted(scored, key=lambda item: names.index(item.fold))
    clips = [item.clip for fold in folds for item in fold.test]
    temperatures: dict[str, dict[str, float]] = {name: {} for name in names}
    by_task: dict[tuple[str, str], Tensor] = {}
    for item, temperature in zip(scored, held_out_temperatures(scored, manifest.class_names), strict=True):
        temperatures[item.fold][item.head] = temperature
        by_task[item.head, item.fold] = item.scores(temperature)
    return CrossvalResult(
        scored={
            name: scored_clips(clips, torch.cat([by_task[name, fold.name] for fold in folds]), manifest.class_names)
            for name in heads
        },
        fold_of=tuple(fold.name for fold in folds for _ in fold.test),
        chosen={item.fold: by_modality(item.chosen, encoder.modalities) for item in scored},
        temperatures=temperatures,
    )


def _report(
    config: DictConfig,
    manifest: Manifest,
    encoder: FrameEncoder,
    heads: Mapping[str, Mapping[str, Any]],
    failed: list[FailedClip],
    result: CrossvalResult,
) -> Report:
    """The report; its details are those of the main head."""
    recognizer = fresh_recognizer(config, "head", encoder, manifest)
    folds = "leave one group out" if config.folds == BY_GROUP else f"{config.folds} folds, whole groups"
    facts = {"Folds": folds, "Heads trained in": str(config.trainer.precision), "Seed": str(config.seed)}
    main = result.scored[result.main]
    return Report(
        title=f"Activities in {data_name(config)}",
        made=made_by("crossval"),
        tested_on="(each tested by a model that had seen nothing of its group)",
        heads=result.heads,
        paired=result.comparison,
        calibration=calibration_of(
            main, fold_temperatures=[by_head[result.main] for by_head in result.temperatures.values()]
        ),
        mistakes=worst_mistakes(main),
        folds=result.folds,
        facts=data_facts(config)
        | recognizer_facts(recognizer, chosen=list(result.chosen.values()))
        | facts
        | version_facts(),
        failed=failures(failed),
        warnings=() if manifest.groups_given else (NO_GROUPS,),
    )
