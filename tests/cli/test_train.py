import csv
import json
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from activity.features import extract
from activity.formats import load_recognizer
from tests.cli.command import Outcome, activity
from tests.datasets import GROUP_PATTERN, TINY, write_colour_folder, write_colour_video


def train(run: Path, store: str, *overrides: object) -> Outcome:
    return activity("train", store, f"hydra.run.dir={run}", *TINY, *overrides)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refuse_to_decode(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a video was decoded")


class TestRunFolder:
    def test_holds_checkpoints_configuration_splits_logs_and_metrics(self, trained_run: Path) -> None:
        for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml", "splits.csv", "logs/metrics.csv"):
            assert (trained_run / name).is_file(), name
        assert list((trained_run / "logs").glob("events.out.tfevents.*"))

    def test_configuration_is_the_resolved_one(self, trained_run: Path, colour_folder: Path) -> None:
        text = (trained_run / "config.yaml").read_text()
        assert str(colour_folder) in text
        assert "${" not in text

    def test_no_group_is_on_two_sides_and_every_class_on_each(self, trained_run: Path) -> None:
        table = rows(trained_run / "splits.csv")
        sides: dict[str, set[str]] = {}
        for row in table:
            sides.setdefault(row["group"], set()).add(row["split"])
        assert len(table) == 12
        assert set(sides) == {f"actor{n}" for n in range(6)}
        assert all(len(names) == 1 for names in sides.values())
        assert {(row["label"], row["split"]) for row in table} == {
            (label, split) for label in ("blue", "red") for split in ("train", "val", "test")
        }

    def test_metrics_have_the_documented_form(self, trained_run: Path) -> None:
        document = json.loads((trained_run / "test_metrics.json").read_text())
        assert {"heads", "clips", "class_names", "confusion"} <= set(document)
        assert set(document["heads"]) == {"lstm", "mean_pool"}
        for numbers in document["heads"].values():
            for name in ("accuracy", "top5", "mean_class_accuracy", "macro_f1"):
                assert 0.0 <= numbers[name] <= 1.0
        tested = [row for row in rows(trained_run / "splits.csv") if row["split"] == "test"]
        assert document["clips"] == len(tested) == sum(map(sum, document["confusion"]))
        assert document["class_names"] == ["blue", "red"]

    def test_logs_hold_each_epoch(self, trained_run: Path) -> None:
        logged = rows(trained_run / "logs" / "metrics.csv")
        assert {row["epoch"] for row in logged if row["val/loss"]} == {"0", "1", "2", "3"}
        assert any(row["train/loss"] for row in logged)

    @pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
    def test_checkpoints_load_without_executing_code_and_hold_a_recognizer(self, trained_run: Path, name: str) -> None:
        path = trained_run / "checkpoints" / name
        content = torch.load(path, weights_only=True)
        assert content["recognizer"]["class_names"] == ["blue", "red"]
        recognizer = load_recognizer(path)
        assert (recognizer.window_frames, recognizer.sample_fps, recognizer.modalities) == (4, 10.0, ["rgb"])


def test_a_table_of_both_heads_ends_the_run(tmp_path: Path, colour_folder: Path, store: str) -> None:
    outcome = train(tmp_path / "run", store, f"data.root={colour_folder}", GROUP_PATTERN)
    assert outcome.code == 0, outcome.err
    for word in ("lstm", "mean_pool", "accuracy", "blue", "red", str(tmp_path / "run/checkpoints/best.ckpt")):
        assert word in outcome.out
    assert "12 clips, 2 classes: 8 train, 2 val, 2 test" in outcome.err
    assert "epoch" not in outcome.out  # progress goes to standard error
    assert "warning" not in outcome.err


def test_without_groups_a_warning_says_what_that_means(tmp_path: Path, colour_folder: Path, store: str) -> None:
    outcome = train(tmp_path / "run", store, f"data.root={colour_folder}")
    assert outcome.code == 0
    assert outcome.err.count("no groups are given") == 1


def test_a_csv_with_spans_groups_and_splits(tmp_path: Path, store: str) -> None:
    lines = ["path,label,start,end,group,split"]
    for actor, split in enumerate(["train", "train", "val", "test"]):
        for label in ("blue", "red"):
            write_colour_video(tmp_path / f"{label} {actor}.mp4", label, frames=25, seed=actor)
            # Two clips of one file: its first and its second half.
            lines += [f"{label} {actor}.mp4,{label},{start},{start + 0.5},a{actor},{split}" for start in (0, 0.5)]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(lines))
    outcome = train(tmp_path / "run", store, "data=csv", f"data.csv={table}")
    assert outcome.code == 0, outcome.err
    assert "16 clips, 2 classes: 8 train, 4 val, 4 test" in outcome.err
    assert "no groups are given" not in outcome.err
    split_of = {(row["path"], row["start"]): row["split"] for row in rows(tmp_path / "run" / "splits.csv")}
    assert split_of["red 2.mp4", "0.5"] == "val"
    assert split_of["blue 3.mp4", "0.0"] == "test"


