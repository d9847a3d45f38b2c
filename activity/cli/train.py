"""`activity train [overrides]`: fit, test, save checkpoint, metrics and splits."""

import json
import logging
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import Trainer, seed_everything

from activity.cli.arguments import UsageError, note
from activity.cli.configuration import resumed, run_folder, run_with_configuration, save_run
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.progress import extraction_progress
from activity.cli.settings import check_settings
from activity.cli.tables import print_metrics
from activity.data.clips import DataError, Manifest
from activity.data.splits import Splits, read_splits, split_manifest, write_splits
from activity.evaluation.metrics import metrics_document
from activity.features.fill import FailedClip, StoredClip, fill_store
from activity.features.store import FeatureStore
from activity.files import write_atomically
from activity.models.encoder import FrameEncoder
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.fit import FittedHead, TrainingSettings, fit_head

METRICS, SPLITS = "test_metrics.json", "splits.csv"
StoredSplits = dict[str, list[StoredClip]]


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    _quiet_libraries()
    return run_with_configuration("train", resumed(arguments), train)


def train(config: DictConfig) -> int:
    """Train and test one configuration; returns the exit code."""
    check_settings(config)
    folder = run_folder()
    if config.resume is None:
        save_run(config, folder)
    manifest: Manifest = instantiate(config.data.layout)
    splits = _splits(config, manifest)
    write_splits(splits, folder / SPLITS)
    _say_what_is_split(manifest, splits)
    # An encoder without pretrained weights is random: the same one for the same seed, and when a run is resumed.
    seed_everything(config.seed, verbose=False)
    encoder: FrameEncoder = instantiate(config.encoder)
    _check_they_can_be_made(config, encoder, manifest, folder)
    clips, failed = _stored(config, encoder, splits)
    _check_classes_are_left(manifest, clips, failed)
    if config.resume is not None:
        _keep_log(folder / "logs")
    try:
        fitted = _fit_heads(config, encoder, manifest, clips, folder)
    except SystemExit as error:  # how Lightning ends on Ctrl-C
        last = folder / "checkpoints" / "last.ckpt"
        if last.exists():
            note(f"stopped; {last} is kept. Go on with: activity train {shlex.quote(f'resume={folder}')}")
        raise KeyboardInterrupt from error
    _report(fitted, manifest, folder)
    return _say_failures(failed, len(manifest.clips))


def _splits(config: DictConfig, manifest: Manifest) -> Splits:
    if config.data.splits is not None:
        return read_splits(config.data.splits, manifest)
    return split_manifest(
        manifest,
        val_fraction=config.data.val_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.seed,
    )


def _stored(config: DictConfig, encoder: FrameEncoder, splits: Splits) -> tuple[StoredSplits, list[FailedClip]]:
    """The clips of each split whose features are in the store, and those that could not be read."""
    device = _encoding_device(config)
    with extraction_progress() as progress:
        stored, failed = fill_store(
            FeatureStore(Path(config.features.store)),
            [clip for part in splits.parts.values() for clip in part],
            encoder,
            sample_fps=config.sampling.sample_fps,
            batch_frames=config.features.batch_frames,
            decode_threads=config.features.decode_threads,
            device=device,
            on_progress=progress,
        )
    by_key = {item.clip.key: item for item in stored}
    parts = {name: [by_key[clip.key] for clip in part if clip.key in by_key] for name, part in splits.parts.items()}
    return parts, failed


def _fit_heads(
    config: DictConfig, encoder: FrameEncoder, manifest: Manifest, clips: StoredSplits, folder: Path
) -> dict[str, FittedHead]:
    """The head asked for, then the baseline in a folder of its own; by kind of head."""
    data = FeatureDataModule(
        FeatureStore(Path(config.features.store)),
        clips,
        manifest.class_names,
        window_frames=config.sampling.window_frames,
        batch_size=config.optim.batch_size,
        balance=config.data.balance,
        steps_per_epoch=config.optim.steps_per_epoch,
    )
    settings = TrainingSettings(
        make_optimizer=instantiate(config.optim.optimizer),
        warmup_fraction=config.optim.warmup_fraction,
        label_smoothing=config.optim.label_smoothing,
    )
    fitted: dict[str, FittedHead] = {}
    for part, own_folder in (("head", folder), ("baseline", folder / "baseline")):
        # Before each head: the baseline must not depend on the head that was trained before it.
        seed_everything(config.seed, verbose=False)
        recognizer = _fresh_recognizer(config, part, encoder, manifest)
        kind = recognizer.head.describe()["kind"]
        if kind not in fitted:  # the head asked for may be the baseline itself
            fitted[kind] = fit_head(
                recognizer,
                data,
                settings,
                make_trainer=lambda own: _trainer(config, own, has_validation=data.has_clips("val")),
                folder=own_folder,
                resume=part == "head" and config.resume is not None,
            )
    return fitted


