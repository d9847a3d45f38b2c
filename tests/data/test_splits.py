from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from activity.data.clips import Clip, DataError, DataWarning, Manifest
from activity.data.layouts import read_csv, read_folder
from activity.data.splits import Splits, check_no_leak, read_splits, split_manifest, write_splits

REAL_DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
ROOT = Path("/data")
# A split takes a tenth of a second: a failure is to be reported as found, not after minutes of shrinking.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


def make_clip(
    name: str, label: str, group: str, split: str | None = None, start: float = 0.0, end: float | None = None
) -> Clip:
    return Clip(
        path=ROOT / name,
        relative_path=name,
        label=label,
        group=group,
        split=split,
        start_seconds=start,
        end_seconds=end,
    )


def make_manifest(clips: list[Clip]) -> Manifest:
    return Manifest(tuple(clips), tuple(sorted({clip.label for clip in clips})), ROOT, groups_given=True)


def clips_of(*rows: tuple[str, str], split: str | None = None) -> list[Clip]:
    """A clip for each (label, group), with names that do not repeat."""
    return [
        make_clip(f"{split}/{label}/{group}_{number}.mp4", label, group, split)
        for number, (label, group) in enumerate(rows)
    ]


def automatic(clips: list[Clip], val: float = 0.2, test: float = 0.2, seed: int = 0) -> Splits:
    return split_manifest(make_manifest(clips), val_fraction=val, test_fraction=test, seed=seed)


def groups(clips: tuple[Clip, ...]) -> set[str]:
    return {clip.group for clip in clips}


def every_actor_does_everything(actors: int = 5) -> list[Clip]:
    return clips_of(*product(("run", "walk"), (f"actor{number}" for number in range(actors))))


some_clips = st.lists(
    st.tuples(st.sampled_from(["run", "walk", "jump"]), st.integers(0, 7)), min_size=2, max_size=40
).map(lambda rows: clips_of(*((label, f"g{group}") for label, group in rows)))


def all_distributions(clips: list[Clip], sides: int) -> bool:
    """Whether any distribution of the groups has each class on each side, by trying all."""
    classes_of: dict[str, set[str]] = {}
    for clip in clips:
        classes_of.setdefault(clip.group, set()).add(clip.label)
    needed = len({clip.label for clip in clips}) * sides
    return any(
        len({(label, side) for labels, side in zip(classes_of.values(), chosen, strict=True) for label in labels})
        == needed
        for chosen in product(range(sides), repeat=len(classes_of))
    )


