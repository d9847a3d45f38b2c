"""A timeline as HTML for notebooks: small, in one piece, and whatever a label holds, it stays text."""

import os
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from activity.data.segments import Segment
from activity.inference.palette import colour_of, pattern_of
from activity.visualization.overlay import clock_text

_MOST_BARS, _MOST_ROWS = 400, 50
_BAR_UNITS = 1000
_THINNEST_BAR = 1.5  # units: a short segment of a long video is seen, too
_CELL = "padding:2px 12px 2px 0;border:0;background:none;color:inherit;"


def timeline_html(
    *, source: str, duration_seconds: float, class_names: Sequence[str], segments: Sequence[Segment]
) -> str:
    """The segments as a coloured bar along the time and as a table; reads well on light and on dark ground.

    The colours are those of the plots. Of very many segments, the bar shows the longest and the table the first ones.

    Args:
        source: what is named above it.
        duration_seconds: of the video.
        class_names: all classes, which decide the colours.
        segments: in order.

    >>> run = Segment(label="run", start_seconds=1.0, end_seconds=2.5, score=0.9)
    >>> page = timeline_html(source="a.mp4", duration_seconds=4.0, class_names=["run", "walk"], segments=[run])
    >>> "a.mp4" in page, page.count("#0072B2")
    (True, 2)
    """
    # Jupyter would set what stands between two $ as a formula.
    root = Element("div", {"class": "tex2jax_ignore mathjax_ignore", "style": "max-width:60em;line-height:1.4"})
    head = _add(root, "div", "margin-bottom:4px")
    _add(head, "b", text=os.path.basename(source) or source)  # noqa: PTH119 - a URL is no path
    count = len(segments)
    _add(head, "span", text=f" · {clock_text(duration_seconds)} · {count or 'no'} segment{'' if count == 1 else 's'}")
    _add_bar(root, duration_seconds, class_names, segments)
    ends = _add(root, "div", "display:flex;justify-content:space-between;font-size:85%;opacity:.75")
    for seconds in (0.0, duration_seconds):
        _add(ends, "span", text=clock_text(seconds))
    if segments:
        _add_table(root, class_names, segments)
    return ElementTree.tostring(root, encoding="unicode", method="html").encode(errors="replace").decode()


def _add_bar(parent: Element, duration_seconds: float, class_names: Sequence[str], segments: Sequence[Segment]) -> None:
    bar = _add(parent, "svg", "display:block;width:100%;height:28px;background:rgba(128,128,128,.2)")
    bar.set("viewBox", f"0 0 {_BAR_UNITS} 1")
    bar.set("preserveAspectRatio", "none")
    bar.set("role", "img")
    longest = sorted(segments, key=lambda segment: -segment.duration_seconds)[:_MOST_BARS]
    scale = _BAR_UNITS / max([duration_seconds, *(segment.end_seconds for segment in longest), 1e-3])
    for segment in sorted(longest, key=lambda segment: segment.start_seconds):
        box = _add(bar, "rect")
        box.set("x", f"{segment.start_seconds * scale:.1f}")
        box.set("width", f"{max(segment.duration_seconds * scale, _THINNEST_BAR):.1f}")
        box.set("height", "1")
        box.set("fill", colour_of(segment.label, class_names))
        box.set("fill-opacity", _strength(segment.label, class_names))
        span = f"{clock_text(segment.start_seconds)} – {clock_text(segment.end_seconds)}"
        _add(box, "title", text=f"{segment.label}, {span}")


def _add_table(parent: Element, class_names: Sequence[str], segments: Sequence[Segment]) -> None:
    style = "color:inherit;border-collapse:collapse;margin:6px 0 0;font-variant-numeric:tabular-nums"
    table = _add(parent, "table", style)
    heading = _add(_add(table, "thead"), "tr", "background:none")
    for name, side in (("label", "left"), ("start", "right"), ("end", "right"), ("score", "right")):
        _add(heading, "th", f"{_CELL}text-align:{side};opacity:.75", name)
    body = _add(table, "tbody")
    for segment in segments[:_MOST_ROWS]:
        row = _add(body, "tr", "background:none")
        label = _add(row, "td", f"{_CELL}text-align:left")
        colour = colour_of(segment.label, class_names)
        look = f"background:{colour};opacity:{_strength(segment.label, class_names)}"
        _add(label, "span", f"display:inline-block;width:.8em;height:.8em;margin-right:.5em;border-radius:2px;{look}")
        _add(label, "span", text=segment.label)
        times = (clock_text(segment.start_seconds), clock_text(segment.end_seconds))
        for cell in (*times, f"{segment.score:.0%}"):
            _add(row, "td", f"{_CELL}text-align:right", cell)
    if len(segments) > _MOST_ROWS:
        _add(parent, "div", "opacity:.75", f"and {len(segments) - _MOST_ROWS} more")


def _strength(label: str, class_names: Sequence[str]) -> str:
    """How opaque: classes that share a colour differ in it."""
    return f"{max(0.4, 1 - 0.3 * pattern_of(label, class_names)):g}"


def _add(parent: Element, tag: str, style: str = "", text: str = "") -> Element:
    element = ElementTree.SubElement(parent, tag, {"style": style} if style else {})
    element.text = text or None
    return element
