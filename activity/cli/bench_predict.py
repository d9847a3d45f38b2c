"""What `activity bench predict` measures: from the start of the process to the label of one clip."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from activity.cli.arguments import UsageError
from activity.cli.bench_figures import Figure, medians

_MAIN = "import sys; from activity.cli.main import main; sys.exit(main())"
_IMPORT = "import torch, cv2"
_LOAD = "import sys, torch, cv2; torch.jit.load(sys.argv[1])"
_RUNS = 7


def bench_predict(model: Path, video: Path, *, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Seconds of a fresh process that predicts one clip, beside one that loads torch and the weights alone.

    Args:
        model: a TorchScript file.
        video: the clip.
        quick: one run of each.
        say: is told what comes next.
    """
    commands = {
        "a process that imports torch and cv2": [_IMPORT],
        "and loads the weights": [_LOAD, str(model)],
        "activity inspect model.ts": [_MAIN, "inspect", str(model)],
        "activity predict model.ts clip.mp4": [_MAIN, "predict", str(model), str(video), "--device", "cpu"],
    }
    say("starting processes ...")
    seconds, runs = medians(
        lambda: [_seconds(program, arguments) for program, *arguments in commands.values()], quick=quick, runs=_RUNS
    )
    _, loaded, _, predicted = seconds
    return [
        *(Figure(name, value, "s", runs=runs) for name, value in zip(commands, seconds, strict=True)),
        Figure("predict by torch, cv2 and the weights", predicted / loaded, "", "at most", 1.3, runs),
    ]


def _seconds(program: str, arguments: Sequence[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise UsageError(f"a process that was to be measured failed: {said}")
    return seconds
