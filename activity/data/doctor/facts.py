"""What one reading of a video shows: facts, and thumbnails to find copies."""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from activity.video.decoding import Decoding
from activity.video.picture import Pixels

THUMBNAIL_SIDE = 16
MAX_THUMBNAILS = 64
FINEST_INTERVAL_SECONDS = 1 / 16

# FFmpeg shrinks a frame to this side, as fast as to 16. HDR becomes SDR at this size: in means of larger areas
# highlights would be compressed less than in the whole picture.
_SHRUNK_SIDE = 64
# Rounding moves a time by up to half a unit, so an interval by a whole one: 1 ms in Matroska, FLV and ASF.
_ROUNDING_SECONDS = 0.001_1
_RATE_TOLERANCE = 0.1  # of the median interval
_RATE_SHARE = 0.05  # of the intervals: fewer are a hiccup of a constant rate
_HALT_SECONDS, _HALT_INTERVALS = 1.0, 10  # a gap of at least so long, and of more median intervals, is a halt
_TICK_SECONDS = 0.000_1  # intervals are counted in these, so that memory does not grow with the length
_BLACK_LEVEL = 24  # of 255; black is 16 in most video, and its noise lies a little above
_FROZEN_LEVELS = 1  # a thumbnail's cell is the mean of many pixels: noise and coding move it by less
# Of the display matrices that turn without mirroring: (exchange x and y, mirror, flip) to degrees clockwise.
_ROTATIONS = {(True, True, False): 90, (False, True, True): 180, (True, False, True): 270}
# Where FFmpeg's long name does not begin with the usual one.
_CODEC_NAMES = {"hevc": "H.265", "mjpeg": "Motion JPEG", "mpeg4": "MPEG-4", "av1": "AV1", "vp8": "VP8", "vp9": "VP9"}


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Small grey pictures of a video, and two perceptual hashes of them.

    Picture k is the first frame at or after ``k * interval_seconds``, counted from the first frame. The interval is a
    sixteenth of a second, doubled until at most 64 pictures remain. Of two intervals one is a multiple of the other.

    Attributes:
        pictures: ``uint8 (T, 16, 16)``, grey, stretched to a square.
        interval_seconds: from one to the next.
        scene_hash: `perceptual_hash` of their mean: what stays.
        motion_hash: `perceptual_hash` of their standard deviation over time: where things move. 0 if nothing does.
    """

    pictures: npt.NDArray[np.uint8]
    interval_seconds: float
    scene_hash: int
    motion_hash: int


@dataclass(frozen=True, eq=False)
class VideoFacts:
    """What a video file is like.

    Attributes:
        frames: how many can be decoded, 1 at least.
        duration_seconds: when the last frame ends; 0 for one frame.
        fps: usual frames a second, by the intervals around the median one: a halt does not lower it. None for one
            frame.
        variable_rate: more than 5 % of the intervals between frames (and two at least) differ from the median
            interval by more than a tenth of it and by more than the millisecond to which Matroska rounds times. Or
            the longest gap is at least 1 s and more than ten median intervals.
        longest_gap_seconds: the longest interval between two frames; 0 for one frame.
        sizes: all sizes (width, height) of its frames as shown, after rotation, the first one's first.
        codec: its usual name.
        rotation: degrees clockwise that the file asks for; frames are given with it applied. 0 if it asks to mirror.
        ends_early: it is shorter than it says, being cut off or damaged.
        damage: what is damaged, in words, or None.
        notes: what the reader had to assume, in words.
        black: no thumbnail shows anything.
        frozen: the thumbnails are all the same, and the video has more than one frame.
        thumbnails: small pictures, to find copies.
    """

    frames: int
    duration_seconds: float
    fps: float | None
    variable_rate: bool
    longest_gap_seconds: float
    sizes: tuple[tuple[int, int], ...]
    codec: str
    rotation: int
    ends_early: bool
    damage: str | None
    notes: tuple[str, ...]
    black: bool
    frozen: bool
    thumbnails: Thumbnails


def probe_video(path: Path, *, on_frame: Callable[[], None] = lambda: None) -> VideoFacts:
    """Read a video once, from start to end.

    Memory does not grow with its length. Every frame is decoded; few are converted (16 a second, in long videos fewer).

    Args:
        path: the video.
        on_frame: called after each frame; what it raises ends the reading.

    Raises:
        VideoError: it cannot be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "holiday.avi")
    >>> writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for brightness in (0, 50, 100, 150):
    ...     _ = writer.write(np.full((48, 64, 3), brightness, np.uint8))
    >>> writer.release()
    >>> facts = probe_video(path)
    >>> facts.frames, round(facts.duration_seconds, 3), facts.sizes, facts.codec
    (4, 0.4, ((64, 48),), 'Motion JPEG')
    """
    with closing(Decoding.of_file(str(path), on_frame=on_frame)) as decoding:
        return _read(decoding)


def perceptual_hash(picture: npt.NDArray[np.floating]) -> int:
    """Return 64 bits, alike for copies of other size and quality.

    The signs, around their median, of the 8 x 8 lowest frequencies of the discrete cosine transform, without the
    constant one (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2).

    >>> ramp = np.tile(np.arange(16.0), (16, 1))
    >>> (perceptual_hash(ramp) ^ perceptual_hash(2 * ramp + 5)).bit_count()
    0
    """
    frequencies = cv2.dct(picture.astype(np.float32))[:8, :8].ravel()
    frequencies[0] = 0.0  # the mean brightness
    return int.from_bytes(np.packbits(frequencies > np.median(frequencies)).tobytes(), "big")


def _read(decoding: Decoding) -> VideoFacts:
    intervals: Counter[int] = Counter()
    sizes: dict[tuple[int, int], None] = {}
    sampler, first, before, first_turn = _Sampler(), 0.0, 0.0, (False, False, False)
    for picture in decoding:
        frame, seconds, turn = picture.frame, picture.time_seconds, decoding.orientation(picture.frame)
        if decoding.frames == 1:
            first, first_turn = seconds, turn
        else:
            intervals[round((seconds - before) / _TICK_SECONDS)] += 1
        before = seconds
        sizes[(frame.height, frame.width) if turn[0] else (frame.width, frame.height)] = None
        if sampler.wants(seconds - first):
            sampler.add(decoding.rgb(picture, side=_SHRUNK_SIDE), seconds - first)
    frames, duration, damage = decoding.frames, decoding.duration_seconds, decoding.damage()
    thumbnails = sampler.thumbnails()
    codec = decoding.stream.codec_context.codec
    return VideoFacts(
        frames=frames,
        duration_seconds=duration,
        fps=_usual_rate(intervals, before - first) or (frames / (duration - first) if frames > 1 else None),
        variable_rate=_is_variable(intervals),
        longest_gap_seconds=max(intervals, default=0) * _TICK_SECONDS,
        sizes=tuple(sizes),
        # FFmpeg's long name up to its first further spelling: "H.264 / AVC / MPEG-4 part 10".
        codec=_CODEC_NAMES.get(codec.canonical_name, re.split(r" [/(]", codec.long_name)[0]),
        rotation=_ROTATIONS.get(first_turn, 0),
        ends_early=damage is not None and damage.ends_early,
        damage=None if damage is None else damage.problem,
        notes=tuple(decoding.notes()),
        black=int(thumbnails.pictures.max()) <= _BLACK_LEVEL,
        frozen=frames > 1 and int(np.ptp(thumbnails.pictures, axis=0).max()) <= _FROZEN_LEVELS,
        thumbnails=thumbnails,
    )


class _Sampler:
    """Collects thumbnails at even times.

    If there are too many, it drops every second one and doubles the interval.


    So few frames are converted: 64, and 32 more each time the length doubles.
    """

    def __init__(self) -> None:
        self.pictures: list[Pixels] = []
        self.interval_seconds = FINEST_INTERVAL_SECONDS

    def wants(self, time_seconds: float) -> bool:
        """Whether the frame is the first at or after the next time."""
        return time_seconds >= len(self.pictures) * self.interval_seconds - _ROUNDING_SECONDS

    def add(self, frame: Pixels, time_seconds: float) -> None:
        """Take an RGB frame of any size.

        In a slow video it stands for all times since the one before.
        """
        small = cv2.resize(frame, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        while self.wants(time_seconds):
            self.pictures.append(grey)  # type: ignore[arg-type]
            if len(self.pictures) > MAX_THUMBNAILS:
                self.pictures = self.pictures[::2]
                self.interval_seconds *= 2

    def thumbnails(self) -> Thumbnails:
        pictures = np.stack(self.pictures)
        spread = pictures.std(axis=0)
        motion_hash = perceptual_hash(spread) if float(spread.max()) > _FROZEN_LEVELS else 0
        return Thumbnails(pictures, self.interval_seconds, perceptual_hash(pictures.mean(axis=0)), motion_hash)


def _usual_rate(intervals: Counter[int], seconds: float) -> float | None:
    """Frames a second by the intervals around the median one, given the seconds of all; None where these are 0.

    The unusual ones are subtracted: ticks are too coarse for the many others.
    """
    if not intervals:
        return None
    median = _median(intervals)
    unusual = {ticks: number for ticks, number in intervals.items() if not _is_usual(ticks, median)}
    seconds -= sum(ticks * number for ticks, number in unusual.items()) * _TICK_SECONDS
    return (intervals.total() - sum(unusual.values())) / seconds if seconds > _TICK_SECONDS else None


def _is_variable(intervals: Counter[int]) -> bool:
    """Whether intervals, in ticks, are of a variable rate (see `VideoFacts`)."""
    count = intervals.total()
    if count < 2:
        return False
    median, longest = _median(intervals), max(intervals)
    if longest * _TICK_SECONDS >= _HALT_SECONDS and longest > _HALT_INTERVALS * median:
        return True
    deviating = sum(number for ticks, number in intervals.items() if not _is_usual(ticks, median))
    return deviating >= max(2, _RATE_SHARE * count)


def _is_usual(ticks: int, median: int) -> bool:
    return abs(ticks - median) <= max(_RATE_TOLERANCE * median, _ROUNDING_SECONDS / _TICK_SECONDS)


def _median(intervals: Counter[int]) -> int:
    ticks = sorted(intervals)
    numbers = np.cumsum([intervals[tick] for tick in ticks])
    return ticks[int(np.searchsorted(numbers, (intervals.total() + 1) // 2))]
