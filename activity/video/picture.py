"""Decoded pictures as RGB: deinterlaced, upright, in a player's colours."""

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Interpolation, VideoReformatter

from activity.video.clock import Stamped
from activity.video.errors import MOST_PIXELS

Pixels = npt.NDArray[np.uint8]

# As ffmpeg does it: one frame a picture, field order by the flags, pictures without the flag unchanged.
_LEAST_SIDE = 4  # pixels: the filter refuses less
_DEINTERLACE = "mode=send_frame:parity=auto:deint=interlaced"

# ITU-T H.273 matrix to swscale's number of the coefficients. What it has none for FFmpeg shows as BT.601.
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601 = 5
_PQ, _HLG = 16, 18  # ITU-T H.273 transfer characteristics
_BT2020 = 9  # colour primaries
_DIFFUSE_WHITE_NITS = 203.0  # ITU-R BT.2408
_KNEE = 0.7  # of diffuse white: above it highlights are compressed
_STRIP_ROWS = 64  # converted at once: what lies between stays in the cache, which saves a third of the CPU time
_SHRINK = Interpolation.AREA | Interpolation.FULL_CHR_H_INT  # without the flag two pixels share one colour
_DISPLAY_GAMMA = 2.4  # ITU-R BT.1886
_MOST_PIXEL_ASPECT = 4.0  # half-width PAL on a 16:9 screen has 2.9
# Linear BT.2020 to BT.709, ITU-R BT.2087.
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float64
)


class Converter:
    """Decoded frames of one video to RGB ``uint8 (H, W, 3)``, upright.

    Matrix and range are the frame's; FFmpeg takes a matrix that it does not know for BT.601. HDR (PQ, HLG) becomes SDR:
    diffuse white of 203 nits is 243 of 255 (`hdr_tables`). The display matrix is applied as ffmpeg's autorotate does.

    Args:
        pixel_aspect: width of a stored pixel by its height; beyond 1:4 to 4:1 it is a wrong tag, and 1 instead.
        square_pixels: resize frames so that their pixels are as wide as high; one side grows.
    """

    def __init__(self, pixel_aspect: float = 1.0, *, square_pixels: bool = False) -> None:
        is_usable = 1 / _MOST_PIXEL_ASPECT <= pixel_aspect <= _MOST_PIXEL_ASPECT
        self._stored_aspect = pixel_aspect if is_usable else 1.0
        self._square_pixels = square_pixels
        self._reformatter = VideoReformatter()
        self._rotation: int | None = None
        self._orientation = (False, False, False)

    def rgb(self, frame: av.VideoFrame, *, side: int | None = None) -> Pixels:
        """Convert a frame; raises av.error.FFmpegError where FFmpeg cannot.

        Args:
            frame: the frame.
            side: of a square to shrink it to. FFmpeg does so as it converts: a large frame takes a tenth of the time.
        """
        colours = None if frame.format.is_rgb else _COEFFICIENTS.get(int(frame.colorspace), _BT601)
        converted = self._reformatter.reformat(
            frame,
            width=side,
            height=side,
            format="rgb24",
            src_colorspace=colours,
            dst_colorspace=colours,
            interpolation=None if side is None else _SHRINK,
            threads=1,  # several videos are decoded at a time
        )
        pixels = cast(Pixels, converted.to_ndarray())
        if converted is frame:  # it is RGB already, and the decoder may need it as it is
            pixels = pixels.copy()
        if frame.color_trc in (_PQ, _HLG):
            pixels = _hdr_to_sdr(pixels, int(frame.color_trc), wide=frame.color_primaries == _BT2020)
        pixels = _upright(pixels, self.orientation(frame))
        is_squared = side is None and self._square_pixels and self.pixel_aspect(frame) == 1.0
        return _squared(pixels, self._upright_aspect(frame)) if is_squared else pixels

    def pixel_aspect(self, frame: av.VideoFrame) -> float:
        """Return a pixel's width by its height in what `rgb` gives.

        A frame that would grow too large keeps its own.
        """
        aspect = self._upright_aspect(frame)
        is_small = frame.width * frame.height * max(aspect, 1 / aspect) <= MOST_PIXELS
        return 1.0 if self._square_pixels and is_small else aspect

    def orientation(self, frame: av.VideoFrame) -> tuple[bool, bool, bool]:
        """Whether to exchange x and y, left and right, top and bottom.

        The matrix is read only if the angle changes: PyAV keeps a frame in memory once its side data was asked for.
        """
        if frame.rotation != self._rotation:
            self._rotation, self._orientation = frame.rotation, _orientation(frame)
        return self._orientation

    def _upright_aspect(self, frame: av.VideoFrame) -> float:
        is_turned = self._stored_aspect != 1.0 and self.orientation(frame)[0]
        return 1 / self._stored_aspect if is_turned else self._stored_aspect


