import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activity.video.errors import VideoError, VideoWarning
from activity.video.files import VIDEO_SUFFIXES, find_videos
from activity.video.reader import VideoReader
from activity.video.sampling import TIME_TOLERANCE_SECONDS, grid_range
from tests.videos import (
    container_times,
    cut_off,
    frame_index,
    index_frames,
    noise_frames,
    spoil,
    write_sound,
    write_timed_video,
    write_video,
)

NTSC = Fraction(30000, 1001)
UNEVEN = [0, 80, 146, 160, 700, 712, 800, 801, 1500, 1533, 1567, 1600]  # milliseconds


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "even.mp4", index_frames(50))


def times_of(path: Path) -> list[float]:
    return [frame.time_seconds for frame in VideoReader(path)]


def expected_samples(times: list[float], sample_fps: float, *, lasts: float) -> list[tuple[int, int]]:
    """Grid index and frame index by the definition: the last frame that is not later than the grid point."""
    samples, k = [], 0
    while k == 0 or k / sample_fps + TIME_TOLERANCE_SECONDS < times[-1] + lasts:
        shown = max(i for i, time in enumerate(times) if time <= k / sample_fps + TIME_TOLERANCE_SECONDS)
        samples.append((k, shown))
        k += 1
    return samples


def samples_of(path: Path, sample_fps: float, indices: range | None = None) -> list[tuple[int, int]]:
    sampled = VideoReader(path).sampled_frames(sample_fps, indices=indices)
    return [(sample.index, frame_index(sample.pixels)) for sample in sampled]


class TestTimes:
    @pytest.mark.parametrize("fps", [25, 30, NTSC, 60, Fraction(25, 2)])
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
    def test_constant_rate(self, tmp_path: Path, fps: Fraction, suffix: str) -> None:
        path = write_video(tmp_path / f"video{suffix}", index_frames(20), fps=fps)
        assert times_of(path) == pytest.approx(container_times(path), abs=1e-9)
        assert times_of(path) == pytest.approx([i / fps for i in range(20)], abs=0.0006)

    @pytest.mark.parametrize("start", [0, 1500])
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
    def test_variable_rate_and_start_time(self, tmp_path: Path, suffix: str, start: int) -> None:
        path = write_timed_video(
            tmp_path / f"video{suffix}", index_frames(len(UNEVEN)), [start + time for time in UNEVEN]
        )
        assert times_of(path) == pytest.approx(container_times(path), abs=1e-9)
        assert times_of(path) == pytest.approx([time / 1000 for time in UNEVEN], abs=1e-9)

    @pytest.mark.parametrize(
        ("name", "codec", "count", "delay"),
        [
            # An AVI has places in the file and no times: a player shows its B-frames as much later as it reorders.
            ("b_frames.avi", "mpeg4", 20, 1),
            ("h264.avi", "libx264", 20, 2),
            ("short.avi", "libx264", 2, 0),
            ("b_frames.mpg", "mpeg2video", 20, 0),
        ],
    )
    def test_frames_without_a_time_follow_at_even_intervals(
        self, tmp_path: Path, name: str, codec: str, count: int, delay: int
    ) -> None:
        options = {"bf": "2"}
        path = write_video(tmp_path / name, index_frames(count), codec=codec, codec_options=options)
        frames = list(VideoReader(path))
        assert [frame_index(frame.pixels) for frame in frames] == list(range(count))
        assert [frame.time_seconds for frame in frames] == pytest.approx([(i + delay) / 25 for i in range(count)])
        assert [shown.index for shown in VideoReader(path).sampled_frames(25)][:2] == [0, 1]

    @pytest.mark.parametrize("name", ["last.mp4", "last.mkv"])
    def test_of_a_variable_rate_too_wherever_reading_begins(self, tmp_path: Path, name: str) -> None:
        times = [*range(0, 20_000, 1000), *range(20_000, 22_000, 40)]
        path = write_timed_video(tmp_path / name, index_frames(len(times)), times)
        whole, span = VideoReader(path), VideoReader(path)
        list(whole.sampled_frames(10))
        assert [shown.index for shown in span.sampled_frames(10, indices=range(212, 999))][-1] == 219
        assert whole.duration_seconds == pytest.approx(22.0, abs=0.002)
        assert span.duration_seconds == whole.duration_seconds

    def test_duration_ends_with_the_last_frame(self, video: Path, tmp_path: Path) -> None:
        reader = VideoReader(video)
        assert reader.duration_seconds == 0.0
        list(reader)
        assert reader.duration_seconds == pytest.approx(2.0)
        one = VideoReader(write_video(tmp_path / "one.mp4", index_frames(1)))
        list(one)
        assert one.duration_seconds == 0.0

    def test_the_grid_begins_at_the_container_and_shows_the_first_frame_until_it_comes(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "late.mkv", index_frames(10), fps=10, sound_seconds=2.0, start_frames=12)
        assert times_of(path) == pytest.approx([1.2 + i / 10 for i in range(10)])
        assert samples_of(path, 10) == [*((i, 0) for i in range(12)), *((12 + i, i) for i in range(10))]
        assert samples_of(path, 10, range(5, 14)) == [*((i, 0) for i in range(5, 13)), (13, 1)]


