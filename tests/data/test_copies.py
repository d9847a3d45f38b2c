"""Groups that hold copies of one video are joined, unless they are parted already."""

from pathlib import Path

from activity.data.clips import Clip
from activity.data.copies import JoinedGroups, copied_groups

CONTENT_OF = {Path("/data", name): content for name, content in {"a": "1", "b": "1", "c": "2", "d": "2"}.items()}


def clip(name: str, group: str, start: float = 0.0, end: float | None = None) -> Clip:
    path = Path("/data", name)
    return Clip(path=path, relative_path=name, label="run", group=group, start_seconds=start, end_seconds=end)


def test_a_group_with_copies_in_two_others_makes_one_of_three() -> None:
    clips = [clip("a", "zoe"), clip("b", "bob"), clip("c", "bob"), clip("d", "ann"), clip("e", "eve")]
    joined = copied_groups([(each, None) for each in clips], CONTENT_OF)
    assert joined.sets == (("ann", "bob", "zoe"),)
    assert [each.group for each in joined.applied(clips)] == ["ann", "ann", "ann", "ann", "eve"]


def test_spans_of_one_file_stay_in_the_groups_that_they_were_given() -> None:
    spans = [clip("a", "ann", 0, 1), clip("a", "bob", 1, 2)]
    assert copied_groups([(each, None) for each in spans], CONTENT_OF).sets == ()


def test_a_copy_of_a_file_with_several_groups_joins_all_of_them() -> None:
    spans = [clip("a", "ann", 0, 1), clip("a", "bob", 1, 2), clip("b", "cem")]
    assert copied_groups([(each, None) for each in spans], CONTENT_OF).sets == (("ann", "bob", "cem"),)


def test_what_is_given_on_two_sides_stays_apart() -> None:
    tagged = [(clip("a", "ann"), "train"), (clip("b", "bob"), "test"), (clip("c", "cem"), "train")]
    assert copied_groups([*tagged, (clip("d", "dan"), "train")], CONTENT_OF).sets == (("cem", "dan"),)


def test_clips_without_copies_are_left_as_they_are() -> None:
    one = clip("e", "eve")
    assert JoinedGroups(()).applied([one]) == (one,)
