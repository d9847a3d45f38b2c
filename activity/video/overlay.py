"""Labels drawn on frames, and the video written that shows them."""

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

Colour = tuple[int, int, int]

_WHITE: Colour = (255, 255, 255)
_BAND_SHARE = 0.3  # of the picture's brightness is left under the text
_TEXT_OF_SIDE = 1 / 20  # text height by the picture's shorter side; a smaller one is hard to read in large pictures
_SMALLEST_TEXT, _SMALLEST_LEGIBLE_TEXT = 11, 6  # pixels: where there is room, and at all
_WEIGHT = 600  # semibold: strokes of more than a pixel survive compression

SUFFIXES = (".webm", ".mp4")


@dataclass(frozen=True, kw_only=True)
class CaptionedSpan:
    """What is written on the frames from `start_seconds` until before `end_seconds`.

    Attributes:
        start_seconds: on the video's clock, as of `VideoReader`.
        end_seconds: later than that.
        text: the label.
        score: 0 to 1, the length of the bar below it.
        colour: of the bar, RGB.
    """

    start_seconds: float
    end_seconds: float
    text: str
    score: float
    colour: Colour = (86, 180, 233)


def write_overlay(source: str | Path, out: str | Path, spans: Sequence[CaptionedSpan]) -> None:
    """Write a copy of a video in which each frame says what happens: label, a bar for the score, the time.

    Each frame is there once, in its size and at its time, so that rate, duration and borders are the source's, also
    where its rate varies. Pixels that are not square stay so in `.mp4`; in `.webm` they are made square. Sound is not
    kept. Memory does not grow with the length. The file is there when it is whole.

    Args:
        source: the video.
        out: `.webm` (VP9, which browsers play) or `.mp4` (H.264; MPEG-4 for pictures with an odd side); a file that is
            there is replaced.
        spans: what to write when; frames in none of them have the time only.

    Raises:
        VideoError: the source cannot be read; `check_overlay` says what else.
        OSError: the file cannot be written.

    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> writer = cv2.VideoWriter(str(folder / "run.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for _ in range(10):
    ...     _ = writer.write(np.full((48, 64, 3), 200, np.uint8))
    >>> writer.release()
    >>> span = CaptionedSpan(start_seconds=0.2, end_seconds=0.8, text="run", score=0.9)
    >>> write_overlay(folder / "run.avi", folder / "run.webm", [span])
    >>> [frame.time_seconds for frame in VideoReader(folder / "run.webm")][:3]
    [0.0, 0.1, 0.2]
    """
    source, out = str(source), Path(out)
    check_overlay(source, out)
    from activity.video.encoding import VideoWriter  # here: brings a second FFmpeg, which drawing does not need

    # VP9 itself says no pixel aspect, and PyAV gives Matroska's writer none.
    with VideoReader(source, square_pixels=out.suffix.lower() == ".webm") as video:
        captions, frames = _Captions(spans), iter(video)
        first = next(frames)
        with (
            renamed_when_whole(out) as temporary,
            VideoWriter(
                temporary, suffix=out.suffix, name=str(out), rate=video.rate, pixel_aspect=first.pixel_aspect
            ) as writer,
        ):
            for frame in itertools.chain([first], frames):
                draw_caption(frame.pixels, time_seconds=frame.time_seconds, span=captions.at(frame.time_seconds))
                writer.write(frame.pixels, frame.time_seconds)


def check_overlay(source: str | Path, out: str | Path) -> None:
    """Refuse what `write_overlay` cannot write, before any work.

    Raises:
        VideoError: another suffix, a name that cannot be written, a folder, or the source itself (also by a link).
    """
    source, out = Path(source), Path(out)
    if out.suffix.lower() not in SUFFIXES:
        given = f"its suffix is {out.suffix!r}" if out.suffix else "it has no suffix"
        advice = f"give a name that ends in {' or '.join(SUFFIXES)}"
        raise VideoError(str(out), f"{given}, and the suffix says in what format it is written", advice)
    try:
        str(out).encode()
    except UnicodeEncodeError:
        raise VideoError(ascii(str(out)), "its name is not valid UTF-8", "give another name") from None
    if out.is_dir():
        raise VideoError(str(out), "it is a folder", "give the name of a file")
    if out.exists() and source.exists() and out.samefile(source):
        raise VideoError(str(out), "it is the video that is read", "give another name")


