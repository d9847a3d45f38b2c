"""What the first bytes of a file say of it: where FFmpeg cannot read it, this is why."""

import re
from collections.abc import Iterator
from pathlib import Path

# First bytes of a media file (MP4 has its own at byte 4): where FFmpeg finds no video in one, it holds none.
_CONTAINERS = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"ID3", b"fLaC", b"0&\xb2u", b"\x00\x00\x01\xba")
# Files that hold no video but say where one is. Reading such a file would open what it names: other files of the
# user, or addresses.
_PLAYLISTS = {
    "an HLS playlist": rb"\s*#EXTM3U",
    "a list of files for FFmpeg to join": rb"\s*ffconcat\s+version",
    "a DASH manifest": rb"(?s).{0,500}<MPD[\s>]",
    "a streaming manifest": rb"(?s).{0,500}<SmoothStreamingMedia[\s>]",
    "a playlist": rb"(?is)\s*(\[playlist\]|\[reference\]|<asx[\s>]|<\?wpl|.{0,500}<smil[\s>])",
    "a description of a network stream (SDP)": rb"\s*v=0\r?\n(?s:.*)^[cm]=",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_START, _SEARCHED = 2_048, 1 << 20  # bytes
_MOST_BOXES = 10_000


def playlist_kind(path: Path) -> str | None:
    """What kind of playlist a file is, in words, whatever its name; None where it is none.

    FFmpeg is not let read any (`decoder.VIDEO_FORMATS`); this says what was given.
    """
    with path.open("rb") as file:
        start = file.read(_START).removeprefix(_BYTE_ORDER_MARK)
    return next((kind for kind, bytes_ in _PLAYLISTS.items() if re.match(bytes_, start, re.MULTILINE)), None)


def is_media(path: Path) -> bool:
    """Whether it starts as files of sound and pictures do."""
    return is_mp4(path) or _first_bytes(path).startswith(_CONTAINERS)


def is_mp4(path: Path) -> bool:
    """Whether it is MP4, MOV or the like."""
    return _first_bytes(path)[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")


def has_index(path: Path) -> bool:
    """Whether an MP4 file has its index, which is written last: without it nothing can be read."""
    return b"moov" in _mp4_boxes(path)


def claimed_size(path: Path) -> tuple[int, int] | None:
    """Width and height of the picture as the header of an AVI or MP4 file says; the pictures in it may differ."""
    with path.open("rb") as file:
        start = file.read(_SEARCHED)
        file.seek(max(0, path.stat().st_size - _SEARCHED))
        end = file.read(_SEARCHED)
    if start.startswith(b"RIFF") and (place := start.find(b"avih")) >= 0:
        header = start[place + 40 : place + 48]
        return int.from_bytes(header[:4], "little"), int.from_bytes(header[4:], "little")
    sizes = (*_mp4_sizes(start), *_mp4_sizes(end)) if is_mp4(path) else ()
    return next((size for size in sizes if size != (0, 0)), None)  # that of sound is 0 x 0


def _mp4_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """The last 8 bytes of each track's header: its width and height, in units of 1 / 65536."""
    for found in re.finditer(rb"tkhd(.)", data, re.DOTALL):
        place = found.start() + (92 if found[1] == b"\1" else 80)  # version 1 has longer times
        yield int.from_bytes(data[place : place + 2]), int.from_bytes(data[place + 4 : place + 6])


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _mp4_boxes(path: Path) -> set[bytes]:
    """The names of the outermost boxes: each is a size (4 bytes), a name (4), for size 1 the size (8)."""
    names, place, end = set(), 0, path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            file.seek(place)
            header = file.read(16)
            size, length = int.from_bytes(header[:4]), 8
            if size == 1:
                size, length = int.from_bytes(header[8:16]), 16
            names.add(header[4:8])
            place += size
            if size < length or place >= end:  # 0: to the end of the file
                break
    return names
