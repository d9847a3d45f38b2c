import pytest
import torch

from activity.models.pooling import modality_emphasis, normalised, spread


def test_each_modality_is_normalised_by_itself() -> None:
    torch.manual_seed(0)
    both = torch.cat([torch.randn(2, 3, 5), 100 + 1000 * torch.randn(2, 3, 5)], dim=2)
    parts = normalised(both, 2).split(5, dim=2)
    for part, raw in zip(parts, both.split(5, dim=2), strict=True):
        expected = (raw - raw.mean(2, keepdim=True)) / raw.std(2, keepdim=True, correction=0)
        torch.testing.assert_close(part, expected, rtol=1e-3, atol=1e-3)


def test_modality_dropout_leaves_one_modality_of_a_whole_window_as_often_as_asked() -> None:
    torch.manual_seed(0)
    shown = modality_emphasis([1.0, 1.0, 1.0], torch.ones(4000, 6), 0.6)
    assert set(shown.sum(dim=1).tolist()) == {1.0, 3.0}  # one, or all
    alone = shown[shown.sum(dim=1) == 1]
    assert len(alone) / 4000 == pytest.approx(0.6, abs=0.03)
    assert alone.mean(dim=0).tolist() == pytest.approx([1 / 3] * 3, abs=0.04)


def test_modality_dropout_shows_a_modality_as_often_as_it_counts() -> None:
    torch.manual_seed(0)
    shown = modality_emphasis([0.5, 1.0], torch.ones(4000, 2), 1.0)
    assert shown.mean(dim=0).tolist() == pytest.approx([0.5 * 0.2, 0.8], abs=0.03)
    assert modality_emphasis([0.0, 1.0], torch.ones(50, 2), 1.0).mean(dim=0).tolist() == [0.0, 1.0]


def test_one_modality_alone_is_never_dropped() -> None:
    assert modality_emphasis([1.0], torch.ones(8, 3), 1.0).min() == 1.0


def test_a_weight_counts_for_all_numbers_of_its_modality() -> None:
    emphasis = modality_emphasis([0.5, 1.0], torch.ones(2, 4), 0.0)
    assert spread(emphasis, [1, 3]).tolist() == [[0.5, 1.0, 1.0, 1.0]] * 2
