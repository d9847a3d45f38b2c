"""`activity crossval` as a user runs it."""

import csv
import json
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from activity.training.crossval import FoldClips, FoldScores, cross_validate
from tests.cli.command import Outcome, activity
from tests.datasets import GROUP_PATTERN, TINY, write_colour_folder, write_colour_video


def crossval(run: Path, store: str, *overrides: object) -> Outcome:
    return activity("crossval", store, f"hydra.run.dir={run}", *TINY, "processes=1", *overrides)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, colour_folder: Path, store: str) -> tuple[Path, Outcome]:
    run = tmp_path_factory.mktemp("crossval") / "run"
    result = crossval(run, store, f"data.root={colour_folder}", GROUP_PATTERN, "folds=groups")
    assert result.code == 0, result.err
    return run, result


def test_the_result_has_the_documented_form(outcome: tuple[Path, Outcome]) -> None:
    document = json.loads((outcome[0] / "crossval.json").read_text())
    assert set(document["heads"]) == {"lstm", "mean_pool"}
    for head in document["heads"].values():
        assert 0 <= head["accuracy_low"] <= head["accuracy"] <= head["accuracy_high"] <= 1
        assert {"mean_class_accuracy", "macro_f1"} <= set(head)
    assert (document["clips"], document["folds"], document["class_names"]) == (12, 6, ["blue", "red"])
    assert sum(map(sum, document["confusion"])) == 12


def test_each_clip_is_tested_once_in_the_fold_of_its_group(outcome: tuple[Path, Outcome]) -> None:
    with (outcome[0] / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["path"] for row in rows) == sorted(f"{c}/actor{n}.mp4" for c in ("blue", "red") for n in range(6))
    assert all(row["fold"] == Path(row["path"]).stem for row in rows)


def test_the_heads_stand_side_by_side_on_standard_output(outcome: tuple[Path, Outcome]) -> None:
    run, result = outcome
    for word in ("lstm", "mean_pool", "12 clips", "6 folds", "95 % bootstrap", "McNemar", str(run / "crossval.json")):
        assert word in result.out
    assert "12 clips, 2 classes, 6 groups: 6 folds" in result.err


def test_a_report_shows_both_heads_and_each_fold(outcome: tuple[Path, Outcome]) -> None:
    page = (outcome[0] / "report.html").read_text(encoding="utf-8")
    for words in ("lstm", "mean_pool", "actor3", "Fold by fold", "seen nothing of its group", "leave one group out"):
        assert words in page
    assert str(outcome[0] / "report.html") in outcome[1].out


def test_the_temperature_that_made_the_scores_of_each_fold_is_in_the_result_and_in_the_report(
    outcome: tuple[Path, Outcome],
) -> None:
    document = json.loads((outcome[0] / "crossval.json").read_text())
    found = [fold["temperature"] for fold in document["by_fold"]]
    assert all(set(by_head) == {"lstm", "mean_pool"} for by_head in found)
    # Each of two colours is told at once, and after an epoch or two with little confidence: scores are made surer.
    assert all(0.05 < by_head["lstm"] < 1 for by_head in found)
    own = [by_head["lstm"] for by_head in found]
    page = (outcome[0] / "report.html").read_text(encoding="utf-8")
    assert f"{min(own):.2f} to {max(own):.2f}, as training adjusts" in page


