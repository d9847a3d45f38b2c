"""Every made file beside ffprobe's list of frames and ffmpeg's pictures; seeking beside reading in sequence."""

import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from activity.video.reader import SampledFrame, VideoReader
from tests.video.corpus import CASES, Case, write_case
from tests.video.crosscheck import compare, quiet, read

VERSION = "ffmpeg version 5.1"  # other versions decode some rows otherwise


def _is_there() -> bool:
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        return False
    return subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.startswith(VERSION)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _is_there(), reason="ffmpeg and ffprobe 5.1 (Debian 12), which make and read the files"),
]
all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
SPANS = 20


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are made, once for all processes of a parallel run."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "corpus"
    shared.mkdir(exist_ok=True)
    return shared


@all_cases
def test_frames_times_and_pixels_are_those_of_ffmpeg(case: Case, folder: Path) -> None:
    path = write_case(case, folder)
    reading = read(path)

    differences = compare(case, path, reading.frames)

    assert differences.frames == differences.expected_frames
    assert differences.seconds <= 0.001
    assert differences.levels <= 3
    assert case.damaged or reading.damage is None


@all_cases
def test_a_span_is_what_reading_in_sequence_gives_and_two_readings_are_equal(case: Case, folder: Path) -> None:
    path = write_case(case, folder)
    choice = random.Random(case.name)
    rate = choice.choice((5.0, 10.0, 24.0, 25.0, 29.97))

    everything = sampled(path, rate)

    assert sampled(path, rate) == everything
    for _ in range(SPANS):
        first = choice.randrange(len(everything))
        last = min(first + choice.randint(1, 12), len(everything))
        assert sampled(path, rate, range(first, last)) == everything[first:last], f"at {rate}/s, {first} to {last}"


def sampled(path: Path, rate: float, indices: range | None = None) -> list[tuple[int, float, str]]:
    """Return index, time and the pixels' digest of each sampled frame."""
    with quiet(), VideoReader(path) as video:
        return [
            (shown.index, shown.time_seconds, digest(shown)) for shown in video.sampled_frames(rate, indices=indices)
        ]


def digest(shown: SampledFrame) -> str:
    return hashlib.sha256(repr(shown.pixels.shape).encode() + shown.pixels.tobytes()).hexdigest()