def _fresh_recognizer(config: DictConfig, part: str, encoder: FrameEncoder, manifest: Manifest) -> Recognizer:
    classes = list(manifest.class_names)
    return Recognizer(
        encoder=encoder,
        head=instantiate(config[part], feature_size=encoder.feature_size, num_classes=len(classes)),
        class_names=classes,
        sample_fps=config.sampling.sample_fps,
        window_frames=config.sampling.window_frames,
    )


def _trainer(config: DictConfig, folder: Path, *, has_validation: bool) -> Trainer:
    callbacks = {name: callback for name, callback in config.callbacks.items() if callback}
    without_validation = {}
    if not has_validation:  # nothing to choose the best epoch by, nor to stop early by: the last one stands
        callbacks = {name: callback for name, callback in callbacks.items() if name not in ("best", "early_stopping")}
        without_validation = {"limit_val_batches": 0}
    checkpoints = [
        instantiate(callbacks.pop(name), dirpath=folder / "checkpoints")
        for name in ("best", "last")
        if name in callbacks
    ]
    loggers = [instantiate(logger, save_dir=folder / "logs") for logger in config.logger.values() if logger]
    others = [instantiate(callback) for callback in callbacks.values()]
    trainer: Trainer = instantiate(
        config.trainer,
        callbacks=[*checkpoints, *others],
        logger=loggers,
        default_root_dir=folder,
        **without_validation,
    )
    return trainer


def _keep_log(folder: Path) -> None:
    """Give the table of the epochs so far another name: a logger begins its own anew."""
    log = folder / "metrics.csv"
    if log.exists():
        log.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")


def _check_they_can_be_made(config: DictConfig, encoder: FrameEncoder, manifest: Manifest, folder: Path) -> None:
    """Make what training will need, once before hours of extraction: a mistake in a setting is said now."""
    _encoding_device(config)
    for part in ("head", "baseline"):
        recognizer = _fresh_recognizer(config, part, encoder, manifest)
        instantiate(config.optim.optimizer)(recognizer.head.parameters())
    _trainer(config, folder, has_validation=True)


def _encoding_device(config: DictConfig) -> torch.device:
    """Where Lightning will train, too."""
    accelerator = config.trainer.accelerator
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"trainer.accelerator is {accelerator!r}, and torch finds no GPU here. Use trainer=auto (a GPU where there "
            "is one) or trainer=cpu, or install a torch with CUDA."
        )
    return torch.device("cuda" if torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda") else "cpu")


def _check_classes_are_left(manifest: Manifest, clips: StoredSplits, failed: list[FailedClip]) -> None:
    missing = sorted(set(manifest.class_names) - {item.clip.label for item in clips["train"]})
    if missing:
        for item in failed:
            note(f"activity train: {item.error}")
        raise DataError(
            f"{len(failed)} of {len(manifest.clips)} clips could not be read, and of {', '.join(missing)} none is left "
            "to train on. Replace the files named above, or take them out."
        )


def _say_what_is_split(manifest: Manifest, splits: Splits) -> None:
    counts = ", ".join(f"{len(part)} {name}" for name, part in splits.parts.items())
    note(f"{len(manifest.clips)} clips, {len(manifest.class_names)} classes: {counts}")
    if not manifest.groups_given:
        note(
            "warning: no groups are given, so each file counts as independent. If several files show the same person "
            "or come from one recording, the test figure will be too good: set data.group_pattern or a group column."
        )


def _report(fitted: dict[str, FittedHead], manifest: Manifest, folder: Path) -> None:
    main_kind = next(iter(fitted))
    metrics = {kind: head.metrics for kind, head in fitted.items() if head.metrics is not None}
    if metrics:
        document = metrics_document(metrics, list(manifest.class_names), main_kind)
        write_atomically(folder / METRICS, json.dumps(document, indent=2, ensure_ascii=False).encode())
        print_metrics(metrics, main_kind)
    else:
        note("warning: there are no test clips that can be read, so nothing was measured")
    print(f"checkpoint: {fitted[main_kind].checkpoint}")


def _say_failures(failed: list[FailedClip], clips: int) -> int:
    for item in failed:
        note(f"activity train: {item.error}")
    if failed:
        note(f"activity train: {len(failed)} of {clips} clips could not be read; the rest was used")
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _quiet_libraries() -> None:
    """Notes on hardware, retries and advice to programmers are no use to whoever trains on a folder."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    for about in (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*Experiment logs directory.*exists and is not empty.*",
        r".*module\(s\) in eval mode.*",  # the encoder, on purpose
        ".*LeafSpec.*deprecated.*",
    ):
        warnings.filterwarnings("ignore", message=about)
