"""Damage of a video, on evidence only."""

import functools
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from activity.video.clock import MOST_GAP_IN_STREAM_SECONDS

_SEAM_PACKETS = 3  # so far before a key frame a parser may still be behind
_TRANSPORT_BYTES, _TRANSPORT_STEPS = 188, (188, 192, 204)  # of a packet; to the next, of cameras and broadcasts
_LEAST_MISSING_SECONDS = 0.5  # containers round, count a last frame or not, and are joined with small gaps
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
        frame_seconds: the usual time from frame to frame.
        may_restart: whether its clock may start again, as in a transport or program stream.
        header_end_seconds: when it ends, on the container's clock, as the header says; 0 if it does not say.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        frame_seconds: float,
        may_restart: bool,
        header_end_seconds: float,
    ) -> None:
        self.bad_packets = 0
        """Packets that could not be read or decoded."""
        self.ends_badly = False
        """Whether the last packet is cut off, or the decoder fails at the end."""
        self._last_is_bad = False  # of the frames
        self._frame_seconds, self._may_restart = frame_seconds, may_restart
        self._header_end_seconds = header_end_seconds
        self._format, self._path = container.format.name, Path(container.name)
        self._stream_index = stream.index
        # A subtitle or a time code may last beyond what is left of a file that is cut off: only its start counts.
        self._with_length = {other.index for other in container.streams if other.type in ("video", "audio")}
        self._tick = {other.index: float(other.time_base or 1) for other in container.streams}
        self._packets_end = 0.0  # of all streams, in seconds
        self._packets = self._bad_pictures = 0
        self._marked: list[int] = []  # numbers of the packets that the container marks as damaged
        self._had_key_frame = False
        self._latest_dts: int | None = None

    def add_packet(self, packet: "Packet[Any]") -> None:
        """Take a packet of any stream, as the container gives it."""
        if packet.pts is not None:
            length = packet.duration or 0 if packet.stream_index in self._with_length else 0
            self._packets_end = max(self._packets_end, (packet.pts + length) * self._tick[packet.stream_index])
        if packet.stream_index != self._stream_index or not packet.size:
            return
        self._packets += 1
        if self._may_restart and packet.is_keyframe and not self._is_after_gap(packet):
            # A mark just before it is of a seam, where streams were joined and nothing is missing.
            self._marked = [number for number in self._marked if self._packets - number > _SEAM_PACKETS]
        self._latest_dts = packet.dts
        if packet.is_corrupt:
            self._marked.append(self._packets)

    def add_frame(self, frame: av.VideoFrame) -> None:
        """Take a decoded frame.

        Until the first key frame, frames of a good recording may be damaged.
        """
        self._had_key_frame = self._had_key_frame or frame.key_frame
        # FFmpeg marks the last frame of a transport stream by chance, and good frames around a seam.
        self._last_is_bad = frame.is_corrupt and self._format != "mpegts"
        self._bad_pictures += self._had_key_frame and frame.is_corrupt and not self._may_restart

    def _is_after_gap(self, packet: "Packet[Any]") -> bool:
        """Whether pictures are missing before a packet; a clock that starts again leaves no gap."""
        if packet.dts is None or self._latest_dts is None:
            return False
        step = (packet.dts - self._latest_dts) * self._tick[packet.stream_index]
        return max(_LEAST_MISSING_SECONDS, 2 * self._frame_seconds) < step <= MOST_GAP_IN_STREAM_SECONDS

    def damage(self, *, duration_seconds: float, declared_seconds: float) -> Damage | None:
        """At the end: what is missing; None for a good video."""
        missing_seconds = self._header_end_seconds - self._packets_end
        is_short = missing_seconds > max(_LEAST_MISSING_SECONDS, 2 * self._frame_seconds)
        if self.missing_bytes or is_short or self.ends_badly or self._last_is_bad:
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
        """What is missing of a file that shows it by its size."""
        if self._format not in ("mpegts", "avi") or not self._path.is_file():
            return None
        return _missing_of_packet(self._path) if self._format == "mpegts" else _missing_bytes(self._path)


def _missing_of_packet(transport_stream: Path) -> str | None:
    """Tell whether the last packet begins, with 0x47, but is not whole.

    What precedes the first packet, or follows the last, may be anything.
    """
    with transport_stream.open("rb") as file:
        start, size = file.read(5 * max(_TRANSPORT_STEPS)), file.seek(0, os.SEEK_END)
        for step, offset in itertools.product(_TRANSPORT_STEPS, range(max(_TRANSPORT_STEPS))):
            if start[offset : offset + 4 * step : step] == b"\x47" * 4:
                file.seek(offset + (size - offset) // step * step)
                rest = file.read(_TRANSPORT_BYTES)
                is_cut = rest[:1] == b"\x47" and len(rest) < _TRANSPORT_BYTES
                return "it is cut off within its last packet" if is_cut else None
    return None


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
