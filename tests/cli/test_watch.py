import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import CHECKOUT, activity, start
from tests.cli.test_timeline import long_video, spans

__all__ = ["long_video"]


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_gives_the_segments_of_its_timeline(exported: Path, long_video: Path) -> None:
    outcome = activity("watch", exported, long_video)
    assert (outcome.code, outcome.err) == (0, "")
    *found, summary = events(outcome.out)
    changes = [event for event in found if event["event"] in ("start", "end")]
    segments = [
        (one["label"], one["time_seconds"], other["time_seconds"])
        for one, other in zip(changes[::2], changes[1::2], strict=True)
    ]
    assert segments == spans(activity("timeline", exported, long_video, "--format", "jsonl", "--no-background").out)
    assert [event["time_seconds"] for event in found if event["event"] == "scores"] == [0, 1, 2, 3, 4, 5, 6]
    assert list(changes[0]) == ["event", "label", "score", "time_seconds", "wall_time", "latency_ms"]
    assert summary["event"] == "summary"
    assert (summary["frames"], summary["sampled"], summary["dropped"], summary["lost"]) == (175, 70, 0, 0)
    assert sorted(summary["latency_ms"]) == ["p50", "p95", "p99"]  # type: ignore[call-overload]


def test_its_scores_are_those_of_predict(exported: Path, long_video: Path) -> None:
    *_, summary = events(activity("watch", exported, long_video, "--no-scores").out)
    (predicted,) = events(activity("predict", exported, long_video, "--format", "jsonl", "--top-k", "2").out)
    scores = {entry["label"]: entry["score"] for entry in predicted["top"]}  # type: ignore[attr-defined]
    assert summary["scores"] == pytest.approx(scores, abs=1e-4)


def test_how_often_scores_are_given(exported: Path, long_video: Path) -> None:
    def count(*flags: str) -> int:
        return sum(event["event"] == "scores" for event in events(activity("watch", exported, long_video, *flags).out))

    assert (count("--scores-every", "0"), count("--scores-every", "3.5"), count("--no-scores")) == (70, 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(exported: Path, long_video: Path, tmp_path: Path, number: int) -> None:
    with start("watch", exported, long_video, "--realtime", "--scores-every", "0", cwd=tmp_path) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        begun = time.monotonic()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert time.monotonic() - begun < 20
    assert (process.returncode, errors) == (0, "")
    *found, summary = events("".join(lines) + rest)
    assert summary["event"] == "summary"
    assert 0 < summary["time_seconds"] < 7.0  # type: ignore[operator]
    kinds = [event["event"] for event in found if event["event"] != "scores"]
    assert kinds == ["start", "end"] * (len(kinds) // 2)


@pytest.mark.slow
def test_as_a_background_job_of_a_script_it_passes_over_ctrl_c(exported: Path, long_video: Path) -> None:
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "activity.cli.main"]
    with subprocess.Popen(
        [*ignoring, "watch", exported, long_video, "--realtime"], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert events(first + rest)[-1]["time_seconds"] == 7.0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nothing.mp4", "no such file"),
        ("97", "camera"),
        ("rtsp://user:secret@127.0.0.1:9/stream", "127.0.0.1:9/stream"),
        ("gopher://127.0.0.1/film", "gopher"),
    ],
)
def test_a_source_that_is_not_there(exported: Path, source: str, said: str) -> None:
    outcome = activity("watch", exported, source)
    assert (outcome.code, outcome.out) == (1, "")
    assert said in outcome.err
    assert "secret" not in outcome.err + outcome.out
    assert "Traceback" not in outcome.err


def test_a_window_without_a_screen(exported: Path, long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    outcome = activity("watch", exported, long_video, "--display")
    assert outcome.code == 1
    assert "no screen" in outcome.err


@pytest.mark.parametrize(
    ("source", "flags", "said"),
    [
        ("", ["--no-scores", "--scores-every", "2"], "contradict"),
        ("", ["--stall-seconds", "5"], "--stall-seconds is for cameras"),
        ("0", ["--realtime"], "--realtime is for files"),
        ("0", ["--stall-seconds", "0"], "no number above 0"),
        ("", ["--enter-score", "0.1"], "leave_score is 0.35, above enter_score"),
    ],
)
def test_flags_that_would_do_nothing(
    exported: Path, long_video: Path, source: str, flags: list[str], said: str
) -> None:
    outcome = activity("watch", exported, source or long_video, *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err


@pytest.mark.parametrize("verb", ["predict", "timeline"])
def test_an_address_is_no_file_and_its_password_is_not_printed(exported: Path, verb: str) -> None:
    outcome = activity(verb, exported, "rtsp://user:secret@127.0.0.1:9/stream", "--format", "jsonl")
    assert outcome.code == 1
    assert "activity watch" in outcome.err
    (line,) = events(outcome.out)
    assert line["source"] == "rtsp://127.0.0.1:9/stream"
    assert "secret" not in outcome.out + outcome.err
    swapped = activity("watch", "rtsp://user:secret@127.0.0.1:9/stream", exported)
    assert swapped.code == 2
    assert "secret" not in swapped.err
