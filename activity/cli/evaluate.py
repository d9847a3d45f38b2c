"""`activity evaluate MODEL [overrides]`: metrics, predictions and a report on a split of labelled videos."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from activity.cli.arguments import UsageError, note
from activity.cli.components import (
    Digests,
    encoding_device,
    quiet_libraries,
    read_digests,
    say_failures,
    store_use,
    warn_of_missing_groups,
)
from activity.cli.configuration import run_folder, run_with_configuration
from activity.cli.dataset import read_manifest
from activity.cli.evaluate_timelines import annotations_given, check_no_timeline_settings, evaluate_timelines
from activity.cli.findings import contents_of, report_warnings, say_copies, say_what_is_missing, say_what_spoils
from activity.cli.progress import extraction_progress
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
from activity.cli.settings import check_overrides, check_settings
from activity.cli.tables import print_metrics
from activity.cli.training_run import TrainingRun, seen_in_training, training_run
from activity.data.clips import SPLIT_NAMES, Clip, DataError, Manifest, clips_as_known, count_text
from activity.data.names import given_source
from activity.data.splits import read_splits
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
from activity.evaluation.statistics import interval_fields
from activity.features.fill import fill_store
from activity.features.outcome import FailedClip
from activity.features.store import FeatureStore
from activity.features.usage import record_use
from activity.features.views import PLAIN
from activity.files import write_atomically
from activity.formats import load_recognizer
from activity.inference.scoring import ScoredClip, score_stored, score_videos
from activity.models.recognizer import LoadedRecognizer, Recognizer

METRICS, PREDICTIONS = "metrics.json", "predictions.csv"
USAGE = (
    "activity evaluate MODEL [data.root=FOLDER] [split=test|val|train|all], or activity evaluate MODEL --timeline "
    "ANNOTATIONS.csv (see activity evaluate --help)"
)


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    quiet_libraries()
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("--help", "-h", "--hydra-help")):
        raise UsageError(f"MODEL is missing: it comes first. Accepted: {USAGE}.")
    if arguments[0].startswith("-"):
        return run_with_configuration("evaluate", arguments, lambda _: 0)
    model, *overrides = arguments
    model = given_source(model)
    if "=" in model and not Path(model).exists():
        raise UsageError(f"MODEL comes first, before the override {model!r}. Accepted: {USAGE}.")
    annotations, overrides = annotations_given(overrides)
    if annotations is not None:
        return evaluate_timelines(Path(model), annotations, overrides)
    check_overrides("evaluate", overrides)
    check_no_timeline_settings(overrides)
    return run_with_configuration("evaluate", overrides, partial(evaluate, Path(model), tuple(overrides)))


def evaluate(model: Path, overrides: Sequence[str], config: DictConfig) -> int:
    """Measure one model on one split; returns the exit code."""
    recognizer = load_recognizer(model)
    run = training_run(model)
    if run is not None and not any(item.startswith(("data.", "data=")) for item in overrides):
        config = _as_in_its_run(config, run, overrides)
    _check_data_is_given(config, model)
    check_settings("evaluate MODEL", config)
    folder = run_folder()
    _check_folder(folder)
    manifest = read_manifest(config)
    clips = clips_as_known(_clips_of_split(config, manifest), recognizer.class_names)
    warn_of_missing_groups(manifest)
    digests = read_digests(config, clips)
    contents = contents_of(digests)
    seen = seen_in_training(model, clips, contents, run)
    if seen.text:
        note(f"{'warning' if seen.clips else 'note'}: {seen.text}")
    findings = say_copies(manifest, clips, contents)
    measured, failed = _measured(config, recognizer, clips, digests)
    if not measured:
        say_failures("evaluate", failed, len(clips))
        raise DataError(
            f"Of {count_text(len(clips), 'clip')} none could be read, so nothing was measured. Check data.root."
        )
    findings += say_what_is_missing(measured)
    scored = scored_clips(
        [item.clip for item in measured], torch.stack([item.scores for item in measured]), recognizer.class_names
    )
    warnings = [text for text in (seen.text, None if manifest.groups_given else NO_GROUPS) if text]
    warnings += report_warnings(findings)
    head = head_report(_name(recognizer), scored)
    report = _report(config, model, recognizer, head, scored, failed, warnings)
    document = _document(head, scored, recognizer) | {"seen_in_training": seen.document()}
    write_atomically(folder / METRICS, json.dumps(document, indent=2, ensure_ascii=False).encode())
    write_atomically(folder / PREDICTIONS, predictions_csv(scored).encode())
    write_report(folder / REPORT, report)
    _print(config.format, head, document, scored)
    note(f"report: {folder / REPORT}")
    return max(say_what_spoils("evaluate", findings), say_failures("evaluate", failed, len(clips)))


def _as_in_its_run(config: DictConfig, run: TrainingRun, overrides: Sequence[str]) -> DictConfig:
    """The configuration with the data set, splits and store of the run that the model comes from."""
    data = OmegaConf.merge(run.config.data, {"splits": str(run.splits)})
    own = OmegaConf.merge(config, {"data": None})
    own.data = data
    if not any(item.startswith("features.store=") for item in overrides):
        own.features.store = run.config.features.store
    assert isinstance(own, DictConfig)
    return own


def _check_data_is_given(config: DictConfig, model: Path) -> None:
    if any(OmegaConf.is_missing(config.data, name) for name in ("root", "csv")):
        raise UsageError(
            f"{model} does not lie in the folder of a run that says what it was trained on. Accepted: "
            "data.root=FOLDER (one subfolder a class), or data=csv data.csv=FILE; with split=all, or data.splits=FILE."
        )


def _check_folder(folder: Path) -> None:
    taken = [name for name in ("checkpoints", METRICS, PREDICTIONS, REPORT) if (folder / name).exists()]
    if taken:
        raise UsageError(f"{folder} holds a run already ({', '.join(taken)}). Give another hydra.run.dir.")


def _clips_of_split(config: DictConfig, manifest: Manifest) -> tuple[Clip, ...]:
    if config.split == "all":
        return manifest.clips
    if config.data.splits is not None:
        parts = read_splits(config.data.splits, manifest).parts
    else:
        parts = {name: tuple(clip for clip in manifest.clips if clip.split == name) for name in SPLIT_NAMES}
    if not any(parts.values()):
        raise UsageError(
            f"the data set {str(manifest.root)!r} gives no splits, so there is no split={config.split}. Give split=all "
            "to measure on all of its clips, or data.splits=FILE (the splits.csv of a run)."
        )
    if not parts[config.split]:
        counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
        raise UsageError(f"the split {config.split!r} has no clips ({counts}). Give another split, or split=all.")
    return parts[config.split]


def _measured(
    config: DictConfig, recognizer: LoadedRecognizer, clips: Sequence[Clip], digests: Digests
) -> tuple[list[ScoredClip], list[FailedClip]]:
    """The clips with their scores, and those that could not be read."""
    decoding = {"batch_frames": config.features.batch_frames, "decode_threads": config.features.decode_threads}
    with extraction_progress() as progress:
        if not isinstance(recognizer, Recognizer):
            cpu = torch.device("cpu")  # where an exported file was loaded
            return score_videos(recognizer, clips, device=cpu, on_progress=progress, **decoding)
        device = encoding_device(config)
        store = FeatureStore(Path(config.features.store))
        fps = recognizer.sample_fps
        use = store_use(config, recognizer.encoder, sample_fps=fps, views=(PLAIN,))
        stored, failed = fill_store(
            store,
            clips,
            recognizer.encoder,
            sample_fps=fps,
            device=device,
            on_progress=progress,
            on_check=progress.check,
            on_keys=partial(record_use, store, use),
            digests=digests,
            **decoding,
        )
        return [score_stored(recognizer.to(device), store, item, device=device) for item in stored], failed


def _name(recognizer: LoadedRecognizer) -> str:
    return str(recognizer.head.describe()["kind"]) if isinstance(recognizer, Recognizer) else "exported model"


def _document(head: HeadReport, scored: ScoredClips, recognizer: LoadedRecognizer) -> dict[str, object]:
    document = metrics_document({head.name: head.metrics}, list(scored.class_names), head.name)
    calibration = calibration_of(scored)
    document["heads"][head.name] |= interval_fields(head.intervals) | {
        "expected_calibration_error": calibration.error,
        "temperature": float(recognizer.temperature),
    }
    return document


def _report(
    config: DictConfig,
    model: Path,
    recognizer: LoadedRecognizer,
    head: HeadReport,
    scored: ScoredClips,
    failed: Sequence[FailedClip],
    warnings: Sequence[str],
) -> Report:
    which = "of the data set" if config.split == "all" else f"of the {config.split} split"
    return Report(
        title=f"{model.name} on {data_name(config)}",
        made=made_by("evaluate"),
        tested_on=which,
        heads=(head,),
        calibration=calibration_of(scored, temperature=float(recognizer.temperature)),
        mistakes=worst_mistakes(scored),
        splits=split_counts({config.split: scored.clips}),
        facts={"Model": str(model)} | data_facts(config) | recognizer_facts(recognizer) | version_facts(),
        failed=failures(failed),
        warnings=tuple(warnings),
    )


def _print(form: str, head: HeadReport, document: dict[str, object], scored: ScoredClips) -> None:
    if form == "json":
        print(json.dumps(document, ensure_ascii=False, indent=2))
    elif form == "csv":
        print(predictions_csv(scored), end="")
    else:
        print_metrics({head.name: head.metrics}, head.name)
