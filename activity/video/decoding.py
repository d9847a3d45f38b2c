"""FFmpeg's decoder: a video's frames as a player shows them."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, cast

import av
import cv2
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from activity.video.clock import MOST_GAP_IN_STREAM_SECONDS, MOST_GAP_SECONDS, Clock, Sound, Stamped
from activity.video.damage import Damage, Evidence
from activity.video.errors import CONVERT, HANGS_AFTER_SECONDS, MOST_PIXELS, VideoError, hanging
from activity.video.opening import no_frames, open_file, other_videos
from activity.video.picture import Converter, Pixels, deinterlaced

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"  # FFmpeg's name of the format
_RESTARTING_FORMATS = ("mpegts", "mpeg", "mpegvideo")  # transport and program streams: their clock may start again
# Where a container's index leads to the key frame before a time. AVI's only where no frame is shown out of order.
_SEEKABLE_FORMATS = (_MP4, "matroska,webm")
_DURATION_FORMATS = (_MP4, "gif")  # that say how long each frame lasts; others have a usual time
_LENGTH_FROM_ZERO = ("matroska,webm", "nut", "asf", "flv")  # not from the start of the first stream; FLV: perhaps
_SEEK_BACK_SECONDS = (0.0, 2.0, 10.0)  # a key frame may be shown later than the index says
_FRAMES_BEFORE = 3  # decoded before the time sought: deinterlacing compares with the frame before
_MOST_FAILURES = 50  # reads that fail one after the other
_DEFAULT_FPS = 25
_MOST_THREADS = 16  # as FFmpeg
# It hides no damage, so that a picture would show what memory held before. Containers mark what is damaged.
_CODEC_OPTIONS = {"hevc": {"err_detect": "explode"}}
_SMALL_PIXELS, _LARGE_PIXELS = 320 * 180, 1280 * 720


@dataclass(slots=True, eq=False)
class Picture:
    """A decoded frame, and its time on the player's clock."""

    frame: av.VideoFrame
    time_seconds: float


class SeekError(Exception):
    """No frame follows the key frame where it should: read from the start."""


