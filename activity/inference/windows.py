"""Scores of windows that slide over a growing sequence of features, in memory that does not grow with it."""

import torch
from torch import Tensor

from activity.models.precision import without_tf32
from activity.models.recognizer import LoadedRecognizer
from activity.video.sampling import tail_window, windows_completed


class SlidingWindows:
    """The windows of a stream of features, scored as they are completed; only the last features are kept.

    Args:
        recognizer: on `device`.
        device: where the recognizer is.
        stride: features from the start of one window to that of the next; None: half a window, the windows of
            `activity.video.sampling.window_starts`.
    """

    def __init__(self, recognizer: LoadedRecognizer, device: torch.device, *, stride: int | None = None) -> None:
        self._recognizer = recognizer
        self._device = device
        self._stride = stride
        self._recent = torch.empty(0, 0)
        self.features = 0  # pushed so far

    def push(self, features: Tensor) -> tuple[list[int], Tensor]:
        """Take the next features `float32 (n, D)`; starts and scores `float64 (m, C)` of the windows they complete."""
        kept = torch.cat([self._recent, features]) if self.features else features
        before, after = self.features, self.features + len(features)
        first = after - len(kept)  # the stream's index of the first feature still kept
        window_frames = self._recognizer.window_frames
        starts = list(windows_completed(before, after, window_frames, stride=self._stride))
        scores = self._score([kept[start - first : start - first + window_frames] for start in starts])
        self._recent = kept[-window_frames:].clone()  # a view would keep all of it
        self.features = after
        return starts, scores

    def finish(self) -> tuple[list[int], Tensor]:
        """Starts and scores as of `push`, of the window that only the end completes, if there is one.

        Raises:
            ValueError: no feature was pushed.
        """
        start = tail_window(self.features, self._recognizer.window_frames, stride=self._stride)
        return ([], self._score([])) if start is None else ([start], self._score([self._recent]))

    @without_tf32()
    @torch.inference_mode()
    def _score(self, windows: list[Tensor]) -> Tensor:
        if not windows:
            return torch.empty(0, len(self._recognizer.class_names), dtype=torch.float64)
        lengths = torch.tensor([len(window) for window in windows], device=self._device)
        padded = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True).to(self._device)
        return self._recognizer.classify(padded, lengths).softmax(dim=1).double().cpu()


class WindowScorer:
    """The scores of a whole video: the mean over the windows of `activity.video.sampling.window_starts`."""

    def __init__(self, recognizer: LoadedRecognizer, device: torch.device) -> None:
        self.class_names = recognizer.class_names
        self._windows = SlidingWindows(recognizer, device)
        self._sum = torch.zeros(len(recognizer.class_names), dtype=torch.float64)
        self.windows = 0  # scored so far

    def push(self, features: Tensor) -> None:
        """Take the next features `float32 (n, D)`."""
        self._add(self._windows.push(features)[1])

    @property
    def features(self) -> int:
        """How many were pushed."""
        return self._windows.features

    def finish(self) -> Tensor:
        """Scores `float64 (C,)` of the video that ends here.

        Raises:
            ValueError: no feature was pushed.
        """
        self._add(self._windows.finish()[1])
        return self._sum / self.windows

    def _add(self, scores: Tensor) -> None:
        self._sum += scores.sum(dim=0)
        self.windows += len(scores)
