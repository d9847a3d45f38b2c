"""Bad input: one message that says what was given and what to do, the right exit code, nothing lost."""

import csv
import json
import os
import pickle
import re
import shutil
import unicodedata
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import cv2
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from activity.cli import configuration, settings
from activity.cli.arguments import UsageError
from tests.cli.command import Outcome, activity
from tests.datasets import GROUP_PATTERN, TINY, colour_frames, write_colour_folder, write_colour_video
from tests.videos import cut_off, noise_frames, write_video


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def train(store: str) -> Callable[..., Outcome]:
    def run(*overrides: object) -> Outcome:
        return activity("train", store, *TINY, "trainer.max_epochs=1", "hydra.run.dir=run", *overrides)

    return run


@pytest.fixture(scope="module")
def default_config() -> DictConfig:
    config = OmegaConf.create(activity("train", "data.root=videos", "--cfg", "job").out)
    assert isinstance(config, DictConfig)
    return config


def assert_refused(outcome: Outcome, *parts: object) -> None:
    """One message, exit code 2, no traceback; each part is in the message."""
    assert outcome.code == 2, outcome
    assert len(outcome.messages) == 1, outcome.err
    # Some messages list the problems of several rows below the first line.
    message = outcome.err[outcome.err.index(outcome.messages[0]) :]
    assert [str(part) for part in parts if str(part) not in message] == [], message
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def csv_file(*lines: str, name: str = "clips.csv") -> Path:
    path = Path(name)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


