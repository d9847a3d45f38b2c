import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from activity.inference.palette import COLOURS, NO_CLASS_COLOUR, colour_of, ink_on, pattern_of, rgb_of
from activity.inference.plot import SUFFIXES, PlotError, check_plot, plot_timeline, thumbnails, thumbnails_of
from activity.inference.plot.labels import CHARACTER_INCHES, fitting, shortened, text_width, times_along
from activity.inference.plot.rows import AXIS_INCHES, DOTS_AN_INCH
from activity.video.errors import VideoError
from activity.video.reader import VideoReader
from tests.inference.timelines import FakeTimeline, segment, timeline
from tests.videos import Pixels, frame_index, index_frame, index_frames, write_video


def drawn(path: Path, drawn_timeline: FakeTimeline, thumbnails: list[tuple[float, Pixels]] | None = None) -> Pixels:
    plot_timeline(drawn_timeline, path, thumbnails or [])
    return np.asarray(Image.open(path).convert("RGB"))


def texts(path: Path, drawn_timeline: FakeTimeline) -> list[str]:
    """What is written in the plot, in its order: the SVG has each text in a comment before its outlines."""
    plot_timeline(drawn_timeline, path)
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", path.read_text("utf-8"), re.DOTALL)]


def spans_of(picture: Pixels, colour: str) -> list[tuple[float, float]]:
    """Where along the time axis, 0 to 1, bars of a colour are: columns that have many pixels of it."""
    left, width = round(0.75 * DOTS_AN_INCH), AXIS_INCHES * DOTS_AN_INCH
    filled = (picture == rgb_of(colour)).all(axis=2).sum(axis=0)[left:] >= 25  # legends have fewer
    edges = np.flatnonzero(np.diff(np.r_[False, filled, False].astype(int)))
    return [(start / width, end / width) for start, end in zip(edges[::2], edges[1::2], strict=True)]


class TestSegments:
    def test_bars_stand_at_their_times_in_the_colours_of_their_classes(self, tmp_path: Path) -> None:
        segments = [segment("walk", 1.0, 4.0), segment("run", 4.0, 4.5), segment("background", 6.0, 9.0)]
        picture = drawn(tmp_path / "out.png", timeline(segments, class_names=["run", "walk"]))
        for label, start, end in (("walk", 0.1, 0.4), ("run", 0.4, 0.45), ("background", 0.6, 0.9)):
            found = spans_of(picture, colour_of(label, ["run", "walk"]))
            assert found == [pytest.approx((start, end), abs=0.003)]

    def test_a_short_segment_of_a_long_video_is_seen(self, tmp_path: Path) -> None:
        hours = timeline([segment("run", 5000.0, 5000.5)], duration_seconds=10_800.0, points=4000)
        hours.frame_scores[:] = 0.1  # no line in its colour
        assert spans_of(drawn(tmp_path / "out.png", hours), COLOURS[0])

    def test_labels_stand_on_bars_that_have_room(self, tmp_path: Path) -> None:
        wide = timeline([segment("run", 1, 4)])
        narrow = timeline([segment("run", 1, 1.1)])
        assert texts(tmp_path / "wide.svg", wide).count("run") == 2  # and in the legend
        assert texts(tmp_path / "narrow.svg", narrow).count("run") == 1

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_any_label_can_be_drawn(self, tmp_path: Path, suffix: str) -> None:
        labels = ["$x^2", "$\\frac{$", "_hidden", "a <b> & --> c", "日本 走る", "half \ud83d", "50 %", "nul \0"]
        segments = [segment(label, number, number + 1) for number, label in enumerate(labels)]
        out = tmp_path / f"out{suffix}"
        plot_timeline(timeline(segments, class_names=labels, source="".join(labels)), out)
        assert out.stat().st_size > 5000

    @pytest.mark.parametrize("label", ["$x^2$ and $y$", "_hidden"])
    def test_a_label_is_written_as_it_is(self, tmp_path: Path, label: str) -> None:
        assert texts(tmp_path / "o.svg", timeline([segment(label, 1, 9)], class_names=[label, "b"])).count(label) == 2