def test_a_second_run_decodes_nothing_and_measures_the_same(
    trained_run: Path, tmp_path: Path, colour_folder: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "VideoReader", refuse_to_decode)
    outcome = train(
        tmp_path / "run",
        store,
        f"data.root={colour_folder}",
        GROUP_PATTERN,
        "trainer.max_epochs=4",
        "data.balance=none",
    )
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "run/test_metrics.json").read_text() == (trained_run / "test_metrics.json").read_text()


def test_another_sampling_is_not_read_from_the_store(
    trained_run: Path, tmp_path: Path, colour_folder: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "VideoReader", refuse_to_decode)
    with pytest.raises(AssertionError, match="a video was decoded"):
        train(tmp_path / "run", store, f"data.root={colour_folder}", GROUP_PATTERN, "sampling.sample_fps=12.5")


def test_splits_of_an_earlier_run_are_used_again(
    trained_run: Path, tmp_path: Path, colour_folder: Path, store: str
) -> None:
    splits = trained_run / "splits.csv"
    outcome = train(
        tmp_path / "run", store, f"data.root={colour_folder}", GROUP_PATTERN, f"data.splits={splits}", "seed=5"
    )
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "run" / "splits.csv").read_text() == splits.read_text()


@pytest.mark.parametrize("balance", ["loss", "sampler"])
def test_balances(tmp_path: Path, colour_folder: Path, store: str, balance: str) -> None:
    outcome = train(
        tmp_path / "run",
        store,
        f"data.root={colour_folder}",
        GROUP_PATTERN,
        f"data.balance={balance}",
        "trainer.max_epochs=1",
    )
    assert outcome.code == 0, outcome.err


def test_without_validation_the_last_epoch_stands(tmp_path: Path, colour_folder: Path, store: str) -> None:
    run = tmp_path / "run"
    outcome = train(run, store, f"data.root={colour_folder}", GROUP_PATTERN, "data.val_fraction=0")
    assert outcome.code == 0, outcome.err
    assert "0 val" in outcome.err
    best, last = (torch.load(run / "checkpoints" / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    assert best["epoch"] == last["epoch"] == 1
    assert all(torch.equal(best["state_dict"][name], tensor) for name, tensor in last["state_dict"].items())
    assert json.loads((run / "test_metrics.json").read_text())["clips"] > 0


def test_where_no_validation_clip_can_be_read_that_is_said(tmp_path: Path, store: str) -> None:
    root = write_colour_folder(tmp_path / "videos", actors=3)
    lines = [
        f"{label}/actor{n}.mp4,{label},{('train', 'val', 'test')[n]}" for label in ("blue", "red") for n in range(3)
    ]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *lines]))
    for label in ("blue", "red"):
        (root / label / "actor1.mp4").write_text("no video")
    run = tmp_path / "run"
    outcome = train(run, store, "data=csv", f"data.csv={tmp_path / 'clips.csv'}", f"data.root={root}")
    assert outcome.code == 1
    assert "warning: None of the 2 validation clips could be read." in outcome.err
    assert "None of the 2 validation clips could be read." in (run / "report.html").read_text()
    assert torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 1  # the last one


def test_the_report_says_what_encoder_and_head_compute_in(tmp_path: Path, colour_folder: Path, store: str) -> None:
    run, settings = tmp_path / "run", (f"data.root={colour_folder}", GROUP_PATTERN, "trainer.max_epochs=1")
    outcome = train(run, store, *settings, "features.precision=bfloat16")
    assert outcome.code == 0, outcome.err
    page = (run / "report.html").read_text()
    assert "test_efficientnet.r160_in1k, computing in bfloat16</dd>" in page
    assert "<dt>Head trained in</dt><dd>32-true</dd>" in page


def test_without_test_clips_a_warning_says_that_nothing_was_measured(
    tmp_path: Path, colour_folder: Path, store: str
) -> None:
    outcome = train(tmp_path / "run", store, f"data.root={colour_folder}", GROUP_PATTERN, "data.test_fraction=0")
    assert outcome.code == 0, outcome.err
    assert "there are no test clips that can be read" in outcome.err
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
    assert not (tmp_path / "run" / "test_metrics.json").exists()


