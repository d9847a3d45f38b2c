"""What `finetune=last|all` of `activity train` does after the heads are trained on features."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from omegaconf import DictConfig, open_dict

from activity.cli.arguments import UsageError, note
from activity.cli.components import StoredSplits, balance_of, make_trainer, stored_clips, training_settings
from activity.data.clips import DataError, Manifest
from activity.data.splits import Splits
from activity.features.outcome import FailedClip
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.finetune import FinetuneSettings, finetune
from activity.training.fit import FittedHead
from activity.training.lightning import Trainer, seed_everything

FOLDER = "finetune"
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_cpu", "bad_alloc")


@dataclass(frozen=True)
class Finetuning:
    """What fine-tuning left.

    Attributes:
        head: of the tuned recognizer; None where there is none.
        logs: the folder of the curves that lead to `head`.
        facts: for the report.
        failed: training clips that could not be read any more.
    """

    head: FittedHead | None = None
    logs: Path | None = None
    facts: dict[str, str] = field(default_factory=dict)
    failed: tuple[FailedClip, ...] = ()


def check_finetuning(config: DictConfig) -> None:
    """Refuse settings that nothing can be fine-tuned with, before any work is done.

    Raises:
        UsageError: with the setting, its value, and what is accepted.
    """
    own = config.finetune
    if own.part != "none" and own.batch_size % own.clips_at_once:
        raise UsageError(
            f"finetune.clips_at_once is {own.clips_at_once} and finetune.batch_size {own.batch_size}; accepted: a "
            "clips_at_once that divides batch_size."
        )


def check_it_can_be_judged(config: DictConfig, splits: Splits) -> None:
    """Refuse to fine-tune without validation clips; raises a UsageError."""
    own = config.finetune
    if own.part != "none" and not splits.parts["val"]:
        raise UsageError(
            f"finetune={own.part} needs validation clips: without them nobody could say whether it made the recognizer "
            "better. Give a data.val_fraction above 0, or finetune=none."
        )


def finetune_head(
    config: DictConfig,
    manifest: Manifest,
    clips: StoredSplits,
    fitted: FittedHead,
    folder: Path,
    loaders: Callable[[StoredSplits], FeatureDataModule],
) -> Finetuning:
    """Fine-tune the encoder of a fitted head where the configuration says so; best.ckpt is then the tuned recognizer.

    Args:
        config: the configuration.
        manifest: the data set.
        clips: those of each split, with the features of the encoder as it was.
        fitted: the main head.
        folder: of the run.
        loaders: from the clips of each split to their loaders.

    Raises:
        UsageError: the memory does not suffice.
        DataError: clips cannot be read any more.
    """
    if config.finetune.part == "none":
        return Finetuning()
    if not clips["val"]:
        raise DataError("No validation clip can be read, so the encoder cannot be fine-tuned. Give finetune=none.")
    seed_everything(config.seed, verbose=False)  # fine-tuning must not depend on the baseline before it
    with _explained(config, fitted.checkpoint):
        done = finetune(
            fitted,
            clips,
            loaders(clips),
            training_settings(config),
            _settings(config),
            make_trainer=lambda own: _trainer(config, own),
            features_of=lambda recognizer: loaders(_tuned_clips(config, recognizer, clips)),
            folder=folder / FOLDER,
            say=note,
        )
    losses = f"validation loss {done.loss_before:.3f} before, {done.loss_after:.3f} at the best epoch"
    if done.head is None:
        note(f"fine-tuning made nothing better ({losses}); the recognizer stays as it was before")
    else:
        note(f"fine-tuning made it better: {losses}")
    stands = "" if done.head else "; no better, so the encoder stayed as it was"
    return Finetuning(
        head=done.head,
        logs=folder / FOLDER / "logs" if done.head else None,
        facts={"Fine-tuned": f"{done.part}; {losses}{stands}"},
        failed=tuple(done.failed),
    )


def _settings(config: DictConfig) -> FinetuneSettings:
    own = config.finetune
    return FinetuneSettings(
        part=own.part,
        lr=own.lr,
        head_lr=own.head_lr,
        batch_size=own.batch_size,
        clips_at_once=own.clips_at_once,
        gradient_checkpointing=own.gradient_checkpointing,
        smallest_crop=own.smallest_crop,
        flip=config.data.flip,
        balance=balance_of(config),
        batch_frames=config.features.batch_frames,
        decode_threads=config.features.decode_threads,
    )


def _trainer(config: DictConfig, folder: Path) -> Trainer:
    """The trainer of the configuration for as many epochs as fine-tuning has; it keeps the best weights alone."""
    own = config.copy()
    with open_dict(own):
        own.trainer.max_epochs = config.finetune.epochs
        own.trainer.accumulate_grad_batches = config.finetune.batch_size // config.finetune.clips_at_once
        own.callbacks.best.save_weights_only = True
        own.callbacks.last = None  # an interrupted run fine-tunes from the beginning
        if own.callbacks.get("early_stopping"):
            own.callbacks.early_stopping.patience = config.finetune.patience
    return make_trainer(own, folder, has_validation=True)


def _tuned_clips(config: DictConfig, recognizer: Recognizer, clips: StoredSplits) -> StoredSplits:
    """Validation and test clips with the features of the tuned encoder; the training clips are read no more."""
    wanted = [item.clip for split in ("val", "test") for item in clips[split]]
    stored, failed = stored_clips(config, recognizer.encoder, wanted, augmented=())
    if failed:
        raise DataError(
            f"{failed[0].error.rstrip('.')}. It could be read before fine-tuning, and the tuned recognizer cannot be "
            "measured without it; the one before it stands. Put the file back as it was, and start again."
        )
    count = len(clips["val"])
    return {"train": clips["train"], "val": stored[:count], "test": stored[count:]}


@contextmanager
def _explained(config: DictConfig, checkpoint: Path) -> Iterator[None]:
    """Says what is left where fine-tuning ends early, and what to do where memory ran out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise UsageError(_memory_advice(config, checkpoint, str(error).partition("\n")[0])) from error
    except SystemExit:  # how Lightning ends on Ctrl-C
        note(
            f"fine-tuning was stopped; {checkpoint} holds the recognizer before it. A resumed run begins fine-tuning "
            "from there"
        )
        raise


def _memory_advice(config: DictConfig, checkpoint: Path, reason: str) -> str:
    own = config.finetune
    checkpointing = str(own.gradient_checkpointing).lower()
    return (
        f"memory ran out in fine-tuning ({reason}); {checkpoint} holds the recognizer before it. Lower "
        f"finetune.clips_at_once ({own.clips_at_once}) first: it changes nothing but the random draws. Then set "
        f"finetune.gradient_checkpointing=true (it is {checkpointing}), lower features.batch_frames "
        f"({config.features.batch_frames}), take finetune=last (it is {own.part}), or a smaller encoder."
    )


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in text for words in _OUT_OF_MEMORY)
