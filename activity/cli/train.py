"""`activity train [overrides]`: fit, test, save checkpoint, metrics, splits and a report."""

import json
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from activity.cli.arguments import note
from activity.cli.components import (
    Digests,
    StoredSplits,
    check_classes_are_left,
    check_optimizer,
    clip_views,
    feature_loaders,
    feature_store,
    fresh_recognizer,
    make_encoder,
    make_trainer,
    quiet_libraries,
    read_digests,
    say_failures,
    stored_clips,
    training_settings,
    warn_of_missing_groups,
)
from activity.cli.configuration import check_holds_no_run, resumed, run_folder, run_with_configuration, save_run
from activity.cli.dataset import read_manifest
from activity.cli.findings import (
    Contents,
    contents_of,
    join_copies,
    join_copies_in_splits,
    report_warnings,
    say_findings,
    say_what_spoils,
)
from activity.cli.finetuning import Finetuning, check_finetuning, check_it_can_be_judged, finetune_head
from activity.cli.printable import printable
from activity.cli.reporting import (
    NO_GROUPS,
    REPORT,
    data_facts,
    data_name,
    failures,
    made_by,
    recognizer_facts,
    scored_clips,
    version_facts,
)
from activity.cli.settings import check_settings
from activity.cli.tables import print_metrics
from activity.cli.training_run import SPLITS, save_data
from activity.data.clips import DataError, Manifest, count_text, first_few
from activity.data.doctor import Finding
from activity.data.names import comparable
from activity.data.splits import Splits, read_splits, split_manifest, write_splits
from activity.evaluation.metrics import metrics_document
from activity.evaluation.predictions import ScoredClips, predictions_csv
from activity.evaluation.report import (
    HeadReport,
    Report,
    calibration_of,
    head_report,
    split_counts,
    worst_mistakes,
    write_report,
)
from activity.evaluation.statistics import interval_fields, paired_test
from activity.features.outcome import FailedClip
from activity.files import write_atomically
from activity.formats.checkpoint import load_checkpoint, read_checkpoint, read_description
from activity.models.encoder import FrameEncoder
from activity.training.fit import LAST, FittedHead, fit_head
from activity.training.lightning import seed_everything
from activity.training.log import read_learning_curves
from activity.training.modalities import choose_head_settings
from activity.training.projection import prepare_head

METRICS, PREDICTIONS = "test_metrics.json", "test_predictions.csv"


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    quiet_libraries()
    return run_with_configuration("train", resumed(arguments), train)


def train(config: DictConfig) -> int:
    """Train and test one configuration; returns the exit code."""
    check_settings("train", config)
    clip_views(config)
    folder = run_folder()
    if config.resume is None:
        check_holds_no_run(folder, result="checkpoints", or_else=f", or go on with it by resume={folder}")
    manifest = read_manifest(config)
    if config.resume is not None:
        _check_same_classes(manifest, folder)
    # An encoder without pretrained weights is random: the same one for the same seed, and when a run is resumed.
    seed_everything(config.seed, verbose=False)
    encoder = make_encoder(config)
    _check_they_can_be_made(config, encoder, manifest, folder)
    check_finetuning(config)
    digests = read_digests(config, manifest.clips)
    splits = _splits(config, manifest, contents_of(digests))
    check_it_can_be_judged(config, splits)
    _say_what_is_split(manifest, splits)
    clips, failed = _stored(config, encoder, splits, digests)
    check_classes_are_left("train", manifest, clips["train"], failed)
    if config.resume is None:
        save_run(config, folder)
    write_splits(splits, folder / SPLITS)
    save_data(manifest, {item.clip.name: item.key.content for item in clips["train"]}, folder)
    findings = _say_findings(config, manifest, clips)
    warnings = _report_warnings(manifest, splits, clips) + report_warnings(findings)
    if config.resume is not None:
        _keep_log(folder / "logs")
    loaders = partial(feature_loaders, config, feature_store(config), manifest.class_names)
    try:
        fitted = _fit_heads(config, encoder, manifest, clips, folder)
        main_kind = next(iter(fitted))
        tuning = finetune_head(config, manifest, clips, fitted[main_kind], folder, loaders)
    except SystemExit as error:  # how Lightning ends on Ctrl-C
        last = folder / "checkpoints" / LAST
        if last.exists():
            note(f"stopped; {last} is kept. Go on with: activity train {shlex.quote(f'resume={folder}')}")
        raise KeyboardInterrupt from error
    fitted |= {main_kind: tuning.head} if tuning.head else {}
    failed += tuning.failed
    tested = [item.clip for item in clips["test"]]
    scored = {
        kind: scored_clips(tested, head.scores, manifest.class_names) for kind, head in fitted.items() if head.metrics
    }
    untuned = " on the encoder as it was" if tuning.head else ""
    heads = {kind: head_report(kind if kind == main_kind else f"{kind}{untuned}", own) for kind, own in scored.items()}
    _say_metrics(fitted, heads, scored, folder)
    write_report(folder / REPORT, _report(config, clips, failed, fitted, heads, scored, tuning, warnings))
    for name, path in (("checkpoint", next(iter(fitted.values())).checkpoint), ("report", folder / REPORT)):
        print(f"{name}: {printable(str(path))}")
    return max(say_what_spoils("train", findings), say_failures("train", failed, len(manifest.clips)))


