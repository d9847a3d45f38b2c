"""One video, one answer: the test of a training run, and each verb that gives scores, in each format of a model."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

import activity.training.module as training
from activity import Timeline, load_recognizer
from tests.cli.command import activity
from tests.datasets import TINY, write_colour_video

# At 10 sampled frames a second and windows of four: 2, 4, 5, 16 features of the test clips.
TEST_FRAMES = {"shorter.mp4": 5, "one_window.mp4": 10, "bit_longer.mp4": 12, "longer.mp4": 40}
EXPORTED = (".ts", ".pt2", ".onnx", ".openvino")


def data_set(folder: Path) -> Path:
    lines = ["path,label,split"]
    for number, split in enumerate(("train", "train", "val")):
        for label in ("blue", "red"):
            write_colour_video(folder / f"{label}{number}.mp4", label, frames=15, seed=number)
            lines.append(f"{label}{number}.mp4,{label},{split}")
    for number, (name, frames) in enumerate(TEST_FRAMES.items()):
        label = ("blue", "red")[number % 2]
        write_colour_video(folder / name, label, frames=frames, seed=10 + number)
        lines.append(f"{name},{label},test")
    table = folder / "clips.csv"
    table.write_text("\n".join(lines))
    return table


@dataclass(frozen=True)
class Trained:
    """A run, and the scores that its test gave each clip."""

    checkpoint: Path
    table: Path
    scores: dict[str, list[float]]


def trained(folder: Path, *settings: str) -> Trained:
    """Train on the data set in `folder`."""
    tested: list[Tensor] = []
    real = training.clip_metrics

    def recording(scores: Tensor, labels: Tensor, class_names: list[str]) -> object:
        tested.append(scores)
        return real(scores, labels, class_names)

    table, run = data_set(folder), folder / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "clip_metrics", recording)
        outcome = activity(
            *("train", *TINY, "data=csv", f"data.csv={table}", f"hydra.run.dir={run}"),
            *("trainer.max_epochs=4", "optim.optimizer.lr=0.01", *settings),
        )
    assert outcome.code == 0, outcome.err
    # The clips do differ, or a comparison would say nothing.
    assert tested[0].std(dim=0).max() > 1e-3
    in_training = dict(zip(sorted(TEST_FRAMES), tested[0].tolist(), strict=True))  # splits are sorted by name
    return Trained(run / "checkpoints" / "best.ckpt", table, in_training)


def predicted(model: Path, folder: Path) -> dict[str, list[float]]:
    videos = [folder / name for name in TEST_FRAMES]
    outcome = activity("predict", model, *videos, "--format", "jsonl", "--top-k", "2", "--batch-frames", "7")
    assert outcome.code == 0, outcome.err
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    return {
        Path(line["source"]).name: [top["score"] for top in sorted(line["top"], key=lambda top: top["label"])]
        for line in lines
    }


def evaluated(model: Path, table: Path, folder: Path) -> dict[str, list[float]]:
    """The scores in what `evaluate` leaves; with features of its own, not those of the training."""
    outcome = activity(
        *("evaluate", model, "data=csv", f"data.csv={table}", f"features.store={folder / 'features'}"),
        f"hydra.run.dir={folder / 'evaluated'}",
    )
    assert outcome.code == 0, outcome.err
    with (folder / "evaluated" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"]: [float(row["score_blue"]), float(row["score_red"])] for row in csv.DictReader(file)}


def watched(model: Path, video: Path) -> list[float]:
    """The scores of all of a video that `watch` says at its end."""
    outcome = activity("watch", model, video, "--no-scores")
    assert outcome.code == 0, outcome.err
    scores = json.loads(outcome.out.splitlines()[-1])["scores"]
    return [scores[label] for label in sorted(scores)]


def of_timelines(model: Path, folder: Path) -> dict[str, list[float]]:
    results = load_recognizer(model).timelines([folder / name for name in TEST_FRAMES])
    return {Path(result.source).name: list(result.scores) for result in results if isinstance(result, Timeline)}


def assert_same(found: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    assert found.keys() == expected.keys()
    for name, scores in expected.items():
        assert found[name] == pytest.approx(scores, abs=1e-4), name


@pytest.mark.parametrize("modalities", ["[rgb]", "[rgb,motion]"])
def test_training_checkpoint_and_exported_file_agree(modalities: str, tmp_path: Path, store: str) -> None:
    run = trained(tmp_path, store, f"modalities={modalities}")
    exported = tmp_path / "model.ts"
    assert activity("export", run.checkpoint, exported).code == 0
    for model in (run.checkpoint, exported):
        assert_same(predicted(model, tmp_path), run.scores)
    assert_same({name: watched(exported, tmp_path / name) for name in TEST_FRAMES}, run.scores)
    assert_same(of_timelines(exported, tmp_path), run.scores)


@dataclass(frozen=True)
class Exported:
    """A run in float32, in which the formats differ by rounding alone, and the folder of its exported files."""

    run: Trained
    videos: Path
    models: Path


@pytest.fixture(scope="module")
def exported_to_all(tmp_path_factory: pytest.TempPathFactory, store: str) -> Exported:
    videos, models = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("models")
    run = trained(videos, store, "modalities=[rgb,motion]", "sampling.rgb_every=3", "features.precision=float32")
    outcome = activity("export", run.checkpoint, *(models / f"model{suffix}" for suffix in EXPORTED), "--clips", "1")
    assert outcome.code == 0, outcome.err
    return Exported(run, videos, models)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the exporters' libraries say of each other
@pytest.mark.parametrize("suffix", [".ckpt", *EXPORTED])
def test_every_format_gives_the_scores_of_the_training(suffix: str, exported_to_all: Exported, tmp_path: Path) -> None:
    run, videos = exported_to_all.run, exported_to_all.videos
    model = run.checkpoint if suffix == ".ckpt" else exported_to_all.models / f"model{suffix}"
    assert_same(predicted(model, videos), run.scores)
    assert_same(evaluated(model, run.table, tmp_path), run.scores)
    assert_same(of_timelines(model, videos), run.scores)
    assert watched(model, videos / "longer.mp4") == pytest.approx(run.scores["longer.mp4"], abs=1e-4)
