"""Which unlabelled spans become clips of the class background, and of which group and split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activity.data.background import Span, background_spans, unlabelled_spans, with_background
from activity.data.clips import Clip, DataError, Manifest
from activity.data.distribution import overlaps
from activity.data.segments import BACKGROUND
from activity.data.splits import read_splits, split_manifest, write_splits

ROOT = Path("/data")


def clip(
    video: str, label: str, start: float = 0.0, end: float | None = None, split: str | None = None, group: str = ""
) -> Clip:
    return Clip(
        path=ROOT / video,
        relative_path=video,
        label=label,
        start_seconds=start,
        end_seconds=end,
        group=group or video,
        split=split,
    )


def manifest(*clips: Clip) -> Manifest:
    # A whole-file clip of two further classes, so that any clips make a data set; neither has a span.
    further = (clip("w1", "wave"), clip("w2", "yawn"))
    labels = sorted({item.label for item in (*clips, *further)})
    return Manifest((*clips, *further), tuple(labels), ROOT, groups_given=True)


def spans_of(*clips: Clip, seconds: float | None = None) -> list[Span]:
    spans = unlabelled_spans(manifest(*clips), declared_seconds=lambda path: seconds)
    assert set(spans) <= {item.name for item in clips}
    return [span for own in spans.values() for span in own]


class TestSpans:
    def test_before_between_and_after_in_pieces_as_long_as_the_median_clip(self) -> None:
        # Ten clips: as many pieces may be taken. The median is 2 s; the declared end is trusted up to 29.5 s.
        clips = [clip("a", "run", 5 + 2 * number, 7 + 2 * number) for number in range(10)]
        assert spans_of(*clips, seconds=30.0) == [(0.0, 2.5), (2.5, 5.0), (25.0, 27.25), (27.25, 29.5)]

    def test_without_a_declared_end_nothing_comes_after_the_last_span(self) -> None:
        assert spans_of(clip("a", "run", 2, 4), clip("a", "walk", 6, 8)) == [(0.0, 2.0), (4.0, 6.0)]

    def test_an_end_that_is_declared_too_short_takes_nothing_away(self) -> None:
        assert spans_of(clip("a", "run", 2, 4), clip("a", "walk", 6, 8), seconds=7.0) == [(0.0, 2.0), (4.0, 6.0)]

    def test_gaps_below_a_second_are_no_background(self) -> None:
        assert spans_of(clip("a", "run", 0.9, 4), clip("a", "walk", 4.9, 8), clip("a", "run", 9, 12)) == [(8.0, 9.0)]

    def test_no_more_than_the_labelled_clips_of_the_video_evenly_over_all(self) -> None:
        # Pieces of 2 s: two before, nine after. Of eleven two, from the middle of each half.
        clips = (clip("a", "run", 4, 6), clip("a", "walk", 6, 8))
        assert spans_of(*clips, seconds=26.5) == [(8.0, 10.0), (20.0, 22.0)]

    def test_each_video_has_as_many_as_it_has_clips(self) -> None:
        spans = unlabelled_spans(
            manifest(clip("a", "run", 10, 12), clip("b", "run", 10, 12), clip("b", "walk", 30, 32)),
            declared_seconds=lambda path: None,
        )
        assert {name: len(own) for name, own in spans.items()} == {"a": 1, "b": 2}

    def test_a_clip_without_an_end_lasts_to_that_of_the_video(self) -> None:
        assert spans_of(clip("a", "run", 1, 3), clip("a", "walk", 5), seconds=60.0) == [(0.0, 1.0), (3.0, 5.0)]

    def test_overlapping_labels_are_no_gap(self) -> None:
        assert spans_of(clip("a", "run", 0, 9), clip("a", "walk", 2, 4), clip("a", "run", 11, 13)) == [(9.0, 11.0)]

    def test_videos_labelled_as_a_whole_are_not_even_opened(self) -> None:
        asked: list[Path] = []
        unlabelled_spans(manifest(clip("a", "run", 2, 4)), declared_seconds=asked.append)  # type: ignore[func-returns-value]
        assert asked == [ROOT / "a"]

    def test_a_video_that_claims_to_last_for_ages_takes_no_memory(self) -> None:
        (span,) = spans_of(clip("a", "run", 2, 4), seconds=1e15)
        assert span[1] - span[0] == pytest.approx(2.0, abs=0.5)

    def test_no_span_at_all_is_an_error(self) -> None:
        with pytest.raises(DataError, match=r"no clip of '/data' has a start or end.*data=csv.*data=kinetics"):
            spans_of(clip("a", "run"), clip("b", "walk"))

    def test_nothing_unlabelled_is_an_error(self) -> None:
        with pytest.raises(DataError, match=r"nowhere 1 s or more.*Leave data\.background out"):
            spans_of(clip("a", "run", 0, 4), clip("a", "walk", 4.5, 8), seconds=9.0)


class TestClips:
    def test_background_is_the_last_class_and_its_clips_follow_the_others(self) -> None:
        before = manifest(clip("a", "run", 2, 4))
        made = with_background(before, {"a": [(0.0, 2.0)]})
        assert made.class_names == ("run", "wave", "yawn", BACKGROUND)
        assert made.clips[:-1] == before.clips
        assert made.clips[-1] == clip("a", BACKGROUND, 0, 2)
        assert (made.root, made.groups_given, made.published_split) == (ROOT, True, None)

    @pytest.mark.parametrize(("span", "group"), [((0.0, 2.0), "g1"), ((4, 6), "g1"), ((8, 9), "g2"), ((12, 14), "g2")])
    def test_group_and_split_are_those_of_the_nearest_clip(self, span: Span, group: str) -> None:
        clips = (clip("a", "run", 2, 4, "val", "g1"), clip("a", "walk", 10, 12, "val", "g2"))
        made = with_background(manifest(*clips), {"a": [span]}).clips[-1]
        assert (made.group, made.split, made.label) == (group, "val", BACKGROUND)

    def test_a_span_between_two_splits_is_left_out(self) -> None:
        clips = (clip("a", "run", 2, 4, "train"), clip("a", "walk", 10, 12, "test"))
        made = with_background(manifest(*clips), {"a": [(0, 2), (4, 6), (6, 10), (12, 14)]})
        found = [(item.start_seconds, item.split) for item in made.clips if item.label == BACKGROUND]
        assert found == [(0, "train"), (12, "test")]
        with pytest.raises(DataError, match="every unlabelled span of '/data' lies between clips of two splits"):
            with_background(manifest(*clips), {"a": [(4, 6)]})

    def test_a_data_set_with_such_a_class_of_its_own_is_refused(self) -> None:
        with pytest.raises(DataError, match=r"class 'background' of its own.*rename"):
            with_background(manifest(clip("a", BACKGROUND), clip("b", "run", 2, 4)), {"b": [(0, 2)]})

    def test_splits_are_read_back_whatever_the_container_declares_by_then(self, tmp_path: Path) -> None:
        clips = [
            clip(f"v{number}", label, start, start + 1, group=f"g{number}")
            for number in range(6)
            for label, start in (("run", 1 / 3), ("wave", 5 / 7 + 3), ("yawn", 6.1))
        ]
        clips = [replace(item, path=tmp_path / item.name) for item in clips]
        labelled = Manifest(tuple(clips), ("run", "wave", "yawn"), tmp_path, groups_given=True)
        made = with_background(labelled, unlabelled_spans(labelled, declared_seconds=lambda path: 9.123456789))
        splits = split_manifest(made, val_fraction=0.2, test_fraction=0.2, seed=0)
        write_splits(splits, tmp_path / "splits.csv")
        sided = [item for part in splits.parts.values() for item in part]
        again = with_background(labelled, background_spans(sided))
        assert read_splits(tmp_path / "splits.csv", again) == splits
        assert all(any(item.label == BACKGROUND for item in part) for part in splits.parts.values())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.02, 20)), min_size=1, max_size=12),
    st.none() | st.floats(0.1, 200),
)
def test_background_never_overlaps_a_label_and_stays_inside_the_video(
    drawn: list[tuple[float, float]], seconds: float | None
) -> None:
    clips = dict.fromkeys(clip("a", "run", start, start + length) for start, length in drawn)
    labelled = Manifest((*clips, clip("w", "wave")), ("run", "wave"), ROOT, groups_given=True)
    try:
        spans = unlabelled_spans(labelled, declared_seconds=lambda path: seconds)["a"]
    except DataError:
        return  # nothing is unlabelled
    assert 0 < len(spans) <= len(clips)
    assert spans == sorted(spans)
    pieces = [clip("a", BACKGROUND, start, end) for start, end in spans]
    found = [(later.label, *tags) for later, *tags in overlaps((item, item.label) for item in (*clips, *pieces))]
    assert not [tags for _, *tags in found if BACKGROUND in tags]
    last = max(item.end_seconds or 0 for item in clips)
    assert spans[-1][1] <= max(last, (seconds or 0) - 0.5)
