"""Where live frames come from: cameras, devices and URLs; by which protocols each is read, and names safe to print."""

import socket
import stat
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import cv2

from activity.video.addresses import without_credentials
from activity.video.capture import check_file
from activity.video.decoder import VIDEO_FORMATS, open_decoder, silence_decoder_logs
from activity.video.errors import VideoError

Kind = Literal["camera", "url", "file"]

_RTP = ("rtp", "rtcp", "srtp", "udp", "tcp")
_HTTP = ("httpproxy", "tls", "tcp", "crypto", "data")
# By scheme, the protocols by which FFmpeg may read: the stream itself, and what it refers to. Files are never among
# them, so that no server is shown one.
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
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
_DIAGNOSIS_SECONDS = 3.0


def kind_of_source(source: str) -> Kind:
    """Whether a source is a camera (an index or a device), a URL or a file.

    Raises VideoError for a URL by which nothing can be read, and for a file as `check_file` does.

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


def open_stream(source: str, *, open_seconds: float, read_seconds: float) -> cv2.VideoCapture:
    """Open a camera or URL; VideoError where that cannot be done within `open_seconds`, without credentials in it.

    A grab that waits for longer than `read_seconds` for data from a URL fails.
    """
    if kind_of_source(source) == "camera":
        return _open_camera(source)
    scheme = source.split("://")[0].lower()
    name = without_credentials(source)
    try:
        capture = open_decoder(
            scheme + source[len(scheme) :],
            protocols=_PROTOCOLS[scheme],
            formats=_STREAM_FORMATS,
            options=("rtsp_flags;prefer_tcp",),  # what OpenCV says where it is not told anything
            open_seconds=open_seconds,
            read_seconds=read_seconds,
            threads=1,  # each further one holds back a frame
        )
    except TimeoutError:
        raise VideoError(name, "another source does not come to an end of being opened", "try again") from None
    if not capture.isOpened():
        raise VideoError(name, _why_not_reached(source, open_seconds), "check the address, and that it sends video")
    return capture


def _is_device(source: str) -> bool:
    try:
        return stat.S_ISCHR(Path(source).stat().st_mode)
    except (OSError, ValueError):
        return False


def _open_camera(source: str) -> cv2.VideoCapture:
    silence_decoder_logs()
    capture = cv2.VideoCapture(int(source)) if source.isdecimal() else cv2.VideoCapture(source, cv2.CAP_V4L2)
    if capture.isOpened():
        return capture
    devices = sorted(str(path) for path in Path("/dev").glob("video*")) if Path("/dev").is_dir() else []
    here = f"here are {', '.join(devices)}" if devices else "there is no /dev/video* here"
    reason = "there is no such camera, or another program uses it"
    raise VideoError(source, reason, f"{here}: give the index or device of a camera, a URL, or a file")


def _why_not_reached(url: str, open_seconds: float) -> str:
    """What a connection to the URL's host says; FFmpeg keeps to itself why it failed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "its address is not valid"
    if host is None or port is None or parts.scheme in ("udp", "rtp", "srt"):
        return f"no video came from it within {open_seconds:g} s"
    try:
        socket.create_connection((host, port), timeout=min(_DIAGNOSIS_SECONDS, open_seconds)).close()
    except ConnectionRefusedError:
        return f"the connection was refused (port {port})"
    except (socket.gaierror, UnicodeError):
        return "there is no host of this name, or the network is down"
    except TimeoutError:
        return f"its host did not answer within {min(_DIAGNOSIS_SECONDS, open_seconds):g} s (port {port})"
    except OSError as error:
        return f"its host cannot be reached ({error.strerror or 'no route'})"
    return "its host answers, but no video that can be read came from it: the path, user or password may be wrong"
