"""Ctrl-C: exit code 130, no traceback, nothing lost, one line how to go on."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from activity.features import extract
from activity.features.store import video_digest
from activity.video.reader import VideoReader
from tests.cli.command import SCRIPT, activity, start
from tests.datasets import GROUP_PATTERN, TINY, write_colour_folder, write_colour_video

pytestmark = pytest.mark.slow


def interrupt_when(
    process: "subprocess.Popen[str]",
    ready: Callable[[], bool],
    *,
    with_its_workers: bool = False,
    number: signal.Signals = signal.SIGINT,
) -> tuple[int, str]:
    """Send SIGINT, or another signal, once it is time; returns exit code and standard error.

    A terminal sends it to the workers of a process as well; `process` must have been started with a new session then.
    """
    with process:
        deadline = time.monotonic() + 90
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if with_its_workers:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(number)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_libraries_are_imported_none_of_them_can_take_it_for_its_own(
    number: signal.Signals, tmp_path: Path
) -> None:
    # A library that catches whatever its own imports raise, as torch does.
    (tmp_path / "torch.py").write_text(
        "import time\nprint(end='importing', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept BaseException:\n    print('lost')\nraise SystemExit(3)\n"
    )
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {SCRIPT}"
    with subprocess.Popen(
        [sys.executable, "-c", script, "inspect", "model.ts"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(len("importing")) == "importing"
        process.send_signal(number)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (130, "", "activity inspect: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_training_the_last_checkpoint_is_kept_and_one_line_says_how_to_resume(
    number: signal.Signals, tmp_path: Path, colour_folder: Path, store: str
) -> None:
    run = tmp_path / "my run"
    last = run / "checkpoints" / "last.ckpt"
    process = start(
        *("train", store, *TINY, f"data.root={colour_folder}", GROUP_PATTERN, f'hydra.run.dir="{run}"'),
        *("trainer.max_epochs=100000", "callbacks.early_stopping=null"),
        cwd=tmp_path,
    )
    code, errors = interrupt_when(process, last.exists, number=number)
    assert code == 130, errors
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if "resume=" in line]
    reached = torch.load(last, weights_only=True)["epoch"]
    command = shlex.split(line.partition("Go on with: ")[2])
    assert command[:2] == ["activity", "train"]
    resumed = activity(*command[1:], f"trainer.max_epochs={reached + 3}")
    assert resumed.code == 0, resumed.err
    assert torch.load(last, weights_only=True)["epoch"] == reached + 2
    assert (run / "test_metrics.json").is_file()


def test_in_extraction_the_clips_that_are_done_stay_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_colour_folder(tmp_path / "videos", actors=3, frames=4)
    long = write_colour_video(root / "red" / "actor2.mp4", "red", frames=4000)
    features = tmp_path / "features"

    def entries() -> list[Path]:
        return list(features.rglob("*.safetensors"))

    arguments = ["train", *TINY, f"data.root={root}", f"features.store={features}", "sampling.sample_fps=25"]
    process = start(*arguments, "hydra.run.dir=run", "features.decode_threads=1", cwd=tmp_path)
    code, errors = interrupt_when(process, lambda: bool(entries()))
    assert code == 130, errors
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("activity train: interrupted")
    done = len(entries())
    assert 1 <= done <= 5
    # Videos come in a random order: the long one, which is another one below, may be among them.
    to_do = 6 - done + any(video_digest(long).encode() in path.read_bytes() for path in entries())
    assert not [path for path in features.rglob("*") if path.name.startswith(".writing-")]

    opened: list[Path] = []

    class RecordingReader(VideoReader):
        def __init__(self, source: str | os.PathLike[str], **settings: Any) -> None:
            opened.append(Path(source))
            super().__init__(source, **settings)

    monkeypatch.setattr(extract, "VideoReader", RecordingReader)
    write_colour_video(long, "red", frames=4, seed=7)
    outcome = activity(*arguments, f"hydra.run.dir={tmp_path / 'again'}")
    assert outcome.code == 0, outcome.err
    assert long in opened
    assert len(opened) == len(set(opened)) == to_do


def workers_of(process: "subprocess.Popen[str]") -> int:
    """How many processes a process has started and not yet lost."""
    found = [path.read_text().split() for path in Path(f"/proc/{process.pid}/task").glob("*/children")]
    return sum(map(len, found))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for the workers as Linux shows them")
def test_in_crossval_one_process_says_so_and_none_stays_behind(tmp_path: Path, colour_folder: Path, store: str) -> None:
    process = start(
        *("crossval", store, *TINY, f"data.root={colour_folder}", GROUP_PATTERN, "hydra.run.dir=run", "processes=2"),
        "trainer.max_epochs=100000",
        cwd=tmp_path,
        start_new_session=True,
    )
    # Two workers, beside the process that looks after what they share: they are importing torch now.
    code, errors = interrupt_when(process, lambda: workers_of(process) >= 3, with_its_workers=True)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("activity crossval: interrupted")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker is still there")