class TestFolders:
    def test_missing(self, train: Callable[..., Outcome]) -> None:
        assert_refused(train("data.root=nowhere"), "nowhere", "no folder", "data.root")

    def test_empty(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert_refused(train("data.root=empty"), "empty", "no videos", "one folder a class")

    def test_videos_but_no_class_folders(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        for name in ("a.mp4", "b.mp4"):
            write_colour_video(tmp_path / "flat" / name, "red", frames=2)
        assert_refused(train("data.root=flat"), "flat", "2 videos in no class folder", "one folder a class")

    def test_one_class(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        write_colour_folder(tmp_path / "one", labels=["red"], actors=3, frames=2)
        assert_refused(train("data.root=one"), "one class, 'red'", "Add clips of another class")

    def test_a_class_with_fewer_clips_than_splits(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        root = write_colour_folder(tmp_path / "few", actors=4, frames=2)
        for actor in (2, 3):
            (root / "red" / f"actor{actor}.mp4").unlink()
        assert_refused(train("data.root=few"), "red (2 clips in 2 groups)", "3 splits", "data.val_fraction=0")

    def test_a_class_with_fewer_groups_than_splits(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        write_colour_folder(tmp_path / "few", actors=6, frames=2)
        pattern = "data.group_pattern='actor(?P<group>[01])|(?P<other>.)'"
        assert_refused(train("data.root=few", pattern), "group", "data.group_pattern")
        assert_refused(train("data.root=few", r"data.group_pattern='(?P<group>actor)\d'"), "1 group)", "3 splits")

    def test_a_file_in_place_of_the_folder(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "file.txt").touch()
        assert_refused(train("data.root=file.txt"), "file.txt", "not a folder")

    def test_a_path_by_itself_and_an_empty_one(self, train: Callable[..., Outcome], colour_folder: Path) -> None:
        assert_refused(train(colour_folder), "stands alone", f"data.root={colour_folder}")
        assert_refused(train("data.root="), "data.root is ''")

    def test_a_name_that_is_a_number(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "2024").mkdir()
        assert_refused(train("data.root=2024"), "data.root is 2024", "./NUMBER")
        assert_refused(train("data.root=./2024"), "no videos")  # so it was found

    def test_none_given(self, train: Callable[..., Outcome]) -> None:
        assert_refused(train(), "data.root is not given", "activity train data.root=FOLDER")
        assert_refused(train("data=csv"), "data.csv is not given", "data.csv=FILE")

    @pytest.mark.parametrize("pattern", ["'(?P<group>['", "'actor'", "'(?P<group>nobody)'"])
    def test_a_bad_regular_expression(self, train: Callable[..., Outcome], colour_folder: Path, pattern: str) -> None:
        assert_refused(train(f"data.root={colour_folder}", f"data.group_pattern={pattern}"), pattern.strip("'"))


class TestClips:
    def test_files_that_are_no_videos_are_named_and_counted_and_the_rest_is_trained_on(
        self, train: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=6)
        bad = [root / "blue" / "actor0 cut.mp4", root / "blue" / "actor1 text.mp4", root / "red" / "actor2 empty.mp4"]
        cut_off(write_colour_video(bad[0], "blue", frames=40), 0.5)  # an MP4 without its index, which comes last
        bad[1].write_text("this is no video")
        bad[2].touch()
        outcome = train("data.root=videos", GROUP_PATTERN)
        assert outcome.code == 1, outcome.err
        *named, summary = outcome.messages
        assert [str(path) in message for path, message in zip(bad, sorted(named), strict=True)] == [True] * 3
        assert "3 of 15 clips could not be read; the rest was used" in summary
        assert Path("run/checkpoints/best.ckpt").is_file()
        assert Path("run/test_metrics.json").is_file()

    def test_a_pipe_under_the_name_of_a_video_is_named_and_not_waited_for(
        self, train: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        write_colour_folder(tmp_path / "videos", actors=6)
        os.mkfifo(tmp_path / "videos" / "red" / "pipe.mp4")
        outcome = train("data.root=videos")
        assert outcome.code == 1, outcome.err
        assert "pipe.mp4: it is a pipe or a device, not a file; name a video file" in " ".join(outcome.messages)
        assert "1 of 13 clips" in outcome.messages[-1]

    def test_sound_that_outlasts_the_picture_is_no_damage(
        self, train: Callable[..., Outcome], exported: Path, tmp_path: Path
    ) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=6)
        long = [root / "red" / "actor6.mkv", root / "red" / "actor7.webm", root / "blue" / "actor6.mp4"]
        for path in long:
            write_video(path, colour_frames(path.parent.name, 12), fps=25, sound_seconds=5.0)
        outcomes = [activity(verb, exported, *long, "--format", "jsonl") for verb in ("predict", "timeline")]
        for outcome in (*outcomes, train("data.root=videos")):
            assert outcome.code == 0, outcome.err
            assert "damage" not in outcome.out + outcome.err
            assert "cut off" not in outcome.err
        assert [json.loads(line)["duration_seconds"] for line in outcomes[0].out.splitlines()] == [0.48] * 3

    def test_what_is_assumed_of_a_good_video_is_a_note_said_once(
        self, store: str, exported: Path, tmp_path: Path
    ) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=2)
        raw = root / "red" / "raw.mjpeg"
        raw.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in colour_frames("red", 12)))
        said = f"note: {raw}: it does not say its frame rate: 25 frames/s are assumed."
        predicted = activity("predict", exported, raw)
        extracted, again = (activity("extract", "data.root=videos", store, *TINY[:3]) for _ in range(2))
        assert [outcome.code for outcome in (predicted, extracted, again)] == [0, 0, 0]
        for outcome in (predicted, extracted):
            assert outcome.err.splitlines().count(said) == 1
        assert "frame rate" not in again.err

    def test_files_whose_names_do_not_end_like_a_videos_are_named(
        self, train: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=6)
        for name in (
            "red/clip.m2v_old",
            "red/deep/clip",
            "blue/notes.TXT",
            "blue/more.txt",
            "blue/.hidden",
            "list.csv",
        ):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).touch()
        outcome = train("data.root=videos")
        assert outcome.code == 0, outcome.err
        assert "note: 4 files in class folders of" in outcome.err
        names = "'blue/more.txt', 'blue/notes.TXT', 'red/clip.m2v_old' and 1 more."
        assert f"their names do not end like a video's: {names}" in outcome.err

    def test_training_that_diverges_ends_with_what_to_change(
        self, train: Callable[..., Outcome], colour_folder: Path
    ) -> None:
        settings = ("optim.optimizer.lr=1e30", "trainer.max_epochs=4")
        assert_refused(train(f"data.root={colour_folder}", *settings), "diverged in epoch", "optim.optimizer.lr")

    def test_a_class_that_loses_all_its_clips(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=3)
        for path in (root / "red").iterdir():
            path.write_bytes(b"")
        outcome = train("data.root=videos")
        assert outcome.code == 2
        assert "3 of 6 clips could not be read, and of red none is left to train on" in outcome.messages[-1]
        assert sum(str(root / "red") in message for message in outcome.messages) == 3
        assert "Traceback" not in outcome.err

    @pytest.mark.parametrize("part", ["val", "test"])
    def test_a_split_that_loses_all_its_clips(self, train: Callable[..., Outcome], tmp_path: Path, part: str) -> None:
        lines = ["path,label,group,split"]
        for actor, split in enumerate(("train", "val", "test")):
            for label in ("blue", "red"):
                name = f"{label}{actor}.mp4"
                lines.append(f"{name},{label},{actor},{split}")
                if split == part:
                    (tmp_path / name).touch()
                else:
                    write_colour_video(tmp_path / name, label, seed=actor)
        csv_file(*lines)
        outcome = train("data=csv", "data.csv=clips.csv")
        assert outcome.code == 1, outcome.err
        assert "2 of 6 clips could not be read" in outcome.messages[-1]
        assert Path("run/checkpoints/best.ckpt").is_file()
        assert "Traceback" not in outcome.err

    def test_a_truncated_video_is_used_as_far_as_it_goes_and_the_second_said(
        self, train: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=3)
        path = write_video(root / "red" / "long.mkv", noise_frames(75, width=64, height=48))
        cut_off(path, 0.4)
        outcome = train("data.root=videos")
        assert outcome.code == 1, outcome.err
        warning, named = [line for line in outcome.err.splitlines() if "long.mkv" in line]
        assert warning.startswith("warning: ")
        assert "its frames end at 1." in warning
        assert named == "  red/long.mkv"
        (summary,) = outcome.messages
        assert "1 video cut off or damaged; what could be read was used." in summary

    def test_videos_of_one_frame_and_clips_that_fill_no_window_are_named_and_counted(
        self, train: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=3)
        write_colour_video(root / "red" / "picture.mp4", "red", frames=1)
        outcome = train("data.root=videos")
        assert outcome.code == 0, outcome.err
        assert "warning: 1 video with one frame. A picture shows no activity" in outcome.err
        assert "note: 1 clip shorter than a window of 4 sampled frames" in outcome.err
        assert "\n  red/picture.mp4\n" in outcome.err

    def test_spaces_unicode_and_quotes_in_names(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        root = write_colour_folder(tmp_path / "my 'own' vidéos", actors=3)
        (root / "red").rename(root / 'rød, "quoted" 走る')
        outcome = train(f'data.root="{root}"')
        assert outcome.code == 0, outcome.err
        assert 'rød, "quoted" 走る' in outcome.out


class TestNamesThatLookAlike:
    """As macOS writes names (NFD), as spreadsheets do (NFC), and with characters that have no width."""

    NFC, NFD = "caf\u00e9", "cafe\u0301"

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = write_colour_folder(tmp_path / "vide\u0301os")
        (root / "blue").rename(root / self.NFC)
        (root / self.NFD).mkdir()
        for number in (3, 4, 5):
            (root / self.NFC / f"actor{number}.mp4").rename(root / self.NFD / f"actor{number}.mp4")
        return root

    def test_classes_are_one_and_paths_are_found(self, train: Callable[..., Outcome], root: Path) -> None:
        outcome = train("data.root=vid\u00e9os\u200b", GROUP_PATTERN)
        assert outcome.code == 0, outcome.err
        assert "note: Names that look alike are taken for one: 'cafe' + U+0301 = 'caf\u00e9'." in outcome.err
        assert json.loads(Path("run/test_metrics.json").read_text())["class_names"] == [self.NFC, "red"]
        model = "run/checkpoints\u00a0/best.ckpt\u200b"
        predicted = activity(
            "predict", model, f"vid\u00e9os/{self.NFC}/actor4.mp4", f"vid\u00e9os/{self.NFD}/actor0.mp4"
        )
        assert predicted.code == 0, predicted.err

        # The same splits after a spreadsheet has composed the names.
        splits = unicodedata.normalize("NFC", Path("run/splits.csv").read_text("utf-8")).replace(",", ";")
        Path("splits.csv").write_text(f"sep=;\n{splits}", "utf-8")
        measured = activity("evaluate", model, f'data.root="{root}"', "data.splits=splits.csv", "hydra.run.dir=out")
        assert measured.code == 0, measured.err
        # Without the data set its names stay those of the run.
        again = activity("evaluate", model, "split=train", "hydra.run.dir=again")
        assert "8 of these 8 clips came from the model's training split" in again.err

    def test_the_doctor_shows_the_spellings(self, root: Path) -> None:
        found = json.loads(activity("doctor", "vid\u00e9os", "--format", "json", "--jobs", "1").out)
        assert [item["name"] for item in found["classes"]] == [self.NFC, "red"]
        assert "'cafe' + U+0301 = 'caf\u00e9'" in str([item["summary"] for item in found["findings"]])

    def test_a_model_keeps_its_own_spelling(self, checkpoint: Path, store: str) -> None:
        saved = torch.load(checkpoint, weights_only=True)
        saved["recognizer"]["class_names"] = ["blu\u200be", "red "]
        torch.save(saved, "old.ckpt")
        for label in ("blue", "red"):
            write_colour_video(Path(f"{label}.mp4"), label)
        csv_file("path,label", "blue.mp4,blue", "red.mp4,red")
        given = ("data=csv", "data.csv=clips.csv", "split=all", store, "hydra.run.dir=clips")
        measured = activity("evaluate", "old.ckpt", *given)
        assert measured.code == 0, measured.err
        assert json.loads(Path("clips/metrics.json").read_text())["class_names"] == ["blu\u200be", "red "]
        csv_file("source,start,end,label", "blue.mp4,0,0.4,blue", name="day.csv")
        timelines = activity("evaluate", "old.ckpt", "--timeline", "day.csv", "hydra.run.dir=timelines")
        assert timelines.code == 0, timelines.err


class TestCopies:
    """Byte-identical videos under several names."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return write_colour_folder(tmp_path / "videos", actors=6)

    def test_a_copy_with_another_label_is_named_what_to_do_is_said_and_the_rest_is_done(
        self, train: Callable[..., Outcome], root: Path
    ) -> None:
        shutil.copy(root / "blue" / "actor1.mp4", root / "red" / "zoe.mp4")
        outcome = train("data.root=videos")
        assert outcome.code == 1, outcome.err
        assert "\n  blue/actor1.mp4 = red/zoe.mp4: labels blue, red\n" in outcome.err
        assert "activity doctor also looks for the same pictures" in outcome.err
        (summary,) = outcome.messages
        assert "2 videos are byte for byte the same, across labels (1 set). Keep one file of each set" in summary
        assert "byte for byte the same, across labels" in Path("run/report.html").read_text(encoding="utf-8")
        assert Path("run/checkpoints/best.ckpt").is_file()

    def test_a_copy_is_on_the_side_of_its_original_whatever_the_seed(
        self, train: Callable[..., Outcome], root: Path
    ) -> None:
        copies = {"red/actor1.mp4"} | {f"red/copy{number}.mp4" for number in range(3)}
        for name in copies - {"red/actor1.mp4"}:
            shutil.copy(root / "red" / "actor1.mp4", root / name)
        outcome = train("data.root=videos")
        assert outcome.code == 0, outcome.err
        assert "4 groups hold a video that another of them holds too" in outcome.err
        assert "with the same label, on the same side (1 set)" in outcome.err
        with Path("run/splits.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["path"] in copies]
        assert {row["path"] for row in rows} == copies
        assert {row["group"] for row in rows} == {"red/actor1.mp4"}
        assert len({row["split"] for row in rows}) == 1
        assert activity("train", "resume=run", "trainer.max_epochs=2").code == 0

    @pytest.mark.parametrize("given", ["table", "file"])
    def test_copies_on_two_sides_of_a_split_that_is_given(
        self, train: Callable[..., Outcome], root: Path, given: str
    ) -> None:
        shutil.copy(root / "red" / "actor0.mp4", root / "red" / "actor5.mp4")
        sides = ["train", "train", "train", "val", "test", "test"]
        rows = [f"{c}/actor{n}.mp4,{c},{side}" for c in ("blue", "red") for n, side in enumerate(sides)]
        table = csv_file("path,label,split", *rows, name="videos/clips.csv")
        how = ("data=csv", f"data.csv={table}") if given == "table" else ("data.root=videos", f"data.splits={table}")
        outcome = train(*how)
        assert outcome.code == 1, outcome.err
        assert "\n  red/actor0.mp4 = red/actor5.mp4: splits train, test\n" in outcome.err
        (summary,) = outcome.messages
        assert "across splits (1 set). Keep the files of each set on one side" in summary
        assert "what was seen in training is no test" in Path("run/report.html").read_text(encoding="utf-8")

    def test_extract_says_it_too(self, store: str, root: Path) -> None:
        shutil.copy(root / "blue" / "actor1.mp4", root / "red" / "zoe.mp4")
        own = [item for item in TINY if item.split("=")[0].split(".")[0] in ("encoder", "modalities", "sampling")]
        outcome = activity("extract", store, *own, "data.root=videos")
        assert outcome.code == 1, outcome.err
        assert "across labels (1 set)" in outcome.messages[0]

    def test_cross_validation_tests_them_in_one_fold_and_shows_it(self, store: str, root: Path) -> None:
        shutil.copy(root / "red" / "actor1.mp4", root / "red" / "copy.mp4")
        shutil.copy(root / "red" / "actor2.mp4", root / "blue" / "copy.mp4")
        outcome = activity(
            *("crossval", store, *TINY, "trainer.max_epochs=1", "data.root=videos", "folds=2", "processes=1"),
            "hydra.run.dir=run",
        )
        assert outcome.code == 1, outcome.err
        assert "across labels (1 set)" in outcome.messages[0]
        with Path("run/predictions.csv").open(newline="", encoding="utf-8") as file:
            rows = {row["path"]: row for row in csv.DictReader(file)}
        for one, other in (("red/actor1.mp4", "red/copy.mp4"), ("blue/copy.mp4", "red/actor2.mp4")):
            assert [rows[one][key] for key in ("fold", "group")] == [rows[other][key] for key in ("fold", "group")]
        assert json.loads(Path("run/crossval.json").read_text())["joined_groups"] == [
            ["blue/copy.mp4", "red/actor2.mp4"],
            ["red/actor1.mp4", "red/copy.mp4"],
        ]

    def test_files_that_cannot_be_read_are_no_copies(
        self, train: Callable[..., Outcome], store: str, root: Path
    ) -> None:
        unreadable = {"blue/actor0.mp4", "blue/actor1.mp4", "red/actor0.mp4"}
        for name in unreadable:  # what a download left in their places
            (root / name).write_text("404: there is no such video")
        shutil.copy(root / "red" / "actor2.mp4", root / "red" / "copy.mp4")
        outcome = train("data.root=videos")
        assert outcome.code == 1, outcome.err
        assert "2 groups hold a video that another of them holds too" in outcome.err
        assert "3 of 13 clips could not be read; the rest was used" in outcome.messages[-1]
        assert " = " not in outcome.err.replace("red/actor2.mp4 = red/copy.mp4", "")
        with Path("run/splits.csv").open(newline="", encoding="utf-8") as file:
            group_of = {row["path"]: row["group"] for row in csv.DictReader(file)}
        assert {name: group_of[name] for name in unreadable} == {name: name for name in unreadable}
        assert unreadable.isdisjoint(json.loads(Path("run/data.json").read_text())["training_videos"])
        outcome = activity(
            *("crossval", store, *TINY, "trainer.max_epochs=1", "data.root=videos", "folds=2", "processes=1"),
            "hydra.run.dir=folds",
        )
        assert outcome.code == 1, outcome.err
        assert json.loads(Path("folds/crossval.json").read_text())["joined_groups"] == [
            ["red/actor2.mp4", "red/copy.mp4"]
        ]
        outcome = activity("evaluate", "run/checkpoints/best.ckpt", "split=all", "hydra.run.dir=measured")
        assert outcome.code == 1, outcome.err
        assert "across labels" not in outcome.err


class TestCsv:
    @pytest.fixture(autouse=True)
    def _videos(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            write_colour_video(tmp_path / f"{name}.mp4", "red", frames=4)

    @pytest.mark.parametrize(
        ("lines", "parts"),
        [
            (["path,label", "a.mp4,run", "a.mp4,walk"], ["line 3", "two labels", "'run'", "'walk'"]),
            (["path,lable", "a.mp4,run"], ["'lable' is unknown", "did you mean 'label'", "Accepted"]),
            (["path,label,colour", "a.mp4,run,red"], ["'colour' is unknown", "Accepted"]),
            (["path,start", "a.mp4,1"], ["'label' is missing"]),
            (["path,label,start,end", "a.mp4,run,2,1", "b.mp4,walk,,"], ["line 2", "end 1", "start 2"]),
            ([], ["empty"]),
            (["path,label", "x.mp4,run", "y.mp4,walk"], ["Of 2 files", "'x.mp4'"]),
        ],
    )
    def test_rows_and_columns(self, train: Callable[..., Outcome], lines: list[str], parts: list[str]) -> None:
        csv_file(*lines)
        assert_refused(train("data=csv", "data.csv=clips.csv"), "clips.csv", *parts)

    def test_missing(self, train: Callable[..., Outcome]) -> None:
        assert_refused(train("data=csv", "data.csv=nowhere.csv"), "nowhere.csv")

    def test_without_a_header(self, train: Callable[..., Outcome]) -> None:
        csv_file("a.mp4,red", "b.mp4,blue")
        assert_refused(train("data=csv", "data.csv=clips.csv"), "has no header", "a.mp4,red", "path,label")

    def test_spans_beyond_the_end(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        lines = ["path,label,start,end,split"]
        for number, split in enumerate(("train", "val", "test")):
            for label in ("blue", "red"):
                write_colour_video(tmp_path / f"{label}{number}.mp4", label, frames=25, seed=number)
                lines.append(f"{label}{number}.mp4,{label},0,1,{split}")
        write_colour_video(tmp_path / "partly.mp4", "red", frames=25, seed=7)
        write_colour_video(tmp_path / "wholly.mp4", "red", frames=25, seed=8)
        csv_file(*lines, "partly.mp4,red,0.5,9,train", "wholly.mp4,red,5,9,train")
        outcome = train("data=csv", "data.csv=clips.csv")
        assert outcome.code == 1, outcome.err
        warning, finding = (line for line in outcome.err.splitlines() if "partly.mp4" in line)
        assert warning.startswith("warning: partly.mp4: the span ends at 9 s but the video at 1.00 s")
        assert finding.endswith("partly.mp4: 0.5 s to 9 s, but the video ends at 1.00 s")
        spoils, named, summary = outcome.messages
        assert "1 clip with a span that reaches beyond the end of the video" in spoils
        assert "wholly.mp4: the span 5 s to 9 s begins after the video ends (1.00 s)" in named
        assert "1 of 8 clips" in summary

    def test_overlapping_spans_of_two_labels_are_named(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        lines = ["path,label,start,end"]
        for number in range(4):
            write_colour_video(tmp_path / f"{number}.mp4", "blue", frames=50, seed=number)
            lines += [f"{number}.mp4,blue,0,1", f"{number}.mp4,red,{0.5 if number == 2 else 1},2"]
        csv_file(*lines)
        outcome = train("data=csv", "data.csv=clips.csv")
        assert outcome.code == 0, outcome.err  # a warning: both labels may be right
        assert "warning: 1 span overlapping one of another label in the same video." in outcome.err
        assert "2.mp4: blue and red, at 0.5 s to 2 s" in outcome.err


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "parts"),
        [
            ("data.rot=x", ["'data.rot'", "data.root"]),
            ("optim.optimizer.lrr=1", ["'optim.optimizer.lrr'", "optim.optimizer.lr"]),
            ("trainer.epochs=3", ["'trainer.epochs'", "trainer.max_epochs"]),
            ("lr=0.1", ["'lr'", "optim.optimizer.lr"]),
            ("encoder=resnet5", ["encoder=resnet5", "resnet50", "efficientnet_lite0"]),
            ("trainer=gpuu", ["trainer=gpuu", "gpu", "cpu"]),
            ("head=lstmm", ["head=lstmm", "lstm", "mean_pool"]),
            ("head@baseline=null", ["head@baseline=null", "lstm", "mean_pool"]),
            ("data.root", ["'data.root'", "KEY=VALUE"]),
            ("seed=[1", ["'seed=[1'", "KEY=VALUE"]),
        ],
    )
    def test_mistyped_names_get_the_nearest(
        self, train: Callable[..., Outcome], override: str, parts: list[str]
    ) -> None:
        assert_refused(train(override), *parts)

    @pytest.mark.parametrize(
        "override", ["trainer.max_epochs=abc", "sampling.sample_fps=0", "head.readout=foo", "optim.batch_size=null"]
    )
    def test_values_of_the_wrong_kind_are_refused_before_any_work(
        self, train: Callable[..., Outcome], colour_folder: Path, override: str
    ) -> None:
        key, _, value = override.partition("=")
        assert_refused(
            train(f"data.root={colour_folder}", override),
            f"{key} is ",
            {"null": "None"}.get(value, value),
            "accepted: ",
        )
        assert not Path("run/splits.csv").exists()

    @pytest.mark.parametrize("key", ["baseline", "optim.optimizer", "features", "data.layout", "baseline._target_"])
    @pytest.mark.parametrize("verb", ["train", "crossval"])
    def test_what_cannot_be_left_out_is_not_left_out_by_null(self, colour_folder: Path, verb: str, key: str) -> None:
        outcome = activity(verb, f"data.root={colour_folder}", "hydra.run.dir=run", f"{key}=null")
        assert_refused(outcome, f"{key} is None", "accepted: ", f"activity {verb} --cfg job")

    @pytest.mark.parametrize("choice", ["null", "3"])
    def test_a_group_of_settings_is_not_left_out_by_null(self, colour_folder: Path, choice: str) -> None:
        outcome = activity("train", f"data.root={colour_folder}", f"head={choice}")
        assert_refused(outcome, f"there is no choice 'head={choice}'", "Accepted: lstm, mean_pool")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("trainer.max_epochs", 0),
            ("trainer.max_epochs", 2.5),
            ("trainer.max_epochs", True),
            ("sampling.sample_fps", -5),
            ("sampling.sample_fps", "fast"),
            ("sampling.sample_fps", float("inf")),
            ("sampling.window_frames", 0),
            ("head.num_layers", 0),
            ("head.bidirectional", "maybe"),
            ("head.dropout", 1.5),
            ("data.balance", "foo"),
            ("data.val_fraction", "half"),
            ("data.test_fraction", 1.5),
            ("data.group_pattern", 5),
            ("optim.batch_size", 0),
            ("optim.optimizer.lr", "high"),
            ("optim.label_smoothing", -0.1),
            ("features.decode_threads", 0),
            ("features.batch_frames", 0),
            ("features.store", None),
            ("seed", "abc"),
            ("seed", -1),
            ("callbacks.early_stopping.patience", "soon"),
        ],
    )
    def test_more_values_of_the_wrong_kind(self, default_config: DictConfig, key: str, value: object) -> None:
        settings.check_settings("train", default_config)
        config = default_config.copy()
        OmegaConf.update(config, key, value)
        with pytest.raises(UsageError, match=re.escape(f"{key} is {value!r}; accepted: ")):
            settings.check_settings("train", config)

    def test_what_a_choice_leaves_out_is_not_asked_for(self, default_config: DictConfig) -> None:
        config = default_config.copy()
        config.callbacks.early_stopping = None
        config.head = {"_target_": "activity.models.head.MeanPool", "dropout": 0}
        settings.check_settings("train", config)

    def test_fractions_that_leave_nothing_to_train_on(self, train: Callable[..., Outcome], colour_folder: Path) -> None:
        assert_refused(
            train(f"data.root={colour_folder}", "data.val_fraction=0.5", "data.test_fraction=0.5"),
            *("data.val_fraction=0.5", "data.test_fraction=0.5", "below 1"),
        )

    def test_the_settings_that_are_checked_exist(self) -> None:
        known = {key for verb in ("train", "crossval", "evaluate", "extract") for key in configuration.known_keys(verb)}
        assert set(settings.KINDS) <= known

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
    def test_a_gpu_that_is_not_there(self, train: Callable[..., Outcome], colour_folder: Path) -> None:
        assert_refused(train(f"data.root={colour_folder}", GROUP_PATTERN, "trainer=gpu"), "no GPU", "trainer=cpu")

    def test_a_modality_that_is_no_list(self, train: Callable[..., Outcome], colour_folder: Path) -> None:
        assert_refused(train(f"data.root={colour_folder}", "modalities=rgb"), "modalities is 'rgb'", "[rgb]")

    def test_modalities(self, train: Callable[..., Outcome], colour_folder: Path) -> None:
        assert_refused(train(f"data.root={colour_folder}", GROUP_PATTERN, "modalities=[rgb,sound]"), "sound", "motion")


class TestFlags:
    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["predict"], ["required: MODEL, SOURCE", "MODEL SOURCE [SOURCE ...]"]),
            (["predict", "m.ts", "v.mp4", "--format", "xml"], ["--format", "'xml'", "{table,jsonl,csv}"]),
            (["predict", "m.ts", "v.mp4", "--top-k", "0"], ["--top-k: '0' is no whole number from 1 up"]),
            (["export", "best.ckpt"], ["required: OUT", "CHECKPOINT OUT"]),
            (["inspect", "m.ts", "--what"], ["unrecognized arguments: --what", "[--format {table,json}] MODEL"]),
            (["bench", "everything"], ["'everything'", "{extract,live,encoder,predict,peers}"]),
            (["demo", "--actors", "few"], ["--actors: 'few' is no whole number", "[--actors ACTORS]"]),
            (["doctor", "videos", "--sample-fps", "-1"], ["--sample-fps", "no number above 0"]),
        ],
    )
    def test_that_cannot_be_used_are_one_message(self, arguments: list[str], parts: list[str]) -> None:
        outcome = activity(*arguments)
        command = f"activity {arguments[0]}"
        assert_refused(outcome, *parts, f"Accepted: {command} [-h]", f"see {command} --help.")
        assert outcome.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["train", "--data.root", "clips"], ["activity train has no flag --data.root", "data.root=VALUE"]),
            (["train", "--multi-run"], ["no flag --multi-run", "Nearest: --multirun"]),
            (["evaluate", "m.ts", "--what=3"], ["no flag --what", "activity evaluate --help"]),
        ],
    )
    def test_of_verbs_that_take_settings(self, arguments: list[str], parts: list[str]) -> None:
        assert_refused(activity(*arguments), *parts)


class TestTargets:
    def test_that_are_nowhere(self, train: Callable[..., Outcome]) -> None:
        assert_refused(train("data.root=x", "head._target_=foo.Bar"), "head._target_", "'foo.Bar'", "imported")
        assert_refused(train("data.root=x", "head._target_=activity.models.head.LSTM"), "'activity.models.head.LSTM'")

    def test_what_cannot_be_left_out(self, train: Callable[..., Outcome]) -> None:
        assert_refused(train("data.root=x", "callbacks.best=null"), "callbacks.best is None", "cannot be left out")


class TestEncoders:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("torchvision/resnet5", "torchvision/resnet50"),
            ("resnet50", "torchvision/resnet50"),
            ("timm/mobilenetv4_conv_smal", "timm/mobilenetv4_conv_small"),
            ("efficientnet_lite", "efficientnet_lite0"),
        ],
    )
    def test_a_mistyped_name_gets_the_nearest(
        self, train: Callable[..., Outcome], colour_folder: Path, name: str, nearest: str
    ) -> None:
        assert_refused(
            train(f"data.root={colour_folder}", GROUP_PATTERN, f"encoder.name={name}"), name.split("/")[-1], nearest
        )

    @pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv4_conv_small"])
    def test_pretrained_weights_without_a_network(
        self, train: Callable[..., Outcome], colour_folder: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_network(*_: object, **__: object) -> NoReturn:
            raise urllib.error.URLError("no network")

        monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
        monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", no_network)
        monkeypatch.setenv("TORCH_HOME", os.fspath(Path.cwd()))
        own = [override for override in TINY if not override.startswith("encoder.")]
        outcome = activity(
            *("train", "features.store=features", *own, "hydra.run.dir=run", f"encoder={encoder}"),
            *(f"data.root={colour_folder}", GROUP_PATTERN),
        )
        assert_refused(outcome, "could not be downloaded", "encoder.weights=FILE", "efficientnet_lite0")

    def test_weights_that_are_not_there(self, train: Callable[..., Outcome], colour_folder: Path) -> None:
        assert_refused(
            train(f"data.root={colour_folder}", GROUP_PATTERN, "encoder.weights=mine.pth"),
            *("'mine.pth'", "default, none"),
        )

    @pytest.mark.parametrize("kind", ["checkpoint", "exported", "text"])
    def test_weights_in_a_file_of_another_kind_are_one_message(
        self, train: Callable[..., Outcome], colour_folder: Path, checkpoint: Path, exported: Path, kind: str
    ) -> None:
        Path("text").write_text("hello\n")
        path, said = {
            "checkpoint": (checkpoint, "that file is a checkpoint of activity"),
            "exported": (exported, "that file is a model exported as TorchScript"),
            "text": (Path("text"), "that file is a text file that begins with 'hello'"),
        }[kind]
        outcome = train(f"data.root={colour_folder}", GROUP_PATTERN, f"encoder.weights={path}")
        assert_refused(outcome, f"encoder.weights is '{path}'", said, "Accepted for timm/", "a state dict file")
        assert outcome.err.count("\n") == 1


class _Payload:
    """Pickled code: unpickling makes a file in the working folder."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, ("executed",)


def _bad_model(kind: str, checkpoint: Path, exported: Path) -> Path:
    path = Path("model.ckpt")
    if kind.startswith("truncated"):
        source = checkpoint if kind == "truncated checkpoint" else exported
        path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    elif kind == "pickled code":
        with path.open("wb") as file:
            pickle.dump(_Payload(), file)
    elif kind == "pickled code in an archive":
        torch.save({"state_dict": {}, "recognizer": _Payload()}, path)
    elif kind == "of another program":
        torch.save({"state_dict": {"weight": torch.zeros(3)}, "epoch": 3}, path)
    elif kind == "text":
        path.write_text("this is no model")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    else:
        assert kind == "missing"
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *("truncated checkpoint", "truncated export", "pickled code", "pickled code in an archive"),
        *("of another program", "text", "empty", "folder", "missing"),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "inspect", "export"])
