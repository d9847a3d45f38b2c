from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from activity.data.clips import Clip, DataError, Manifest, first_few


def make_clip(name: str = "run/eli.avi", **fields: Any) -> Clip:
    defaults = {"path": Path("/data") / name, "relative_path": name, "label": "run", "group": "eli"}
    return Clip(**(defaults | fields))


def make_manifest(*clips: Clip, class_names: tuple[str, ...] = ("run", "walk")) -> Manifest:
    return Manifest(clips=clips, class_names=class_names, root=Path("/data"), groups_given=True)


def test_a_clip_is_the_whole_file_unless_said_otherwise() -> None:
    clip = make_clip()
    assert (clip.start_seconds, clip.end_seconds, clip.split) == (0.0, None, None)
    assert clip.name == "run/eli.avi"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_seconds": 5.0, "end_seconds": 5.0}, "end 5 is not after start 5"),
        ({"start_seconds": 5.0, "end_seconds": 2.0}, "end 2 is not after start 5"),
        ({"start_seconds": -1.0}, "start is -1 seconds"),
        ({"start_seconds": math.nan}, "start is nan"),
        ({"start_seconds": math.inf}, "start is inf"),
        ({"end_seconds": math.nan}, "end nan is not after"),
        ({"end_seconds": math.inf}, "end inf is not after"),
        ({"label": " "}, "label is empty"),
        ({"group": ""}, "group is empty"),
        ({"split": "valid"}, "'valid'; accepted are train, val and test"),
        ({"path": Path("run/eli.avi")}, "relative"),
        ({"relative_path": "run/\udce9li.avi"}, "not valid UTF-8; rename"),
    ],
)
def test_a_clip_that_cannot_be_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        make_clip(**fields)
    assert str(raised.value).startswith("'run/")


def test_a_manifest_counts_and_numbers_its_classes() -> None:
    manifest = make_manifest(make_clip("a"), make_clip("b", label="walk"), make_clip("c"))
    assert manifest.clips_per_class == {"run": 2, "walk": 1}


def test_a_layout_may_order_the_classes() -> None:
    manifest = make_manifest(make_clip("a"), make_clip("b", label="walk"), class_names=("walk", "run"))
    assert list(manifest.clips_per_class) == ["walk", "run"]


def test_a_manifest_without_clips_is_refused() -> None:
    with pytest.raises(DataError, match="'/data' has no clips"):
        make_manifest()


def test_one_class_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="one class, 'run', with 2 clips; at least 2"):
        make_manifest(make_clip("a"), make_clip("b"), class_names=("run",))


@pytest.mark.parametrize("class_names", [("run", "walk", "jump"), ("run", "jump"), ("run", "walk", "walk")])
def test_class_names_must_be_the_labels(class_names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"differ in 'jump'|differ in .*'walk'"):
        make_manifest(make_clip("a"), make_clip("b", label="walk"), class_names=class_names)


def test_two_labels_for_the_same_span_name_the_file_and_both_labels() -> None:
    with pytest.raises(DataError, match=r"'a\.avi' has two labels for the same span, 'run' and 'walk'"):
        make_manifest(make_clip("a.avi"), make_clip("a.avi", label="walk"))


def test_the_same_span_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"'a.avi' \('run'\) is listed twice"):
        make_manifest(make_clip("a.avi"), make_clip("b", label="walk"), make_clip("a.avi"))


def test_several_spans_of_one_file_are_several_clips() -> None:
    first = make_clip("a.avi", end_seconds=2.0)
    second = make_clip("a.avi", start_seconds=2.0, label="walk")
    assert make_manifest(first, second).clips == (first, second)


def test_names_in_messages_are_counted_beyond_the_first_few() -> None:
    assert first_few(["a", "b"]) == "'a', 'b'"
    assert first_few(list("abcdefgh")) == "'a', 'b', 'c', 'd', 'e' and 3 more"
