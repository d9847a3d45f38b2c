"""`activity evaluate MODEL --timeline`: from annotations and a model to numbers, files and exit code."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from activity.cli import evaluate_timelines
from activity.cli.evaluate_timelines import measure_timelines, say_what_lies_beyond, take_timelines
from activity.cli.settings import KINDS
from activity.data.annotations import AnnotatedVideo, read_annotations
from activity.data.clips import DataError
from activity.data.segments import Segment
from activity.evaluation.timelines import timeline_metrics
from activity.inference.segmentation import TimelineSettings
from activity.inference.timeline import Timeline
from activity.inference.videos import Failure
from activity.video.errors import VideoError
from tests.cli.command import Outcome, activity
from tests.datasets import VIDEO_FPS, colour_frames
from tests.videos import cut_off, write_video

HEADER = "source,start,end,label"


def evaluate(folder: Path, model: Path, *arguments: object) -> Outcome:
    return activity("evaluate", model, *arguments, f"hydra.run.dir={folder}")


def timeline(source: str, *segments: Segment, seconds: float = 20.0, damage: str | None = None) -> Timeline:
    return Timeline(
        source=source,
        class_names=("blue", "red"),
        duration_seconds=seconds,
        segments=segments,
        scores=(0.5, 0.5),
        windows=1,
        frame_seconds=torch.zeros(1, dtype=torch.float64),
        frame_scores=torch.full((1, 2), 0.5),
        settings=TimelineSettings(),
        damage=damage,
    )


def segment(label: str, start: float, end: float, score: float = 1.0) -> Segment:
    return Segment(label=label, start_seconds=start, end_seconds=end, score=score)


def failure(source: str) -> Failure:
    return Failure(source, VideoError(source, "it is not a video", "give one"))


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of four seconds, blue then red, and red then blue."""
    folder = tmp_path_factory.mktemp("long")
    lines = [HEADER]
    for name, labels in (("one", ("blue", "red")), ("two", ("red", "blue"))):
        frames = [frame for label in labels for frame in colour_frames(label, 2 * VIDEO_FPS, seed=3)]
        write_video(folder / f"{name}.avi", frames, fps=VIDEO_FPS)
        lines += [f"{name}.avi,{start},{start + 2},{label}" for start, label in zip((0, 2), labels, strict=True)]
    (folder / "annotations.csv").write_text("\n".join(lines))
    return folder / "annotations.csv"


