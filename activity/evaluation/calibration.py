"""Whether a score means what it says, and the temperature that makes it so."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
# How far from 1 a temperature is taken to be before any clip is seen: half an e-fold, a factor of 1.6.
_PRIOR_SPREAD = 0.5
_GRID_POINTS = 49
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class ReliabilityBin:
    """The clips whose best score lies in `[low, high)`, in the last bin up to 1.

    Attributes:
        low: where the bin begins.
        high: where it ends.
        clips: how many there are.
        confidence: the mean of their best scores; 0 without clips.
        accuracy: the share of them that is right; 0 without clips.
    """

    low: float
    high: float
    clips: int
    confidence: float
    accuracy: float


def reliability_bins(scores: Tensor, labels: Tensor, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """The clips by their best score, in bins of equal width: the reliability diagram (Guo et al. 2017).

    Args:
        scores: `(N, C)`, each row summing to 1.
        labels: `int64 (N,)`.
        bins: how many.
    """
    best, predicted = scores.double().max(dim=1)
    right = (predicted == labels).double()
    # A score of exactly k / bins belongs to the bin that begins there, as the ECE has it; 1 to the last.
    numbers = (best * bins).floor().long().clamp(0, bins - 1)
    found = []
    for number in range(bins):
        own = numbers == number
        clips = int(own.sum())
        means = (best[own].mean().item(), right[own].mean().item()) if clips else (0.0, 0.0)
        found.append(ReliabilityBin(number / bins, (number + 1) / bins, clips, *means))
    return tuple(found)


def expected_calibration_error(scores: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """The ECE (Naeini et al. 2015): how far score and share of right clips lie apart, in the mean over clips.

    By torchmetrics, in bins of equal width, of which each holds its lower end.

    >>> scores = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    >>> round(expected_calibration_error(scores, torch.tensor([0, 0, 1, 0])), 3)  # 0.9 is always right, 0.6 half
    0.1
    """
    if not len(labels):
        raise ValueError("There is no clip; the ECE needs at least one.")
    # A mean over windows may exceed 1 in its last digit: that would be taken for a logit.
    error = multiclass_calibration_error(scores.clamp(0, 1), labels, scores.shape[1], n_bins=bins, norm="l1")
    return error.item()


def clip_scores(logits: Tensor, clips: Tensor, num_clips: int, temperature: float = 1.0) -> Tensor:
    """Scores of clips `(B, C)`: the mean over each clip's windows of `softmax(logits / temperature)`.

    Args:
        logits: of windows, `(W, C)`.
        clips: which clip each window is of, `int64 (W,)`, 0 to B - 1, each at least once.
        num_clips: B.
        temperature: divides the logits (Guo et al. 2017).
    """
    scores = (logits / temperature).softmax(dim=1)
    sums = scores.new_zeros(num_clips, scores.shape[1]).index_add_(0, clips, scores)
    return sums / torch.bincount(clips, minlength=num_clips).unsqueeze(1)


def fit_temperature(logits: Tensor, labels: Tensor, clips: Tensor | None = None) -> float:
    """The temperature that makes the scores of validation clips fit how often they are right (Guo et al. 2017).

    It minimises the negative log-likelihood of the clips' scores, just as `clip_scores` makes them. A few clips say
    little of a temperature, and where all of them are right the likelihood alone would drive it to 0; so it is the
    maximum a posteriori under a log-normal prior around 1. Its weight is that of a few clips: with hundreds it is gone.

    Args:
        logits: of windows, `(W, C)`, at temperature 1.
        labels: the class of each clip, `int64 (B,)`.
        clips: which clip each window is of, `int64 (W,)`; None: each window is a clip.

    Returns:
        The temperature, 0.05 to 20; 1 where there is no clip.
    """
    if not len(labels):
        return 1.0
    if clips is None:
        clips = torch.arange(len(labels), device=logits.device)
    logits = logits.double()

    def cost(log_temperature: float) -> float:
        scores = clip_scores(logits, clips, len(labels), math.exp(log_temperature))
        likelihoods = scores.gather(1, labels.unsqueeze(1)).clamp_min(torch.finfo(scores.dtype).tiny)
        return -likelihoods.log().sum().item() + (log_temperature / _PRIOR_SPREAD) ** 2 / 2

    # The mean over windows may have several minima: the grid finds the lowest one, the golden section its place.
    low, high = math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
    step = (high - low) / (_GRID_POINTS - 1)
    best = min((low + number * step for number in range(_GRID_POINTS)), key=cost)
    found = _golden_section(cost, max(low, best - step), min(high, best + step))
    return math.exp(found)


def _golden_section(cost: Callable[[float], float], low: float, high: float) -> float:
    """Where `cost`, with one minimum between `low` and `high`, has it, to a hundred-thousandth."""
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    cost_inner, cost_outer = cost(inner), cost(outer)
    while high - low > 1e-5:
        if cost_inner < cost_outer:
            high, outer, cost_outer = outer, inner, cost_inner
            inner = high - _GOLDEN * (high - low)
            cost_inner = cost(inner)
        else:
            low, inner, cost_inner = inner, outer, cost_outer
            outer = low + _GOLDEN * (high - low)
            cost_outer = cost(outer)
    return (low + high) / 2
