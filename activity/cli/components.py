"""What a configuration names, made: features, heads, trainer. Shared by the verbs that take overrides."""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from activity.cli.arguments import UsageError, note
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.progress import extraction_progress
from activity.data.clips import Clip, DataError, Manifest, count_text
from activity.data.names import given_path
from activity.features.fill import digests_of_clips, fill_store
from activity.features.outcome import FailedClip, FillProgress, StoredClip
from activity.features.store import FeatureStore
from activity.features.usage import Use, record_use
from activity.features.views import View, first_views
from activity.models.encoder import FrameEncoder
from activity.models.precision import choose_precision
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.fit import BEST, LAST
from activity.training.lightning import Trainer, quiet_lightning
from activity.training.module import OptimizerFactory, TrainingSettings
from activity.video.errors import VideoError

Digests = Mapping[Path, str | VideoError]
StoredSplits = dict[str, list[StoredClip]]


def feature_store(config: DictConfig) -> FeatureStore:
    """The store at `features.store`."""
    return FeatureStore(Path(config.features.store))


def encoding_device(config: DictConfig) -> torch.device:
    """The device of `features.device`; where a head is trained, that is where Lightning trains it.

    Raises:
        UsageError: a GPU is asked for and there is none.
    """
    device = config.features.device
    if device in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"the device asked for is {device!r}, and torch finds no GPU here. Use trainer=auto (a GPU where there is "
            "one) or trainer=cpu, for extraction alone features.device=auto or cpu, or install a torch with CUDA."
        )
    return torch.device("cuda" if torch.cuda.is_available() and device in ("auto", "gpu", "cuda") else "cpu")


def make_encoder(config: DictConfig) -> FrameEncoder:
    """The encoder of the configuration, in the precision of `features.precision`."""
    precision = choose_precision(config.features.precision, encoding_device(config))
    encoder: FrameEncoder = instantiate(config.encoder, precision=precision)
    return encoder


def balance_of(config: DictConfig) -> str:
    """How classes of unlike size are made to count: one of `BALANCES`."""
    if config.data.balance != "auto":
        return str(config.data.balance)
    return "loss" if OmegaConf.select(config, "data.background", default=False) else "none"


def clip_views(config: DictConfig) -> tuple[View, ...]:
    """The views of a training clip, the plain one first.

    Raises:
        UsageError: there are not so many.
    """
    try:
        return first_views(config.data.views, flip=config.data.flip)
    except ValueError as error:
        raise UsageError(str(error)) from error


def data_paths(config: DictConfig) -> tuple[Path, ...]:
    """What is given of a data set: its tables and the folder of its videos; nothing where nothing is."""
    given = [config.data[name] for name in ("csv", "root") if OmegaConf.select(config.data, name) is not None]
    names = [name for item in given for name in ([item] if isinstance(item, str) else item)]
    return tuple(given_path(name).absolute() for name in names)


def store_use(config: DictConfig, encoder: FrameEncoder, *, sample_fps: float, views: Sequence[View]) -> Use:
    """The configuration as a user of its store.

    Args:
        config: the configuration.
        encoder: whose features are stored.
        sample_fps: sampled frames a second.
        views: of the clips that have the most of them.
    """
    return Use(
        data=data_paths(config),
        settings={
            "encoder": encoder.describe(),
            "weights": encoder.weights_hash(),
            "sample_fps": float(sample_fps),
            "views": [view.describe() for view in views],
        },
        selection=_selection(config),
        verb=HydraConfig.get().job.name,
    )


def _selection(config: DictConfig) -> dict[str, Any]:
    """All that says which clips of a data set are used, and which of them get further views."""
    data = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(data, dict)
    own = {str(name): value for name, value in data.items() if name not in ("csv", "root", "layout", "views", "flip")}
    layout = OmegaConf.select(config.data, "layout._target_")
    return {"data": own, "layout": layout, "seed": config.get("seed"), "split": config.get("split")}


def read_digests(config: DictConfig, clips: Sequence[Clip]) -> Digests:
    """A digest of each video's bytes, or why it cannot be read; files that have not changed are not read again."""
    with extraction_progress() as progress:
        return digests_of_clips(clips, feature_store(config), progress.check)


def stored_clips(
    config: DictConfig,
    encoder: FrameEncoder,
    clips: Sequence[Clip],
    *,
    digests: Digests | None = None,
    augmented: Collection[Clip] | None = None,
    on_progress: Callable[[FillProgress], None] = lambda _: None,
) -> tuple[list[StoredClip], list[FailedClip]]:
    """The clips with their features in the store, computed where they were not there, and those that failed.

    Args:
        config: the configuration.
        encoder: of `make_encoder`.
        clips: the clips.
        digests: of `read_digests`, where they have been asked for already.
        augmented: those of them that get all of `data.views`; None: all of them.
        on_progress: called with each step, beside the bar.
    """
    device = encoding_device(config)
    views = clip_views(config)
    fps = config.sampling.sample_fps
    use = store_use(config, encoder, sample_fps=fps, views=views)
    with_views = {clip.key for clip in (clips if augmented is None else augmented)}
    with extraction_progress() as progress:

        def report(state: FillProgress) -> None:
            progress(state)
            on_progress(state)

        return fill_store(
            feature_store(config),
            clips,
            encoder,
            sample_fps=fps,
            batch_frames=config.features.batch_frames,
            decode_threads=config.features.decode_threads,
            device=device,
            on_progress=report,
            on_check=progress.check,
            on_keys=lambda keys: record_use(feature_store(config), use, keys),
            digests=digests,
            views_of=lambda clip: views if clip.key in with_views else views[:1],
        )