class TestMeasuring:
    VIDEOS = tuple(
        AnnotatedVideo(name, Path("/videos") / name, (segment("blue", 2, 6), segment("red", 8, 12)))
        for name in ("a.mp4", "b.mp4")
    )

    def test_each_timeline_is_measured_against_the_annotations_of_its_video(self) -> None:
        results = [
            timeline("/videos/b.mp4", segment("blue", 2, 6)),
            timeline("/videos/a.mp4", segment("blue", 2, 6), segment("red", 8, 12)),
        ]
        found = take_timelines(self.VIDEOS, results)
        assert found.failed == ()
        assert set(found.segments) == {"a.mp4", "b.mp4"}
        metrics = measure_timelines(self.VIDEOS, found, ["blue", "red"])
        assert metrics.frame_accuracy == pytest.approx(36 / 40)
        assert [item.counts.matched for item in metrics.classes] == [2, 1]

    @pytest.mark.parametrize(
        ("unusable", "said"),
        [
            (failure("/videos/a.mp4"), "/videos/a.mp4: it is not a video; give one."),
            (timeline("/videos/a.mp4", seconds=0.0), "/videos/a.mp4: it has one frame and lasts no time"),
        ],
    )
    def test_videos_that_cannot_be_measured_are_named_at_once_and_the_rest_is_measured(
        self, capsys: pytest.CaptureFixture[str], unusable: Timeline | Failure, said: str
    ) -> None:
        def results() -> Iterator[Timeline | Failure]:
            yield unusable
            assert said in capsys.readouterr().err
            yield timeline("/videos/b.mp4", segment("blue", 2, 6))

        found = take_timelines(self.VIDEOS, results())
        assert [item.source for item in found.failed] == ["/videos/a.mp4"]
        metrics = measure_timelines(self.VIDEOS, found, ["blue", "red"])
        assert (metrics.videos, metrics.frame_accuracy) == (1, pytest.approx(16 / 20))

    def test_none_that_can_be_measured_is_an_error(self) -> None:
        with pytest.raises(DataError, match="Of 2 annotated videos none could be measured"):
            take_timelines(self.VIDEOS, [failure("/videos/a.mp4"), timeline("/videos/b.mp4", seconds=0.0)])

    def test_annotations_beyond_the_end_are_pointed_out(self, capsys: pytest.CaptureFixture[str]) -> None:
        results = [timeline("/videos/a.mp4", seconds=11.95), timeline("/videos/b.mp4", seconds=11.5)]
        assert say_what_lies_beyond(self.VIDEOS, take_timelines(self.VIDEOS, results)) == ["b.mp4"]
        said = capsys.readouterr().err
        assert "warning: b.mp4 is annotated to 12 s, but ends at 11.50 s" in said
        assert "correct the annotations" in said
        assert "a.mp4" not in said  # seconds in tables are rounded

    def test_where_a_video_was_cut_off_the_annotations_are_not_what_is_wrong(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        results = [timeline("/videos/b.mp4", seconds=11.5, damage="it is cut off")]
        assert say_what_lies_beyond(self.VIDEOS, take_timelines(self.VIDEOS, results)) == ["b.mp4"]
        said = capsys.readouterr().err
        assert "ends at 11.50 s" in said
        assert "copy or record it again" in said
        assert "correct the annotations" not in said


@pytest.mark.parametrize("flag", [("--timeline", "{}"), ("--timeline={}",)])
def test_numbers_on_the_screen_and_in_files_are_those_of_the_segments_that_are_written_down(
    checkpoint: Path, annotations: Path, tmp_path: Path, flag: tuple[str, ...]
) -> None:
    given = [item.format(annotations) for item in flag]
    outcome = evaluate(tmp_path / "out", checkpoint, *given, "format=json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert document == json.loads((tmp_path / "out/timeline_metrics.json").read_text())
    table = (tmp_path / "out/timelines.csv").read_text()
    assert table.splitlines()[0] == "source,start,end,label,score"
    predicted: dict[str, list[Segment]] = {"one.avi": [], "two.avi": []}
    for row in csv.DictReader(table.splitlines()):
        predicted[row["source"]].append(
            segment(row["label"], float(row["start"]), float(row["end"]), float(row["score"]))
        )
    assert any(predicted.values())
    annotated = {video.name: video.segments for video in read_annotations(annotations)}
    expected = timeline_metrics(annotated, predicted, dict.fromkeys(annotated, 4.0), ["blue", "red"]).document()
    for name in ("frame_accuracy", "f1", "edit", "map"):
        assert document[name] == pytest.approx(expected[name], abs=1e-6), name
    assert (document["videos"], document["failed"], document["seen_in_training"]) == (2, [], [])
    assert "warning" not in outcome.err


def test_a_table_for_people_and_the_segments_as_csv(checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
    outcome = evaluate(tmp_path / "table", checkpoint, "--timeline", annotations)
    assert outcome.code == 0, outcome.err
    for text in ("2 videos, 0:00:08", "frame accuracy", "F1@10", "F1@50", "edit score", "0.7", "annotated", "blue"):
        assert text in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
    outcome = evaluate(tmp_path / "csv", checkpoint, "--timeline", annotations, "format=csv")
    assert outcome.out == (tmp_path / "csv/timelines.csv").read_text()
    # What was found can be corrected by hand and be the annotations of a further measurement.
    shutil.copy(tmp_path / "csv/timelines.csv", annotations.parent / "found.csv")
    again = evaluate(tmp_path / "again", checkpoint, "--timeline", annotations.parent / "found.csv", "format=json")
    assert json.loads(again.out)["frame_accuracy"] == pytest.approx(1.0)


def test_an_exported_file_gives_the_same(checkpoint: Path, exported: Path, annotations: Path, tmp_path: Path) -> None:
    tables = []
    for number, model in enumerate((checkpoint, exported)):
        outcome = evaluate(tmp_path / str(number), model, "--timeline", annotations, "format=csv")
        assert outcome.code == 0, outcome.err
        tables.append(list(csv.DictReader(outcome.out.splitlines())))
    assert [row["label"] for row in tables[0]] == [row["label"] for row in tables[1]]
    for one, other in zip(*tables, strict=True):
        assert float(one["score"]) == pytest.approx(float(other["score"]), abs=1e-4)
    assert "model.ts does not lie in the folder of a run" in outcome.err


def test_annotations_beyond_the_end_of_a_video_are_said_by_the_exit_code(
    checkpoint: Path, annotations: Path, tmp_path: Path
) -> None:
    table = annotations.parent / "long.csv"
    table.write_text(f"{HEADER}\none.avi,0,2,blue\none.avi,100,200,red\n")
    outcome = evaluate(tmp_path / "out", checkpoint, "--timeline", table, "format=json")
    assert outcome.code == 1
    assert "one.avi is annotated to 200 s, but ends at 4.00 s" in outcome.err
    assert json.loads(outcome.out)["annotated_beyond_end"] == ["one.avi"]


def test_videos_that_cannot_be_measured_are_named_and_the_exit_code_says_so(
    checkpoint: Path, annotations: Path, tmp_path: Path
) -> None:
    shutil.copy(annotations.parent / "one.avi", tmp_path)
    (tmp_path / "text.avi").write_text("no video")
    write_video(tmp_path / "still.avi", colour_frames("red", 1, seed=3), fps=VIDEO_FPS)
    table = tmp_path / "table.csv"
    table.write_text(f"{HEADER}\none.avi,0,2,blue\ntext.avi,0,2,red\nstill.avi,0,1,red\ngone.avi,0,1,red\n")
    outcome = evaluate(tmp_path / "out", checkpoint, "--timeline", table, "format=json")
    assert outcome.code == 1
    assert "1 file named in" in outcome.err  # said before any work
    assert f"{tmp_path}/text.avi: it is not a video" in outcome.err
    assert f"{tmp_path}/gone.avi: there is no such file" in outcome.err
    assert outcome.messages[-1].startswith("activity evaluate: 3 of 4 videos could not be measured")
    document = json.loads(outcome.out)
    assert (document["videos"], [Path(item["source"]).name for item in document["failed"]]) == (
        1,
        ["text.avi", "still.avi", "gone.avi"],
    )


def test_a_video_that_breaks_off_is_named_and_the_exit_code_says_so(
    checkpoint: Path, annotations: Path, tmp_path: Path
) -> None:
    for name in ("one.avi", "two.avi"):
        shutil.copy(annotations.parent / name, tmp_path)
    cut_off(tmp_path / "two.avi", 0.8)
    table = Path(shutil.copy(annotations, tmp_path / "table.csv"))
    outcome = evaluate(tmp_path / "out", checkpoint, "--timeline", table, "format=json")
    assert outcome.code == 1
    assert outcome.messages[-1].startswith("activity evaluate: 1 video cut off or damaged; what could be read was used")
    document = json.loads(outcome.out)
    assert (document["videos"], document["failed"]) == (2, [])
    ((source, damage),) = (item.values() for item in document["damaged"])
    assert (source, "it is cut off" in damage) == ("two.avi", True)


def test_what_was_found_is_kept_where_it_cannot_be_measured(
    checkpoint: Path, annotations: Path, tmp_path: Path
) -> None:
    shutil.copy(annotations.parent / "one.avi", tmp_path)
    (tmp_path / "text.avi").write_text("no video")
    table = tmp_path / "table.csv"
    table.write_text(f"{HEADER}\none.avi,0,2,background\ntext.avi,0,2,red\n")
    outcome = evaluate(tmp_path / "out", checkpoint, "--timeline", table)
    assert (outcome.code, "No activity is annotated in 1 video" in outcome.err) == (2, True)
    assert "one.avi" in (tmp_path / "out/timelines.csv").read_text()


def test_videos_that_the_model_was_trained_on_are_named(
    checkpoint: Path, trained_run: Path, colour_folder: Path, tmp_path: Path
) -> None:
    with (trained_run / "splits.csv").open(newline="") as file:
        path_of = {row["split"]: row["path"] for row in csv.DictReader(file)}
    lines = [f"{name}.mp4,0,0.4,{Path(path_of[name]).parent}" for name in ("train", "test")]
    for name in ("train", "test"):
        shutil.copy(colour_folder / path_of[name], tmp_path / f"{name}.mp4")  # known by what is in them
    (tmp_path / "table.csv").write_text("\n".join([HEADER, *lines]))
    outcome = evaluate(tmp_path / "out", checkpoint, "--timeline", tmp_path / "table.csv", "format=json")
    assert outcome.code == 0, outcome.err
    assert "warning: 1 of these 2 videos have clips in the model's training split ('train.mp4')" in outcome.err
    assert json.loads(outcome.out)["seen_in_training"] == ["train.mp4"]


def test_settings_say_how_scores_become_segments(checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
    everything = ["timeline.enter_score=0.01", "timeline.leave_score=0.01", "timeline.min_seconds=0"]
    outcome = evaluate(tmp_path / "low", checkpoint, "--timeline", annotations, "format=json", *everything)
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    given = TimelineSettings(enter_score=0.01, leave_score=0.01, min_seconds=0)
    assert document["settings"] == asdict(given)
    found = (tmp_path / "low/timelines.csv").read_text()
    none = [f"timeline.{name}=1" for name in ("enter_score", "leave_score")] + ["timeline.min_seconds=100"]
    outcome = evaluate(tmp_path / "high", checkpoint, "--timeline", annotations, "format=csv", *none)
    assert outcome.code == 0, outcome.err
    assert len(found.splitlines()) > 1 == len(outcome.out.splitlines())


def test_each_setting_of_a_timeline_has_a_name_in_the_configuration() -> None:
    names = yaml.safe_load((Path(__file__).parents[2] / "conf/evaluate.yaml").read_text())["timeline"]
    assert names == dict.fromkeys(asdict(TimelineSettings()))
    assert {f"timeline.{name}" for name in names} <= set(KINDS)


class TestWrongUse:
    @pytest.fixture(autouse=True)
    def _nothing_is_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a video was decoded")

        monkeypatch.setattr(evaluate_timelines, "make_timelines", refuse)

    def refused(self, tmp_path: Path, model: Path, *arguments: object) -> str:
        outcome = evaluate(tmp_path / "out", model, *arguments)
        assert outcome.code == 2
        assert len(outcome.messages) == 1
        assert "Traceback" not in outcome.err
        assert not (tmp_path / "out" / "timeline_metrics.json").exists()
        return outcome.messages[0]

    def test_labels_that_the_model_does_not_know(self, checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
        table = annotations.parent / "other.csv"
        table.write_text(f"{HEADER}\none.avi,0,1,green\none.avi,1,2,background\none.avi,2,3,red\n")
        message = self.refused(tmp_path, checkpoint, "--timeline", table)
        assert "1 label that the model does not know: 'green'. Its classes: 'blue', 'red'." in message
        assert "take these segments out" in message

    def test_nothing_but_background(self, checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
        table = annotations.parent / "idle.csv"
        table.write_text(f"{HEADER}\none.avi,0,1,background\n")
        message = self.refused(tmp_path, checkpoint, "--timeline", table)
        assert f"No activity is annotated in {table}" in message

    def test_annotations_with_problems(self, checkpoint: Path, tmp_path: Path) -> None:
        table = tmp_path / "table.csv"
        table.write_text(f"{HEADER}\none.avi,2,1,red\none.avi,x,2,red\n")
        outcome = evaluate(tmp_path / "out", checkpoint, "--timeline", table)
        assert outcome.code == 2
        assert "2 problems in" in outcome.err
        assert "line 2: a segment from 2 to 1 s" in outcome.err
        assert "There is no file" in self.refused(tmp_path, checkpoint, "--timeline", tmp_path / "none.csv")

    def test_thresholds_crossed_over(self, checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
        message = self.refused(tmp_path, checkpoint, "--timeline", annotations, "timeline.leave_score=0.9")
        assert "leave_score is 0.9, above enter_score" in message
        message = self.refused(tmp_path, checkpoint, "--timeline", annotations, "timeline.stride=often")
        assert "timeline.stride is 'often'; accepted: a whole number" in message

    def test_settings_without_the_flag(self, checkpoint: Path, tmp_path: Path) -> None:
        message = self.refused(tmp_path, checkpoint, "timeline.stride=1")
        assert "plays no role without --timeline" in message

    @pytest.mark.parametrize(
        ("setting", "reason"),
        [
            ("split=all", "all annotated videos are measured"),
            ("data.root=x", "those of the annotations"),
            ("data=csv", "those of the annotations"),
            ("data.background=true", "those of the annotations"),
            ("features.store=x", "not kept"),
        ],
    )
    def test_settings_of_no_use(
        self, checkpoint: Path, annotations: Path, tmp_path: Path, setting: str, reason: str
    ) -> None:
        message = self.refused(tmp_path, checkpoint, "--timeline", annotations, setting)
        assert f"{setting.partition('=')[0]} plays no role in activity evaluate MODEL --timeline" in message
        assert reason in message

    def test_settings_of_use_are_checked(self, checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
        message = self.refused(tmp_path, checkpoint, "--timeline", annotations, "features.batch_frames=0")
        assert "features.batch_frames is 0" in message
        assert "format is 'xml'" in self.refused(tmp_path, checkpoint, "--timeline", annotations, "format=xml")

    def test_the_flag_without_a_file_or_twice(self, checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
        outcome = activity("evaluate", checkpoint, "--timeline")
        assert (outcome.code, "--timeline is without a file" in outcome.err) == (2, True)
        message = self.refused(tmp_path, checkpoint, "--timeline", annotations, f"--timeline={annotations}")
        assert "--timeline is given twice. Accepted: activity evaluate MODEL --timeline ANNOTATIONS.csv" in message

    def test_no_model(self, annotations: Path) -> None:
        outcome = activity("evaluate", "--timeline", annotations)
        assert (outcome.code, "MODEL is missing: it comes first" in outcome.err) == (2, True)

    def test_a_folder_that_holds_a_run(self, checkpoint: Path, annotations: Path, tmp_path: Path) -> None:
        (tmp_path / "timelines.csv").write_text("mine")
        outcome = evaluate(tmp_path, checkpoint, "--timeline", annotations)
        assert (outcome.code, "holds a run already (timelines.csv)" in outcome.err) == (2, True)
        assert (tmp_path / "timelines.csv").read_text() == "mine"