def deinterlaced(frames: Iterable[Stamped[av.VideoFrame]]) -> Iterator[Stamped[av.VideoFrame]]:
    """Deinterlace flagged frames; from the first on, each comes one later."""
    for _, group in itertools.groupby(frames, key=_layout):
        yield from _deinterlaced(group)


@functools.cache
def hdr_tables(transfer: int, *, wide: bool) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64], Pixels]:
    """Return the table, matrix and table that turn HDR into SDR.

    The first makes of a channel's code (ITU-R BT.2100 PQ; HLG on a display of 1,000 nits) linear light in 1 / 65535 of
    what SDR shows: diffuse white, 203 nits (ITU-R BT.2408), is 0.89 of it, highlights above are compressed
    exponentially. The matrix goes from BT.2020's primaries, where they are ``wide``, to BT.709's; the last table to the
    code of a display with a gamma of 2.4 (ITU-R BT.1886).

    Args:
        transfer: 16 (PQ) or 18 (HLG), as ITU-T H.273 numbers them.
        wide: whether the primaries are BT.2020's.
    """
    code = np.arange(256) / 255
    light = (_pq_nits(code) if transfer == _PQ else _hlg_nits(code)) / _DIFFUSE_WHITE_NITS
    compressed = _KNEE + (1 - _KNEE) * (1 - np.exp(-np.maximum(light - _KNEE, 0) / (1 - _KNEE)))
    shown = np.where(light <= _KNEE, light, compressed)
    to_code = 255 * (np.arange(65536) / 65535) ** (1 / _DISPLAY_GAMMA)
    return (
        np.rint(65535 * shown).astype(np.uint16),
        _TO_BT709 if wide else np.eye(3),
        np.rint(to_code).astype(np.uint8),
    )


def _deinterlaced(frames: Iterator[Stamped[av.VideoFrame]]) -> Iterator[Stamped[av.VideoFrame]]:
    before: Stamped[av.VideoFrame] | None = None
    for first in frames:
        if first.frame.interlaced_frame and min(first.frame.width, first.frame.height) >= _LEAST_SIDE:
            break
        before = first
        yield first
    else:
        return
    graph = _deinterlacing_graph(first.frame)
    inside: deque[Stamped[av.VideoFrame] | None] = deque()
    if before is not None:  # the filter compares with it
        graph.push(before.frame)
        inside.append(None)
    for next_ in itertools.chain([first], frames, [None]):
        graph.push(None if next_ is None else next_.frame)
        inside.append(next_)
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                picture = graph.vpull()
                if (stamped := inside.popleft()) is not None:
                    yield replace(stamped, frame=picture)


def _layout(stamped: Stamped[av.VideoFrame]) -> tuple[int, int, str]:
    return stamped.frame.width, stamped.frame.height, stamped.frame.format.name


def _deinterlacing_graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1  # several videos are decoded at a time
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    graph.link_nodes(source, graph.add("bwdif", _DEINTERLACE), graph.add("buffersink")).configure()
    return graph


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    side_data = frame.side_data.get(SideData.DISPLAYMATRIX)  # type: ignore[call-overload]
    if side_data is None:
        return False, False, False
    # The picture's x goes to (a, b) on the screen, its y to (c, d); an angle between is taken for the nearest.
    a, b, _, c, d, *_ = np.frombuffer(bytes(side_data), np.int32).tolist()
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)


def _upright(pixels: Pixels, turn: tuple[bool, bool, bool]) -> Pixels:
    transpose, mirror, flip = turn
    if transpose:
        pixels = cv2.transpose(pixels)  # type: ignore[assignment]
    if mirror or flip:
        pixels = cv2.flip(pixels, -1 if mirror and flip else int(mirror))  # type: ignore[assignment]
    return pixels


def _squared(pixels: Pixels, pixel_aspect: float) -> Pixels:
    height, width = pixels.shape[:2]
    size = (round(width * max(1.0, pixel_aspect)), round(height * max(1.0, 1 / pixel_aspect)))
    return pixels if pixel_aspect == 1.0 else cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _hdr_to_sdr(pixels: Pixels, transfer: int, *, wide: bool) -> Pixels:
    to_light, to_bt709, to_code = hdr_tables(transfer, wide=wide)
    shown = np.empty_like(pixels)
    for top in range(0, len(pixels), _STRIP_ROWS):
        light = cv2.LUT(pixels[top : top + _STRIP_ROWS], to_light)
        cv2.LUT(cv2.transform(light, to_bt709), to_code, dst=shown[top : top + _STRIP_ROWS])
    return shown


def _pq_nits(code: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    power = code ** (32 / 2523)
    return 10_000 * (np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)


def _hlg_nits(code: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return 1_000 * scene**1.2
