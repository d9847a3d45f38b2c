"""Decoded frames to features: in batches that cross the borders of clips, encoded in threads."""

import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from activity.features.ahead import ByteBudget
from activity.models.looks import whole_looks
from activity.models.precision import without_tf32
from activity.video.errors import VideoError

_Line = list["DecodedFrame"]  # consecutive ones of a view for which one look of "rgb" holds
_MOST_ENCODERS = 4  # threads that encode: the memory of a batch's activations is needed for each


class EncodeRows(Protocol):
    """Frames to features `(N, D)` of those at `rows`; `previous_rows` is the frame before each, of the same size.

    Frames stand by size, each tensor `uint8 (M, 3, H, W)`; rows, `int64 (N,)` and on the frames' device, count through
    all of them. "rgb" looks at the first of each `rgb_every` rows, of which N is a multiple. `previous_rows` is None
    where no motion was asked for.
    """

    def __call__(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """Encode."""
        ...


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
        duration_seconds: of the video; None where there was more of it than was read.
        last_index: the first sampled frame's index that shows the video's last frame, or None as above.
        error: why it could not be read, or None.
        damage: what is missing of a video that could be read in part, or None.
        skipped: nobody wanted it any more when its turn came.
    """

    video: int
    duration_seconds: float | None = None
    last_index: int | None = None
    error: VideoError | None = None
    damage: str | None = None
    skipped: bool = False

    def is_within(self, span: range) -> bool:
        """Whether the video ends within a span of sampled frames, so that the span's features may lack some."""
        return self.last_index is not None and self.last_index < span.stop


@dataclass(frozen=True)
class DecodedFrame:
    """A sampled frame on its way to the encoder.

    Attributes:
        video, view: positions, as of a `FeatureChunk`.
        index: of the time grid.
        pixels: RGB `uint8 (H, W, 3)`.
        previous: the sampled frame before it, or itself at the start.
        rgb: the sampled frame that "rgb" looks at: itself, or one before that holds.
    """

    video: int
    view: int
    index: int
    pixels: np.ndarray
    previous: np.ndarray
    rgb: np.ndarray


@dataclass(frozen=True)
class _Batch:
    """Frames on their way through the encoder.

    Attributes:
        places: video, view and index of each sampled frame; None of a row that only fills its line.
        frames: distinct pixels, by size; emptied as they are stacked.
        rows, previous_rows: which of them is each sampled frame, and the one before it where there is motion.
        size_bytes: what its frames take.
    """

    places: list[tuple[int, int, int] | None]
    frames: list[list[np.ndarray]]
    rows: list[int]
    previous_rows: list[int] | None
    size_bytes: int


class Batches:
    """The batches that are being encoded, oldest first, and what is collected for the next ones."""

    def __init__(
        self,
        encode: EncodeRows,
        *,
        motion: bool,
        rgb_every: int,
        batch_frames: int,
        device: torch.device,
        budget: ByteBudget,
        pool: ThreadPoolExecutor,
        workers: int,
    ) -> None:
        self._encode_batch = partial(_encode_batch, encode, device=device)
        self._batch_of = partial(_batch_of, motion=motion, rgb_every=rgb_every)
        self._budget = budget
        self._pool = pool
        self._workers = workers
        self._collected = _Collected(whole_looks(batch_frames, rgb_every) // rgb_every, rgb_every)
        self._batches: deque[tuple[_Batch, Future[Tensor]]] = deque()

    def take(self, item: DecodedFrame | VideoEnd) -> Iterator[FeatureChunk | VideoEnd]:
        """Take what comes from the decoder; gives what is done."""
        self._start(self._collected.add(item))
        while len(self._batches) > self._workers:  # one in each thread's hand, and the next one here
            yield from self._oldest()
        yield from self._collected.ended()

    def make_room(self) -> Iterator[FeatureChunk | VideoEnd]:
        """Wait for what holds the budget; a batch that does not become full within it goes as it is."""
        while self._budget.is_short():
            if not self._batches:
                self._start(self._collected.rest(cut=False))
            if not self._batches:
                self._start(self._collected.rest(cut=True))
            if not self._batches:  # what is held has been decoded and comes next
                return
            yield from self._oldest()
        yield from self._collected.ended()

    def rest(self) -> Iterator[FeatureChunk | VideoEnd]:
        """All that is left, once nothing more comes."""
        self._start(self._collected.rest(cut=True))
        while self._batches:
            yield from self._oldest()
        yield from self._collected.ended()

    def _start(self, batches: Iterable[list[_Line]]) -> None:
        for lines in batches:
            batch = self._batch_of(lines)
            self._batches.append((batch, self._pool.submit(self._encode_batch, batch)))

    def _oldest(self) -> Iterator[FeatureChunk]:
        batch, features = self._batches.popleft()
        chunks = self._collected.done(batch, features.result())
        self._budget.give_back(batch.size_bytes)
        yield from chunks


@contextlib.contextmanager
def encoding_threads(device: torch.device) -> Iterator[tuple[ThreadPoolExecutor, int]]:
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


@contextlib.contextmanager
def beside_encoding() -> Iterator[None]:
    """Compute in one thread what is computed while batches are: those of an operation wait for each other awake."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Collected:
    """Decoded frames until there is a batch of them, and the ends of videos until their frames are done."""

    batch_lines: int
    rgb_every: int
    waiting: list[_Line] = field(default_factory=list)
    growing: dict[tuple[int, int], _Line] = field(default_factory=dict)  # by video and view
    open_frames: Counter[int] = field(default_factory=Counter)  # by video: decoded, not yet given out
    ends: list[VideoEnd] = field(default_factory=list)

    def add(self, item: DecodedFrame | VideoEnd) -> list[list[_Line]]:
        """Take what comes from the decoder; returns the batches to be encoded now."""
        if isinstance(item, VideoEnd):
            self.ends.append(item)
            for key in [key for key in self.growing if key[0] == item.video]:
                self.waiting.append(self.growing.pop(key))
            return self._batches(full=True)
        self.open_frames[item.video] += 1
        key = item.video, item.view
        line = self.growing.setdefault(key, [])
        if line and line[-1].index // self.rgb_every != item.index // self.rgb_every:
            self.waiting.append(line)
            line = self.growing[key] = []
        line.append(item)
        if (item.index + 1) % self.rgb_every == 0:
            self.waiting.append(self.growing.pop(key))
        return self._batches(full=True)

    def rest(self, *, cut: bool) -> list[list[_Line]]:
        """What there is, as batches; with `cut` also lines that would grow, of which "rgb" has to look again."""
        if cut:
            self.waiting.extend(self.growing.values())
            self.growing.clear()
        return self._batches(full=False)

    def _batches(self, *, full: bool) -> list[list[_Line]]:
        """What waits, as batches; the last one too where it need not be full."""
        size = self.batch_lines
        batches = [self.waiting[start : start + size] for start in range(0, len(self.waiting), size)]
        self.waiting = batches.pop() if full and batches and len(batches[-1]) < size else []
        return batches

    def done(self, batch: _Batch, features: Tensor) -> list[FeatureChunk]:
        """The features of a batch as one chunk a view of a video."""
        rows: dict[tuple[int, int], list[int]] = {}
        indices: dict[tuple[int, int], list[int]] = {}
        for row, place in enumerate(batch.places):
            if place is not None:
                video, view, index = place
                rows.setdefault((video, view), []).append(row)
                indices.setdefault((video, view), []).append(index)
                self.open_frames[video] -= 1
        return [FeatureChunk(video, indices[video, view], features[own], view) for (video, view), own in rows.items()]

    def ended(self) -> list[VideoEnd]:
        """The ends of the videos of which no frame is on its way any more."""
        over = [end for end in self.ends if not self.open_frames[end.video]]
        self.ends = [end for end in self.ends if self.open_frames[end.video]]
        for end in over:
            del self.open_frames[end.video]
        return over


def _batch_of(lines: Sequence[_Line], *, motion: bool, rgb_every: int) -> _Batch:
    """A batch in which each picture is once, however often it is shown or looked back at."""
    places, shown, looked_back_at = list[tuple[int, int, int] | None](), list[np.ndarray](), list[np.ndarray]()
    for line in lines:
        # One that begins midway needs the frame that "rgb" looked at.
        begun = [] if line[0].pixels is line[0].rgb else [line[0].rgb]
        missing = rgb_every - len(begun) - len(line)
        places += [None] * len(begun) + [(item.video, item.view, item.index) for item in line] + [None] * missing
        shown += begun + [item.pixels for item in line] + [line[-1].pixels] * missing
        looked_back_at += begun + [_before(item) for item in line] + [_before(line[-1])] * missing
    distinct = {id(pixels): pixels for pixels in (*shown, *(looked_back_at if motion else []))}
    by_size: dict[tuple[int, ...], list[np.ndarray]] = {}
    for pixels in distinct.values():
        by_size.setdefault(pixels.shape, []).append(pixels)
    frames = list(by_size.values())
    row_of = {id(pixels): row for row, pixels in enumerate(itertools.chain(*frames))}
    return _Batch(
        places=places,
        rows=[row_of[id(pixels)] for pixels in shown],
        previous_rows=[row_of[id(pixels)] for pixels in looked_back_at] if motion else None,
        frames=frames,
        size_bytes=sum(size_of(item) for line in lines for item in line),
    )


def _before(item: DecodedFrame) -> np.ndarray:
    """The previous frame; a video may change its size midway, and what moved between two sizes cannot be said."""
    return item.previous if item.previous.shape == item.pixels.shape else item.pixels


@without_tf32()
@torch.inference_mode()
def _encode_batch(encode: EncodeRows, batch: _Batch, *, device: torch.device) -> Tensor:
    """Features `(len(batch.places), D)`, on the CPU."""
    rows = torch.tensor(batch.rows, device=device)
    previous_rows = None if batch.previous_rows is None else torch.tensor(batch.previous_rows, device=device)
    frames = [_stack(alike, device) for alike in batch.frames]
    return encode(frames, rows, previous_rows).float().cpu()


def _stack(frames: list[np.ndarray], device: torch.device) -> Tensor:
    """Frames `(H, W, 3)` to one `(N, 3, H, W)` in the decoder's own memory order, in which resizing is fastest.

    The list is emptied on the way: a batch of large frames is not held twice.
    """
    stacked = np.empty((len(frames), *frames[0].shape), np.uint8)
    for row in reversed(range(len(frames))):
        stacked[row] = frames.pop()
    return torch.from_numpy(stacked).to(device).permute(0, 3, 1, 2)


def size_of(item: DecodedFrame | VideoEnd) -> int:
    """Bytes of the decoded picture."""
    return item.pixels.nbytes if isinstance(item, DecodedFrame) else 0
