"""What the doctor says of files and classes that training cannot use as they are."""

from pathlib import Path

import pytest

from tests.cli.command import activity
from tests.cli.test_doctor import PATTERN, diagnose, findings, moving_frames, write_set
from tests.datasets import TINY
from tests.videos import cut_off, noise_frames, spoil, write_video


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
