"""What ffprobe and ffmpeg say of a file, beside what the reader says.

python -m tests.video.crosscheck [PART OF A NAME...]    makes the corpus and prints the figures of each file
"""

# ruff: noqa: T201

import json
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from activity.video.errors import VideoError, VideoNote, VideoWarning
from activity.video.reader import Frame, VideoReader
from tests.video.corpus import CASES, Case, write_case

GRID = 32
DEINTERLACE = "-vf bwdif=mode=send_frame:deint=interlaced"


@dataclass(frozen=True)
class Reading:
    """All frames of a file as the reader gives them, and what it says of the file after the last one."""

    frames: list[Frame]
    damage: str | None


@dataclass(frozen=True)
class Differences:
    """How far the reader is from ffprobe and ffmpeg: numbers of frames, the largest time and pixel differences."""

    frames: int
    expected_frames: int
    seconds: float
    levels: float


def read(path: Path) -> Reading:
    """Read a file to its end."""
    with quiet(), VideoReader(path) as video:
        return Reading(list(video), video.damage)


@contextmanager
def quiet() -> Iterator[None]:
    """What the reader warns of is asked for, as `VideoReader.damage`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VideoWarning)
        warnings.simplefilter("ignore", VideoNote)
        yield


def compare(case: Case, path: Path, frames: list[Frame]) -> Differences:
    """Return the differences; that of pixels is 0 where the row says why they differ."""
    times = np.array([frame.time_seconds for frame in frames])
    expected = reference_times(case, path)
    both = min(len(times), len(expected))
    seconds = float(np.abs(times[:both] - expected[:both]).max(initial=0.0))
    levels = 0.0
    if not case.differs:
        grids = (area_means(frame.pixels) for frame in frames)
        shapes = [frame.pixels.shape for frame in frames]
        shown = (area_means(pixels) for pixels in reference_pixels(case, path, shapes))
        apart = [float(np.abs(mine - right).max()) for mine, right in zip(grids, shown, strict=True)]
        if case.interlaced:  # FFmpeg 5.1 compares the first one with the frame before, 8.1 does not
            del apart[case.first_interlaced]
        levels = max(apart, default=0.0)
    return Differences(len(times), len(expected), seconds, levels)


def reference_times(case: Case, path: Path) -> npt.NDArray[np.float64]:
    """Return the times of ffprobe's frames, counted from the container's start."""
    entries = "format=start_time:frame=best_effort_timestamp_time"
    command = f"ffprobe -v quiet -select_streams v:{case.video} -show_entries {entries} -of json"
    said = json.loads(subprocess.run([*shlex.split(command), path], capture_output=True, check=True).stdout)
    if case.raw_rate is not None:
        return np.arange(len(said["frames"])) / case.raw_rate
    times: list[float] = []
    for frame in said["frames"]:  # program streams and AVIs give some frames no time: they follow the one before
        following = times[-1] + 1 / float(Fraction(case.rate)) if times else 0.0
        times.append(float(frame.get("best_effort_timestamp_time", following)))
    return np.array(times) - float(said["format"].get("start_time", 0) if case.start is None else case.start)


def reference_pixels(case: Case, path: Path, shapes: list[tuple[int, ...]]) -> list[npt.NDArray[np.uint8]]:
    """Return the pictures that ffmpeg shows, upright and deinterlaced, none twice or left out, each in its own size."""
    filters = case.reference or (DEINTERLACE if case.interlaced else "")
    before, after = ("-noautorotate", filters.removeprefix("-noautorotate")) if "-noauto" in filters else ("", filters)
    output = "-fps_mode passthrough -autoscale 0 -f rawvideo -pix_fmt rgb24 -"
    command = ["ffmpeg", "-v", "quiet", *before.split(), "-i", str(path), "-map", f"0:v:{case.video}"]
    data = subprocess.run(
        [*command, *shlex.split(after), *output.split()], capture_output=True, stdin=subprocess.DEVNULL, check=True
    ).stdout
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    if len(data) != ends[-1]:
        raise AssertionError(f"{case.name}: ffmpeg gives {len(data)} bytes of pictures, the reader {ends[-1]}")
    pictures = np.split(np.frombuffer(data, np.uint8), ends[:-1])
    return [picture.reshape(shape) for picture, shape in zip(pictures, shapes, strict=True)]


def area_means(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the mean of each cell of a 32 x 32 grid, ``(32, 32, 3)``; a pixel on a border counts by its parts."""
    height, width = pixels.shape[:2]
    rows = _shares(height) @ pixels.reshape(height, -1).astype(np.float32)
    return np.einsum("rwc,gw->rgc", rows.reshape(GRID, width, 3), _shares(width), optimize=True)


def _shares(length: int) -> npt.NDArray[np.float32]:
    edges = np.linspace(0, length, GRID + 1)
    covered = np.clip(edges[:, None] - np.arange(length), 0, 1)  # by pixel and edge: how much lies before the edge
    return (np.diff(covered, axis=0) * GRID / length).astype(np.float32)


def main(parts: list[str]) -> None:
    """Print one line a file, and the figures of all."""
    compared = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if parts and not any(part in case.name for part in parts):
                continue
            path = write_case(case, Path(folder))
            try:
                reading = read(path)
                differences = compare(case, path, reading.frames)
            except (VideoError, AssertionError) as error:
                print(f"{case.name}: {error}", flush=True)
                continue
            compared.append(differences)
            print(f"{case.name}: {differences}, damage {reading.damage}", flush=True)
    frames = sum(differences.frames for differences in compared)
    seconds = max(differences.seconds for differences in compared)
    levels = max(differences.levels for differences in compared)
    print(f"{len(compared)} files, {frames} frames; at most {seconds * 1000:.3f} ms and {levels:.2f} levels apart")


if __name__ == "__main__":
    main(sys.argv[1:])
