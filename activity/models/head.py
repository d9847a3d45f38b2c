"""The heads: what reads a window of features and scores the classes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from activity.models.pooling import (
    masked_mean,
    modality_emphasis,
    normalised,
    shared_out,
    spread,
    valid_mask,
    without_padding,
)

READOUTS = ("mean", "last", "attention")


class StackedLSTM(nn.Module):
    """A stacked LSTM over a window of features, read out over time, then a linear classifier.

    LSTM: Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000, as `nn.LSTM`
    computes it. With `shortcut` the classifier reads the LSTM's outputs and the mean of the normalised features side by
    side, so that the mean-pooling baseline is a special case of this head and not out of reach on a small data set.
    With `centered` the mean, which the shortcut has, is taken out of what the LSTM reads: a small data set shows few
    people and rooms, and an LSTM that sees them learns them by heart. With `pooled_vote` a second linear classifier
    reads nothing but the mean, is trained by a loss of its own, and the scores are the mean of both: a committee
    (Hansen & Salamon 1990) whose members err differently, and of which one cannot be spoiled by the other's training.

    Args:
        feature_size: D, the length of one feature.
        modality_weights: one for each modality that stands side by side in a feature, all of the same length; the
            normalised features are multiplied by them.
        num_classes: C.
        mean_penalty: see `penalties`.
        projection_size: P, length to which features are brought before the LSTM by a linear layer that is not trained
            but set (`set_projection`): a trained one has so many weights that it learns a small data set by heart.
        hidden_size: length of the LSTM's state, a direction.
        num_layers: LSTM layers on top of each other.
        dropout: probability that a number in the features that the LSTM reads, in a further layer's input or in the
            classifier's is zeroed in training; in the features the same over a whole window (Gal & Ghahramani 2016).
        modality_dropout: see `modality_emphasis`.
        bidirectional: also read the window from its end.
        readout: "mean" over time, the "last" output (of each direction), or a mean weighted by "attention": the softmax
            of a linear score.
        centered: the LSTM reads each feature's difference to the window's mean: what changes, not who or where it is.
        shortcut: let the classifier read the window's mean feature too.
        pooled_vote: let a mean-pooling classifier vote beside it.

    >>> head = StackedLSTM(
    ...     feature_size=8, modality_weights=[1.0, 0.5], num_classes=3, mean_penalty=0.0, projection_size=6,
    ...     hidden_size=4, num_layers=2, dropout=0.1, modality_dropout=0.5, bidirectional=False, readout="mean",
    ...     centered=True, shortcut=True, pooled_vote=True,
    ... )
    >>> head(torch.randn(5, 16, 8), torch.tensor([16, 16, 3, 16, 1])).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        *,
        feature_size: int,
        modality_weights: Sequence[float],
        num_classes: int,
        mean_penalty: float,
        projection_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        modality_dropout: float,
        bidirectional: bool,
        readout: str,
        centered: bool,
        shortcut: bool,
        pooled_vote: bool,
    ) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ValueError(f"readout is {readout!r}; accepted: {', '.join(READOUTS)}.")
        self.feature_size = feature_size
        self.modality_weights = [float(weight) for weight in modality_weights]
        self.mean_penalty = float(mean_penalty)
        self.modality_dropout = modality_dropout
        self.readout = readout
        self.centered = centered
        self.shortcut = shortcut
        self.pooled_vote = pooled_vote
        self.bidirectional = bidirectional
        self.dropout = nn.Dropout(dropout)
        self.directions = shared_out(projection_size, len(self.modality_weights))
        self.projection = nn.Linear(feature_size, projection_size, bias=False)
        self.projection.requires_grad_(False)
        blocks = self.projection.weight.detach().chunk(len(self.modality_weights), dim=1)
        rows = torch.arange(projection_size).split(self.directions)
        self.set_projection(torch.block_diag(*[block[own] for block, own in zip(blocks, rows, strict=True)]))
        self.lstm = nn.LSTM(
            projection_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,  # nn.LSTM has it between layers and warns where there is one
            bidirectional=bidirectional,
        )
        output_size = hidden_size * (2 if bidirectional else 1)
        self.attention = nn.Linear(output_size, 1) if readout == "attention" else nn.Identity()
        self.classifier = nn.Linear(output_size + (feature_size if shortcut else 0), num_classes)
        self.pooled_classifier = nn.Linear(feature_size, num_classes) if pooled_vote else nn.Identity()

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Logits `(B, C)` of features `(B, T, D)`, of which item b has `lengths[b]` (1 to T); the rest is padding."""
        return vote(self.votes(features, lengths))

    @torch.jit.export
    def votes(self, features: Tensor, lengths: Tensor) -> list[Tensor]:
        """Logits `(B, C)` of the LSTM's classifier and, with `pooled_vote`, of the one beside it."""
        unit = normalised(without_padding(features, lengths), len(self.modality_weights))  # (B, T, D)
        mean = masked_mean(unit, lengths)  # (B, D)
        emphasis = self._emphasis(mean)  # (B, M)
        read = self.projection(unit)  # (B, T, P)
        if self.centered:
            read = read - self.projection(mean).unsqueeze(1)
        # One mask a window; a new one at each step would let the LSTM average it out.
        factor = self.dropout(spread(emphasis, self.directions))  # (B, P)
        states = self._read(read * factor.unsqueeze(1), lengths)  # (B, T, H)
        summary = self._summarise(states, lengths)  # (B, H)
        sizes = shared_out(self.feature_size, len(self.modality_weights))
        if self.shortcut:
            summary = torch.cat([summary, mean * spread(emphasis, sizes)], dim=1)  # (B, H + D)
        found = [self.classifier(self.dropout(summary))]  # (B, C)
        if self.pooled_vote:
            own = spread(self._emphasis(mean), sizes)  # drawn anew: members that differ
            found.append(self.pooled_classifier(self.dropout(mean * own)))
        return found

    def penalties(self) -> list[Tensor]:
        """What is added to the loss of each vote: `mean_penalty` for each square of a weight of the mean feature."""
        first = self.classifier.weight
        own = first[:, first.shape[1] - self.feature_size :] if self.shortcut else first[:, :0]
        pooled = [part.weight for part in [self.pooled_classifier] if isinstance(part, nn.Linear)]
        return [self.mean_penalty * weights.square().sum() for weights in (own, *pooled)]

    def set_projection(self, directions: Tensor) -> None:
        """Set what features are projected on before the LSTM: rows `(P, D)`, as many of a modality as `directions`."""
        with torch.no_grad():
            self.projection.weight.copy_(directions)

    def reading_parameters(self) -> list[nn.Parameter]:
        """Those of what reads the window in order, up to the classifier."""
        return [*self.lstm.parameters(), *self.attention.parameters()]

    def describe(self) -> dict[str, Any]:
        """What it was built with, as plain Python, for `build_head`."""
        return {
            "kind": "lstm",
            "feature_size": self.feature_size,
            "modality_weights": list(self.modality_weights),
            "num_classes": self.classifier.out_features,
            "mean_penalty": self.mean_penalty,
            "projection_size": self.projection.out_features,
            "hidden_size": self.lstm.hidden_size,
            "num_layers": self.lstm.num_layers,
            "dropout": self.dropout.p,
            "modality_dropout": self.modality_dropout,
            "bidirectional": self.bidirectional,
            "readout": self.readout,
            "centered": self.centered,
            "shortcut": self.shortcut,
            "pooled_vote": self.pooled_vote,
        }

    def _emphasis(self, mean: Tensor) -> Tensor:
        return modality_emphasis(self.modality_weights, mean, self.modality_dropout if self.training else 0.0)

    def _read(self, features: Tensor, lengths: Tensor) -> Tensor:
        if not self.bidirectional:  # padding comes last, so no valid output has seen it
            states: Tensor = self.lstm(features)[0]
            return states
        # Both directions layer by layer, each window turned around within its length: what a packed sequence does, in
        # operations that every export format has.
        steps = torch.arange(features.shape[1], device=features.device).unsqueeze(0)
        turned = torch.where(steps < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - steps, steps).unsqueeze(2)
        for layer in range(self.lstm.num_layers):
            if layer > 0:
                features = nn.functional.dropout(features, self.lstm.dropout, self.training)
            weights: list[Tensor] = self.lstm._flat_weights[8 * layer : 8 * layer + 8]  # type: ignore[assignment]
            there = self._one_direction(features, weights[:4])
            back = self._one_direction(features.gather(1, turned.expand(-1, -1, features.shape[2])), weights[4:])
            features = torch.cat([there, back.gather(1, turned.expand(-1, -1, back.shape[2]))], dim=2)
        return features

    def _one_direction(self, features: Tensor, weights: list[Tensor]) -> Tensor:
        """States `(B, T, H)` of a layer of the LSTM that begins with zeros."""
        zeros = torch.zeros(1, features.shape[0], self.lstm.hidden_size, dtype=features.dtype, device=features.device)
        states, _, _ = torch.lstm(features, [zeros, zeros], weights, True, 1, 0.0, self.training, False, True)
        return states

    def _summarise(self, states: Tensor, lengths: Tensor) -> Tensor:
        if self.readout == "mean":
            return masked_mean(states, lengths)
        if self.readout == "attention":
            scores = self.attention(states).squeeze(2)  # (B, T)
            weights = scores.masked_fill(~valid_mask(states, lengths), float("-inf")).softmax(dim=1)
            return torch.bmm(weights.unsqueeze(1), states).squeeze(1)
        return self._last(states, lengths)

    def _last(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The forward direction's output at the last feature, the backward one's at the first: each has seen all."""
        last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, states.shape[2])
        at_end = states.gather(1, last).squeeze(1)  # (B, H)
        if not self.bidirectional:
            return at_end
        half = states.shape[2] // 2
        return torch.cat([at_end[:, :half], states[:, 0, half:]], dim=1)


class MeanPool(nn.Module):
    """The baseline: the mean of a window's normalised features, then a linear classifier. Blind to order in time.

    >>> head = MeanPool(
    ...     feature_size=8, modality_weights=[1.0, 0.5], num_classes=3, mean_penalty=0.0, dropout=0.1,
    ...     modality_dropout=0.5,
    ... )
    >>> head(torch.randn(5, 16, 8), torch.full((5,), 16)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        *,
        feature_size: int,
        modality_weights: Sequence[float],
        num_classes: int,
        mean_penalty: float,
        dropout: float,
        modality_dropout: float,
    ) -> None:
        super().__init__()
        self.feature_size = feature_size
        self.modality_weights = [float(weight) for weight in modality_weights]
        self.mean_penalty = float(mean_penalty)
        self.modality_dropout = modality_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(feature_size, num_classes)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Logits `(B, C)` of features `(B, T, D)`, of which item b has `lengths[b]`; the rest is padding."""
        return vote(self.votes(features, lengths))

    @torch.jit.export
    def votes(self, features: Tensor, lengths: Tensor) -> list[Tensor]:
        """Logits `(B, C)` of its one classifier; arguments as above."""
        unit = normalised(without_padding(features, lengths), len(self.modality_weights))  # (B, T, D)
        mean = masked_mean(unit, lengths)  # (B, D)
        emphasis = modality_emphasis(self.modality_weights, mean, self.modality_dropout if self.training else 0.0)
        sizes = shared_out(self.feature_size, len(self.modality_weights))
        return [self.classifier(self.dropout(mean * spread(emphasis, sizes)))]

    def penalties(self) -> list[Tensor]:
        """What is added to the loss of its vote, as in `StackedLSTM`."""
        return [self.mean_penalty * self.classifier.weight.square().sum()]

    def reading_parameters(self) -> list[nn.Parameter]:
        """None: nothing reads the window in order."""
        return []

    def describe(self) -> dict[str, Any]:
        """What it was built with, as plain Python, for `build_head`."""
        return {
            "kind": "mean_pool",
            "feature_size": self.feature_size,
            "modality_weights": list(self.modality_weights),
            "num_classes": self.classifier.out_features,
            "mean_penalty": self.mean_penalty,
            "dropout": self.dropout.p,
            "modality_dropout": self.modality_dropout,
        }


HEADS: dict[str, type[StackedLSTM] | type[MeanPool]] = {"lstm": StackedLSTM, "mean_pool": MeanPool}


def build_head(description: dict[str, Any]) -> StackedLSTM | MeanPool:
    """The head that `describe` described, with fresh weights."""
    arguments = dict(description)
    return HEADS[arguments.pop("kind")](**arguments)


def vote(votes: list[Tensor]) -> Tensor:
    """Logits whose softmax is the mean of the softmaxes of all votes `(B, C)`; a single vote's own logits."""
    if len(votes) == 1:
        return votes[0]
    return torch.stack([logits.log_softmax(dim=1) for logits in votes]).logsumexp(dim=0) - math.log(len(votes))
