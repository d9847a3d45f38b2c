"""What several test files share: one data set, one trained run, one exported file. Read, never written to."""

from pathlib import Path

import pytest
import torch

from activity.torchvision_operators import declare_missing_operators
from tests.cli.command import activity
from tests.datasets import GROUP_PATTERN, TINY, write_colour_folder

declare_missing_operators()  # before tests import torchvision, timm or Lightning


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Numbers as small as those of tests take twice as long on two threads, which wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def colour_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_folder(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The override that keeps features out of the user's home; shared, so that most runs decode nothing."""
    return f"features.store={tmp_path_factory.mktemp('features')}"


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, colour_folder: Path, store: str) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    outcome = activity(
        "train",
        f"data.root={colour_folder}",
        store,
        f"hydra.run.dir={run}",
        GROUP_PATTERN,
        *TINY,
        "trainer.max_epochs=4",
    )
    assert outcome.code == 0, outcome.err
    return run


@pytest.fixture(scope="session")
def checkpoint(trained_run: Path) -> Path:
    return trained_run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.ts"
    outcome = activity("export", checkpoint, path)
    assert outcome.code == 0, outcome.err
    return path
