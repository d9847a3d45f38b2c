"""What is said of a data set once its features are there."""

from dataclasses import replace
from pathlib import Path

from activity.data.clips import Clip, Manifest
from activity.data.doctor import ClassList, Finding, ReadClip, read_findings


def read(name: str, label: str = "run", **facts: object) -> ReadClip:
    clip = Clip(path=Path("/data", name), relative_path=name, label=label, group=name)
    good = ReadClip(clip=clip, side="train", content=name, length=16, video_seconds=None, is_damaged=False)
    return replace(good, **facts)


def findings_of(*clips: ReadClip, class_lists: tuple[ClassList, ...] = ()) -> dict[str, Finding]:
    clips = (*clips, read("run/good.mp4", "run"), read("walk/good.mp4", "walk"))
    manifest = Manifest(tuple(item.clip for item in clips), ("run", "walk"), Path("/data"), groups_given=False)
    found = read_findings(manifest, clips, class_lists, sample_fps=10, window_frames=16)
    assert len({finding.code for finding in found}) == len(found)
    return {finding.code: finding for finding in found}


def names(finding: Finding) -> list[tuple[str, ...]]:
    return [subject.names for subject in finding.subjects]


def test_of_good_clips_nothing_is_said() -> None:
    assert findings_of() == {}


def test_copies_with_two_labels_are_an_error_whatever_side_they_are_on() -> None:
    finding = findings_of(read("a.mp4", content="1f"), read("b.mp4", "walk", content="1f", side="test"))["identical"]
    assert (finding.severity, names(finding)) == ("error", [("a.mp4", "b.mp4")])
    assert "across labels" in finding.summary
    assert finding.subjects[0].detail == "labels run, walk"


def test_copies_on_two_sides_are_an_error() -> None:
    finding = findings_of(read("a.mp4", content="1f"), read("b.mp4", content="1f", side="test"))["identical"]
    assert (finding.severity, "across splits" in finding.summary) == ("error", True)
    assert finding.subjects[0].detail == "splits train, test"


def test_copies_on_one_side_or_none_are_a_warning() -> None:
    for side in ("train", None):
        found = findings_of(read("a.mp4", content="1f", side=side), read("b.mp4", content="1f", side=side))
        assert found["identical"].severity == "warning"


def test_videos_cut_off_and_of_one_frame() -> None:
    found = findings_of(read("cut.mp4", is_damaged=True), read("picture.mp4", video_seconds=0.0))
    assert (found["read-in-part"].severity, names(found["read-in-part"])) == ("error", [("cut.mp4",)])
    assert (found["single-frame"].severity, names(found["single-frame"])) == ("warning", [("picture.mp4",)])


def test_what_the_table_says_of_spans_and_groups() -> None:
    one = read("a.mp4", side="train")
    other = replace(read("b.mp4", side="test"), clip=replace(one.clip, label="walk", start_seconds=1.0))
    found = findings_of(one, other)
    assert found["group-leak"].severity == found["overlap"].severity == "error"
    assert found["overlapping-labels"].severity == "warning"
    late = replace(read("c.mp4", video_seconds=2.0, length=5), clip=replace(read("c.mp4").clip, end_seconds=3.0))
    found = findings_of(late)
    assert "short" not in found
    (subject,) = found["span-outside"].subjects
    assert subject.detail.endswith("but the video ends at 2.00 s")


def test_clips_that_fill_no_window_are_a_note() -> None:
    finding = findings_of(read("short.mp4", length=15))["short"]
    assert (finding.severity, names(finding)) == ("note", [("short.mp4",)])
    assert "1 clip shorter than a window of 16 sampled frames" in finding.summary
    assert finding.subjects[0].detail == "15 sampled frames"


def test_classes_of_unlike_size_and_another_order() -> None:
    found = findings_of(*map(read, "abc"), class_lists=(ClassList(Path("/classInd.txt"), ("walk", "run")),))
    assert names(found["imbalance"]) == [("walk",)]
    assert names(found["class-order"]) == [("/classInd.txt",)]


def test_the_gravest_comes_first() -> None:
    found = findings_of(read("short.mp4", length=1, video_seconds=0.0), read("cut.mp4", is_damaged=True))
    assert [finding.severity for finding in found.values()] == ["error", "warning", "note", "note"]
