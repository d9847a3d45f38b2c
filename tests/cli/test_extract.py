"""`activity extract`: filling, going on, bad stores, pruning."""

import errno
import re
import signal
import time
from pathlib import Path

import pytest

from activity.features.store import FeatureStore
from tests.cli.command import Outcome, activity, start
from tests.datasets import TINY, write_colour_folder, write_colour_video
from tests.videos import cut_off, noise_frames, write_video

OWN = [item for item in TINY if item.split("=")[0].split(".")[0] in ("encoder", "modalities", "sampling")]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_colour_folder(tmp_path / "videos", actors=3, frames=6)


def extract(*arguments: object) -> Outcome:
    return activity("extract", "data.root=videos", "features.store=store", *OWN, *arguments)


def entries(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.rglob("*.safetensors")}


def test_it_fills_the_store_says_how_much_and_leaves_no_folder(root: Path) -> None:
    outcome = extract()
    assert outcome.code == 0, outcome.err
    assert re.match(
        r"6 clips stored now, 0 already there, 0 failed; 18 frames in \S+ s \(\S+ frames/s\); store ", outcome.out
    )
    assert len(entries(Path("store"))) == 6
    assert sorted(path.name for path in Path().iterdir()) == ["store", "videos"]
    assert extract().out.startswith("0 clips stored now, 6 already there, 0 failed; 0 frames")


def test_training_decodes_nothing_afterwards(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extract("data.views=2").code == 0
    monkeypatch.setattr("activity.features.extract.VideoReader", None)
    outcome = activity(
        *("train", "data.root=videos", "features.store=store", *TINY, "data.views=2", "trainer.max_epochs=1"),
        "hydra.run.dir=run",
    )
    assert outcome.code == 0, outcome.err


def test_failures_are_listed_at_the_end_and_kept_out(root: Path) -> None:
    bad = root / "red" / "bad.mp4"
    bad.write_text("no video")
    outcome = extract()
    assert outcome.code == 1
    named, summary = outcome.messages
    assert str(bad) in named
    assert "1 of 7 clips could not be read" in summary
    assert outcome.out.startswith("6 clips stored now, 0 already there, 1 failed;")


def test_what_was_wrong_with_a_video_is_said_again_when_its_features_are_stored(root: Path) -> None:
    cut_off(write_video(root / "red" / "long.mkv", noise_frames(75, width=64, height=48)), 0.4)
    said = [[line for line in extract().err.splitlines() if "long.mkv" in line] for _ in range(2)]
    assert said[0] == said[1]
    assert "its frames end at 1." in said[0][0]


def test_flipped_bytes_are_found_said_and_computed_again(root: Path) -> None:
    extract()
    before = entries(Path("store"))
    path = next(Path("store").rglob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    outcome = extract()
    assert f"{path}: stored features are damaged; computing them again." in outcome.err
    assert outcome.out.startswith("1 clip stored now, 5 already there, 0 failed; 3 frames")
    assert entries(Path("store")) == before


def test_a_store_of_another_version_is_said(root: Path) -> None:
    entry = Path("store", "ab", f"{'ab' * 20}.safetensors")
    entry.parent.mkdir(parents=True)
    entry.touch()
    outcome = extract()
    assert outcome.code == 0
    assert "another version of activity" in outcome.err
    assert "extract --prune" in outcome.err


def test_a_full_disk_is_one_message_and_what_is_done_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = FeatureStore.write_blocks, [2]

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def until_full(*arguments: object) -> None:
        if not room[0]:
            monkeypatch.setattr("os.fsync", full)
        room[0] -= 1
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureStore, "write_blocks", until_full)
    outcome = extract()
    monkeypatch.undo()
    monkeypatch.chdir(root.parent)
    assert outcome.code == 2
    (message,) = outcome.messages
    assert "No space left on device" in message
    assert "it goes on where it was" in message
    assert len(entries(Path("store"))) == 2
    assert extract().out.startswith("4 clips stored now, 2 already there")


def test_a_store_that_cannot_be_made(root: Path) -> None:
    Path("store").touch()
    outcome = extract()
    assert outcome.code == 2
    assert "features cannot be stored in store" in outcome.messages[0]


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("features.precision=float16", "features.precision is 'float16'; accepted: one of auto, float32, bfloat16"),
        ("data.views=13", "data.views is 13; accepted: 1 (the plain frames alone) to 12"),
        ("data.views=0", "data.views is 0; accepted: a whole number from 1 up"),
        (
            "data.test_fraction=0.3",
            "data.test_fraction plays no role in activity extract: features are computed for all",
        ),
    ],
)
def test_settings_of_no_use(root: Path, override: str, part: str) -> None:
    outcome = extract(override)
    assert outcome.code == 2
    assert part in outcome.messages[0]
    assert not Path("store").exists()


def test_prune_removes_what_no_current_configuration_uses(root: Path) -> None:
    extract()
    extract("sampling.sample_fps=5")
    kept = entries(Path("store"))
    assert activity("extract", "--prune", "features.store=store").out == "removed 0 files, 0 bytes\n"
    shown = extract("--prune", "--dry-run")
    assert "6 files" in shown.out
    assert entries(Path("store")) == kept
    outcome = extract("--prune")
    assert outcome.code == 0, outcome.err
    assert "used by no current configuration" in outcome.out
    assert len(entries(Path("store"))) == 6
    assert extract().out.startswith("0 clips stored now, 6 already there")


