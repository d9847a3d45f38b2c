"""The whole path as a user walks it: the demo, and a real data set."""

import csv
import json
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cli.command import activity

WEIZMANN = Path(__file__).parents[1] / ".." / "shared" / "data" / "weizmann"


@pytest.mark.slow
def test_the_demo_runs_offline_and_says_what_only_the_order_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the demo asked for the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.chdir(tmp_path)
    outcome = activity(
        *("demo", "--folder", "my demo", "--actors", "3", "--takes", "1"),
        *("trainer=cpu", "trainer.max_epochs=2", "optim.steps_per_epoch=2", "sampling.sample_fps=2"),
        *("encoder.name=timm/test_efficientnet.r160_in1k", "encoder.weights=none"),
    )
    assert outcome.code == 0, outcome.err
    assert "Pairs that only the order in time tells apart (sit_down/stand_up, pick_up/put_down):" in outcome.out
    lines = [line.split() for line in outcome.out.splitlines()]
    figures = {words[0]: words[1] for words in lines if len(words) == 2 and words[1].endswith("%")}
    assert {"lstm", "mean_pool"} <= set(figures)
    (agreement,) = [line for line in outcome.out.splitlines() if "differ by" in line]
    assert float(agreement.split("differ by ")[1].split()[0]) < 1e-4
    run = tmp_path / "my demo" / "run"
    assert (run / "model.ts").is_file()
    assert json.loads((run / "test_metrics.json").read_text())["clips"] == 6
    assert len(list((tmp_path / "my demo" / "videos").rglob("*.avi"))) == 18


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not WEIZMANN.is_dir(), reason="the Weizmann videos are not beside the checkout")
def test_real_videos_from_the_folder_to_predictions(tmp_path: Path) -> None:
    # Actions so different that even few actors teach them; the actor is the first part of a file's name.
    videos, held_out = tmp_path / "videos", tmp_path / "new"
    held_out.mkdir()
    for label in ("bend", "wave2"):
        (videos / label).mkdir(parents=True)
        for position, path in enumerate(sorted((WEIZMANN / label).iterdir())[:5]):
            shutil.copy(path, videos / label if position else held_out / f"{label}{path.suffix}")
    run = tmp_path / "run"
    outcome = activity(
        *("train", f"data.root={videos}", f"features.store={tmp_path / 'features'}", f"hydra.run.dir={run}"),
        *(r"data.group_pattern='/(?P<group>[a-z]+)_'", "trainer=cpu", "trainer.max_epochs=10", "modalities=[rgb]"),
        *("sampling.sample_fps=2.5", "sampling.window_frames=5", "optim.steps_per_epoch=2"),
    )
    assert outcome.code == 0, outcome.err
    with (run / "splits.csv").open(newline="") as file:
        groups = {(row["group"], row["split"]) for row in csv.DictReader(file)}
    assert len(groups) == 4  # four actors, each on one side
    outcome = activity("predict", run / "checkpoints" / "best.ckpt", held_out, "--format", "jsonl")
    assert outcome.code == 0, outcome.err
    answers = {Path(line["source"]).stem: line["label"] for line in map(json.loads, outcome.out.splitlines())}
    assert answers == {"bend": "bend", "wave2": "wave2"}
