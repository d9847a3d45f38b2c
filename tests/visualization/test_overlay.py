import os
import resource
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from activity.video.errors import VideoError, VideoWarning
from activity.video.reader import VideoReader
from activity.video.writer import SUFFIXES
from activity.visualization.overlay import CaptionedSpan, draw_caption, write_overlay
from tests.videos import (
    Pixels,
    cut_off,
    frame_index,
    index_frames,
    noise_frames,
    write_sound,
    write_timed_video,
    write_video,
)

GREY, GREEN = 200, (0, 255, 0)


def span(start: float, end: float, text: str = "walk", score: float = 0.5) -> CaptionedSpan:
    return CaptionedSpan(start_seconds=start, end_seconds=end, text=text, score=score, colour=GREEN)


def grey(width: int = 160, height: int = 120) -> Pixels:
    return np.full((height, width, 3), GREY, np.uint8)


def drawn(caption: CaptionedSpan | None, width: int = 160, height: int = 120, time_seconds: float = 0.0) -> Pixels:
    pixels = grey(width, height)
    draw_caption(pixels, time_seconds=time_seconds, span=caption)
    return pixels


def bar_length(pixels: Pixels) -> int:
    """How many pixels of the lowest row are green, allowing for compression."""
    red, green, blue = pixels[-1].astype(int).T
    return int(((green > red + 60) & (green > blue + 60)).sum())


def text_in(pixels: Pixels) -> Pixels:
    """Where text is: what is brighter than the ground, in the band."""
    return pixels[-30:].min(axis=2) > GREY


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source.mp4", [grey()] * 30, fps=10)