class TestLegend:
    NAMES = tuple(f"class {number}" for number in range(60))

    def test_it_names_classes_in_segments_and_the_few_highest(self, tmp_path: Path) -> None:
        peaks = {"class 40": 0.4, "class 41": 0.45, "class 42": 0.3, "class 43": 0.2}
        plotted = timeline([segment("class 7", 1, 9)], class_names=self.NAMES, peaks=peaks)
        named = [text for text in texts(tmp_path / "out.svg", plotted) if text.startswith("class")]
        assert sorted(set(named)) == ["class 40", "class 41", "class 42", "class 43", "class 7"]

    def test_of_very_many_it_names_the_longest_and_says_so(self, tmp_path: Path) -> None:
        segments = [segment(name, number, number + 1 - number / 100) for number, name in enumerate(self.NAMES)]
        plotted = timeline(segments, class_names=self.NAMES, duration_seconds=60)
        written = texts(tmp_path / "out.svg", plotted)
        assert {text for text in written if text.startswith("class")} == {f"class {number}" for number in range(18)}
        assert "and 42 more that last shorter" in written

    def test_the_title_says_what_and_how_long(self, tmp_path: Path) -> None:
        written = texts(tmp_path / "out.svg", timeline([segment("run", 1, 3)], duration_seconds=75.0))
        assert "clip.mp4  ·  1:15 min  ·  1 segment" in written
        assert {"enter 0.5", "leave 0.35"} <= set(written)


@pytest.mark.parametrize(
    ("seconds", "unit", "times"),
    [
        (2.0, "seconds", ["0", "0.2", "2"]),
        (45.0, "seconds", ["0", "5", "45"]),
        (750.0, "minutes:seconds", ["0:00", "1:00", "12:00"]),
        (10_800.0, "hours:minutes", ["0:00", "0:15", "3:00"]),
    ],
)
def test_the_time_axis_is_read_at_any_length(tmp_path: Path, seconds: float, unit: str, times: list[str]) -> None:
    written = texts(tmp_path / "out.svg", timeline([], duration_seconds=seconds))
    assert unit in written
    assert set(times) <= set(written)
    assert 5 <= len(times_along(seconds)) <= 15


def test_frames_stand_at_their_times(tmp_path: Path) -> None:
    colours = [(255, 0, 255), (0, 255, 255)]
    thumbnails = [
        (second, np.full((40, 60, 3), colour, np.uint8)) for second, colour in zip((2.5, 7.5), colours, strict=True)
    ]
    picture = drawn(tmp_path / "out.png", timeline([]), thumbnails)
    for (seconds, _), colour in zip(thumbnails, ("#FF00FF", "#00FFFF"), strict=True):
        ((start, end),) = spans_of(picture, colour)
        assert (start + end) / 2 == pytest.approx(seconds / 10, abs=0.005)
        assert end - start > 0.1


@pytest.mark.parametrize("count", [1, 20])
def test_frames_stay_within_the_plot_and_beside_each_other(tmp_path: Path, count: int) -> None:
    magenta = np.full((40, 60, 3), (255, 0, 255), np.uint8)
    thumbnails = [((number + 0.5) * 10 / count, magenta) for number in range(count)]
    found = spans_of(drawn(tmp_path / "out.png", timeline([]), thumbnails), "#FF00FF")
    assert len(found) == count
    assert all(0 <= start < end <= 1 for start, end in found)


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    one = timeline([], duration_seconds=0.0, points=1)
    assert "clip.mp4  ·  0 s  ·  no segments" in texts(tmp_path / "out.svg", one)


def test_the_users_settings_of_matplotlib_change_nothing_and_are_left(tmp_path: Path) -> None:
    plotted = timeline([segment("run", 1, 4)])
    before = drawn(tmp_path / "before.png", plotted)
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "black", "savefig.bbox": "tight"}):
        after = drawn(tmp_path / "after.png", plotted)
        assert matplotlib.rcParams["text.usetex"] is True
    assert (before == after).all()


