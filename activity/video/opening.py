"""Files and addresses opened with FFmpeg: only formats that hold the video themselves, by named protocols."""

import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import av
from av.container import Flags, InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from activity.video.addresses import WATCH_IT, is_address, without_credentials
from activity.video.errors import CONVERT, HANGS_AFTER_SECONDS, MOST_PIXELS, NO_SUCH_FILE, VideoError, hanging

# FFmpeg's names of the formats that hold the video themselves. Those that make it open further files or addresses
# (hls, dash, concat, sdp, image2, vobsub, lavfi ...) are not among them, and no name or first bytes bring them in.
VIDEO_FORMATS: tuple[str, ...] = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "asf_o", "ogg", "mxf", "gxf", "nut", "rm"),
    *("wtv", "dhav", "ivf", "nsv", "nuv", "dv", "gif", "yuv4mpegpipe", "amv", "mtv", "iv8", "pva", "ty", "film_cpk"),
    *("mjpeg", "mpjpeg", "mpegvideo", "m4v", "h261", "h263", "h264", "hevc", "evc", "vvc", "av1", "obu", "vc1"),
    *("vc1test", "cavsvideo", "avs2", "avs3", "dirac", "apv"),
)
# FFmpeg takes a sequence of JPEG pictures for one picture, and so for no video.
_FORMAT_OF_SUFFIX = {".mjpeg": "mjpeg", ".mjpg": "mjpeg"}
_JPEG = b"\xff\xd8\xff"

# Files that hold no video but say where one is. FFmpeg is not let read any; this says what was given.
_PLAYLISTS = {
    "an HLS playlist": rb"\s*#EXTM3U",
    "a list of files for FFmpeg to join": rb"\s*ffconcat\s+version",
    "a DASH manifest": rb"(?s).{0,500}<MPD[\s>]",
    "a streaming manifest": rb"(?s).{0,500}<SmoothStreamingMedia[\s>]",
    "a playlist": rb"(?is)\s*(\[playlist\]|\[reference\]|<asx[\s>]|<\?wpl|.{0,500}<smil[\s>])",
    "a description of a network stream (SDP)": rb"\s*v=0\r?\n(?s:.*)^[cm]=",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# First bytes of files of sound and pictures (MP4 has its own at byte 4): where FFmpeg finds no video, they hold none.
_CONTAINERS = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"ID3", b"fLaC", b"0&\xb2u", b"\x00\x00\x01\xba")
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free")
_MOST_BOXES = 10_000
_SEARCHED = 1 << 20  # bytes at the start and at the end


def check_file(source: str) -> None:
    """Raise VideoError if the file is missing, empty or cannot be read."""
    try:
        source.encode()
    except UnicodeEncodeError:
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
        raise VideoError(source, "it is a pipe or a device, not a file", "name a video file")
    if not os.access(path, os.R_OK):
        raise VideoError(source, "it cannot be read (permission denied)", "change its permissions")
    if path.stat().st_size == 0:
        raise VideoError(source, "the file is empty (0 bytes)", "copy or download it again")


def open_container(
    source: str,
    *,
    protocols: Sequence[str],
    formats: Sequence[str] = VIDEO_FORMATS,
    options: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - FFmpeg's word
    open_seconds: float,
    read_seconds: float,
) -> InputContainer:
    """Open an absolute path or a URL.

    Args:
        source: what to open.
        protocols: those by which FFmpeg may read, for what the source refers to as well.
        formats: likewise.
        options: more of FFmpeg's.
        format: the source's, where FFmpeg does not tell it by its content.
        open_seconds: how long opening may wait for data.
        read_seconds: how long reading a packet may.

    Raises:
        av.error.FFmpegError: it cannot be opened.
    """
    allowed = {"protocol_whitelist": ",".join(protocols), "format_whitelist": ",".join(formats)}
    container = av.open(
        source,
        format=format,
        options={"max_pixels": str(MOST_PIXELS), **allowed, **(options or {})},
        timeout=(open_seconds, read_seconds),
        metadata_errors="replace",
    )
    container.flags &= ~cast(int, Flags.gen_pts.value)  # PyAV asks for them; in an AVI with B-frames they are wrong
    return container


def open_file(source: str, *, hang_seconds: float = HANGS_AFTER_SECONDS) -> tuple[InputContainer, VideoStream]:
    """Open a video file; its container and the stream of it that a player shows.

    Raises:
        VideoError: it is not a video, or cannot be opened.
    """
    check_file(source)
    path = Path(source).absolute()  # never a URL, a protocol ("concat:a.mp4") or an option
    if kind := _playlist_kind(path):
        reason = f"it is {kind}: it holds no video but names other files or addresses, which are not opened for it"
        raise VideoError(source, reason, "give the video itself")
    forced = _FORMAT_OF_SUFFIX.get(path.suffix.lower()) if _first_bytes(path).startswith(_JPEG) else None
    try:
        container = open_container(
            str(path), protocols=("file",), format=forced, open_seconds=hang_seconds, read_seconds=hang_seconds
        )
    except av.error.ExitError:
        raise hanging(source, hang_seconds) from None
    except av.error.FFmpegError:
        raise _not_opened(source, path) from None
    try:
        return container, shown_stream(source, container)
    except VideoError:
        container.close()
        if max(_mp4_boxes(path).values(), default=0) > path.stat().st_size:
            raise _damaged_headers(source) from None
        raise


