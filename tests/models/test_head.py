import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from activity.models.head import READOUTS, MeanPool, StackedLSTM, build_head
from tests.recognizers import lstm_head, mean_pool_head, script

NO_OR_YES = (False, True)
VARIANTS = [
    {"readout": readout, "bidirectional": bi, "centered": centered, "shortcut": shortcut, "pooled_vote": pooled}
    for readout, bi, centered, shortcut, pooled in itertools.product(READOUTS, *[NO_OR_YES] * 4)
]
FEATURES = 5


def in_words(variant: dict[str, Any] | None) -> str:
    if variant is None:
        return "mean_pool"
    return "-".join([variant["readout"], *(name for name, value in variant.items() if value is True)])


def features(batch: int, time: int, *, seed: int = 0) -> Tensor:
    return torch.randn(batch, time, FEATURES, generator=torch.Generator().manual_seed(seed))


# The LSTM of the textbooks, in NumPy and float64: Hochreiter & Schmidhuber 1997, the forget gate of
# Gers, Schmidhuber & Cummins 2000.


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def lstm_step(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, w: dict[str, np.ndarray], u: dict[str, np.ndarray], b: dict
) -> tuple[np.ndarray, np.ndarray]:
    """One step: input x, output h and cell state c before; output and cell state after."""
    input_gate = sigmoid(w["input"] @ x + u["input"] @ h + b["input"])
    forget_gate = sigmoid(w["forget"] @ x + u["forget"] @ h + b["forget"])
    output_gate = sigmoid(w["output"] @ x + u["output"] @ h + b["output"])
    candidate = np.tanh(w["candidate"] @ x + u["candidate"] @ h + b["candidate"])
    c = forget_gate * c + input_gate * candidate
    return output_gate * np.tanh(c), c


