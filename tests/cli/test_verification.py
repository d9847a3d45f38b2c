"""A file is held to the recognizer on clips: what differs is found, and the clip named."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from activity.cli.verification import Verification
from activity.data.clips import Clip, DataError
from activity.inference.scoring import score_videos
from activity.models.recognizer import Recognizer
from tests.datasets import write_colour_video
from tests.recognizers import CLASS_NAMES, tiny_encoder, tiny_recognizer


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    colours = ["red", "blue", "green", "red", "blue", "green"]
    return [
        Clip(
            path=write_colour_video(folder / f"{number}.mp4", colour, frames=20 + number),
            relative_path=f"{number}.mp4",
            label=CLASS_NAMES[number % len(CLASS_NAMES)],
            group=str(number),
        )
        for number, colour in enumerate(colours)
    ]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    torch.manual_seed(0)
    return tiny_recognizer(tiny_encoder())


class Changed:
    """A loaded file whose logits are not quite the recognizer's."""

    def __init__(self, recognizer: Recognizer, change: Any) -> None:
        self._recognizer, self._change = recognizer, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recognizer, name)

    def classify(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        logits: Tensor = self._change(self._recognizer.classify(features, lengths))
        return logits


class ChangedGraphs(Changed):
    """The same of a runtime that is not torch."""

    def __init__(self, recognizer: Recognizer, change: Any, computes_in: str) -> None:
        super().__init__(recognizer, change)
        self.computes_in, self.by_torch = computes_in, False


def test_the_same_passes_with_its_accuracy(recognizer: Recognizer, clips: list[Clip]) -> None:
    scored, _ = score_videos(
        recognizer, clips, batch_frames=8, decode_threads=1, device=torch.device("cpu"), on_progress=lambda _: None
    )
    said = [int(item.scores.argmax()) for item in scored]
    said[2] = (said[2] + 1) % len(CLASS_NAMES)  # one that it gets wrong
    known = [replace(clip, label=CLASS_NAMES[label]) for clip, label in zip(clips, said, strict=True)]
    verification = Verification(recognizer, known, labelled=True)
    found = verification.verify(Changed(recognizer, lambda logits: logits))  # type: ignore[arg-type]
    assert (found.problem, found.score_difference, found.equal_labels) == (None, 0.0, 1.0)
    assert found.accuracy == verification.of_recognizer.accuracy == pytest.approx(5 / 6)
    assert found.frames_per_second > 0
    assert Verification(recognizer, clips, labelled=False).of_recognizer.accuracy is None


def test_a_file_in_float32_may_label_otherwise_than_the_checkpoint_in_bfloat16_did(
    recognizer: Recognizer, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held to what torch gives in float32; how many labels are the same the table says."""
    monkeypatch.setattr(recognizer, "precision", "bfloat16")
    other = Changed(recognizer, lambda logits: logits.flip(1))
    monkeypatch.setattr("activity.cli.verification.same_in", lambda *_: other)
    verification = Verification(recognizer, clips, labelled=True)
    found = verification.verify(ChangedGraphs(recognizer, lambda logits: logits.flip(1), "float32"))
    assert (found.problem, found.compared_in, found.score_difference) == (None, "float32", 0.0)
    assert found.equal_labels < 1
    found = verification.verify(ChangedGraphs(recognizer, lambda logits: logits.flip(1), "int8"))
    assert found.problem is not None


def test_scores_that_differ_in_the_same_precision_are_a_problem_and_the_clip_is_named(
    recognizer: Recognizer, clips: list[Clip]
) -> None:
    verification = Verification(recognizer, clips, labelled=True)
    tilt = torch.arange(len(CLASS_NAMES)) * 0.01
    for changed in (
        Changed(recognizer, lambda logits: logits + tilt),
        ChangedGraphs(recognizer, lambda logits: logits + tilt, "float32"),
    ):
        found = verification.verify(changed)  # type: ignore[arg-type]
        assert found.problem is not None
        assert f"on {found.clip}, more than 0.0001" in found.problem
        assert found.score_difference > 1e-4


def test_another_precision_may_differ_while_the_labels_are_the_same(recognizer: Recognizer, clips: list[Clip]) -> None:
    verification = Verification(recognizer, clips, labelled=True)
    found = verification.verify(ChangedGraphs(recognizer, lambda logits: logits * 1.01, "int8"))
    assert (found.problem, found.equal_labels) == (None, 1.0)
    assert found.score_difference > 0
    found = verification.verify(ChangedGraphs(recognizer, lambda logits: -logits, "int8"))
    assert found.problem is not None
    assert "labels 6 of 6 clips otherwise than the checkpoint, 0.mp4 for one" in found.problem
    found = verification.verify(ChangedGraphs(recognizer, lambda logits: logits * torch.nan, "int8"))
    assert found.problem is not None
    assert "a score is no number, of 0.mp4 for one" in found.problem


def test_clips_that_cannot_be_read(recognizer: Recognizer, clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    broken = Clip(path=tmp_path / "broken.mp4", relative_path="broken.mp4", label=CLASS_NAMES[0], group="b")
    verification = Verification(recognizer, [*clips, broken], labelled=True)
    assert [item.clip for item in verification.failed] == [broken]
    assert len(verification.clips) == len(clips)
    for none in ([broken], []):
        with pytest.raises(DataError, match="no clip to verify the export on"):
            Verification(recognizer, none, labelled=True)


def test_a_clip_that_can_be_read_once_alone(
    recognizer: Recognizer, clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file, and of the recognizer in the precision of a file."""
    gone = replace(clips[0], path=tmp_path / "gone.mp4")
    shutil.copy(clips[0].path, gone.path)
    verification = Verification(recognizer, [gone, *clips[1:]], labelled=True)
    monkeypatch.setattr("activity.cli.verification.same_in", lambda *_: recognizer)
    gone.path.unlink()
    with pytest.raises(DataError, match=r"0\.mp4 could be read once, and not again"):
        verification._expected("bfloat16")
    with pytest.raises(DataError, match=r"0\.mp4 could be read once, and not again"):
        verification.verify(recognizer)
