import csv
import json
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from activity.features import extract
from tests.cli.command import Outcome, activity
from tests.datasets import TINY, write_colour_folder, write_colour_video
from tests.videos import cut_off, noise_frames, write_video


def evaluate(folder: Path, *arguments: object) -> Outcome:
    return activity("evaluate", *arguments, f"hydra.run.dir={folder}")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refuse_to_decode(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a video was decoded")


def test_a_checkpoint_is_measured_on_the_test_clips_of_its_run(
    checkpoint: Path, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "VideoReader", refuse_to_decode)  # the features of the run are used
    outcome = evaluate(tmp_path / "out", checkpoint, "format=json")
    assert outcome.code == 0, outcome.err
    document = json.loads((tmp_path / "out/metrics.json").read_text())
    assert json.loads(outcome.out) == document
    trained = json.loads((trained_run / "test_metrics.json").read_text())
    assert document["confusion"] == trained["confusion"]
    for name in ("accuracy", "accuracy_low", "macro_f1_high", "expected_calibration_error", "temperature"):
        assert document["heads"]["lstm"][name] == pytest.approx(trained["heads"]["lstm"][name], abs=1e-5), name
    tables = (tmp_path / "out/predictions.csv", trained_run / "test_predictions.csv")
    own, at_the_time = (rows(table) for table in tables)
    assert [row["path"] for row in own] == [row["path"] for row in at_the_time]
    for row, other in zip(own, at_the_time, strict=True):
        assert float(row["score_red"]) == pytest.approx(float(other["score_red"]), abs=1e-5)
    assert "Of 2 clips of the test split" in (tmp_path / "out/report.html").read_text()


def test_another_data_set_by_name_whatever_its_order_of_classes(
    checkpoint: Path, exported: Path, tmp_path: Path, store: str
) -> None:
    lines = ["path,label,start,end"]
    for label in ("red", "blue"):
        write_colour_video(tmp_path / f"{label}.mp4", label, frames=40, seed=9)
        lines += [f"{label}.mp4,{label},0,0.8", f"{label}.mp4,{label},0.8,"]
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    data = ("data=csv", f"data.csv={tmp_path / 'clips.csv'}", "split=all", store)
    outcomes = [
        evaluate(tmp_path / name, model, *data, "format=csv")
        for name, model in (("checkpoint", checkpoint), ("exported", exported))
    ]
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    own, other = (rows(tmp_path / name / "predictions.csv") for name in ("checkpoint", "exported"))
    assert len(own) == len(other) == 4
    for row, again in zip(own, other, strict=True):
        assert {name: row[name] for name in ("path", "start", "label", "predicted")} == {
            name: again[name] for name in ("path", "start", "label", "predicted")
        }
        assert float(row["score_blue"]) == pytest.approx(float(again["score_blue"]), abs=1e-4)
        assert row["correct"] == str(row["label"] == row["predicted"]).lower()
    assert "the model's training split" not in outcomes[0].err
    assert "trained on" not in outcomes[0].err
    assert "model.ts does not lie in the folder of a run" in outcomes[1].err
    seen = [
        json.loads((tmp_path / name / "metrics.json").read_text())["seen_in_training"]
        for name in ("checkpoint", "exported")
    ]
    assert seen == [[], None]


def moved(run: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """A copy of a run with its checkpoint, and what its data.json says."""
    copy = shutil.copytree(run, folder, ignore=shutil.ignore_patterns("logs", "baseline", "last.ckpt"))
    return copy / "checkpoints" / "best.ckpt", json.loads((copy / "data.json").read_text())


def test_clips_that_the_model_was_trained_on_are_named(trained_run: Path, exported: Path, tmp_path: Path) -> None:
    checkpoint, _ = moved(trained_run, tmp_path / "run")
    exported = Path(shutil.copy(exported, tmp_path / "run"))
    table = rows(trained_run / "splits.csv")
    trained_on = sorted(row["path"] for row in table if row["split"] == "train")
    for model in (checkpoint, exported):
        out = tmp_path / model.suffix[1:]
        outcome = evaluate(out, model, "split=all")  # a data setting it is not: the run's data set
        assert outcome.code == 0, outcome.err
        assert "warning: 8 of these 12 clips came from the model's training split ('" in outcome.err
        assert "8 of these 12 clips" in (out / "report.html").read_text()
        assert "12 clips" in outcome.out
        seen = json.loads((out / "metrics.json").read_text())["seen_in_training"]
        assert sorted(clip["path"] for clip in seen) == trained_on
        assert all(clip["start"] == 0 and clip["end"] is None for clip in seen)


def test_clips_are_known_again_wherever_they_lie(
    trained_run: Path, tmp_path: Path, colour_folder: Path, store: str
) -> None:
    table = rows(trained_run / "splits.csv")
    trained_on = sorted(row["path"] for row in table if row["split"] == "train")
    (tmp_path / "link").symlink_to(colour_folder)
    shutil.copytree(colour_folder, tmp_path / "copy" / "deeper")
    for name, place in (("link", tmp_path / "link"), ("copy", tmp_path / "copy" / "deeper")):
        out = tmp_path / f"of {name}"
        outcome = evaluate(out, trained_run / "checkpoints" / "best.ckpt", f"data.root={place}", "split=all", store)
        assert "warning: 8 of these 12 clips came from the model's training split ('" in outcome.err
        seen = json.loads((out / "metrics.json").read_text())["seen_in_training"]
        assert sorted(clip["path"] for clip in seen) == trained_on


def test_copies_with_two_labels_are_named_and_the_exit_code_says_so(
    trained_run: Path, exported: Path, tmp_path: Path, colour_folder: Path, store: str
) -> None:
    root = shutil.copytree(colour_folder, tmp_path / "videos")
    shutil.copyfile(root / "blue" / "actor0.mp4", root / "red" / "actor9.mp4")
    for number, model in enumerate((trained_run / "checkpoints" / "best.ckpt", exported)):
        out = tmp_path / f"{number}"
        outcome = evaluate(out, model, f"data.root={root}", "split=all", store)
        assert outcome.code == 1, outcome.err
        assert "blue/actor0.mp4 = red/actor9.mp4: labels blue, red" in outcome.err
        assert "byte for byte the same, across labels" in (out / "report.html").read_text()


def test_where_it_cannot_be_told_what_the_model_was_trained_on_that_is_said(
    trained_run: Path, tmp_path: Path, colour_folder: Path, store: str
) -> None:
    checkpoint, data = moved(trained_run, tmp_path / "run")
    said = checkpoint.parents[1] / "data.json"
    given = (f"data.root={colour_folder}", "split=all", store)
    del data["training_videos"]
    for name, text in (("older", json.dumps(data)), ("damaged", ""), ("strange", "[]")):
        said.write_text(text)
        outcome = evaluate(tmp_path / name, checkpoint, *given)
        assert outcome.code == 0, outcome.err
        assert "best.ckpt was trained on cannot be told" in outcome.err
        assert "cannot be told" in (tmp_path / name / "report.html").read_text()
        assert json.loads((tmp_path / name / "metrics.json").read_text())["seen_in_training"] is None


@pytest.mark.parametrize("layout", ["folder", "csv", "kinetics"])
def test_a_run_with_relative_paths_is_found_again_from_elsewhere(
    layout: str, tmp_path: Path, checkpoint: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    write_colour_folder(data, actors=3)
    names = [f"{label}/actor{actor}" for label in ("blue", "red") for actor in range(3)]
    monkeypatch.chdir(tmp_path)
    given = {
        "folder": "data.root=data",
        "csv": "data.csv=data/clips.csv",
        "kinetics": "data.csv=[data/a.csv,data/b.csv]",
    }
    lines = [f"{name}.mp4,{name.partition('/')[0]},{('train', 'val', 'test')[int(name[-1])]}" for name in names]
    (data / "clips.csv").write_text("\n".join(["path,label,split", *lines]))
    for table, label in (("a", "blue"), ("b", "red")):
        rows_of = [f"{label},{label}_{n},0,9,{split}" for n, split in enumerate(("train", "validate", "test"))]
        (data / f"{table}.csv").write_text("\n".join(["label,youtube_id,time_start,time_end,split", *rows_of]))
        if layout == "kinetics":
            for n in range(3):
                (data / label / f"actor{n}.mp4").rename(data / label / f"{label}_{n}.mp4")
    further = ["data.trimmed=true"] if layout == "kinetics" else []
    begun = activity(
        *("train", store, f"data={layout}", given[layout], *further, *TINY, "hydra.run.dir=run"),
        *("trainer.max_epochs=1", "data.val_fraction=0.33", "data.test_fraction=0.33"),
    )
    assert begun.code == 0, begun.err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    outcome = evaluate(tmp_path / "out", tmp_path / "run/checkpoints/best.ckpt", "split=all")
    assert outcome.code == 0, outcome.err
    assert "2 of these 6 clips came from the model's training split" in outcome.err


def test_clips_that_cannot_be_read_are_named_and_the_rest_is_measured(
    exported: Path, checkpoint: Path, tmp_path: Path, store: str
) -> None:
    videos = write_colour_folder(tmp_path / "videos", actors=2)
    (videos / "red" / "broken.mp4").write_bytes(b"no video")
    for model in (exported, checkpoint):
        out = tmp_path / model.suffix[1:]
        outcome = evaluate(out, model, f"data.root={videos}", "split=all", store)
        assert outcome.code == 1
        assert "broken.mp4" in outcome.err
        assert len(rows(out / "predictions.csv")) == 4
        assert "broken.mp4" in (out / "report.html").read_text()


@pytest.mark.parametrize("form", ["checkpoint", "exported"])
def test_a_video_that_breaks_off_and_a_span_beyond_the_end_are_named_and_the_exit_code_says_so(
    form: str, checkpoint: Path, exported: Path, tmp_path: Path, store: str
) -> None:
    videos = write_colour_folder(tmp_path / "videos", actors=1)
    cut_off(write_video(videos / "red" / "long.mkv", noise_frames(75, width=64, height=48)), 0.4)
    names = [f"{label}/actor0.mp4,{label},0,{end}" for label, end in (("blue", ""), ("red", 9))]
    (videos / "clips.csv").write_text("\n".join(["path,label,start,end", *names, "red/long.mkv,red,0,"]))
    data = ("data=csv", f"data.csv={videos / 'clips.csv'}", "split=all", store)
    model = {"checkpoint": checkpoint, "exported": exported}[form]
    outcome = evaluate(tmp_path / "out", model, *data)
    assert outcome.code == 1, outcome.err
    assert len(rows(tmp_path / "out" / "predictions.csv")) == 3
    assert "\n  red/long.mkv\n" in outcome.err
    assert "\n  red/actor0.mp4: 0 s to 9 s, but the video ends at 0.48 s\n" in outcome.err
    broken, beyond = outcome.messages
    assert "1 video cut off or damaged; what could be read was used." in broken
    assert "1 clip with a span that reaches beyond the end" in beyond
    assert "1 video cut off or damaged" in (tmp_path / "out" / "report.html").read_text()


class TestWrongUse:
    def refused(self, tmp_path: Path, *arguments: object) -> str:
        outcome = evaluate(tmp_path / "out", *arguments)
        assert outcome.code == 2
        assert len(outcome.messages) == 1
        assert "Traceback" not in outcome.err
        assert not (tmp_path / "out" / "metrics.json").exists()
        return outcome.messages[0]

    def test_labels_that_the_model_does_not_know(self, checkpoint: Path, tmp_path: Path, store: str) -> None:
        videos = write_colour_folder(tmp_path / "videos", labels=("green", "red"), actors=1)
        message = self.refused(tmp_path, checkpoint, f"data.root={videos}", "split=all", store)
        assert "'green'" in message
        assert "Its classes: 'blue', 'red'" in message

    def test_a_data_set_without_splits(self, checkpoint: Path, tmp_path: Path, colour_folder: Path) -> None:
        assert "split=all" in self.refused(tmp_path, checkpoint, f"data.root={colour_folder}")

    def test_an_empty_split(self, checkpoint: Path, tmp_path: Path) -> None:
        videos = tmp_path / "videos"
        for split in ("train", "val"):
            write_colour_folder(videos / split, actors=1)
        message = self.refused(tmp_path, checkpoint, f"data.root={videos}")
        assert "'test' has no clips (2 train, 2 val, 0 test)" in message

    def test_a_model_outside_of_a_run_without_data(self, exported: Path, tmp_path: Path) -> None:
        assert "data.root=FOLDER" in self.refused(tmp_path, exported)

    def test_a_run_without_its_configuration(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        copy = shutil.copy(checkpoint, tmp_path / "run" / "checkpoints")
        assert "does not lie in the folder of a run" in self.refused(tmp_path, copy)

    def test_no_model(self, tmp_path: Path) -> None:
        assert "comes first" in self.refused(tmp_path, "data.root=x")
        assert "no model file" in self.refused(tmp_path, tmp_path / "none.ckpt")

    @pytest.mark.parametrize("setting", ["split=some", "format=xml", "data.val_fraction=0.5", "data.balance=loss"])
    def test_settings_of_no_use(self, checkpoint: Path, tmp_path: Path, setting: str) -> None:
        assert setting.partition("=")[0] in self.refused(tmp_path, checkpoint, setting)

    def test_a_folder_that_holds_a_run(self, checkpoint: Path, trained_run: Path) -> None:
        before = (trained_run / "report.html").read_bytes()
        outcome = activity("evaluate", checkpoint, f"hydra.run.dir={trained_run}")
        assert outcome.code == 2
        assert "holds a run already" in outcome.err
        assert (trained_run / "report.html").read_bytes() == before
