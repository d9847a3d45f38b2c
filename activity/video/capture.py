"""OpenCV's capture of a video file: frames that rise in time, and words for what is wrong with a file."""

import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from activity.video.addresses import WATCH_IT, is_address, without_credentials
from activity.video.completeness import cut_off, listed_frames
from activity.video.container import claimed_size, has_index, is_media, is_mp4, playlist_kind
from activity.video.decoder import open_decoder
from activity.video.errors import CONVERT, MOST_PIXELS, VideoError, VideoWarning, hanging, too_large

# Of what FFmpeg reads, the suffixes that mean a video. MPEG transport streams are called .ts, but so are our
# exported models: a scan takes .mts and .m2ts and leaves .ts out (a file that is named outright may have any
# suffix).
VIDEO_SUFFIXES: frozenset[str] = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg"}
    | {".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".vob", ".webm", ".wmv"}
)

MOST_GAP_SECONDS = 600.0
"""From one frame to the next. A longer gap is damage: filled with repeats, it would take for ever."""
HANGS_AFTER_SECONDS = 60.0
"""Without a frame, decoding hangs and is given up."""

# A packet that cannot be decoded is one failed grab, and so is the end of the file, at 0.01 ms each: many
# tries where the container promised more, few elsewhere.
_TRIES_BEFORE_DECLARED_END = 2_000
_TRIES_AT_END = 50
# The declared length may be that of the sound, or come from a rounded rate: both are a little longer than
# what is shown, and no damage.
_SHORT_BY_SECONDS, _SHORT_BY_FRACTION = 1.0, 0.02
_SHORT_BY_THIRD = 0.35  # of a clip so short that a second is much of it
_LOST_FRAMES = 2  # of those listed: one may be lost where a decoder holds its last frame back
_PTS = getattr(cv2, "CAP_PROP_PTS", -1)  # since OpenCV 4.11; an unknown property reads as 0
# Two reasons of VideoError that callers tell from the others.
NO_SUCH_FILE = "there is no such file"
NO_FRAMES = "it opens as a video but no frame of it can be decoded"

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Damage:
    """What is missing of a video whose good frames were delivered: in words, and whether its end is."""

    problem: str
    ends_early: bool


