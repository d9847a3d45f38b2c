"""Files that lost bytes: told by what their container declares, also where few frames are gone."""

import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from activity.video.decoding import Damage, Decoding
from activity.video.errors import VideoError, VideoWarning
from activity.video.reader import VideoReader, declared_seconds
from tests.videos import cut_off as shorten
from tests.videos import index_frames, noise_frames, spoil, write_timed_video, write_video

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
FASTSTART = {"movflags": "faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
Edit = Callable[[bytes], bytes]


def damage_of(path: Path) -> Damage | None:
    decoding = Decoding.of_file(str(path))
    for _ in decoding:
        pass
    damage = decoding.damage()
    decoding.close()
    return damage


def write_subtitle(path: Path) -> Path:
    path.write_text("1\n00:00:00,000 --> 00:00:04,000\nall the time\n")
    return path


def with_riff_size(path: Path, size: int) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[:4] + size.to_bytes(4, "little") + data[8:])
    return path


@pytest.mark.parametrize(
    ("name", "start_frames"),
    [*((f"cut.{suffix}", 0) for suffix in ("avi", "mp4", "mkv", "webm", "flv")), ("cut.mp4", 125), ("cut.mkv", 125)],
)
def test_that_the_last_frames_are_gone_is_told(tmp_path: Path, name: str, start_frames: int) -> None:
    options = FASTSTART if name == "cut.mp4" else {}
    path = write_video(tmp_path / name, noise_frames(100), container_options=options, start_frames=start_frames)
    assert damage_of(path) is None
    damage = damage_of(shorten(path, 0.8))
    assert damage is not None
    assert damage.ends_early
    assert damage.problem.endswith("but it says it is 4.0 s long")
    with pytest.warns(VideoWarning, match="cut off"):
        assert 70 <= len(list(VideoReader(path))) < 90


def test_of_an_avi_it_is_told_with_the_bytes_though_every_frame_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.avi", noise_frames(100))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-200])  # of the index
    damage = damage_of(path)
    assert damage is not None
    assert f"it is cut off: 200 of the {size:,} bytes that it declares are missing (0.1 %)" in damage.problem


@pytest.mark.parametrize("name", ["cut.ts", "cut.mpg", "cut.wmv"])
def test_a_stream_without_a_length_in_its_header_tells_its_last_picture(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, noise_frames(100))
    assert damage_of(path) is None
    damage = damage_of(shorten(path, 0.7))
    assert damage is not None
    assert "it is cut off" in damage.problem
    assert "its frames end at 2." in damage.problem
    assert damage.ends_early


@pytest.mark.parametrize("start_frames", [0, 125])
def test_an_mp4_that_is_cut_between_two_pictures(tmp_path: Path, start_frames: int) -> None:
    path = write_video(tmp_path / "cut.mp4", noise_frames(100), container_options=FASTSTART, start_frames=start_frames)
    with av.open(path) as container:
        places = sorted(packet.pos for packet in container.demux() if packet.size)
    path.write_bytes(path.read_bytes()[: places[80]])
    damage = damage_of(path)
    assert damage is not None
    assert damage.ends_early


@pytest.mark.parametrize("edit", [lambda data: data[100:], lambda data: data + bytes(50)], ids=["start", "end"])
def test_a_transport_stream_with_more_or_less_around_its_packets_is_no_damage(tmp_path: Path, edit: Edit) -> None:
    path = write_video(tmp_path / "a.ts", index_frames(50))
    path.write_bytes(edit(path.read_bytes()))
    assert damage_of(path) is None


@pytest.mark.parametrize("name", ["late.wmv", "late.mkv", "late.mp4"])
def test_the_length_of_a_video_that_starts_late(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, index_frames(100), start_frames=125)
    assert declared_seconds(path) == pytest.approx(4.0, abs=0.1)


def test_an_mp4_whose_sound_is_cut_off_gives_all_its_pictures(tmp_path: Path) -> None:
    frames = noise_frames(100)
    path = write_video(tmp_path / "cut.mp4", frames, container_options=FRAGMENTED, sound_seconds=4.0)
    with av.open(path) as container:
        places = [(packet.pos, packet.stream.type) for packet in container.demux() if packet.size]
    first_sound = min(place for place, kind in places if kind == "audio")
    assert first_sound > max(place for place, kind in places if kind == "video")
    path.write_bytes(path.read_bytes()[:first_sound])
    assert len(list(VideoReader(path))) == 100


