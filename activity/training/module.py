"""What Lightning trains: the head of a recognizer, on windows of features."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from activity.evaluation.calibration import clip_scores
from activity.evaluation.metrics import ClipMetrics, clip_metrics
from activity.formats.checkpoint import describe_into
from activity.models.precision import without_tf32
from activity.models.recognizer import Recognizer
from activity.training.datasets import WindowBatch

_WINDOWS_AT_ONCE = 256  # in validation: a long clip has many
OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]


class DivergedError(ValueError):
    """Training that cannot come to anything: at which epoch, and what to change."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a head is trained.

    Attributes:
        make_optimizer: from groups of parameters to an optimizer.
        warmup_fraction: share of all steps in which the learning rate rises linearly; then it falls as a half
            cosine (Loshchilov & Hutter 2017, without restarts).
        label_smoothing: as in Szegedy et al. 2016.
        reading_lr_factor: the learning rate of what reads the window in order, as a share of the classifier's. Below 1
            the classifier settles on the window's mean first, and order is learned where that leaves mistakes.
    """

    make_optimizer: OptimizerFactory
    warmup_fraction: float
    label_smoothing: float
    reading_lr_factor: float


class RecognizerModule(LightningModule):
    """Trains the head; the encoder is part of the checkpoint, but features come from the store.

    Args:
        recognizer: its head is trained.
        settings: how.
        class_weights: `(C,)`, of the training loss.

    After `trainer.test`, `test_metrics` holds what was measured, and `test_scores` the scores `(N, C)` of the clips in
    their order; `test_logits` are those of all their windows at temperature 1, `(W, C)`, and `test_windows` says which
    clip each window is of, `int64 (W,)`.
    """

    class_weights: Tensor

    def __init__(self, recognizer: Recognizer, settings: TrainingSettings, *, class_weights: Tensor) -> None:
        super().__init__()
        self.recognizer = recognizer
        self._settings = settings
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._tested: list[tuple[Tensor, Tensor]] = []
        self._losses: list[tuple[Tensor, int]] = []
        self.test_metrics: ClipMetrics | None = None
        self.test_scores = self.test_logits = torch.empty(0, 0)
        self.test_windows = torch.empty(0, dtype=torch.int64)

    def training_step(self, batch: WindowBatch, batch_index: int) -> Tensor:
        """The loss of one random window a clip."""
        loss = self.window_loss(batch.features, batch.lengths, batch.labels)
        self.note_loss(loss, len(batch.labels))
        return loss

    def note_loss(self, loss: Tensor, windows: int) -> None:
        """Keep a step's loss for the epoch's: to log it at each step takes as long as the optimizer does."""
        self._losses.append((loss.detach(), windows))

    def on_train_epoch_end(self) -> None:
        """Log the mean loss over the epoch's windows; none where no step had any."""
        if not self._losses:
            return
        losses, counts = zip(*self._losses, strict=True)
        self._losses.clear()
        weights = torch.tensor(counts, dtype=torch.float32, device=self.device)
        loss = (torch.stack(losses) * weights).sum() / weights.sum()
        if not loss.isfinite():
            raise DivergedError(
                f"training has diverged in epoch {self.current_epoch + 1}: the loss is no finite number any more. "
                "Lower the learning rate (optim.optimizer.lr; in fine-tuning finetune.lr and finetune.head_lr)."
            )
        self.log("train/loss", loss)

    def window_loss(self, features: Tensor, lengths: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
        """Cross-entropy and penalty of windows, the mean over the head's votes: each learns from its own mistakes.

        Args:
            features: `float32 (B, T, D)`.
            lengths: `int64 (B,)`, how many features of each window count.
            labels: `int64 (B,)`.
            reduction: of the cross-entropy, as torch has it; "none" gives `(B,)`.
        """
        head, weight, smoothing = self.recognizer.head, self.class_weights, self._settings.label_smoothing
        losses = [
            F.cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing, reduction=reduction) + penalty
            for logits, penalty in zip(head.votes(features, lengths), head.penalties(), strict=True)
        ]
        return torch.stack(losses).mean(dim=0)

    def validation_step(self, batch: WindowBatch, batch_index: int) -> None:
        """Scores of clips: the mean over all their windows."""
        logits = self.window_logits(batch)
        self._seen.append((clip_scores(logits, batch.clips, len(batch.labels)), batch.labels))

    def test_step(self, batch: WindowBatch, batch_index: int) -> None:
        """As in validation."""
        logits = self.window_logits(batch)
        before = sum(len(labels) for _, labels in self._seen)
        self._seen.append((clip_scores(logits, batch.clips, len(batch.labels)), batch.labels))
        # Logits times the temperature that divided them: what the head itself said.
        self._tested.append(((logits * self.recognizer.temperature).cpu(), batch.clips.cpu() + before))

    def on_validation_epoch_end(self) -> None:
        """Log loss and accuracy over all clips."""
        scores, labels = self._take_seen()
        self.log("val/loss", clips_loss(scores, labels), prog_bar=True)
        self.log("val/accuracy", (scores.argmax(dim=1) == labels).float().mean(), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Compute `test_metrics` over all clips."""
        scores, labels = self._take_seen()
        self.test_scores = scores.cpu()
        self.test_logits, self.test_windows = (torch.cat(part) for part in zip(*self._tested, strict=True))
        self._tested.clear()
        self.test_metrics = clip_metrics(self.test_scores, labels.cpu(), self.recognizer.class_names)

    @without_tf32()
    def window_logits(self, batch: WindowBatch) -> Tensor:
        """Logits `(W, C)` of all windows of a batch, as `predict` has them."""
        slices = zip(batch.features.split(_WINDOWS_AT_ONCE), batch.lengths.split(_WINDOWS_AT_ONCE), strict=True)
        return torch.cat([self.recognizer.classify(*part) for part in slices])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer over the head, with its schedule over all steps of the run."""
        return self._scheduled(self._settings.make_optimizer(self._head_groups()))

    def _head_groups(self) -> list[dict[str, Any]]:
        """The head's parameters: the classifier's, and those of what reads the window where there is such."""
        head = self.recognizer.head
        reading = head.reading_parameters()
        ours = {id(parameter) for parameter in reading}
        others = [item for item in head.parameters() if item.requires_grad and id(item) not in ours]
        return [{"params": others}, *([{"params": reading, "reads": True}] if reading else [])]

    def _scheduled(self, optimizer: Optimizer) -> OptimizerLRSchedulerConfig:
        """An optimizer with the rate of what reads the window and the schedule of the rates."""
        for group in optimizer.param_groups:
            group["lr"] *= self._settings.reading_lr_factor if group.pop("reads", False) else 1.0
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: _warmup_then_cosine(step, total, self._settings.warmup_fraction))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make the checkpoint self-contained."""
        describe_into(checkpoint, self.recognizer)

    def _take_seen(self) -> tuple[Tensor, Tensor]:
        scores, labels = (torch.cat(part) for part in zip(*self._seen, strict=True))
        self._seen.clear()
        return scores, labels


def clips_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """The mean negative log-likelihood of clips, from their scores `(N, C)`."""
    return F.nll_loss(scores.clamp_min(torch.finfo(scores.dtype).tiny).log(), labels)


def _warmup_then_cosine(step: int, total: int, warmup_fraction: float) -> float:
    """The factor of the learning rate at a step of `total`."""
    warmup = max(1, round(total * warmup_fraction))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