def test_the_features_of_the_version_before_are_named_with_their_size_and_removed(root: Path) -> None:
    assert extract().code == 0
    (current,) = Path("store").glob("v*")
    before = current.rename(current.with_name(f"v{int(current.name[1:]) - 1}"))
    size = sum(path.stat().st_size for path in before.rglob("*.safetensors"))
    outcome = extract()
    assert outcome.code == 0
    assert outcome.out.startswith("6 clips stored now, 0 already there")
    assert f"store holds {size / 1e6:.1f} MB of features that another version of activity stored" in outcome.err
    assert activity("extract", "--prune", "features.store=store").code == 0
    assert not before.exists()
    assert len(entries(current)) == 6
    assert "another version" not in extract("data.views=2").err


def test_prune_of_a_store_without_records_removes_nothing(root: Path) -> None:
    outcome = activity("extract", "--prune", "features.store=store")
    assert outcome.code == 2
    assert "no record of a configuration" in outcome.messages[0]
    assert activity("extract", "--dry-run").code == 2


def test_prune_keeps_what_is_on_a_drive_that_is_not_mounted(root: Path) -> None:
    extract()
    root.rename("others")
    extract("data.root=others")
    Path("others").rename("away")
    write_colour_folder(Path("videos"), actors=1, frames=6)
    assert extract().code == 0
    before = entries(Path("store"))
    outcome = extract("--prune")
    assert outcome.code == 0, outcome.err
    assert f"{Path.cwd() / 'others'} cannot be found; the features that were computed for it are kept." in outcome.err
    assert "--forget-missing removes" in outcome.err
    assert entries(Path("store")) == before
    outcome = extract("--prune", "--forget-missing")
    assert outcome.code == 0, outcome.err
    assert "cannot be found" not in outcome.err
    assert len(entries(Path("store"))) == 2
    assert activity("extract", "--forget-missing").code == 2


def test_prune_keeps_what_evaluate_computed(root: Path) -> None:
    run = activity("train", "data.root=videos", "features.store=store", *TINY, "hydra.run.dir=run")
    assert run.code == 0, run.err
    write_colour_folder(Path("others"), actors=4, frames=7)
    outcome = activity(
        *("evaluate", "run/checkpoints/best.ckpt", "data.root=others", "split=all", "features.store=store"),
        "hydra.run.dir=evaluated",
    )
    assert outcome.code == 0, outcome.err
    before = entries(Path("store"))
    assert activity("extract", "--prune", "features.store=store").code == 0
    assert entries(Path("store")) == before


def test_prune_keeps_the_views_of_two_ways_to_split(root: Path) -> None:
    """Further views are those of the training clips, and each way has its own."""
    for seed in (0, 1):
        shuffled = sorted(root.rglob("*.mp4"), key=lambda path, seed=seed: (path.stem[-1] == str(seed), path.name))
        rows = [f"{path},{path.parent.name},{'test' if at > 3 else 'train'}" for at, path in enumerate(shuffled)]
        Path(f"splits{seed}.csv").write_text("\n".join(["path,label,split", *rows]))
        outcome = activity(
            *("train", "data.root=videos", "features.store=store", *TINY, "data.views=2", "trainer.max_epochs=1"),
            *(f"data.splits=splits{seed}.csv", f"hydra.run.dir=run{seed}"),
        )
        assert outcome.code == 0, outcome.err
    before = entries(Path("store"))
    assert len(before) == 6 + 6
    assert activity("extract", "--prune", "features.store=store").out == "removed 0 files, 0 bytes\n"
    assert entries(Path("store")) == before


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_very_same_store(root: Path, tmp_path: Path) -> None:
    for number in range(4):
        write_colour_video(root / "blue" / f"long{number}.mp4", "blue", frames=300, seed=number)
    arguments = ["extract", "data.root=videos", *OWN, "sampling.sample_fps=25"]
    assert activity(*arguments, "features.store=undisturbed").code == 0
    expected = entries(Path("undisturbed"))
    for most in (0, 1, 4):
        with start(*arguments, f"features.store=killed{most}", cwd=tmp_path) as process:
            deadline = time.monotonic() + 90
            store = tmp_path / f"killed{most}"
            while process.poll() is None and time.monotonic() < deadline:
                if store.exists() and len(entries(store)) >= most:
                    break
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert all(expected[name] == data for name, data in entries(store).items())
        assert activity(*arguments, f"features.store=killed{most}").code == 0
        assert entries(store) == expected


@pytest.mark.slow
def test_two_processes_fill_one_store(root: Path, tmp_path: Path) -> None:
    arguments = ["extract", "data.root=videos", *OWN, "features.store=store"]
    both = [start(*arguments, cwd=tmp_path) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    shared = entries(Path("store"))
    assert activity(*arguments[:-1], "features.store=alone").code == 0
    assert shared == entries(Path("alone"))
