import pytest
import torch
from torch import Tensor

from activity.evaluation.calibration import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    clip_scores,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)


def two_class_scores(*best: float) -> Tensor:
    """Scores of which class 0 has the given ones."""
    return torch.tensor([[score, 1 - score] for score in best], dtype=torch.float64)


def sampled(clips: int, *, temperature: float, windows: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits whose clips are labelled as often as their scores at `temperature` say; windows of each clip; labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2.5 * torch.randn(clips * windows, 4, generator=generator)
    of_clip = torch.arange(clips).repeat_interleave(windows)
    true = clip_scores(logits, of_clip, clips, temperature)
    return logits, of_clip, torch.multinomial(true, 1, generator=generator).squeeze(1)


class TestReliability:
    def test_worked_by_hand(self) -> None:
        scores, labels = two_class_scores(0.95, 0.85, 0.9, 0.55), torch.tensor([0, 0, 1, 1])
        bins = reliability_bins(scores, labels, bins=5)
        assert [item.clips for item in bins] == [0, 0, 1, 0, 3]
        assert (bins[2].low, bins[2].high, bins[2].confidence, bins[2].accuracy) == pytest.approx((0.4, 0.6, 0.55, 0.0))
        assert (bins[4].confidence, bins[4].accuracy) == pytest.approx((0.9, 2 / 3))
        expected = (1 * 0.55 + 3 * (0.9 - 2 / 3)) / 4
        assert expected_calibration_error(scores, labels, bins=5) == pytest.approx(expected)

    def test_a_score_on_a_border_belongs_to_the_bin_that_begins_there_and_1_to_the_last(self) -> None:
        bins = reliability_bins(two_class_scores(0.5, 0.75, 1.0), torch.tensor([0, 0, 0]), bins=4)
        assert [item.clips for item in bins] == [0, 0, 1, 2]

    @pytest.mark.parametrize("classes", [2, 7])
    def test_the_error_is_the_mean_gap_of_the_diagram(self, classes: int) -> None:
        generator = torch.Generator().manual_seed(classes)
        scores = torch.rand(200, classes, generator=generator, dtype=torch.float64).softmax(dim=1)
        labels = torch.randint(classes, (200,), generator=generator)
        gaps = [item.clips * abs(item.confidence - item.accuracy) for item in reliability_bins(scores, labels, 15)]
        assert expected_calibration_error(scores, labels, 15) == pytest.approx(sum(gaps) / 200, abs=1e-6)

    def test_a_score_that_rounding_took_above_1_is_one_of_1(self) -> None:
        scores = torch.tensor([[1.0000001, 0.0]])
        assert expected_calibration_error(scores, torch.tensor([0])) == pytest.approx(0, abs=1e-6)

    def test_sure_and_right_has_no_error_and_sure_and_wrong_all_of_it(self) -> None:
        scores = two_class_scores(1.0, 1.0, 1.0)
        assert expected_calibration_error(scores, torch.tensor([0, 0, 0])) == 0.0
        assert expected_calibration_error(scores, torch.tensor([1, 1, 1])) == 1.0

    def test_no_clip_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            expected_calibration_error(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))


def test_a_clips_score_is_the_mean_of_its_windows_scores_at_the_temperature() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 4.0], [6.0, 0.0]])
    scores = clip_scores(logits, torch.tensor([0, 0, 1]), 2, temperature=2.0)
    expected = torch.stack(
        [(logits[0] / 2).softmax(0) / 2 + (logits[1] / 2).softmax(0) / 2, (logits[2] / 2).softmax(0)]
    )
    assert torch.allclose(scores, expected)


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
    @pytest.mark.parametrize("windows", [1, 3])
    def test_the_one_that_made_the_labels_is_found_again(self, temperature: float, windows: int) -> None:
        logits, clips, labels = sampled(3000, temperature=temperature, windows=windows)
        assert fit_temperature(logits, labels, clips) == pytest.approx(temperature, rel=0.1)

    def test_it_lowers_the_calibration_error(self) -> None:
        logits, clips, labels = sampled(2000, temperature=3.0)
        fitted = fit_temperature(logits, labels, clips)
        before, after = (clip_scores(logits, clips, 2000, temperature) for temperature in (1.0, fitted))
        assert expected_calibration_error(before, labels) > 0.15
        assert expected_calibration_error(after, labels) < 0.05

    @pytest.mark.parametrize("label", [0, 1], ids=["all right", "all wrong"])
    def test_a_few_clips_do_not_drive_it_to_an_end(self, label: int) -> None:
        logits = torch.tensor([[3.0, 0.0]] * 4)
        fitted = fit_temperature(logits, torch.full((4,), label))
        assert (0.6 < fitted < 1) if label == 0 else (1 < fitted < 5)

    def test_many_clips_all_right_stay_within_the_bounds(self) -> None:
        fitted = fit_temperature(torch.tensor([[0.2, 0.0]] * 5000), torch.zeros(5000, dtype=torch.int64))
        assert LOWEST_TEMPERATURE <= fitted < 0.1
        fitted = fit_temperature(torch.tensor([[50.0, 0.0]] * 5000), torch.ones(5000, dtype=torch.int64))
        assert 10 < fitted <= HIGHEST_TEMPERATURE + 1e-9

    def test_without_validation_clips_it_is_1(self) -> None:
        assert fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == 1.0

    def test_logits_of_which_a_right_class_is_impossible_are_taken(self) -> None:
        logits = torch.tensor([[1e4, -1e4], [1e4, -1e4]])
        assert fit_temperature(logits, torch.tensor([0, 1])) > 1