class TestAutomatic:
    @settings(max_examples=60, deadline=None, phases=WITHOUT_SHRINKING)
    @given(clips=some_clips, fractions=st.sampled_from([(0.2, 0.2), (0.15, 0), (0, 0.3), (0, 0), (0.4, 0.5)]))
    def test_splits_are_whole_disjoint_and_complete_wherever_groups_allow(
        self, clips: list[Clip], fractions: tuple[float, float]
    ) -> None:
        assume(len({clip.label for clip in clips}) >= 2)
        wanted = ["train", *(name for name, part in zip(("val", "test"), fractions, strict=True) if part)]
        try:
            splits = automatic(clips, *fractions)
        except DataError:
            assert not all_distributions(clips, len(wanted))
            return
        assert sorted(clip.name for part in splits.parts.values() for clip in part) == sorted(c.name for c in clips)
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            assert not groups(splits.parts[one]) & groups(splits.parts[other])
        for name, part in splits.parts.items():
            expected = {clip.label for clip in clips} if name in wanted else set()
            assert {clip.label for clip in part} == expected
        check_no_leak(splits)

    @settings(max_examples=10, deadline=None, phases=WITHOUT_SHRINKING)
    @given(clips=some_clips, seed=st.integers(0, 5), shuffle=st.randoms(use_true_random=False))
    def test_the_order_of_the_clips_does_not_matter(self, clips: list[Clip], seed: int, shuffle: random.Random) -> None:
        clips += clips_of(*product(("run", "walk", "jump"), "abc"))
        before = automatic(clips, seed=seed)
        shuffle.shuffle(clips)
        assert automatic(clips, seed=seed) == before

    def test_the_seed_chooses(self) -> None:
        clips = every_actor_does_everything(8)
        tests = {frozenset(groups(automatic(clips, seed=seed).test)) for seed in range(10)}
        assert len(tests) > 3
        assert automatic(clips, seed=3) == automatic(clips, seed=3)

    def test_classes_are_in_proportion_although_groups_differ_in_size(self) -> None:
        numbers = random.Random(0)
        rows = [
            (label, f"g{group}")
            for group in range(60)
            for label, share in (("run", 8), ("walk", 3))
            for _ in range(numbers.randrange(share))
        ]
        splits = automatic(clips_of(*rows), val=0.15, test=0.25)
        totals = Counter(label for label, _ in rows)
        for part, fraction in ((splits.train, 0.6), (splits.val, 0.15), (splits.test, 0.25)):
            for label, number in Counter(clip.label for clip in part).items():
                assert number == pytest.approx(totals[label] * fraction, abs=1.5)

    def test_a_class_with_few_groups_stands_in_every_split(self) -> None:
        rows = [("walk", f"w{number}") for number in range(200)] + [("fall", f"f{number}") for number in range(3)]
        splits = automatic(clips_of(*rows), val=0.05, test=0.05)
        for part in splits.parts.values():
            assert "fall" in {clip.label for clip in part}

    def test_overlapping_spans_in_two_groups_are_kept_together(self) -> None:
        clips = every_actor_does_everything(6)
        clips += [
            make_clip("long.mp4", "run", f"actor{number}", start=number * 2.0, end=number * 2 + 3.0)
            for number in range(3)
        ]
        for seed in range(5):
            splits = automatic(clips, seed=seed)
            sides = [name for name, part in splits.parts.items() if groups(part) & {"actor0", "actor1", "actor2"}]
            assert len(sides) == 1

    def test_no_validation_and_no_test_wanted(self) -> None:
        splits = automatic(every_actor_does_everything(), val=0, test=0)
        assert (len(splits.train), splits.val, splits.test) == (10, (), ())

    def test_a_class_with_too_few_groups_is_named_with_a_way_out(self) -> None:
        clips = every_actor_does_everything() + clips_of(("fall", "actor0"), ("fall", "actor1"), ("fall", "actor0"))
        with pytest.raises(DataError) as raised:
            automatic(clips)
        message = str(raised.value)
        assert "1 class with" in message
        assert "fall (3 clips in 2 groups)" in message
        assert "data.val_fraction=0 or data.test_fraction=0" in message
        assert len(automatic(clips, val=0).train) > 0

    def test_groups_that_stand_in_each_others_way_are_reported(self) -> None:
        rows = [
            (label, group)
            for label, members in {
                "a": "123",
                "b": "145",
                "c": "246",
                "d": "356",
                "e": "135",
                "f": "126",
            }.items()
            for group in members
        ]
        clips = clips_of(*rows)
        assert not all_distributions(clips, 3)
        with pytest.raises(DataError, match=r"No distribution of the 6 groups.*data\.val_fraction=0"):
            automatic(clips)

    @pytest.mark.parametrize(
        ("val", "test"), [(-0.1, 0.2), (0.2, -0.1), (1.0, 0), (0, 1), (0.5, 0.5), (0.7, 0.6), (math.nan, 0.1)]
    )
    def test_fractions_out_of_range(self, val: float, test: float) -> None:
        with pytest.raises(DataError, match=f"data.val_fraction={val} and data.test_fraction={test}"):
            automatic(every_actor_does_everything(), val=val, test=test)

    @pytest.mark.slow
    @pytest.mark.parametrize("number_of_groups", [5_000, 50_000])
    def test_large_data_sets_get_the_wanted_sizes(self, number_of_groups: int) -> None:
        numbers = random.Random(0)
        rows = [(f"c{numbers.randrange(100)}", f"g{numbers.randrange(number_of_groups)}") for _ in range(50_000)]
        manifest = make_manifest(clips_of(*rows))
        splits = split_manifest(manifest, val_fraction=0.1, test_fraction=0.2, seed=0)
        assert len(splits.val) == pytest.approx(5_000, rel=0.02)
        assert len(splits.test) == pytest.approx(10_000, rel=0.02)


