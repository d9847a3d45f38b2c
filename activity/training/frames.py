"""Windows of frames, decoded anew each time: what an encoder is trained and validated on."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import RandomSampler, WeightedRandomSampler

from activity.data.clips import Clip, DataError, class_indices
from activity.features.extract import FeatureChunk, VideoRequest, extract_features
from activity.features.fill import constant_batches
from activity.features.outcome import FailedClip, StoredClip
from activity.features.views import View
from activity.models.encoder import FrameEncoder
from activity.training.datasets import WindowBatch
from activity.video.errors import VideoError, unreadable
from activity.video.reader import VideoReader
from activity.video.sampling import window_starts

_Decoded = TypeVar("_Decoded")


@dataclass(frozen=True)
class FrameBatch:
    """Random windows of clips.

    Attributes:
        windows: of each clip the frames `uint8 (T, 3, H, W)`, and the sampled frame before the first,
            `uint8 (3, H, W)`: at a video's beginning that is the first itself.
        labels: `int64 (B,)`.
        failed: clips that were drawn and could not be read; they are not among the windows.
    """

    windows: list[tuple[Tensor, Tensor]]
    labels: Tensor
    failed: list[FailedClip]

    def to(self, device: torch.device) -> "FrameBatch":
        """The batch on another device; Lightning calls it."""
        windows = [(frames.to(device), previous.to(device)) for frames, previous in self.windows]
        return FrameBatch(windows, self.labels.to(device), self.failed)


@dataclass(frozen=True)
class _Drawn:
    """A window to be read: sampled frames `indices` of a clip at `sample_fps`, all of them shown as `view`.

    `square_pixels` as of `Preprocess`.
    """

    clip: Clip
    label: int
    indices: range
    sample_fps: float
    square_pixels: bool
    view: View


class FrameWindowLoader:
    """Batches of random windows of training clips, decoded ahead in threads; other windows in each iteration.

    The frames have their full size: the recognizer has the one preprocessing there is. A clip with stored views runs at
    the rate of one of these, drawn at random; mirroring and cutting are drawn anew for each window. Of a long video a
    window is decoded from the key frame before it, where the container lets it be found.

    Args:
        clips: the training clips.
        class_names: the order of the classes.
        window_frames: sampled frames a window.
        rgb_every: of the encoder: windows begin, where their clip lets them, at a frame that "rgb" looks at.
        square_pixels: likewise, as of `Preprocess`.
        clips_at_once: clips a batch.
        step_clips: clips a step of the optimizer; an iteration draws a multiple of it, each clip at least once
            (or, where classes are balanced, as many as there are clips).
        balanced: draw each class as often as any other.
        flip: exchange left and right in half of the windows.
        smallest_crop: a window keeps this share of each side, to 1, drawn at random.
        decode_threads: windows decoded at the same time.
    """

    def __init__(
        self,
        clips: Sequence[StoredClip],
        class_names: Sequence[str],
        *,
        window_frames: int,
        rgb_every: int,
        square_pixels: bool,
        clips_at_once: int,
        step_clips: int,
        balanced: bool,
        flip: bool,
        smallest_crop: float,
        decode_threads: int,
    ) -> None:
        self._clips = clips
        self._labels = class_indices((item.clip for item in clips), class_names)
        self._window_frames = window_frames
        self._rgb_every = rgb_every
        self._square_pixels = square_pixels
        self._clips_at_once = clips_at_once
        self._draws = -(-len(clips) // step_clips) * step_clips
        self._balanced = balanced
        self._flip = flip
        self._smallest_crop = smallest_crop
        self._decode_threads = decode_threads

    def __len__(self) -> int:
        return self._draws // self._clips_at_once

    def __iter__(self) -> Iterator[FrameBatch]:
        # All that is random is drawn here and now: the order in which threads finish changes nothing.
        drawn = [self._draw(position) for position in self._order()]
        windows = _ahead([partial(_with_window, item) for item in drawn], self._decode_threads)
        for _ in range(len(self)):
            yield _batch([next(windows) for _ in range(self._clips_at_once)])

    def _order(self) -> list[int]:
        if not self._balanced:
            return list(RandomSampler(self._clips, num_samples=self._draws))
        counts = Counter(self._labels)
        return list(WeightedRandomSampler([1.0 / counts[label] for label in self._labels], self._draws))

    def _draw(self, position: int) -> _Drawn:
        item = self._clips[position]
        shown = [(item.key, item.length), *((view.key, view.length) for view in item.views)]
        key, length = shown[int(torch.randint(len(shown), ()))]
        rate = View(**key.view).rate
        crop, left, top, side = torch.rand(4).tolist()
        start = key.span[0] + int(torch.randint(max(0, length - self._window_frames) + 1, ()))
        look = start - start % self._rgb_every
        start = look if look >= key.span[0] else start
        view = View(
            flip=self._flip and side < 0.5,
            crop=1.0 - crop * (1.0 - self._smallest_crop),
            left=left,
            top=top,
            rate=rate,
        )
        stop = min(start + self._window_frames, key.span[0] + length)
        sample_fps = view.sampled(key.sample_fps)
        return _Drawn(item.clip, self._labels[position], range(start, stop), sample_fps, self._square_pixels, view)


class ValidationClips:
    """All windows of validation clips, a `WindowBatch` a clip, of features that the encoder gives now.

    They are computed as those in a store are, clip by clip: memory does not grow with their number.

    Args:
        clips: the clips; at least one.
        encoder: called in evaluation mode, where it is.
        labels: the class of each clip.
        sample_fps: sampled frames a second.
        window_frames: sampled frames a window.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        prepare: called before each iteration.

    Iterating raises DataError where a clip cannot be read: a loss over fewer clips could not be compared.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        encoder: FrameEncoder,
        labels: Sequence[int],
        *,
        sample_fps: float,
        window_frames: int,
        batch_frames: int,
        decode_threads: int,
        prepare: Callable[[], None],
    ) -> None:
        self._clips = clips
        self._encoder = encoder
        self._labels = labels
        self._sample_fps = sample_fps
        self._window_frames = window_frames
        self._batch_frames = batch_frames
        self._decode_threads = decode_threads
        self._prepare = prepare

    def __len__(self) -> int:
        return len(self._clips)

    def __iter__(self) -> Iterator[WindowBatch]:
        self._prepare()
        spans = [clip.sampled_indices(self._sample_fps) for clip in self._clips]
        requests = [
            VideoRequest(clip.path, (span,), self._sample_fps) for clip, span in zip(self._clips, spans, strict=True)
        ]
        features: dict[int, list[Tensor]] = {}
        for result in extract_features(
            constant_batches(self._encoder, self._batch_frames),
            requests,
            motion="motion" in self._encoder.modalities,
            rgb_every=self._encoder.rgb_every,
            square_pixels=self._encoder.preprocess.square_pixels,
            batch_frames=self._batch_frames,
            decode_threads=self._decode_threads,
            device=next(self._encoder.parameters()).device,
        ):
            if isinstance(result, FeatureChunk):
                features.setdefault(result.video, []).append(result.features)
            elif result.error is not None or result.video not in features:
                raise _unreadable(self._clips[result.video], result.error)
            else:
                yield self._windows(torch.cat(features.pop(result.video)), self._labels[result.video])

    def _windows(self, features: Tensor, label: int) -> WindowBatch:
        starts = window_starts(len(features), self._window_frames)
        windows = [features[start : start + self._window_frames] for start in starts]
        return WindowBatch(
            features=torch.nn.utils.rnn.pad_sequence(windows, batch_first=True),
            lengths=torch.tensor([len(window) for window in windows]),
            clips=torch.zeros(len(windows), dtype=torch.int64),
            labels=torch.tensor([label]),
        )


