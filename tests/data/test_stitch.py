"""Long videos with known borders: what is seen in each annotated span is what its label says."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from activity.data import demo
from activity.data.annotations import read_annotations
from activity.data.clips import Clip, DataError
from activity.data.demo import CLIP_FRAMES, FRAMES_PER_SECOND, render_long_scene
from activity.data.stitch import letterboxed, stitch
from activity.video.errors import VideoError
from activity.video.reader import VideoReader
from tests.datasets import COLOURS, GROUP_PATTERN, write_colour_folder
from tests.videos import write_video

CHECKOUT = Path(__file__).parents[2]
SIZE = (64, 48)


def plain_clip(
    folder: Path, label: str, *, fps: float, frames: int, size: tuple[int, int] = SIZE, **span: float
) -> Clip:
    """A video of nothing but a colour."""
    pictures = [np.full((size[1], size[0], 3), COLOURS[label], np.uint8)] * frames
    path = write_video(folder / f"{label}.avi", pictures, fps=fps)
    return Clip(path=path, relative_path=path.name, label=label, group="a", **span)


def colour_at(path: Path, seconds: float) -> str:
    """What a video shows in the middle of its picture."""
    with VideoReader(path) as video:
        before = [frame.pixels for frame in video if frame.time_seconds <= seconds + 1e-6]
    middle = before[-1][before[-1].shape[0] // 2, before[-1].shape[1] // 2].astype(int)
    return min(COLOURS, key=lambda name: int(np.abs(middle - COLOURS[name]).sum()))


def test_each_clip_is_seen_where_its_segment_says_whatever_its_rate(tmp_path: Path) -> None:
    clips = [
        plain_clip(tmp_path, "blue", fps=25, frames=30),  # 1.2 s
        plain_clip(tmp_path, "green", fps=10, frames=20),  # 2 s
        plain_clip(tmp_path, "red", fps=60, frames=90, start_seconds=0.5, end_seconds=1.3),  # 0.8 s of it
    ]
    long = tmp_path / "deep/long.avi"
    segments = stitch(clips, long, size=SIZE, fps=20, seed=1)
    assert sorted((item.label, round(item.duration_seconds, 3)) for item in segments) == [
        ("blue", 1.2),
        ("green", 2.0),
        ("red", 0.8),
    ]
    assert segments[0].start_seconds == 0
    for before, after in itertools.pairwise(segments):
        assert before.end_seconds == after.start_seconds
    for item in segments:
        for seconds in (item.start_seconds, item.end_seconds - 0.05):  # its first frame and its last
            assert colour_at(long, seconds) == item.label
    with VideoReader(long) as video:
        assert sum(1 for _ in video) == 80
        assert video.duration_seconds == pytest.approx(4.0)


def test_the_order_is_that_of_the_seed(tmp_path: Path) -> None:
    clips = [plain_clip(tmp_path, label, fps=10, frames=2) for label in COLOURS]

    def order(seed: int) -> tuple[str, ...]:
        return tuple(item.label for item in stitch(clips, tmp_path / "long.avi", size=SIZE, fps=10, seed=seed))

    assert order(0) == order(0)
    assert len({order(seed) for seed in range(8)}) > 2


def test_clips_of_another_form_have_black_at_two_sides(tmp_path: Path) -> None:
    clips = [plain_clip(tmp_path, "red", fps=10, frames=3, size=(40, 80))]
    stitch(clips, tmp_path / "long.avi", size=SIZE, fps=10, seed=0)
    with VideoReader(tmp_path / "long.avi") as video:
        first = next(iter(video)).pixels
    assert first.shape == (48, 64, 3)
    reds = first[24, :, 0] > 128
    assert (reds.sum(), reds[:18].any(), reds[20:44].all(), reds[46:].any()) == (pytest.approx(24, abs=2), 0, 1, 0)
    assert letterboxed(np.zeros((2, 300, 3), np.uint8), (8, 8)).shape == (8, 8, 3)


def test_a_clip_without_frames_and_one_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    good = plain_clip(tmp_path, "red", fps=10, frames=5)
    late = plain_clip(tmp_path, "blue", fps=10, frames=5, start_seconds=3.0)
    with pytest.raises(DataError, match=r"'blue\.avi' has no frame from 3 s on"):
        stitch([good, late], tmp_path / "long.avi", size=SIZE, fps=10, seed=0)
    (tmp_path / "text.avi").write_text("no video")
    broken = Clip(path=tmp_path / "text.avi", relative_path="text.avi", label="red", group="a")
    with pytest.raises(VideoError, match=r"text\.avi"):
        stitch([good, broken], tmp_path / "long.avi", size=SIZE, fps=10, seed=0)


class TestLongScene:
    def test_one_thing_after_another_as_bodies_do_them_and_idle_between(self) -> None:
        shown, segments = render_long_scene(12, actor=1000, take=0, seed=0, size=(80, 60))
        frames = list(shown)
        assert len(segments) == 12
        after = {"sit_down": {"stand_up"}, "pick_up": {"put_down"}}
        for before, item in itertools.pairwise(segments):
            assert item.label in after.get(before.label, {"jump", "pick_up", "sit_down", "wave"})
            assert 1.45 <= item.start_seconds - before.end_seconds <= 4.05
        assert 1.45 <= segments[0].start_seconds <= 4.05
        assert 1.45 <= len(frames) / FRAMES_PER_SECOND - segments[-1].end_seconds <= 4.05
        assert {item.label for item in segments} >= {"sit_down", "stand_up", "jump"}

    def test_it_moves_within_its_segments_and_stays_as_it_is_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # With a camera that stands still and a figure that holds its breath nothing else moves.
        monkeypatch.setattr(demo, "_drift", lambda rng, times, count: np.zeros((len(times), count)))
        shown, segments = render_long_scene(12, actor=1000, take=0, seed=0, size=(160, 120))
        frames = np.stack(list(shown))
        moving = np.zeros(len(frames), bool)
        for item in segments:
            start, end = (round(seconds * FRAMES_PER_SECOND) for seconds in (item.start_seconds, item.end_seconds))
            moving[start:end] = True
            changes = (frames[start + 1 : end] != frames[start : end - 1]).any(axis=(1, 2, 3))
            assert changes.mean() > 0.7, item  # movements begin and end gently
            assert (frames[start] == frames[start - 1]).all(), item  # from the posture it was in
            assert (frames[end] == frames[end - 1]).all(), item
        idle = ~moving[1:] & ~moving[:-1]
        assert not (frames[1:] != frames[:-1]).any(axis=(1, 2, 3))[idle].any()

    def test_seed_and_actor_change_it_and_nothing_else_does(self) -> None:
        def script(**other: int) -> list[tuple[str, float]]:
            _, segments = render_long_scene(6, **{"actor": 0, "take": 0, "seed": 0} | other)
            return [(item.label, item.start_seconds) for item in segments]

        assert script() == script()
        assert script() != script(seed=1) != script(actor=1)


class TestScript:
    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, CHECKOUT / "scripts" / "stitch", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
        )

    def test_demo(self, tmp_path: Path) -> None:
        done = self.run("demo", tmp_path / "out", "--groups", "1000,7", "--activities", "2")
        assert done.returncode == 0, done.stderr
        videos = read_annotations(tmp_path / "out" / "annotations.csv")
        assert [(video.name, len(video.segments)) for video in videos] == [("actor1000.avi", 2), ("actor7.avi", 2)]
        with VideoReader(videos[0].path) as video:
            frames = sum(1 for _ in video)
        assert frames > CLIP_FRAMES
        assert frames / FRAMES_PER_SECOND > videos[0].segments[-1].end_seconds

    def test_a_data_set_by_group(self, tmp_path: Path) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=3)
        pattern = ("--group-pattern", GROUP_PATTERN.partition("=")[2].strip("'"))
        done = self.run(root, tmp_path / "out", *pattern, "--groups", "actor0,actor2", "--fps", "25")
        assert done.returncode == 0, done.stderr
        videos = read_annotations(tmp_path / "out" / "annotations.csv")
        assert [video.name for video in videos] == ["actor0.avi", "actor2.avi"]
        assert all(sorted(item.label for item in video.segments) == ["blue", "red"] for video in videos)
        assert all(video.segments[-1].end_seconds == pytest.approx(0.96) for video in videos)
        splits = tmp_path / "splits.csv"
        rows = [
            f"{label}/actor{number}.mp4,{label},actor{number},{'test' if number == 1 else 'train'}"
            for label in ("blue", "red")
            for number in range(3)
        ]
        splits.write_text("\n".join(["path,label,group,split", *rows]))
        done = self.run(root, tmp_path / "held_out", *pattern, "--splits", splits)
        assert done.returncode == 0, done.stderr
        assert [video.name for video in read_annotations(tmp_path / "held_out/annotations.csv")] == ["actor1.avi"]

    def test_a_size_that_is_none_and_a_python_without_the_package(self, tmp_path: Path) -> None:
        done = self.run("demo", tmp_path / "out", "--size", "abc")
        assert done.returncode == 2
        assert "'abc' is no WIDTHxHEIGHT in pixels" in done.stderr
        alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-S", CHECKOUT / "scripts/stitch"]
        done = subprocess.run(command, env=alone, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("scripts/stitch: run it as .venv/bin/python scripts/stitch")

    def test_the_splits_of_another_data_set(self, tmp_path: Path) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=1)
        splits = tmp_path / "splits.csv"
        for side, said in (("test", "no clip is of the group 'stranger'"), ("train", "has no clip to be joined")):
            splits.write_text(f"path,label,group,split\nred/actor0.mp4,red,stranger,{side}\n")
            done = self.run(root, tmp_path / "out", "--splits", splits)
            assert done.returncode == 1
            assert said in done.stderr
            assert "Traceback" not in done.stderr

    def test_a_group_that_is_not_there(self, tmp_path: Path) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=1)
        done = self.run(root, tmp_path / "out", "--groups", "nobody")
        assert done.returncode == 1
        assert "no clip is of the group 'nobody'" in done.stderr
        assert "Traceback" not in done.stderr
