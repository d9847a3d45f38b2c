"""How OpenCV's FFmpeg is opened: only for the protocols and formats that were asked for, and with time limits."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator

import cv2

# FFmpeg's names of the formats that hold the video themselves. Those that make it open further files or addresses
# (hls, dash, concat, sdp, image2, vobsub, lavfi ...) are not among them, and no name or first bytes bring them in.
VIDEO_FORMATS: tuple[str, ...] = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "asf_o", "ogg", "mxf", "gxf", "nut", "rm"),
    *("wtv", "dhav", "ivf", "nsv", "nuv", "dv", "gif", "yuv4mpegpipe", "amv", "mtv", "iv8", "pva", "ty", "film_cpk"),
    *("mjpeg", "mpjpeg", "mpegvideo", "m4v", "h261", "h263", "h264", "hevc", "evc", "vvc", "av1", "obu", "vc1"),
    *("vc1test", "cavsvideo", "avs2", "avs3", "dirac", "apv"),
)

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # "key;value|key;value", read as a capture opens


def open_decoder(
    source: str,
    *,
    protocols: tuple[str, ...],
    formats: tuple[str, ...] = VIDEO_FORMATS,
    options: tuple[str, ...] = (),
    open_seconds: float,
    read_seconds: float,
    threads: int | None = None,
) -> cv2.VideoCapture:
    """Open a file or URL with FFmpeg; whether it could be, the capture's `isOpened` says.

    Args:
        source: an absolute path or a URL.
        protocols: those by which FFmpeg may read, for what the source refers to as well.
        formats: likewise.
        options: more of FFmpeg's, each "key;value".
        open_seconds: how long opening may wait for data.
        read_seconds: how long a grab may.
        threads: that decode, which also is how many frames it may hold back; as OpenCV has it where not given.

    Raises:
        TimeoutError: another source is being opened with other options, and does not come to an end.
    """
    silence_decoder_logs()
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _milliseconds(open_seconds)]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _milliseconds(read_seconds)]
    if threads is not None:
        limits += [cv2.CAP_PROP_N_THREADS, threads]
    allowed = (f"protocol_whitelist;{','.join(protocols)}", f"format_whitelist;{','.join(formats)}", *options)
    with _environment.of(allowed, patience_seconds=open_seconds):
        # This backend only: others read pictures and patterns, and report other times.
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)


@functools.cache
def silence_decoder_logs() -> None:
    """Keep FFmpeg and OpenCV from writing to standard error what VideoError and VideoWarning say.

    A user who set their variables keeps them.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when the first capture opens
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)


class _Environment:
    """The variable through which OpenCV takes FFmpeg's options, for as long as captures open.

    Captures with the same options open at the same time: one that hangs keeps no other file from being read.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._options: tuple[str, ...] = ()
        self._users_own: str | None = None
        self._opening = 0

    @contextlib.contextmanager
    def of(self, options: tuple[str, ...], *, patience_seconds: float) -> Iterator[None]:
        """Have the variable say `options`, and after them what the user set it to, which so stands above ours."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._opening == 0 or self._options == options, patience_seconds):
                raise TimeoutError
            if self._opening == 0:
                self._options, self._users_own = options, os.environ.get(_VARIABLE)
                os.environ[_VARIABLE] = "|".join((*options, *([self._users_own] if self._users_own else [])))
            self._opening += 1
        try:
            yield
        finally:
            self._left()

    def _left(self) -> None:
        with self._changed:
            self._opening -= 1
            if self._opening:
                return
            if self._users_own is None:
                os.environ.pop(_VARIABLE, None)
            else:
                os.environ[_VARIABLE] = self._users_own
            self._changed.notify_all()


_environment = _Environment()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
