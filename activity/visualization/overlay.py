"""Draw labels on frames, and write a video that shows them."""

import bisect
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from activity.files import renamed_when_whole
from activity.video.errors import VideoError
from activity.video.picture import Pixels
from activity.video.reader import VideoReader
from activity.video.sampling import TIME_TOLERANCE_SECONDS
from activity.video.writer import SUFFIXES, VideoWriter

Colour = tuple[int, int, int]

_BAND_BRIGHTNESS = 0.3  # of the picture's brightness, so that white text stands out
_TEXT_OF_SIDE = 1 / 20  # text height by the picture's shorter side
_SMALLEST_TEXT, _SMALLEST_LEGIBLE_TEXT = 11, 6  # pixels: in pictures with room for it, and in any picture
_WEIGHT = 600  # semibold: strokes wider than a pixel survive compression


@dataclass(frozen=True, kw_only=True)
class CaptionedSpan:
    """A label and its score on the frames of a span.

    Attributes:
        start_seconds: the first moment, on the clock of `VideoReader`.
        end_seconds: the first moment after the span.
        text: the label.
        score: 0 to 1, the length of the bar.
        colour: of the bar, RGB.
    """

    start_seconds: float
    end_seconds: float
    text: str
    score: float
    colour: Colour = (86, 180, 233)


def write_overlay(source: str | Path, out: str | Path, spans: Sequence[CaptionedSpan]) -> None:
    """Copy a video with label, score bar and time on each frame.

    The copy has every frame of the source at its size and time, also if the rate varies. It has no sound.
    `.mp4` keeps pixels that are not square; `.webm` gets square ones. Memory does not grow with the length.
    The file appears once it is complete.

    Args:
        source: the video.
        out: `.webm` (VP9, which browsers play) or `.mp4` (H.264; MPEG-4 if a side is odd). Replaces an existing file.
        spans: labels and when to show them, disjoint; frames outside all spans show the time only.

    Raises:
        VideoError: the source cannot be read, or `check_overlay` refuses the output.
        OSError: the file cannot be written.

    >>> import tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp(), "run.avi")
    >>> writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for _ in range(3):
    ...     _ = writer.write(np.full((48, 64, 3), 200, np.uint8))
    >>> writer.release()
    >>> write_overlay(path, path.with_suffix(".webm"), [])
    >>> [frame.time_seconds for frame in VideoReader(path.with_suffix(".webm"))]
    [0.0, 0.1, 0.2]
    """
    source, out = str(source), Path(out)
    check_overlay(source, out)
    spans = sorted(spans, key=lambda span: span.start_seconds)
    # VP9 stores no pixel aspect, and PyAV cannot set Matroska's.
    with VideoReader(source, square_pixels=out.suffix.lower() == ".webm") as video:
        frames = iter(video)
        first = next(frames)
        aspect = first.pixel_aspect
        with (
            renamed_when_whole(out) as path,
            VideoWriter(path, suffix=out.suffix, name=str(out), rate=video.rate, pixel_aspect=aspect) as writer,
        ):
            for frame in itertools.chain([first], frames):
                span = _span_at(frame.time_seconds, spans)
                draw_caption(frame.pixels, time_seconds=frame.time_seconds, span=span)
                writer.write(frame.pixels, frame.time_seconds)


def check_overlay(source: str | Path, out: str | Path) -> None:
    """Refuse an output that `write_overlay` cannot write, before any work.

    Raises:
        VideoError: the suffix is another one, the name cannot be written, or the output is a folder or the source.
    """
    source, out = Path(source), Path(out)
    if out.suffix.lower() not in SUFFIXES:
        problem = f"its suffix is {out.suffix!r}" if out.suffix else "it has no suffix"
        advice = f"give a name that ends in {' or '.join(SUFFIXES)}"
        raise VideoError(str(out), f"{problem}, and the suffix says in what format it is written", advice)
    try:
        str(out).encode()
    except UnicodeEncodeError:
        raise VideoError(ascii(str(out)), "its name is not valid UTF-8", "give another name") from None
    if out.is_dir():
        raise VideoError(str(out), "it is a folder", "give the name of a file")
    if out.exists() and source.exists() and out.samefile(source):  # also through a link
        raise VideoError(str(out), "it is the video that is read", "give another name")


