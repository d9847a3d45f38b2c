"""The folder of a run is of one run at a time."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from activity.cli.new_folders import used_by_no_other_run
from tests.cli.command import Outcome, activity, start
from tests.datasets import GROUP_PATTERN, TINY

THIS_YEAR = "${now:%Y}"  # whenever two runs begin, they begin in the same one


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluate(model: Path, data: Path, *overrides: str) -> Outcome:
    return activity("evaluate", model, f"data.root={data}", "split=all", GROUP_PATTERN, *overrides)


def test_runs_of_one_moment_have_a_folder_each(checkpoint: Path, colour_folder: Path, store: str) -> None:
    for _ in range(3):
        assert evaluate(checkpoint, colour_folder, store, f"hydra.run.dir=runs/{THIS_YEAR} x").code == 0
    year = time.strftime("%Y")
    assert sorted(path.parent.name for path in Path("runs").glob("*/metrics.json")) == [
        f"{year} x",
        f"{year} x_2",
        f"{year} x_3",
    ]


def test_sweeps_of_one_moment_have_a_folder_each(checkpoint: Path, colour_folder: Path, store: str) -> None:
    for _ in range(2):
        outcome = evaluate(
            checkpoint, colour_folder, store, f"hydra.sweep.dir={THIS_YEAR}", "format=json,csv", "--multirun"
        )
        assert outcome.code == 0, outcome.err
    year = time.strftime("%Y")
    found = sorted(str(path.parent) for path in Path().glob("*/*/metrics.json"))
    assert found == [f"{year}/0", f"{year}/1", f"{year}_2/0", f"{year}_2/1"]
    assert sorted(map(str, Path().iterdir())) == [year, f"{year}_2"]


def test_a_folder_that_is_given_is_refused_while_a_run_uses_it(
    trained_run: Path, checkpoint: Path, colour_folder: Path, store: str
) -> None:
    shutil.copytree(trained_run, "run")
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")}
    with used_by_no_other_run(Path("run")):
        again = activity("train", "resume=run", "trainer.max_epochs=9")
        measured = evaluate(checkpoint, colour_folder, store, "hydra.run.dir=run")
    for outcome in (again, measured):
        (message,) = outcome.messages
        assert (outcome.code, f"{Path('run').absolute()} is in use by another run" in message) == (2, True)
        assert "hydra.run.dir" in message
    assert before == {path: path.stat().st_mtime_ns for path in Path("run").rglob("*")}
    assert "holds a run already" in evaluate(checkpoint, colour_folder, store, "hydra.run.dir=run").err


@pytest.mark.slow
class TestTwoProcesses:
    @pytest.fixture
    def arguments(self, colour_folder: Path, store: str) -> list[str]:
        return ["crossval", store, *TINY, "processes=1", f"data.root={colour_folder}", GROUP_PATTERN, "folds=2"]

    def test_begun_at_once_each_have_their_own_configuration_and_results(self, arguments: list[str]) -> None:
        own = [*arguments, f"hydra.run.dir=runs/{THIS_YEAR}"]
        processes = [start(*own, f"seed={seed}", cwd=Path.cwd()) for seed in (5, 6)]
        for process in processes:
            out, errors = process.communicate(timeout=180)
            assert process.returncode == 0, errors
            (result,) = [line.partition(": ")[2] for line in out.splitlines() if line.startswith("results: ")]
            seed = OmegaConf.load(Path(result).parent / "config.yaml").seed
            assert seed == 5 + processes.index(process)
            assert json.loads(Path(result).read_text())["heads"]
        assert len(list(Path("runs").iterdir())) == 2

    def test_with_one_folder_given_the_second_is_refused_until_the_first_is_gone(self, arguments: list[str]) -> None:
        own = [*arguments, "hydra.run.dir=run"]
        with start(*own, "trainer.max_epochs=100000", cwd=Path.cwd()) as process:
            deadline = time.monotonic() + 90
            while not Path("run/config.yaml").exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            config = Path("run/config.yaml").read_text()
            refused = activity(*own)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        assert (refused.code, "in use by another run" in refused.messages[0]) == (2, True)
        assert Path("run/config.yaml").read_text() == config
        assert activity(*own).code == 0
