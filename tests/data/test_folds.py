"""Folds for cross-validation: whole groups, each clip tested once, nothing left out in silence."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activity.data.clips import Clip, DataError, Manifest
from activity.data.folds import Fold, make_folds

ROOT = Path("/data")
LABELS = ("run", "walk")


def clip(label: str, group: str, number: int = 0, *, span: tuple[float, float] | None = None) -> Clip:
    name = f"{label}/{group}_{number}.mp4"
    start, end = span or (0.0, None)
    return Clip(path=ROOT / name, relative_path=name, label=label, group=group, start_seconds=start, end_seconds=end)


def manifest(*clips: Clip) -> Manifest:
    return Manifest(clips, tuple(sorted({clip.label for clip in clips})), ROOT, groups_given=True)


def actors(count: int) -> Manifest:
    return manifest(*(clip(label, f"actor{number}") for label, number in product(LABELS, range(count))))


def groups_of(clips: tuple[Clip, ...]) -> set[str]:
    return {clip.group for clip in clips}


def assert_each_clip_is_tested_once_by_others(folds: tuple[Fold, ...], data: Manifest) -> None:
    tested = [clip.key for fold in folds for clip in fold.test]
    assert sorted(tested) == sorted(clip.key for clip in data.clips)
    for fold in folds:
        assert not groups_of(fold.train) & groups_of(fold.test)
        assert len(fold.train) + len(fold.test) == len(data.clips)


def test_leave_one_group_out_has_a_fold_for_each_group_named_after_it() -> None:
    data = actors(4)
    folds = make_folds(data, "groups", seed=0)
    assert [fold.name for fold in folds] == ["actor0", "actor1", "actor2", "actor3"]
    assert all(groups_of(fold.test) == {fold.name} for fold in folds)
    assert_each_clip_is_tested_once_by_others(folds, data)


def test_k_fold_is_of_even_size_and_stratified() -> None:
    data = actors(12)
    folds = make_folds(data, 4, seed=0)
    assert [fold.name for fold in folds] == ["1", "2", "3", "4"]
    assert [sorted(clip.label for clip in fold.test) for fold in folds] == [["run"] * 3 + ["walk"] * 3] * 4
    assert_each_clip_is_tested_once_by_others(folds, data)


def test_the_seed_chooses_the_folds_and_the_order_of_clips_does_not() -> None:
    data = actors(12)
    turned = Manifest(data.clips[::-1], data.class_names, ROOT, groups_given=True)
    assert make_folds(data, 4, seed=0) == make_folds(turned, 4, seed=0)
    assert len({make_folds(data, 4, seed=seed) for seed in range(5)}) > 1


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(LABELS), st.integers(0, 7)), min_size=4, max_size=40),
    folds=st.sampled_from(["groups", 2, 3]),
)
def test_any_data_set_is_parted_fully_or_refused(rows: list[tuple[str, int]], folds: str | int) -> None:
    clips = [clip(label, f"g{group}", number) for number, (label, group) in enumerate(rows)]
    if len({item.label for item in clips}) < 2:
        return
    data = manifest(*clips)
    try:
        made = make_folds(data, folds, seed=0)
    except DataError:
        return
    assert_each_clip_is_tested_once_by_others(made, data)
    assert all({item.label for item in fold.train} == set(LABELS) for fold in made)


def test_groups_whose_spans_overlap_stay_together() -> None:
    shared = [
        Clip(path=ROOT / "a.mp4", relative_path="a.mp4", label=label, group=group, start_seconds=start, end_seconds=9.0)
        for label, group, start in (("run", "one", 0.0), ("walk", "two", 5.0))
    ]
    others = [clip(label, group) for label, group in product(LABELS, ("three", "four"))]
    folds = make_folds(manifest(*shared, *others), "groups", seed=0)
    assert sorted(sorted(groups_of(fold.test)) for fold in folds) == [["four"], ["one", "two"], ["three"]]


def test_splits_that_the_data_set_gives_play_no_role() -> None:
    clips = [
        Clip(path=ROOT / f"{n}.mp4", relative_path=f"{n}.mp4", label=LABELS[n % 2], group=f"g{n // 2}", split="test")
        for n in range(6)
    ]
    assert len(make_folds(manifest(*clips), "groups", seed=0)) == 3


@pytest.mark.parametrize("folds", ["group", 1, 0, -3, True, "5"])
def test_another_value_is_refused(folds: str | int) -> None:
    with pytest.raises(DataError, match=r"accepted: groups .*or a number from 2 up"):
        make_folds(actors(4), folds, seed=0)


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(DataError, match=r"folds=5, and the data set has 4 groups.*2 to 4"):
        make_folds(actors(4), 5, seed=0)


def test_a_class_of_one_group_is_refused_by_name() -> None:
    data = manifest(*actors(3).clips, clip("jump", "actor0"), clip("jump", "actor0", 1))
    with pytest.raises(DataError, match=r"one group: 'jump \(2 clips\)'"):
        make_folds(data, "groups", seed=0)