def test_the_weights_of_each_fold_are_in_the_result_and_their_range_in_the_report(
    tmp_path: Path, colour_folder: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([[1.0, 0.5], [0.75, 1.0], [1.0, 1.0]])
    monkeypatch.setattr(
        "activity.training.crossval.choose_head_settings", lambda *_, **__: {"modality_weights": next(found)}
    )
    run, both = tmp_path / "run", [override for override in TINY if not override.startswith("modalities")]
    settings = (f"data.root={colour_folder}", GROUP_PATTERN, "folds=3", "processes=1", "trainer.max_epochs=1")
    result = activity("crossval", store, f"hydra.run.dir={run}", *both, *settings)
    assert result.code == 0, result.err
    by_fold = json.loads((run / "crossval.json").read_text())["by_fold"]
    weights = [fold["modality_weights"] for fold in by_fold]
    assert weights == [{"rgb": 1.0, "motion": 0.5}, {"rgb": 0.75, "motion": 1.0}, {"rgb": 1.0, "motion": 1.0}]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "modality weights rgb 0.75 to 1 and motion 0.5 to 1 (found in each fold)" in page


def test_k_folds(tmp_path: Path, colour_folder: Path, store: str) -> None:
    result = crossval(tmp_path / "run", store, f"data.root={colour_folder}", GROUP_PATTERN, "folds=3")
    assert result.code == 0, result.err
    document = json.loads((tmp_path / "run" / "crossval.json").read_text())
    assert [fold["clips"] for fold in document["by_fold"]] == [4, 4, 4]


def test_without_groups_it_warns(tmp_path: Path, colour_folder: Path, store: str) -> None:
    result = crossval(tmp_path / "run", store, f"data.root={colour_folder}", "folds=2")
    assert "no groups are given" in result.err


def test_a_video_that_cannot_be_read_is_named_and_the_rest_is_done(tmp_path: Path, store: str) -> None:
    root = write_colour_folder(tmp_path / "videos", actors=3)
    (root / "red" / "actor3.mp4").write_text("no video")
    write_colour_video(root / "blue" / "actor3.mp4", "blue", seed=3)
    result = crossval(tmp_path / "run", store, f"data.root={root}", GROUP_PATTERN, "folds=groups")
    assert result.code == 1
    assert any("actor3.mp4" in line for line in result.messages)
    assert "1 of 8 clips could not be read" in result.err
    assert json.loads((tmp_path / "run" / "crossval.json").read_text())["clips"] == 7


def test_a_class_of_which_too_little_can_be_read_is_named(tmp_path: Path, store: str) -> None:
    root = write_colour_folder(tmp_path / "videos", actors=2)
    (root / "red" / "actor1.mp4").write_text("no video")
    result = crossval(tmp_path / "run", store, f"data.root={root}", GROUP_PATTERN, "folds=groups")
    assert result.code == 2
    assert "of red none is left to train on without fold 'actor0'" in result.messages[-1]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("folds=group", "folds is 'group'; accepted: groups"),
        ("folds=1", "folds is 1; accepted: groups"),
        ("folds=7", "folds=7, and the data set has 6 groups"),
        ("processes=0", "processes is 0; accepted: auto"),
        ("data.test_fraction=0.3", "data.test_fraction plays no role in activity crossval: folds= says"),
        ("resume=runs/first", "no setting 'resume'"),
        ("fold=3", "no setting 'fold'. Nearest: folds. All: activity crossval --cfg job"),
    ],
)
def test_a_mistake_is_one_message(tmp_path: Path, colour_folder: Path, store: str, override: str, said: str) -> None:
    result = crossval(tmp_path / "run", store, f"data.root={colour_folder}", GROUP_PATTERN, override)
    assert result.code == 2
    assert said in result.messages[-1]
    assert "Traceback" not in result.err


@pytest.mark.parametrize("verb", ["crossval", "extract"])
def test_the_number_of_a_split_that_changes_nothing_is_refused(tmp_path: Path, verb: str) -> None:
    given = ("data=ucf101", f"data.root={tmp_path}", "data.split=2", f"hydra.run.dir={tmp_path}/run")
    result = activity(verb, *given)
    assert result.code == 2
    assert f"data.split plays no role in activity {verb}: each official split of UCF101" in result.messages[-1]
    other = activity(verb, *(item.replace("ucf101", "hmdb51") for item in given))  # there it says which videos
    assert "the official lists" in other.messages[-1]


def test_a_folder_with_results_is_not_written_over(
    outcome: tuple[Path, Outcome], colour_folder: Path, store: str
) -> None:
    again = crossval(outcome[0], store, f"data.root={colour_folder}", GROUP_PATTERN, "folds=groups")
    assert again.code == 2
    assert "holds a run already" in again.messages[-1]