def _check_same_classes(manifest: Manifest, folder: Path) -> None:
    """Refuse to go on with a run of other classes, or of another order: its head would give the wrong names."""
    before = read_description(folder / "checkpoints" / LAST)["class_names"]
    if list(map(comparable, before)) != list(map(comparable, manifest.class_names)):
        raise DataError(
            f"The run in {folder} learns the classes {first_few(before)}, and the data set now has "
            f"{first_few(manifest.class_names)}. Give it the labels of before, or train anew without resume=."
        )


def _splits(config: DictConfig, manifest: Manifest, contents: Contents) -> Splits:
    """The splits, in which copies of a video have one group wherever the data set leaves that to us."""
    if config.data.splits is not None:
        return join_copies_in_splits(read_splits(config.data.splits, manifest), contents)
    return split_manifest(
        join_copies(manifest, contents, within_splits=True)[0],
        val_fraction=config.data.val_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.seed,
    )


def _stored(
    config: DictConfig, encoder: FrameEncoder, splits: Splits, digests: Digests
) -> tuple[StoredSplits, list[FailedClip]]:
    """The clips of each split whose features are in the store, and those that could not be read."""
    clips = [clip for part in splits.parts.values() for clip in part]
    stored, failed = stored_clips(config, encoder, clips, digests=digests, augmented=splits.parts["train"])
    by_key = {item.clip.key: item for item in stored}
    parts = {name: [by_key[clip.key] for clip in part if clip.key in by_key] for name, part in splits.parts.items()}
    return parts, failed


def _report_warnings(manifest: Manifest, splits: Splits, clips: StoredSplits) -> tuple[str, ...]:
    """What takes away from the figures of the run; what was not said before is said now."""
    warnings = [] if manifest.groups_given else [NO_GROUPS]
    if splits.val and not clips["val"]:
        lost = (
            f"None of the {count_text(len(splits.val), 'validation clip')} could be read. No epoch could be chosen and "
            "training could not stop early, so the last epoch stands, and scores have no fitted temperature."
        )
        note(f"warning: {lost} Replace the files, or move other clips to the validation split.")
        warnings.append(lost)
    return tuple(warnings)


def _say_findings(config: DictConfig, manifest: Manifest, clips: StoredSplits) -> list[Finding]:
    side_of = {item.clip.key: side for side, part in clips.items() for item in part}
    stored = [item for part in clips.values() for item in part]
    return say_findings(config, manifest, stored, side_of=lambda clip: side_of[clip.key])


def _fit_heads(
    config: DictConfig, encoder: FrameEncoder, manifest: Manifest, clips: StoredSplits, folder: Path
) -> dict[str, FittedHead]:
    """The head asked for, then the baseline in a folder of its own; by kind of head."""
    data = feature_loaders(config, feature_store(config), manifest.class_names, clips)
    settings = training_settings(config)
    chosen = _head_settings(config, encoder, manifest, clips, folder)
    fitted: dict[str, FittedHead] = {}
    for part, own_folder in (("head", folder), ("baseline", folder / "baseline")):
        # Before each head: the baseline must not depend on the head that was trained before it.
        seed_everything(config.seed, verbose=False)
        recognizer = fresh_recognizer(config, part, encoder, manifest, chosen=chosen)
        prepare_head(recognizer.head, feature_store(config), clips["train"], seed=config.seed)
        kind = recognizer.head.describe()["kind"]
        if kind not in fitted:  # the head asked for may be the baseline itself
            fitted[kind] = fit_head(
                recognizer,
                data,
                settings,
                make_trainer=lambda own: make_trainer(config, own, has_validation=data.has_clips("val")),
                folder=own_folder,
                resume=part == "head" and config.resume is not None,
            )
    return fitted


