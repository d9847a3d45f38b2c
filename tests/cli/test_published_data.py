"""Training by official split on small trees in the formats of the published data sets, end to end."""

import csv
import json
import zlib
from pathlib import Path

import pytest
import torch

from tests.cli.command import Outcome, activity
from tests.data.layouts.trees import (
    HMDB51_VIDEOS,
    UCF101_CLASSES,
    kinetics_csv,
    touch,
    ucf101_name,
    write_csv,
    write_hmdb51,
    write_ucf101,
)
from tests.datasets import TINY, write_colour_video


def train(run: Path, store: str, *overrides: object) -> Outcome:
    return activity("train", store, f"hydra.run.dir={run}", *TINY, "trainer.max_epochs=1", *overrides)


def clips_of(run: Path, split: str) -> set[str]:
    """The file names of the clips of a split, as the run wrote them down."""
    with (run / "splits.csv").open(newline="", encoding="utf-8") as file:
        return {Path(row["path"]).name for row in csv.DictReader(file) if row["split"] == split}


def class_names(run: Path) -> list[str]:
    names = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["recognizer"]["class_names"]
    assert json.loads((run / "test_metrics.json").read_text())["class_names"] == names
    return list(names)


def number_tested(run: Path) -> int:
    return int(json.loads((run / "test_metrics.json").read_text())["clips"])


def write_small(path: Path, label: str) -> None:
    """A video whose look depends on its name, so that no two have the same features."""
    colour = ("blue", "green", "red")[len(label) % 3]
    write_colour_video(path, colour, frames=6, seed=zlib.crc32(path.name.encode()))


