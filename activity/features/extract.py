"""From videos to features: decoding ahead in threads, encoding in batches that cross the borders of clips."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from activity.video.reader import SampledFrame, VideoError, VideoReader

Encode = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class VideoRequest:
    """The sampled frames wanted of one video.

    Attributes:
        path: the video.
        spans: ranges of sampled-frame indices (step 1); a frame in several of them is encoded once.
    """

    path: Path
    spans: tuple[range, ...]

    def wants(self, index: int) -> bool:
        """Whether sampled frame `index` is in one of the spans."""
        return any(index in span for span in self.spans)

    def reading_range(self) -> range:
        """All indices to be read: one before the first too, for its motion."""
        return range(max(0, min(span.start for span in self.spans) - 1), max(span.stop for span in self.spans))


@dataclass(frozen=True)
class FeatureChunk:
    """Features of consecutive wanted sampled frames of one video.

    Attributes:
        video: position of the video among the requests.
        indices: the sampled frames' indices, ascending.
        features: `float32 (len(indices), D)`, on the CPU.
    """

    video: int
    indices: list[int]
    features: Tensor


@dataclass(frozen=True)
class VideoEnd:
    """A video is done: comes after its last chunk, once for each request.

    Attributes:
        video: position of the video among the requests.
        duration_seconds: as far as it was read.
        error: why it could not be read, or None.
    """

    video: int
    duration_seconds: float
    error: VideoError | None = None


@dataclass(frozen=True)
class _Item:
    """A sampled frame on its way to the encoder; `previous` is the sampled frame before it, or itself at the start."""

    video: int
    index: int
    pixels: np.ndarray
    previous: np.ndarray


@dataclass(frozen=True)
class _Crash:
    """An error of ours in a decoding thread, to be raised where it is seen."""

    error: BaseException


def extract_features(
    encode: Encode,
    requests: Sequence[VideoRequest],
    *,
    sample_fps: float,
    motion: bool,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
) -> Iterator[FeatureChunk | VideoEnd]:
    """Encode the wanted sampled frames of videos, each once.

    At most `2 * batch_frames + decode_threads` decoded frames wait at any time, whatever the length of the videos.
    Chunks of one video come in order; those of different videos may interleave. Closing the iterator stops the threads.

    Args:
        encode: as `Recognizer.encode`; on `device`.
        requests: the videos.
        sample_fps: sampled frames a second.
        motion: give the encoder each frame's previous sampled frame.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        device: where the encoder is.
    """
    batch: list[_Item] = []
    held: list[_Item | VideoEnd] = []  # in order of arrival: ends wait for the frames before them
    for item in _decode_ahead(requests, sample_fps, capacity=batch_frames, threads=decode_threads):
        held.append(item)
        if isinstance(item, _Item):
            batch.append(item)
        if len(batch) == batch_frames or not batch:
            yield from _in_order(held, _encode_batch(encode, batch, motion, device))
            batch, held = [], []
    yield from _in_order(held, _encode_batch(encode, batch, motion, device))


def _in_order(held: list[_Item | VideoEnd], features: Tensor) -> Iterator[FeatureChunk | VideoEnd]:
    """The features of held frames as one chunk a video, each video's end after its chunk."""
    rows: dict[int, list[int]] = {}
    items = [item for item in held if isinstance(item, _Item)]
    for row, item in enumerate(items):
        rows.setdefault(item.video, []).append(row)
    for video, own in rows.items():
        yield FeatureChunk(video, [items[row].index for row in own], features[own])
    yield from (item for item in held if isinstance(item, VideoEnd))


@torch.inference_mode()
def _encode_batch(encode: Encode, batch: list[_Item], motion: bool, device: torch.device) -> Tensor:
    """Features `(len(batch), D)`; frames of one size go to the encoder together."""
    if not batch:
        return torch.empty(0, 0)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for row, item in enumerate(batch):
        by_size.setdefault(item.pixels.shape, []).append(row)
    # A GPU would round to TF32 by default, and the features differ from those that a CPU gives in deployment.
    torch.backends.cudnn.allow_tf32 = False
    parts: list[Tensor] = []
    order: list[int] = []
    for own in by_size.values():
        frames = _stack([batch[row].pixels for row in own], device)
        previous = _stack([_same_size(batch[row]) for row in own], device) if motion else None
        parts.append(encode(frames.unsqueeze(1), previous)[:, 0].float().cpu())
        order += own
    return torch.cat(parts)[torch.argsort(torch.tensor(order))]


def _same_size(item: _Item) -> np.ndarray:
    """The previous frame; a video may change its size midway, and what moved between two sizes cannot be said."""
    return item.previous if item.previous.shape == item.pixels.shape else item.pixels


def _stack(frames: list[np.ndarray], device: torch.device) -> Tensor:
    """Frames `(H, W, 3)` to one `(N, 3, H, W)` in the decoder's own memory order, in which resizing is fastest."""
    return torch.from_numpy(np.stack(frames)).to(device).permute(0, 3, 1, 2)


def _decode_ahead(
    requests: Sequence[VideoRequest], sample_fps: float, *, capacity: int, threads: int
) -> Iterator[_Item | VideoEnd]:
    """Sampled frames of all videos, decoded in threads, of which each reads one video at a time."""
    ready: queue.Queue[_Item | VideoEnd | _Crash] = queue.Queue(maxsize=capacity)
    work = iter(range(len(requests)))
    lock = threading.Lock()
    stopped = threading.Event()

    def put(item: _Item | VideoEnd | _Crash) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def decode() -> None:
        try:
            while not stopped.is_set():
                with lock:
                    video = next(work, None)
                if video is None or not all(put(item) for item in _decode(video, requests[video], sample_fps)):
                    return
        except BaseException as error:  # noqa: BLE001 - carried to the consumer, which raises it
            put(_Crash(error))

    workers = [threading.Thread(target=decode, daemon=True) for _ in range(min(threads, len(requests)))]
    for worker in workers:
        worker.start()
    try:
        ended = 0
        while ended < len(requests):
            item = ready.get()
            if isinstance(item, _Crash):
                raise item.error
            ended += isinstance(item, VideoEnd)
            yield item
    finally:
        stopped.set()
        for worker in workers:
            worker.join()


def _decode(video: int, request: VideoRequest, sample_fps: float) -> Iterator[_Item | VideoEnd]:
    """One video's wanted sampled frames, then its end."""
    previous: SampledFrame | None = None
    duration_seconds = 0.0
    try:
        with VideoReader(request.path) as reader:
            for frame in reader.sampled_frames(sample_fps, indices=request.reading_range()):
                if request.wants(frame.index):
                    yield _Item(video, frame.index, frame.pixels, (previous or frame).pixels)
                previous = frame
            duration_seconds = reader.duration_seconds
    except VideoError as error:
        yield VideoEnd(video, duration_seconds, error)
        return
    except OSError as error:  # removed meanwhile, or a network drive that is gone
        reason = f"it cannot be read ({error.strerror or error})"
        yield VideoEnd(video, duration_seconds, VideoError(str(request.path), reason, "check the path"))
        return
    yield VideoEnd(video, duration_seconds)
