import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from activity.data.clips import Clip
from activity.features.spans import FillWarning
from activity.inference import scoring
from activity.inference.scoring import score_videos
from activity.inference.windows import WindowScorer
from tests.recognizers import tiny_recognizer
from tests.videos import noise_frames, write_video

SETTINGS: dict[str, Any] = {"batch_frames": 4, "decode_threads": 1, "device": torch.device("cpu")}


def clip_of(path: Path, start: float = 0.0, end: float | None = None) -> Clip:
    return Clip(path=path, relative_path=path.name, label="run", start_seconds=start, end_seconds=end, group=path.name)


def test_what_is_remembered_of_a_clip_is_let_go_when_its_video_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand clips do not take twenty thousand times the memory of one."""
    alive: weakref.WeakSet[WindowScorer] = weakref.WeakSet()
    most = 0

    class CountedScorer(WindowScorer):
        def push(self, features: torch.Tensor) -> None:
            nonlocal most
            alive.add(self)
            gc.collect()
            most = max(most, len(alive))
            super().push(features)

    monkeypatch.setattr(scoring, "WindowScorer", CountedScorer)
    clips = [clip_of(write_video(tmp_path / f"{number}.avi", noise_frames(25))) for number in range(6)]
    good, scores, failed = score_videos(tiny_recognizer(), clips, on_progress=lambda _: None, **SETTINGS)
    assert good == clips
    assert failed == []
    assert [float(own.sum()) for own in scores] == pytest.approx([1.0] * 6)
    assert 1 <= most <= 3  # a batch reaches into the next video


def test_clips_of_one_video_are_scored_by_their_own_frames_and_what_is_wrong_with_a_span_is_said(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "three seconds.mp4", noise_frames(75), fps=25)
    clips = [clip_of(path), clip_of(path, 1, 2), clip_of(path, 2, 9), clip_of(path, 8, 9), clip_of(path, 0.11, 0.12)]
    with pytest.warns(FillWarning, match=r"the span ends at 9 s but the video at 3\.00 s"):
        good, scores, failed = score_videos(tiny_recognizer(), clips, on_progress=lambda _: None, **SETTINGS)
    assert good == clips[:3]
    assert [item.clip for item in failed] == clips[3:]
    assert "begins after the video ends (3.00 s)" in failed[0].error
    assert "holds no sampled frame" in failed[1].error
    alone = [
        score_videos(tiny_recognizer(), [clip], on_progress=lambda _: None, **SETTINGS)[1][0] for clip in clips[:2]
    ]
    torch.testing.assert_close(scores[:2], alone, rtol=0, atol=1e-5)