@pytest.fixture(scope="module")
def ucf101(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ucf101(tmp_path_factory.mktemp("ucf"), groups=(1, 8, 9), write=write_small)


class TestUcf101:
    def test_official_test_clips_and_official_order_of_classes(self, ucf101: Path, tmp_path: Path, store: str) -> None:
        run = tmp_path / "run"
        outcome = train(run, store, "data=ucf101", f"data.root={ucf101}", "data.split=1", "data.val_fraction=0.5")
        assert outcome.code == 0, outcome.err
        assert "warning" not in outcome.err
        assert clips_of(run, "test") == {Path(ucf101_name(name, 1)).name for name in UCF101_CLASSES.values()}
        assert number_tested(run) == 5
        for split in ("train", "val"):  # by group: one whole gNN each
            assert len({name.split("_")[2] for name in clips_of(run, split)}) == 1
        assert class_names(run) == ["Hammering", "HammerThrow", "HandstandPushups", "JumpingJack", "JumpRope"]

    def test_the_second_split_tests_on_others(self, ucf101: Path, tmp_path: Path, store: str) -> None:
        run = tmp_path / "run"
        outcome = train(run, store, "data=ucf101", f"data.root={ucf101}", "data.split=2", "data.val_fraction=0")
        assert outcome.code == 0, outcome.err
        assert {name.split("_")[2] for name in clips_of(run, "test")} == {"g08", "g09"}

    def test_missing_videos_are_named_and_the_exit_code_says_so(self, tmp_path: Path, store: str) -> None:
        root = write_ucf101(tmp_path / "ucf", groups=(1, 8, 9), write=write_small)
        gone = [root / "UCF-101" / ucf101_name("JumpRope", 1), root / "UCF-101" / ucf101_name("Hammering", 9)]
        for path in gone:
            path.unlink()
        run = tmp_path / "run"
        outcome = train(run, store, "data=ucf101", f"data.root={root}", "data.val_fraction=0")
        assert outcome.code == 1
        assert "warning: 2 of 15 videos" in outcome.err
        assert all(any(str(path) in message for message in outcome.messages) for path in gone)
        assert "2 of 15 clips could not be read; the rest was used" in outcome.messages[-1]
        assert number_tested(run) == 4
        assert class_names(run) == list(UCF101_CLASSES.values())

    def test_lists_of_another_data_set_are_refused(self, ucf101: Path, colour_folder: Path, tmp_path: Path) -> None:
        outcome = activity(
            *("train", "data=ucf101", f"hydra.run.dir={tmp_path}/run", f"data.root={colour_folder}"),
            f"data.annotations={ucf101}/ucfTrainTestlist",
        )
        assert outcome.code == 2
        (message,) = outcome.messages
        assert "Of 15 videos" in message
        assert str(colour_folder) in message
        assert str(ucf101 / "ucfTrainTestlist") in message


def test_hmdb51(tmp_path: Path, store: str) -> None:
    root, run = write_hmdb51(tmp_path / "hmdb", write=write_small), tmp_path / "run"
    outcome = train(run, store, "data=hmdb51", f"data.root={root}", "data.split=1", "data.val_fraction=0.4")
    assert outcome.code == 0, outcome.err
    assert "warning" not in outcome.err
    assert "note: 1 of 8 listed videos not used" in outcome.err
    by_code = {
        code: {n for codes in HMDB51_VIDEOS.values() for n, c in codes.items() if c == code} for code in (0, 1, 2)
    }
    assert clips_of(run, "test") == by_code[2]
    assert clips_of(run, "train") | clips_of(run, "val") == by_code[1]
    assert number_tested(run) == 2
    assert class_names(run) == ["kick_ball", "ride_bike"]


def test_kinetics(tmp_path: Path, store: str) -> None:
    """Files of both namings; the whole videos are read where their clip is. No test videos: val is the test."""
    root, run = tmp_path / "k400", tmp_path / "run"
    rows = [("air drumming" if n % 2 else "abseiling", f"video{n:06d}", n % 3, "train") for n in range(8)]
    val = [("air drumming" if n % 2 else "abseiling", f"video{n:06d}", 0, "validate") for n in (8, 9)]
    for label, video, start, split in (*rows, *val):
        folder = root / split / label.replace(" ", "_")
        if split == "train":
            write_small(folder / f"{video}_{start:06d}_{start + 10:06d}.mp4", label)
        else:  # a second longer than its clip
            write_colour_video(folder / f"{video}.mp4", "red" if label == "abseiling" else "blue", frames=25 * 11)
    write_csv(root / "annotations", kinetics_csv(*rows), "train.csv")
    write_csv(root / "annotations", kinetics_csv(*val, ("abseiling", "gone0000000", 4, "val")), "val.csv")
    outcome = train(run, store, "data=kinetics", f"data.root={root}", "data.val_fraction=0.25")
    assert outcome.code == 1, outcome.err
    assert "1 of 11 videos" in outcome.err
    assert "gone0000000_000004_000014.mp4" in outcome.messages[0]
    assert "note: 2 files named by the YouTube id alone" in outcome.err
    assert "note: There are no labelled test videos: those of val (3) are the test clips" in outcome.err
    assert clips_of(run, "test") == {"video000008.mp4", "video000009.mp4", "gone0000000_000004_000014.mp4"}
    assert number_tested(run) == 2
    assert len(clips_of(run, "val")) == 2
    assert class_names(run) == ["abseiling", "air drumming"]


class TestSettings:
    @pytest.mark.parametrize("data", ["ucf101", "hmdb51"])
    def test_a_root_that_is_not_given(self, data: str, tmp_path: Path) -> None:
        outcome = activity("train", f"data={data}", f"hydra.run.dir={tmp_path}/run")
        assert outcome.code == 2
        assert f"data.root is not given. Accepted: activity train data={data} data.root=FOLDER" in outcome.messages[0]

    def test_kinetics_without_anything(self, tmp_path: Path) -> None:
        outcome = activity("train", "data=kinetics", f"hydra.run.dir={tmp_path}/run")
        assert outcome.code == 2
        assert "data.root=FOLDER" in outcome.messages[0]

    def test_a_split_that_does_not_exist(self, tmp_path: Path) -> None:
        outcome = activity(
            "train", "data=ucf101", f"data.root={tmp_path}", "data.split=4", f"hydra.run.dir={tmp_path}/run"
        )
        assert outcome.code == 2
        assert "data.split is 4; accepted: 1, 2 or 3." in outcome.messages[0]

    def test_kinetics_takes_a_list_of_tables_and_a_csv_does_not(self, tmp_path: Path) -> None:
        touch(tmp_path, "run/a.mp4")
        run = f"hydra.run.dir={tmp_path}/run"
        tables = [write_csv(tmp_path, kinetics_csv(("run", "x", 0, "train")), name) for name in ("a.csv", "b.csv")]
        given = f"data.csv=[{tables[0]},{tables[1]}]"
        refused = activity("train", "data=csv", given, run)
        assert (refused.code, "accepted: text" in refused.messages[0]) == (2, True)
        taken = activity("train", "data=kinetics", given, run)
        assert "Of 2 videos that" in taken.messages[0]
        assert str(tables[1]) in taken.messages[0]