def draw_caption(pixels: Pixels, *, time_seconds: float, span: CaptionedSpan | None) -> None:
    """Draw a band with label, score and time into the foot of a frame.

    Text is scaled to the picture, and shortened where it does not fit; in a picture too small for text there is the
    bar only. Letters of most scripts can be drawn.

    Args:
        pixels: RGB `uint8 (H, W, 3)`, of any size; changed.
        time_seconds: what the clock shows.
        span: the label and its score, or None.
    """
    height, width = pixels.shape[:2]
    size = _text_size(width, height)
    bar = max(1, size // 5)
    legible = size >= _SMALLEST_LEGIBLE_TEXT
    band = pixels[height - bar - (round(1.6 * size) if legible else 0) :]
    band[:] = cv2.convertScaleAbs(band, alpha=_BAND_SHARE)
    if span is not None:
        share = min(1.0, max(0.0, span.score))
        band[-bar:, : max(1, round(share * width))] = span.colour
    if not legible:
        return
    margin = size // 2
    baseline = len(band) - bar - round(0.42 * size)
    free = width - 2 * margin
    clock = clock_text(time_seconds)
    clock_width = _text_width(clock, size)
    if clock_width <= (free if span is None else free / 2):
        _put_text(band, clock, (width - margin - clock_width, baseline), size)
        free -= clock_width + margin
    if span is not None:
        _put_text(band, _label(span, size, free), (margin, baseline), size)


def clock_text(time_seconds: float) -> str:
    """A time as mm:ss.t, from an hour on with the hours.

    >>> clock_text(83.46), clock_text(3599.96), clock_text(3600.0)
    ('01:23.4', '59:59.9', '1:00:00.0')
    """
    tenths = math.floor(time_seconds * 10 + 1e-6)  # a clock shows what is over; 0.3 * 10 is a little less than 3
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{text}" if hours else text


class _Captions:
    """The span at a time, for times that rise."""

    def __init__(self, spans: Sequence[CaptionedSpan]) -> None:
        self._following = sorted(spans, key=lambda span: span.start_seconds, reverse=True)
        self._latest: CaptionedSpan | None = None

    def at(self, time_seconds: float) -> CaptionedSpan | None:
        time_seconds += TIME_TOLERANCE_SECONDS
        while self._following and self._following[-1].start_seconds <= time_seconds:
            self._latest = self._following.pop()
        return self._latest if self._latest is not None and time_seconds < self._latest.end_seconds else None


def _text_size(width: int, height: int) -> int:
    """Height of the text in pixels: at most what leaves two thirds of a small picture free."""
    wanted = max(_SMALLEST_TEXT, round(_TEXT_OF_SIDE * min(width, height)))
    return max(1, min(wanted, height // 5))


@functools.cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")  # in OpenCV itself: Latin, Greek, Cyrillic, Arabic, Hebrew, Chinese, Japanese, Korean


def _put_text(band: Pixels, text: str, place: tuple[int, int], size: int) -> None:
    cv2.putText(band, text, place, _WHITE, _font(), size, _WEIGHT)


@functools.lru_cache(maxsize=256)
def _text_width(text: str, size: int) -> int:
    endless = (1_000_000, size)  # no line break
    return cv2.getTextSize(endless, text, (0, 0), _font(), size, _WEIGHT)[2]


def _label(span: CaptionedSpan, size: int, width: int) -> str:
    """Label and score in at most `width` pixels; the label is shortened, or given without its score."""
    # No line break, and nothing that is not text: OpenCV ends the process on half a character.
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in span.text).split())
    score = f"  {span.score:.0%}"
    room = width - _text_width(score, size)
    if room < 4 * size:
        score, room = "", width
    return _shortened(text, size, room) + score


@functools.lru_cache(maxsize=256)
def _shortened(text: str, size: int, width: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis; nothing where not even that fits."""
    if _text_width(text, size) <= width:
        return text
    longest = 0
    for length in range(len(text)):
        if _text_width(text[:length].rstrip() + "…", size) > width:
            break
        longest = length
    beginning = text[:longest].rstrip()
    return f"{beginning}…" if beginning else ""
