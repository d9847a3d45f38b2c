from pathlib import Path

import pytest

from tests.video.mutations import read_all, write_mutations
from tests.videos import noise_frames, write_video

NAMES = ("a.mp4", "b.mkv", "c.avi", "d.webm", "e.ts", "f.mpg", "g.mov", "h.flv")


@pytest.mark.slow
def test_damaged_copies_end_with_frames_or_a_clear_error_and_never_with_a_crash(tmp_path: Path) -> None:
    videos = [write_video(tmp_path / name, noise_frames(60)) for name in NAMES]
    (tmp_path / "copies").mkdir()
    paths = write_mutations(videos, tmp_path / "copies", 160)
    outcomes, memory = read_all(paths, limit_seconds=10)  # they take 0.1 s at most
    assert [outcome.name for outcome in outcomes] == [path.name for path in paths]
    assert {outcome.kind for outcome in outcomes} == {"frames", "warning", "error"}  # and nothing that is not ours
    assert all(outcome.frames for outcome in outcomes if outcome.kind != "error")
    assert all(outcome.words for outcome in outcomes if outcome.kind != "frames")
    assert max(outcome.frames for outcome in outcomes) < 60 * 600 * 8  # gaps are filled up to ten minutes
    assert memory < 1_000
