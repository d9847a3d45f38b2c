"""Video files to RGB frames with presentation times."""

import itertools
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self
from weakref import WeakSet

from activity.video.decoding import Decoding, Picture, SeekError
from activity.video.errors import VideoError, VideoNote, VideoWarning
from activity.video.opening import check_file
from activity.video.picture import Pixels
from activity.video.sampling import GridSampler, first_index_at_or_after

_LEAST_SEEK_SECONDS = 1.0  # less is decoded sooner than sought
_LEAST_SKIP_SECONDS = 2.0  # likewise, where the file is opened once more for it


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture: RGB ``uint8 (H, W, 3)``, time, pixel aspect."""

    pixels: Pixels
    time_seconds: float
    pixel_aspect: float = 1.0


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """The frame shown at ``index / sample_fps`` seconds.

    RGB ``uint8 (H, W, 3)``, and when it appears in the video.
    """

    index: int
    pixels: Pixels
    time_seconds: float


class VideoReader:
    """Reads a video file, from its start each time it is iterated.

    Times are seconds on the clock that a player shows: 0 is the start of the container, where its sound may begin
    before its picture. Frames are upright (the display matrix is applied) and deinterlaced; each has its own size.

    Args:
        source: the file.
        square_pixels: resize each frame so that its pixels are as wide as high.

    Attributes:
        on_frame: called after each decoded frame, sampled or not; what it raises ends the reading.
        damage: what the VideoWarning said of a video that was read to its end; None for a good one.

    Raises:
        VideoError: on construction if there is no such file or nothing in it, on the first frame if it cannot be
            decoded.

    Warns, after the last frame, with VideoWarning of damage, and with VideoNote of what had to be assumed.

    >>> import cv2, tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp(), "holiday.avi")
    >>> writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for brightness in (0, 50, 100, 150):
    ...     _ = writer.write(np.full((48, 64, 3), brightness, np.uint8))
    >>> writer.release()
    >>> with VideoReader(path) as video:
    ...     [(frame.pixels.shape, frame.time_seconds) for frame in video][:2]
    ...     [(frame.index, frame.time_seconds) for frame in video.sampled_frames(5)]
    [((48, 64, 3), 0.0), ((48, 64, 3), 0.1)]
    [(0, 0.0), (1, 0.2)]
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        square_pixels: bool = False,
    ) -> None:
        self.source = os.fspath(source)
        check_file(self.source)
        self.on_frame: Callable[[], None] = lambda: None
        self.damage: str | None = None
        self._square_pixels = square_pixels
        self._open: WeakSet[Decoding] = WeakSet()
        self._latest: Decoding | None = None

    def __iter__(self) -> Iterator[Frame]:
        with self._decoding() as decoding:
            for picture in decoding:
                yield Frame(decoding.rgb(picture), picture.time_seconds, decoding.pixel_aspect(picture))
            self._warn_at_end(decoding)

    def sampled_frames(self, sample_fps: float, *, indices: range | None = None) -> Iterator[SampledFrame]:
        """Yield the frame shown at ``k / sample_fps`` seconds, for each k.

        That is the last frame whose time is not later. A video slower than the grid gives a frame several times, as
        the same array. The first frame also stands for all times before it, the last one until `duration_seconds`.
        Raises and warns as an iteration does.

        Args:
            sample_fps: grid points a second.
            indices: of step 1, as `sampling.grid_range` gives for a clip; all if None. Decoding begins at the key frame
                before them if the container has an index that can be trusted, and stops after them.
        """
        yield from self.sampled_spans(sample_fps, [range(sys.maxsize) if indices is None else indices])

    def sampled_spans(self, sample_fps: float, spans: Iterable[range]) -> Iterator[SampledFrame]:
        """Yield what `sampled_frames` yields at the indices of all spans, in order.

        What lies between two spans is not decoded if a key frame lies well behind the one and before the other.
        """
        first_index_at_or_after(0.0, sample_fps)  # refuses a rate that makes no grid
        for group in self._read_at_once(sample_fps, _disjoint(spans)):
            yield from self._sampled_from(sample_fps, group)

    @property
    def duration_seconds(self) -> float:
        """When the last frame read ends; 0 for fewer than two."""
        return 0.0 if self._latest is None else self._latest.duration_seconds

    @property
    def last_frame_seconds(self) -> float | None:
        """When the last frame begins; None until it was read."""
        return self._latest.time_seconds if self._latest is not None and self._latest.is_at_end else None

    @property
    def rate(self) -> Fraction:
        """Frames a second, as the file says; 0 before reading."""
        return Fraction(0) if self._latest is None else self._latest.rate

    def close(self) -> None:
        """Close the file; an iteration under way cannot go on."""
        for decoding in self._open:
            decoding.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_at_once(self, sample_fps: float, spans: Sequence[range]) -> list[list[range]]:
        """Group spans; what lies between those of a group is decoded."""
        groups = [list(spans[:1])] if spans else []
        if len(spans) < 2:
            return groups
        with self._decoding() as decoding:
            for before, span in itertools.pairwise(spans):
                end, start = before.stop / sample_fps, span.start / sample_fps
                is_far = start - end >= _LEAST_SKIP_SECONDS and decoding.can_seek and decoding.seek(start)
                if is_far and (decoding.entry_seconds or 0.0) - end >= _LEAST_SKIP_SECONDS:
                    groups.append([])
                groups[-1].append(span)
        return groups

    def _sampled_from(self, sample_fps: float, spans: Sequence[range]) -> Iterator[SampledFrame]:
        """Read from a key frame before the spans, or from the start."""
        start = spans[0].start / sample_fps
        with self._decoding() as decoding, suppress(SeekError):  # which comes before any frame
            if start < _LEAST_SEEK_SECONDS or not decoding.can_seek or decoding.seek(start):
                yield from sampled(decoding, sample_fps, spans)
                self._warn_at_end(decoding)
                return
        with self._decoding() as decoding:
            yield from sampled(decoding, sample_fps, spans)
            self._warn_at_end(decoding)

    def _warn_at_end(self, decoding: Decoding) -> None:
        if decoding.is_at_end:
            self.damage = warn_at_end(decoding) or self.damage

    def _decoding(self) -> "closing[Decoding]":
        self._latest = Decoding.of_file(self.source, square_pixels=self._square_pixels, on_frame=self.on_frame)
        self._open.add(self._latest)
        return closing(self._latest)