def draw_caption(pixels: Pixels, *, time_seconds: float, span: CaptionedSpan | None) -> None:
    """Draw a band with label, score and time on a frame.

    The band is at the bottom.

    Text size follows the picture's size, and a label that does not fit is shortened. A picture too small for text
    shows only the bar. The font has the letters of most scripts.

    Args:
        pixels: RGB `uint8 (H, W, 3)`, of any size; changed in place.
        time_seconds: the time to show.
        span: the label and its score, or None.
    """
    height, width = pixels.shape[:2]
    wanted_size = max(_SMALLEST_TEXT, round(_TEXT_OF_SIDE * min(width, height)))
    size = max(1, min(wanted_size, height // 5))  # leaves two thirds of a small picture free
    bar = max(1, size // 5)
    legible = size >= _SMALLEST_LEGIBLE_TEXT
    band = pixels[height - bar - (round(1.6 * size) if legible else 0) :]
    band[:] = cv2.convertScaleAbs(band, alpha=_BAND_BRIGHTNESS)
    if span is not None:
        score = min(1.0, max(0.0, span.score))
        band[-bar:, : max(1, round(score * width))] = span.colour
    if legible:
        _draw_text(band, clock_text(time_seconds), span, size, baseline=len(band) - bar - round(0.42 * size))


def clock_text(time_seconds: float) -> str:
    """A time as mm:ss.t, with hours from one hour on.

    >>> clock_text(83.46), clock_text(3599.96), clock_text(3600.0)
    ('01:23.4', '59:59.9', '1:00:00.0')
    """
    tenths = math.floor(time_seconds * 10 + 1e-6)  # clocks round down; in floats 0.3 * 10 is a little less than 3
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{text}" if hours else text


def _span_at(time_seconds: float, spans: Sequence[CaptionedSpan]) -> CaptionedSpan | None:
    """The span that covers a time, of spans sorted by their start."""
    time_seconds += TIME_TOLERANCE_SECONDS
    started = bisect.bisect_right(spans, time_seconds, key=lambda span: span.start_seconds)
    return spans[started - 1] if started and time_seconds < spans[started - 1].end_seconds else None


def _draw_text(band: Pixels, clock: str, span: CaptionedSpan | None, size: int, *, baseline: int) -> None:
    """Draw the time on the right and the label on the left.

    If both do not fit, it draws the label only.
    """
    margin, width = size // 2, band.shape[1]
    free = width - 2 * margin
    clock_width = _text_width(clock, size)
    if clock_width <= (free if span is None else free / 2):
        _put_text(band, clock, (width - margin - clock_width, baseline), size)
        free -= clock_width + margin
    if span is not None:
        _put_text(band, _label(span, size, free), (margin, baseline), size)


def _label(span: CaptionedSpan, size: int, width: int) -> str:
    """Fit label and score into `width` pixels; narrow pictures show no score."""
    # OpenCV would break lines, and crashes the process on a lone surrogate.
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in span.text).split())
    score = f"  {span.score:.0%}"
    room = width - _text_width(score, size)
    return _shortened(text, size, room) + score if room >= 4 * size else _shortened(text, size, width)


@functools.lru_cache(maxsize=256)
def _shortened(text: str, size: int, width: int) -> str:
    """The text, its beginning with an ellipsis, or nothing: whichever fits."""
    if _text_width(text, size) <= width:
        return text

    def width_of(length: int) -> int:
        return _text_width(f"{text[:length].rstrip()}…", size)

    length = bisect.bisect_right(range(1, len(text)), width, key=width_of)
    return f"{text[:length].rstrip()}…" if length else ""


@functools.cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")  # in OpenCV itself: Latin, Greek, Cyrillic, Arabic, Hebrew, Chinese, Japanese, Korean


def _put_text(band: Pixels, text: str, place: tuple[int, int], size: int) -> None:
    cv2.putText(band, text, place, (255, 255, 255), _font(), size, _WEIGHT)


@functools.lru_cache(maxsize=256)
def _text_width(text: str, size: int) -> int:
    endless = (1_000_000, size)  # no line break
    return cv2.getTextSize(endless, text, (0, 0), _font(), size, _WEIGHT)[2]
