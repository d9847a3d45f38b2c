"""What a container says of its own bytes: whether the file ends before it should, and which frames are in it.

Only headers are read, so it costs nothing beside decoding. Known are MP4 (and MOV, which is built alike) and AVI.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from activity.video.container import first_bytes, is_mp4, mp4_boxes

# Without one of these no picture can be shown. What follows them, padding and notes of cameras, may be anything.
_NEEDED_BOXES = (b"mdat", b"moof", b"moov")
# Writers round sizes up, or count a header into them.
_PADDING_BYTES = 16
_LARGEST_INDEX = 64 << 20  # bytes: of four million frames, a day and a half
_MOST_CHUNKS = 10_000  # outermost ones; there are a few
_UNKNOWN_SIZES = (0, 0xFFFF_FFFF)  # of an AVI whose writer could not go back to its start
# FFmpeg's MAX_NVOP_SIZE: an MPEG-4 frame with so little in it only says that the one before is still shown. An empty
# one says so in any codec.
_REPEAT_BYTES = 19
_INDEX_ENTRY = np.dtype([("name", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])


def cut_off(path: Path) -> str | None:
    """Where the file has fewer bytes than its container declares, say so; None where it has all, or says nothing.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "holiday.avi")
    >>> _ = path.write_bytes(b"RIFF" + (992).to_bytes(4, "little") + b"AVI " + bytes(788))
    >>> cut_off(path)
    'it is cut off: 200 of the 1,000 bytes that it declares are missing (20.0 %)'
    """
    declared = _declared_bytes(path)
    missing = declared - path.stat().st_size
    if missing <= _PADDING_BYTES:
        return None
    share = max(0.1, 100 * missing / declared)
    return f"it is cut off: {missing:,} of the {declared:,} bytes that it declares are missing ({share:.1f} %)"


def listed_frames(path: Path) -> int:
    """How many frames the index of an AVI lists, without those that only repeat the one before; 0 where it has none."""
    index = _avi_index(path) if _is_avi(path) else b""
    if not index:
        return 0
    entries = np.frombuffer(index, _INDEX_ENTRY)
    names = entries["name"]
    # 00dc is a frame of stream 0, 00db one that is not compressed. OpenCV reads the first stream with pictures.
    streams = sorted({name[:2] for name in np.unique(names) if name[2:] in (b"dc", b"db")})
    if not streams:
        return 0
    own = np.isin(names, [streams[0] + kind for kind in (b"dc", b"db")]) & (entries["size"] > _REPEAT_BYTES)
    return len(np.unique(entries["offset"][own]))


def _declared_bytes(path: Path) -> int:
    """Where the file must end by what is written in it; 0 where nothing is."""
    if is_mp4(path):
        return max((end for name, end in mp4_boxes(path).items() if name in _NEEDED_BOXES), default=0)
    return _avi_end(path) if _is_avi(path) else 0


def _is_avi(path: Path) -> bool:
    first = first_bytes(path)
    return first[:4] == b"RIFF" and first[8:] == b"AVI "


def _avi_end(path: Path) -> int:
    """Where the last RIFF chunk ends: AVIs above 1 GB have several."""
    declared = 0
    with path.open("rb") as file:
        for name, start, size in _chunks(file, 0):
            if name != b"RIFF" or size in _UNKNOWN_SIZES:
                break
            declared = start + size
    return declared


def _avi_index(path: Path) -> bytes:
    """The index of the first RIFF chunk, whole entries of it; empty where there is none."""
    with path.open("rb") as file:
        for name, start, size in _chunks(file, 12):
            if name == b"idx1":
                file.seek(start)
                if size > _LARGEST_INDEX:  # it is not believed
                    return b""
                data = file.read(size)
                return data[: len(data) // _INDEX_ENTRY.itemsize * _INDEX_ENTRY.itemsize]
            if size in _UNKNOWN_SIZES:
                break
    return b""


def _chunks(file: BinaryIO, start: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and size of each chunk from `start` on: a name (4 bytes), a size (4), data of an even size."""
    for _ in range(_MOST_CHUNKS):
        file.seek(start)
        if len(header := file.read(8)) < 8:
            return
        size = int.from_bytes(header[4:], "little")
        yield header[:4], start + 8, size
        start += 8 + size + size % 2
