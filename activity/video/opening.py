"""Open files and addresses with FFmpeg, by whitelisted formats and protocols."""

import codecs
import io
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import av
from av.bitstream import BitStreamFilterContext
from av.container import Flags, InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from activity.video.addresses import WATCH_IT, is_address, without_credentials
from activity.video.errors import CONVERT, MOST_PIXELS, NoFileError, NoFramesError, VideoError, hanging, unreadable

# FFmpeg's names of the formats that hold the video themselves. Those that make it open further files or addresses
# (hls, dash, concat, sdp, image2, vobsub, lavfi ...) are not among them. No file name and no first bytes add them.
VIDEO_FORMATS: tuple[str, ...] = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "asf_o", "ogg", "mxf", "gxf", "nut", "rm"),
    *("wtv", "dhav", "ivf", "nsv", "nuv", "dv", "gif", "yuv4mpegpipe", "amv", "mtv", "iv8", "pva", "ty", "film_cpk"),
    *("mjpeg", "mpjpeg", "mpegvideo", "m4v", "h261", "h263", "h264", "hevc", "evc", "vvc", "av1", "obu", "vc1"),
    *("vc1test", "cavsvideo", "avs2", "avs3", "dirac", "apv"),
)

# Files that hold no video but say where one is. FFmpeg may not read them; the message names their kind.
_PLAYLISTS = {
    "an HLS playlist": rb"\s*#EXTM3U",
    "a list of files for FFmpeg to join": rb"\s*ffconcat\s+version",
    "a DASH manifest": rb"(?s).{0,500}<MPD[\s>]",
    "a streaming manifest": rb"(?s).{0,500}<SmoothStreamingMedia[\s>]",
    "a playlist": rb"(?is)\s*(\[playlist\]|\[reference\]|<asx[\s>]|<\?wpl|.{0,500}<smil[\s>])",
    "a description of a network stream (SDP)": rb"\s*v=0\r?\n(?s:.*)^[cm]=",
}
# First bytes of files of sound and pictures; MP4 names a box at byte 4. If FFmpeg cannot open one, it is damaged.
_CONTAINERS = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"ID3", b"fLaC", b"0&\xb2u", b"\x00\x00\x01\xba")
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free")
_MOST_BOXES = 10_000
_DAMAGED = ("its headers are damaged or cut off", f"record it again, or {CONVERT}")
_SEARCHED = 1 << 20  # bytes at the start and at the end


def check_file(source: str) -> None:
    """Raise VideoError if the file is missing, empty or cannot be read."""
    try:
        source.encode()
    except UnicodeEncodeError:
        raise VideoError(ascii(source), "its name is not valid UTF-8", "rename it") from None
    if is_address(source):
        raise VideoError(without_credentials(source), "it is the address of a stream, not a file", WATCH_IT)
    try:
        status = os.stat(source)  # noqa: PTH116 - pathlib is slower, and a data set has many files
    except (OSError, ValueError):
        raise NoFileError(source, "there is no such file", "check the path") from None
    if stat.S_ISDIR(status.st_mode):
        reason = "it is a folder in which no video is to be found"
        raise VideoError(source, reason, "name a video, or a folder of videos")
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, for ever
        raise VideoError(source, "it is a pipe or a device, not a file", "name a video file")
    if not os.access(source, os.R_OK):
        raise VideoError(source, "it cannot be read (permission denied)", "change its permissions")
    if status.st_size == 0:
        raise VideoError(source, "the file is empty (0 bytes)", "copy or download it again")


def open_container(
    source: str,
    *,
    protocols: Sequence[str],
    formats: Sequence[str] = VIDEO_FORMATS,
    format: str | None = None,  # noqa: A002 - FFmpeg's word
    hang_seconds: float,
) -> InputContainer:
    """Open an absolute path or a URL; FFmpegError if that fails.

    `protocols` and `formats` also limit what the source refers to. FFmpeg recognises the format if none is named.
    Opening waits for data for `hang_seconds` at most, and so does reading a packet.
    """
    options = {
        "protocol_whitelist": ",".join(protocols),
        "format_whitelist": ",".join(formats),
        "max_pixels": str(MOST_PIXELS),
        "rtsp_flags": "prefer_tcp",  # UDP only if a camera has nothing else, because it loses packets
    }
    container = av.open(source, format=format, options=options, timeout=hang_seconds, metadata_errors="replace")
    container.flags &= ~cast(int, Flags.gen_pts.value)  # PyAV asks for them; in an AVI with B-frames they are wrong
    return container


def open_file(source: str, *, hang_seconds: float) -> tuple[InputContainer, VideoStream]:
    """Open a file's video that players show; VideoError if that fails."""
    check_file(source)
    try:
        # An absolute path is never a URL, a protocol ("concat:a.mp4") or an option.
        return _opened(source, Path(source).absolute(), hang_seconds)
    except OSError as error:  # removed meanwhile, or a network drive that is gone
        raise unreadable(Path(source), error) from None


def _opened(source: str, path: Path, hang_seconds: float) -> tuple[InputContainer, VideoStream]:
    with path.open("rb") as file:
        start = file.read(2_048)
    _refuse_playlist(source, start)
    # FFmpeg takes a sequence of JPEG pictures (which begin so) for one picture, and so for no video.
    forced = "mjpeg" if start.startswith(b"\xff\xd8\xff") and path.suffix.lower() in (".mjpeg", ".mjpg") else None
    try:
        container = open_container(str(path), protocols=("file",), format=forced, hang_seconds=hang_seconds)
        try:
            return container, shown_stream(source, container)
        except VideoError:
            container.close()
            raise
    except av.error.ExitError:
        raise hanging(source, hang_seconds) from None
    except (av.error.FFmpegError, VideoError) as error:
        raise _not_opened(source, path, start, error) from None