class TestPixels:
    def test_frames_are_rgb_and_in_order(self, video: Path) -> None:
        frames = list(VideoReader(video))
        assert [frame_index(frame.pixels) for frame in frames] == list(range(50))
        assert all(frame.pixels.shape == (48, 64, 3) and frame.pixels.dtype == np.uint8 for frame in frames)

    def test_the_rotation_that_the_file_asks_for_is_applied(self, tmp_path: Path) -> None:
        left_red = np.zeros((48, 64, 3), np.uint8)
        left_red[:, :32, 0] = 255
        upright = next(iter(VideoReader(write_video(tmp_path / "upright.mp4", [left_red] * 3))))
        assert upright.pixels.shape == (48, 64, 3)
        assert upright.pixels[24, 5, 0] > 200
        turned = next(iter(VideoReader(write_video(tmp_path / "turned.mp4", [left_red] * 3, rotation=90))))
        assert turned.pixels.shape == (64, 48, 3)
        assert turned.pixels[-5, 24, 0] > 200  # a quarter turn counter-clockwise: left is below
        assert turned.pixels[5, 24, 0] < 50


class TestSampledFrames:
    @pytest.mark.parametrize("sample_fps", [1.0, 5.0, 8.0, 12.5, 25.0, 30.0, 100.0])
    @pytest.mark.parametrize("fps", [10, 25, NTSC, 60])
    def test_constant_rate(self, tmp_path: Path, fps: Fraction, sample_fps: float) -> None:
        path = write_video(tmp_path / "video.mp4", index_frames(40), fps=fps)
        assert samples_of(path, sample_fps) == expected_samples(container_times(path), sample_fps, lasts=float(1 / fps))

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        gaps=st.lists(st.integers(1, 60) | st.integers(61, 900), max_size=40),
        sample_fps=st.sampled_from([2.0, 8.0, 12.5, 25.0]),
        start=st.sampled_from([0, 700]),
    )
    def test_variable_rate(self, tmp_path: Path, suffix: str, gaps: list[int], sample_fps: float, start: int) -> None:
        times = np.cumsum([start, *gaps]).tolist()
        path = write_timed_video(tmp_path / f"video{suffix}", index_frames(len(times)), times)
        seconds = [(time - start) / 1000 for time in times]
        samples, expected = samples_of(path, sample_fps), expected_samples(seconds, sample_fps, lasts=0.0)
        assert samples[: len(expected)] == expected
        assert {frame for _, frame in samples[len(expected) :]} <= {len(times) - 1}
        for some in (range(3, 9), range(20, 99)):
            assert samples_of(path, sample_fps, some) == [sample for sample in samples if sample[0] in some]

    def test_a_sudden_gap_shows_the_frame_before_it(self, tmp_path: Path) -> None:
        times = [*range(0, 440, 20), *range(1420, 1800, 20)]
        path = write_timed_video(tmp_path / "gap.mp4", index_frames(len(times)), times)
        assert samples_of(path, 4)[1:7] == [(1, 12), (2, 21), (3, 21), (4, 21), (5, 21), (6, 26)]

    def test_decoding_stops_behind_the_clip(self, video: Path) -> None:
        reader, decoded = VideoReader(video), []
        reader.on_frame = lambda: decoded.append(1)
        assert [shown.index for shown in reader.sampled_frames(5, indices=range(1, 3))] == [1, 2]
        assert len(decoded) <= 20  # frame 11, at 0.44 s, says that index 2 is over

    def test_indices_beyond_the_end_are_not_given(self, video: Path) -> None:
        assert [index for index, _ in samples_of(video, 8, range(12, 99))] == [12, 13, 14, 15]
        assert samples_of(video, 8, range(40, 50)) == []
        assert samples_of(video, 8, range(0)) == []

    def test_a_clip_is_the_same_part_of_the_whole(self, video: Path) -> None:
        clip = grid_range(0.5, 1.3, 12.5)
        assert samples_of(video, 12.5, clip) == [s for s in samples_of(video, 12.5) if s[0] in clip]

    def test_a_clip_while_the_last_frame_is_shown(self, tmp_path: Path) -> None:
        times = [0, 5000, 10_000, 15_000]
        path = write_timed_video(tmp_path / "slow.mkv", index_frames(4), times, codec_options={"g": "1", "bf": "0"})
        assert samples_of(path, 1, range(17, 22)) == [(17, 3), (18, 3), (19, 3)]

    def test_a_fragmented_file_is_sought_behind_600_s_too(self, tmp_path: Path) -> None:
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof+global_sidx"}
        path = write_video(tmp_path / "long.mp4", index_frames(200) * 5, fps=1, container_options=options)
        reader, decoded = VideoReader(path), []
        reader.on_frame = lambda: decoded.append(1)
        assert [frame.index for frame in reader.sampled_frames(1, indices=range(900, 902))] == [900, 901]
        assert len(decoded) < 700

    @pytest.mark.filterwarnings("ignore::activity.video.errors.VideoNote")  # that its clock jumps
    @pytest.mark.parametrize("name", ["gap.mkv", "gap.mp4"])
    def test_a_clip_behind_a_gap_at_which_the_clock_jumps(self, tmp_path: Path, name: str) -> None:
        times = [*range(0, 2000, 40), *range(702_000, 704_000, 40)]
        path = write_timed_video(tmp_path / name, index_frames(100), times, codec_options={"g": "5"})
        whole = samples_of(path, 5)
        assert whole[-1][0] == 19
        assert samples_of(path, 5, range(3512, 3518)) == []
        assert samples_of(path, 5, range(7, 12)) == whole[7:12]

    @pytest.mark.parametrize("name", ["keys.mp4", "keys.mkv", "keys.avi"])
    def test_the_duration_is_the_same_if_only_the_last_frame_was_read(self, tmp_path: Path, name: str) -> None:
        path = write_video(tmp_path / name, index_frames(100), codec_options={"g": "1", "bf": "0"})
        reader = VideoReader(path)
        assert list(reader.sampled_frames(10, indices=range(60, 70))) == []
        assert reader.duration_seconds == pytest.approx(4.0)

    def test_wrong_arguments_are_named(self, video: Path) -> None:
        with pytest.raises(ValueError, match="step 1"):
            next(VideoReader(video).sampled_frames(8, indices=range(0, 10, 2)))
        with pytest.raises(ValueError, match="sample_fps is 0"):
            next(VideoReader(video).sampled_frames(0))

    def test_times_are_those_of_the_frames(self, video: Path) -> None:
        sampled = list(VideoReader(video).sampled_frames(8))
        assert sampled[1].time_seconds == pytest.approx(0.12)  # grid point 0.125


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed on Linux only")
class TestClosing:
    def is_open(self, path: Path) -> bool:
        gc.collect()
        links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return any(os.path.realpath(link) == str(path.resolve()) for link in links)

    def test_at_the_end_and_again_from_the_start(self, video: Path) -> None:
        reader = VideoReader(video)
        assert len(list(reader)) == len(list(reader)) == 50
        assert not self.is_open(video)

    def test_by_the_with_block(self, video: Path) -> None:
        with VideoReader(video) as reader:
            frames = iter(reader)
            next(frames)
            assert self.is_open(video)
        assert not self.is_open(video)
        with pytest.raises(ValueError, match="was closed"):
            next(frames)

    @pytest.mark.parametrize("read", [iter, lambda reader: reader.sampled_frames(8)])
    def test_by_dropping_the_iterator(self, video: Path, read: object) -> None:
        frames: Iterator[object] = read(VideoReader(video))
        next(frames)
        assert self.is_open(video)
        del frames
        assert not self.is_open(video)

    def test_by_an_exception(self, video: Path) -> None:
        def fail() -> None:
            for _ in VideoReader(video):
                raise RuntimeError("the caller's")

        with pytest.raises(RuntimeError):
            fail()
        assert not self.is_open(video)

    def test_after_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "text.mp4"
        path.write_text("not a video")
        with pytest.raises(VideoError):
            list(VideoReader(path))
        assert not self.is_open(path)

    def test_after_a_clip(self, video: Path) -> None:
        samples_of(video, 8, range(2))
        assert not self.is_open(video)