def shown_stream(source: str, container: InputContainer) -> VideoStream:
    """Return the video that players show: the default or best one, cover pictures aside. VideoError if it has none."""
    streams = _videos(container)
    if not streams:
        reason = "there is no video in it that FFmpeg can decode, only sound or an unknown format"
        raise VideoError(source, reason, f"give a file with a picture, or {CONVERT}")
    best = container.streams.best("video")
    stream = next((stream for stream in streams if best is not None and stream.index == best.index), None)
    stream = stream or next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
    if cast(object, stream.codec_context) is None:
        reason = f"there is no decoder here for its codec, {_codec_without_decoder(container, stream.index)}"
        raise VideoError(source, reason, CONVERT)
    return stream


def other_videos(container: InputContainer, shown: VideoStream) -> list[VideoStream]:
    """Return the further videos in a container, cover pictures left out."""
    return [stream for stream in _videos(container) if stream.index != shown.index]


def claimed_size(path: Path) -> tuple[int, int]:
    """Width and height in the header of an AVI or MP4 file; (0, 0) for any other source."""
    if not path.is_file():
        return 0, 0
    size = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(_SEARCHED)
        file.seek(max(len(data), size - _SEARCHED))
        data += file.read(_SEARCHED)
    if data.startswith(b"RIFF") and (place := data.find(b"avih")) >= 0:
        return int.from_bytes(data[place + 40 : place + 44], "little"), int.from_bytes(
            data[place + 44 : place + 48], "little"
        )
    for found in re.finditer(rb"tkhd(.)", data, re.DOTALL):  # in units of 1 / 65536; that of sound is 0 x 0
        place = found.start() + (92 if found[1] == b"\1" else 80)  # version 1 has longer times
        width, height = int.from_bytes(data[place : place + 2]), int.from_bytes(data[place + 4 : place + 6])
        if width and height:
            return width, height
    return 0, 0


def _videos(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _first_bytes(path: Path, count: int = 12) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _playlist_kind(path: Path) -> str | None:
    start = _first_bytes(path, 2_048).removeprefix(_BYTE_ORDER_MARK)
    return next((kind for kind, bytes_ in _PLAYLISTS.items() if re.match(bytes_, start, re.MULTILINE)), None)


def _not_opened(source: str, path: Path) -> VideoError:
    if re.search(r"%\d*d", path.name):
        reason = "FFmpeg takes such a name for the pattern of a numbered picture sequence"
        return VideoError(source, reason, "rename it without the %")
    boxes = _mp4_boxes(path)
    if boxes and b"moov" not in boxes:
        return VideoError(source, "it was cut off: its index (moov) is missing", "copy or record it again")
    if boxes or _first_bytes(path).startswith(_CONTAINERS):
        return _damaged_headers(source)
    advice = f"give a video in a format that FFmpeg reads, such as MP4, MKV, AVI or WebM, or {CONVERT}"
    return VideoError(source, "it is not a video", advice)


def _damaged_headers(source: str) -> VideoError:
    return VideoError(source, "its headers are damaged or cut off", f"record it again, or {CONVERT}")


def _mp4_boxes(path: Path) -> dict[bytes, int]:
    """The outermost boxes of an MP4, each with the byte at which it ends; empty for other files.

    Each is a size (4 bytes), a name (4), for size 1 the size (8).
    """
    ends, place, end = dict[bytes, int](), 0, path.stat().st_size
    if _first_bytes(path)[4:8] not in _MP4_BOXES:
        return ends
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            file.seek(place)
            header = file.read(16)
            size = int.from_bytes(header[8:16]) if header[:4] == b"\0\0\0\1" else int.from_bytes(header[:4])
            place += size
            ends[header[4:8]] = place
            if size < 8 or place >= end:  # 0: to the end of the file
                break
    return ends


_LOGGING = threading.Lock()


def _codec_without_decoder(container: InputContainer, index: int) -> str:
    """What FFmpeg calls a codec; PyAV says so in FFmpeg's log only."""
    with _LOGGING:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            description = container.dumps_format()  # type: ignore[attr-defined]
        finally:
            av.logging.set_level(level)
    found = re.search(rf"Stream #0:{index}\b.*?Video: (\w+)", description)
    return found[1] if found and found[1] != "none" else "which FFmpeg does not know"
