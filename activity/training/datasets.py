"""Windows of stored features: one at random for training, all of a clip for validation and test."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from activity.data.clips import class_indices
from activity.features.outcome import StoredClip
from activity.features.store import FeatureKey, FeatureStore
from activity.video.sampling import window_starts


@dataclass(frozen=True)
class WindowBatch:
    """Windows of a batch of clips.

    Attributes:
        features: `float32 (W, T, D)`, padded with zeros at the end; T is the length of the longest window.
        lengths: `int64 (W,)`, features of each window that count.
        clips: `int64 (W,)`, position in the batch of the clip that each window is of, ascending.
        labels: `int64 (B,)`, the class of each clip.
    """

    features: Tensor
    lengths: Tensor
    clips: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "WindowBatch":
        """The batch on another device; Lightning calls it."""
        return WindowBatch(*(tensor.to(device) for tensor in vars(self).values()))


@dataclass(frozen=True)
class ClipWindows:
    """The windows drawn of one clip, `float32 (T, D)` each and T at most `window_frames`, and the clip's class."""

    windows: list[Tensor]
    label: int


class FeatureMemory:
    """Features read from a store, of which as many stay in memory as a budget allows.

    Args:
        store: where the features are.
        most_bytes: the budget. What comes when it is used up is read from the disk each time.
    """

    def __init__(self, store: FeatureStore, most_bytes: int) -> None:
        self._store = store
        self._room = most_bytes
        # By the identity of the key, which is kept too: its text takes time. None for what does not fit.
        self._known: dict[int, tuple[FeatureKey, Tensor | None]] = {}

    def read(self, key: FeatureKey, start: int = 0, stop: int | None = None) -> Tensor:
        """As `FeatureStore.read`."""
        if id(key) not in self._known:
            self._known[id(key)] = (key, self._read_if_there_is_room(key))
        _, kept = self._known[id(key)]
        return self._store.read(key, start, stop) if kept is None else kept[start:stop]

    def _read_if_there_is_room(self, key: FeatureKey) -> Tensor | None:
        length, size = self._store.shape(key)
        size_bytes = 4 * length * size
        if size_bytes > self._room:
            return None
        self._room -= size_bytes
        return self._store.read(key)


class WindowDataset(Dataset[ClipWindows]):
    """Clips with their windows.

    Args:
        features: a store, or a memory of one.
        clips: the clips.
        class_names: the order of the classes.
        window_frames: features a window.
        random_window: one window of each clip, begun at a random feature of a random one of its views and another one
            each time (training); else all windows of the plain clip, as prediction scores them (validation, test).
    """

    def __init__(
        self,
        features: FeatureStore | FeatureMemory,
        clips: Sequence[StoredClip],
        class_names: Sequence[str],
        *,
        window_frames: int,
        random_window: bool,
    ) -> None:
        self.clips = clips
        self.labels = class_indices((item.clip for item in clips), class_names)
        self._features = features
        self._window_frames = window_frames
        self._random_window = random_window

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, position: int) -> ClipWindows:
        clip = self.clips[position]
        return ClipWindows(self._random(clip) if self._random_window else self._all(clip), self.labels[position])

    def number_of_windows(self, position: int) -> int:
        """How many windows there are of a clip; nothing is read."""
        return 1 if self._random_window else len(window_starts(self.clips[position].length, self._window_frames))

    def collate(self, clips: Sequence[ClipWindows]) -> WindowBatch:
        """The windows of several clips as one padded batch."""
        windows = [window for clip in clips for window in clip.windows]
        longest = max(map(len, windows))
        if all(len(window) == longest for window in windows):
            features = torch.stack(windows)  # the rule in training; no zeros are written first
        else:
            features = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True)
        return WindowBatch(
            features=features,
            lengths=torch.tensor([len(window) for window in windows]),
            clips=torch.tensor([position for position, clip in enumerate(clips) for _ in clip.windows]),
            labels=torch.tensor([clip.label for clip in clips]),
        )

    def _random(self, clip: StoredClip) -> list[Tensor]:
        key, length = clip.key, clip.length
        if clip.views:
            drawn = int(torch.randint(len(clip.views) + 1, ()))
            if drawn:
                key, length = clip.views[drawn - 1].key, clip.views[drawn - 1].length
        start = int(torch.randint(max(0, length - self._window_frames) + 1, ()))
        return [self._features.read(key, start, start + self._window_frames)]

    def _all(self, clip: StoredClip) -> list[Tensor]:
        features = self._features.read(clip.key)
        starts = window_starts(len(features), self._window_frames)
        return [features[start : start + self._window_frames] for start in starts]
