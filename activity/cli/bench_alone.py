"""How long decoding alone and encoding alone take, for the bounds of `activity bench`."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from activity.cli.bench_videos import first_frames
from activity.features.batches import EncodeRows, encoding_threads
from activity.video.errors import VideoError
from activity.video.reader import VideoReader

Span = tuple[str | Path, range | None]
"""A video, and which of its sampled frames; None: all."""

Batch = Callable[[], object]
"""Encodes one."""

_ENCODED = 12  # batches, each of another video: enough for a rate
_ROUNDS = 20  # batches that each thread encodes: some seconds, a shorter time is by chance a tenth off
_QUICK_ROUNDS = 2


def decoding_seconds(videos: Iterable[tuple[str | Path, Sequence[range]]], sample_fps: float) -> tuple[float, int]:
    """CPU seconds that it takes to decode videos one after the other, and how many sampled frames they have.

    Those that cannot be read are passed over: the command that is measured names them.
    """
    begun, frames = time.process_time(), 0
    for path, spans in videos:
        with suppress(VideoError), VideoReader(path) as reader:
            frames += sum(1 for _ in reader.sampled_spans(sample_fps, spans))
    return time.process_time() - begun, frames


def batches_of(encode: EncodeRows, spans: Sequence[Span], sample_fps: float, batch_frames: int) -> list[Batch]:
    """To be encoded alone: full batches, each of the first frames of another span, from the first to the last."""
    rows = torch.arange(1, batch_frames + 1)
    batches: list[Batch] = []
    for path, indices in spans[:: max(1, len(spans) // _ENCODED)][:_ENCODED]:
        frames = first_frames(path, sample_fps, indices, count=batch_frames + 1)
        if frames is not None:
            batches.append(partial(encode, [frames], rows, rows - 1))
    return batches


def encoding_seconds(batches: Sequence[Batch], *, batch_frames: int, quick: bool) -> float:
    """CPU seconds that a frame takes to encode on a CPU, while all cores encode and do nothing else; 0 for no batches.

    One core alone would be a bound that no program reaches: cores that all work share caches, memory and clock.

    Args:
        batches: each encodes `batch_frames` frames.
        batch_frames: frames a batch.
        quick: few batches, to see that it runs.
    """
    if not batches:
        return 0.0
    with encoding_threads(torch.device("cpu")) as (pool, workers):
        rounds = _QUICK_ROUNDS if quick else _ROUNDS
        work = list(itertools.islice(itertools.cycle(batches), rounds * workers))
        for _ in range(2):  # what is compiled and allocated once
            encode_all(pool, [batches[0]] * workers)
        begun = time.process_time()
        encode_all(pool, work)
        return (time.process_time() - begun) / (len(work) * batch_frames)


def encode_all(pool: ThreadPoolExecutor, batches: Iterable[Batch]) -> None:
    """Encode batches in the threads of a pool, and wait for them."""
    list(pool.map(_encode, batches))


@torch.inference_mode()
def _encode(batch: Batch) -> None:
    batch()