def lstm_direction(inputs: np.ndarray, lstm: nn.LSTM, layer: int, *, backward: bool) -> tuple[np.ndarray, np.ndarray]:
    """Outputs `(T, H)` of one direction of a layer and the cell state that it ends with."""
    suffix = f"l{layer}_reverse" if backward else f"l{layer}"
    # nn.LSTM keeps the four stacked in this order.
    names = ("input", "forget", "candidate", "output")
    w, u, b_input, b_state = (
        dict(zip(names, np.split(getattr(lstm, f"{kind}_{suffix}").detach().numpy(), 4), strict=True))
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    b = {name: b_input[name] + b_state[name] for name in names}
    h = c = np.zeros(lstm.hidden_size)
    outputs = np.zeros((len(inputs), lstm.hidden_size))
    for time in reversed(range(len(inputs))) if backward else range(len(inputs)):
        h, c = lstm_step(inputs[time], h, c, w, u, b)
        outputs[time] = h
    return outputs, c


def lstm_layer(inputs: np.ndarray, lstm: nn.LSTM, layer: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Outputs of a layer, both directions side by side, and the cell state that each ends with."""
    directions = [False, True] if lstm.bidirectional else [False]
    read = [lstm_direction(inputs, lstm, layer, backward=backward) for backward in directions]
    return np.concatenate([outputs for outputs, _ in read], axis=1), [cell for _, cell in read]


def first_layers(lstm: nn.LSTM, layers: int) -> nn.LSTM:
    """The LSTM without what lies above: its outputs are those of the layer `layers - 1`."""
    lower = nn.LSTM(
        lstm.input_size,
        lstm.hidden_size,
        layers,
        batch_first=True,
        bidirectional=lstm.bidirectional,
        dtype=torch.double,
    )
    state = lstm.state_dict()
    lower.load_state_dict({name: state[name] for name in lower.state_dict()})
    return lower


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_each_layer_is_the_lstm_of_the_textbook(layers: int, bidirectional: bool) -> None:
    head = lstm_head(FEATURES, num_layers=layers, bidirectional=bidirectional).double()
    window = features(1, 7).double()
    expected, ends = window[0].numpy(), []
    for layer in range(layers):
        expected, cells = lstm_layer(expected, head.lstm, layer)
        ends += cells
        outputs, (_, last_cells) = first_layers(head.lstm, layer + 1)(window)
        np.testing.assert_allclose(outputs[0].detach().numpy(), expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(last_cells[:, 0].detach().numpy(), ends, rtol=0, atol=1e-12)
    np.testing.assert_allclose(head.lstm(window)[0][0].detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS, ids=in_words)
def test_logits_are_the_readout_of_the_textbook_lstm(variant: dict[str, Any]) -> None:
    head = lstm_head(FEATURES, **variant).double()
    window = features(1, 7).double()
    x = window[0].numpy()
    unit = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    states = unit - unit.mean(axis=0) if variant["centered"] else unit
    states = states @ head.projection.weight.detach().numpy().T
    for layer in range(head.lstm.num_layers):
        states, _ = lstm_layer(states, head.lstm, layer)
    if variant["readout"] == "mean":
        summary = states.mean(axis=0)
    elif variant["readout"] == "last":
        size = head.lstm.hidden_size
        summary = np.concatenate([states[-1, :size], states[0, size:]])
    else:
        weights = np.exp(states @ head.attention.weight[0].detach().numpy())
        summary = weights @ states / weights.sum()
    if variant["shortcut"]:
        summary = np.concatenate([summary, unit.mean(axis=0)])
    expected = head.classifier.weight.detach().numpy() @ summary + head.classifier.bias.detach().numpy()
    if variant["pooled_vote"]:
        pooled = head.pooled_classifier
        beside = pooled.weight.detach().numpy() @ unit.mean(axis=0) + pooled.bias.detach().numpy()
        expected = np.log((softmax(expected) + softmax(beside)) / 2)
    logits = head(window, torch.tensor([7]))[0].detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-12)


def test_order_in_time_counts_for_the_lstm_and_not_for_the_baseline() -> None:
    window, lengths = features(2, 6), torch.tensor([6, 6])
    turned = window.flip(1)
    baseline, head = mean_pool_head(FEATURES), lstm_head(FEATURES)
    torch.testing.assert_close(baseline(window, lengths), baseline(turned, lengths), rtol=0, atol=1e-6)
    assert (head(window, lengths) - head(turned, lengths)).abs().max() > 1e-4


GARBAGE = {"numbers": 1e4, "infinity": float("inf"), "nan": float("nan")}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("variant", VARIANTS, ids=in_words)
def test_padding_never_counts(variant: dict[str, Any], garbage: str) -> None:
    assert_padding_never_counts(lstm_head(FEATURES, **variant), GARBAGE[garbage])


@pytest.mark.parametrize("garbage", GARBAGE)
def test_padding_never_counts_for_the_baseline(garbage: str) -> None:
    assert_padding_never_counts(mean_pool_head(FEATURES), GARBAGE[garbage])


def assert_padding_never_counts(head: StackedLSTM | MeanPool, garbage: float) -> None:
    lengths = torch.tensor([3, 6, 1, 5])
    windows = features(4, 6)
    # Not one number all over: a normalisation would take it away.
    padded = windows.clone()
    for item, length in enumerate(lengths.tolist()):
        padded[item, length:] = garbage * torch.linspace(0.5, 1, FEATURES)
    alone = [head(windows[item : item + 1, :length], lengths[item : item + 1]) for item, length in enumerate(lengths)]
    torch.testing.assert_close(head(padded, lengths), torch.cat(alone), rtol=0, atol=1e-6)


def test_last_is_the_last_that_counts() -> None:
    head = lstm_head(FEATURES, readout="last", centered=False, shortcut=False)
    window, lengths = features(2, 6), torch.tensor([4, 6])
    after_last = window.clone()
    after_last[0, 4:] += 1
    at_last = window.clone()
    at_last[0, 3] = at_last[0, 3].flip(0)
    assert torch.equal(head(after_last, lengths), head(window, lengths))
    assert (head(at_last, lengths) - head(window, lengths)).abs()[0].max() > 1e-3


# Scripting takes long: with both or neither of what the forward pass may do besides.
@pytest.mark.parametrize("variant", [*VARIANTS[::12], *VARIANTS[3::4], None], ids=in_words)
def test_scripted_equals_eager(variant: dict[str, Any] | None) -> None:
    head = mean_pool_head(FEATURES) if variant is None else lstm_head(FEATURES, **variant)
    scripted = script(head)
    for time, lengths in [(6, [3, 6, 1, 5]), (1, [1, 1, 1, 1])]:
        window = features(4, time)
        counts = torch.tensor(lengths)
        torch.testing.assert_close(scripted(window, counts), head(window, counts), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        lstm_head(FEATURES, readout="attention", num_layers=3, shortcut=False),
        lstm_head(FEATURES, bidirectional=True, centered=False, hidden_size=4),
        mean_pool_head(FEATURES),
    ],
)
def test_a_description_makes_the_same_head_again(head: StackedLSTM | MeanPool) -> None:
    again = build_head(head.describe()).eval()
    again.load_state_dict(head.state_dict())
    window, lengths = features(2, 6), torch.tensor([6, 2])
    assert torch.equal(again(window, lengths), head(window, lengths))
    assert again.describe() == head.describe()
    assert again.dropout.p == head.dropout.p == 0.1


def test_a_head_with_one_layer_warns_of_nothing() -> None:
    assert lstm_head(FEATURES, num_layers=1, dropout=0.5).lstm.dropout == 0.0
    assert lstm_head(FEATURES, num_layers=2, dropout=0.5).lstm.dropout == 0.5


@pytest.mark.parametrize(
    "head", [lstm_head(6, modality_weights=[1.0, 1.0]), mean_pool_head(6, modality_weights=[1.0, 1.0])]
)
def test_modality_dropout_is_for_training_alone(head: StackedLSTM | MeanPool) -> None:
    window, lengths = torch.randn(64, 4, 6, generator=torch.Generator().manual_seed(0)), torch.full((64,), 4)
    assert torch.equal(head(window, lengths), head(window, lengths))
    head.dropout.p = 0.0
    head.train()
    if isinstance(head, StackedLSTM):
        head.lstm.dropout = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        differing = (head(window, lengths) - head.eval()(window, lengths)).abs().amax(dim=1) > 1e-4
    assert 16 < int(differing.sum()) < 60  # half of the windows, or where two vote and each draws, three quarters


@pytest.mark.parametrize("make", [lstm_head, mean_pool_head])
def test_a_modality_counts_by_its_weight(make: Callable[..., StackedLSTM | MeanPool]) -> None:
    window, lengths = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([4, 4])
    other = torch.cat([window[..., :3].flip(2), window[..., 3:]], dim=2)  # another first modality
    blind, seeing = make(6, modality_weights=[0.0, 1.0]), make(6, modality_weights=[0.5, 1.0])
    assert torch.equal(blind(window, lengths), blind(other, lengths))
    assert (seeing(window, lengths) - seeing(other, lengths)).abs().max() > 1e-3


def test_what_training_zeroes_of_a_window_is_the_same_at_each_step() -> None:
    head = lstm_head(FEATURES, dropout=0.5).train()
    seen: list[Tensor] = []
    head.lstm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    torch.manual_seed(0)
    head(features(16, 6), torch.full((16,), 6))
    zeroed = seen[0] == 0  # (16, 6, P)
    assert torch.equal(zeroed, zeroed[:, :1].expand_as(zeroed))
    assert 0.3 < zeroed.float().mean() < 0.7
    assert not torch.equal(zeroed[0], zeroed[1])


def test_each_vote_learns_from_its_own_mistakes() -> None:
    head = lstm_head(FEATURES, dropout=0.0)
    alone, beside = head.votes(features(2, 6), torch.tensor([6, 6]))
    alone.square().sum().backward()
    assert head.classifier.weight.grad is not None
    assert head.pooled_classifier.weight.grad is None
    head.zero_grad()
    beside.square().sum().backward()
    assert head.classifier.weight.grad is None
    assert all(parameter.grad is None for parameter in head.lstm.parameters())
    assert head.pooled_classifier.weight.grad is not None


def test_the_penalty_is_of_the_weights_for_the_mean_feature() -> None:
    head, baseline = lstm_head(FEATURES, mean_penalty=0.5), mean_pool_head(FEATURES)
    shortcut = head.classifier.weight[:, head.lstm.hidden_size :]
    own, pooled = head.penalties()
    assert shortcut.shape[1] == FEATURES
    assert own == 0.5 * shortcut.square().sum()
    assert pooled == 0.5 * head.pooled_classifier.weight.square().sum()  # type: ignore[operator, union-attr]
    (none,) = lstm_head(FEATURES, mean_penalty=0.5, shortcut=False, pooled_vote=False).penalties()
    assert none == 0
    baseline.mean_penalty = 2.0
    assert baseline.penalties() == [2.0 * baseline.classifier.weight.square().sum()]


def test_the_lstm_reads_each_modality_by_directions_of_its_own() -> None:
    head = lstm_head(6, modality_weights=[1.0, 1.0], projection_size=5)
    assert head.directions == [3, 2]
    weights = head.projection.weight
    assert not weights[:3, 3:].any()
    assert not weights[3:, :3].any()
    assert bool(weights[:3, :3].all())
    assert bool(weights[3:, 3:].all())
    assert not weights.requires_grad


def test_an_unknown_readout_is_refused() -> None:
    with pytest.raises(ValueError, match="readout is 'max'; accepted: mean, last, attention"):
        lstm_head(FEATURES, readout="max")
