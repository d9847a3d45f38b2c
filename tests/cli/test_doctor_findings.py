"""What the doctor says of files and classes that training cannot use as they are."""

from pathlib import Path

import cv2
import pytest

from tests.cli.command import activity
from tests.cli.test_doctor import PATTERN, diagnose, findings, moving_frames, write_set
from tests.datasets import TINY
from tests.videos import cut_off, noise_frames, spoil, write_timed_video, write_video


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def test_a_loss_too_small_to_be_told_by_the_time_is_found(root: Path) -> None:
    cut_off(write_video(root / "run" / "actor0.avi", noise_frames(75)), 0.95)
    faststart = {"movflags": "faststart"}
    cut_off(write_video(root / "run" / "actor1.mp4", moving_frames(1), container_options=faststart), 0.9)
    spoil(write_video(root / "walk" / "actor0.avi", noise_frames(75)), 0.4, 0.5)
    document = diagnose(root, *PATTERN, code=1)
    found = findings(document)
    assert found["cut-off"] == ("error", [["run/actor0.avi"], ["run/actor1.mp4"]])
    assert found["damaged"] == ("error", [["walk/actor0.avi"]])
    assert "bytes that it declares are missing" in document["videos"][0]["damage"]


def test_a_class_that_training_would_stop_at_is_an_error(root: Path) -> None:
    for path in (root / "walk").iterdir():
        path.write_text(f"a page that says that {path.name} is gone")
    document = diagnose(root, *PATTERN, code=1)
    assert findings(document)["unreadable-class"] == ("error", [["walk"]])
    advice = {finding["code"]: finding["advice"] for finding in document["findings"]}
    assert "Training goes on without them as long as each class has others" in advice["unreadable"]
    table = activity("doctor", root, *PATTERN).out
    assert "1 class of which no clip to train on can be read: activity train stops" in " ".join(table.split())
    outcome = activity("train", f"data.root={root}", f"features.store={root}/store", f"hydra.run.dir={root}/run", *TINY)
    assert "of walk none is left to train on" in outcome.messages[-1]


def test_of_one_video_the_advice_speaks_in_the_singular(root: Path) -> None:
    (root / "run" / "actor0.mp4").write_bytes(b"")
    write_video(root / "run" / "actor1.mp4", moving_frames(1, 1))
    cut_off(write_video(root / "run" / "actor2.avi", noise_frames(75)), 0.6)
    write_video(root / "walk" / "actor2.mp4", moving_frames(4), rotation=90)
    for number, word in ((1, "it"), (2, "them")):
        found = diagnose(root, *PATTERN, "--window-frames", "1", code=1)["findings"]
        advice = {finding["code"]: finding["advice"] for finding in found}
        assert advice.keys() == {"unreadable", "single-frame", "cut-off", "rotated"}
        assert f"Training goes on without {word} as long" in advice["unreadable"]
        assert f"take {word} out" in advice["single-frame"]
        assert f"copy {word} again" in advice["cut-off"]
        assert ("where it plays upright" if number == 1 else "where they play upright") in advice["rotated"]
        (root / "run" / "actor8.mp4").write_bytes(b"x")
        write_video(root / "walk" / "actor7.mp4", moving_frames(2, 1))
        cut_off(write_video(root / "run" / "actor7.avi", noise_frames(80)), 0.6)
        write_video(root / "walk" / "actor6.mp4", moving_frames(6), rotation=90)


def test_good_videos_of_uncommon_kinds_are_not_called_bad(root: Path) -> None:
    interlaced = {"codec": "mpeg2video", "codec_options": {"flags": "+ildct+ilme"}}
    write_video(root / "run" / "actor0.mpg", moving_frames(0), **interlaced)
    write_video(root / "run" / "actor1.mkv", moving_frames(1), codec_options={"x264-params": "tff=1"})
    for seed, name in enumerate(("run/actor2.mkv", "run/actor3.webm", "walk/actor0.mp4"), 20):
        write_video(root / name, moving_frames(seed), sound_seconds=9.0)
    for path in ("run/actor0.mp4", "run/actor1.mp4", "run/actor2.mp4", "run/actor3.mp4"):
        (root / path).unlink()
    document = diagnose(root, *PATTERN, code=0)
    assert {code for code, (severity, _) in findings(document).items() if severity != "note"} == set()
    assert {video["name"]: video["damage"] for video in document["videos"] if video["damage"]} == {}


def test_of_a_halted_picture_the_gap_is_said_and_not_a_low_rate(root: Path) -> None:
    times = [40 * index + (15_000 if index > 37 else 0) for index in range(75)]
    write_timed_video(root / "run" / "actor0.mp4", moving_frames(1, 75), times)
    document = diagnose(root, *PATTERN, code=0)
    subjects = {finding["code"]: finding["subjects"] for finding in document["findings"]}
    assert "low-rate" not in subjects
    detail = "25 frames/s as a rule, longest gap 15.04 s"
    assert subjects["variable-rate"] == [{"names": ["run/actor0.mp4"], "detail": detail}]


def test_a_missing_file_in_other_upper_and_lower_case_is_shown(root: Path) -> None:
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.mp4"))]
    rows = "".join(f"{name},{name.partition('/')[0]}\n" for name in names)
    (root / "clips.csv").write_text("path,label\n" + rows.replace("run/actor0.mp4", "Run/Actor0.MP4"))
    found = {finding["code"]: finding for finding in diagnose(root / "clips.csv", code=1)["findings"]}
    (subject,) = found["missing"]["subjects"]
    assert subject["names"] == ["Run/Actor0.MP4"]
    assert "on disk it is 'run/actor0.mp4', in other upper and lower case" in subject["detail"]


def test_two_recordings_joined_are_told_by_their_size_and_an_unknown_rate_is_said(root: Path) -> None:
    larger = [cv2.resize(frame, (96, 72)) for frame in moving_frames(3)]
    parts = [write_video(root / "part.h264", frames).read_bytes() for frames in (moving_frames(2), larger)]
    (root / "part.h264").unlink()
    (root / "run" / "actor9.h264").write_bytes(b"".join(parts))
    jpegs = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in moving_frames(5)]
    (root / "walk" / "actor9.mjpeg").write_bytes(b"".join(jpegs))
    document = diagnose(root, *PATTERN, code=0)
    found = findings(document)
    assert found["size-changes"] == ("warning", [["run/actor9.h264"]])
    assert found["assumed"] == ("note", [["walk/actor9.mjpeg"]])
    details = {finding["code"]: finding["subjects"][0]["detail"] for finding in document["findings"]}
    assert details["size-changes"] == "64x48, 96x72"
    assert details["assumed"] == "it does not say its frame rate: 25 frames/s are assumed"