@pytest.mark.parametrize(("suffix", "begin"), [(".PNG", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_suffix_says_the_format(tmp_path: Path, suffix: str, begin: bytes) -> None:
    out = tmp_path / "new folder" / f"out{suffix}"
    plot_timeline(timeline([segment("run", 1, 4)]), out)
    assert out.read_bytes().startswith(begin)


@pytest.mark.parametrize("name", ["out.txt", "out"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    for refuse in (check_plot, lambda out: plot_timeline(timeline([]), out)):
        with pytest.raises(PlotError, match=r"\.png, \.svg or \.pdf"):
            refuse(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_who_draws_nothing_does_not_wait_for_matplotlib() -> None:
    program = "import sys, activity.inference.plot; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class TestPalette:
    def test_a_class_keeps_its_colour_and_neighbours_of_one_colour_differ_in_pattern(self) -> None:
        names = [f"class {number}" for number in range(60)]
        looks = [(colour_of(name, names), pattern_of(name, names)) for name in names]
        assert len(set(looks)) == 60
        assert colour_of("background", names) == colour_of("no such class", names) == NO_CLASS_COLOUR

    @pytest.mark.parametrize("colour", [*COLOURS, NO_CLASS_COLOUR])
    def test_labels_are_read_on_every_colour(self, colour: str) -> None:
        def luminance(name: str) -> float:
            channels = np.array(rgb_of(name)) / 255
            linear = np.where(channels <= 0.04, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
            return float(linear @ [0.2126, 0.7152, 0.0722])

        low, high = sorted([luminance(colour), luminance(ink_on(colour))])
        assert (high + 0.05) / (low + 0.05) > 4.5


class TestLabels:
    @pytest.mark.parametrize("text", ["a long label of several words", "走る走る走る走る", "", "ab"])
    @pytest.mark.parametrize("longest", [2, 5, 12, 100])
    def test_a_label_is_as_long_as_there_is_room(self, text: str, longest: int) -> None:
        short = shortened(text, longest)
        assert text_width(short) <= longest
        assert short == text or (short.endswith("…") and text.startswith(short[:-1]))

    def test_no_first_letters_alone(self) -> None:
        assert fitting("walking", 3 * CHARACTER_INCHES) == ""
        assert fitting("run", 3.5 * CHARACTER_INCHES) == "run"


class TestThumbnails:
    def test_they_are_the_frames_in_the_middles_of_equal_parts(self, tmp_path: Path) -> None:
        video = write_video(tmp_path / "clip.mp4", index_frames(40), fps=10)
        found = thumbnails_of(video, count=4, duration_seconds=4.0, height=24)
        assert [seconds for seconds, _ in found] == [0.5, 1.5, 2.5, 3.5]
        assert [frame_index(pixels) for _, pixels in found] == [5, 15, 25, 35]
        assert {pixels.shape for _, pixels in found} == {(24, 32, 3)}

    @pytest.mark.parametrize(("suffix", "most_decoded"), [(".mp4", 200), (".webm", 200), (".ts", 1200)])
    def test_what_lies_between_is_not_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, most_decoded: int
    ) -> None:
        frames = [index_frame(number // 10) for number in range(1200)]
        video = write_video(tmp_path / f"long{suffix}", frames, fps=10, codec_options={"g": "10"})
        decoded = []

        class Reader(VideoReader):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self.on_frame = lambda: decoded.append(1)

        monkeypatch.setattr(thumbnails, "VideoReader", Reader)
        found = thumbnails_of(video, count=10, duration_seconds=120.0, height=24)
        assert [frame_index(pixels) for _, pixels in found] == list(range(6, 120, 12))
        assert len(decoded) <= most_decoded

    def test_pixels_are_square(self, tmp_path: Path) -> None:
        video = write_video(tmp_path / "clip.mp4", index_frames(20), fps=10, pixel_aspect=Fraction(2))
        assert {pixels.shape for _, pixels in thumbnails_of(video, count=2, duration_seconds=2.0, height=24)} == {
            (24, 64, 3)
        }

    def test_fewer_of_a_video_that_is_shorter_than_said(self, tmp_path: Path) -> None:
        video = write_video(tmp_path / "clip.mp4", index_frames(20), fps=10)
        assert len(thumbnails_of(video, count=4, duration_seconds=4.0, height=24)) == 2

    def test_of_one_frame(self, tmp_path: Path) -> None:
        video = write_video(tmp_path / "clip.mp4", index_frames(1), fps=10)
        ((seconds, pixels),) = thumbnails_of(video, count=4, duration_seconds=0.0, height=24)
        assert (seconds, pixels.shape) == (0.0, (24, 32, 3))

    def test_of_no_video(self, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match="no such file"):
            thumbnails_of(tmp_path / "missing.mp4", count=4, duration_seconds=1.0, height=24)