class TestWriting:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("size", [(64, 48), (65, 47)])
    @pytest.mark.parametrize("fps", [25, Fraction(30_000, 1001)])
    def test_frames_times_rate_and_size_are_the_sources(
        self, tmp_path: Path, suffix: str, size: tuple[int, int], fps: Fraction
    ) -> None:
        frames = index_frames(40, width=size[0], height=size[1])
        # What keeps an odd side: H.264 does not.
        path = write_video(tmp_path / "source.avi", frames, fps=fps, codec="mpeg4", codec_options={"qmax": "2"})
        out = tmp_path / f"out{suffix}"
        write_overlay(path, out, [span(0.5, 1.0)])
        reader = VideoReader(out)
        written = list(reader)
        assert [frame.pixels.shape for frame in written] == [(size[1], size[0], 3)] * 40
        # Above the band they show what they showed.
        assert [frame_index(frame.pixels[: size[1] // 2]) for frame in written] == list(range(40))
        expected = [number / float(fps) for number in range(40)]
        assert [frame.time_seconds for frame in written] == pytest.approx(expected, abs=0.0011)
        assert reader.duration_seconds == pytest.approx(40 / float(fps), abs=0.0011)
        assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FPS) == pytest.approx(float(fps), rel=1e-4)

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_variable_rate_is_kept(self, tmp_path: Path, suffix: str) -> None:
        times = [0, 40, 80, 500, 540, 1700, 1733, 1766, 2500]
        path = write_timed_video(tmp_path / "source.mkv", index_frames(len(times)), times)
        write_overlay(path, tmp_path / f"out{suffix}", [span(0.5, 1.7)])
        written = list(VideoReader(tmp_path / f"out{suffix}"))
        assert [frame.time_seconds for frame in written] == pytest.approx([time / 1000 for time in times], abs=0.0011)
        assert [bar_length(frame.pixels) > 0 for frame in written] == [500 <= time < 1700 for time in times]

    @pytest.mark.parametrize(
        ("suffix", "odd", "codec"), [(".webm", 0, "vp9"), (".mp4", 0, "h264"), (".mp4", 1, "mpeg4")]
    )
    def test_the_codec_is_what_players_know(self, tmp_path: Path, suffix: str, odd: int, codec: str) -> None:
        path = write_video(tmp_path / "source.avi", [grey(64 + odd, 48)] * 3)
        write_overlay(path, tmp_path / f"out{suffix}", [])
        with av.open(tmp_path / f"out{suffix}") as container:
            assert container.streams.video[0].codec_context.name == codec

    def test_captions_appear_in_their_spans(self, source: Path, tmp_path: Path) -> None:
        write_overlay(source, tmp_path / "out.webm", [span(2.0, 2.5, score=1.0), span(0.5, 1.2, score=0.5)])
        lengths = [bar_length(frame.pixels) for frame in VideoReader(tmp_path / "out.webm")]
        expected = [80 * (5 <= number < 12) + 160 * (20 <= number < 25) for number in range(30)]
        assert lengths == pytest.approx(expected, abs=3)

    def test_the_clock_runs_on_all_frames(self, source: Path, tmp_path: Path) -> None:
        write_overlay(source, tmp_path / "out.mp4", [])
        first, *_, last = (frame.pixels for frame in VideoReader(tmp_path / "out.mp4"))
        for pixels, seconds in ((first, 0.0), (last, 2.9)):
            wanted, other = (text_in(drawn(None, time_seconds=time)) for time in (seconds, seconds + 0.4))
            found = text_in(pixels)
            assert (found & wanted).sum() > 0.7 * wanted.sum()
            assert (found ^ wanted).sum() < (found ^ other).sum()

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("pixel_aspect", [Fraction(64, 45), Fraction(2), Fraction(1, 2)])
    def test_pixels_keep_their_shape(self, tmp_path: Path, suffix: str, pixel_aspect: Fraction) -> None:
        path = write_video(tmp_path / "source.mp4", [grey(96, 64)] * 5, pixel_aspect=pixel_aspect)
        write_overlay(path, tmp_path / f"out{suffix}", [span(0.0, 0.1)])
        with av.open(tmp_path / f"out{suffix}") as container:  # what players go by
            stream = container.streams.video[0]
            shape = stream.width / stream.height * float(stream.sample_aspect_ratio or 1)
        assert shape == pytest.approx(1.5 * float(pixel_aspect), rel=0.02)
        (first, *_) = VideoReader(tmp_path / f"out{suffix}")
        height, width, _ = first.pixels.shape
        assert width / height * first.pixel_aspect == pytest.approx(1.5 * float(pixel_aspect), rel=0.02)

    def test_a_video_of_one_frame(self, tmp_path: Path) -> None:
        write_overlay(write_video(tmp_path / "one.mp4", [grey()]), tmp_path / "out.webm", [span(0.0, 1.0)])
        (frame,) = VideoReader(tmp_path / "out.webm")
        assert bar_length(frame.pixels) > 0

    def test_a_cut_off_video_is_written_as_far_as_it_goes(self, tmp_path: Path) -> None:
        path = cut_off(write_video(tmp_path / "source.avi", noise_frames(50)), 0.5)
        with pytest.warns(VideoWarning, match="cut off"):
            write_overlay(path, tmp_path / "out.webm", [])
        assert 15 < len(list(VideoReader(tmp_path / "out.webm"))) < 35


class TestRefusals:
    @pytest.mark.parametrize("name", ["out.avi", "out", "out.webm.txt"])
    def test_another_suffix(self, source: Path, tmp_path: Path, name: str) -> None:
        with pytest.raises(VideoError, match=r"\.webm or \.mp4"):
            write_overlay(source, tmp_path / name, [])

    @pytest.mark.parametrize("link", [None, os.symlink, os.link])
    def test_onto_the_source(self, source: Path, tmp_path: Path, link: Callable[[Path, Path], None] | None) -> None:
        before = source.read_bytes()
        out = source if link is None else tmp_path / "link.mp4"
        if link is not None:
            link(source, out)
        with pytest.raises(VideoError, match="the video that is read"):
            write_overlay(source, out, [])
        assert source.read_bytes() == before

    def test_a_file_that_is_there_is_replaced(self, source: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.webm"
        out.write_text("old")
        write_overlay(source, out, [])
        assert len(list(VideoReader(out))) == 30

    def test_a_folder(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "out.webm").mkdir()
        with pytest.raises(VideoError, match="folder"):
            write_overlay(source, tmp_path / "out.webm", [])

    def test_a_source_without_a_picture_leaves_nothing(self, tmp_path: Path) -> None:
        path, out = write_sound(tmp_path / "sound.mp4"), tmp_path / "new" / "out.webm"
        with pytest.raises(VideoError, match=r"sound\.mp4"):
            write_overlay(path, out, [])
        assert not out.exists()

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_full_disk_is_said_with_the_name_and_leaves_things_as_they_were(
        self, tmp_path: Path, full_disk: None, suffix: str
    ) -> None:
        path, out = write_video(tmp_path / "source.avi", noise_frames(4)), tmp_path / f"out{suffix}"
        out.write_text("precious")
        _limit_file_size(3000)
        with pytest.raises(OSError, match="out") as caught:
            write_overlay(path, out, [])
        assert caught.value.filename == str(out)
        assert out.read_text() == "precious"
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "source.avi"])


@pytest.fixture
def full_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _limit_file_size(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


class TestDrawing:
    @pytest.mark.parametrize(
        "size", [(1, 1), (2, 9), (9, 2), (5, 5), (16, 16), (32, 24), (64, 48), (48, 400), (1920, 1080)]
    )
    def test_any_size_of_picture_and_never_outside_it(self, size: tuple[int, int]) -> None:
        canvas = np.full((size[1] + 20, size[0] + 20, 3), GREY, np.uint8)
        picture = canvas[10:-10, 10:-10]
        draw_caption(picture, time_seconds=5999.9, span=span(0, 1, "a label that is long enough for most of them"))
        changed = (canvas != GREY).any(axis=2)
        assert changed[10:-10, 10:-10].any()
        changed[10:-10, 10:-10] = False
        assert not changed.any()
        assert (picture[: size[1] // 2] == GREY).all()

    def test_text_grows_with_the_picture_and_is_legible_in_small_ones(self) -> None:
        def height(width: int, picture_height: int) -> int:
            rows = (drawn(span(0, 1), width, picture_height).min(axis=2) > GREY).any(axis=1)
            return int(rows.sum())

        assert height(180, 144) >= 8
        assert 0.03 * 1080 < height(1920, 1080) < 0.08 * 1080

    @pytest.mark.parametrize("text", ["für", "Ходьба", "走る", "달리기", "عربي", "ρ"])
    def test_letters_of_other_scripts_are_no_question_marks(self, text: str) -> None:
        def ink(label: str) -> Pixels:
            return text_in(drawn(span(0, 1, label, score=0.0), 320, 240))

        assert ink(text).any()
        assert all((ink(text) != ink("?" * length)).any() for length in (len(text), len(text.encode())))
        assert (ink(text) != ink(text[:-1] + "?")).any()

    def test_a_long_label_is_shortened_and_leaves_the_clock_its_place(self) -> None:
        short, long = (drawn(span(0, 1, text), 400) for text in ("a", "wonderful " * 100))
        clock = slice(-50, None)
        assert (short[:, clock] == long[:, clock]).all()
        assert text_in(long)[:, 100:-50].any()
        assert not text_in(short)[:, 100:-50].any()

    @pytest.mark.parametrize("text", ["two\nlines", "tab\there", "half \ud83d letter", "nul \0 byte", "  spaces  "])
    def test_what_is_no_text_is_a_space(self, text: str) -> None:
        clean = " ".join(text.replace("\ud83d", " ").replace("\0", " ").split())
        assert (drawn(span(0, 1, text), 400, 200) == drawn(span(0, 1, clean), 400, 200)).all()

    @pytest.mark.parametrize(("score", "length"), [(-1.0, 1), (0.25, 40), (1.0, 160), (7.0, 160)])
    def test_the_bar_is_as_long_as_the_score_is_high(self, score: float, length: int) -> None:
        assert bar_length(drawn(span(0, 1, score=score))) == length

    def test_without_a_span_there_is_the_time_alone(self) -> None:
        pixels = drawn(None)
        assert bar_length(pixels) == 0
        assert not text_in(pixels)[:, :80].any()
        assert text_in(pixels)[:, 80:].any()
