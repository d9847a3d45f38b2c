import itertools
import math

import pytest
import torch
from torch import Tensor

from activity.evaluation.metrics import clip_metrics
from activity.evaluation.statistics import bootstrap_interval, clip_intervals, paired_test, wilson_interval

NAMES = ["run", "sit", "walk"]


def scores_of(predicted: list[int], classes: int = 3) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()


class TestBootstrap:
    def test_values_are_those_of_the_metrics(self) -> None:
        labels, scores = torch.tensor([0, 0, 0, 1, 1, 2]), scores_of([0, 0, 1, 1, 2, 2])
        intervals, metrics = clip_intervals(scores, labels, NAMES), clip_metrics(scores, labels, NAMES)
        assert list(intervals) == ["accuracy", "mean_class_accuracy", "macro_f1"]
        for name, interval in intervals.items():
            assert interval.value == pytest.approx(getattr(metrics, name), abs=1e-6), name
            assert 0 <= interval.low < interval.value < interval.high <= 1, name

    def test_the_accuracys_interval_is_the_binomial_one(self) -> None:
        # 80 of 100 right: a drawn set has as many right clips as a binomial variable, whose middle 95 % is 72 to 88.
        labels = torch.zeros(100, dtype=torch.int64)
        predicted = torch.tensor([0] * 80 + [1] * 20)
        accuracy = bootstrap_interval(predicted, labels, 2)["accuracy"]
        assert (accuracy.value, accuracy.low, accuracy.high) == pytest.approx((0.8, 0.72, 0.875), abs=0.0101)

    def test_three_clips_give_what_all_draws_of_three_give(self) -> None:
        labels, predicted = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
        right = (labels == predicted).tolist()
        means = sorted(sum(right[i] for i in draw) / 3 for draw in itertools.product(range(3), repeat=3))
        accuracy = bootstrap_interval(predicted, labels, 2)["accuracy"]
        # Of the 27 draws one has no right clip (3.7 %, more than the tail of 2.5 %), and eight have three.
        assert (means[0], means[-1]) == (0.0, 1.0)
        assert (accuracy.low, accuracy.high) == (0.0, 1.0)

    def test_the_same_seed_gives_the_same_interval_and_another_one_nearly(self) -> None:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(0, 3, (60,), generator=generator)
        predicted = torch.where(torch.rand(60, generator=generator) < 0.7, labels, (labels + 1) % 3)
        one, again, other = (bootstrap_interval(predicted, labels, 3, seed=seed) for seed in (1, 1, 2))
        assert one == again != other
        for name in one:
            assert one[name].low == pytest.approx(other[name].low, abs=0.02)

    def test_all_right_has_no_width(self) -> None:
        intervals = clip_intervals(scores_of([0, 1, 2, 2]), torch.tensor([0, 1, 2, 2]), NAMES)
        assert {(item.value, item.low, item.high) for item in intervals.values()} == {(1.0, 1.0, 1.0)}

    def test_a_class_without_clips_counts_in_no_mean(self) -> None:
        intervals = clip_intervals(scores_of([0, 0]), torch.tensor([0, 0]), NAMES)
        assert intervals["mean_class_accuracy"].value == 1.0
        assert intervals["macro_f1"].low == 1.0

    def test_many_clips_are_drawn_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        labels = torch.arange(50) % 3
        predicted = torch.where(torch.arange(50) % 5 > 0, labels, (labels + 1) % 3)
        whole = bootstrap_interval(predicted, labels, 3)
        monkeypatch.setattr("activity.evaluation.statistics._CLIPS_AT_ONCE", 777)
        assert bootstrap_interval(predicted, labels, 3) == whole

    def test_no_clip_is_refused(self) -> None:
        with pytest.raises(ValueError, match="one each"):
            clip_intervals(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), NAMES)


class TestWilson:
    def test_worked_by_hand(self) -> None:
        interval = wilson_interval(8, 10)
        assert (interval.value, interval.low, interval.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)

    @pytest.mark.parametrize("clips", [1, 20, 1000])
    def test_all_right_and_all_wrong_mirror_each_other(self, clips: int) -> None:
        right, wrong = wilson_interval(clips, clips), wilson_interval(0, clips)
        assert (right.high, wrong.low) == (1.0, 0.0)
        assert right.low == pytest.approx(1 - wrong.high)
        assert right.low == pytest.approx(clips / (clips + 1.959964**2))

    def test_more_right_than_clips_is_refused(self) -> None:
        with pytest.raises(ValueError, match="3 of 2"):
            wilson_interval(3, 2)


class TestPaired:
    @staticmethod
    def heads(both: int, better: int, worse: int, neither: int) -> tuple[Tensor, Tensor]:
        first = [True] * both + [True] * better + [False] * worse + [False] * neither
        second = [True] * both + [False] * better + [True] * worse + [False] * neither
        return torch.tensor(first), torch.tensor(second)

    @pytest.mark.parametrize(
        ("better", "worse", "p_value"),
        [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (3, 3, 1.0),
            (5, 0, 2 / 32),
            (0, 6, 2 / 64),
            (8, 2, 2 * (1 + 10 + 45) / 1024),
            (7, 1, 2 * (1 + 8) / 256),
        ],
    )
    def test_worked_by_hand(self, better: int, worse: int, p_value: float) -> None:
        result = paired_test(*self.heads(50, better, worse, 4))
        assert (result.better, result.worse) == (better, worse)
        assert result.p_value == pytest.approx(p_value)

    def test_the_order_of_the_heads_does_not_matter(self) -> None:
        first, second = self.heads(10, 9, 3, 2)
        assert paired_test(first, second).p_value == paired_test(second, first).p_value

    def test_thousands_of_clips_neither_round_nor_overflow(self) -> None:
        result = paired_test(*self.heads(0, 5200, 4800, 0))
        normal = math.erfc((400 - 1) / math.sqrt(2 * 10_000))  # with the continuity correction
        assert result.p_value == pytest.approx(normal, rel=0.01)

    def test_other_clips_are_refused(self) -> None:
        with pytest.raises(ValueError, match="the same clips"):
            paired_test(torch.ones(3).bool(), torch.ones(4).bool())
