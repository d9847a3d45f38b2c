import contextlib
import json
import re
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.cli.command import activity, start
from tests.cli.test_interrupt import interrupt_when
from tests.data.layouts.trees import kinetics_csv, write_csv, write_hmdb51, write_ucf101
from tests.videos import Pixels, cut_off, noise_frames, write_timed_video, write_video

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


def moving_frames(seed: int, count: int = 50) -> list[Pixels]:
    """A bright square that wanders over a dark, uneven ground, along a path of its own."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(30, 120, (6, 8, 3), dtype=np.uint8), (64, 48))
    x, y = rng.uniform(0, 40), rng.uniform(0, 25)
    dx, dy = rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.3)
    frames = []
    for index in range(count):
        frame = ground.copy()
        left, top = int(x + dx * index) % 44, int(y + dy * index) % 30
        frame[top : top + 18, left : left + 18] = 240
        frames.append(frame)
    return frames


def write_set(root: Path, labels: Sequence[str] = ("run", "walk"), actors: int = 4) -> Path:
    for number, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for actor in range(actors):
            write_video(root / label / f"actor{actor}.mp4", moving_frames(10 * number + actor))
    return root


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("clean") / "set")


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "set"))


PATTERN = ("--group-pattern", r"(?P<group>actor\d+)")


def diagnose(*arguments: object, code: int) -> dict[str, Any]:
    outcome = activity("doctor", *arguments, "--format", "json", "--jobs", "2")
    assert outcome.code == code, outcome.err + outcome.out
    document: dict[str, Any] = json.loads(outcome.out)
    return document


def findings(document: dict[str, Any]) -> dict[str, tuple[str, list[list[str]]]]:
    return {f["code"]: (f["severity"], [s["names"] for s in f["subjects"]]) for f in document["findings"]}


def test_of_a_sound_data_set_nothing_is_found(clean: Path) -> None:
    document = diagnose(clean, *PATTERN, code=0)
    assert document["findings"] == []
    assert document["counts"] == {"error": 0, "warning": 0, "note": 0}
    assert document["groups"]["given"] == 4
    assert document["classes"][0] == {"name": "run", "clips": 4, "videos": 4, "groups": 4}
    assert document["durations_seconds"] == {"minimum": 2.0, "median": 2.0, "maximum": 2.0, "total": 16.0}
    assert document["sizes"] == [{"width": 64, "height": 48, "videos": 8}]
    assert document["codecs"] == [{"codec": "H.264", "videos": 8}]
    assert document["videos"][0]["frames"] == 50


def test_the_table_ends_with_a_verdict(clean: Path, root: Path) -> None:
    good = activity("doctor", clean, *PATTERN)
    assert good.code == 0
    assert good.out.rstrip().endswith("nothing was found that would spoil training.")
    (root / "run" / "actor0.mp4").write_text("no video")
    bad = activity("doctor", root, *PATTERN)
    assert bad.code == 1
    assert bad.out.rstrip().endswith("correct the errors before training.")
    assert "run/actor0.mp4: it is not a video" in bad.out
    assert max(map(len, bad.out.splitlines())) <= 80


def test_every_damage_of_a_video_is_found(root: Path) -> None:
    (root / "run" / "actor0.mp4").write_bytes(b"")
    write_video(root / "run" / "actor1.avi", noise_frames(75))
    cut_off(root / "run" / "actor1.avi", 0.5)
    write_video(root / "run" / "actor2.mp4", moving_frames(1, 1))
    write_video(root / "run" / "actor3.mp4", [np.zeros((48, 64, 3), np.uint8)] * 50)
    write_video(root / "walk" / "actor0.mp4", moving_frames(2, 1) * 50)
    times = np.cumsum([40, 40, 120] * 16 + [40, 40]).tolist()
    write_timed_video(root / "walk" / "actor1.mkv", moving_frames(3), times)
    write_video(root / "walk" / "actor2.mp4", moving_frames(4), rotation=90)
    write_video(root / "walk" / "actor3.mp4", moving_frames(5, 12))
    found = findings(diagnose(root, *PATTERN, code=1))
    assert found["unreadable"] == ("error", [["run/actor0.mp4"]])
    assert found["cut-off"] == ("error", [["run/actor1.avi"]])
    assert found["single-frame"] == ("warning", [["run/actor2.mp4"]])
    assert found["black"] == ("warning", [["run/actor3.mp4"]])
    assert found["frozen"] == ("warning", [["walk/actor0.mp4"]])
    assert found["variable-rate"] == ("note", [["walk/actor1.mkv"]])
    assert found["rotated"] == ("note", [["walk/actor2.mp4"]])
    assert ["walk/actor3.mp4"] in found["short"][1]


def test_copies_across_labels_and_groups_are_errors(root: Path) -> None:
    shutil.copy(root / "run" / "actor0.mp4", root / "walk" / "actor8.mp4")
    small = [cv2.resize(frame, (48, 36), interpolation=cv2.INTER_AREA) for frame in moving_frames(11)]
    write_video(root / "walk" / "actor9.mp4", small[2:])
    document = diagnose(root, *PATTERN, code=1)
    found = findings(document)
    assert found["identical"] == ("error", [["run/actor0.mp4", "walk/actor8.mp4"]])
    assert found["near-identical"] == ("error", [["walk/actor1.mp4", "walk/actor9.mp4"]])
    summaries = {finding["code"]: finding["summary"] for finding in document["findings"]}
    assert "across labels" in summaries["identical"]
    assert "in different groups" in summaries["near-identical"]


def test_a_copy_with_the_same_label_and_group_is_a_warning(root: Path) -> None:
    shutil.copy(root / "run" / "actor0.mp4", root / "run" / "actor0b.mp4")
    found = findings(diagnose(root, *PATTERN, code=0))
    assert found["identical"][0] == "warning"


def test_spans_splits_and_groups_of_a_table(root: Path) -> None:
    rows = ["path,label,start,end,group,split"]
    rows += [f"{a}/actor{i}.mp4,{a},,,g{i},{'train' if i < 3 else 'test'}" for a in ("run", "walk") for i in range(4)]
    shutil.copy(root / "run" / "actor1.mp4", root / "late.mp4")
    rows += ["late.mp4,run,1.5,9,g7,test", "nowhere.mp4,run,,,g8,train"]
    rows[1] = rows[1].replace("train", "test")  # run/actor0: its group is on both sides
    (root / "clips.csv").write_text("\n".join(rows))
    found = findings(diagnose(root / "clips.csv", code=1))
    assert found["group-leak"] == ("error", [["g0"]])
    assert found["missing"] == ("error", [["nowhere.mp4"]])
    assert found["span-outside"] == ("error", [["late.mp4"]])
    assert "short" not in found  # half a second of it is there, of a length that nobody knows
    assert found["identical"] == ("error", [["run/actor1.mp4", "late.mp4"]])
    assert found["layout"][0] == "warning"


def test_bad_rows_of_a_table_are_all_named_and_the_other_rows_examined(root: Path) -> None:
    rows = [f"{label}/actor{number}.mp4,{label},," for label in ("run", "walk") for number in range(4)]
    (root / "walk" / "actor3.mp4").write_bytes(b"")
    bad = ["run/actor0.mp4,run,2,1", "nowhere.mp4,run,,", "run/actor1.mp4,,,", "run/actor2.mp4,walk,x,"]
    (root / "clips.csv").write_text("\n".join(["path,label,start,end", *rows, *bad]))
    document = diagnose(root / "clips.csv", code=1)
    found = findings(document)
    assert found["bad-rows"] == ("error", [["line 10"], ["line 12"], ["line 13"]])
    assert found["missing"] == ("error", [["nowhere.mp4"]])
    assert found["unreadable"] == ("error", [["walk/actor3.mp4"]])
    assert [(item["name"], item["clips"]) for item in document["classes"]] == [("run", 5), ("walk", 4)]


def test_bad_rows_of_two_tables_are_told_apart(tmp_path: Path) -> None:
    for split, label in (("train", "run"), ("val", "walk")):
        write_moving(tmp_path / "k" / f"{label}0000000_000000_000010.mp4", label)
        text = kinetics_csv((label, f"{label}0000000", 0, split)) + f"{label},,x,10,{split},0\n"
        write_csv(tmp_path / "k" / "annotations", text, f"{split}.csv")
    bad = [finding for finding in diagnose(tmp_path / "k", code=1)["findings"] if finding["code"] == "bad-rows"]
    for finding, name in zip(bad, ("train.csv", "val.csv"), strict=True):
        assert f"1 row of '{tmp_path / 'k' / 'annotations' / name}'" in finding["summary"]


def test_overlapping_spans_with_two_labels_or_splits(root: Path) -> None:
    rows = ["path,label,start,end,split", "run/actor0.mp4,run,0,1,train", "run/actor0.mp4,walk,0.5,1.5,test"]
    rows += ["run/actor1.mp4,run,,,test", "walk/actor1.mp4,walk,,,train"]
    (root / "clips.csv").write_text("\n".join(rows))
    found = findings(diagnose(root / "clips.csv", code=1))
    assert found["overlap"] == ("error", [["run/actor0.mp4"]])
    assert found["overlapping-labels"] == ("warning", [["run/actor0.mp4"]])


def test_groups_are_guessed_and_called_a_guess(clean: Path) -> None:
    document = diagnose(clean, code=0)
    (finding,) = document["findings"]
    assert (finding["code"], finding["severity"]) == ("no-groups", "note")
    assert "this is a guess" in finding["summary"]
    assert document["groups"]["guessed"] == 4
    assert f"data.group_pattern='{document['groups']['guessed_pattern']}'" in finding["advice"]


def test_given_splits_that_separate_guessed_groups_are_a_warning(clean: Path, tmp_path: Path) -> None:
    for actor in range(4):
        for label in ("run", "walk"):
            side = "train" if actor < 3 or label == "run" else "test"
            target = tmp_path / "set" / side / label / f"actor{actor}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clean / label / f"actor{actor}.mp4", target)
    found = findings(diagnose(tmp_path / "set", code=0))
    assert found["guessed-group-leak"] == ("warning", [["actor3"]])
    assert found["absent-class"][0] == "warning"


def test_imbalance_and_class_order(root: Path) -> None:
    (root / "walk" / "actor1.mp4").unlink()
    (root / "walk" / "actor2.mp4").unlink()
    (root / "walk" / "actor3.mp4").unlink()
    (root / "classInd.txt").write_text("1 walk\n2 run\n")
    document = diagnose(root, *PATTERN, "--layout", "folder", code=1)
    found = findings(document)
    assert found["imbalance"] == ("note", [["walk"]])
    assert found["class-order"] == ("warning", [[str(root / "classInd.txt")]])
    assert found["cannot-split"][0] == "error"
    assert any("data.balance=loss" in finding["advice"] for finding in document["findings"])


def test_a_data_set_without_a_manifest_is_read_all_the_same(root: Path) -> None:
    shutil.rmtree(root / "walk")
    (root / "run" / "actor0.mp4").write_bytes(b"")
    document = diagnose(root, code=1)
    found = findings(document)
    assert found["unusable"][0] == "error"
    assert found["unreadable"] == ("error", [["run/actor0.mp4"]])
    assert len(document["videos"]) == 4


def test_names_of_any_kind_are_shown(clean: Path, tmp_path: Path) -> None:
    for label in ("[red]x", "läuft 走る", "[/bold]", "a\x1b[31mb\nc"):
        target = tmp_path / "set" / label
        shutil.copytree(clean / "run", target)
    (tmp_path / "set" / "[red]x" / "[bold]actor9.mp4").write_bytes(b"")
    outcome = activity("doctor", tmp_path / "set")
    assert outcome.code == 1
    assert "\x1b" not in outcome.out + outcome.err
    for text in (r"a\x1b[31mb\nc", "[red]x", "läuft 走る", "[/bold]", "[red]x/[bold]actor9.mp4: the file is empty"):
        assert text in outcome.out


def test_the_result_goes_to_a_file(clean: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    outcome = activity("doctor", clean, *PATTERN, "--format", "json", "--output", path)
    assert (outcome.code, outcome.out) == (0, "")
    assert json.loads(path.read_text())["clips"] == 8


@pytest.mark.parametrize("flag", [("--jobs", "0"), ("--sample-fps", "-1"), ("--format", "xml")])
def test_wrong_use(clean: Path, flag: tuple[str, str]) -> None:
    assert activity("doctor", clean, *flag).code == 2


@pytest.mark.parametrize("flag", ["--root", "--split"])
def test_flags_of_other_layouts_are_refused(clean: Path, flag: str) -> None:
    outcome = activity("doctor", clean, flag, "2")
    assert outcome.code == 2
    (message,) = outcome.messages
    assert f"{flag} plays no role here: {clean} is a folder, read with the layout 'folder'. Accepted with" in message


def test_the_flags_of_a_layout_are_taken(clean: Path, tmp_path: Path) -> None:
    rows = [f"{label}/actor{n}.mp4,{label},{n}" for label in ("run", "walk") for n in range(4)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,group", *rows]))
    assert diagnose(tmp_path / "clips.csv", "--root", clean, code=0)["clips"] == 8
    root = write_ucf101(tmp_path / "ucf", groups=(1, 8, 9), write=write_moving)
    document = diagnose(root, "--split", "2", code=1)  # one group to train on is too few
    assert [(item["train"], item["test"]) for item in document["classes"]] == [(1, 2)] * 5


def test_a_data_set_without_a_usable_clip(tmp_path: Path) -> None:
    (tmp_path / "folder" / "run").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("path,label\nmissing.mp4,run\n")
    for name in ("folder", "empty", "table.csv"):
        outcome = activity("doctor", tmp_path / name)
        assert outcome.code in (1, 2), name
        assert "Traceback" not in outcome.err
        assert name in outcome.out + outcome.err


def test_nothing_there_and_an_output_over_the_data(root: Path) -> None:
    outcome = activity("doctor", root / "nowhere")
    assert (outcome.code, len(outcome.messages)) == (2, 1)
    victim = root / "run" / "actor0.mp4"
    before = victim.read_bytes()
    assert activity("doctor", root, "--output", victim).code == 2
    assert victim.read_bytes() == before


def test_sampling_decides_what_is_short(clean: Path) -> None:
    found = findings(diagnose(clean, *PATTERN, "--window-frames", "30", code=0))
    assert len(found["short"][1]) == 8


def write_moving(path: Path, label: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, moving_frames(zlib.crc32(f"{label} {path.name}".encode())))


def test_a_ucf101_tree_by_its_official_split_and_the_trap_of_sorted_names(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path / "ucf", groups=(1, 8, 9), write=write_moving)
    document = diagnose(root, code=0)
    names = [item["name"] for item in document["classes"]]
    assert names == ["Hammering", "HammerThrow", "HandstandPushups", "JumpingJack", "JumpRope"]
    assert document["classes"][0] | {"train": 2, "val": 0, "test": 1, "groups": 3} == document["classes"][0]
    assert document["findings"] == []
    as_folder = findings(diagnose(root / "UCF-101", "--layout", "folder", code=0))
    assert as_folder["class-order"] == ("warning", [[str(root / "ucfTrainTestlist" / "classInd.txt")]])


def test_a_copy_on_two_sides_of_an_official_split_is_not_the_users_to_mend(tmp_path: Path) -> None:
    root = write_ucf101(tmp_path / "ucf", groups=(1, 8, 9), write=write_moving)
    test, train = (sorted((root / "UCF-101" / "JumpRope").glob(f"*_g{group}_*"))[0] for group in ("01", "08"))
    shutil.copyfile(test, train)
    (finding,) = diagnose(root, code=0)["findings"]
    assert (finding["code"], finding["severity"]) == ("identical", "warning")
    assert "split 1 of UCF101, used as published" in finding["advice"]


def test_that_no_split_can_be_made_of_copies_is_said(tmp_path: Path) -> None:
    root = tmp_path / "few"
    for label in ("red", "blue"):
        for name in "xyz":
            write_moving(root / label / f"{name}.mp4", label)
    assert findings(diagnose(root, code=0)).keys() <= {"no-groups", "short"}
    shutil.copyfile(root / "red" / "x.mp4", root / "red" / "z.mp4")
    found = findings(diagnose(root, code=1))
    assert found["cannot-split"][0] == "error"


def test_an_hmdb51_tree_by_its_official_split(tmp_path: Path) -> None:
    root = write_hmdb51(tmp_path / "hmdb", write=write_moving)
    document = diagnose(root, code=0)
    assert [(item["name"], item["train"], item["test"]) for item in document["classes"]] == [
        ("kick_ball", 3, 1),
        ("ride_bike", 2, 1),
    ]
    (finding,) = document["findings"]
    assert (finding["code"], finding["severity"]) == ("layout", "note")
    assert "1 of 8 listed videos not used" in finding["summary"]


def test_a_kinetics_tree_with_a_missing_video_and_a_bad_row(tmp_path: Path) -> None:
    rows = [
        (label, f"{label[:2]}{number:09d}", number, "test" if number > 3 else "train")
        for label in ("abseiling", "air drumming")
        for number in range(5)
    ]
    for label, video, begin, split in rows:
        write_moving(tmp_path / "k" / split / label / f"{video}_{begin:06d}_{begin + 10:06d}.mp4", label)
    gone = ("abseiling", "gone0000000", 7, "train")
    bad = "abseiling,,x,10,train,0\n"
    write_csv(tmp_path / "k" / "annotations", kinetics_csv(*rows, gone) + bad, "train.csv")
    document = diagnose(tmp_path / "k", code=1)
    assert findings(document)["bad-rows"] == ("error", [["line 13"]])
    assert [(item["name"], item["clips"]) for item in document["classes"]] == [("abseiling", 6), ("air drumming", 5)]
    assert findings(document)["missing"] == ("error", [["train/abseiling/gone0000000_000007_000017.mp4"]])


@pytest.mark.parametrize(("number", "severity"), [(2, None), (3, "note"), (9, "note"), (10, "warning")])
def test_classes_of_unlike_size(tmp_path: Path, number: int, severity: str | None) -> None:
    for label, count in (("run", number), ("walk", 1)):
        (tmp_path / label).mkdir()
        for index in range(count):
            write_video(tmp_path / label / f"{index}.mp4", moving_frames(index, 2))
    document = diagnose(tmp_path, code=1)  # one clip cannot be split
    assert findings(document).get("imbalance", (None,))[0] == severity


def test_of_one_it_speaks_in_the_singular(root: Path) -> None:
    (root / "run" / "actor0.mp4").write_bytes(b"")
    write_video(root / "run" / "actor1.mp4", moving_frames(1, 1))
    outcome = activity("doctor", root, *PATTERN)
    assert "1 video that cannot be read." in outcome.out
    assert "1 sampled frame in" in outcome.out
    assert not re.search(r"\b1 (videos|clips|classes|groups|files|sets|frames|errors|warnings|notes)\b", outcome.out)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="says which files a process has open")
def test_ctrl_c_ends_it_at_once_without_a_traceback(root: Path) -> None:
    long = write_video(root / "run" / "long0.avi", noise_frames(20) * 40)
    for number in range(1, 100):
        (root / "run" / f"long{number}.avi").hardlink_to(long)
    process = start("doctor", root, "--jobs", "1", cwd=root)
    open_files = Path(f"/proc/{process.pid}/fd")

    def reads_a_long_one() -> bool:
        with contextlib.suppress(OSError):  # closed meanwhile
            return any("long" in str(link.readlink()) for link in open_files.iterdir())
        return False

    code, errors = interrupt_when(process, reads_a_long_one)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("activity doctor: interrupted")


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the development videos are not beside the checkout")
@pytest.mark.parametrize("path", ["weizmann", "surv-fight/clips.csv"])
def test_of_real_data_sets_nothing_is_found_that_spoils_training(path: str) -> None:
    document = diagnose(REAL_DATA / path, code=0)
    assert {f["severity"] for f in document["findings"]} <= {"note"}
