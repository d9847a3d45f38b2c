"""What the CNN is shown of frames, modality by modality, and the features made of what it answers.

A look is one picture that the CNN is shown: "motion" looks at each sampled frame, "rgb" at each `rgb_every`-th, and
what it saw there is held for those that follow.
"""

import math

import torch
from torch import Tensor

from activity.models.preprocess import normalise_


def seen(
    pictures: Tensor,
    rgb_rows: Tensor | None,
    rows: Tensor,
    previous_rows: Tensor | None,
    modalities: list[str],
    mean: Tensor,
    std: Tensor,
    contrast: float,
    noise: float,
    room: Tensor | None = None,
) -> Tensor:
    """What the modalities show the CNN of frames, one after the other, `float32 (K, 3, S, S)`.

    Args:
        pictures: the frames, resized and cropped, `uint8 (M, 3, S, S)`.
        rgb_rows: `int64 (L,)`, those that "rgb" looks at; None: it is left out.
        rows, previous_rows: `int64 (N,)`, those that "motion" looks at, and the sampled frame before each.
        modalities: one or both of `MODALITIES`.
        mean, std: of the pixels that the weights read.
        contrast, noise: as of `FrameEncoder`.
        room: `float32 (K or more, 3, S, S)`, to make it in; None: in new memory.
    """
    rgb_looks = rgb_rows.shape[0] if rgb_rows is not None else 0
    counts = [rgb_looks if modality == "rgb" else rows.shape[0] for modality in modalities]
    # All is made where it will lie: to be given new memory takes longer than to compute this.
    if room is not None:
        made = room[: sum(counts)]
    else:
        size = [sum(counts), 3, pictures.shape[2], pictures.shape[3]]
        made = torch.empty(size, dtype=torch.float32, device=pictures.device)
    first = 0
    for modality, count in zip(modalities, counts):  # noqa: B905 - TorchScript knows no strict
        own = made[first : first + count]
        first += count
        if modality == "motion":
            assert previous_rows is not None, "motion needs the frame before"
            own.copy_(pictures.index_select(0, rows)).sub_(pictures.index_select(0, previous_rows))  # exact
            own.mul_(motion_scale(own, std, contrast, noise))
        elif rgb_rows is not None:
            normalise_(own.copy_(pictures.index_select(0, rgb_rows)), mean, std)
    return made


def seen_as_traced(
    pictures: Tensor,
    rgb_rows: Tensor,
    rows: Tensor,
    previous_rows: Tensor,
    modalities: list[str],
    mean: Tensor,
    std: Tensor,
    contrast: float,
    noise: float,
) -> Tensor:
    """What `seen` gives, of operations that exporters know: none writes into what another one made."""
    looks: list[Tensor] = []
    for modality in modalities:
        if modality == "motion":
            change = pictures.index_select(0, rows).float() - pictures.index_select(0, previous_rows).float()
            looks.append(change * motion_scale(change, std, contrast, noise))
        else:
            looks.append((pictures.index_select(0, rgb_rows) / 255.0 - mean) / std)
    return torch.cat(looks)


def joined(
    found: Tensor, batch: int, time: int, modalities: list[str], rgb_every: int, held: Tensor | None = None
) -> Tensor:
    """Features `float32 (B, T, D)` of what the CNN made of each look, in the order of `seen`.

    Args:
        found: `float32 (K, backbone_size)`, the modalities' one after the other.
        batch, time: B and T.
        modalities, rgb_every: as of `seen`.
        held: `float32 (B, D)`: the features whose "rgb" holds, where it looked at nothing.
    """
    features: list[Tensor] = []
    sequences = torch.arange(batch, device=found.device).unsqueeze(1)
    steps = torch.arange(time, device=found.device).unsqueeze(0)
    first = 0
    for position, modality in enumerate(modalities):
        if modality == "rgb" and held is not None:
            own = held.view(batch, len(modalities), -1)[:, position]
            features.append(own.unsqueeze(1).expand(-1, time, -1))
        else:
            every = rgb_every if modality == "rgb" else 1
            looks = (time + every - 1) // every
            places = first + sequences * looks + steps // every
            features.append(found.index_select(0, places.flatten()).view(batch, time, found.shape[1]))
            first += batch * looks
    return torch.cat(features, dim=2)


def whole_looks(frames: int, rgb_every: int) -> int:
    """So many frames, or a few more: a batch or a piece after which "rgb" looks at the next one.

    >>> whole_looks(8, 4), whole_looks(10, 4), whole_looks(10, 1)
    (8, 12, 10)
    """
    return -(-frames // rgb_every) * rgb_every


def motion_scale(change: Tensor, std: Tensor, contrast: float, noise: float) -> Tensor:
    """What brings differences of frames to the contrast of a photograph, and divides them by `std` as pixels are.

    At 25 frames/s a time grid of 10 a second steps by two frames, then by three: as they are, the differences would
    grow and shrink with the step, and with the light. Where nothing moves, the noise of the camera stays noise.

    Args:
        change: of pictures to those before, `float32 (N, 3, S, S)`, from -255 to 255. Of the mean that is taken from
            pixels nothing is left in it.
        std, contrast, noise: as of `seen`.

    Returns:
        `float32 (N, 3, 1, 1)`.
    """
    strips = torch.linalg.vector_norm(change, dim=3)  # in two steps: no runtime loses digits in so few terms
    strength = torch.linalg.vector_norm(strips, dim=(1, 2)) / math.sqrt(change[0].numel())  # root mean square
    scale: Tensor = contrast / ((strength.view(-1, 1, 1, 1) / 255.0 + noise) * (255.0 * std))
    return scale


def part_size(looks: int, most: int) -> int:
    """How many of a batch's looks the CNN gets at once: at most `most`, and where it can be as many each time.

    In which part a look stands may change its last digit where parts are of several sizes.

    >>> part_size(10, 8), part_size(16, 8), part_size(20, 8), part_size(5, 8), part_size(13, 8)
    (5, 8, 5, 5, 7)
    """
    if looks <= most:
        return looks
    for size in range(most, most // 2, -1):
        if looks % size == 0:
            return size
    parts = (looks + most - 1) // most
    return (looks + parts - 1) // parts
