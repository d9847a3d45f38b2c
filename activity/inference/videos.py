"""Reading videos: features as they come, results as they complete or in the order of the sources."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from activity.features.batches import beside_encoding
from activity.features.extract import FeatureChunk, VideoEnd, VideoRequest, extract_features
from activity.models.recognizer import LoadedRecognizer
from activity.video.addresses import without_credentials
from activity.video.errors import VideoError

BATCH_FRAMES, DECODE_THREADS = 8, 2
"""What suits a processor, where the caller has no wish: frames encoded at once, videos decoded at the same time."""

_WHOLE_VIDEO = (range(2**62),)
_Result = TypeVar("_Result", covariant=True)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Failure:
    """A source that could not be read, and why."""

    source: str
    cause: VideoError

    @property
    def error(self) -> str:
        """What to tell a user."""
        return str(self.cause)


class VideoResult(Protocol[_Result]):
    """What becomes of one video: takes its features as they come."""

    def push(self, features: Tensor) -> object:
        """Take the features `float32 (n, D)` of the next sampled frames."""

    def finish(self, duration_seconds: float, damage: str | None) -> _Result:
        """The result of a video that has ended, and what is missing of it; at least one feature was pushed."""


def read_videos(
    recognizer: LoadedRecognizer,
    sources: Sequence[str],
    begin: Callable[[str], VideoResult[_Result]],
    *,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    on_frames: Callable[[int, int], None] = lambda position, frames: None,
) -> Iterator[tuple[int, _Result | Failure]]:
    """Position and result of each video, as they complete; a video that cannot be read is a `Failure`.

    Every sampled frame is encoded once, in batches across videos. Memory does not grow with the length of the videos.

    Args:
        recognizer: on `device`.
        sources: paths of video files.
        begin: what is to become of a video, by its source.
        batch_frames: frames the encoder gets at once.
        decode_threads: videos decoded at the same time.
        device: where the recognizer is.
        on_frames: told the position of a video, and how many more of its sampled frames are encoded.
    """
    reading: dict[int, VideoResult[_Result]] = {}
    for item in extract_features(
        recognizer.encode_rows,
        [VideoRequest(Path(source), _WHOLE_VIDEO, recognizer.sample_fps) for source in sources],
        motion="motion" in recognizer.modalities,
        rgb_every=recognizer.rgb_every,
        square_pixels=recognizer.square_pixels,
        batch_frames=batch_frames,
        decode_threads=decode_threads,
        device=device,
    ):
        if isinstance(item, FeatureChunk):
            if item.video not in reading:
                reading[item.video] = begin(sources[item.video])
            with beside_encoding():
                reading[item.video].push(item.features)
            on_frames(item.video, len(item.indices))
            continue
        with beside_encoding():
            result = _finished(sources[item.video], reading.pop(item.video, None), item)
        yield item.video, result


def in_order(results: Iterable[tuple[int, _Value]]) -> Iterator[_Value]:
    """Results by their positions from 0 up; one that is there before an earlier one waits for it.

    >>> list(in_order([(1, "b"), (0, "a"), (2, "c")]))
    ['a', 'b', 'c']
    """
    waiting: dict[int, _Value] = {}
    following = 0
    for position, result in results:
        waiting[position] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _finished(source: str, result: VideoResult[_Result] | None, end: VideoEnd) -> _Result | Failure:
    if end.error is not None:
        return Failure(without_credentials(source), end.error)
    # A video without an error has a first frame, and all of it was read.
    assert result is not None
    assert end.duration_seconds is not None
    return result.finish(end.duration_seconds, end.damage)