class TestGiven:
    def test_given_splits_are_used(self) -> None:
        parts = {
            split: clips_of(("run", f"{split}1"), ("walk", f"{split}2"), split=split)
            for split in ("train", "val", "test")
        }
        splits = automatic([clip for clips in parts.values() for clip in clips], val=0, test=0)
        assert {name: list(clips) for name, clips in splits.parts.items()} == parts

    def test_missing_validation_clips_come_from_training_by_group(self) -> None:
        train = clips_of(*product(("run", "walk"), (f"g{number}" for number in range(10))), split="train")
        test = clips_of(("run", "x"), ("walk", "y"), split="test")
        splits = automatic(train + test, val=0.2, test=0.2)
        assert set(splits.test) == set(test)
        assert len(splits.val) == 4
        assert {clip.label for clip in splits.val} == {"run", "walk"}
        assert not groups(splits.val) & groups(splits.train)

    def test_no_validation_clips_where_none_are_wanted(self) -> None:
        clips = clips_of(("run", "a"), ("walk", "b"), split="train") + clips_of(
            ("run", "c"), ("walk", "d"), split="test"
        )
        assert automatic(clips, val=0).val == ()

    def test_missing_test_clips(self) -> None:
        clips = clips_of(("run", "a"), ("walk", "b"), split="train") + clips_of(
            ("run", "c"), ("walk", "d"), split="val"
        )
        with pytest.raises(DataError, match=r"no test clips.*data\.test_fraction=0\.2"):
            automatic(clips)
        assert automatic(clips, test=0).test == ()

    def test_no_training_clips(self) -> None:
        with pytest.raises(DataError, match="no clip to train on"):
            automatic(clips_of(("run", "a"), ("walk", "b"), split="test"))

    def test_some_clips_without_a_split(self) -> None:
        clips = clips_of(("run", "a"), ("walk", "b"), split="train") + clips_of(("run", "c"))
        with pytest.raises(DataError, match=r"for 2 of 3 clips, but not for 'None/run/c_0\.mp4'"):
            automatic(clips)

    def test_a_class_without_training_clips(self) -> None:
        clips = clips_of(("run", "a"), ("walk", "b"), split="train")
        clips += clips_of(("run", "c"), ("walk", "d"), ("fall", "e"), split="test")
        with pytest.raises(DataError, match="1 class without clips to train on: 'fall'"):
            automatic(clips, val=0)

    def test_a_class_without_test_clips_is_pointed_out(self) -> None:
        clips = clips_of(("run", "a"), ("walk", "b"), split="train") + clips_of(("run", "c"), split="test")
        with pytest.warns(DataWarning, match="1 class without clips in the test split: 'walk'"):
            automatic(clips, val=0)

    def test_a_given_split_that_leaks(self) -> None:
        clips = clips_of(("run", "eli"), ("walk", "ira"), split="train")
        clips += clips_of(("run", "eli"), ("walk", "ido"), split="test")
        with pytest.raises(DataError, match=r"1 group .*'eli \(train, test\)'"):
            automatic(clips, val=0)