def sampled(decoding: Decoding, sample_fps: float, spans: Sequence[range]) -> Iterator[SampledFrame]:
    """Yield frames at the indices of spans, which ascend and are disjoint."""
    sampler = GridSampler(sample_fps=sample_fps)
    remaining = deque(spans)
    latest: Picture | None = None  # how long it is shown is known when the next one comes
    for picture in decoding:
        indices = sampler.push(picture.time_seconds)
        if latest is not None:
            yield from _shown(decoding, latest, indices, remaining)
        if not remaining:
            return
        latest = picture
    assert latest is not None  # a decoding without any frame raises
    yield from _shown(decoding, latest, sampler.finish(decoding.duration_seconds), remaining)


def warn_at_end(decoding: Decoding) -> str | None:
    """Warn of a video's damage and of what was assumed; return the damage.

    It was read to its end. If reading did not begin at its start, only a missing end counts.
    """
    # Python shows a text once for each line that warns: so a second reading in the same process does not repeat it.
    for note in decoding.notes() if decoding.is_whole else ():
        warnings.warn(f"{decoding.source}: {note}.", VideoNote, stacklevel=1)
    damage = decoding.damage()
    if damage is None or not (decoding.is_whole or damage.ends_early):
        return None
    good = f"{decoding.frames} good frames" if decoding.is_whole else "good frames"
    problem = f"{damage.problem}; the {good} are used"
    warnings.warn(f"{decoding.source}: {problem}.", VideoWarning, stacklevel=1)
    return problem


def declared_seconds(path: Path) -> float | None:
    """The duration that a video's container declares, or None.

    No frame is decoded. It is a hint: containers round, count the sound's length, and do not know that a file was cut
    off. Only reading to the end tells how long a video is.
    """
    try:
        decoding = Decoding.of_file(str(path))
    except VideoError:
        return None
    seconds = decoding.declared_seconds
    decoding.close()
    return seconds or None


def _disjoint(spans: Iterable[range]) -> list[range]:
    """The same indices as ascending spans with something between them.

    >>> _disjoint([range(7, 9), range(2, 5), range(4, 6), range(6, 7)])
    [range(2, 9)]
    """
    disjoint: list[range] = []
    for span in sorted(spans, key=lambda span: span.start):
        if span.step != 1:
            raise ValueError(f"A span is {span}; it must be a range of step 1, as grid_range gives.")
        if disjoint and span.start <= disjoint[-1].stop:
            disjoint[-1] = range(disjoint[-1].start, max(disjoint[-1].stop, span.stop))
        else:
            disjoint.append(span)
    return disjoint


def _shown(decoding: Decoding, picture: Picture, indices: range, remaining: deque[range]) -> Iterator[SampledFrame]:
    """Yield a picture at its indices within the spans; drop past spans."""
    pixels: Pixels | None = None
    while remaining and remaining[0].start <= indices.stop:
        for index in range(max(indices.start, remaining[0].start), min(indices.stop, remaining[0].stop)):
            pixels = decoding.rgb(picture) if pixels is None else pixels
            yield SampledFrame(index, pixels, picture.time_seconds)
        if remaining[0].stop > indices.stop:
            return
        remaining.popleft()
