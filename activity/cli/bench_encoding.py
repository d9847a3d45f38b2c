"""How long encoding alone takes, for the bounds of `activity bench`."""

import itertools
import time
from collections.abc import Callable, Sequence

import torch

from activity.features.batches import encoding_threads

_ROUNDS = 20  # batches that each thread encodes: some seconds, a shorter time is by chance a tenth off
_QUICK_ROUNDS = 2


def encoding_seconds(batches: Sequence[Callable[[], object]], *, batch_frames: int, quick: bool) -> float:
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
            list(pool.map(_encode, [batches[0]] * workers))
        begun = time.process_time()
        list(pool.map(_encode, work))
        return (time.process_time() - begun) / (len(work) * batch_frames)


@torch.inference_mode()
def _encode(batch: Callable[[], object]) -> None:
    batch()
