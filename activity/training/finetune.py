"""Train an encoder with its head on frames, from a head that was trained on the encoder's features."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from activity.data.clips import DataError, class_indices
from activity.features.outcome import FailedClip, StoredClip
from activity.files import write_atomically
from activity.formats.checkpoint import load_checkpoint
from activity.models.finetuning import as_trained, encode_windows, set_training_mode, trained_part
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.fit import BEFORE, FittedHead, measured, validation_loss
from activity.training.frames import FrameBatch, FrameWindowLoader, ValidationClips
from activity.training.module import RecognizerModule, TrainingSettings

_WORTH_SAYING_SECONDS = 120.0


@dataclass(frozen=True)
class FinetuneSettings:
    """How an encoder is trained on frames.

    Attributes:
        part: "last" or "all" (`models.finetuning.trained_part`).
        lr: of the encoder.
        head_lr: of the classifier; what reads the window in order has its share of it, as in training on features.
        batch_size: clips a step of the optimizer.
        clips_at_once: clips of them in memory; divides `batch_size`. Gradients are added up over the others, so that
            it changes nothing but memory, time and what dropout happens to draw.
        gradient_checkpointing: see `models.finetuning.encode_windows`.
        smallest_crop: training windows keep this share of each side, to 1.
        flip: whether training windows are mirrored.
        balance: as in `FeatureDataModule`.
        batch_frames: frames the encoder gets at once in validation and in a checkpointed piece.
        decode_threads: videos decoded at the same time.
    """

    part: str
    lr: float
    head_lr: float
    batch_size: int
    clips_at_once: int
    gradient_checkpointing: bool
    smallest_crop: float
    flip: bool
    balance: str
    batch_frames: int
    decode_threads: int


@dataclass(frozen=True)
class Finetuned:
    """What came of it.

    Attributes:
        head: of the tuned recognizer; None where no epoch was better than what there was before.
        part: what was trained, in words.
        loss_before: of the validation clips.
        loss_after: of the best epoch.
        failed: training clips that could not be read any more.
    """

    head: FittedHead | None
    part: str
    loss_before: float
    loss_after: float
    failed: list[FailedClip]


class FinetuneModule(RecognizerModule):
    """Trains a part of the encoder and the head on windows of frames.

    Args:
        recognizer: a trained one; its temperature becomes 1.
        settings: as its head was trained.
        finetuning: how the encoder is.
        class_weights: `(C,)`, of the training loss, 1 in the mean over the training clips.
        say: where to say how long it will take, and which clips could not be read.

    `failed` are the training clips that could not be read, by their key.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        settings: TrainingSettings,
        finetuning: FinetuneSettings,
        *,
        class_weights: Tensor,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(recognizer, settings, class_weights=class_weights)
        self.failed: dict[tuple[str, float, float], FailedClip] = {}
        self._finetuning = finetuning
        self._say = say
        self._begun = 0.0
        self.part = trained_part(recognizer.encoder.backbone, finetuning.part)
        # In a list, which is no module's child: its weights are those of the recognizer's encoder.
        self._trained = [as_trained(recognizer.encoder)]
        for parameter in self.part.parameters():
            parameter.requires_grad_(True)
        recognizer.temperature.fill_(1.0)

    def train(self, mode: bool = True) -> "FinetuneModule":
        """Training mode is that of `set_training_mode`."""
        super().train(mode)
        if mode:
            set_training_mode(self.recognizer.encoder, self.part)
        return self

    def on_train_epoch_start(self) -> None:
        """Back from validation."""
        self.train()

    def training_step(self, batch: FrameBatch, batch_index: int) -> Tensor | None:  # type: ignore[override]
        """Cross-entropy of one random window a clip, of those that can be read."""
        for item in batch.failed:
            if item.clip.key not in self.failed:
                self.failed[item.clip.key] = item
                self._say(f"{item.error.rstrip('.')}; fine-tuning goes on without {item.clip.name}")
        self._begun = self._begun or time.monotonic()
        if not batch.windows:
            return None
        loss = self.loss(batch)
        self.note_loss(loss, len(batch.labels))
        return loss

    def loss(self, batch: FrameBatch) -> Tensor:
        """The training loss of a batch: a mean over its clips, so that the mean of two batches is that of one."""
        features, lengths = encode_windows(
            self._trained[0],
            batch.windows,
            window_frames=self.recognizer.window_frames,
            piece_frames=self._finetuning.batch_frames if self._finetuning.gradient_checkpointing else None,
        )
        # The weighted mean of torch divides by the weights that a batch happens to hold: of one clip, none would count.
        return self.window_loss(features, lengths, batch.labels, reduction="none").mean()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """After the first step: how long all of them may take."""
        steps = int(self.trainer.accumulate_grad_batches)
        if self.trainer.global_step != 1 or batch_index + 1 != steps:
            return
        batches = int(self.trainer.estimated_stepping_batches) * steps
        seconds = (time.monotonic() - self._begun) / steps * batches
        if seconds >= _WORTH_SAYING_SECONDS:
            advice = "; finetune=last, a smaller encoder or a GPU take less" if self.device.type == "cpu" else ""
            self._say(
                f"fine-tuning may take about {_duration(seconds)} beside validation, as its first step did{advice}"
            )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer over encoder and head, with its schedule over all steps."""
        groups: list[dict[str, Any]] = [{**group, "lr": self._finetuning.head_lr} for group in self._head_groups()]
        groups.append({"params": self.part.parameters(), "lr": self._finetuning.lr})
        return self._scheduled(self._settings.make_optimizer(groups))

    def ready_to_encode(self) -> None:
        """Before validation: the encoder as prediction has it."""
        self.recognizer.encoder.eval()
        self.recognizer.encoder.follow_backbone()


def finetune(
    fitted: FittedHead,
    clips: dict[str, list[StoredClip]],
    data: FeatureDataModule,
    settings: TrainingSettings,
    finetuning: FinetuneSettings,
    *,
    make_trainer: Callable[[Path], Trainer],
    features_of: Callable[[Recognizer], FeatureDataModule],
    folder: Path,
    say: Callable[[str], None],
) -> Finetuned:
    """Train the encoder of a fitted recognizer together with its head, from there on, at low rates.

    First the head on features, then all on frames: a head that knows nothing would spoil the pretrained features at the
    first steps (Kumar et al. 2022, "Fine-tuning can distort pretrained features"). The best epoch takes the place of
    the checkpoint only where its validation loss is lower than before; what was there is kept as
    `before_finetuning.ckpt` beside it.

    Args:
        fitted: the result of training on features.
        clips: its clips; "val" is not empty.
        data: its loaders.
        settings: how the head was trained.
        finetuning: how to train now.
        make_trainer: from a folder to a trainer that keeps `checkpoints/best.ckpt` in it and accumulates
            `batch_size / clips_at_once` batches.
        features_of: the loaders for a recognizer with another encoder: its features of the validation and test clips.
        folder: where logs and checkpoints of fine-tuning go.
        say: for notes to the user.

    Raises:
        DataError: a validation clip cannot be read any more, or no training clip.
    """
    recognizer = load_checkpoint(fitted.checkpoint)
    before = validation_loss(recognizer, data, settings)
    module = FinetuneModule(recognizer, settings, finetuning, class_weights=data.class_weights(), say=say)
    say(f"fine-tuning trains {module.part.describe()}")
    trainer = make_trainer(folder)
    training = _training_windows(recognizer, clips["train"], finetuning)
    trainer.fit(module.train(), training, _validation_clips(module, clips["val"], finetuning))
    if len(module.failed) == len({item.clip.key for item in clips["train"]}):
        raise DataError(f"None of the {len(clips['train'])} training clips can be read any more. Check data.root.")
    path, after = _best(trainer)
    head = None
    if after < before:
        head = _published(path, fitted.checkpoint, features_of, settings, trainer)
    return Finetuned(head, module.part.describe(), before, after, list(module.failed.values()))


def _training_windows(
    recognizer: Recognizer, clips: Sequence[StoredClip], finetuning: FinetuneSettings
) -> FrameWindowLoader:
    return FrameWindowLoader(
        clips,
        recognizer.class_names,
        window_frames=recognizer.window_frames,
        rgb_every=recognizer.rgb_every,
        square_pixels=recognizer.square_pixels,
        clips_at_once=finetuning.clips_at_once,
        step_clips=finetuning.batch_size,
        balanced=finetuning.balance == "sampler",
        flip=finetuning.flip,
        smallest_crop=finetuning.smallest_crop,
        decode_threads=finetuning.decode_threads,
    )


def _validation_clips(
    module: FinetuneModule, clips: Sequence[StoredClip], finetuning: FinetuneSettings
) -> ValidationClips:
    recognizer = module.recognizer
    return ValidationClips(
        [item.clip for item in clips],
        recognizer.encoder,
        class_indices((item.clip for item in clips), recognizer.class_names),
        sample_fps=recognizer.sample_fps,
        window_frames=recognizer.window_frames,
        batch_frames=finetuning.batch_frames,
        decode_threads=finetuning.decode_threads,
        prepare=module.ready_to_encode,
    )


def _best(trainer: Trainer) -> tuple[Path, float]:
    """The checkpoint of the best epoch, and its validation loss."""
    kept = next(item for item in trainer.checkpoint_callbacks if isinstance(item, ModelCheckpoint) and item.monitor)
    assert kept.best_model_score is not None, "there is a validation after each epoch"
    return Path(kept.best_model_path), float(kept.best_model_score)


def _published(
    tuned: Path,
    checkpoint: Path,
    features_of: Callable[[Recognizer], FeatureDataModule],
    settings: TrainingSettings,
    trainer: Trainer,
) -> FittedHead:
    """Put the tuned checkpoint in the place of the other, and measure it."""
    data = features_of(load_checkpoint(tuned))  # before anything is replaced: it may fail
    write_atomically(checkpoint.with_name(BEFORE), checkpoint.read_bytes())
    write_atomically(checkpoint, tuned.read_bytes())
    return measured(checkpoint, data, settings, trainer)


def _duration(seconds: float) -> str:
    """A span of time in words.

    >>> _duration(8), _duration(150), _duration(7300)
    ('8 seconds', '2 minutes', '2.0 hours')
    """
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
