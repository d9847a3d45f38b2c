import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from activity.data.doctor import SurveyProgress, survey_videos
from activity.data.doctor.facts import VideoFacts
from tests.videos import index_frames, write_video


def test_digests_are_made_only_of_files_of_one_size(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{number}.mp4", index_frames(5)) for number in range(2)]
    paths.append(write_video(tmp_path / "other.mp4", index_frames(9)))
    steps: list[SurveyProgress] = []
    records = survey_videos(paths, jobs=2, on_progress=steps.append)
    assert list(records) == paths
    assert records[paths[0]].digest == records[paths[1]].digest is not None
    assert records[paths[2]].digest is None
    assert (steps[-1].done, steps[-1].videos, steps[-1].oldest) == (3, 3, None)


def test_what_ends_the_caller_ends_the_reading_in_the_midst_of_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4", index_frames(5))
    ended = threading.Event()

    def probe_for_long(path: Path, *, on_frame: Callable[[], None]) -> VideoFacts:
        try:
            while True:
                on_frame()
                time.sleep(0.01)
        finally:
            ended.set()

    def interrupt(state: SurveyProgress) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("activity.data.doctor.survey.probe_video", probe_for_long)
    with pytest.raises(KeyboardInterrupt):
        survey_videos([path], jobs=1, on_progress=interrupt)
    assert ended.is_set()
