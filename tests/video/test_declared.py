from fractions import Fraction
from pathlib import Path

import av
import pytest

from activity.video.declared import declared_seconds
from tests.videos import cut_off, index_frames, noise_frames, write_sound, write_timed_video, write_video


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm"])
@pytest.mark.parametrize("fps", [10, 25, 29.97])
def test_what_containers_say_is_about_right(tmp_path: Path, name: str, fps: float) -> None:
    path = write_video(tmp_path / name, noise_frames(60), fps=fps)
    assert declared_seconds(path) == pytest.approx(60 / fps, abs=0.2)


def test_of_an_mp4_of_few_bytes_it_is_rather_less(tmp_path: Path) -> None:
    # What is shown of an MP4 comes from its bit rate, a whole number of kbit/s: here about eight.
    found = declared_seconds(write_video(tmp_path / "a.mp4", index_frames(60), fps=10))
    assert found is not None
    assert 4.5 < found <= 6.0


def test_a_file_that_was_cut_off_still_says_how_long_it_was(tmp_path: Path) -> None:
    path = cut_off(write_video(tmp_path / "a.avi", noise_frames(75)), 0.5)
    assert declared_seconds(path) == pytest.approx(3.0, abs=0.2)


def test_times_that_do_not_start_at_zero_are_not_counted(tmp_path: Path) -> None:
    path = write_timed_video(tmp_path / "a.mkv", index_frames(50), range(100, 150), unit=Fraction(1, 25))  # 4 s to 6 s
    assert declared_seconds(path) == pytest.approx(2.0, abs=0.2)


def test_of_a_trimmed_mp4_what_is_shown_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, noise_frames(100), fps=25, codec_options={"g": "100"})
    with av.open(path) as source, av.open(tmp_path / "cut.mp4", "w") as target:
        stream = source.streams.video[0]
        out = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts -= int(2 / stream.time_base)  # the first two seconds are hidden by an edit list
                packet.dts -= int(2 / stream.time_base)
                packet.stream = out
                target.mux(packet)
    assert declared_seconds(tmp_path / "cut.mp4") == pytest.approx(2.0, abs=0.3)


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for path in (tmp_path / "none.mp4", tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path):
        assert declared_seconds(path) is None
    assert declared_seconds(write_sound(tmp_path / "sound.mp4")) is None
