"""The plot as a whole: what is named, and rows from the top down."""

import io
import math
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activity.files import write_atomically
from activity.inference.plot.labels import CHARACTER_INCHES, shortened, text_width, time_text, unit_of
from activity.inference.plot.rows import (
    AXIS_INCHES,
    DOTS_AN_INCH,
    draw_legend,
    draw_scores,
    draw_segments,
    draw_thumbnails,
)
from activity.inference.plot.thumbnails import Thumbnail
from activity.inference.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

# All in inches: matplotlib's unit.
_WIDTH, _LEFT = 13.0, 0.75
_TITLE, _SCORES, _SEGMENTS, _TIMES, _LEGEND_ROW, _GAP = 0.45, 2.6, 0.42, 0.5, 0.24, 0.08
_TALLEST_THUMBNAIL = 1.0

_MOST_IN_LEGEND, _FEW = 18, 5


class PlotError(ValueError):
    """A plot that cannot be drawn as asked for."""


def plot_timeline(timeline: Timeline, out: str | Path, thumbnails: Sequence[Thumbnail] = ()) -> None:
    """Draw a timeline: frames, the scores of the classes over time with the thresholds, the segments under them.

    Classes in segments and the few with the highest scores are coloured and named, the others are grey lines. A
    class has the same colour in all plots of a model.

    Args:
        timeline: what is drawn.
        out: the file, replaced where it is there; its folder is made.
        thumbnails: as `thumbnails_of` gives them.

    Raises:
        PlotError: the suffix of `out` is not one of `SUFFIXES`.
        OSError: the file cannot be written.
    """
    out = Path(out)
    check_plot(out)
    write_atomically(out, _picture(timeline, thumbnails, out.suffix.lower().removeprefix(".")))


def check_plot(out: str | Path) -> None:
    """Refuse what `plot_timeline` cannot write, before any work.

    Raises:
        PlotError: another suffix.
    """
    suffix = Path(out).suffix
    if suffix.lower() not in SUFFIXES:
        given = f"has the suffix {suffix!r}" if suffix else "has no suffix"
        raise PlotError(f"{out} {given}; give a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")


def _picture(timeline: Timeline, thumbnails: Sequence[Thumbnail], format_name: str) -> bytes:
    import matplotlib
    import matplotlib.style
    from matplotlib.figure import Figure

    named = _classes_that_matter(timeline)
    texts = [timeline.source, *named]
    # Whatever the user's own settings are. No label is a formula, also with a $ in it.
    settings: dict[Any, Any] = {
        "text.parse_math": False,
        "font.family": ["DejaVu Sans", *_further_fonts("".join(texts))],
        "hatch.linewidth": 0.6,
        "agg.path.chunksize": 10_000,
    }
    with matplotlib.style.context("default"), matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # no font here has it: a box is drawn
        figure = Figure(figsize=(_WIDTH, 1.0))
        _draw(figure, timeline, thumbnails, named)
        content = io.BytesIO()
        figure.savefig(content, format=format_name, dpi=DOTS_AN_INCH)
        return content.getvalue()


def _classes_that_matter(timeline: Timeline) -> list[str]:
    """Those in segments, the longest first, and where these are few, those with the highest scores."""
    lasting: dict[str, float] = {}
    for segment in timeline.segments:
        lasting[segment.label] = lasting.get(segment.label, 0.0) + segment.duration_seconds
    named = sorted(lasting, key=lambda label: -lasting[label])[:_MOST_IN_LEGEND]
    peaks = dict(zip(timeline.class_names, timeline.frame_scores.amax(dim=0).tolist(), strict=True))
    others = sorted((name for name in peaks if name not in lasting), key=lambda name: -peaks[name])
    return named + others[: max(0, _FEW - len(named))]


def _draw(figure: "Figure", timeline: Timeline, thumbnails: Sequence[Thumbnail], named: Sequence[str]) -> None:
    """Rows from the top down, each as high as it needs."""
    end_seconds = max(timeline.duration_seconds, float(timeline.frame_seconds[-1]), 0.1)
    widest = max((text_width(shortened(name)) for name in named), default=1)
    columns = max(1, math.floor(AXIS_INCHES / (0.8 + CHARACTER_INCHES * widest)))
    heights = {
        "title": _TITLE,
        "thumbnails": _thumbnail_height(thumbnails),
        "scores": _SCORES,
        "segments": _SEGMENTS,
        "times": _TIMES,
        "legend": _LEGEND_ROW * (math.ceil(len(named) / columns) + 1),
    }
    total = sum(heights.values())
    figure.set_figheight(total)
    axes, top = {}, total
    for name, height in heights.items():
        top -= height
        place = (_LEFT / _WIDTH, (top + _GAP / 2) / total, AXIS_INCHES / _WIDTH, max(0.0, height - _GAP) / total)
        if name not in ("title", "times") and height:
            axes[name] = figure.add_axes(place)
            axes[name].set_xlim(0, end_seconds)
    figure.text(_LEFT / _WIDTH, 1 - 0.6 * _TITLE / total, _title(timeline), fontsize=12, va="center")
    if thumbnails:
        draw_thumbnails(axes["thumbnails"], thumbnails, heights["thumbnails"] - _GAP, end_seconds)
    draw_scores(axes["scores"], timeline, named, end_seconds)
    draw_segments(axes["segments"], timeline, end_seconds)
    draw_legend(axes["legend"], timeline, named, columns)


def _title(timeline: Timeline) -> str:
    name = os.path.basename(timeline.source) or timeline.source  # noqa: PTH119 - a URL is no path
    duration, count = timeline.duration_seconds, len(timeline.segments)
    found = f"{count or 'no'} segment{'' if count == 1 else 's'}"
    return f"{shortened(name, 80)}  ·  {time_text(duration, duration)} {unit_of(duration)[0]}  ·  {found}"


def _thumbnail_height(thumbnails: Sequence[Thumbnail]) -> float:
    """As high as all fit side by side; a little less than that, for their borders."""
    widest = max((pixels.shape[1] / pixels.shape[0] for _, pixels in thumbnails), default=0.0)
    return min(_TALLEST_THUMBNAIL, AXIS_INCHES / len(thumbnails) / widest) if thumbnails else 0.0


def _further_fonts(text: str) -> list[str]:
    """Installed fonts for the letters that matplotlib's own font lacks."""
    from matplotlib import font_manager

    own = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    missing = {ord(letter) for letter in text if not letter.isspace()} - set(own)
    found = []
    for entry in font_manager.fontManager.ttflist:
        if not missing:
            break
        with suppress(RuntimeError, OSError):  # a font file that is damaged, or of a kind that cannot be drawn
            letters = set(font_manager.get_font(entry.fname).get_charmap())
            if missing & letters:
                found.append(entry.name)
                missing -= letters
    return found
