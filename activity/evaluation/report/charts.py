"""Charts as SVG, built as a tree of elements: whatever a label holds, it stays text.

Colours and line styles are the page's, by class names, so that a chart follows it to paper and into the dark.
"""

import math
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

from activity.evaluation.calibration import ReliabilityBin
from activity.evaluation.report.content import LearningCurves
from activity.evaluation.statistics import Interval

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 24, 34
Points = Sequence[tuple[float, float]]


def interval_bar(interval: Interval) -> Markup:
    """A figure from 0 to 1 as a dot, its interval as a line through it."""
    svg = _svg(200, 18, f"{interval.value:.1%}, 95 % interval {interval.low:.1%} to {interval.high:.1%}", "interval")
    _add(svg, "line", x1=4, x2=196, y1=9, y2=9, cls="track")
    low, value, high = (4 + 192 * number for number in (interval.low, interval.value, interval.high))
    _add(svg, "line", x1=low, x2=high, y1=9, y2=9, cls="whisker")
    for end in (low, high):
        _add(svg, "line", x1=end, x2=end, y1=4, y2=14, cls="cap")
    _add(svg, "circle", cx=value, cy=9, r=4.5, cls="dot")
    return _markup(svg)


def share_bar(share: float, text: str) -> Markup:
    """A share from 0 to 1 as a bar."""
    svg = _svg(100, 10, text, "share")
    svg.set("preserveAspectRatio", "none")
    _add(svg, "rect", x=0, y=0, width=100, height=10, cls="track-fill")
    _add(svg, "rect", x=0, y=0, width=100 * share, height=10, cls="fill")
    return _markup(svg)


def loss_chart(curves: LearningCurves) -> Markup | None:
    """Training and validation loss by epoch; None where neither was logged."""
    return _epoch_chart(
        {"training": curves.train_loss, "validation": curves.val_loss}, curves.best_epoch, "Loss by epoch", None
    )


def accuracy_chart(curves: LearningCurves) -> Markup | None:
    """Validation accuracy by epoch; None where it was not logged."""
    return _epoch_chart({"validation": curves.val_accuracy}, curves.best_epoch, "Validation accuracy by epoch", 1.0)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Markup:
    """The share of right clips against the score, a dot a bin, the larger the more clips it has."""
    svg = _svg(WIDTH, 330, "Share of clips that were right, by score", "chart")
    area = _Area(x_range=(0.0, 1.0), y_range=(0.0, 1.0), height=330)
    _axes(svg, area, [0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], percent_x=True, percent_y=True)
    _label_axes(svg, area, "score", "share that was right")
    _add(svg, "line", x1=area.x(0), y1=area.y(0), x2=area.x(1), y2=area.y(1), cls="diagonal")
    largest = max((item.clips for item in bins), default=0)
    for item in (item for item in bins if item.clips):
        x, y = area.x(item.confidence), area.y(item.accuracy)
        _add(svg, "line", x1=x, y1=y, x2=x, y2=area.y(item.confidence), cls="gap")
        _add(svg, "circle", cx=x, cy=y, r=4 + 8 * math.sqrt(item.clips / largest), cls="bubble")
        aside = 8 + 8 * math.sqrt(item.clips / largest)  # beside the dot: above and below it runs the line
        at_the_end = item.confidence > 0.85
        place, anchor = (x - aside, "end") if at_the_end else (x + aside, "start")
        _text(svg, place, y + 4, str(item.clips), anchor, "count")
    return _markup(svg)


