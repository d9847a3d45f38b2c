"""The peak memory that `activity bench` measures."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

from activity.cli.arguments import UsageError, quoted
from activity.cli.bench_figures import Figure
from activity.cli.main import EXIT_OK
from activity.data.demo import FRAMES_PER_SECOND, render_clip, write_film

_PROGRAM = """
import sys
from activity.cli.main import main
code = main(sys.argv[2:])
from activity.cli.bench_memory import own_peak_bytes
with open(sys.argv[1], "w") as file:
    file.write(str(own_peak_bytes()))
sys.exit(code)
"""


def memory_figures(folder: Path, overrides: Sequence[str], *, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Peak memory of `activity extract` on videos written for it, each in a process of its own.

    One run of each: they take minutes, and a peak is of what is held.

    Args:
        folder: a fresh one, for videos and features.
        overrides: settings, as for `activity extract`.
        quick: a short video, and few clips.
        say: is told what comes next.
    """
    minutes, clips = (1, 100) if quick else (20, 10_000)
    made: list[tuple[str, Callable[[Path], None]]] = [
        (f"{minutes} minutes of video", partial(_write_long, minutes=minutes)),
        (f"{clips} short clips", partial(_write_many, clips=clips)),
        ("large frames (2880 x 2160)", _write_large),
    ]
    figures = []
    for number, (name, make) in enumerate(made):
        say(f"memory: {name} ...")
        own = folder / str(number)
        make(own / "videos")
        peak = _peak_of_extract(own, overrides)
        figures.append(Figure(f"peak memory of extract, {name}", peak, "GB", "at most", 2.0))
    return figures


def peak_gigabytes(arguments: Sequence[str]) -> float:
    """The peak memory of `activity ARGUMENTS` in a process of its own; its standard output goes to ours for errors."""
    with NamedTemporaryFile(prefix="activity-peak-") as file:
        path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        command = [sys.executable, "-c", _PROGRAM, file.name, *arguments]
        code = subprocess.run(command, env=environment, stdout=2, check=False).returncode
        if code != EXIT_OK:
            raise UsageError(
                f"activity {arguments[0]} could not be measured: it ended with {code} on videos written for it. What "
                "it said stands above."
            )
        return int(file.read()) / 1e9


def own_peak_bytes() -> int:
    """The most memory that this program has held so far.

    On Linux what the system says to a parent (`ru_maxrss`) has in it what the parent itself held when it started the
    program; the program's own status has not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _write_long(root: Path, minutes: int) -> None:
    frames = list(render_clip("wave", actor=0, take=0, seed=0))
    for label, count in (("long", minutes * 60 * FRAMES_PER_SECOND), ("short", 2)):
        (root / label).mkdir(parents=True)
        write_film(root / label / "film.avi", (frames[number % len(frames)] for number in range(count)))


def _write_many(root: Path, clips: int) -> None:
    frames = list(islice(render_clip("wave", actor=0, take=0, seed=0), 2))
    for label in ("one", "other"):
        (root / label).mkdir(parents=True)
    write_film(root / "film.avi", frames)
    film = (root / "film.avi").read_bytes()
    (root / "film.avi").unlink()
    for number in range(clips):
        # Another content, and so features of its own; bytes behind the end of the container mean nothing to a reader.
        (root / ("one", "other")[number % 2] / f"{number}.avi").write_bytes(film + number.to_bytes(8, "little"))


def _write_large(root: Path) -> None:
    for actor, label in enumerate(("one", "other")):
        (root / label).mkdir(parents=True)
        frames = render_clip("wave", actor=actor, take=0, seed=0)
        write_film(root / label / "film.avi", (frame.repeat(9, axis=0).repeat(9, axis=1) for frame in frames))


def _peak_of_extract(folder: Path, overrides: Sequence[str]) -> float:
    paths = {"data.root": folder / "videos", "features.store": folder / "store"}
    given = [f"{key}={quoted(str(path))}" for key, path in paths.items()]
    return peak_gigabytes(["extract", *given, *overrides])
