"""Damage of a video, on evidence only: decoding errors, missing bytes, a truncated structure."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_SEAM_PACKETS = 3  # so far before a key frame a parser may still be behind
_TRANSPORT_PACKETS = (188, 192, 204)  # bytes; the longer ones of cameras and broadcasts
_LEAST_MISSING_SECONDS = 0.5  # containers round, and count a last frame or not
_PADDING_BYTES = 16  # writers round sizes up, or count a header into them
_UNKNOWN_SIZES = (0, 0xFFFF_FFFF)  # of an AVI whose writer could not go back to its start


@dataclass(frozen=True)
class Damage:
    """What is missing of a video, and whether that is its end."""

    problem: str
    ends_early: bool


class Evidence:
    """Collects signs of damage while a video is read.

    Args:
        container: of the video.
        stream: the one that is read.
        is_stream: whether it is a transport or program stream.
        has_length: whether the container's header tells how long it is.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, is_stream: bool, has_length: bool) -> None:
        self.bad_packets = 0
        """Packets that could not be read or decoded."""
        self.last_is_bad = False
        """Whether the last packet or frame is damaged."""
        self._is_stream = is_stream
        self._format, self._path, self._size = container.format.name, Path(container.name), container.size
        self._header_seconds = (container.duration or 0) / av.time_base if has_length else 0.0
        self._stream_index = stream.index
        # A subtitle or a time code may last beyond what is left of a file that is cut off: only its start counts.
        self._with_length = {other.index for other in container.streams if other.type in ("video", "audio")}
        self._tick = {other.index: float(other.time_base or 1) for other in container.streams}
        self._packets_end = 0.0  # of all streams, in seconds
        self._packets = self._bad_pictures = 0
        self._marked: list[int] = []  # numbers of the packets that the container marks as damaged
        self._begun = False

    def add_packet(self, packet: "Packet[Any]") -> None:
        """Take a packet of any stream, as the container gives it."""
        if packet.pts is not None:
            length = packet.duration or 0 if packet.stream_index in self._with_length else 0
            self._packets_end = max(self._packets_end, (packet.pts + length) * self._tick[packet.stream_index])
        if packet.stream_index != self._stream_index or not packet.size:
            return
        self._packets += 1
        if self._is_stream and packet.is_keyframe:  # a mark just before it is of a seam, where streams were joined
            self._marked = [number for number in self._marked if self._packets - number > _SEAM_PACKETS]
        if packet.is_corrupt:
            self._marked.append(self._packets)

    def add_frame(self, frame: av.VideoFrame) -> None:
        """Take a decoded frame.

        Until the first key frame, frames of a good recording may be damaged.
        """
        self._begun = self._begun or frame.key_frame
        # FFmpeg marks the last frame of a transport stream by chance, and good frames around a seam.
        self.last_is_bad = frame.is_corrupt and self._format != "mpegts"
        self._bad_pictures += self._begun and frame.is_corrupt and not self._is_stream

    def damage(self, *, duration_seconds: float, declared_seconds: float, frame_seconds: float) -> Damage | None:
        """At the end: what is missing; None for a good video."""
        missing_seconds = self._header_seconds - self._packets_end
        is_short = missing_seconds > max(_LEAST_MISSING_SECONDS, 2 * frame_seconds)
        if self.missing_bytes or is_short or self.last_is_bad:
            length = f"its frames end at {duration_seconds:.1f} s"
            if declared_seconds - duration_seconds >= 0.1:
                length += f", but it says it is {declared_seconds:.1f} s long"
            return Damage(f"{self.missing_bytes or 'it is cut off or damaged'}; {length}", ends_early=True)
        if bad := self.bad_packets:
            packets = "1 damaged packet" if bad == 1 else f"{bad} damaged packets"
            return Damage(f"{packets} in it could not be decoded and {'was' if bad == 1 else 'were'} left out", False)
        if bad := max(self._bad_pictures, len(self._marked)):
            pictures = "1 of its pictures is" if bad == 1 else f"{bad} of its pictures are"
            return Damage(f"{pictures} damaged in part", ends_early=False)
        return None

    @functools.cached_property
    def missing_bytes(self) -> str | None:
        """Say that bytes are missing, of formats that show it by their size."""
        if self._format == "mpegts" and self._size > 0 and all(self._size % packet for packet in _TRANSPORT_PACKETS):
            return "it is cut off within its last packet"
        return _missing_bytes(self._path) if self._format == "avi" and self._path.is_file() else None


def _missing_bytes(avi: Path) -> str | None:
    """Compare an AVI's size with that in its outermost chunks.

    An AVI above 1 GB has several.
    """
    size, declared = avi.stat().st_size, 0
    with avi.open("rb") as file:
        while (header := file.read(8))[:4] == b"RIFF" and len(header) == 8:
            length = int.from_bytes(header[4:], "little")
            if length in _UNKNOWN_SIZES:
                return None
            declared = file.seek(length + length % 2, 1)
    if declared - size <= _PADDING_BYTES:
        return None
    share = max(0.1, 100 * (declared - size) / declared)
    return f"it is cut off: {declared - size:,} of the {declared:,} bytes that it declares are missing ({share:.1f} %)"
