import io
import sys
from pathlib import Path
from typing import Any

import pytest

from activity.cli import files_progress
from activity.cli.files_progress import VideosProgress
from activity.cli.main import main
from activity.video.decoding import Decoding
from tests.videos import index_frames, write_video


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files opened, in order; every video is a short one until `_MOMENT_SECONDS` is set to 0."""
    opened: list[Path] = []
    real = Decoding.of_file

    def of_file(path: str, *arguments: Any, **options: Any) -> Decoding:
        opened.append(Path(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Decoding, "of_file", of_file)
    monkeypatch.setattr(files_progress, "_MOMENT_SECONDS", 1e9)
    return opened


def test_with_a_bar_too_each_file_is_opened_when_its_turn_comes_and_once(
    exported: Path, tmp_path: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [write_video(tmp_path / f"{number}.mp4", index_frames(10), fps=10) for number in range(3)]
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert main(["timeline", str(exported), str(tmp_path), "--output", str(tmp_path / "out.csv")]) == 0
    assert sorted(opened) == videos
    assert "3/3" in terminal.getvalue()


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
