"""Video files to RGB frames with presentation times: the one home of OpenCV's capture."""

import functools
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from activity.video.sampling import first_index_at_or_after

# Of what FFmpeg reads, the suffixes that mean a video. MPEG transport streams are called .ts, but so are our
# exported models: a scan takes .mts and .m2ts and leaves .ts out (a file that is named outright may have any
# suffix).
VIDEO_SUFFIXES: frozenset[str] = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg"}
    | {".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".vob", ".webm", ".wmv"}
)

# A packet that cannot be decoded is one failed grab, and so is the end of the file, at 0.01 ms each: many
# tries where the container promised more, few elsewhere.
_TRIES_BEFORE_DECLARED_END = 2_000
_TRIES_AT_END = 50
# The declared length may be that of the sound, or come from a rounded rate: both are a little longer than
# what is shown, and no damage.
_SHORT_BY_SECONDS, _SHORT_BY_FRACTION = 1.0, 0.02
_PTS = getattr(cv2, "CAP_PROP_PTS", -1)  # since OpenCV 4.11; an unknown property reads as 0
# First bytes of a media file (MP4 has its own at byte 4): where FFmpeg finds no video in one, it holds none.
_CONTAINERS = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"ID3", b"fLaC", b"0&\xb2u", b"\x00\x00\x01\xba")

Pixels = npt.NDArray[np.uint8]


class VideoError(ValueError):
    """A video that cannot be read: which (``source``), why (``reason``), and in the message what to do."""

    def __init__(self, source: str, reason: str, advice: str) -> None:
        super().__init__(source, reason, advice)  # all three, so that it survives pickling between processes
        self.source = source
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}; {self.advice}."


class VideoWarning(UserWarning):
    """A video that is damaged or cut off: its good frames were delivered."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture: RGB ``uint8 (H, W, 3)``, and when it appears, counted from the first frame."""

    pixels: Pixels
    time_seconds: float


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """The frame shown at ``index / sample_fps`` seconds: RGB ``uint8 (H, W, 3)``, and its own time."""

    index: int
    pixels: Pixels
    time_seconds: float


