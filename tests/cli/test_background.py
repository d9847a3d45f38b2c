"""`data.background`: long videos with labelled spans, the rest a class of its own, through all verbs that read them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from activity.cli import dataset
from activity.formats import load_recognizer
from tests.cli.command import Outcome, activity
from tests.datasets import TINY, colour_frames
from tests.videos import Pixels, write_video

FPS = 10
SIDES = ("train", "train", "val", "test")
GREY = [np.full((48, 64, 3), 128, np.uint8)]
SMALL = (*TINY, "trainer.max_epochs=1")


def day(seed: int) -> list[Pixels]:
    """Eight seconds: grey, blue from 1 to 2 s, grey, red from 4 to 5 s, grey."""
    blue, red = (colour_frames(label, FPS, seed=seed) for label in ("blue", "red"))
    return [*GREY * FPS, *blue, *GREY * 2 * FPS, *red, *GREY * 3 * FPS]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("days")
    lines = ["path,label,start,end,split"]
    for number, side in enumerate(SIDES):
        write_video(root / f"day{number}.avi", day(number), fps=FPS)
        lines += [f"day{number}.avi,blue,1,2,{side}", f"day{number}.avi,red,4,5,{side}"]
    (root / "clips.csv").write_text("\n".join(lines))
    (root / "classes.txt").write_text("blue\nred\n")
    return root / "clips.csv"


@pytest.fixture(scope="module")
def run(table: Path, store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    outcome = verb("train", table, store, f"hydra.run.dir={folder}", "data.background=true", *SMALL)
    assert outcome.code == 0, outcome.err
    assert "16 clips, 3 classes: 8 train, 4 val, 4 test" in outcome.err
    assert "classes.txt" not in outcome.err  # a published list of classes has no background
    return folder


def verb(name: str, table: Path, store: str, *arguments: object) -> Outcome:
    return activity(name, "data=csv", f"data.csv={table}", store, *arguments)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_training_knows_background_as_its_last_class_and_says_which_spans_it_took(run: Path) -> None:
    assert load_recognizer(run / "checkpoints" / "best.ckpt").class_names == ["blue", "red", "background"]
    taken = [row for row in rows(run / "splits.csv") if row["label"] == "background"]
    # Of five pieces (0-1, 2-3, 3-4, and what comes after 5 s in three, up to 7.5 s) two: the second and the fourth.
    assert [(row["path"], row["split"]) for row in taken] == [
        (f"day{number}.avi", side) for number, side in enumerate(SIDES) for _ in range(2)
    ]
    for row, (start, end) in zip(taken, [(2.0, 3.0), (5.0, 6.25)] * len(SIDES), strict=True):
        assert (float(row["start"]), float(row["end"])) == pytest.approx((start, end), abs=0.1)


def test_the_test_split_of_the_run_is_measured_again_whatever_containers_declare_by_then(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "declared_seconds", lambda path: 7.123)
    out = tmp_path / "out"
    outcome = activity("evaluate", run / "checkpoints" / "best.ckpt", f"hydra.run.dir={out}", "format=json")
    assert outcome.code == 0, outcome.err
    trained = json.loads((run / "test_metrics.json").read_text())
    document = json.loads(outcome.out)
    assert document["class_names"] == ["blue", "red", "background"]
    assert document["confusion"] == trained["confusion"]
    assert sorted(row["label"] for row in rows(out / "predictions.csv")) == ["background"] * 2 + ["blue", "red"]


def test_a_run_goes_on_with_the_spans_it_began_with(run: Path) -> None:
    before = (run / "splits.csv").read_text()
    outcome = activity("train", f"resume={run}", "trainer.max_epochs=2")
    assert outcome.code == 0, outcome.err
    assert (run / "splits.csv").read_text() == before


def test_extraction_and_cross_validation_take_it_too(table: Path, store: str, tmp_path: Path, run: Path) -> None:
    settings = [item for item in SMALL if item.startswith(("encoder", "modalities"))]
    outcome = verb("extract", table, store, "data.background=true", *settings, "features.device=cpu")
    assert outcome.code == 0, outcome.err
    assert "0 clips stored now, 16 already there" in outcome.out  # by the training
    folder = tmp_path / "crossval"
    outcome = verb(
        "crossval", table, store, "data.background=true", f"hydra.run.dir={folder}", "processes=1", "folds=2", *SMALL
    )
    assert outcome.code == 0, outcome.err
    document = json.loads((folder / "crossval.json").read_text())
    assert (document["clips"], document["class_names"]) == (16, ["blue", "red", "background"])


class TestWrongUse:
    def refused(self, *arguments: object) -> str:
        outcome = activity(*arguments)
        assert outcome.code == 2
        assert len(outcome.messages) == 1
        assert "Traceback" not in outcome.err
        return outcome.messages[0]

    @pytest.mark.parametrize("name", ["train", "crossval", "extract"])
    def test_nothing_is_unlabelled(self, name: str, colour_folder: Path, store: str, tmp_path: Path) -> None:
        place = [] if name == "extract" else [f"hydra.run.dir={tmp_path}"]
        message = self.refused(name, f"data.root={colour_folder}", "data.background=true", store, *SMALL[:3], *place)
        assert "no clip of" in message
        assert "has a start or end" in message

    def test_splits_that_were_made_without(self, table: Path, store: str, tmp_path: Path) -> None:
        splits = tmp_path / "splits.csv"
        splits.write_text(table.read_text())
        place = f"hydra.run.dir={tmp_path / 'run'}"
        message = self.refused(
            "train", "data=csv", f"data.csv={table}", store, f"data.splits={splits}", "data.background=true", place
        )
        assert "have no clip of background: they were made without" in message

    def test_no_switch(self, table: Path, tmp_path: Path) -> None:
        place = f"hydra.run.dir={tmp_path}"
        message = self.refused("train", "data=csv", f"data.csv={table}", "data.background=some", place)
        assert "data.background is 'some'; accepted: true or false" in message