def test_closing_while_a_frame_is_decoded_ends_the_reading(video: Path) -> None:
    reader = VideoReader(video)
    reader.on_frame = reader.close
    with pytest.raises(ValueError, match="was closed while it was being read"):
        list(reader)


class TestUnreadable:
    def error(self, path: Path) -> VideoError:
        with pytest.raises(VideoError) as caught:
            list(VideoReader(path))
        assert caught.value.source == str(path)
        assert str(path) in str(caught.value)
        assert caught.value.reason in str(caught.value)
        return caught.value

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in self.error(tmp_path / "missing.mp4").reason

    def test_folder(self, tmp_path: Path) -> None:
        assert "folder" in self.error(tmp_path).reason

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "empty.mp4").touch()
        assert "empty" in self.error(tmp_path / "empty.mp4").reason

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "text.mp4").write_text("not a video " * 100)
        assert "not a video" in self.error(tmp_path / "text.mp4").reason

    def test_without_its_index(self, tmp_path: Path) -> None:
        path = cut_off(write_video(tmp_path / "cut.mp4", noise_frames(20)), 0.6)
        assert "moov" in self.error(path).reason

    @pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv"])
    def test_sound_only(self, tmp_path: Path, name: str) -> None:
        assert "only sound" in self.error(write_sound(tmp_path / name)).reason

    def test_no_frame_can_be_decoded(self, tmp_path: Path) -> None:
        faststart = {"movflags": "faststart"}
        path = write_video(tmp_path / "spoilt.mp4", noise_frames(50), container_options=faststart)
        assert "no frame" in self.error(cut_off(path, 0.022)).reason

    def test_an_error_passes_between_processes(self, tmp_path: Path) -> None:
        error = self.error(tmp_path / "missing.mp4")
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.source, copy.reason) == (str(error), error.source, error.reason)

    def test_nothing_but_our_own_words_is_printed(self, tmp_path: Path) -> None:
        (tmp_path / "text.mp4").write_text("not a video " * 100)
        cut_off(write_video(tmp_path / "cut.mp4", noise_frames(20)), 0.6)
        spoil(write_video(tmp_path / "spoilt.mp4", noise_frames(50)), 0.4, 0.5)
        cut_off(write_video(tmp_path / "half.mkv", noise_frames(50)), 0.6)
        program = """
import sys, warnings
from activity.video.errors import VideoError
from activity.video.reader import VideoReader
warnings.simplefilter("ignore")
for name in sys.argv[1:]:
    try:
        print(name, sum(1 for _ in VideoReader(name)))
    except VideoError as error:
        print(error)
"""
        root = Path(__file__).parents[2]
        names = sorted(path.name for path in tmp_path.iterdir())
        done = subprocess.run(
            [sys.executable, "-c", program, *names],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(done.stdout.splitlines()) == len(names) == 4
        assert done.stderr == ""


class TestDamaged:
    def frames_and_warning(self, path: Path) -> tuple[int, str]:
        with pytest.warns(VideoWarning) as caught:
            frames = list(VideoReader(path))
        assert len(caught) == 1
        return len(frames), str(caught[0].message)

    @pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi", "cut.webm", "cut.flv"])
    def test_a_file_that_breaks_off(self, tmp_path: Path, name: str) -> None:
        options = {"movflags": "faststart"} if name == "cut.mp4" else {}
        path = write_video(tmp_path / name, noise_frames(100), container_options=options)
        count, warning = self.frames_and_warning(cut_off(path, 0.6))
        assert 50 <= count <= 65
        assert str(path) in warning
        assert f"end at {count / 25:.1f} s" in warning
        assert "it is 4.0 s long" in warning

    def test_sampled_frames_warn_as_well(self, tmp_path: Path) -> None:
        path = cut_off(write_video(tmp_path / "cut.mkv", noise_frames(100)), 0.6)
        with pytest.warns(VideoWarning, match="4.0 s long"):
            sampled = list(VideoReader(path).sampled_frames(8))
        assert 16 <= len(sampled) <= 20

    def test_the_warning_comes_after_the_last_frame(self, tmp_path: Path) -> None:
        path = cut_off(write_video(tmp_path / "cut.mkv", noise_frames(100)), 0.6)
        for read in (iter, lambda reader: reader.sampled_frames(30)):
            shown = 0.0
            with pytest.raises(VideoWarning):  # noqa: PT012 - the tests turn warnings into errors
                for frame in read(reader := VideoReader(path)):
                    shown = frame.time_seconds
            assert reader.duration_seconds == pytest.approx(shown + 0.04)

    def test_good_frames_behind_damaged_ones_are_given(self, tmp_path: Path) -> None:
        path = spoil(write_video(tmp_path / "spoilt.mp4", noise_frames(100)), 0.4, 0.5)
        with pytest.warns(VideoWarning, match="damaged packets"):
            times = [frame.time_seconds for frame in VideoReader(path)]
        assert 80 <= len(times) < 100
        assert times[-1] == pytest.approx(3.96)

    def test_what_is_known_of_it_stays_when_its_good_end_is_read(self, tmp_path: Path) -> None:
        reader = VideoReader(spoil(write_video(tmp_path / "spoilt.mp4", noise_frames(100)), 0.4, 0.5))
        with pytest.warns(VideoWarning, match="damaged packets"):
            list(reader)
        damage = reader.damage
        assert damage is not None
        assert list(reader.sampled_frames(10, indices=range(38, 60)))
        assert reader.damage == damage

    @pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv"])
    def test_sound_that_is_a_little_longer_is_no_damage(self, tmp_path: Path, name: str) -> None:
        path = write_video(tmp_path / name, index_frames(50), sound_seconds=2.6)
        assert len(list(VideoReader(path))) == 50

    @pytest.mark.parametrize("hidden", [25, 50, 100])
    def test_frames_that_an_edit_list_hides_are_no_damage(self, tmp_path: Path, hidden: int) -> None:
        # A clip that was cut out without encoding it again keeps the frames before it, and hides them.
        times = [40 * i for i in range(-hidden, 50)]
        path = write_timed_video(tmp_path / "trimmed.mp4", index_frames(len(times)), times)
        assert [frame_index(frame.pixels) for frame in VideoReader(path)] == list(range(hidden, hidden + 50))

    def test_a_late_start_is_no_damage(self, tmp_path: Path) -> None:
        times = [3000 + 40 * i for i in range(50)]
        assert len(times_of(write_timed_video(tmp_path / "late.mkv", index_frames(50), times))) == 50


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "a b 'c' \"d\" ü.mp4",
            "-loglevel.mp4",
            "100%.mp4",
            "img_%03d.mp4",
            "concat:a.mp4",
            "http:x.mp4",
            "a|b.mp4",
            "pipe:0",
            "x?y#z.mp4",
            "no suffix",
        ],
    )
    def test_any_name_is_a_file(self, video: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copy(video, tmp_path / name)
        monkeypatch.chdir(tmp_path)
        assert len(list(VideoReader(name))) == 50

    def test_a_pattern_of_pictures_is_no_video(self, video: Path, tmp_path: Path) -> None:
        for index in range(3):
            cv2.imwrite(str(tmp_path / f"img_{index:03d}.png"), np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(VideoError, match="no such file"):
            VideoReader(tmp_path / "img_%03d.png")
        shutil.copy(video, tmp_path / "img_%03d.png")
        with pytest.raises(VideoError, match="rename"):
            list(VideoReader(tmp_path / "img_%03d.png"))

    def test_find_videos(self, tmp_path: Path) -> None:
        for name in ["b/2.MP4", "b/1.avi", "a.mkv", "b/._1.avi", ".hidden/x.mp4", "model.ts", "notes.txt"]:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "b" / "loop").symlink_to(tmp_path)
        found = [path.relative_to(tmp_path).as_posix() for path in find_videos(tmp_path)]
        assert found == ["a.mkv", "b/1.avi", "b/2.MP4"]
        # From within, the link leads to what is outside: to other classes, where this is one of a data set.
        assert [path.name for path in find_videos(tmp_path / "b")] == ["1.avi", "2.MP4"]
        (tmp_path / "elsewhere").symlink_to(tmp_path / "b")
        assert [path.name for path in find_videos(tmp_path / "elsewhere")] == ["1.avi", "2.MP4"]

    def test_find_videos_in_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match="no such folder"):
            find_videos(tmp_path / "missing")

    def test_suffixes_are_lower_case(self) -> None:
        assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in VIDEO_SUFFIXES)


def test_a_name_that_is_not_utf8_is_refused_and_not_given_to_opencv(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.avi")
    write_video(tmp_path / "good.avi", index_frames(5)).rename(name)
    with pytest.raises(VideoError, match=r"not valid UTF-8.*rename"):
        VideoReader(name)


def test_a_name_that_is_too_long_is_a_missing_file(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        VideoReader(tmp_path / ("x" * 300 + ".mp4"))


def test_a_short_clip_that_lost_its_second_half_warns(tmp_path):
    path = cut_off(write_video(tmp_path / "short.avi", noise_frames(36), fps=20), 0.5)
    with pytest.warns(VideoWarning, match="its frames end at"):
        assert 10 <= len(list(VideoReader(path))) < 26