class Decoding:
    """One pass over an open video, from its start or from a key frame.

    Args:
        source: what errors call it.
        container: closed by `close`.
        stream: of the container.
        on_frame: called after each decoded frame; what it raises ends the reading.
        hang_seconds: without a frame, after which reading is given up.
        square_pixels: resize each frame so that its pixels are as wide as high.
        is_live: frames come as they arrive, at times of `time.monotonic`. Neither a clock nor threads delay any.
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
        self.source, self.stream, self.is_live = source, stream, is_live
        self.frames = 0
        """Given so far."""
        self.time_seconds = 0.0
        """Of the last frame."""
        self.is_at_end = False
        self.rate: Fraction = stream.average_rate or stream.guessed_rate or Fraction(_DEFAULT_FPS)
        """Frames a second, as the container or the codec says."""
        self._container, self._on_frame, self._hang_seconds = container, on_frame, hang_seconds
        self._format = container.format.name
        self._may_restart = self._format in _RESTARTING_FORMATS
        # The times of raw video are made up by FFmpeg, and its length is guessed from the bit rate.
        self._is_raw = bool(container.format.flags & cast(int, Flags.no_timestamps.value))
        self._has_clock = cast(int | None, container.start_time) is not None
        self._tick = float(stream.time_base or 1)
        self._fps = float(stream.codec_context.framerate or stream.guessed_rate or _DEFAULT_FPS)
        self._most_gap_seconds = MOST_GAP_IN_STREAM_SECONDS if self._may_restart else MOST_GAP_SECONDS
        self._origin, self._late_seconds = self._start_seconds()
        self.declared_seconds = 0.0 if self._is_raw else self._declared_seconds()
        """When the container says that it ends, on the player's clock; 0 where it does not say."""
        # An AVI lists frames that only repeat the one before; no packet says so at its end.
        self._list_end_seconds = ((stream.start_time or 0) + (stream.duration or 0)) * self._tick - self._origin
        self._evidence = Evidence(
            container,
            stream,
            frame_seconds=1 / self._fps,
            may_restart=self._may_restart,
            header_end_seconds=self._header_end_seconds(),
        )
        self._clock = Clock(most_gap_seconds=self._most_gap_seconds)
        self._sound = Sound(most_gap_seconds=self._most_gap_seconds)
        self._sound_ticks = {sound.index: float(sound.time_base or 1) for sound in container.streams.audio}
        self._converter = Converter(float(stream.sample_aspect_ratio or 1), square_pixels=square_pixels)
        self._packets: Iterator[Packet[Any]] | None = None
        self.entry_seconds: float | None = None
        """When the key frame is shown at which `seek` has reading begin; None for the start."""
        self._sought_seconds = self._last_interval = self._last_duration = self._frame_at = 0.0
        self._had_frame = self._closed = False
        self._claimed_size = (stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS), **_CODEC_OPTIONS.get(self._format, {})}
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 1 if is_live else self._num_threads()

    @classmethod
    def of_file(
        cls,
        source: str,
        *,
        square_pixels: bool = False,
        on_frame: Callable[[], None] = lambda: None,
    ) -> Self:
        """Open a file; VideoError if it is not a video."""
        container, stream = open_file(source, hang_seconds=HANGS_AFTER_SECONDS)
        return cls(source, container, stream, square_pixels=square_pixels, on_frame=on_frame)

    def __iter__(self) -> Iterator[Picture]:
        """Give the frames; VideoError if there is none, or decoding hangs."""
        for frame, seconds in self._timed():
            self._last_interval = seconds - self.time_seconds if self.frames else 0.0
            self.frames, self.time_seconds = self.frames + 1, seconds
            yield Picture(frame, seconds)
            self._check_open()
        if self.entry_seconds is not None and self.frames < 2:  # one frame alone does not tell how long it lasts
            raise SeekError
        if not self.frames:
            raise no_frames(self.source, Path(self._container.name), self._claimed_size)
        self.is_at_end = True

    def rgb(self, picture: Picture, *, side: int | None = None) -> Pixels:
        """Return a frame as RGB ``uint8 (H, W, 3)``, upright.

        With `side` it is shrunk to a square of that side.
        """
        try:
            return self._converter.rgb(picture.frame, side=side)
        except av.error.FFmpegError as error:
            reason = f"the frame at {picture.time_seconds:.2f} s cannot be converted ({error.strerror})"
            raise VideoError(self.source, reason, CONVERT) from None

    def pixel_aspect(self, picture: Picture) -> float:
        """Return a pixel's width by its height, as `rgb` gives it."""
        return self._converter.pixel_aspect(picture.frame)

    def orientation(self, frame: av.VideoFrame) -> tuple[bool, bool, bool]:
        """Return how `rgb` turns a frame; see `Converter.orientation`."""
        return self._converter.orientation(frame)

    @functools.cached_property
    def can_seek(self) -> bool:
        """Whether the container has an index that can be trusted."""
        in_order = self._format == "avi" and not self.stream.codec_context.has_b_frames
        return self._has_clock and not self._late_seconds and (self._format in _SEEKABLE_FORMATS or in_order)

    def seek(self, seconds: float) -> bool:
        """Begin at a key frame, so early that frames at `seconds` are right.

        False if that fails; then nothing more can be read here.
        """
        latest = seconds - _FRAMES_BEFORE / self._fps
        for back in _SEEK_BACK_SECONDS:
            try:
                self._container.seek(int((latest - back + self._origin) / self._tick), stream=self.stream)
                packets = self._container.demux()
                first = next(packet for packet in packets if packet.stream_index == self.stream.index and packet.size)
            except (av.error.FFmpegError, StopIteration):
                return False
            entry = latest + 1 if first.pts is None else first.pts * self._tick - self._origin
            if first.is_keyframe and entry <= latest:
                if self._may_jump_before(entry):
                    return False
                self.entry_seconds, self._sought_seconds = entry, seconds
                self._packets = itertools.chain([first], packets)
                return True
        return False

    def close(self) -> None:
        """Close the file; its duration and damage can still be asked for."""
        self._closed = True
        self._container.close()

    @property
    def is_whole(self) -> bool:
        """Whether it was read from its start to its end."""
        return self.is_at_end and self.entry_seconds is None

    @property
    def duration_seconds(self) -> float:
        """When the last frame ends; 0 for fewer than two frames.

        It lasts as long as it says (MP4, GIF), or else as long as the one before.
        """
        if self.frames < 2:
            return 0.0
        end = self.time_seconds + self._last_interval
        if self._format in _DURATION_FORMATS and 0 < self._last_duration <= MOST_GAP_SECONDS:
            # In an MP4 with B-frames it may be that of another frame, so it does not go beyond the video.
            by_duration = self.time_seconds + self._last_duration
            end = min(by_duration, max(end, self.declared_seconds)) if self.declared_seconds else by_duration
        elif self._format == "avi" and self.is_at_end and not self._evidence.missing_bytes:
            end = self._list_end_seconds if 0 < self._list_end_seconds - end <= MOST_GAP_SECONDS else end
        return round(end, 9)

    def notes(self) -> list[str]:
        """Say what was assumed of a good video; ask before closing it."""
        notes = []
        if self._is_raw and not self.stream.codec_context.framerate:
            notes.append(f"it does not say its frame rate: {self._fps:g} frames/s are assumed")
        if jumps := self._clock.jumps:
            times = "once" if len(jumps) == 1 else f"{len(jumps)} times"
            notes.append(f"its clock jumps {times}, first at {jumps[0]:.1f} s: what follows is taken to go on at once")
        if self._late_seconds:
            notes.append(f"its picture begins {self._late_seconds:.0f} s after its start: time 0 is the first picture")
        if others := ", ".join(str(other.index) for other in other_videos(self._container, self.stream)):
            notes.append(f"it holds further videos (streams {others}): only stream {self.stream.index} is read")
        return notes

    def damage(self) -> Damage | None:
        """At the end: what is missing; None for a good video."""
        return self._evidence.damage(duration_seconds=self.duration_seconds, declared_seconds=self.declared_seconds)

    def _timed(self) -> Iterator[tuple[av.VideoFrame, float]]:
        try:
            if not self.is_live:
                yield from self._clock.times(deinterlaced(self._stamped()))
                return
            # At the times of their arrival only interlaced frames wait for the next.
            for stamped in deinterlaced(Stamped(frame, time.monotonic(), 0.0) for frame in self._decoded()):
                yield stamped.frame, stamped.seconds or 0.0
        except av.error.FFmpegError as error:
            reason = f"the frame after {self.time_seconds:.2f} s cannot be deinterlaced ({error.strerror})"
            raise VideoError(self.source, reason, CONVERT) from None

    def _stamped(self) -> Iterator[Stamped[av.VideoFrame]]:
        before = 0.0
        for frame in self._decoded():
            pts = frame.dts if frame.pts is None else frame.pts
            if self._is_raw:
                pts = None
            if not self._had_frame:
                self._correct_origin(pts)
            seconds = None if pts is None else pts * self._tick - self._origin
            if self.entry_seconds is not None:
                if seconds is None or seconds < self.entry_seconds:
                    continue  # it refers to pictures before the key frame
                if not self._had_frame and seconds > self._sought_seconds:
                    raise SeekError
            self._had_frame, self._last_duration = True, frame.duration * self._tick
            follows_pause = False
            if seconds is not None:
                if seconds - before > self._most_gap_seconds:
                    follows_pause = self._sound.spans(before + self._origin, seconds + self._origin)
                before = seconds
            yield Stamped(frame, seconds, self._last_duration, follows_pause)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        self._frame_at = time.monotonic()
        for packet in self._good_packets():
            self._check_open()
            # Some of what is encrypted may decode to noise. MP4 alone says that a packet is; asking costs time.
            if packet is not None and self._format == _MP4 and packet.has_sidedata("encryption_info"):
                raise VideoError(self.source, "it is encrypted", "give a copy without copy protection")
            for frame in self._decode(packet):
                self._evidence.add_frame(frame)
                self._on_frame()
                yield frame
                self._frame_at = time.monotonic()

    def _decode(self, packet: "Packet[Any] | None") -> list[av.VideoFrame]:
        for _ in range(_MOST_FAILURES):
            try:
                return self.stream.codec_context.decode(packet)
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                self._evidence.bad_packets += 1
                if packet is not None:
                    break
                self._evidence.ends_badly = True  # good frames before it are still in the decoder: ask again
        return []

    def _good_packets(self) -> Iterator["Packet[Any] | None"]:
        """The packets of the video, then None.

        A packet that is cut off is left out where it is the last: PyAV gives none of the frames that the decoder still
        holds where one of them fails.
        """
        cut: Packet[Any] | None = None
        for packet in self._read():
            if cut is not None:
                yield cut
            cut = packet if packet.is_corrupt else None
            if cut is None:
                yield packet
        yield None
        self._evidence.ends_badly |= cut is not None

    def _read(self) -> Iterator["Packet[Any]"]:
        """The packets of the video; reading goes on behind damage."""
        failures, is_alone = 0, False
        while failures < _MOST_FAILURES:
            packets, self._packets = self._packets or self._container.demux(), None
            try:
                for packet in packets:
                    failures = 0
                    if time.monotonic() - self._frame_at > self._hang_seconds:  # also where its sound goes on
                        raise hanging(self.source, self._hang_seconds)
                    self._evidence.add_packet(packet)
                    if packet.stream_index == self.stream.index and packet.size:
                        yield packet
                    elif packet.pts is not None and (tick := self._sound_ticks.get(packet.stream_index)):
                        self._sound.add(packet.stream_index, packet.pts * tick)
                    self._check_open()
                if is_alone or self._format != _MP4:
                    return
                # Sound that is cut off ends the reading of an MP4 whose picture goes on.
                is_alone = True
                for other in self._container.streams:
                    other.discard = Discard.default if other.index == self.stream.index else Discard.all
            except av.error.ExitError:
                raise hanging(self.source, self._hang_seconds) from None
            except av.error.FFmpegError:
                failures += 1
                self._evidence.bad_packets += failures == 1

    def _start_seconds(self) -> tuple[float, float]:
        """The container's time that players show as 0, and the picture's delay.

        A player shows 0 where the first stream begins, sound or picture. A broadcast of several programmes has several
        clocks, so that the picture may begin long after: then 0 is its start, and its delay is reported.
        """
        if not self._has_clock:
            return 0.0, 0.0
        picture, start = (self.stream.start_time or 0) * self._tick, self._container.start_time / av.time_base
        if picture - start > self._most_gap_seconds:
            return picture, picture - start
        return picture if abs(start - picture) < 2 / av.time_base else start, 0.0  # it is rounded to microseconds

    def _declared_seconds(self) -> float:
        if self._format == "avi":  # FFmpeg takes what is there of one that is cut off for its length
            return self.stream.frames / float(self.rate)
        hidden = self._origin if self._format in _LENGTH_FROM_ZERO else 0.0
        return max(0.0, (self._container.duration or 0) / av.time_base - hidden)

    def _header_end_seconds(self) -> float:
        """When it ends, on the container's clock, if its header says so; or 0."""
        if self._may_restart or self._is_raw or self._format == "avi":
            return 0.0
        start = 0.0 if self._format in _LENGTH_FROM_ZERO else (self._container.start_time or 0) / av.time_base
        return start + (self._container.duration or 0) / av.time_base

    def _correct_origin(self, first_pts: int | None) -> None:
        """Begin at the first frame if FFmpeg told no start, or a later one."""
        start = (first_pts or 0) * self._tick
        if not self._has_clock or (self._may_restart and first_pts is not None and start < self._origin):
            self._origin = start

    def _may_jump_before(self, seconds: float) -> bool:
        """Whether the index has a gap in which the clock may jump.

        After a jump the times of the container are not those that are shown.
        """
        # That of a fragmented MP4 holds only the fragments read so far.
        if seconds <= MOST_GAP_SECONDS or (self._format == _MP4 and not self.stream.frames):
            return False
        entries = (entry.timestamp * self._tick - self._origin for entry in self.stream.index_entries)
        times = itertools.chain([0.0], (entry for entry in entries if entry <= seconds), [seconds])
        return any(later - earlier > MOST_GAP_SECONDS for earlier, later in itertools.pairwise(times))

    def _check_open(self) -> None:
        if self._closed:  # FFmpeg would read what is no longer there
            raise ValueError(f"{self.source} was closed while it was being read; iterate again from the start.")

    def _num_threads(self) -> int:
        """Return how many threads pay.

        They wait for each other, which takes longer than to decode a small picture.
        """
        width, height = self._claimed_size
        # MPEG-4 hides damage by what another thread has decoded so far, so that two readings differ.
        if width * height <= _SMALL_PIXELS or self.stream.codec_context.name == "mpeg4":
            return 1
        # FFmpeg itself takes one more than there are cores: for large pictures that pays.
        return min(cv2.getNumberOfCPUs() + (width * height >= _LARGE_PIXELS), _MOST_THREADS)