def shown_stream(source: str, container: InputContainer) -> VideoStream:
    """Return the video that players show, or raise VideoError.

    That is FFmpeg's best video, else the default one, else the first; never a cover picture.
    """
    streams = _videos(container)
    if not streams:
        reason = "there is no video in it that FFmpeg can decode, only sound or an unknown format"
        raise VideoError(source, reason, f"give a file with a picture, or {CONVERT}")
    best = container.streams.best("video")
    best_index = None if best is None else best.index
    stream = min(streams, key=lambda item: (item.index != best_index, not item.disposition & Disposition.default))
    if cast(object, stream.codec_context) is None:
        reason = f"there is no decoder here for its codec, {_codec_without_decoder(stream)}"
        raise VideoError(source, reason, CONVERT)
    return stream


def other_videos(container: InputContainer, shown: VideoStream) -> list[VideoStream]:
    """Return the further videos in a container, without cover pictures."""
    return [stream for stream in _videos(container) if stream.index != shown.index]


def no_frames(source: str, path: Path, size: tuple[int, int]) -> VideoError:
    """Say why no frame is decoded: too large a size, or damage.

    `size` is the width and height that the codec says. If it says none, the header of an AVI or MP4 may.
    """
    width, height = size if all(size) else _size_in_header(path)
    if width * height <= MOST_PIXELS:
        return NoFramesError(source, "it opens as a video but no frame of it can be decoded", CONVERT)
    pixels = f"{width} x {height} pixels ({width * height / 1e6:,.0f} million)"
    reason = f"it says that its frames are {pixels}; frames of at most {MOST_PIXELS / 1e6:.0f} million are read"
    return VideoError(source, reason, "scale it down, or copy it again if its frames are smaller")


def _size_in_header(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            data = file.read(_SEARCHED)
            file.seek(max(len(data), path.stat().st_size - _SEARCHED))
            data += file.read(_SEARCHED)
    except OSError:  # it is a URL, or was removed
        return 0, 0
    if avi := re.search(rb"\ARIFF.*?avih.{36}(.{4})(.{4})", data, re.DOTALL):
        return int.from_bytes(avi[1], "little"), int.from_bytes(avi[2], "little")
    # Whole pixels of an MP4's tracks; version 1 has longer times before them. The size of a sound track is 0 x 0.
    tracks = re.findall(rb"tkhd(?:\x01.{87}|[^\x01].{75})(..)..(..)", data, re.DOTALL)
    sizes = ((int.from_bytes(width), int.from_bytes(height)) for width, height in tracks)
    return next((size for size in sizes if all(size)), (0, 0))


def _videos(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _refuse_playlist(source: str, start: bytes) -> None:
    for kind, pattern in _PLAYLISTS.items():
        if re.match(pattern, start.removeprefix(codecs.BOM_UTF8), re.MULTILINE):
            reason = f"it is {kind}: it holds no video but names other files or addresses, which are not opened for it"
            raise VideoError(source, reason, "give the video itself")


def _not_opened(source: str, path: Path, start: bytes, error: av.error.FFmpegError | VideoError) -> VideoError:
    boxes = _mp4_boxes(path, start)
    if isinstance(error, VideoError):  # FFmpeg opened it
        is_cut_off = max(boxes.values(), default=0) > path.stat().st_size
        return VideoError(source, *_DAMAGED) if is_cut_off else error
    if boxes and b"moov" not in boxes:
        return VideoError(source, "it was cut off: its index (moov) is missing", "copy or record it again")
    # FFmpeg refuses such a name of a picture without reading the file. Other names it reads: then the file is at fault.
    if re.search(r"%\d*d", path.name) and isinstance(error, av.error.ArgumentError):
        reason = "FFmpeg takes such a name for the pattern of a numbered picture sequence"
        return VideoError(source, reason, "rename it without the %")
    if boxes or (start.startswith(_CONTAINERS) and start[8:12] != b"WEBP"):
        return VideoError(source, *_DAMAGED)
    advice = f"give a video in a format that FFmpeg reads, such as MP4, MKV, AVI or WebM, or {CONVERT}"
    return VideoError(source, "it is not a video", advice)


def _mp4_boxes(path: Path, start: bytes) -> dict[bytes, int]:
    """Return where each outermost box ends; nothing if it is not an MP4."""
    ends, place = dict[bytes, int](), 0
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES if start[4:8] in _MP4_BOXES else 0):
            file.seek(place)
            header = file.read(16)  # the size (4 bytes), the name (4), and the size (8) if the first one is 1
            size = int.from_bytes(header[8:] if header[:4] == b"\0\0\0\1" else header[:4])
            place += size
            ends[header[4:8]] = place
            if size < 8 or place >= path.stat().st_size:  # size 0: to the end of the file
                break
    return ends


def _codec_without_decoder(stream: VideoStream) -> str:
    """Return FFmpeg's name of a codec.

    Without a decoder PyAV gives it only in FFmpeg's log, which is the whole process's, or in what FFmpeg writes.
    """
    header = io.BytesIO()
    with av.open(header, "w", format="framecrc") as output:  # a text that begins with what a stream is
        copy = output.add_mux_stream("h264")
        BitStreamFilterContext("null", stream, copy)  # gives it the codec of the other
        output.start_encoding()
    codec = re.search(rb"#codec_id 0: (?!none\b)(\w+)", header.getvalue())
    return codec[1].decode() if codec else "which FFmpeg does not know"
