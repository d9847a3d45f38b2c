"""Where live frames come from: cameras by OpenCV, URLs by FFmpeg, and why one cannot be opened."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
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
"""When a frame arrived, by `time.monotonic`, and what converts it to RGB."""

_RTP = ("rtp", "rtcp", "srtp", "udp", "tcp")
_HTTP = ("httpproxy", "tls", "tcp", "crypto", "data")
# By scheme, the protocols by which FFmpeg may read: the stream itself, and what it refers to. Files are never among
# them: a server's playlist would name one, and its picture would be shown.
_PROTOCOLS: dict[str, tuple[str, ...]] = {
    "rtsp": ("rtsp", *_RTP),
    "rtsps": ("rtsps", "tls", *_RTP),
    "rtmp": ("rtmp", "tcp"),
    "rtmps": ("rtmps", "tls", "tcp"),
    "http": ("http", "https", *_HTTP),
    "https": ("https", *_HTTP),
    "udp": ("udp",),
    "rtp": _RTP,
    "srt": ("srt",),
    "tcp": ("tcp",),
}
# An HLS or DASH stream is a list of addresses; its sound and titles are parts of their own.
_STREAM_FORMATS = (*VIDEO_FORMATS, "rtsp", "rtp", "hls", "dash", "aac", "mp3", "ac3", "eac3", "webvtt")
_RETRY_SECONDS = 0.01
_OPENING_CAMERA = threading.Lock()  # OpenCV has one log level for all


def kind_of_source(source: str) -> Kind:
    """Whether a source is a camera (an index or a device), a URL or a file; VideoError where it is none of them.

    >>> kind_of_source("0"), kind_of_source("rtsp://camera/stream")
    ('camera', 'url')
    """
    if "://" in source:
        scheme = source.split("://")[0].lower()
        if scheme not in _PROTOCOLS:
            reason = f"{scheme}:// is no address that a stream is read from; accepted: {', '.join(_PROTOCOLS)}"
            raise VideoError(without_credentials(source), reason, "name a file by its path, a camera by its index")
        return "url"
    if source.isdecimal() or source.startswith("/dev/video") or _is_device(source):
        return "camera"
    check_file(source)
    return "file"


def open_url(
    url: str, *, square_pixels: bool = False, on_frame: Callable[[], None] = lambda: None, stall_seconds: float
) -> Decoding:
    """Open a stream, which is live unless it says how long it is; VideoError, without credentials, where it fails.

    Opening may wait for data for `stall_seconds`, and so may each frame.
    """
    name, (scheme, rest), begun = without_credentials(url), url.split("://", 1), time.monotonic()
    try:
        container = open_container(
            f"{scheme.lower()}://{rest}",
            protocols=_PROTOCOLS[scheme.lower()],
            formats=_STREAM_FORMATS,
            hang_seconds=stall_seconds,
        )
    except av.error.FFmpegError as error:  # which has the URL in it
        reason = f"no video came from it within {stall_seconds:g} s"
        if time.monotonic() - begun < stall_seconds:
            reason = _why_not_opened(error, name)
        raise VideoError(name, reason, "check the address, and that it sends video") from None
    try:
        stream = shown_stream(name, container)
    except VideoError:
        container.close()
        raise
    is_live = not container.duration and container.size <= 0  # a file on a server has a size
    return Decoding(
        name,
        container,
        stream,
        is_live=is_live,
        square_pixels=square_pixels,
        on_frame=on_frame,
        hang_seconds=stall_seconds,
    )


def camera_arrivals(source: str, *, on_frame: Callable[[], None], stall_seconds: float) -> Iterator[Arrival]:
    """Give the frames of a camera by its index or device; VideoError where it cannot be opened, or gives none."""
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


def _is_device(source: str) -> bool:
    return os.path.exists(source) and Path(source).is_char_device()  # noqa: PTH110 - a name may be too long for pathlib


def _open_camera(source: str) -> cv2.VideoCapture:
    with _OPENING_CAMERA:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            capture = cv2.VideoCapture(int(source)) if source.isdecimal() else cv2.VideoCapture(source, cv2.CAP_V4L2)
        except (cv2.error, ValueError):  # an index of very many digits
            capture = cv2.VideoCapture()
        finally:
            cv2.utils.logging.setLogLevel(level)
    if capture.isOpened():
        return capture
    devices = sorted(str(path) for path in Path("/dev").glob("video*")) if Path("/dev").is_dir() else []
    here = f"here are {', '.join(devices)}" if devices else "there is no /dev/video* here"
    reason = "there is no such camera, or another program uses it"
    raise VideoError(source, reason, f"{here}: give the index or device of a camera, a URL, or a file")


def _why_not_opened(error: av.error.FFmpegError, name: str) -> str:
    """What FFmpeg's error says of a URL, whose name has no credentials."""
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
