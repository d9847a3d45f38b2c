"""Texts of a plot: times, and labels that are shortened to fit."""

import math
import unicodedata

LONGEST_LABEL = 32
CHARACTER_INCHES = 0.077
"""How wide a letter of 9 points is, about."""

_TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
_MOST_TIMES = 14


def times_along(end_seconds: float) -> list[float]:
    """Round times from 0 to the end, for an axis.

    >>> times_along(2.0), times_along(7200.0)[:3]
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0], [0.0, 600.0, 1200.0])
    """
    step = next((step for step in _TIME_STEPS if end_seconds / step <= _MOST_TIMES), end_seconds / _MOST_TIMES)
    return [round(float(number * step), 6) for number in range(math.floor(end_seconds / step + 1e-9) + 1)]


def unit_of(end_seconds: float) -> tuple[str, str]:
    """The unit of `time_text`, short and in words."""
    if end_seconds < 60:
        return "s", "seconds"
    return ("min", "minutes:seconds") if end_seconds < 3600 else ("h", "hours:minutes")


def time_text(seconds: float, end_seconds: float) -> str:
    """A time as the length of the whole asks for: 4.5, 12:30 or 1:05.

    >>> time_text(4.5, 12.0), time_text(750.0, 900.0), time_text(3900.0, 7200.0)
    ('4.5', '12:30', '1:05')
    """
    if end_seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0")
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if end_seconds < 3600 else f"{minutes // 60}:{minutes % 60:02d}"


def text_width(text: str) -> int:
    """How many Latin letters a text is as wide as: those of East Asia count twice."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shortened(text: str, longest: int = LONGEST_LABEL) -> str:
    """A label on one line, with an ellipsis where it is longer than so many letters."""
    text = " ".join(text.encode(errors="replace").decode().split())  # half a character cannot be drawn
    if text_width(text) <= longest:
        return text
    while text_width(text) >= longest:
        text = text[:-1]
    return text.rstrip() + "…"


def fitting(label: str, inches: float) -> str:
    """The label as far as it fits; nothing where only the first letters would."""
    letters = math.floor(inches / CHARACTER_INCHES)
    return shortened(label, letters) if letters >= min(5, text_width(label)) else ""