def _head_settings(
    config: DictConfig, encoder: FrameEncoder, manifest: Manifest, clips: StoredSplits, folder: Path
) -> dict[str, Any]:
    """What the training clips say of the heads; a run that goes on keeps what it began with, whatever its clips."""
    if config.modality_weights == "equal":
        return {}
    if config.resume is not None:
        chosen, source = _settings_so_far(folder), "as in the run so far"
        if len(chosen["modality_weights"]) != len(encoder.modalities):  # refused where the run goes on
            return {}
    else:
        source = "found on the training clips"
        chosen = choose_head_settings(
            feature_store(config),
            clips["train"],
            manifest.class_names,
            num_modalities=len(encoder.modalities),
            seed=config.seed,
        )
    if len(encoder.modalities) > 1:
        named = zip(encoder.modalities, chosen["modality_weights"], strict=True)
        note(f"modalities count (1 the most, {source}): {', '.join(f'{name} {weight:.2g}' for name, weight in named)}")
    return chosen


def _settings_so_far(folder: Path) -> dict[str, Any]:
    head = read_description(folder / "checkpoints" / LAST)["head"]
    return {name: head[name] for name in ("modality_weights", "mean_penalty")}


def _keep_log(folder: Path) -> None:
    """Give the table of the epochs so far another name: a logger begins its own anew."""
    log = folder / "metrics.csv"
    if log.exists():
        log.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")


def _check_they_can_be_made(config: DictConfig, encoder: FrameEncoder, manifest: Manifest, folder: Path) -> None:
    """Make what training will need, once before hours of extraction: a mistake in a setting is said now."""
    for part in ("head", "baseline"):
        recognizer = fresh_recognizer(config, part, encoder, manifest)
        check_optimizer(config, recognizer)
    make_trainer(config, folder, has_validation=True)


def _say_what_is_split(manifest: Manifest, splits: Splits) -> None:
    counts = ", ".join(f"{len(part)} {name}" for name, part in splits.parts.items())
    note(f"{count_text(len(manifest.clips), 'clip')}, {count_text(len(manifest.class_names), 'class')}: {counts}")
    warn_of_missing_groups(manifest)


def _say_metrics(
    fitted: dict[str, FittedHead], heads: dict[str, HeadReport], scored: dict[str, ScoredClips], folder: Path
) -> None:
    """Write down and print what was measured; predictions are those of the main head."""
    if not heads:
        note("warning: there are no test clips that can be read, so nothing was measured")
        return
    main = next(iter(heads))
    metrics = {kind: head.metrics for kind, head in heads.items()}
    document = metrics_document(metrics, list(scored[main].class_names), main)
    for kind, head in heads.items():
        error = calibration_of(scored[kind]).error
        further = {"expected_calibration_error": error, "temperature": fitted[kind].temperature}
        document["heads"][kind] |= interval_fields(head.intervals) | further
    write_atomically(folder / METRICS, json.dumps(document, indent=2, ensure_ascii=False).encode())
    write_atomically(folder / PREDICTIONS, predictions_csv(scored[main]).encode())
    print_metrics(metrics, main)


def _report(
    config: DictConfig,
    clips: StoredSplits,
    failed: list[FailedClip],
    fitted: dict[str, FittedHead],
    heads: dict[str, HeadReport],
    scored: dict[str, ScoredClips],
    tuning: Finetuning,
    warnings: tuple[str, ...],
) -> Report:
    """The report of a run; its details are those of the main head."""
    main_kind, main = next(iter(fitted.items()))
    own = scored.get(main_kind)
    other = next((item for kind, item in scored.items() if kind != main_kind), None)
    logs = tuning.logs or main.checkpoint.parents[1] / "logs"
    settings = {
        "Head trained in": str(config.trainer.precision),
        "Seed": str(config.seed),
        "Model": str(main.checkpoint),
    }
    return Report(
        title=f"Activities in {data_name(config)}",
        made=made_by("train"),
        tested_on="that training had never seen",
        heads=tuple(heads.values()),
        paired=paired_test(own.correct, other.correct) if own and other else None,
        calibration=calibration_of(own, unscaled_scores=main.unscaled_scores, temperature=main.temperature)
        if own
        else None,
        curves=read_learning_curves(logs, best_epoch=int(read_checkpoint(main.checkpoint)["epoch"])),
        mistakes=worst_mistakes(own) if own else (),
        splits=split_counts({name: [item.clip for item in part] for name, part in clips.items()}),
        facts=data_facts(config)
        | recognizer_facts(load_checkpoint(main.checkpoint))
        | tuning.facts
        | settings
        | version_facts(),
        failed=failures(failed),
        warnings=warnings,
    )
