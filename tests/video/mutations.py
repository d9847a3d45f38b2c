"""Damaged copies of videos, and how reading each of them ends: for a test, and to be run on folders of real clips.

python -m tests.video.mutations FOLDER... --count 300
"""

# ruff: noqa: T201

import argparse
import faulthandler
import itertools
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activity.video.errors import VideoError, VideoWarning
from activity.video.files import find_videos
from activity.video.reader import VideoReader

Random = np.random.Generator


@dataclass(frozen=True)
class Outcome:
    """How reading a copy ended: "frames", "warning", "error", or the name of an exception that is none of ours."""

    name: str
    kind: str
    frames: int
    seconds: float
    words: str


def flip(data: bytearray, random: Random) -> bytes:
    """Some bytes anywhere are others."""
    for place in random.integers(len(data), size=int(random.integers(1, 200))):
        data[place] = random.integers(256)
    return bytes(data)


def flip_headers(data: bytearray, random: Random) -> bytes:
    """Some bytes at the start and the end, where sizes and indices stand, are others."""
    for place in random.integers(min(len(data), 2_000), size=int(random.integers(1, 20))):
        data[place if random.random() < 0.5 else -1 - place] = random.integers(256)
    return bytes(data)


def cut(data: bytearray, random: Random) -> bytes:
    """The end is missing, or the start, or a piece within."""
    first, last = sorted(int(place) for place in random.integers(len(data), size=2))
    return bytes((data[:last], data[first:], data[:first] + data[last:])[random.integers(3)])


def shuffle(data: bytearray, random: Random) -> bytes:
    """Blocks stand in another order; the first often where it was."""
    size = int(2 ** random.integers(8, 16))
    blocks = [bytes(data[place : place + size]) for place in range(0, len(data), size)]
    kept = blocks[:1] if random.random() < 0.7 else []
    rest = blocks[len(kept) :]
    return b"".join([*kept, *(rest[place] for place in random.permutation(len(rest)))])


def overwrite(data: bytearray, random: Random) -> bytes:
    """A piece is all zeros, all ones, or comes twice."""
    first, last = sorted(int(place) for place in random.integers(len(data), size=2))
    piece = (bytes(last - first), b"\xff" * (last - first), bytes(data[first:last]) * 2)[random.integers(3)]
    return bytes(data[:first] + piece + data[last:])


MUTATIONS = (flip, flip_headers, cut, shuffle, overwrite)


def write_mutations(videos: Sequence[Path], folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Write damaged copies, each mutation of each video in turn; their names say of what and how."""
    random, paths = np.random.default_rng(seed), []
    for number, video in zip(range(count), itertools.cycle(videos), strict=False):
        mutate = MUTATIONS[(number + number // len(videos)) % len(MUTATIONS)]
        paths.append(folder / f"{number:04d}-{mutate.__name__}-{video.stem}{video.suffix}")
        paths[-1].write_bytes(mutate(bytearray(video.read_bytes()), random))
    return paths


def read_all(paths: Sequence[Path], *, limit_seconds: float) -> tuple[list[Outcome], int]:
    """Read the copies in one process of their own; how each ended, and the most memory that it took, in MiB.

    Raises CalledProcessError where the process crashes or one of them takes longer than the limit: which, is printed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.video.mutations", "--read", f"--limit={limit_seconds}", *map(str, paths)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    *lines, memory = done.stdout.splitlines()
    if done.returncode:
        print("the one after this:", memory)
        done.check_returncode()
    outcomes = [
        Outcome(name, kind, int(frames), float(seconds), words)
        for name, kind, frames, seconds, words in (line.split("\t") for line in lines)
    ]
    return outcomes, int(memory)


def _read(path: Path) -> Outcome:
    start, frames, kind, words = time.monotonic(), 0, "frames", ""
    try:
        for _ in VideoReader(path).sampled_frames(8):
            frames += 1
    except VideoError as error:
        kind, words = "error", error.reason
    except VideoWarning as warning:
        kind, words = "warning", str(warning).removeprefix(f"{path}: ")
    except Exception as error:  # noqa: BLE001 - what is to be found
        kind, words = type(error).__name__, str(error)
    return Outcome(path.name, kind, frames, time.monotonic() - start, " ".join(words.split()))


def _peak_megabytes() -> int:
    """Of this program alone: Linux counts what its parent held at the fork into the usual figure."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20  # bytes on a Mac
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each")
    parser.add_argument("--read", action="store_true", help="read these files, and say how each ended")
    arguments = parser.parse_args()
    if arguments.read:
        warnings.simplefilter("error", VideoWarning)
        for path in arguments.paths:
            faulthandler.dump_traceback_later(arguments.limit, exit=True)
            outcome = _read(path)
            print(outcome.name, outcome.kind, outcome.frames, outcome.seconds, outcome.words, sep="\t", flush=True)
        print(_peak_megabytes())
        return
    videos = [video for folder in arguments.paths for video in find_videos(folder)]
    chosen = np.random.default_rng(arguments.seed).permutation(len(videos))[: arguments.count]
    with tempfile.TemporaryDirectory() as folder:
        copies = write_mutations([videos[i] for i in chosen], Path(folder), arguments.count, seed=arguments.seed)
        outcomes, memory = read_all(copies, limit_seconds=arguments.limit)
    print(len(outcomes), "copies:", dict(Counter(outcome.kind for outcome in outcomes)), f"{memory} MiB at most")
    for slowest in sorted(outcomes, key=lambda outcome: -outcome.seconds)[:3]:
        print(f"{slowest.seconds:.1f} s, {slowest.frames} sampled frames: {slowest.name}")
    for kind, words in Counter((outcome.kind, _without_numbers(outcome.words)) for outcome in outcomes).most_common():
        print(f"{words:4d} {kind[0]}: {kind[1]}")


def _without_numbers(words: str) -> str:
    return "".join("#" if letter.isdigit() else letter for letter in words)


if __name__ == "__main__":
    main()