class VideoReader:
    """Reads a video file, from the beginning each time it is iterated, holding two frames at most.

    Times are the container's presentation times in seconds, counted from the first frame. A rotation that the
    file asks for is applied. The file is open only while an iteration runs, and `close`, the end of a
    ``with`` block or dropping the iterator closes it.

    Raises VideoError: on construction where there is no such file or nothing in it, on the first frame where
    it cannot be decoded. Warns with VideoWarning, after the last frame, where the file is damaged or ends
    early.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "holiday.avi")
    >>> writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for brightness in (0, 50, 100, 150):
    ...     _ = writer.write(np.full((48, 64, 3), brightness, np.uint8))
    >>> writer.release()
    >>> with VideoReader(path) as video:
    ...     [(frame.pixels.shape, round(frame.time_seconds, 3)) for frame in video]
    ...     [(shown.index, shown.time_seconds) for shown in video.sampled_frames(5)]
    [((48, 64, 3), 0.0), ((48, 64, 3), 0.1), ((48, 64, 3), 0.2), ((48, 64, 3), 0.3)]
    [(0, 0.0), (1, 0.2)]
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.source = os.fspath(source)
        _check_file(self.source)
        self._captures: set[_Capture] = set()
        self._latest: _Capture | None = None

    def __iter__(self) -> Iterator[Frame]:
        with self._capture() as capture:
            self._latest = capture
            while capture.grab():
                yield Frame(_rgb(capture.retrieve()), capture.time_seconds)
            capture.warn_of_damage()

    def sampled_frames(self, sample_fps: float, *, indices: range | None = None) -> Iterator[SampledFrame]:
        """Yield for each grid index k the frame shown at ``k / sample_fps`` seconds, in order.

        That is the last frame whose time is not later; where the video is slower than the grid, a frame is
        given several times (as the same array). Index 0 is always given, the last frame until
        `duration_seconds`. ``indices`` (step 1) restricts the grid, as `sampling.grid_range` makes it for a
        clip; decoding stops when it is past. Raises and warns as an iteration does.
        """
        wanted = range(sys.maxsize) if indices is None else indices
        if wanted.step != 1:
            raise ValueError(f"indices is {wanted}; it must be a range of step 1, as grid_range gives.")
        forecast = _Forecast(sample_fps, wanted)
        held = None  # the latest frame: how long it is shown is known when the next one comes
        with self._capture() as capture:
            self._latest = capture
            while capture.grab():
                first = first_index_at_or_after(capture.time_seconds, sample_fps)
                if held is not None:
                    yield from self._shown(held, first, forecast)
                if first >= wanted.stop:
                    return
                needed = forecast.is_needed(capture.time_seconds, first)
                held = _Held(capture.frames, capture.time_seconds, first, capture.retrieve() if needed else None)
            assert held is not None  # a capture without any frame raises
            end = max(1, first_index_at_or_after(capture.duration_seconds, sample_fps))
            yield from self._shown(held, end, forecast)
            capture.warn_of_damage()

    @property
    def duration_seconds(self) -> float:
        """When the last frame that was read ends, if it lasts as long as the mean; 0 for fewer than two."""
        return 0.0 if self._latest is None else self._latest.duration_seconds

    def close(self) -> None:
        """Close the file: an iteration under way cannot go on, a new one starts from the beginning."""
        for capture in tuple(self._captures):
            capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _capture(self) -> Iterator["_Capture"]:
        capture = _Capture(self.source)
        self._captures.add(capture)
        try:
            yield capture
        finally:
            capture.release()
            self._captures.discard(capture)

    def _shown(self, held: "_Held", end: int, forecast: "_Forecast") -> Iterator[SampledFrame]:
        shown = range(max(held.first_index, forecast.wanted.start), min(end, forecast.wanted.stop))
        if not shown:
            return
        if held.bgr is None:
            # A longer gap than any before, and the frame is gone: decode up to it once more, and take no
            # chance again.
            forecast.failed = True
            with self._capture() as second:
                while second.frames < held.number:
                    second.grab()
                held.bgr = second.retrieve()
        pixels = _rgb(held.bgr)
        for index in shown:
            yield SampledFrame(index, pixels, held.time_seconds)


def find_videos(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the videos in a folder and the folders in it, sorted; names that start with a dot are left out.

    A file is taken by its suffix, in any case (`VIDEO_SUFFIXES`); linked folders are followed, each once.
    """
    if not Path(folder).is_dir():
        raise VideoError(os.fspath(folder), "there is no such folder", "give a folder that holds videos")
    found, visited = [], set()
    for path, folders, files in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(path))
        folders[:] = [
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(path, name)) not in visited
        ]
        found += [
            Path(path, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES
        ]
    return sorted(found)


@dataclass
class _Held:
    number: int  # counted from 1
    time_seconds: float
    first_index: int
    bgr: Pixels | None


@dataclass
class _Forecast:
    """Which frames to fetch from the decoder: that must be done before the next frame's time is known.

    Fetching and converting costs about as much as decoding, so a frame is fetched only where a wanted grid
    point comes before one and a half times the longest interval so far.
    """

    sample_fps: float
    wanted: range
    failed: bool = False
    _longest: float = field(default=0.0, init=False)
    _previous: float | None = field(default=None, init=False)

    def is_needed(self, time_seconds: float, first_index: int) -> bool:
        if self._previous is not None:
            self._longest = max(self._longest, time_seconds - self._previous)
        next_wanted = max(first_index, self.wanted.start)
        no_interval_yet, self._previous = self._previous is None, time_seconds
        if self.failed or no_interval_yet:
            return True
        return next_wanted < first_index_at_or_after(time_seconds + 1.5 * self._longest, self.sample_fps)


class _Capture:
    """One pass of OpenCV over a file, with times that rise and a word about how it ended."""

    def __init__(self, source: str) -> None:
        _silence_decoder_logs()
        self.frames = 0  # grabbed so far
        self.time_seconds = 0.0  # of the last one
        self._source = source
        self._skipped = 0
        self._first = self._start_frames = 0.0
        self._path = Path(source).absolute()  # never a URL, a protocol ("concat:a.mp4") or an option
        self._cv = _open(source, self._path)
        self._released = False

    def grab(self) -> bool:
        """Go to the next frame that can be decoded; False at the end, VideoError where there is none."""
        if self._released:
            raise ValueError(f"{self._source} was closed while it was being read; iterate again from the start.")
        tries = 0
        while not self._cv.grab():
            if tries == 0:
                limit = _TRIES_BEFORE_DECLARED_END if self._declared_seconds_if_missing() else _TRIES_AT_END
            tries += 1
            if tries == limit:
                if self.frames == 0:
                    raise VideoError(self._source, "it opens as a video but no frame of it can be decoded", _CONVERT)
                return False
        self._skipped += tries
        self._advance(self._cv.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        return True

    def retrieve(self) -> Pixels:
        """Return the grabbed frame, BGR ``uint8 (H, W, 3)``."""
        done, bgr = self._cv.retrieve()
        if not done:
            raise VideoError(self._source, f"the frame at {self.time_seconds:.2f} s cannot be converted", _CONVERT)
        return bgr  # type: ignore[return-value]

    def warn_of_damage(self) -> None:
        """At the end, where frames are missing, say so with a VideoWarning."""
        declared = self._declared_seconds_if_missing()
        if declared:
            problem = (
                f"its frames end at {self.duration_seconds:.1f} s, but it says it is {declared:.1f} s long: "
                "it is cut off or damaged, or its sound is longer than its picture"
            )
        elif self._skipped:
            problem = f"{self._skipped} damaged packets in it could not be decoded and were left out"
        else:
            return
        warnings.warn(f"{self._source}: {problem}; the {self.frames} good frames are used.", VideoWarning, stacklevel=3)

    def release(self) -> None:
        self._released = True
        self._cv.release()

    @property
    def duration_seconds(self) -> float:
        return 0.0 if self.frames < 2 else self.time_seconds * self.frames / (self.frames - 1)

    def _advance(self, container_seconds: float) -> None:
        self.frames += 1
        if self.frames == 1:
            self._first = container_seconds
            # In frames; some Matroska files count it into their length. Unknown is a large negative number.
            self._start_frames = max(0.0, self._cv.get(_PTS))
            return
        seconds = container_seconds - self._first
        # The frames that a decoder gives last, B-frames in AVI and MPEG program streams, carry no time, and
        # OpenCV says 0 for them: they follow at the mean interval.
        self.time_seconds = seconds if seconds > self.time_seconds else self.time_seconds + self._mean_interval()

    def _mean_interval(self) -> float:
        timed = self.frames - 1
        return self.time_seconds / (timed - 1) if timed > 1 else 1 / (self._cv.get(cv2.CAP_PROP_FPS) or 25.0)

    def _declared_seconds_if_missing(self) -> float:
        """How long the container says the video is where clearly less was read, else 0."""
        # Of a Matroska file both numbers may be wrong while their quotient is right.
        count, fps = self._cv.get(cv2.CAP_PROP_FRAME_COUNT), self._cv.get(cv2.CAP_PROP_FPS)
        declared = (count - self._start_frames) / fps if count > 0 and fps > 0 else 0.0
        shown = declared
        bit_rate = self._cv.get(cv2.CAP_PROP_BITRATE)
        if bit_rate > 0 and _is_mp4(self._path):
            # A trimmed MP4 counts the frames that its edit list hides, but its bit rate (kbit/s, rounded
            # down) is the file's size by the length that is shown.
            shown = self._path.stat().st_size * 8 / 1000 / (bit_rate + 1)
        missing = min(declared, shown) - self.duration_seconds
        return declared if missing > max(_SHORT_BY_SECONDS, _SHORT_BY_FRACTION * declared) else 0.0


_CONVERT = "copy or export it again, or convert it with FFmpeg to H.264 in MP4"


def _rgb(bgr: Pixels) -> Pixels:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


@functools.cache
def _silence_decoder_logs() -> None:
    """Keep FFmpeg and OpenCV from writing to standard error what VideoError and VideoWarning say.

    A user who set their variables keeps them.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when the first capture opens
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


def _check_file(source: str) -> None:
    path = Path(source)
    if not path.exists():
        raise VideoError(source, "there is no such file", "check the path")
    if path.is_dir():
        raise VideoError(source, "it is a folder", "give one video file; find_videos lists those in a folder")
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(source, "the file is empty (0 bytes)", "copy or download it again")


def _open(source: str, path: Path) -> cv2.VideoCapture:
    if re.search(r"%(\d*d|[*?\[{])", str(path)) and path.suffix.lower() not in VIDEO_SUFFIXES:
        reason = "FFmpeg takes such a name for the pattern of a numbered picture sequence"
        raise VideoError(source, reason, "rename it without the %, or give it the suffix of a video")
    # This backend only: others read pictures and patterns, and report other times.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise VideoError(source, *_why_not_opened(path))
    return capture


def _why_not_opened(path: Path) -> tuple[str, str]:
    if _is_mp4(path) and b"moov" not in _mp4_boxes(path):
        return "it was cut off: its index (moov) is missing", "copy or record it again"
    if _is_mp4(path) or _first_bytes(path).startswith(_CONTAINERS):
        return (
            "there is no video in it that FFmpeg can decode, only sound or an unknown format",
            f"give a file with a picture, or {_CONVERT}",
        )
    return (
        "it is not a video",
        f"give a video in a format that FFmpeg reads, such as MP4, MKV, AVI or WebM, or {_CONVERT}",
    )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _is_mp4(path: Path) -> bool:
    return _first_bytes(path)[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")


def _mp4_boxes(path: Path) -> list[bytes]:
    """The names of the outermost boxes: each is a size (4 bytes), a name (4), for size 1 the size (8)."""
    names = []
    with path.open("rb") as file:
        while len(header := file.read(8)) == 8:
            size, length = int.from_bytes(header[:4]), 8
            if size == 1:
                size, length = int.from_bytes(file.read(8)), 16
            names.append(header[4:])
            if size < length:  # 0: to the end of the file
                break
            file.seek(size - length, os.SEEK_CUR)
    return names
