"""The rooms of the demo set: a wall, a floor and things along the wall, random in kind, place and colour."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from activity.data.figure import Colour, random_colour

Image = NDArray[np.uint8]


def draw_room(rng: np.random.Generator, size: tuple[int, int], *, floor_line: int, unit: float) -> Image:
    """A room, RGB (height, width, 3); floor_line: the row where the wall ends; unit: the smallest detail."""
    width, height = size
    wall = random_colour(rng, saturation=(0.05, 0.35), value=(0.55, 0.95))
    floor = random_colour(rng, saturation=(0.1, 0.5), value=(0.35, 0.75))
    room = np.empty((height, width, 3), np.uint8)
    room[:floor_line], room[floor_line:] = wall, floor
    _cover(rng, room[:floor_line], wall, unit, across=bool(rng.random() < 0.3))
    _cover(rng, room[floor_line:], floor, unit, across=bool(rng.random() < 0.7))
    for left in np.arange(rng.uniform(-0.1, 0.1), 1.0, 0.27):
        if rng.random() < 0.7:
            draw = _THINGS[rng.integers(len(_THINGS))]
            draw(rng, room[:floor_line], round((left + rng.uniform(0, 0.08)) * width), unit)
    skirting = round(5 * unit)
    room[floor_line - skirting : floor_line] = _shade(wall, rng.choice([0.7, 1.15]))
    room[floor_line : floor_line + max(1, round(unit))] = _shade(floor, 0.6)
    if rng.random() < 0.5:
        _rug(rng, room, floor_line, unit)
    return _lamplight(rng, room, floor_line)


def _cover(rng: np.random.Generator, surface: Image, colour: Colour, unit: float, *, across: bool) -> None:
    """Wallpaper or boards: bands of slightly different shades, at random none."""
    if rng.random() < 0.3:
        return
    contrast, band = rng.uniform(0.03, 0.12), rng.uniform(6, 22) * unit
    length = surface.shape[0] if across else surface.shape[1]
    shades = 1 + contrast * rng.choice([rng.uniform(-1, 1, 400), np.resize([-1.0, 1.0], 400)])
    profile = shades[(np.arange(length) / band).astype(int) % 400]
    lines = np.clip(profile[:, None] * np.array(colour), 0, 255).astype(np.uint8)
    surface[:] = lines[:, None] if across else lines[None]


def _picture(rng: np.random.Generator, wall: Image, left: int, unit: float) -> None:
    width, height = (rng.uniform([22, 18], [50, 45]) * unit).round().astype(int)
    top = round(rng.uniform(0.12, 0.4) * len(wall))
    edge = round(3 * unit)
    _box(wall, (left, top), (width, height), random_colour(rng, saturation=(0.1, 0.6), value=(0.15, 0.9)))
    inner = width - 2 * edge, height - 2 * edge
    _box(wall, (left + edge, top + edge), inner, random_colour(rng, saturation=(0.1, 0.5), value=(0.5, 0.95)))
    low = top + edge + inner[1] * 6 // 10
    hills = random_colour(rng, saturation=(0.2, 0.6), value=(0.3, 0.7))
    _box(wall, (left + edge, low), (inner[0], top + edge + inner[1] - low), hills)


def _window(rng: np.random.Generator, wall: Image, left: int, unit: float) -> None:
    width, height = (rng.uniform([40, 55], [70, 85]) * unit).round().astype(int)
    top = round(rng.uniform(0.08, 0.25) * len(wall))
    bar = max(2, round(3 * unit))
    frame = random_colour(rng, saturation=(0.0, 0.3), value=(0.6, 1.0))
    sky = random_colour(rng, saturation=(0.05, 0.35), value=(0.75, 1.0))
    _box(wall, (left, top), (width, height), frame)
    for column in (0, 1):
        for row in (0, 1):
            pane = (width - 3 * bar) // 2, (height - 3 * bar) // 2
            corner = left + bar + column * (pane[0] + bar), top + bar + row * (pane[1] + bar)
            _box(wall, corner, pane, _shade(sky, 1.0 - 0.06 * row))
    _box(wall, (left - bar, top + height), (width + 2 * bar, bar), _shade(frame, 0.85))


def _cabinet(rng: np.random.Generator, wall: Image, left: int, unit: float) -> None:
    width, height = (rng.uniform([40, 45], [75, 120]) * unit).round().astype(int)
    colour = random_colour(rng, saturation=(0.1, 0.45), value=(0.3, 0.8))
    top, rows = len(wall) - height, int(rng.integers(1, 4))
    _box(wall, (left, top), (width, height), colour)
    _box(wall, (left - 1, top), (width + 2, max(2, round(3 * unit))), _shade(colour, 1.15))
    gap = max(2, round(2.5 * unit))
    for row in range(rows):
        for column in (0, 1):
            door = width // 2 - 2 * gap, (height - gap) // rows - 2 * gap
            corner = left + gap + column * (width // 2), top + 2 * gap + row * ((height - gap) // rows)
            _box(wall, corner, door, _shade(colour, 0.88))
            knob = corner[0] + (door[0] - 2 * gap if column == 0 else gap), corner[1] + door[1] // 2
            _box(wall, knob, (gap, gap), _shade(colour, 0.5))


def _shelf(rng: np.random.Generator, wall: Image, left: int, unit: float) -> None:
    width, board = round(rng.uniform(40, 70) * unit), max(2, round(3 * unit))
    wood = random_colour(rng, saturation=(0.2, 0.6), value=(0.3, 0.7))
    for level in rng.uniform(0.2, 0.3) + np.arange(rng.integers(1, 3)) * 0.22:
        bottom, book_left = round(level * len(wall)), left + round(2 * unit)
        while book_left < left + width - 8 * unit:
            thick, tall = (rng.uniform([3, 10], [7, 19]) * unit).round().astype(int)
            book = random_colour(rng, saturation=(0.2, 0.7), value=(0.3, 0.85))
            _box(wall, (book_left, bottom - tall), (thick, tall), book)
            book_left += thick + int(rng.integers(0, 3))
        _box(wall, (left, bottom), (width, board), wood)


_THINGS: tuple[Callable[[np.random.Generator, Image, int, float], None], ...] = (
    _picture,
    _window,
    _cabinet,
    _shelf,
)


def _rug(rng: np.random.Generator, room: Image, floor_line: int, unit: float) -> None:
    height, width = room.shape[:2]
    middle = (
        round(rng.uniform(0.4, 0.6) * width),
        round(floor_line + rng.uniform(0.5, 0.7) * (height - floor_line)),
    )
    axes = round(rng.uniform(70, 130) * unit), round(0.28 * (height - floor_line))
    colour = random_colour(rng, saturation=(0.15, 0.55), value=(0.4, 0.8))
    for shrink, shade in ((1.0, 0.8), (0.92, 1.0), (0.7, 0.9), (0.64, 1.0)):
        size = round(axes[0] * shrink), round(axes[1] * shrink)
        cv2.ellipse(room, middle, size, 0, 0, 360, _shade(colour, shade), -1, cv2.LINE_AA)


def _lamplight(rng: np.random.Generator, room: Image, floor_line: int) -> Image:
    """Brighter around one place, darker towards the corners and where wall and floor meet; a little grain."""
    height, width = room.shape[:2]
    x, y = np.arange(width) / width, np.arange(height)[:, None] / height
    away = (x - rng.uniform(0.25, 0.75)) ** 2 + 0.6 * (y - rng.uniform(0.2, 0.5)) ** 2
    light = 1.1 - rng.uniform(0.35, 0.7) * away
    light *= 1 - 0.12 * np.exp(-np.abs(np.arange(height)[:, None] - floor_line) / (0.04 * height))
    grain = cv2.GaussianBlur(rng.normal(0, 3, (height, width)), (0, 0), 0.8)
    return np.asarray(np.clip(room * light[..., None] + grain[..., None], 0, 255), dtype=np.uint8)


def _box(surface: Image, corner: tuple[int, int], size: tuple[int, int], colour: Colour) -> None:
    (left, top), (width, height) = corner, size
    surface[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = colour


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255.0, factor * value) for value in colour)
    return red, green, blue
