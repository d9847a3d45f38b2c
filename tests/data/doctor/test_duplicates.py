"""Copies are found, and clips of the same scene are none: figures that move before one and the same wall."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from activity.data.demo import ORDER_PAIRS, render_clip
from activity.data.doctor.duplicates import are_near_identical, near_identical_pairs
from activity.data.doctor.facts import Thumbnails, probe_video
from tests.videos import Pixels, write_video

WALL = cv2.resize(np.random.default_rng(0).integers(60, 200, (6, 8, 3), dtype=np.uint8), (128, 96))


def figure_frames(seed: int, count: int = 60) -> list[Pixels]:
    """A dark figure that walks, at a pace of its own, up and down before the wall."""
    rng = np.random.default_rng(seed)
    start, speed, bounce, phase = rng.uniform(10, 60), rng.uniform(0.4, 1.2), rng.uniform(4, 20), rng.uniform(0, 6)
    frames = []
    for index in range(count):
        frame = WALL.copy()
        x, y = int(start + speed * index), int(40 + bounce * np.sin(phase + index / 6))
        cv2.rectangle(frame, (x, y), (x + 14, y + 34), (20, 20, 20), -1)
        frames.append(frame)
    return frames


def thumbnails(path: Path, frames: list[Pixels], **options: object) -> Thumbnails:
    return probe_video(write_video(path, frames, **options)).thumbnails  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Thumbnails:
    return thumbnails(tmp_path_factory.mktemp("original") / "a.mp4", figure_frames(1))


def smaller(frames: list[Pixels]) -> list[Pixels]:
    return [cv2.resize(frame, (64, 48), interpolation=cv2.INTER_AREA) for frame in frames]


def darker(frames: list[Pixels]) -> list[Pixels]:
    return [(frame * 0.8).astype(np.uint8) for frame in frames]


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (list, {"codec": "mpeg4"}),
        (list, {"codec": "libx264", "codec_options": {"crf": "35"}}),
        (smaller, {"codec": "libx264", "codec_options": {"crf": "28"}}),
        (darker, {}),
        (lambda frames: frames[3:], {}),
        (lambda frames: frames[:-6], {}),
        (lambda frames: smaller(frames)[3:-3], {}),
        (lambda frames: frames[::2], {"fps": 12.5}),
        (lambda frames: [np.rot90(frame) for frame in frames], {"rotation": -90}),
    ],
    ids=[
        *("mpeg4", "low quality", "half size", "darker", "start trimmed", "end trimmed", "all of it", "half the rate"),
        "stored on its side",
    ],
)
def test_a_copy_is_found(
    tmp_path: Path, original: Thumbnails, change: Callable[[list[Pixels]], list[Pixels]], options: dict[str, object]
) -> None:
    copy = thumbnails(tmp_path / "b.mp4", change(figure_frames(1)), **options)
    assert near_identical_pairs([original, copy]) == [(0, 1)]


def test_clips_of_one_scene_are_no_copies(tmp_path: Path) -> None:
    takes = [thumbnails(tmp_path / f"{seed}.mp4", figure_frames(seed)) for seed in range(1, 13)]
    assert near_identical_pairs(takes) == []


def bowing_frames(count: int = 60) -> list[Pixels]:
    """A figure that goes there and back, a little slower there: in reverse it moves almost as it does forwards."""
    frames = []
    for time in np.linspace(0, 1, count):
        frame = WALL.copy()
        x = int(20 + 70 * np.sin(np.pi * time**1.08))
        cv2.rectangle(frame, (x, 40), (x + 14, 74), (20, 20, 20), -1)
        frames.append(frame)
    return frames


def test_a_clip_in_reverse_is_no_copy_even_where_it_looks_much_the_same(tmp_path: Path, original: Thumbnails) -> None:
    assert not are_near_identical(original, thumbnails(tmp_path / "b.mp4", figure_frames(1)[::-1]))
    bow = thumbnails(tmp_path / "c.mp4", bowing_frames())
    assert not are_near_identical(bow, thumbnails(tmp_path / "d.mp4", bowing_frames()[::-1]))
    assert are_near_identical(bow, thumbnails(tmp_path / "e.mp4", smaller(bowing_frames())[3:]))


def test_activities_of_the_demo_that_differ_in_order_alone_are_no_copies(tmp_path: Path) -> None:
    for one, other in ORDER_PAIRS:
        films = [list(render_clip(name, actor=0, take=0, seed=0)) for name in (one, other)]
        pair = [thumbnails(tmp_path / f"{name}.mp4", film) for name, film in zip((one, other), films, strict=True)]
        assert near_identical_pairs(pair) == []


def test_the_same_movement_in_another_place_is_no_copy(tmp_path: Path, original: Thumbnails) -> None:
    elsewhere = [np.where(frame == 20, frame, 255 - frame) for frame in figure_frames(1)]
    assert not are_near_identical(original, thumbnails(tmp_path / "b.mp4", elsewhere))


def test_many_videos_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch, original: Thumbnails) -> None:
    monkeypatch.setattr("activity.data.doctor.duplicates._BLOCK", 2)
    rng = np.random.default_rng(0)
    others = [
        Thumbnails(rng.integers(0, 255, (20, 16, 16), dtype=np.uint8), 1 / 16, *map(int, rng.integers(0, 2**62, 2)))
        for _ in range(5)
    ]
    assert near_identical_pairs([original, *others, original]) == [(0, 6)]