def _ahead(tasks: Sequence[Callable[[], _Decoded]], threads: int) -> Iterator[_Decoded]:
    """The results of tasks in their order; a few are worked on before they are asked for."""
    with ThreadPoolExecutor(threads, "decode") as pool:
        under_way: deque[Future[_Decoded]] = deque()
        waiting = iter(tasks)
        try:
            for task in waiting:
                under_way.append(pool.submit(task))
                if len(under_way) > 2 * threads:  # one in each thread's hand, and one ready for each
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _with_window(drawn: _Drawn) -> tuple[_Drawn, tuple[Tensor, Tensor] | str]:
    return drawn, _read(drawn)


def _read(drawn: _Drawn) -> tuple[Tensor, Tensor] | str:
    """Frames and the frame before them, as in a `FrameBatch`; or why there are none."""
    first = drawn.indices.start
    shown: list[np.ndarray] = []
    before: np.ndarray | None = None
    try:
        with VideoReader(drawn.clip.path, square_pixels=drawn.square_pixels) as reader:
            for frame in reader.sampled_frames(drawn.sample_fps, indices=range(max(0, first - 1), drawn.indices.stop)):
                pixels = drawn.view.apply(frame.pixels)
                if frame.index < first:
                    before = pixels
                else:
                    shown.append(pixels)
    except VideoError as error:
        return str(error)
    except OSError as error:
        return str(unreadable(drawn.clip.path, error))
    if not shown:
        return f"{drawn.clip.name}: it has become shorter: there is no sampled frame {first} at {drawn.sample_fps:g}/s"
    if len({pixels.shape for pixels in shown}) > 1:
        return f"{drawn.clip.name}: its pictures change their size midway, so they make no window of frames"
    if before is None or before.shape != shown[0].shape:
        before = shown[0]
    return _tensor(np.stack(shown)), _tensor(before[None])[0]


def _tensor(frames: np.ndarray) -> Tensor:
    """Frames `(T, H, W, 3)` as `(T, 3, H, W)` in the decoder's own memory order, in which resizing is fastest."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def _batch(read: Sequence[tuple[_Drawn, tuple[Tensor, Tensor] | str]]) -> FrameBatch:
    good = [(drawn, window) for drawn, window in read if not isinstance(window, str)]
    failed = [FailedClip(drawn.clip, window) for drawn, window in read if isinstance(window, str)]
    return FrameBatch([window for _, window in good], torch.tensor([drawn.label for drawn, _ in good]), failed)


def _unreadable(clip: Clip, error: VideoError | None) -> DataError:
    reason = str(error).rstrip(".") if error is not None else f"{clip.name}: no sampled frame is left of it"
    return DataError(
        f"{reason}. It is a validation clip that could be read when its features were computed, and without it losses "
        "cannot be compared. Put the file back as it was, and start again."
    )