def test_model_files(kind: str, verb: str, checkpoint: Path, exported: Path, colour_folder: Path) -> None:
    path = _bad_model(kind, checkpoint, exported)
    further = {"predict": [colour_folder / "red" / "actor0.mp4"], "inspect": [], "export": ["out.ts"]}[verb]
    assert_refused(activity(verb, path, *further), path, "activity train", "activity export")
    assert not Path("executed").exists()
    assert not Path("out.ts").exists()


class TestFoldersOfRefusedRuns:
    @pytest.mark.parametrize(
        "refused",
        [
            ("data.root=nowhere",),
            ("optim.batch_size=0",),
            ("data.test_fraction=0.6", "data.val_fraction=0.6"),
            ("encoder.weights=lost.pth",),
            ("features.store=taken/features",),
        ],
    )
    @pytest.mark.parametrize("verb", ["train", "crossval"])
    def test_none_is_left(self, verb: str, refused: tuple[str, ...], colour_folder: Path, store: str) -> None:
        Path("taken").touch()
        before = set(Path().iterdir())
        if verb == "crossval":
            refused = tuple(item.replace("data.test_fraction", "folds") for item in refused)
        outcome = activity(verb, store, *TINY, f"data.root={colour_folder}", "hydra.run.dir=runs/new", *refused)
        assert outcome.code == 2, outcome.err
        assert set(Path().iterdir()) == before

    def test_nor_where_no_clip_of_a_class_could_be_read(self, train: Callable[..., Outcome], tmp_path: Path) -> None:
        root = write_colour_folder(tmp_path / "videos", actors=3)
        for path in (root / "red").iterdir():
            path.write_bytes(b"")
        assert train("data.root=videos").code == 2
        assert not Path("run").exists()

    def test_nor_of_a_measure_or_a_sweep(self, checkpoint: Path, store: str, colour_folder: Path) -> None:
        evaluated = activity("evaluate", checkpoint, f"data.root={colour_folder}", "hydra.run.dir=runs/measured")
        assert_refused(evaluated, "split=all")
        swept = activity("train", "--multirun", store, "seed=0,1", "data.root=nowhere", "hydra.sweep.dir=runs/sweep")
        assert swept.code == 2
        assert ["nowhere" in message for message in swept.messages] == [True, True]
        assert list(Path().iterdir()) == []

    def test_what_was_there_stays(self, train: Callable[..., Outcome]) -> None:
        Path("run").mkdir()
        assert_refused(train("data.root=nowhere"), "nowhere")
        assert list(Path("run").iterdir()) == []

    def test_of_a_sweep_the_runs_that_were_not_refused_stay(self, store: str, colour_folder: Path) -> None:
        outcome = activity(
            *("train", "--multirun", store, *TINY, "trainer.max_epochs=1", f"data.root={colour_folder}", GROUP_PATTERN),
            *("data.test_fraction=0.17,0.9", "hydra.sweep.dir=runs"),
        )
        assert outcome.code == 2, outcome.err
        assert {path.name for path in Path("runs").iterdir()} == {"0", "multirun.yaml"}
        assert Path("runs/0/config.yaml").is_file()


