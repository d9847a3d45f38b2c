"""Files that lost bytes: told by what their container declares, also where few frames are gone."""

from fractions import Fraction
from pathlib import Path

import pytest

from activity.video.capture import Capture, Damage
from activity.video.completeness import cut_off, listed_frames
from activity.video.reader import VideoError, VideoReader, VideoWarning
from tests.videos import cut_off as shorten
from tests.videos import index_frames, noise_frames, spoil, write_timed_video, write_video

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
FASTSTART = {"movflags": "faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def damage_of(path: Path) -> Damage | None:
    capture = Capture(str(path))
    while capture.grab():
        pass
    damage = capture.damage()
    capture.release()
    return damage


def with_riff_size(path: Path, size: int) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[:4] + size.to_bytes(4, "little") + data[8:])
    return path


@pytest.mark.parametrize(("name", "options"), [("cut.avi", {}), ("cut.mp4", FASTSTART)])
def test_that_the_last_frames_are_gone_is_told_with_the_bytes_and_the_seconds(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, noise_frames(100), container_options=options)
    whole = path.stat().st_size
    assert damage_of(path) is None
    damage = damage_of(shorten(path, 0.95))
    assert damage is not None
    assert damage.ends_early
    lost = whole - path.stat().st_size
    assert f"cut off: {lost:,} of the {whole:,} bytes that it declares are missing (5.0 %)" in damage.problem
    assert damage.problem.endswith("but it says it is 4.0 s long")
    with pytest.warns(VideoWarning, match="cut off"):
        assert 90 <= len(list(VideoReader(path))) < 100


def test_that_the_end_is_gone_is_told_though_every_frame_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.avi", noise_frames(100))
    path.write_bytes(path.read_bytes()[:-200])  # of the index
    damage = damage_of(path)
    assert damage is not None
    assert damage.problem.endswith("are missing (0.1 %)")


def test_a_fragmented_mp4_that_breaks_off_within_a_fragment(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", noise_frames(50), container_options=FRAGMENTED, codec_options={"g": "10"})
    assert damage_of(path) is None
    damage = damage_of(shorten(path, 0.95))
    assert damage is not None
    assert "cut off" in damage.problem


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


def test_of_an_avi_with_several_parts_the_last_one_counts(tmp_path: Path) -> None:
    part = (92).to_bytes(4, "little") + bytes(92)
    path = tmp_path / "large.avi"
    path.write_bytes(b"RIFF" + part[:4] + b"AVI " + part[8:] + b"RIFF" + part)
    assert cut_off(path) is None
    path.write_bytes(path.read_bytes()[:-50])
    assert cut_off(path) == "it is cut off: 50 of the 200 bytes that it declares are missing (25.0 %)"


def test_an_mp4_whose_index_was_cut_through_is_told_as_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", noise_frames(50))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"moov") + 200])
    with pytest.raises(VideoError, match=r"cut off: .* bytes that it declares are missing .*; copy or record it again"):
        list(VideoReader(path))


def test_frames_that_damaged_bytes_swallowed_are_counted(tmp_path: Path) -> None:
    path = spoil(write_video(tmp_path / "spoilt.avi", noise_frames(100)), 0.4, 0.5)
    with pytest.warns(VideoWarning) as caught:
        frames = len(list(VideoReader(path)))
    assert frames < 98
    assert f"{100 - frames} of 100 declared frames could not be decoded" in str(caught[0].message)
    damage = damage_of(path)
    assert damage is not None
    assert not damage.ends_early


def test_frames_that_only_repeat_the_one_before_are_not_missed(tmp_path: Path) -> None:
    gap = 8  # which the writer fills with empty frames
    times = [index + gap * (index // 10) for index in range(60)]
    path = write_timed_video(tmp_path / "gaps.avi", noise_frames(60), times, unit=Fraction(1, 25))
    assert path.read_bytes()[-1600::16] == b"0" * 100  # entries of the index
    assert listed_frames(path) == 60
    assert damage_of(path) is None


@pytest.mark.parametrize("name", ["sound.avi", "b.avi", "h264.avi"])
def test_frames_of_a_good_avi_are_all_found(tmp_path: Path, name: str) -> None:
    options = {"b.avi": {"codec_options": {"bf": "2"}}, "sound.avi": {"sound_seconds": 2.6}, "h264.avi": {}}[name]
    codec = "libx264" if name == "h264.avi" else "mpeg4"
    path = write_video(tmp_path / name, noise_frames(60), codec=codec, **options)
    assert listed_frames(path) == 60
    assert damage_of(path) is None


def test_of_one_packet_it_speaks_in_the_singular(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", noise_frames(50))
    capture = Capture(str(path))
    for skipped, words in ((1, "1 damaged packet in it could not be decoded and was left out"), (2, "2 damaged pack")):
        capture._skipped = skipped
        while capture.grab():
            pass
        damage = capture.damage()
        assert damage is not None
        assert damage.problem.startswith(words)
    capture.release()


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the development videos are not beside the checkout")
def test_real_files_are_whole_and_their_shortened_copies_are_not(tmp_path: Path) -> None:
    paths = sorted(REAL_DATA.glob("weizmann/*/*.avi")) + sorted(REAL_DATA.glob("surv-fight/*/*.mp4"))
    assert len(paths) == 390
    for path in paths:
        assert damage_of(path) is None, path
    for path in paths[:90]:
        frames = len(list(VideoReader(path)))
        assert listed_frames(path) == frames, path
        for fraction in (0.8, 0.9, 0.95):
            copy = tmp_path / "copy.avi"
            copy.write_bytes(path.read_bytes())
            damage = damage_of(shorten(copy, fraction))
            assert damage is not None, path
            assert damage.ends_early, path
