"""The rows of a plot, each drawn on axes of its own whose horizontal unit is the second."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from activity.inference.palette import colour_of, ink_on, pattern_of
from activity.inference.plot.labels import fitting, shortened, time_text, times_along, unit_of
from activity.inference.plot.thumbnails import Thumbnail
from activity.inference.segmentation import TimelineSettings
from activity.inference.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXIS_INCHES = 11.3
DOTS_AN_INCH = 130

_LABEL_SIZE = 9  # points
_LABELS_APART = 0.07  # of the scores' axis: closer thresholds would have their names on each other

# What tells apart the classes of one colour: lines by dashes, bars by hatching.
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (7, 2, 1.5, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 3)), (0, (2, 3)))
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "||||", "oo")


def draw_thumbnails(axes: "Axes", thumbnails: Sequence[Thumbnail], height: float, end_seconds: float) -> None:
    """Draw each with its middle at its time, as far as the borders of the plot leave room."""
    seconds_an_inch = end_seconds / AXIS_INCHES
    for seconds, pixels in thumbnails:
        half = height * pixels.shape[1] / pixels.shape[0] / 2 * seconds_an_inch
        middle = min(max(seconds, half), max(end_seconds - half, half))
        axes.imshow(pixels, extent=(middle - half, middle + half, 0, 1), aspect="auto", interpolation="antialiased")
        axes.plot([seconds, seconds], [-0.09, -0.02], color="#555555", linewidth=1, clip_on=False)
    axes.set_xlim(0, end_seconds)
    axes.set_ylim(0, 1)
    axes.set_axis_off()


def draw_scores(axes: "Axes", timeline: Timeline, named: Sequence[str], end_seconds: float) -> None:
    """Draw lines of all classes over time, those of `named` in their colours, and the thresholds."""
    # Each point stands for the time until the next one: the last until the end.
    seconds = [*timeline.frame_seconds.tolist(), end_seconds]
    scores = timeline.frame_scores.T.tolist()
    for name, values in zip(timeline.class_names, scores, strict=True):
        if name not in named:
            axes.plot(seconds, [*values, values[-1]], color="#D5D8DB", linewidth=0.7, zorder=1)
    for name in reversed(named):  # the one that lasts longest on top
        if name in timeline.class_names:
            values = scores[timeline.class_names.index(name)]
            axes.plot(seconds, [*values, values[-1]], linewidth=1.3, zorder=3, **_line(name, timeline.class_names))
    _draw_thresholds(axes, timeline.settings)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_ylabel("score")
    axes.tick_params(labelbottom=False)
    axes.grid(color="#EEEEEE", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    _time_axis(axes, end_seconds)
    axes.set_xlabel("")


def _draw_thresholds(axes: "Axes", thresholds: TimelineSettings) -> None:
    """Draw faint lines, named beside the plot."""
    enter, leave = thresholds.enter_score, thresholds.leave_score
    apart = enter - leave > _LABELS_APART
    for what, score, beside in (("enter", enter, "bottom"), ("leave", leave, "top")):
        axes.axhline(score, color="#555555", linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=2)
        axes.annotate(
            f"{what} {score:g}",
            (1, score),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center" if apart else beside,
            fontsize=8,
            color="#555555",
        )


def draw_segments(axes: "Axes", timeline: Timeline, end_seconds: float) -> None:
    """Draw the segments as bars, labelled where there is room, and the time below them."""
    from matplotlib.patches import Rectangle

    axes.set_facecolor("#F3F4F5")
    thinnest = 2 / DOTS_AN_INCH * end_seconds / AXIS_INCHES  # a short segment of a long video is seen, too
    for segment in timeline.segments:
        start, length = segment.start_seconds, max(segment.duration_seconds, thinnest)
        colour = colour_of(segment.label, timeline.class_names)
        hatch = _HATCHES[pattern_of(segment.label, timeline.class_names) % len(_HATCHES)]
        bar = Rectangle((start, 0), length, 1, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        axes.add_patch(bar)
        label = fitting(segment.label, length / end_seconds * AXIS_INCHES - 0.06)
        if label:
            box = {"facecolor": colour, "edgecolor": "none", "pad": 1.5} if hatch else None
            middle = start + length / 2
            ink = ink_on(colour)
            text = axes.text(middle, 0.48, label, ha="center", va="center", fontsize=_LABEL_SIZE, color=ink, bbox=box)
            text.set_clip_path(bar)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("segments", rotation=0, ha="right", va="center", fontsize=_LABEL_SIZE)
    axes.spines[["top", "left", "right"]].set_visible(False)
    _time_axis(axes, end_seconds)


def draw_legend(axes: "Axes", timeline: Timeline, named: Sequence[str], columns: int) -> None:
    """Draw how each class looks, by hand: matplotlib's own leaves out labels that begin with an underscore."""
    from matplotlib.patches import Rectangle

    rows = math.ceil(len(named) / columns)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows + 1, 0)  # the last row is for what is said at the end
    axes.set_axis_off()
    inch = columns / AXIS_INCHES
    for number, name in enumerate(named):
        column, row = divmod(number, rows)
        style = _line(name, timeline.class_names)
        hatch = _HATCHES[pattern_of(name, timeline.class_names) % len(_HATCHES)]
        patch = Rectangle(
            (column, row + 0.22),
            0.16 * inch,
            0.56,
            facecolor=style["color"],
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
        )
        axes.add_patch(patch)
        axes.plot([column + 0.2 * inch, column + 0.5 * inch], [row + 0.5] * 2, linewidth=1.5, **style)
        axes.text(column + 0.56 * inch, row + 0.5, shortened(name), va="center", fontsize=_LABEL_SIZE)
    unnamed = len({segment.label for segment in timeline.segments} - set(named))
    if unnamed:
        more = f"and {unnamed} more that last shorter"
        axes.text(0, rows + 0.5, more, va="center", fontsize=_LABEL_SIZE, color="#555555")


def _line(name: str, class_names: Sequence[str]) -> dict[str, Any]:
    return {"color": colour_of(name, class_names), "linestyle": _DASHES[pattern_of(name, class_names) % len(_DASHES)]}


def _time_axis(axes: "Axes", end_seconds: float) -> None:
    times = times_along(end_seconds)
    axes.set_xticks(times, [time_text(time, end_seconds) for time in times])
    axes.set_xlabel(unit_of(end_seconds)[1], fontsize=_LABEL_SIZE)
