"""Where the results of many sources go while they are computed, and how they stand in the end."""

import contextlib
import os
import re
from pathlib import Path

import pytest

from activity.cli.results import open_results
from tests.cli.command import activity
from tests.datasets import write_colour_video

TEXTS = {0: "a\n", 1: "half \udcff.mp4\n", 2: "c\nc\n", 3: ""}
WRITTEN = "header\na\nhalf \\udcff.mp4\nc\nc\n"


def test_a_file_holds_each_result_at_once_and_is_sorted_in_the_end(tmp_path: Path) -> None:
    real, path = tmp_path / "real.csv", tmp_path / "folder" / "link.csv"
    path.parent.mkdir()
    real.touch(mode=0o600)
    path.symlink_to(real)
    with open_results(str(path), "header\n") as write:
        for position in (2, 3, 1, 0):
            write(position, TEXTS[position])
            assert path.read_text().endswith(TEXTS[position].replace("\udcff", "\\udcff"))
    assert path.read_text() == WRITTEN
    assert (path.is_symlink(), real.stat().st_mode & 0o777) == (True, 0o600)
    assert sorted(tmp_path.iterdir()) == [path.parent, real]  # nothing is left beside it


def test_where_it_cannot_be_sorted_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with open_results(str(tmp_path / "a.jsonl"), "") as write:
        write(1, "b\n")
        write(0, "a\n")
    assert (tmp_path / "a.jsonl").read_text() == "b\na\n"
    assert "No space left" in capsys.readouterr().err


def test_standard_output_has_the_order_given(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    with open_results(None, "header\n") as write:
        for position in (2, 0, 3, 1):
            write(position, TEXTS[position].replace("\udcff", "ü"))
            shown.append(capsys.readouterr().out)
    assert shown == ["header\n", "a\n", "", "half ü.mp4\nc\nc\n"]


def test_after_ctrl_c_standard_output_has_all_that_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(KeyboardInterrupt), open_results(None, "") as write:
        write(2, "c\n")
        write(1, "b\n")
        raise KeyboardInterrupt
    assert capsys.readouterr().out == "b\nc\n"


@pytest.mark.parametrize(("verb", "name"), [("predict", "out.csv"), ("predict", "out.txt"), ("timeline", "out.csv")])
def test_a_long_video_that_is_given_first_stands_first(exported: Path, tmp_path: Path, verb: str, name: str) -> None:
    sources = [write_colour_video(tmp_path / f"{n}.mp4", "red", frames=n, seed=n) for n in (300, 6, 7)]
    outcome = activity(verb, exported, *sources, "gone.mp4", "--output", tmp_path / name)
    assert outcome.code == 1
    text = (tmp_path / name).read_text()
    places = [text.index(str(source)) for source in (*sources, "gone.mp4")]
    assert places == sorted(places)
    shown = activity(verb, exported, *sources, "gone.mp4", "--format", {"csv": "csv", "txt": "table"}[name[4:]]).out
    # Which frames are encoded together is chance, and moves a score in its last places.
    assert re.sub(r"(\.\d{4})\d+", r"\1", text) == re.sub(r"(\.\d{4})\d+", r"\1", shown)