class Capture:
    """One pass of OpenCV over a file or stream, with times that rise and a word about how it ended.

    Args:
        source: the file; of a `stream` only the name.
        stream: an open one, for what is no file.
        on_frame: called after each frame that was grabbed; what it raises ends the reading.
        hang_seconds: without a frame, after which reading is given up.
    """

    def __init__(
        self,
        source: str,
        *,
        stream: cv2.VideoCapture | None = None,
        on_frame: Callable[[], None] = lambda: None,
        hang_seconds: float = HANGS_AFTER_SECONDS,
    ) -> None:
        self.frames = 0  # grabbed so far
        self.time_seconds = 0.0  # of the last one
        self.damage_said: str | None = None  # what the VideoWarning at the end said, without the name
        self._source = source
        self._on_frame = on_frame
        self._hang_seconds = hang_seconds
        self._skipped = self._leaps = 0
        self._first = self._start_frames = self._shift = 0.0
        self._path: Path | None = None
        if stream is None:
            self._path = Path(source).absolute()  # never a URL, a protocol ("concat:a.mp4") or an option
            stream = _open(source, self._path, hang_seconds)
        self._cv = stream
        self._released = False
        self._check_size(int(self._cv.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self._cv.get(cv2.CAP_PROP_FRAME_HEIGHT)))

    def grab(self) -> bool:
        """Go to the next frame that can be decoded; False at the end, VideoError where a file has none or hangs."""
        if self._released:
            raise ValueError(f"{self._source} was closed while it was being read; iterate again from the start.")
        tries, started = 0, time.monotonic()
        while not self._cv.grab():
            if time.monotonic() - started > self._hang_seconds:
                if self._path is None:
                    return False
                raise hanging(self._source, self._hang_seconds)
            if tries == 0:
                limit = _TRIES_BEFORE_DECLARED_END if self._declared_seconds_if_missing() else _TRIES_AT_END
            tries += 1
            if tries == limit:
                if self.frames == 0 and self._path is not None:
                    raise self._no_frames(self._path)
                return False
        self._skipped += tries
        self._advance(self._cv.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        self._on_frame()
        return True

    def retrieve(self) -> Pixels:
        """Return the grabbed frame, BGR ``uint8 (H, W, 3)``."""
        try:
            done, bgr = self._cv.retrieve()
        except cv2.error:  # a frame too large for the memory, say
            done = False
        if not done:
            raise VideoError(self._source, f"the frame at {self.time_seconds:.2f} s cannot be converted", CONVERT)
        self._check_size(bgr.shape[1], bgr.shape[0])  # it may have changed midway
        return bgr  # type: ignore[return-value]

    def damage(self) -> "Damage | None":
        """At the end: what is missing, or None."""
        if self._leaps:
            times = "once" if self._leaps == 1 else f"{self._leaps} times"
            problem = (
                f"its times leap ahead by more than {MOST_GAP_SECONDS / 60:.0f} minutes {times}: "
                "the frame after such a leap is taken to follow at once"
            )
            return Damage(problem, ends_early=False)
        cut = cut_off(self._path) if self._path else None
        declared = self._declared_seconds_if_missing(tolerated=0.0 if cut else 1.0)
        ends = f"its frames end at {self.duration_seconds:.1f} s, but it says it is {declared:.1f} s long"
        if cut:
            return Damage(f"{cut}; {ends}" if declared - self.duration_seconds >= 0.05 else cut, ends_early=True)
        if declared:
            problem = f"{ends}: it is cut off or damaged, or its sound is longer than its picture"
            return Damage(problem, ends_early=True)
        listed = listed_frames(self._path) if self._path else 0
        if listed - self.frames >= _LOST_FRAMES:
            problem = f"{listed - self.frames} of {listed} declared frames could not be decoded and were left out"
            return Damage(problem, ends_early=False)
        if self._skipped:
            packets = "1 damaged packet" if self._skipped == 1 else f"{self._skipped} damaged packets"
            problem = f"{packets} in it could not be decoded and {'was' if self._skipped == 1 else 'were'} left out"
            return Damage(problem, ends_early=False)
        return None

    def warn_of_damage(self) -> None:
        """At the end, where frames are missing, say so with a VideoWarning."""
        if damage := self.damage():
            self.damage_said = f"{damage.problem}; the {self.frames} good frames are used"
            warnings.warn(f"{self._source}: {self.damage_said}.", VideoWarning, stacklevel=3)

    def release(self) -> None:
        """Close the file."""
        self._released = True
        self._cv.release()

    @property
    def duration_seconds(self) -> float:
        """When the last frame ends, if it lasts as long as the mean of those before; 0 for fewer than two."""
        return 0.0 if self.frames < 2 else self.time_seconds * self.frames / (self.frames - 1)

    @property
    def ends_early(self) -> bool:
        """At the end: whether clearly less was read than the container says."""
        return self._declared_seconds_if_missing() > 0

    @property
    def fourcc(self) -> int:
        """The codec in the container's four letters, as one number; 0 where it says none."""
        return int(self._cv.get(cv2.CAP_PROP_FOURCC))

    @property
    def rotation(self) -> int:
        """Degrees clockwise that the file asks for: 0, 90, 180 or 270."""
        return int(self._cv.get(cv2.CAP_PROP_ORIENTATION_META)) % 360

    @property
    def declared_seconds(self) -> float:
        """How long the container says the video is, once its first frame was grabbed; 0 where it does not say."""
        return max(0.0, min(self._declared_and_shown_seconds()))

    def _advance(self, container_seconds: float) -> None:
        self.frames += 1
        if self.frames == 1:
            self._first = container_seconds
            # In frames; some Matroska files count it into their length. Unknown is a large negative number.
            self._start_frames = max(0.0, self._cv.get(_PTS))
            return
        shown, before = container_seconds - self._first, self.time_seconds
        if self._shift and 0 < shown - before <= MOST_GAP_SECONDS:
            self._shift = 0.0  # one frame alone had a wrong time
        if (ahead := shown + self._shift - before) > MOST_GAP_SECONDS:
            self._leaps += 1
            self._shift += self._mean_interval() - ahead
        # The frames that a decoder gives last, B-frames in AVI and MPEG program streams, carry no time, and
        # OpenCV says 0 for them: they follow at the mean interval.
        seconds = shown + self._shift
        self.time_seconds = seconds if seconds > before else before + self._mean_interval()

    def _mean_interval(self) -> float:
        timed = self.frames - 1
        if timed > 1:
            return self.time_seconds / (timed - 1)
        fps = self._cv.get(cv2.CAP_PROP_FPS)
        return 1 / (fps if fps * MOST_GAP_SECONDS >= 1 else 25.0)  # a header may say any rate

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MOST_PIXELS:
            self.release()
            raise too_large(self._source, width, height)

    def _no_frames(self, path: Path) -> VideoError:
        if (size := claimed_size(path)) and size[0] * size[1] > MOST_PIXELS:
            return too_large(self._source, *size)
        return VideoError(self._source, NO_FRAMES, CONVERT)

    def _declared_and_shown_seconds(self) -> tuple[float, float]:
        """How long the container says the video is, and how much of that is shown; 0 where it does not say."""
        # Of a Matroska file both numbers may be wrong while their quotient is right.
        count, fps = self._cv.get(cv2.CAP_PROP_FRAME_COUNT), self._cv.get(cv2.CAP_PROP_FPS)
        declared = (count - self._start_frames) / fps if count > 0 and fps > 0 else 0.0
        shown = declared
        bit_rate = self._cv.get(cv2.CAP_PROP_BITRATE)
        if bit_rate > 0 and self._path is not None and is_mp4(self._path):
            # A trimmed MP4 counts the frames that its edit list hides, but its bit rate (kbit/s, rounded
            # down) is the file's size by the length that is shown.
            shown = self._path.stat().st_size * 8 / 1000 / (bit_rate + 1)
        return declared, shown

    def _declared_seconds_if_missing(self, *, tolerated: float = 1.0) -> float:
        """How long the container says the video is where clearly less was read, else 0; 0 tolerates nothing."""
        declared, shown = self._declared_and_shown_seconds()
        fps = self._cv.get(cv2.CAP_PROP_FPS)
        missing = min(declared, shown) - self.duration_seconds
        allowed = max(min(_SHORT_BY_SECONDS, _SHORT_BY_THIRD * declared), _SHORT_BY_FRACTION * declared)
        return declared if missing > tolerated * max(allowed, 2 / fps if fps > 0 else 0.0) else 0.0


def check_file(source: str) -> None:
    """Raise VideoError where there is no such file, or nothing in it."""
    try:
        source.encode()
    except UnicodeEncodeError:  # OpenCV ends the whole process on such a name
        raise VideoError(ascii(source), "its name is not valid UTF-8", "rename it") from None
    path = Path(source)
    if is_address(source):
        raise VideoError(without_credentials(source), "it is the address of a stream, not a file", WATCH_IT)
    if not os.path.exists(source):  # noqa: PTH110 - Path.exists raises for a name that is too long
        raise VideoError(source, NO_SUCH_FILE, "check the path")
    if path.is_dir():
        raise VideoError(
            source, "it is a folder in which no video is to be found", "name a video, or a folder of videos"
        )
    if not path.is_file():  # a pipe would be waited for, for ever
        raise VideoError(source, "it is no file but a pipe or a device", "name a video file")
    if not os.access(path, os.R_OK):
        raise VideoError(source, "it cannot be read (permission denied)", "change its permissions")
    if path.stat().st_size == 0:
        raise VideoError(source, "the file is empty (0 bytes)", "copy or download it again")


def _open(source: str, path: Path, hang_seconds: float) -> cv2.VideoCapture:
    if re.search(r"%(\d*d|[*?\[{])", str(path)) and path.suffix.lower() not in VIDEO_SUFFIXES:
        reason = "FFmpeg takes such a name for the pattern of a numbered picture sequence"
        raise VideoError(source, reason, "rename it without the %, or give it the suffix of a video")
    if kind := playlist_kind(path):
        reason = f"it is {kind}: it holds no video but names other files or addresses, which are not opened for it"
        raise VideoError(source, reason, "give the video itself")
    try:
        capture = open_decoder(str(path), protocols=("file",), open_seconds=hang_seconds, read_seconds=hang_seconds)
    except TimeoutError:
        raise hanging(source, hang_seconds) from None
    if not capture.isOpened():
        raise _not_opened(source, path)
    return capture


def _not_opened(source: str, path: Path) -> VideoError:
    if is_mp4(path) and not has_index(path):
        return VideoError(source, "it was cut off: its index (moov) is missing", "copy or record it again")
    if (size := claimed_size(path)) and size[0] * size[1] > MOST_PIXELS:
        return too_large(source, *size)
    if cut := cut_off(path):
        return VideoError(source, cut, "copy or record it again")
    if is_media(path):
        reason = "there is no video in it that FFmpeg can decode, only sound or an unknown format"
        return VideoError(source, reason, f"give a file with a picture, or {CONVERT}")
    advice = f"give a video in a format that FFmpeg reads, such as MP4, MKV, AVI or WebM, or {CONVERT}"
    return VideoError(source, "it is not a video", advice)
