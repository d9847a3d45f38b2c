"""What containers say of times, and the times that frames get."""

from fractions import Fraction
from pathlib import Path

import pytest

from activity.video.clock import MOST_GAP_IN_STREAM_SECONDS, Clock, Sound, Stamped
from activity.video.errors import VideoNote
from activity.video.reader import VideoReader
from tests.videos import index_frames, write_timed_video

UNIT = Fraction(1, 25)
SOUND_FIRST = 0.128  # seconds: an AAC encoder begins 1,024 samples before the picture


def place(times: list[float | None], *, duration: float = 0.04, most_gap: float = 600.0) -> tuple[list[float], int]:
    """The times given, and how often the clock was shifted."""
    clock = Clock(most_gap_seconds=most_gap)
    placed = [seconds for _, seconds in clock.times(Stamped(None, time, duration) for time in times)]
    assert placed == sorted(set(placed))  # they rise
    return placed, len(clock.jumps)


def even(first: int, stop: int, *, shift: float = 0.0) -> list[float]:
    return [0.04 * index + shift for index in range(first, stop)]


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        (0.36, 0.4),  # repeats the frame before
        (0.1, 0.4),  # early
        (0.84, 0.4),  # late, within the video
        (7200.0, 0.4),
        (-95443.7, 0.4),  # a clock of 33 bits, once round
    ],
)
def test_one_wrong_time_moves_no_other(wrong: float, shown: float) -> None:
    times, jumps = place([*even(0, 10), wrong, *even(11, 40)])
    assert times == pytest.approx([*even(0, 10), shown, *even(11, 40)], abs=0.021)
    assert times[:10] + times[11:] == pytest.approx(even(0, 10) + even(11, 40))
    assert jumps == 0


def test_a_first_frame_with_a_late_time(tmp_path: object) -> None:
    assert place([9.0, *even(1, 5)])[0] == pytest.approx(even(0, 5))


def test_a_slow_part_a_fast_part_and_one_repeated_time() -> None:
    given = [*map(float, range(10)), *(9 + index / 30 for index in range(1, 900))]
    for repeated in (5, 200):
        times = [*given]
        times[repeated] = times[repeated - 1]
        placed, jumps = place(times, duration=1 / 30)
        assert placed[:repeated] + placed[repeated + 1 :] == pytest.approx(given[:repeated] + given[repeated + 1 :])
        assert jumps == 0


@pytest.mark.parametrize("start", [0.0, -0.3, 5.0, 2.6])
def test_parts_that_begin_again_are_joined(start: float) -> None:
    times, jumps = place([*even(0, 100, shift=5.0), *even(0, 100, shift=start + 3), *even(0, 100, shift=start)])
    assert times == pytest.approx([*even(0, 300, shift=5.0)], abs=0.001)
    assert jumps == 2


def test_a_leap_ahead_in_a_stream_is_joined_and_a_gap_elsewhere_stays() -> None:
    given = [*even(0, 50), *even(50, 100, shift=30.0)]
    assert place(given, most_gap=MOST_GAP_IN_STREAM_SECONDS) == (pytest.approx(even(0, 100)), 1)
    assert place(given) == (pytest.approx(given), 0)


def test_a_part_that_overlaps_by_two_frames_takes_the_clock_up_again() -> None:
    given = [*even(0, 50), *even(48, 90)]
    times, jumps = place(given)
    assert times[:50] + times[56:] == pytest.approx(given[:50] + given[56:])
    assert jumps == 0


@pytest.mark.parametrize("duration", [0.0, 0.04])
def test_a_pause_before_the_clock_starts_again(duration: float) -> None:
    times, jumps = place([*even(0, 25), 9.0, *even(0, 50)], duration=duration)
    assert times == pytest.approx([*even(0, 25), *even(0, 51, shift=9.0)], abs=0.02)
    assert jumps == 1


def test_a_repeated_time_and_a_short_step_of_a_slow_video_without_durations() -> None:
    slow = [0.0, 1.0, 1.0, 3.0, 4.0, 5.0]
    assert place([*slow], duration=0.0)[0] == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    hasty = [0.0, 0.2, 0.4, 0.401, 0.6, 0.8, 0.75, 1.0, 1.2]
    times, jumps = place([*hasty], duration=0.0)
    assert times[:6] + times[7:] == pytest.approx(hasty[:6] + hasty[7:])
    assert jumps == 0


def test_a_second_frame_with_an_early_time() -> None:
    assert place([0.0, -0.96, *even(2, 10)])[0] == pytest.approx(even(0, 10), abs=0.02)


def test_sound_that_begins_after_the_picture_goes_on_through_a_gap() -> None:
    sound = Sound(most_gap_seconds=10.0)
    for packet in range(1000):
        sound.add(1, 0.17 + packet / 50)
    assert sound.spans(0.0, 12.0)
    assert not sound.spans(0.0, 30.0)


def test_frames_of_whole_seconds_are_spread() -> None:
    times, jumps = place([float(index // 25) for index in range(100)])
    assert times == pytest.approx(even(0, 100), abs=0.04)
    assert jumps == 0


def test_frames_without_times_follow_at_their_own_rate() -> None:
    assert place([None] * 5, duration=1 / 12)[0] == pytest.approx([index / 12 for index in range(5)])
    assert place([0.0, 0.04, None, None])[0] == pytest.approx(even(0, 4))


class TestALongGapInAStream:
    frames, times = index_frames(50), [*range(25), *range(525, 550)]  # in 1/25 s

    def test_is_a_pause_if_the_sound_goes_on(self, tmp_path: Path) -> None:
        path = write_timed_video(tmp_path / "a.ts", self.frames, self.times, unit=UNIT, sound_seconds=22.5)
        assert times_of(path) == pytest.approx([SOUND_FIRST + time / 25 for time in self.times], abs=0.001)

    def test_is_a_jump_of_its_clock_if_there_is_no_sound(self, tmp_path: Path) -> None:
        path = write_timed_video(tmp_path / "a.ts", self.frames, self.times, unit=UNIT)
        with pytest.warns(VideoNote, match="its clock jumps once, first at 1"):
            assert times_of(path) == pytest.approx(even(0, 50), abs=0.001)

    def test_is_a_jump_of_its_clock_if_the_sound_jumps_too(self, tmp_path: Path) -> None:
        parts = [
            write_timed_video(
                tmp_path / f"{start}.ts",
                self.frames,
                range(50),
                unit=UNIT,
                sound_seconds=2.0,
                container_options={"output_ts_offset": start},
            )
            for start in ("0", "15")
        ]
        path = tmp_path / "a.ts"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        with pytest.warns(VideoNote, match="its clock jumps once, first at 2"):
            assert times_of(path) == pytest.approx(even(0, 100, shift=SOUND_FIRST), abs=0.001)

    def test_is_a_pause_between_pictures_with_sound(self, tmp_path: Path) -> None:
        times = [0, 300, 600]
        path = write_timed_video(tmp_path / "a.ts", index_frames(3), times, unit=UNIT, sound_seconds=25)
        assert times_of(path) == pytest.approx([SOUND_FIRST + time / 25 for time in times], abs=0.001)


def times_of(path: Path) -> list[float]:
    return [frame.time_seconds for frame in VideoReader(path)]
