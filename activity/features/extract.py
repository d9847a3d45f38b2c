"""From videos to features: decoding ahead in threads, encoding in batches that cross the borders of clips."""

import bisect
import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from activity.features.ahead import ByteBudget, Short, run_ahead
from activity.features.batches import (
    Batches,
    DecodedFrame,
    EncodeRows,
    FeatureChunk,
    VideoEnd,
    encoding_threads,
    size_of,
)
from activity.features.views import PLAIN, View
from activity.video.errors import HANGS_AFTER_SECONDS, VideoError, hanging, unreadable
from activity.video.reader import SampledFrame, VideoReader
from activity.video.sampling import first_index_at_or_after

__all__ = ["EncodeRows", "FeatureChunk", "VideoEnd", "VideoRequest", "extract_features"]

# Decoded frames that are held at once, whatever their size: 20 of 3840x2160, where a batch waits for the one before.
_MOST_BYTES = 512 << 20


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
        """Whether sampled frame `index` is in one of the spans, by bisection: a video may have thousands of spans.

        >>> request = VideoRequest(Path("a.mp4"), (range(8, 9), range(0, 6), range(2, 4)), sample_fps=10)
        >>> [index for index in range(10) if request.wants(index)]
        [0, 1, 2, 3, 4, 5, 8]
        """
        starts, furthest_stops = self._borders
        started = bisect.bisect_right(starts, index)
        return started > 0 and index < furthest_stops[started - 1]

    def reading_spans(self, rgb_every: int) -> list[range]:
        """The indices to be read for each span: from the frame that "rgb" looks at for its first one, and one before,
        for its motion."""
        return [range(max(0, span.start - span.start % rgb_every - 1), span.stop) for span in self.spans]

    @functools.cached_property
    def _borders(self) -> tuple[list[int], list[int]]:
        """The starts in order, and for each the furthest stop of the spans up to it: spans may overlap."""
        spans = sorted(self.spans, key=lambda span: span.start)
        return [span.start for span in spans], list(itertools.accumulate((span.stop for span in spans), max))


def extract_features(
    encode: EncodeRows,
    requests: Sequence[VideoRequest],
    *,
    motion: bool,
    rgb_every: int,
    square_pixels: bool,
    batch_frames: int,
    decode_threads: int,
    device: torch.device,
    still_wanted: Callable[[int], bool] = lambda _: True,
    hang_seconds: float = HANGS_AFTER_SECONDS,
) -> Generator[FeatureChunk | VideoEnd, None, None]:
    """Encode the wanted sampled frames of videos, each once.

    On a CPU several threads encode a batch each, and torch splits none over threads: the cores wait for nobody.
    A bounded number of frames is held (some batches), and of bytes (large frames come in fewer batches at a time),
    whatever the number and the length of the videos. Chunks of one view of a video come in order; those of different
    videos may interleave. Closing the iterator stops the threads.

    Args:
        encode: called from several threads at once; on `device`.
        requests: the videos.
        motion: give the encoder each frame's previous sampled frame.
        rgb_every: "rgb" looks at the sampled frames of a video whose index is a multiple of it, wherever a span begins.
        square_pixels: give the encoder frames with square pixels, as of `Preprocess`.
        batch_frames: frames the encoder gets at once; a few more where that is no multiple of `rgb_every`.
        decode_threads: videos decoded at the same time.
        device: where the encoder is.
        still_wanted: asked for each request when its turn comes, from a decoding thread.
        hang_seconds: a video of which no frame is decoded for so long is given up, and the others are done.
    """
    budget = ByteBudget(_MOST_BYTES)
    decode = partial(_decode, rgb_every=rgb_every, square_pixels=square_pixels, still_wanted=still_wanted)
    sources = [partial(decode, video, request) for video, request in enumerate(requests)]
    decoded = run_ahead(
        sources,
        size_of=size_of,
        budget=budget,
        capacity=batch_frames,
        threads=decode_threads,
        when_hanging=lambda video: VideoEnd(video, error=hanging(str(requests[video].path), hang_seconds)),
        hang_seconds=hang_seconds,
    )
    with encoding_threads(device) as (pool, workers), contextlib.closing(decoded):
        batches = Batches(
            encode,
            motion=motion,
            rgb_every=rgb_every,
            batch_frames=batch_frames,
            device=device,
            budget=budget,
            pool=pool,
            workers=workers,
        )
        for item in decoded:
            yield from batches.make_room() if isinstance(item, Short) else batches.take(item)
        yield from batches.rest()


def _decode(
    video: int,
    request: VideoRequest,
    lives: Callable[[], None],
    *,
    rgb_every: int,
    square_pixels: bool,
    still_wanted: Callable[[int], bool],
) -> Iterator[DecodedFrame | VideoEnd]:
    """One video's wanted sampled frames, then its end; `lives` is called for each frame that was decoded."""
    if not still_wanted(video):
        yield VideoEnd(video, skipped=True)
        return
    previous: SampledFrame | None = None
    shown: list[np.ndarray] = []  # the latest frame, in each view
    held: list[np.ndarray] = []  # the one that "rgb" looks at
    try:
        with VideoReader(request.path, square_pixels=square_pixels) as reader:
            reader.on_frame = lives
            for frame in reader.sampled_spans(request.sample_fps, request.reading_spans(rgb_every)):
                before = shown
                if previous is None or frame.pixels is not previous.pixels:  # a slow video shows a frame twice
                    shown = [frame.pixels if view == PLAIN else view.apply(frame.pixels) for view in request.views]
                if frame.index % rgb_every == 0:
                    held = shown
                if request.wants(frame.index):
                    for view, (pixels, earlier, rgb) in enumerate(zip(shown, before or shown, held, strict=True)):
                        yield DecodedFrame(video, view, frame.index, pixels, earlier, rgb)
                previous = frame
            last = reader.last_frame_seconds
            duration, damage = reader.duration_seconds, reader.damage
    except VideoError as error:
        yield VideoEnd(video, error=error)
    except OSError as error:  # removed meanwhile, or a network drive that is gone
        yield VideoEnd(video, error=unreadable(request.path, error))
    else:
        index = None if last is None else first_index_at_or_after(last, request.sample_fps)
        yield VideoEnd(video, None if last is None else duration, index, damage=damage)
