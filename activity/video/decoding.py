"""One pass of FFmpeg's decoder over a video: its frames in the order and at the times at which a player shows them."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, cast

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from activity.video.clock import MOST_GAP_IN_STREAM_SECONDS, MOST_GAP_SECONDS, Clock, Stamped
from activity.video.errors import CONVERT, HANGS_AFTER_SECONDS, MOST_PIXELS, NO_FRAMES, VideoError, hanging, too_large
from activity.video.opening import claimed_size, open_file, other_videos
from activity.video.picture import Converter, Pixels, deinterlaced, square

_STREAM_FORMATS = ("mpegts", "mpeg", "mpegvideo")  # whose clock may start again
# Where a container's index leads to the key frame before a time. AVI's only where no frame is shown out of order.
_SEEKABLE_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_DURATION_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "gif")  # that say how long each frame lasts; others have a usual time
_LENGTH_FROM_ZERO = ("matroska,webm", "flv", "nut")  # and not from where the first stream begins
_SEEK_BACK_SECONDS = (0.0, 2.0, 10.0)  # a key frame found may be shown later than its place says
_FRAMES_BEFORE = 3  # of what is sought: deinterlacing compares with the frame before
_SEAM_PACKETS = 3  # so far before a key frame a parser may still be behind
_TRANSPORT_PACKETS = (188, 192, 204)  # bytes; the longer ones of cameras and broadcasts
_MOST_FAILURES = 50  # reads that fail one after the other
_LEAST_MISSING_SECONDS = 0.5  # containers round, and count a last frame or not
_DEFAULT_FPS = 25
_PADDING_BYTES = 16  # writers round sizes up, or count a header into them
_UNKNOWN_SIZES = (0, 0xFFFF_FFFF)  # of an AVI whose writer could not go back to its start


@dataclass(frozen=True)
class Damage:
    """What is missing of a video whose good frames were delivered: in words, and whether its end is."""

    problem: str
    ends_early: bool


@dataclass(slots=True, eq=False)
class Picture:
    """A decoded frame, its time on the player's clock, and whether it is to be given with square pixels."""

    frame: av.VideoFrame
    time_seconds: float
    stored_aspect: float
    is_squared: bool

    @property
    def pixel_aspect(self) -> float:
        """The width of a pixel by its height, of the frame as it is given, upright."""
        return 1.0 if self.is_squared else self.stored_aspect


