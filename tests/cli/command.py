"""Runs the command line as a user would, in this process or in one of its own."""

import contextlib
import io
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from activity.cli.main import main
from activity.data.clips import DataWarning
from activity.features.spans import FillWarning
from activity.features.store import StoreWarning
from activity.video.errors import VideoNote, VideoWarning

# A script's background jobs are started with SIGINT ignored, and processes inherit that: these hear it all the same.
_HEAR_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
SCRIPT = f"{_HEAR_CTRL_C}; import sys; from activity.cli.main import main; sys.exit(main())"
COMMAND = [sys.executable, "-c", SCRIPT]
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[str]:
        """The messages on standard error that end a verb, without progress, notes and warnings."""
        return [line for line in self.err.splitlines() if line.startswith("activity")]


def activity(*arguments: object) -> Outcome:
    """Run a verb in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        # What the program has to say to its user is printed; any other warning stays an error.
        for category in (DataWarning, FillWarning, StoreWarning, VideoNote, VideoWarning):
            warnings.filterwarnings("always", category=category)
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:  # argparse
            code = leaving.code if isinstance(leaving.code, int) else 1
    return Outcome(code, out.getvalue(), err.getvalue())


def start(*arguments: object, cwd: Path, **options: object) -> subprocess.Popen[str]:
    """Start a verb in a process of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,  # type: ignore[call-overload]
    )