class TestLeak:
    def test_groups_on_two_sides_are_named(self) -> None:
        rows = [("run", f"g{number}") for number in range(7)]
        with pytest.raises(DataError, match=r"7 groups .*'g0 \(train, val\)'.* and 2 more"):
            check_no_leak(Splits(tuple(clips_of(*rows)), tuple(clips_of(*rows, split="val")), ()))

    @pytest.mark.parametrize("spans", [((0, 5), (4, 9)), ((4, 9), (0, None)), ((0, 9), (1, 2))])
    def test_overlapping_spans_of_one_file(self, spans: tuple[tuple[float, float | None], ...]) -> None:
        one, other = (make_clip("a.mp4", "run", f"g{index}", None, *span) for index, span in enumerate(spans))
        between = make_clip("a.mp4", "run", "g0", None, 0.5, 0.75)
        with pytest.raises(DataError, match=r"'a\.mp4 \(\w+, \w+\)'"):
            check_no_leak(Splits((one, between), (), (other,)))

    def test_spans_that_only_touch_may_be_on_two_sides(self) -> None:
        check_no_leak(
            Splits((make_clip("a.mp4", "run", "x", end=4.0),), (), (make_clip("a.mp4", "run", "y", start=4.0),))
        )

    def test_what_a_published_split_has_on_two_sides_is_a_warning_and_no_more_than_that_is_allowed(self) -> None:
        train = clips_of(("run", "ann"), ("run", "bob"), ("walk", "cem"), split="train")
        test = clips_of(("run", "ann"), ("walk", "dan"), split="test")
        with pytest.warns(DataWarning, match=r"1 group .* of split 1 of X, as published: 'ann \(train, test\)'"):
            check_no_leak(Splits(tuple(train), (), tuple(test)), published_split="split 1 of X")
        with pytest.warns(DataWarning, match=r"'ann \(val, test\)'"):
            check_no_leak(Splits(tuple(train[1:]), (train[0],), tuple(test)), published_split="split 1 of X")
        moved = Splits((*train, test[1]), (make_clip("x", "walk", "dan", "test"),), (test[0],))
        with pytest.raises(DataError, match=r"1 group .*'dan \(train, val\)'"):
            check_no_leak(moved, published_split="split 1 of X")

    def test_overlapping_spans_on_two_sides_of_a_published_split(self) -> None:
        one = make_clip("a.mp4", "run", "g", "train", 0, 10)
        other = make_clip("a.mp4", "walk", "h", "test", 5, 15)
        with pytest.warns(DataWarning, match=r"1 video with overlapping spans .* of X, as published: 'a\.mp4"):
            check_no_leak(Splits((one,), (), (other,)), published_split="X")


