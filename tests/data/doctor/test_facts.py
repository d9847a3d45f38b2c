from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from activity.data.doctor.facts import MAX_THUMBNAILS, perceptual_hash, probe_video
from activity.video.errors import VideoError
from activity.video.picture import Converter
from tests.datasets import colour_frames
from tests.videos import cut_off, index_frames, noise_frames, write_timed_video, write_video


def test_what_a_plain_video_is_like(tmp_path: Path) -> None:
    facts = probe_video(write_video(tmp_path / "a.mp4", index_frames(50), fps=25))
    assert (facts.frames, facts.sizes, facts.codec) == (50, ((64, 48),), "H.264")
    assert facts.duration_seconds == pytest.approx(2.0)
    assert facts.fps == pytest.approx(25)
    problems = (facts.variable_rate, facts.rotation, facts.ends_early, facts.damage, facts.black, facts.frozen)
    assert not any(problems)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MPEG-4"), ("a.mkv", "H.264"), ("a.webm", "VP8")])
def test_codecs_have_their_common_names(tmp_path: Path, name: str, codec: str) -> None:
    assert probe_video(write_video(tmp_path / name, index_frames(5))).codec == codec


@pytest.mark.parametrize("fps", [29.97, 30, 60, 23.976])
def test_rounding_to_milliseconds_is_no_variable_rate(tmp_path: Path, fps: float) -> None:
    assert not probe_video(write_video(tmp_path / "a.mkv", index_frames(60), fps=fps)).variable_rate


def test_a_variable_rate_and_its_longest_gap(tmp_path: Path) -> None:
    times = np.cumsum([0, *[40, 40, 120] * 8, 700]).tolist()
    facts = probe_video(write_timed_video(tmp_path / "a.mkv", index_frames(26), times))
    assert facts.variable_rate
    assert facts.longest_gap_seconds == pytest.approx(0.7)


def test_one_late_frame_is_no_variable_rate(tmp_path: Path) -> None:
    times = [40 * index + (500 if index > 30 else 0) for index in range(60)]
    assert not probe_video(write_timed_video(tmp_path / "a.mkv", index_frames(60), times)).variable_rate


def test_a_halt_of_the_picture_is_a_long_gap_and_does_not_lower_the_rate(tmp_path: Path) -> None:
    times = [40 * index + (15_000 if index > 60 else 0) for index in range(120)]
    facts = probe_video(write_timed_video(tmp_path / "a.mkv", index_frames(120), times))
    assert facts.variable_rate
    assert facts.longest_gap_seconds == pytest.approx(15.04)
    assert facts.fps == pytest.approx(25)


@pytest.mark.parametrize("rate", [Fraction(30_000, 1001), Fraction(60), Fraction(10, 12)])
def test_the_rate_is_exact_and_slow_pictures_are_no_halts(tmp_path: Path, rate: Fraction) -> None:
    times = [round(1000 * index / rate) for index in range(61)]
    facts = probe_video(write_timed_video(tmp_path / "a.mkv", index_frames(61), times))
    assert facts.fps == pytest.approx(float(rate), rel=1e-3)
    assert not facts.variable_rate


def test_rotation(tmp_path: Path) -> None:
    facts = probe_video(write_video(tmp_path / "a.mp4", index_frames(5), rotation=90))
    assert (facts.rotation, facts.sizes) == (270, ((48, 64),))


def test_a_video_that_breaks_off(tmp_path: Path) -> None:
    path = cut_off(write_video(tmp_path / "a.avi", noise_frames(75)), 0.5)
    facts = probe_video(path)
    assert facts.ends_early
    assert facts.damage is not None
    assert "3.0 s long" in facts.damage
    assert 20 < facts.frames < 60


def test_one_frame_black_and_frozen(tmp_path: Path) -> None:
    one = probe_video(write_video(tmp_path / "one.mp4", index_frames(1)))
    assert (one.frames, one.fps, one.duration_seconds, one.frozen) == (1, None, 0.0, False)
    black = probe_video(write_video(tmp_path / "black.mp4", [np.zeros((48, 64, 3), np.uint8)] * 10))
    assert (black.black, black.frozen) == (True, True)
    frozen = probe_video(write_video(tmp_path / "frozen.mp4", colour_frames("red", 1) * 10))
    assert (frozen.black, frozen.frozen) == (False, True)


def test_what_cannot_be_read_raises(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(VideoError, match="not a video"):
        probe_video(tmp_path / "a.mp4")


def test_thumbnails_stay_few_and_on_the_grid_of_a_shorter_video(tmp_path: Path) -> None:
    frames = index_frames(200)
    long = probe_video(write_video(tmp_path / "long.mkv", frames, fps=10)).thumbnails
    short = probe_video(write_video(tmp_path / "short.mkv", frames[:30], fps=10)).thumbnails
    assert len(long.pictures) <= MAX_THUMBNAILS
    step = round(long.interval_seconds / short.interval_seconds)
    assert step == 8
    common = short.pictures[::step]
    assert np.abs(common.astype(int) - long.pictures[: len(common)]).max() <= 3


def test_few_frames_are_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    rgb = Converter.rgb
    monkeypatch.setattr(Converter, "rgb", lambda *args, **options: converted.append(1) or rgb(*args, **options))
    path = write_video(tmp_path / "long.mkv", index_frames(200) * 5, fps=20, codec_options={"preset": "ultrafast"})
    probe_video(path)
    assert 64 <= len(converted) <= 64 + 4 * 32  # 64 pictures last 4 s, which doubles four times


def test_reading_can_be_ended(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe_video(write_video(tmp_path / "a.mp4", index_frames(5)), on_frame=stop)


def test_the_hash_of_a_picture_survives_noise_and_tells_pictures_apart() -> None:
    rng = np.random.default_rng(0)
    scenes = [cv2.GaussianBlur(rng.uniform(0, 255, (16, 16)).astype(np.float32), (5, 5), 0) for _ in range(2)]
    noisy = 0.8 * scenes[0] + 10 + rng.normal(0, 0.5, (16, 16))
    distances = [(perceptual_hash(scenes[0]) ^ perceptual_hash(other)).bit_count() for other in (noisy, scenes[1])]
    assert distances[0] <= 6
    assert distances[1] >= 20