class TestFoldersThatCannotBeWritten:
    # Below a regular file no folder can be made, not even by root.
    def test_the_run(self, colour_folder: Path, store: str) -> None:
        Path("taken").touch()
        outcome = activity("train", store, *TINY, f"data.root={colour_folder}", "hydra.run.dir=taken/run")
        assert_refused(outcome, "taken")

    def test_the_feature_store(self, colour_folder: Path) -> None:
        Path("taken").touch()
        outcome = activity(
            *("train", *TINY, f"data.root={colour_folder}", GROUP_PATTERN),
            *("features.store=taken/features", "hydra.run.dir=run"),
        )
        assert_refused(outcome, "taken")

    def test_a_resumed_run_whose_classes_have_changed(self, train: Callable[..., Outcome]) -> None:
        write_colour_folder(Path("videos"), actors=3)
        rows = [f"videos/{label}/actor{n}.mp4,{label},{n}" for label in ("blue", "red") for n in range(3)]
        table = csv_file("path,label,group", *rows)
        assert train("data=csv", "data.csv=clips.csv").code == 0
        table.write_text(table.read_text().replace(",blue,", ",violet,"))
        outcome = activity("train", "resume=run", "trainer.max_epochs=2")
        assert_refused(outcome, "learns the classes 'blue', 'red'", "now has 'red', 'violet'")

    def test_a_resumed_run_whose_checkpoint_is_damaged(self, trained_run: Path) -> None:
        run = Path("run").absolute()
        shutil.copytree(trained_run, run)
        cut_off(run / "checkpoints" / "last.ckpt", 0.5)
        outcome = activity("train", f"resume={run}", "trainer.max_epochs=9")
        assert_refused(outcome, run / "checkpoints" / "last.ckpt")