def compact_matrix(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> Markup:
    """A confusion matrix of many classes as shades, without figures; class numbers along the sides."""
    classes = len(class_names)
    side, margin = 10, 26
    size = margin + classes * side + 2
    svg = _svg(size, size, f"Confusion matrix of {classes} classes: rows are the true classes", "matrix")
    _add(svg, "rect", x=margin, y=margin, width=classes * side, height=classes * side, cls="frame")
    step = max(1, math.ceil(classes / 20))
    for number in range(0, classes, step):
        middle = margin + (number + 0.5) * side
        _text(svg, margin - 3, middle + 3, str(number + 1), "end", "tick")
        _text(svg, middle, margin - 5, str(number + 1), "middle", "tick")
    for row, counts in enumerate(confusion):
        total = sum(counts)
        for column, count in enumerate(counts):
            if not count:
                continue
            cell = _add(
                svg,
                "rect",
                x=margin + column * side,
                y=margin + row * side,
                width=side,
                height=side,
                cls="hit" if row == column else "miss",
            )
            cell.set("fill-opacity", f"{0.15 + 0.85 * count / total:.2f}")
            ElementTree.SubElement(cell, "title").text = f"{class_names[row]} taken for {class_names[column]}: {count}"
    return _markup(svg)


class _Area:
    """From values to places in a chart."""

    def __init__(self, *, x_range: tuple[float, float], y_range: tuple[float, float], height: int = HEIGHT) -> None:
        self.x_range, self.y_range, self.height = x_range, y_range, height

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * (value - low) / (high - low)


def _epoch_chart(
    lines: dict[str, Sequence[tuple[int, float]]], best_epoch: int | None, title: str, highest: float | None
) -> Markup | None:
    lines = {name: [point for point in points if math.isfinite(point[1])] for name, points in lines.items()}
    every = [point for points in lines.values() for point in points]
    if not every:
        return None
    svg = _svg(WIDTH, HEIGHT, title, "chart")
    first, last = min(epoch for epoch, _ in every), max(epoch for epoch, _ in every)
    ticks = _ticks(0.0, highest or max(value for _, value in every))
    # Epochs are counted from 1 for people.
    area = _Area(x_range=(first + 1, max(last, first + 1) + 1), y_range=(0.0, max(ticks)))
    epochs = [tick for tick in _ticks(first + 1, last + 1, whole=True) if first + 1 <= tick <= max(last, first + 1) + 1]
    _axes(svg, area, epochs, ticks, percent_y=highest is not None)
    _label_axes(svg, area, "epoch", "")
    if best_epoch is not None and first <= best_epoch <= last:
        x = area.x(best_epoch + 1)
        _add(svg, "line", x1=x, x2=x, y1=TOP, y2=area.y(0), cls="best")
    for name, points in lines.items():
        places = [(area.x(epoch + 1), area.y(value)) for epoch, value in points]
        if len(places) == 1:
            _add(svg, "circle", cx=places[0][0], cy=places[0][1], r=4, cls=f"line-{name}")
        elif places:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            _add(svg, "polyline", points=path, cls=f"line-{name}")
    return _markup(svg)


def _ticks(low: float, high: float, *, whole: bool = False, about: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`.

    >>> _ticks(0.0, 1.0), _ticks(1, 40, whole=True)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 10.0, 20.0, 30.0, 40.0])
    """
    span = max(high - low, 1e-9)
    raw = span / (about - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    start, stop = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(start, max(stop, start + 1) + 1)]


def _axes(
    svg: Element,
    area: _Area,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    *,
    percent_x: bool = False,
    percent_y: bool = False,
) -> None:
    for tick in y_ticks:
        _add(svg, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=area.y(tick), y2=area.y(tick), cls="grid")
        _text(svg, LEFT - 6, area.y(tick) + 4, f"{tick:.0%}" if percent_y else f"{tick:g}", "end", "tick")
    for tick in x_ticks:
        _text(
            svg, area.x(tick), area.height - BOTTOM + 16, f"{tick:.0%}" if percent_x else f"{tick:g}", "middle", "tick"
        )
    _add(svg, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=area.height - BOTTOM, y2=area.height - BOTTOM, cls="axis")


def _label_axes(svg: Element, area: _Area, x_label: str, y_label: str) -> None:
    _text(svg, (LEFT + WIDTH - RIGHT) / 2, area.height - 3, x_label, "middle", "name")
    if y_label:
        _text(svg, 2, 10, y_label, "start", "name")


def _svg(width: float, height: float, title: str, kind: str) -> Element:
    svg = Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "class": kind, "role": "img", "aria-label": title})
    svg.tail = "\n"
    return svg


def _add(parent: Element, tag: str, *, cls: str, **attributes: float | str) -> Element:
    written = {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, {**written, "class": cls})


def _text(parent: Element, x: float, y: float, text: str, anchor: str, cls: str) -> Element:
    element = _add(parent, "text", x=x, y=y, cls=cls)
    element.set("text-anchor", anchor)
    element.text = text
    return element


def _markup(svg: Element) -> Markup:
    return Markup(ElementTree.tostring(svg, encoding="unicode"))