def test_the_baseline_can_be_the_head_itself(tmp_path: Path, colour_folder: Path, store: str) -> None:
    overrides = [override for override in TINY if not override.startswith("head.")]
    outcome = activity(
        *("train", store, f"hydra.run.dir={tmp_path / 'run'}", *overrides, "head=mean_pool"),
        *(f"data.root={colour_folder}", GROUP_PATTERN),
    )
    assert outcome.code == 0, outcome.err
    assert set(json.loads((tmp_path / "run/test_metrics.json").read_text())["heads"]) == {"mean_pool"}


def test_last_is_the_last_epoch_even_where_it_is_not_the_best(tmp_path: Path, colour_folder: Path, store: str) -> None:
    # So high a rate that the validation loss jumps about.
    run = tmp_path / "run"
    outcome = train(
        run, store, f"data.root={colour_folder}", GROUP_PATTERN, "trainer.max_epochs=6", "optim.optimizer.lr=3"
    )
    assert outcome.code == 0, outcome.err
    losses = [float(row["val/loss"]) for row in rows(run / "logs" / "metrics.csv") if row["val/loss"]]
    best, last = (torch.load(run / "checkpoints" / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    assert best["epoch"] == losses.index(min(losses)) < 5
    assert last["epoch"] == 5


class TestSeed:
    def weights_and_metrics(self, run: Path) -> tuple[dict[str, torch.Tensor], str]:
        checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        return checkpoint["state_dict"], (run / "test_metrics.json").read_text()

    def test_the_same_seed_gives_the_same_weights_and_another_one_others(
        self, tmp_path: Path, colour_folder: Path, store: str
    ) -> None:
        results = {}
        for name, seed in (("first", 3), ("again", 3), ("other", 4)):
            outcome = train(tmp_path / name, store, f"data.root={colour_folder}", GROUP_PATTERN, f"seed={seed}")
            assert outcome.code == 0, outcome.err
            results[name] = self.weights_and_metrics(tmp_path / name)
        first, again, other = (results[name][0] for name in ("first", "again", "other"))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert results["first"][1] == results["again"][1]
        assert not torch.equal(first["recognizer.head.classifier.weight"], other["recognizer.head.classifier.weight"])


class TestResume:
    def test_goes_on_where_the_run_ended(self, tmp_path: Path, colour_folder: Path, store: str) -> None:
        run = tmp_path / "run with 'single' and \"double\" quotes, spaces and = signs"
        quoted = str(run).replace("'", r"\'")
        begun = activity(
            "train", store, f"hydra.run.dir='{quoted}'", *TINY, f"data.root={colour_folder}", GROUP_PATTERN, "seed=1"
        )
        assert begun.code == 0, begun.err
        before = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        splits = (run / "splits.csv").read_text()
        outcome = activity("train", f"resume={run}", "trainer.max_epochs=5")
        assert outcome.code == 0, outcome.err
        after = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        assert (before["epoch"], after["epoch"]) == (1, 4)
        assert after["global_step"] == before["global_step"] / 2 * 5
        assert (run / "splits.csv").read_text() == splits
        epochs = [row["epoch"] for path in sorted((run / "logs").glob("metrics*.csv")) for row in rows(path)]
        assert set(epochs) >= {"0", "1", "2", "3", "4"}  # the log of the first part is still there

    def test_keeps_the_weights_of_the_modalities_that_it_began_with(
        self, tmp_path: Path, colour_folder: Path, store: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        choose = "activity.cli.train.choose_head_settings"
        monkeypatch.setattr(choose, lambda *_, **__: {"modality_weights": [0.5, 1.0], "mean_penalty": 0.1})
        run, both = tmp_path / "run", [override for override in TINY if not override.startswith("modalities")]
        begun = activity(
            *("train", store, f"hydra.run.dir={run}", *both, f"data.root={colour_folder}", GROUP_PATTERN),
            "trainer.max_epochs=1",
        )
        assert begun.code == 0, begun.err
        assert "found on the training clips): rgb 0.5, motion 1" in begun.err
        # A video that was broken is whole again: other clips to train on would ask for other weights.
        monkeypatch.setattr(choose, lambda *_, **__: {"modality_weights": [1.0, 0.25], "mean_penalty": 0.2})
        outcome = activity("train", f"resume={run}", "trainer.max_epochs=2")
        assert outcome.code == 0, outcome.err
        assert "as in the run so far): rgb 0.5, motion 1" in outcome.err
        for kind in (run, run / "baseline"):
            head = torch.load(kind / "checkpoints" / "last.ckpt", weights_only=True)["recognizer"]["head"]
            assert (head["modality_weights"], head["mean_penalty"]) == ([0.5, 1.0], 0.1)
        refused = activity("train", f"resume={run}", "trainer.max_epochs=3", "modality_weights=equal")
        assert refused.code == 2
        assert "was trained with other settings (head)" in refused.err

    def test_a_checkpoint_names_its_run(self, trained_run: Path) -> None:
        last = trained_run / "checkpoints" / "last.ckpt"
        outcome = activity("train", f"resume={last}", "--cfg", "job")
        assert outcome.code == 0, outcome.err
        assert f"resume: {trained_run}" in outcome.out

    def test_a_folder_of_no_run_is_refused(self, tmp_path: Path) -> None:
        outcome = activity("train", f"resume={tmp_path}")
        assert outcome.code == 2
        assert len(outcome.messages) == 1
        assert "last.ckpt" in outcome.messages[0]
        assert str(tmp_path) in outcome.messages[0]


def test_a_run_folder_is_not_used_twice(trained_run: Path, colour_folder: Path, store: str) -> None:
    before = (trained_run / "splits.csv").read_bytes(), (trained_run / "overrides.yaml").read_bytes()
    outcome = train(trained_run, store, f"data.root={colour_folder}", GROUP_PATTERN, "seed=1")
    assert outcome.code == 2
    assert "holds a run already" in outcome.err
    assert f"resume={trained_run}" in outcome.err
    assert before == ((trained_run / "splits.csv").read_bytes(), (trained_run / "overrides.yaml").read_bytes())


def test_a_run_of_another_version_is_refused(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    content["recognizer"] = {"format_version": 1, "head": {"kind": "lstm"}}
    torch.save(content, last)
    outcome = activity("train", f"resume={run}")
    assert outcome.code == 2
    assert "last.ckpt" in outcome.messages[0]
    assert "version 1" in outcome.messages[0]


@pytest.mark.parametrize("setting", ["trainer.precision=bf16-mixed", "optim.optimizer._target_=torch.optim.NAdam"])
def test_other_precisions_and_optimizers_train(tmp_path: Path, colour_folder: Path, store: str, setting: str) -> None:
    outcome = train(tmp_path / "run", store, f"data.root={colour_folder}", GROUP_PATTERN, setting)
    assert outcome.code == 0, outcome.err


def test_an_optimizer_that_cannot_be_made_is_said(tmp_path: Path, colour_folder: Path, store: str) -> None:
    outcome = train(tmp_path / "run", store, f"data.root={colour_folder}", "+optim.optimizer.speed=3")
    assert outcome.code == 2
    (message,) = outcome.messages
    assert "optim.optimizer cannot be made of" in message
    assert "speed" in message


@pytest.mark.parametrize("changed", ["head.hidden_size=6", "sampling.sample_fps=4", "modalities=[motion]"])
def test_a_resume_with_other_settings_is_refused(trained_run: Path, changed: str) -> None:
    before = (trained_run / "overrides.yaml").read_bytes()
    outcome = activity("train", f"resume={trained_run}", changed)
    assert outcome.code == 2
    assert "was trained with other settings" in outcome.err
    assert (trained_run / "overrides.yaml").read_bytes() == before, "a refused resume must leave no trace"


def test_a_whole_number_of_frames_a_second_names_the_same_features(
    tmp_path: Path, colour_folder: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (f"data.root={colour_folder}", GROUP_PATTERN)
    assert train(tmp_path / "one", store, *settings, "sampling.sample_fps=5.0").code == 0
    monkeypatch.setattr(extract, "VideoReader", refuse_to_decode)
    assert train(tmp_path / "two", store, *settings, "sampling.sample_fps=5").code == 0


@pytest.mark.parametrize("mistake", ["optim.optimizer.lr=1e9999", "trainer.precision=foo", "trainer.accelerator=foo"])
def test_a_mistake_is_said_before_anything_is_decoded(
    tmp_path: Path, colour_folder: Path, store: str, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    monkeypatch.setattr(extract, "VideoReader", refuse_to_decode)
    outcome = train(tmp_path / "run", f"features.store={tmp_path / 'empty'}", f"data.root={colour_folder}", mistake)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


def test_class_names_are_printed_as_they_are(tmp_path: Path, store: str) -> None:
    table = ["path,label"]
    for label, colour in (("[red]", "red"), ("x[/y]", "blue")):
        for number in range(5):
            write_colour_video(tmp_path / f"{colour}{number}.mp4", colour, seed=number)
            table.append(f"{colour}{number}.mp4,{label}")
    (tmp_path / "clips.csv").write_text("\n".join(table))
    outcome = train(tmp_path / "run", store, "data=csv", f"data.csv={tmp_path / 'clips.csv'}")
    assert outcome.code == 0, outcome.err
    assert "[red]" in outcome.out
    assert "x[/y]" in outcome.out
