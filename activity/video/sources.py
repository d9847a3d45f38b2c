"""Where live frames come from: OpenCV reads cameras, FFmpeg reads URLs."""

import os
import socket
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import av
import cv2

from activity.video.addresses import without_credentials
from activity.video.decoding import Decoding
from activity.video.errors import VideoError, hanging
from activity.video.opening import VIDEO_FORMATS, check_file, open_container, shown_stream
from activity.video.picture import Pixels

Kind = Literal["camera", "url", "file"]
Arrival = tuple[float, Callable[[], Pixels]]
"""When a frame arrived, by `time.monotonic`, and a function that converts it to RGB."""

_RTP = ("rtp", "rtcp", "srtp", "udp", "tcp")
_HTTP = ("http", "https", "httpproxy", "tls", "tcp", "crypto", "data")
# By scheme, the protocols that FFmpeg may use for the stream and for what it refers to. Never "file": a playlist on a
# server could name a file here, and FFmpeg would show it.
_PROTOCOLS: dict[str, tuple[str, ...]] = {
    "rtsp": ("rtsp", *_RTP),
    "rtsps": ("rtsps", "tls", *_RTP),
    "rtmp": ("rtmp", "tcp"),
    "rtmps": ("rtmps", "tls", "tcp"),
    "http": _HTTP,
    "https": _HTTP,
    "udp": ("udp",),
    "rtp": _RTP,
    "srt": ("srt",),
    "tcp": ("tcp",),
}
# An HLS or DASH stream is a list of addresses, also of its sound and subtitles.
_URL_FORMATS = (*VIDEO_FORMATS, "rtsp", "rtp", "hls", "dash", "aac", "mp3", "ac3", "eac3", "webvtt")
_RETRY_SECONDS = 0.01
_OPENING_CAMERA = threading.Lock()


def kind_of_source(source: str) -> Kind:
    """Return whether a source is a camera, a URL or a file.

    Raises VideoError if a file is missing or no stream is read from such a URL.

    >>> kind_of_source("0"), kind_of_source("rtsp://camera/stream")
    ('camera', 'url')
    """
    scheme, mark, _ = source.partition("://")
    if mark:
        if (scheme := scheme.lower()) not in _PROTOCOLS:
            reason = f"{scheme}:// is no address that a stream is read from; accepted: {', '.join(_PROTOCOLS)}"
            raise VideoError(without_credentials(source), reason, "name a file by its path, a camera by its index")
        return "url"
    is_device = os.path.exists(source) and Path(source).is_char_device()  # noqa: PTH110 - pathlib refuses long names
    if is_device or source.isdecimal() or source.startswith("/dev/video"):
        return "camera"
    check_file(source)
    return "file"


def open_url(
    url: str, *, on_frame: Callable[[], None] = lambda: None, stall_seconds: float, square_pixels: bool = False
) -> Decoding:
    """Open a stream, which is live unless it says its length.

    Opening and each frame may wait `stall_seconds` for data. Raises VideoError, without credentials.
    """
    name = without_credentials(url)
    scheme, _, rest = url.partition("://")
    scheme, begun = scheme.lower(), time.monotonic()
    try:
        container = open_container(
            f"{scheme}://{rest}", protocols=_PROTOCOLS[scheme], formats=_URL_FORMATS, hang_seconds=stall_seconds
        )
    except av.error.FFmpegError as error:  # its message has the URL in it
        is_timeout = time.monotonic() - begun >= stall_seconds  # many protocols have no error of its own for this
        reason = f"no video came from it within {stall_seconds:g} s" if is_timeout else _why_not_opened(error, name)
        raise VideoError(name, reason, "check the address, and that it sends video") from None
    try:
        stream = shown_stream(name, container)
    except VideoError:
        container.close()
        raise
    return Decoding(
        name,
        container,
        stream,
        on_frame=on_frame,
        hang_seconds=stall_seconds,
        is_live=not container.duration and container.size <= 0,  # a file on a server has a size
        square_pixels=square_pixels,
    )


def camera_arrivals(
    source: str, *, on_frame: Callable[[], None], stall_seconds: float
) -> Generator[Arrival, None, None]:
    """Yield a camera's frames; VideoError if it is missing or stops."""
    capture, frame_at = _open_camera(source), time.monotonic()
    try:
        while time.monotonic() - frame_at < stall_seconds:
            is_read, bgr = capture.read()
            if not is_read:  # one picture may be damaged
                time.sleep(_RETRY_SECONDS)
                continue
            on_frame()
            frame_at = time.monotonic()
            yield frame_at, partial(cv2.cvtColor, bgr, cv2.COLOR_BGR2RGB)  # type: ignore[misc]
    finally:
        capture.release()
    raise hanging(source, stall_seconds)


def _why_not_opened(error: av.error.FFmpegError, name: str) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused: nothing serves at its port"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return f"the FFmpeg in PyAV was built without {name.split(':')[0]}"
    try:
        socket.getaddrinfo(urlsplit(name).hostname or "localhost", None)
    except socket.gaierror:
        return "there is no host of this name, or the network is down"
    except (UnicodeError, ValueError):
        return "its address is not valid"
    return f"no video that can be read came from it ({error.strerror}): its path, user or password may be wrong"


def _open_camera(source: str) -> cv2.VideoCapture:
    # OpenCV prints a warning for each way in which it cannot open a camera. A capture has no log level of its own, so
    # that of the process is changed for this moment, by one thread at a time.
    with _OPENING_CAMERA:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            capture = cv2.VideoCapture(int(source)) if source.isdecimal() else cv2.VideoCapture(source, cv2.CAP_V4L2)
        except (cv2.error, ValueError):  # the index has too many digits
            capture = cv2.VideoCapture()
        finally:
            cv2.utils.logging.setLogLevel(level)
    if capture.isOpened():
        return capture
    devices = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
    here = f"here are {devices}" if devices else "there is no /dev/video* here"
    reason = "there is no such camera, or another program uses it"
    raise VideoError(source, reason, f"{here}: give the index or device of a camera, a URL, or a file")