class TestFile:
    def manifest(self) -> Manifest:
        clips = [
            *every_actor_does_everything(),
            make_clip('ü, "b"\r\n .mp4', "run", "actor0", start=0.1 + 0.2, end=1 / 3),
            make_clip(" ../x.mp4", "walk", "actor1", start=1e-9),
            make_clip("../out/x.mp4", "walk", "actor1"),
        ]
        return make_manifest(clips)

    def test_splits_are_read_back_exactly(self, tmp_path: Path) -> None:
        manifest = replace(self.manifest(), root=tmp_path)
        splits = split_manifest(manifest, val_fraction=0.2, test_fraction=0, seed=1)
        write_splits(splits, tmp_path / "splits.csv")
        assert read_splits(tmp_path / "splits.csv", manifest) == splits

    def test_the_file_is_a_data_set_too(self, tmp_path: Path) -> None:
        root = tmp_path / "data"
        for label, actor in product(("run", "walk"), "abcd"):
            (root / label).mkdir(parents=True, exist_ok=True)
            (root / label / f"{actor}_1.mp4").touch()
        manifest = read_folder(root, group_pattern="(?P<group>.)_")
        splits = split_manifest(manifest, val_fraction=0.25, test_fraction=0.25, seed=0)
        write_splits(splits, tmp_path / "splits.csv")
        again = read_csv(tmp_path / "splits.csv", root=root, group_pattern=None)
        given = split_manifest(again, val_fraction=0, test_fraction=0, seed=9)
        for name, part in splits.parts.items():
            assert given.parts[name] == tuple(replace(clip, split=name) for clip in part)

    def test_clips_that_only_one_of_both_has(self, tmp_path: Path) -> None:
        manifest = replace(self.manifest(), root=tmp_path)
        splits = split_manifest(manifest, val_fraction=0, test_fraction=0.2, seed=1)
        path = tmp_path / "splits.csv"
        write_splits(replace(splits, train=(*splits.train[2:], make_clip("new.mp4", "run", "new"))), path)
        with pytest.raises(DataError) as raised:
            read_splits(path, manifest)
        message = str(raised.value)
        assert "1 clip not in the data set: 'new.mp4'" in message
        assert "2 clips of the data set missing" in message
        assert "data.splits" in message

    def test_those_of_a_published_split_keep_its_leaks(self, tmp_path: Path) -> None:
        clips = clips_of(("run", "ann"), ("run", "bob"), ("walk", "cem"), split="train")
        clips += clips_of(("run", "ann"), ("walk", "dan"), split="test")
        manifest = replace(make_manifest(clips), root=tmp_path, published_split="split 1 of X")
        with pytest.warns(DataWarning, match="1 group"):
            splits = split_manifest(manifest, val_fraction=0, test_fraction=0.2, seed=0)
        write_splits(splits, tmp_path / "splits.csv")
        with pytest.warns(DataWarning, match="1 group"):
            assert read_splits(tmp_path / "splits.csv", manifest) == splits
        with pytest.raises(DataError, match="1 group"):
            read_splits(tmp_path / "splits.csv", replace(manifest, published_split=None))

    def test_a_table_without_splits(self, tmp_path: Path) -> None:
        (tmp_path / "clips.csv").write_text("path,label\na.mp4,run\n")
        with pytest.raises(DataError, match=r"1 clip without a split: 'a\.mp4'"):
            read_splits(tmp_path / "clips.csv", replace(self.manifest(), root=tmp_path))

    def test_an_edited_file_that_leaks(self, tmp_path: Path) -> None:
        manifest = replace(make_manifest(every_actor_does_everything()), root=tmp_path)
        splits = split_manifest(manifest, val_fraction=0, test_fraction=0.2, seed=1)
        moved = replace(splits, train=splits.train[1:], val=splits.train[:1])
        write_splits(moved, tmp_path / "splits.csv")
        with (
            pytest.warns(DataWarning, match="'walk'"),
            pytest.raises(DataError, match=r"1 group on more than one side.*\(train, val\)"),
        ):
            read_splits(tmp_path / "splits.csv", manifest)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the development videos are not beside the checkout")
class TestRealData:
    @pytest.mark.parametrize("seed", range(3))
    def test_weizmann_is_split_by_actor(self, seed: int) -> None:
        manifest = read_folder(REAL_DATA / "weizmann", group_pattern=r"/(?P<group>[a-z]+)_")
        splits = split_manifest(manifest, val_fraction=0.15, test_fraction=0.25, seed=seed)
        assert [len(groups(part)) for part in splits.parts.values()] == [6, 1, 2]
        for part in splits.parts.values():
            assert {clip.label for clip in part} == set(manifest.class_names)
        check_no_leak(splits)

    @pytest.mark.parametrize("seed", range(3))
    def test_fights_are_split_by_source_and_balanced(self, seed: int) -> None:
        manifest = read_csv(REAL_DATA / "surv-fight" / "clips.csv", root=None, group_pattern=None)
        splits = split_manifest(manifest, val_fraction=0.15, test_fraction=0.15, seed=seed)
        assert [len(part) for part in splits.parts.values()] == [
            pytest.approx(210, abs=2),
            pytest.approx(45, abs=2),
            pytest.approx(45, abs=2),
        ]
        for part in splits.parts.values():
            counts = Counter(clip.label for clip in part)
            assert abs(counts["fight"] - counts["noFight"]) <= 2
        check_no_leak(splits)
