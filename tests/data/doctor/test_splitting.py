"""What the doctor says of splits, and of what they leave to train on."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from activity.data.clips import Clip, Manifest
from activity.data.doctor import Finding, Reading, Settings, VideoRecord, diagnose
from activity.data.doctor.facts import VideoFacts, probe_video
from activity.video.errors import VideoError
from tests.videos import index_frames, write_video

SETTINGS = Settings(sample_fps=10, window_frames=16, val_fraction=0.15, test_fraction=0.15, seed=0)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> VideoFacts:
    return probe_video(write_video(tmp_path_factory.mktemp("video") / "a.mp4", index_frames(50)))


def clips_of(*rows: str) -> tuple[Clip, ...]:
    """Clips from `LABEL GROUP SPLIT`, each of a file of its own; SPLIT - is none."""
    clips = []
    for number, row in enumerate(rows):
        label, group, split = row.split()
        name = f"{label}/{number}.mp4"
        path = Path("/data", name)
        given = None if split == "-" else split
        clips.append(Clip(path=path, relative_path=name, label=label, group=group, split=given))
    return tuple(clips)


def findings_of(
    clips: Sequence[Clip],
    facts: VideoFacts,
    *,
    unreadable: Sequence[int] = (),
    class_names: tuple[str, ...] = ("run", "walk"),
    groups_given: bool = True,
    published_split: str | None = None,
) -> dict[str, Finding]:
    manifest = Manifest(tuple(clips), class_names, Path("/data"), groups_given, published_split)
    error = VideoError("x", "it is not a video", "take it out")
    records = {
        clip.path: VideoRecord(clip.path, None, error, None)
        if number in unreadable
        else VideoRecord(clip.path, facts, None, None)
        for number, clip in enumerate(clips)
    }
    diagnosis = diagnose(Reading(manifest, manifest.clips, ()), records, (), settings=SETTINGS)
    about = ("group-leak", "overlap", "cannot-split", "absent-class", "unreadable-class")
    return {finding.code: finding for finding in diagnosis.findings if finding.code in about}


def subjects(finding: Finding) -> dict[str, str]:
    return {" = ".join(subject.names): subject.detail for subject in finding.subjects}


LEAKING = ("run ann train", "run ann test", "run bob val", "walk cem train", "walk dan val")


def test_a_group_that_leaks_is_said_once_and_hides_no_absent_class(facts: VideoFacts) -> None:
    found = findings_of(clips_of(*LEAKING), facts)
    assert set(found) == {"group-leak", "absent-class"}
    assert subjects(found["absent-class"]) == {"walk": "no clips in test"}


def test_a_group_that_leaks_hides_no_class_without_clips_to_train_on(facts: VideoFacts) -> None:
    found = findings_of(clips_of(*LEAKING, "jump eve test"), facts, class_names=("jump", "run", "walk"))
    assert set(found) == {"group-leak", "cannot-split"}
    assert found["cannot-split"].severity == "error"
    assert "1 class without clips to train on: 'jump'" in found["cannot-split"].summary
    assert subjects(found["cannot-split"]) == {"jump": "no clips in train"}


def test_a_published_split_that_leaks_hides_no_absent_class(facts: VideoFacts) -> None:
    found = findings_of(clips_of(*LEAKING), facts, published_split="split 1 of X")
    assert found["group-leak"].severity == "warning"
    assert subjects(found["absent-class"]) == {"walk": "no clips in test"}


def test_spans_that_overlap_on_two_sides_hide_no_other_file_on_two_sides(facts: VideoFacts) -> None:
    def span(number: int, start: float, end: float, split: str) -> Clip:
        name = f"run/{number}.mp4"
        where = {"path": Path("/data", name), "relative_path": name, "group": name, "split": split}
        return Clip(label="run", start_seconds=start, end_seconds=end, **where)  # type: ignore[arg-type]

    others = clips_of("walk a.mp4 train", "walk b.mp4 val", "walk c.mp4 test")
    overlapping = (span(8, 0, 1, "train"), span(8, 0.5, 1.5, "test"))
    assert set(findings_of((*others, *overlapping), facts, groups_given=False)) == {"overlap", "absent-class"}
    apart = (span(9, 0, 1, "train"), span(9, 1, 2, "val"))
    found = findings_of((*others, *overlapping, *apart), facts, groups_given=False)
    assert "run/9.mp4 (train, val)" in found["cannot-split"].summary


def test_classes_with_too_few_groups_are_named(facts: VideoFacts) -> None:
    rows = [f"run {group} -" for group in "abcd"] + ["walk e -", "walk e -", "jump f -"]
    found = findings_of(clips_of(*rows), facts, class_names=("jump", "run", "walk"))
    assert subjects(found["cannot-split"]) == {"jump": "1 clip in 1 group", "walk": "2 clips in 1 group"}


def test_a_class_of_which_nothing_can_be_read_is_an_error(facts: VideoFacts) -> None:
    clips = clips_of(*(f"{label} {group} -" for label in ("run", "walk") for group in "abcd"))
    found = findings_of(clips, facts, unreadable=(4, 5, 6, 7))
    assert found["unreadable-class"].severity == "error"
    assert set(subjects(found["unreadable-class"])) == {"walk"}
    assert "activity train stops" in found["unreadable-class"].summary
    assert "Replace each file" in found["unreadable-class"].advice
    assert findings_of(clips, facts, unreadable=(0,)) == {}  # two of run are trained on: one is left


def test_it_is_the_clips_to_train_on_that_count(facts: VideoFacts) -> None:
    rows = [f"{label} {label}{side} {side}" for label in ("run", "walk") for side in ("train", "val", "test")]
    found = findings_of(clips_of(*rows), facts, unreadable=(0, 4, 5))
    assert subjects(found["unreadable-class"]) == {"run": "1 clip to train on"}


def test_an_unreadable_class_is_said_beside_that_no_split_can_be_made(facts: VideoFacts) -> None:
    found = findings_of(clips_of(*(f"run {group} -" for group in "abcd"), "walk e -"), facts, unreadable=(4,))
    assert set(found) == {"cannot-split", "unreadable-class"}
