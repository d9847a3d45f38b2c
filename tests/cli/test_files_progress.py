from pathlib import Path

import pytest

from activity.cli import files_progress
from activity.cli.files_progress import VideosProgress
from tests.videos import index_frames, write_video


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files opened for their length, in order; a moment lasts until `_MOMENT_SECONDS` is set to 0."""
    opened: list[Path] = []
    real = files_progress.declared_seconds

    def declared_seconds(path: Path) -> float | None:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(files_progress, "declared_seconds", declared_seconds)
    monkeypatch.setattr(files_progress, "_MOMENT_SECONDS", 1e9)
    return opened


def test_the_bar_moves_within_a_long_video_and_counts_the_short_ones_without_opening_any(
    tmp_path: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "long.mp4", index_frames(40), fps=10)
    shown: list[tuple[float, float]] = []
    progress = VideosProgress(["short.mp4", str(video), "broken.mp4"], lambda *numbers: shown.append(numbers))
    progress.read(0, 1.0)
    progress.finish(0)
    assert (shown[-1], opened) == ((1, 1.0), [])
    monkeypatch.setattr(files_progress, "_MOMENT_SECONDS", 0.0)
    for _ in range(3):
        progress.read(1, 1.0)
    assert (shown[-1], opened) == ((1.75, 4.0), [video])
    progress.read(1, 9.0)  # longer than it says
    assert shown[-1] == (2, 13.0)
    progress.finish(2)  # before the one that is being read
    assert shown[-1] == (3, 13.0)
    progress.finish(1)
    assert shown[-1] == (3, 13.0)


def test_without_a_bar_no_file_is_opened(opened: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_progress, "_MOMENT_SECONDS", 0.0)
    with files_progress.videos_progress(["a.mp4"], shown=False) as progress:
        progress.read(0, 1.0)
        progress.finish(0)
    assert opened == []
