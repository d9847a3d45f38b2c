"""The loaders of a split data set."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, Sampler, WeightedRandomSampler

from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.training.datasets import ClipWindows, FeatureMemory, WindowDataset

BALANCES = ("none", "loss", "sampler")
# Of whole clips. A window takes a sixth of a megabyte, and a two-hour clip has thousands: it is a batch by itself.
_CLIPS_A_BATCH, _WINDOWS_A_BATCH = 8, 256


class FeatureDataModule(LightningDataModule):
    """Loaders over stored features; nothing is decoded here.

    Args:
        store: where the features are.
        clips: the clips of each split: "train", "val", "test"; "val" may be empty.
        class_names: the order of the classes.
        window_frames: features a window.
        batch_size: clips a batch; fewer where all of their windows are wanted and these are many.
        balance: "none"; "loss": each class weighs the same in the loss (`class_weights`); "sampler": each class is
            drawn as often as any other.
        steps_per_epoch: batches an epoch has at least: a small set is gone through several times, with other
            windows each time, so that an epoch means something and validating it is worth its time.
        memory_mb: features kept in memory, in all splits together.
    """

    def __init__(
        self,
        store: FeatureStore,
        clips: Mapping[str, Sequence[StoredClip]],
        class_names: Sequence[str],
        *,
        window_frames: int,
        batch_size: int,
        balance: str,
        steps_per_epoch: int,
        memory_mb: float,
    ) -> None:
        super().__init__()
        if balance not in BALANCES:
            raise ValueError(f"balance is {balance!r}; accepted: {', '.join(BALANCES)}.")
        self._batch_size = batch_size
        self._balance = balance
        self._steps_per_epoch = steps_per_epoch
        memory = FeatureMemory(store, int(memory_mb * 1e6))
        self._datasets = {
            split: WindowDataset(memory, own, class_names, window_frames=window_frames, random_window=split == "train")
            for split, own in clips.items()
        }
        self._num_classes = len(class_names)

    def class_weights(self) -> Tensor:
        """Weights `float32 (C,)` for the loss: inverse to the class's count where `balance` is "loss", else ones."""
        if self._balance != "loss":
            return torch.ones(self._num_classes)
        counts = Counter(self._datasets["train"].labels)
        total = len(self._datasets["train"])
        return torch.tensor([total / (self._num_classes * max(1, counts[i])) for i in range(self._num_classes)])

    def has_clips(self, split: str) -> bool:
        """Whether there is anything in a split."""
        return len(self._datasets[split]) > 0

    def train_dataloader(self) -> DataLoader[ClipWindows]:
        """Random windows, shuffled."""
        return self._loader("train", self._train_sampler())

    def val_dataloader(self) -> DataLoader[ClipWindows] | list[DataLoader[ClipWindows]]:
        """All windows of the validation clips; no loader where there are none."""
        return self._loader("val") if self.has_clips("val") else []

    def test_dataloader(self) -> DataLoader[ClipWindows]:
        """All windows of the test clips."""
        return self._loader("test")

    def _train_sampler(self) -> Sampler[int]:
        dataset = self._datasets["train"]
        draws = max(len(dataset), self._steps_per_epoch * self._batch_size)
        if self._balance != "sampler":
            return RandomSampler(dataset, num_samples=draws)
        counts = Counter(dataset.labels)
        return WeightedRandomSampler([1.0 / counts[label] for label in dataset.labels], draws)

    def _loader(self, split: str, sampler: Sampler[int] | None = None) -> DataLoader[ClipWindows]:
        # Reading a window is a tenth of a millisecond: worker processes would cost more than they bring.
        dataset = self._datasets[split]
        if sampler is None:
            return DataLoader(dataset, batch_sampler=self._whole_clips(dataset), collate_fn=dataset.collate)
        return DataLoader(dataset, batch_size=self._batch_size, sampler=sampler, collate_fn=dataset.collate)

    def _whole_clips(self, dataset: WindowDataset) -> list[list[int]]:
        """Batches of clips in their order, all windows of each: few clips a batch where they are long."""
        batches: list[list[int]] = []
        windows = 0
        for position in range(len(dataset)):
            own = dataset.number_of_windows(position)
            if (
                not batches
                or len(batches[-1]) == min(self._batch_size, _CLIPS_A_BATCH)
                or windows + own > _WINDOWS_A_BATCH
            ):
                batches.append([])
                windows = 0
            batches[-1].append(position)
            windows += own
        return batches
