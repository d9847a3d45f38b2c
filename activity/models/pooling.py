"""What the heads compute with: features of windows without their padding, normalised, pooled and weighed by modality.

Functions of tensors alone, which TorchScript compiles.
"""

import torch
from torch import Tensor, nn


def without_padding(features: Tensor, lengths: Tensor) -> Tensor:
    """Features `(B, T, D)` with zeros for the padding, whatever it held: 0 times NaN would be NaN."""
    return features.masked_fill(~valid_mask(features, lengths).unsqueeze(2), 0.0)


def normalised(features: Tensor, num_modalities: int) -> Tensor:
    """Features `(B, T, D)` with mean 0 and variance 1 in each modality of each time (Ba, Kiros & Hinton 2016).

    Each by itself, so that none outweighs another; without scale and shift, which the layer that reads them has.
    """
    size = features.shape[2] // num_modalities
    parts = features.view(features.shape[0], features.shape[1], num_modalities, size)
    return nn.functional.layer_norm(parts, [size]).view(features.shape)


def masked_mean(sequence: Tensor, lengths: Tensor) -> Tensor:
    """The mean over time `(B, H)` of a `(B, T, H)` sequence; padding does not count, but must be finite."""
    shares = valid_mask(sequence, lengths).to(sequence.dtype) / lengths.unsqueeze(1)  # (B, T)
    return torch.bmm(shares.unsqueeze(1), sequence).squeeze(1)


def valid_mask(sequence: Tensor, lengths: Tensor) -> Tensor:
    """`bool (B, T)`: true at the first `lengths[b]` places of a `(B, T, ...)` sequence."""
    return torch.arange(sequence.shape[1], device=sequence.device)[None, :] < lengths[:, None]


def modality_emphasis(modality_weights: list[float], like: Tensor, dropout: float) -> Tensor:
    """Factors `(B, M)` for windows, of which `like` has B: each modality's weight, or 0 where it is dropped.

    With probability `dropout` a window keeps one modality, drawn at random. So a head learns to tell the classes from
    each modality alone, as the two streams of Simonyan & Zisserman (2014) do, and cannot lean on the scene where the
    motion would tell (ModDrop: Neverova et al. 2016). A modality is drawn as often as it counts: in proportion to the
    square of its weight.
    """
    batch, modalities = like.shape[0], len(modality_weights)
    weights = torch.tensor(modality_weights, dtype=like.dtype, device=like.device)
    factors = weights.unsqueeze(0).expand(batch, modalities)  # (B, M)
    if modalities > 1 and dropout > 0.0:
        kept = torch.multinomial(weights.square(), batch, replacement=True).unsqueeze(1)  # (B, 1)
        alone = torch.arange(modalities, device=like.device).unsqueeze(0) == kept  # (B, M)
        all_of_them = torch.rand(batch, 1, device=like.device) >= dropout
        factors = factors * (alone | all_of_them)
    return factors


def spread(factors: Tensor, sizes: list[int]) -> Tensor:
    """Factors `(B, M)`, the first repeated `sizes[0]` times and so on: `(B, D)`."""
    return torch.cat([factors[:, part : part + 1].expand(-1, size) for part, size in enumerate(sizes)], dim=1)


def shared_out(total: int, parts: int) -> list[int]:
    """A number of things shared out over parts: the first ones have one more where they do not come out even.

    >>> shared_out(128, 2), shared_out(5, 2)
    ([64, 64], [3, 2])
    """
    return [total // parts + int(part < total % parts) for part in range(parts)]
