"""From videos to features: decoding ahead in threads, encoding in batches that cross the borders of clips."""

import contextlib
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from activity.features.views import PLAIN, View
from activity.video.reader import SampledFrame, VideoError, VideoReader

_MOST_ENCODERS = 4  # threads that encode: the memory of a batch's activations is needed for each


class EncodeRows(Protocol):
    """Frames `uint8 (M, 3, H, W)` to features `(N, D)` of those at `rows`; `previous_rows` is the frame before each.

    Rows are `int64 (N,)` and on the frames' device. `previous_rows` is None where no motion was asked for.
    """

    def __call__(self, frames: Tensor, rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """Encode."""
        ...


@dataclass(frozen=True)
class VideoRequest:
    """The sampled frames wanted of one video.

    Attributes:
        path: the video.
        spans: ranges of sampled-frame indices (step 1); a frame in several of them is encoded once.
        views: how each of them is shown; all of the same `rate`, of which the sampling is the caller's business.
        sample_fps: sampled frames a second.
    """

    path: Path
    spans: tuple[range, ...]
    sample_fps: float
    views: tuple[View, ...] = (PLAIN,)

    def wants(self, index: int) -> bool:
        """Whether sampled frame `index` is in one of the spans."""
        return any(index in span for span in self.spans)

    def reading_range(self) -> range:
        """All indices to be read: one before the first too, for its motion."""
        return range(max(0, min(span.start for span in self.spans) - 1), max(span.stop for span in self.spans))


@dataclass(frozen=True)
class FeatureChunk:
    """Features of consecutive wanted sampled frames of one view of a video.

    Attributes:
        video: position of the video among the requests.
        indices: the sampled frames' indices, ascending.
        features: `float32 (len(indices), D)`, on the CPU.
        view: position of the view among the request's.
    """

    video: int
    indices: list[int]
    features: Tensor
    view: int = 0


@dataclass(frozen=True)
class VideoEnd:
    """A video is done: comes after its last chunk, once for each request.

    Attributes:
        video: position of the video among the requests.
        duration_seconds: as far as it was read.
        error: why it could not be read, or None.
        damage: what is missing of a video that could be read in part, or None.
        skipped: nobody wanted it any more when its turn came.
    """

    video: int
    duration_seconds: float
    error: VideoError | None = None
    damage: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class _Item:
    """A sampled frame on its way to the encoder; `previous` is the sampled frame before it, or itself at the start."""

    video: int
    view: int
    index: int
    pixels: np.ndarray
    previous: np.ndarray


@dataclass(frozen=True)
class _Crash:
    """An error of ours in a decoding thread, to be raised where it is seen."""

    error: BaseException


def extract_features(
    encode: EncodeRows,
    requests: Sequence[VideoRequest],
    *,
    motion: bool,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    still_wanted: Callable[[int], bool] = lambda _: True,
) -> Generator[FeatureChunk | VideoEnd, None, None]:
    """Encode the wanted sampled frames of videos, each once.

    On a CPU several threads encode a batch each, and torch splits none over threads: the cores wait for nobody.
    A bounded number of frames is held (some batches), whatever the number and the length of the videos. Chunks of one
    view of a video come in order; those of different videos may interleave. Closing the iterator stops the threads.

    Args:
        encode: called from several threads at once; on `device`.
        requests: the videos.
        motion: give the encoder each frame's previous sampled frame.
        batch_frames: frames the encoder gets at once, all of one size.
        decode_threads: videos decoded at the same time.
        device: where the encoder is.
        still_wanted: asked for each request when its turn comes, from a decoding thread.
    """
    collected = _Collected(requests, batch_frames)
    with _encoding_threads(device) as (pool, workers):
        under_way: deque[tuple[list[_Item], Future[Tensor]]] = deque()

        def start(batches: list[list[_Item]]) -> None:
            under_way.extend((batch, pool.submit(_encode_batch, encode, batch, motion, device)) for batch in batches)

        decoded = _decode_ahead(requests, still_wanted, capacity=batch_frames, threads=decode_threads)
        with contextlib.closing(decoded):
            for item in decoded:
                start(collected.add(item))
                while len(under_way) > workers:  # one in each thread's hand, and the next one here
                    yield from collected.done(*_result(under_way))
                yield from collected.ended()
            start(collected.rest())
            while under_way:
                yield from collected.done(*_result(under_way))
            yield from collected.ended()


def encode_by(encode: Callable[[Tensor, Tensor | None], Tensor]) -> EncodeRows:
    """The rows of a recognizer that knows windows only: `encode(frames (B, T, 3, H, W), previous)`."""

    def encode_rows(frames: Tensor, rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        previous = None if previous_rows is None else frames[previous_rows]
        return encode(frames[rows].unsqueeze(1), previous)[:, 0]

    return encode_rows


@contextlib.contextmanager
def _encoding_threads(device: torch.device) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Threads that encode, and how many: on a CPU they share the threads that torch would use for one operation."""
    threads = torch.get_num_threads()
    workers = min(threads, _MOST_ENCODERS) if device.type == "cpu" else 1
    own = max(1, threads // workers)
    pool = ThreadPoolExecutor(workers, "encode", initializer=torch.set_num_threads, initargs=(own,))
    try:
        yield pool, workers
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a thread's choice becomes that of threads to come


def _result(under_way: deque[tuple[list[_Item], Future[Tensor]]]) -> tuple[list[_Item], Tensor]:
    batch, features = under_way.popleft()
    return batch, features.result()


@dataclass
class _Collected:
    """Decoded frames by size, until there is a batch of them, and the ends of videos until their frames are done."""

    requests: Sequence[VideoRequest]
    batch_frames: int
    waiting: dict[tuple[int, ...], list[_Item]] = field(default_factory=dict)
    open_frames: Counter[int] = field(default_factory=Counter)  # by video: decoded, not yet given out
    sizes: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)  # of each view's latest frame
    ends: list[VideoEnd] = field(default_factory=list)

    def add(self, item: _Item | VideoEnd) -> list[list[_Item]]:
        """Take what comes from the decoder; returns the batches to be encoded now."""
        if isinstance(item, VideoEnd):
            self.ends.append(item)
            for view in range(len(self.requests[item.video].views)):
                self.sizes.pop((item.video, view), None)
            return []
        self.open_frames[item.video] += 1
        batches = []
        size = item.pixels.shape
        before = self.sizes.get((item.video, item.view), size)
        if before != size and before in self.waiting:  # a video may change its size: its frames stay in order
            batches.append(self.waiting.pop(before))
        self.sizes[item.video, item.view] = size
        own = self.waiting.setdefault(size, [])
        own.append(item)
        if len(own) == self.batch_frames:
            batches.append(self.waiting.pop(size))
        elif sum(map(len, self.waiting.values())) >= 2 * self.batch_frames:  # many sizes
            batches.append(self.waiting.pop(max(self.waiting, key=lambda key: len(self.waiting[key]))))
        return batches

    def rest(self) -> list[list[_Item]]:
        """The batches that did not become full."""
        batches = list(self.waiting.values())
        self.waiting = {}
        return batches

    def done(self, batch: list[_Item], features: Tensor) -> Iterator[FeatureChunk]:
        """The features of a batch as one chunk a view of a video."""
        rows: dict[tuple[int, int], list[int]] = {}
        for row, item in enumerate(batch):
            rows.setdefault((item.video, item.view), []).append(row)
        for (video, view), own in rows.items():
            self.open_frames[video] -= len(own)
            yield FeatureChunk(video, [batch[row].index for row in own], features[own], view)

    def ended(self) -> list[VideoEnd]:
        """The ends of the videos of which no frame is on its way any more."""
        over = [end for end in self.ends if not self.open_frames[end.video]]
        self.ends = [end for end in self.ends if self.open_frames[end.video]]
        for end in over:
            del self.open_frames[end.video]
        return over


@torch.inference_mode()
def _encode_batch(encode: EncodeRows, batch: list[_Item], motion: bool, device: torch.device) -> Tensor:
    """Features `(len(batch), D)`, on the CPU."""
    # A GPU would round to TF32 by default, and the features differ from those that a CPU gives in deployment.
    torch.backends.cudnn.allow_tf32 = False
    distinct: dict[int, int] = {}  # by identity: the frame before is mostly in the batch already
    frames: list[np.ndarray] = []

    def row_of(pixels: np.ndarray) -> int:
        if id(pixels) not in distinct:
            distinct[id(pixels)] = len(frames)
            frames.append(pixels)
        return distinct[id(pixels)]

    rows = torch.tensor([row_of(item.pixels) for item in batch], device=device)
    previous_rows = torch.tensor([row_of(_same_size(item)) for item in batch], device=device) if motion else None
    return encode(_stack(frames, device), rows, previous_rows).float().cpu()


def _same_size(item: _Item) -> np.ndarray:
    """The previous frame; a video may change its size midway, and what moved between two sizes cannot be said."""
    return item.previous if item.previous.shape == item.pixels.shape else item.pixels


def _stack(frames: list[np.ndarray], device: torch.device) -> Tensor:
    """Frames `(H, W, 3)` to one `(N, 3, H, W)` in the decoder's own memory order, in which resizing is fastest."""
    return torch.from_numpy(np.stack(frames)).to(device).permute(0, 3, 1, 2)


def _decode_ahead(
    requests: Sequence[VideoRequest], still_wanted: Callable[[int], bool], *, capacity: int, threads: int
) -> Generator[_Item | VideoEnd, None, None]:
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
                if video is None:
                    return
                wanted = still_wanted(video)
                items = _decode(video, requests[video]) if wanted else [VideoEnd(video, 0.0, skipped=True)]
                if not all(put(item) for item in items):
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


def _decode(video: int, request: VideoRequest) -> Iterator[_Item | VideoEnd]:
    """One video's wanted sampled frames, then its end."""
    previous: SampledFrame | None = None
    shown: list[np.ndarray] = []  # the latest frame, in each view
    duration_seconds = 0.0
    try:
        with VideoReader(request.path) as reader:
            for frame in reader.sampled_frames(request.sample_fps, indices=request.reading_range()):
                before = shown
                if previous is None or frame.pixels is not previous.pixels:  # a slow video shows a frame twice
                    shown = [frame.pixels if view == PLAIN else view.apply(frame.pixels) for view in request.views]
                if request.wants(frame.index):
                    for view, (pixels, earlier) in enumerate(zip(shown, before or shown, strict=True)):
                        yield _Item(video, view, frame.index, pixels, earlier)
                previous = frame
            duration_seconds = reader.duration_seconds
            damage = reader.damage
    except VideoError as error:
        yield VideoEnd(video, duration_seconds, error)
        return
    except OSError as error:  # removed meanwhile, or a network drive that is gone
        reason = f"it cannot be read ({error.strerror or error})"
        yield VideoEnd(video, duration_seconds, VideoError(str(request.path), reason, "check the path"))
        return
    yield VideoEnd(video, duration_seconds, damage=damage)