def feature_loaders(
    config: DictConfig, store: FeatureStore, class_names: Sequence[str], clips: StoredSplits
) -> FeatureDataModule:
    """The loaders of stored clips, as the configuration wants them."""
    return FeatureDataModule(
        store,
        clips,
        class_names,
        window_frames=config.sampling.window_frames,
        batch_size=config.optim.batch_size,
        balance=balance_of(config),
        steps_per_epoch=config.optim.steps_per_epoch,
        memory_mb=config.features.memory_mb,
    )


def check_classes_are_left(
    verb: str, manifest: Manifest, left: Sequence[StoredClip], failed: list[FailedClip], *, without: str = ""
) -> None:
    """Raise a DataError where the clips that failed were all that a class had to train on.

    Args:
        verb: who says it.
        manifest: the data set.
        left: the clips to train on that have features.
        failed: those without.
        without: what else is left out, as in " without fold 'ann'".
    """
    missing = sorted(set(manifest.class_names) - {item.clip.label for item in left})
    if missing:
        for item in failed:
            note(f"activity {verb}: {item.error}")
        clips = count_text(len(manifest.clips), "clip")
        raise DataError(
            f"{len(failed)} of {clips} could not be read, and of {', '.join(missing)} none is left "
            f"to train on{without}. Replace the files named above, or take them out."
        )


def say_failures(verb: str, failed: list[FailedClip], clips: int) -> int:
    """Name each clip that failed; the exit code that follows from them."""
    for item in failed:
        note(f"activity {verb}: {item.error}")
    if failed:
        note(f"activity {verb}: {len(failed)} of {count_text(clips, 'clip')} could not be read; the rest was used")
    return EXIT_SOME_FAILED if failed else EXIT_OK


def warn_of_missing_groups(manifest: Manifest) -> None:
    """Say that an honest figure needs groups, where the data set has none."""
    if not manifest.groups_given:
        note(
            "warning: no groups are given, so each file counts as independent. If several files show the same person "
            "or come from one recording, the test figure will be too good: set data.group_pattern or a group column."
        )


def fresh_recognizer(
    config: DictConfig,
    part: str,
    encoder: FrameEncoder,
    manifest: Manifest,
    *,
    chosen: Mapping[str, Any] = MappingProxyType({}),
) -> Recognizer:
    """A recognizer with an untrained head: that of the configuration's `part`, "head" or "baseline".

    What `choose_head_settings` chose is left out where nothing is to be trained: modalities then weigh the same.
    """
    classes = list(manifest.class_names)
    return Recognizer(
        encoder=encoder,
        head=instantiate(
            config[part],
            feature_size=encoder.feature_size,
            num_classes=len(classes),
            **{"modality_weights": [1.0] * len(encoder.modalities), "mean_penalty": 0.0, **chosen},
        ),
        class_names=classes,
        sample_fps=config.sampling.sample_fps,
        window_frames=config.sampling.window_frames,
    )


def training_settings(config: DictConfig) -> TrainingSettings:
    """How a head is trained."""
    return TrainingSettings(
        make_optimizer=_optimizer_factory(config),
        warmup_fraction=config.optim.warmup_fraction,
        label_smoothing=config.optim.label_smoothing,
        reading_lr_factor=config.optim.reading_lr_factor,
    )


def check_optimizer(config: DictConfig, recognizer: Recognizer) -> None:
    """Make the optimizer once, so that a mistake in its settings is said before hours of work."""
    try:
        _optimizer_factory(config)([{"params": list(recognizer.head.parameters())}])
    except (TypeError, ValueError) as error:
        settings = OmegaConf.to_container(config.optim.optimizer)
        raise UsageError(f"optim.optimizer cannot be made of {settings}: {error}") from error


def _optimizer_factory(config: DictConfig) -> OptimizerFactory:
    """The optimizer of the configuration; with fused kernels, which take half the time, where it has any.

    Lightning does not clip gradients for those in mixed precision.
    """
    make = instantiate(config.optim.optimizer)
    target = get_class(config.optim.optimizer._target_)
    is_settled = "fused" in config.optim.optimizer or config.trainer.precision != "32-true"
    if not is_settled and "fused" in inspect.signature(target).parameters:
        make = partial(make, fused=True)
    return cast(OptimizerFactory, make)


def make_trainer(config: DictConfig, folder: Path, *, has_validation: bool) -> Trainer:
    """Lightning's trainer with the callbacks and loggers of the configuration, writing into `folder`."""
    callbacks = {name: callback for name, callback in config.callbacks.items() if callback}
    without_validation = {}
    if not has_validation:  # nothing to choose the best epoch by, nor to stop early by: the last one stands
        callbacks = {name: callback for name, callback in callbacks.items() if name not in ("best", "early_stopping")}
        without_validation = {"limit_val_batches": 0}
    checkpoints = [
        instantiate(callbacks.pop(name), dirpath=folder / "checkpoints")
        for name in (Path(BEST).stem, Path(LAST).stem)
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


def quiet_libraries() -> None:
    """Keep notes that are no use to whoever trains on a folder off the terminal."""
    quiet_lightning()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