class TestStopped:
    """Ctrl-C once some heads of some folds are trained; in the same folder the same command goes on."""

    @pytest.fixture
    def trained(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The fold of each head that is trained; Ctrl-C comes where there are five."""
        trained: list[str] = []

        def stopped(folds: Sequence[FoldClips], *arguments: object, **further: object) -> Iterator[FoldScores]:
            for scores in cross_validate(folds, *arguments, **further):
                if len(trained) == 5:
                    raise KeyboardInterrupt
                trained.append(scores.fold)
                yield scores

        monkeypatch.setattr("activity.cli.crossval.cross_validate", stopped)
        return trained

    def test_finished_folds_are_kept_and_only_the_others_are_trained(
        self, tmp_path: Path, colour_folder: Path, store: str, trained: list[str], outcome: tuple[Path, Outcome]
    ) -> None:
        run = tmp_path / "my run"
        command = (f'hydra.run.dir="{run}"', *TINY, "processes=1", f"data.root={colour_folder}", GROUP_PATTERN)
        stopped = activity("crossval", store, *command, "folds=groups")
        assert stopped.code == 130
        assert not (run / "crossval.json").exists()
        (line,) = [line for line in stopped.err.splitlines() if line.startswith("stopped; 2 of 6 folds are done")]
        assert trained == ["actor0", "actor0", "actor1", "actor1", "actor2"]
        trained.append("stopped")
        program, *arguments = shlex.split(line.partition("Go on with: ")[2])
        resumed = activity(*arguments)
        assert (program, resumed.code) == ("activity", 0), resumed.err
        assert "2 of 6 folds were done before" in resumed.err
        assert trained[6:] == [f"actor{number}" for number in (2, 2, 3, 3, 4, 4, 5, 5)]
        assert json.loads((run / "crossval.json").read_text()) == json.loads((outcome[0] / "crossval.json").read_text())
        assert (run / "predictions.csv").read_text() == (outcome[0] / "predictions.csv").read_text()
        assert not (run / "folds").exists()

    def test_where_no_fold_was_finished_all_are_trained_and_nothing_is_said(
        self, tmp_path: Path, colour_folder: Path, store: str, trained: list[str]
    ) -> None:
        trained.extend([""] * 4)  # one head of the first fold is done
        given = (store, f"data.root={colour_folder}", GROUP_PATTERN, "folds=2")
        stopped = crossval(tmp_path / "run", *given)
        assert stopped.code == 130
        assert "Go on with" not in stopped.err
        trained.append("stopped")
        again = crossval(tmp_path / "run", *given)
        assert again.code == 0, again.err
        assert trained[6:] == ["1", "1", "2", "2"]
        assert "done before" not in again.err
        assert "other settings" not in again.err

    @pytest.mark.parametrize("change", ["a setting", "a clip"])
    def test_folds_of_other_settings_or_clips_are_not_used(
        self, tmp_path: Path, store: str, trained: list[str], change: str
    ) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=3)
        given = (store, f"data.root={root}", GROUP_PATTERN)
        assert crossval(tmp_path / "run", *given).code == 130
        trained.append("stopped")
        if change == "a clip":
            write_colour_video(root / "red" / "actor2.mp4", "red", seed=9)
        again = crossval(tmp_path / "run", *given, f"seed={int(change == 'a setting')}")
        assert again.code == 0, again.err
        assert "was made of other clips or with other settings, and is not used" in again.err
        assert trained[6:] == ["actor0", "actor0", "actor1", "actor1", "actor2", "actor2"]


class TestProcesses:
    def started(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, colour_folder: Path, *overrides: str) -> int:
        """How many processes the command asks for; nothing is trained."""
        asked: list[int] = []

        def cross_validate(*_: object, processes: int) -> Iterator[FoldScores]:
            asked.append(processes)
            raise BrokenProcessPool
            yield

        monkeypatch.setattr("activity.cli.crossval.cross_validate", cross_validate)
        result = crossval(tmp_path / "run", *overrides, f"data.root={colour_folder}", GROUP_PATTERN, "folds=3")
        assert result.code == 2
        assert f"one of the {asked[0]} processes that train folds was killed" in result.messages[-1]
        assert "processes=1" in result.messages[-1]
        return asked[0]

    @pytest.mark.parametrize(
        ("cores", "memory_mb", "expected"), [(4, 64_000, 4), (64, 64_000, 6), (64, None, 6), (64, 3200, 3), (64, 9, 1)]
    )
    def test_auto_asks_for_what_cores_memory_and_folds_allow(
        self,
        tmp_path: Path,
        colour_folder: Path,
        store: str,
        monkeypatch: pytest.MonkeyPatch,
        cores: int,
        memory_mb: float | None,
        expected: int,
    ) -> None:
        monkeypatch.setattr("activity.cli.crossval.usable_cores", lambda: cores)
        monkeypatch.setattr("activity.cli.crossval.available_memory_mb", lambda: memory_mb)
        assert self.started(monkeypatch, tmp_path, colour_folder, store, "processes=auto") == expected