def test_packets_lost_before_a_key_frame_of_a_stream_are_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", noise_frames(100), codec_options={"g": "25", "bf": "0", "sc_threshold": "0"})
    with av.open(path) as container:
        keys = [packet.pos for packet in container.demux(video=0) if packet.is_keyframe]
    data = path.read_bytes()
    path.write_bytes(data[: keys[2] - 20 * ((keys[2] - keys[1]) // 25 // 188) * 188] + data[keys[2] :])
    damage = damage_of(path)
    assert damage is not None
    assert "damaged" in damage.problem


def test_a_raw_stream_of_h265_that_breaks_off_within_a_picture(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    path = write_video(tmp_path / "a.hevc", noise_frames(60), codec="libx265", codec_options=options)
    assert damage_of(path) is None
    data, told = path.read_bytes(), 0
    for percent in range(50, 98, 3):  # not every place shows
        path.write_bytes(data[: len(data) * percent // 100])
        told += damage_of(path) is not None
    assert told >= 2


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_damaged_mpeg4_reads_the_same_twice(tmp_path: Path, place: float) -> None:
    frames = noise_frames(40, width=304, height=208)
    path = spoil(write_video(tmp_path / "a.avi", frames), place, place + 0.02)
    pictures = []
    for _ in range(3):
        with warnings.catch_warnings(action="ignore"), VideoReader(path) as video:
            pictures.append([frame.pixels.tobytes() for frame in video])
    assert pictures[0] == pictures[1] == pictures[2]


def test_a_fragmented_mp4_that_breaks_off_within_a_fragment(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", noise_frames(50), container_options=FRAGMENTED, codec_options={"g": "10"})
    assert damage_of(path) is None
    damage = damage_of(shorten(path, 0.95))
    assert damage is not None
    assert "it is cut off or damaged; its frames end at" in damage.problem


@pytest.mark.parametrize("name", ["sound.mkv", "sound.webm", "sound.ts", "sound.avi", "sound.mp4"])
def test_sound_that_outlasts_the_picture_is_no_damage(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, index_frames(25), sound_seconds=6.0)
    assert damage_of(path) is None
    assert VideoReader(path).damage is None


@pytest.mark.parametrize("name", ["subtitle.mkv", "subtitle.mp4"])
def test_a_subtitle_that_lasts_to_the_end_does_not_hide_that_half_is_missing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(path, "w", options=FASTSTART if name.endswith("mp4") else {}) as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        template = av.open(write_subtitle(tmp_path / "text.srt"))
        words = container.add_stream_from_template(template.streams[0]) if name.endswith("mkv") else None
        if words is not None:
            for packet in template.demux():
                if packet.size:
                    packet.stream = words
                    container.mux(packet)
        for pixels in noise_frames(100):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        template.close()
    assert damage_of(path) is None
    damage = damage_of(shorten(path, 0.5))
    assert damage is not None
    assert damage.ends_early


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
def test_a_size_that_was_never_filled_in_is_no_damage(tmp_path: Path, size: int) -> None:
    assert damage_of(with_riff_size(write_video(tmp_path / "live.avi", index_frames(50)), size)) is None


def test_a_size_that_counts_its_header_or_less_than_is_there_is_no_damage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", index_frames(50))
    assert damage_of(with_riff_size(path, path.stat().st_size)) is None  # 8 too many
    assert damage_of(with_riff_size(path, path.stat().st_size // 2)) is None


def test_notes_behind_the_boxes_of_an_mp4_are_no_damage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", index_frames(50))
    path.write_bytes(path.read_bytes() + b"TAG of a camera")
    assert damage_of(path) is None


def test_an_mp4_whose_index_was_cut_through_is_told_as_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", noise_frames(50))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"moov") + 200])
    with pytest.raises(VideoError, match=r"its headers are damaged or cut off"):
        list(VideoReader(path))


def test_damaged_packets_are_counted(tmp_path: Path) -> None:
    path = spoil(write_video(tmp_path / "spoilt.avi", noise_frames(100)), 0.4, 0.5)
    with pytest.warns(VideoWarning, match="damaged"):
        assert len(list(VideoReader(path))) <= 100
    damage = damage_of(path)
    assert damage is not None
    assert not damage.ends_early


def test_frames_that_only_repeat_the_one_before_are_not_missed_and_hold_to_the_end(tmp_path: Path) -> None:
    gap = 8  # which the writer fills with empty frames
    times = [index + gap * (index // 10) for index in range(60)]
    path = write_timed_video(tmp_path / "gaps.avi", noise_frames(60), [*times], unit=Fraction(1, 25))
    assert path.read_bytes()[-1600::16] == b"0" * 100  # entries of the index
    assert damage_of(path) is None
    place = path.read_bytes().find(b"strh") + 8 + 32  # the stream's length in frames: five more that repeat the last
    data = bytearray(path.read_bytes())
    data[place : place + 4] = (int.from_bytes(data[place : place + 4], "little") + 5).to_bytes(4, "little")
    path.write_bytes(data)
    reader = VideoReader(path)
    assert len(list(reader)) == 60
    assert reader.damage is None
    assert reader.duration_seconds == pytest.approx((times[-1] + 1 + 5) / 25, abs=0.04)


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the development videos are not beside the checkout")
def test_real_files_are_whole_and_their_shortened_copies_are_not(tmp_path: Path) -> None:
    paths = sorted(REAL_DATA.glob("weizmann/*/*.avi")) + sorted(REAL_DATA.glob("surv-fight/*/*.mp4"))
    assert len(paths) == 390
    for path in paths:
        assert damage_of(path) is None, path
    for path in paths[:90]:
        for fraction in (0.8, 0.9, 0.95):
            copy = tmp_path / "copy.avi"
            copy.write_bytes(path.read_bytes())
            damage = damage_of(shorten(copy, fraction))
            assert damage is not None, path
            assert damage.ends_early, path
