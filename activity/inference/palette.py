"""How a class looks wherever timelines are shown: the same colour in plots, notebooks and on frames."""

from collections.abc import Sequence

from activity.data.segments import BACKGROUND, Segment
from activity.visualization.overlay import CaptionedSpan

# Okabe and Ito, "Color Universal Design", 2008: told apart by the colour-blind too. Without black and yellow, which
# are not seen on dark and on white ground.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
NO_CLASS_COLOUR = "#8A8F94"


def colour_of(label: str, class_names: Sequence[str]) -> str:
    """The colour of a class as `#RRGGBB`: by its place among all classes, whatever a video shows; background is grey.

    >>> colour_of("walk", ["run", "walk"]), colour_of("background", ["run", "walk"])
    ('#E69F00', '#8A8F94')
    """
    if label == BACKGROUND or label not in class_names:
        return NO_CLASS_COLOUR
    return COLOURS[class_names.index(label) % len(COLOURS)]


def pattern_of(label: str, class_names: Sequence[str]) -> int:
    """What tells apart the classes that share a colour: 0 for the first class that has it, 1 for the second, ...

    >>> names = [f"class {number}" for number in range(20)]
    >>> pattern_of("class 1", names), pattern_of("class 19", names)
    (0, 3)
    """
    return class_names.index(label) // len(COLOURS) if label in class_names else 0


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour (contrast of WCAG 2.1).

    >>> ink_on("#0072B2"), ink_on("#E69F00")
    ('#FFFFFF', '#000000')
    """
    linear = [_linear(channel / 255) for channel in rgb_of(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#FFFFFF" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of `#RRGGBB`."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def captions_of(segments: Sequence[Segment], class_names: Sequence[str]) -> list[CaptionedSpan]:
    """What `write_overlay` is to write: each segment's label and score, in the colour of its class."""
    return [
        CaptionedSpan(
            start_seconds=segment.start_seconds,
            end_seconds=segment.end_seconds,
            text=segment.label,
            score=segment.score,
            colour=rgb_of(colour_of(segment.label, class_names)),
        )
        for segment in segments
    ]


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