class Decoding:
    """One pass over a video that was opened; reads from its start unless `seek` was called before.

    Args:
        source: what errors call it.
        container: closed by `close`.
        stream: of the container.
        on_frame: called after each frame that was decoded; what it raises ends the reading.
        hang_seconds: without a frame, after which reading is given up.
        square_pixels: resize each frame so that its pixels are as wide as high.
        is_live: frames come as they arrive, at times of `time.monotonic`. Neither a clock nor threads hold any back.
    """

    def __init__(
        self,
        source: str,
        container: InputContainer,
        stream: VideoStream,
        *,
        on_frame: Callable[[], None] = lambda: None,
        hang_seconds: float = HANGS_AFTER_SECONDS,
        is_live: bool = False,
        square_pixels: bool = False,
    ) -> None:
        self.source = source
        self.stream = stream
        self.frames = 0  # given so far
        self.time_seconds = 0.0  # of the last one
        self.is_at_end = False
        self.is_live = is_live
        self._square_pixels = square_pixels
        self._container = container
        self._on_frame = on_frame
        self._hang_seconds = hang_seconds
        self._converter = Converter()
        self._in_parts = container.format.name in _STREAM_FORMATS
        self._clock = Clock(most_gap_seconds=MOST_GAP_IN_STREAM_SECONDS if self._in_parts else MOST_GAP_SECONDS)
        self._tick = float(stream.time_base or 1)
        self._has_clock = cast(int | None, container.start_time) is not None
        self._stream_index, self._says_rate = stream.index, bool(stream.codec_context.framerate)
        self._late_seconds = 0.0
        self._is_raw = bool(container.format.flags & cast(int, Flags.no_timestamps.value))  # its times are only made up
        self._origin = self._start_seconds()
        self._fps = float(stream.codec_context.framerate or stream.guessed_rate or _DEFAULT_FPS)
        self.rate: Fraction = stream.average_rate or stream.guessed_rate or Fraction(_DEFAULT_FPS)
        """Frames a second, as the container or the codec says."""
        self._stored_aspect = float(stream.sample_aspect_ratio or 1)
        self._size = container.size
        self._length_seconds = (container.duration or 0) / av.time_base  # as its header says
        self.declared_seconds = self._declared_seconds()
        """When the container says that it ends, on the player's clock; 0 where it does not say."""
        self._others = [str(other.index) for other in other_videos(container, stream)]
        self._claimed_size = (stream.codec_context.width, stream.codec_context.height)
        # A subtitle or a time code may last beyond what is left of a file that is cut off: only its start counts.
        self._ticks = {other.index: float(other.time_base or 1) for other in container.streams}
        self._with_length = {other.index for other in container.streams if other.type in ("video", "audio")}
        self._packets: Iterator[Packet[Any]] | None = None
        self._entry_seconds: float | None = None  # of the key frame at which reading begins
        self._sought_seconds = 0.0
        self._last_interval = self._last_duration = 0.0
        self._begun = False
        self._read_to: dict[int, int] = {}  # by stream, the end of its packets
        self._num_packets = self._bad_packets = self._bad_pictures = 0
        self._last_is_bad = False
        self._flagged: list[int] = []  # packets that the container marks as damaged
        self._closed = False
        self._final_seconds = self._frame_at = 0.0
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        stream.thread_type = "AUTO"
        if is_live:
            stream.codec_context.thread_count = 1

    @classmethod
    def of_file(
        cls,
        source: str,
        *,
        square_pixels: bool = False,
        on_frame: Callable[[], None] = lambda: None,
        hang_seconds: float = HANGS_AFTER_SECONDS,
    ) -> Self:
        """Open a file; VideoError if it is not a video."""
        container, stream = open_file(source, hang_seconds=hang_seconds)
        return cls(source, container, stream, square_pixels=square_pixels, on_frame=on_frame, hang_seconds=hang_seconds)

    def __iter__(self) -> Iterator[Picture]:
        """Give the frames; VideoError where there is none, or decoding hangs."""
        aspect = self._stored_aspect
        for frame, seconds in self._timed():
            self._last_interval = seconds - self.time_seconds if self.frames else 0.0
            self.frames, self.time_seconds = self.frames + 1, seconds
            is_turned = aspect != 1.0 and self.orientation(frame)[0]
            yield Picture(frame, seconds, 1 / aspect if is_turned else aspect, self._square_pixels)
            self._check_open()
        if not self.frames:
            raise self._no_frames() if self._entry_seconds is None else SeekError
        self.is_at_end = True

    def rgb(self, picture: Picture, *, side: int | None = None) -> Pixels:
        """Return a frame as RGB ``uint8 (H, W, 3)``, upright; or shrunk to a square of that side, which is cheaper."""
        try:
            pixels = self._converter.rgb(picture.frame, side=side)
        except av.error.FFmpegError as error:
            reason = f"the frame at {picture.time_seconds:.2f} s cannot be converted ({error.strerror})"
            raise VideoError(self.source, reason, CONVERT) from None
        return square(pixels, picture.stored_aspect) if picture.is_squared and side is None else pixels

    def orientation(self, frame: av.VideoFrame) -> tuple[bool, bool, bool]:
        """Return how `rgb` turns a frame; see `Converter.orientation`."""
        return self._converter.orientation(frame)

    @functools.cached_property
    def can_seek(self) -> bool:
        """Whether the container has an index that can be trusted."""
        name = self._container.format.name
        in_order = name == "avi" and not self.stream.codec_context.has_b_frames
        if not self._has_clock or self._late_seconds or not (name in _SEEKABLE_FORMATS or in_order):
            return False
        if self.stream.frames > (self.declared_seconds - MOST_GAP_SECONDS) * float(self.stream.guessed_rate or 0):
            return True  # with so many frames no gap is so long that the clock would jump
        # Where it jumps, a time is not what the index says.
        entries = [entry.timestamp * self._tick for entry in self.stream.index_entries]
        return all(later - earlier <= MOST_GAP_SECONDS for earlier, later in itertools.pairwise(entries))

    def seek(self, seconds: float) -> bool:
        """Begin at the key frame before a time, so that what is shown then is decoded as from the start.

        False where that fails; then nothing more can be read here.
        """
        for back in _SEEK_BACK_SECONDS:
            latest = seconds - _FRAMES_BEFORE / self._fps
            try:
                self._container.seek(int((latest - back + self._origin) / self._tick), stream=self.stream)
                packets = self._container.demux()
                first = next(packet for packet in packets if packet.stream_index == self.stream.index and packet.size)
            except (av.error.FFmpegError, StopIteration):
                return False
            if first.pts is not None and first.is_keyframe and first.pts * self._tick - self._origin <= latest:
                self._entry_seconds = first.pts * self._tick - self._origin
                self._sought_seconds = seconds
                self._packets = itertools.chain([first], packets)
                return True
        return False

    def close(self) -> None:
        """Close the file; what was read of it can be asked on."""
        if not self._closed:
            try:
                self._final_seconds = self.duration_seconds
            finally:
                self._closed = True
                self._container.close()

    @property
    def is_whole(self) -> bool:
        """Whether it was read from its start to its end."""
        return self.is_at_end and self._entry_seconds is None

    @property
    def entry_seconds(self) -> float:
        """When the key frame is shown at which `seek` has it begin; 0 for the start."""
        return self._entry_seconds or 0.0

    @property
    def duration_seconds(self) -> float:
        """When the last frame ends, by its duration (MP4, GIF) or the interval before it; 0 for fewer than two."""
        if self._closed:
            return self._final_seconds
        if self.frames < 2:
            return 0.0
        end = self.time_seconds + self._last_interval
        if self._container.format.name in _DURATION_FORMATS and 0 < self._last_duration <= MOST_GAP_SECONDS:
            # In an MP4 with B-frames it may be that of another frame: it does not go beyond the video.
            own_end = self.time_seconds + self._last_duration
            end = min(own_end, max(end, self.declared_seconds)) if self.declared_seconds else own_end
        if not (self.is_at_end and self._container.format.name == "avi") or self._cut_off:
            return round(end, 9)
        # An AVI lists frames that only repeat the one before; no packet says so at its end.
        declared = ((self.stream.start_time or 0) + (self.stream.duration or 0)) * self._tick - self._origin
        return round(declared if 0 < declared - end <= MOST_GAP_SECONDS else end, 9)

    def notes(self) -> list[str]:
        """Say what was assumed of a good video."""
        notes = []
        if self._is_raw and not self._says_rate:
            notes.append(f"it does not say its frame rate: {self._fps:g} frames/s are assumed")
        if jumps := self._clock.jumps:
            times = "once" if len(jumps) == 1 else f"{len(jumps)} times"
            notes.append(f"its clock jumps {times}, first at {jumps[0]:.1f} s: what follows is taken to go on at once")
        if self._late_seconds:
            notes.append(f"its picture begins {self._late_seconds:.0f} s after its start: time 0 is the first picture")
        if self._others:
            others = ", ".join(self._others)
            notes.append(f"it holds further videos (streams {others}): only stream {self._stream_index} is read")
        return notes

    def damage(self) -> Damage | None:
        """At the end: what is missing, on evidence only; None for a good video."""
        cut = self._cut_off
        if cut or self._is_short() or self._last_is_bad:
            length = f"its frames end at {self.duration_seconds:.1f} s"
            if self.declared_seconds - self.duration_seconds >= 0.1:
                length += f", but it says it is {self.declared_seconds:.1f} s long"
            return Damage(f"{cut or 'it is cut off or damaged'}; {length}", ends_early=True)
        if bad := self._bad_packets:
            packets = "1 damaged packet" if bad == 1 else f"{bad} damaged packets"
            return Damage(f"{packets} in it could not be decoded and {'was' if bad == 1 else 'were'} left out", False)
        if bad := max(self._bad_pictures, len(self._flagged)):
            pictures = "1 of its pictures is" if bad == 1 else f"{bad} of its pictures are"
            return Damage(f"{pictures} damaged in part", ends_early=False)
        return None

    @functools.cached_property
    def _cut_off(self) -> str | None:
        """Say that bytes are missing, of containers that show it by their size."""
        name = self._container.format.name
        if name == "mpegts" and not self.is_live and all(self._size % packet for packet in _TRANSPORT_PACKETS):
            return "it is cut off within its last packet"
        return _missing_bytes(Path(self._container.name)) if name == "avi" else None

    def _is_short(self) -> bool:
        """Whether all packets end clearly before the length in the header of a container that has one."""
        if self._in_parts or self._is_raw or self._container.format.name == "avi":
            return False
        ends = max((end * self._ticks[index] for index, end in self._read_to.items()), default=0.0)
        return self._length_seconds - ends > max(_LEAST_MISSING_SECONDS, 2 / self._fps)

    def _timed(self) -> Iterator[tuple[av.VideoFrame, float]]:
        try:
            if not self.is_live:
                yield from self._clock.times(deinterlaced(self._stamped()))
                return
            # At the times of their arrival only interlaced frames wait for the next.
            for frame in deinterlaced(Stamped(frame, time.monotonic(), 0.0) for frame in self._decoded()):
                yield frame.item, frame.seconds or 0.0
        except av.error.FFmpegError as error:
            reason = f"the frame after {self.time_seconds:.2f} s cannot be deinterlaced ({error.strerror})"
            raise VideoError(self.source, reason, CONVERT) from None

    def _stamped(self) -> Iterator[Stamped[av.VideoFrame]]:
        for frame in self._decoded():
            pts = None if self._is_raw else frame.dts if frame.pts is None else frame.pts
            if not (self._begun or self._has_clock):  # of a video so short that FFmpeg cannot say where it begins
                self._origin = (pts or 0) * self._tick
            seconds = None if pts is None else pts * self._tick - self._origin
            if self._entry_seconds is not None:
                if seconds is None or seconds < self._entry_seconds:
                    continue  # it refers to pictures before the key frame
                if not self._begun and seconds > self._sought_seconds:
                    raise SeekError
            self._begun, self._last_duration = True, frame.duration * self._tick
            yield Stamped(frame, seconds, self._last_duration)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        self._frame_at, begun = time.monotonic(), False
        for packet in self._read():
            if packet is not None and packet.has_sidedata("encryption_info"):  # some of it may decode to noise
                raise VideoError(self.source, "it is encrypted", "give a copy without copy protection")
            try:
                frames = self.stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                frames = []
                self._bad_packets += packet is not None
            for frame in frames:
                begun = begun or frame.key_frame
                self._last_is_bad = frame.is_corrupt and self._container.format.name != "mpegts"
                # In streams those around a seam are marked, and good.
                self._bad_pictures += begun and frame.is_corrupt and not self._in_parts
                self._on_frame()
                yield frame
                self._frame_at = time.monotonic()
            self._check_open()

    def _read(self) -> Iterator["Packet[Any] | None"]:
        """The packets of the video, then None; reading goes on behind damage.

        A packet that is cut off is left out where it is the last: PyAV gives none of the frames that the decoder still
        holds where one of them fails.
        """
        failures = 0
        cut: Packet[Any] | None = None
        while failures < _MOST_FAILURES:
            packets, self._packets = self._packets or self._container.demux(), None
            try:
                for packet in packets:
                    failures = 0
                    if time.monotonic() - self._frame_at > self._hang_seconds:  # also where its sound goes on
                        raise hanging(self.source, self._hang_seconds)
                    if packet.pts is not None:
                        lasts = packet.duration or 0 if packet.stream_index in self._with_length else 0
                        end = packet.pts + lasts
                        self._read_to[packet.stream_index] = max(end, self._read_to.get(packet.stream_index, end))
                    if packet.stream_index != self.stream.index or not packet.size:
                        continue
                    if cut is not None:
                        yield cut
                    self._note_damage(packet)
                    cut = packet if packet.is_corrupt else None
                    if cut is None:
                        yield packet
                    self._check_open()
                break
            except av.error.ExitError:
                raise hanging(self.source, self._hang_seconds) from None
            except av.error.FFmpegError:
                failures += 1
                self._bad_packets += failures == 1
        yield None
        self._last_is_bad |= cut is not None

    def _note_damage(self, packet: "Packet[Any]") -> None:
        self._num_packets += 1
        if self._in_parts and packet.is_keyframe:  # what is marked just before it is a seam, where streams were joined
            self._flagged = [number for number in self._flagged if self._num_packets - number > _SEAM_PACKETS]
        if packet.is_corrupt:
            self._flagged.append(self._num_packets)

    def _start_seconds(self) -> float:
        """The container's time that a player shows as 0: where its first stream begins, sound or picture.

        It is the picture's where that begins so much later that the clocks are not the same, as in a broadcast of
        several programmes.
        """
        if not self._has_clock:
            return 0.0
        picture, start = (self.stream.start_time or 0) * self._tick, self._container.start_time / av.time_base
        if picture - start > (MOST_GAP_IN_STREAM_SECONDS if self._in_parts else MOST_GAP_SECONDS):
            self._late_seconds = picture - start
            return picture
        return picture if abs(start - picture) < 2 / av.time_base else start  # it is rounded to microseconds

    def _declared_seconds(self) -> float:
        if self._is_raw:  # FFmpeg guesses from the bit rate
            return 0.0
        if self._container.format.name == "avi":  # FFmpeg takes what is there of one that is cut off for its length
            return self.stream.frames / float(self.rate)
        hidden = self._origin if self._container.format.name in _LENGTH_FROM_ZERO else 0.0
        return max(0.0, self._length_seconds - hidden)

    def _no_frames(self) -> VideoError:
        width, height = self._claimed_size
        if not width * height:
            width, height = claimed_size(Path(self._container.name))
        if width * height > MOST_PIXELS:
            return too_large(self.source, width, height)
        return VideoError(self.source, NO_FRAMES, CONVERT)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.source} was closed while it was being read; iterate again from the start.")


class SeekError(Exception):
    """The frames behind a key frame do not begin where they should; the video is to be read from its start."""


def _missing_bytes(path: Path) -> str | None:
    """Where an AVI has fewer bytes than its outermost chunks declare, say so: those above 1 GB have several."""
    if not path.is_file():  # it is read from a server
        return None
    size = path.stat().st_size
    declared = 0
    with path.open("rb") as file:
        while (header := file.read(8))[:4] == b"RIFF" and len(header) == 8:
            length = int.from_bytes(header[4:], "little")
            if length in _UNKNOWN_SIZES:
                return None
            declared = file.seek(length + length % 2, 1)
    if declared - size <= _PADDING_BYTES:
        return None
    share = max(0.1, 100 * (declared - size) / declared)
    return f"it is cut off: {declared - size:,} of the {declared:,} bytes that it declares are missing ({share:.1f} %)"
