"""One video, one answer: the test of a training run, `predict` on checkpoint and exported file, `timeline`, `watch`."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import activity.training.module as training
from activity import Timeline, load_recognizer
from tests.cli.command import activity
from tests.datasets import TINY, write_colour_video

# At 10 sampled frames a second and windows of four: 2, 4, 5, 16 features of the test clips.
TEST_FRAMES = {"shorter.mp4": 5, "one_window.mp4": 10, "bit_longer.mp4": 12, "longer.mp4": 40}


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


def predicted(model: Path, folder: Path) -> dict[str, list[float]]:
    videos = [folder / name for name in TEST_FRAMES]
    outcome = activity("predict", model, *videos, "--format", "jsonl", "--top-k", "2", "--batch-frames", "7")
    assert outcome.code == 0, outcome.err
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    return {
        Path(line["source"]).name: [top["score"] for top in sorted(line["top"], key=lambda top: top["label"])]
        for line in lines
    }


def watched(model: Path, video: Path) -> list[float]:
    """The scores of all of a video that `watch` says at its end."""
    outcome = activity("watch", model, video, "--no-scores")
    assert outcome.code == 0, outcome.err
    scores = json.loads(outcome.out.splitlines()[-1])["scores"]
    return [scores[label] for label in sorted(scores)]


def of_timelines(model: Path, folder: Path) -> dict[str, list[float]]:
    results = load_recognizer(model).timelines([folder / name for name in TEST_FRAMES])
    return {Path(result.source).name: list(result.scores) for result in results if isinstance(result, Timeline)}


@pytest.mark.parametrize("modalities", ["[rgb]", "[rgb,motion]"])
def test_training_checkpoint_and_exported_file_agree(
    modalities: str, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[Tensor] = []
    real = training.clip_metrics

    def recording(scores: Tensor, labels: Tensor, class_names: list[str]) -> object:
        tested.append(scores)
        return real(scores, labels, class_names)

    monkeypatch.setattr(training, "clip_metrics", recording)
    table = data_set(tmp_path)
    run = tmp_path / "run"
    outcome = activity(
        *("train", store, *TINY, f"modalities={modalities}", "data=csv", f"data.csv={table}", f"hydra.run.dir={run}"),
        *("trainer.max_epochs=4", "optim.optimizer.lr=0.01"),
    )
    assert outcome.code == 0, outcome.err
    in_training = dict(zip(sorted(TEST_FRAMES), tested[0].tolist(), strict=True))  # splits are sorted by name
    exported = tmp_path / "model.ts"
    assert activity("export", run / "checkpoints" / "best.ckpt", exported).code == 0
    of_checkpoint, of_exported = (predicted(model, tmp_path) for model in (run / "checkpoints/best.ckpt", exported))
    for name in TEST_FRAMES:
        assert of_checkpoint[name] == pytest.approx(in_training[name], abs=1e-4), name
        assert of_exported[name] == pytest.approx(in_training[name], abs=1e-4), name
        assert watched(exported, tmp_path / name) == pytest.approx(in_training[name], abs=1e-4), name
    for name, scores in of_timelines(exported, tmp_path).items():
        assert scores == pytest.approx(in_training[name], abs=1e-4), name
    # The clips do differ, or the comparison would say nothing.
    assert torch.tensor(list(in_training.values())).std(dim=0).max() > 1e-3
