"""Formats of graphs, one for each part of a recognizer: what is traced of it, and how it answers once loaded."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from activity.formats.contract import Contract
from activity.models.encoder import PICTURES_AT_ONCE
from activity.models.looks import joined, seen, seen_as_traced, whole_looks
from activity.models.preprocess import Preprocess
from activity.models.recognizer import Recognizer, check_frames, check_held, check_rows, rebuild_recognizer

MOST_FRAMES, LARGEST_SIDE = 65_536, 16_384

PARTS = ("resize", "prepare", "encoder", "join", "head")
"""The graphs of a model, in data-flow order, as files name them."""

ResizeGraph = Callable[[Tensor], Tensor]
"""Frames `uint8 (M, 3, H, W)` to pictures `uint8 (M, 3, S, S)`."""

PrepareGraph = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Pictures, rows and previous rows `int64 (L, rgb_every)` to the pixels of each look, `float32 (K, 3, S, S)`.

"rgb" looks at the first of each line, "motion" at all of it.
"""

EncodeGraph = Callable[[Tensor], Tensor]
"""Pixels to what the CNN makes of each look, `float32 (K, backbone_size)`."""

JoinGraph = Callable[[Tensor, Tensor], Tensor]
"""What the CNN made of the looks, and rows, to features `float32 (L * rgb_every, D)`."""

ClassifyGraph = Callable[[Tensor, Tensor], Tensor]
"""Features `float32 (B, window_frames, D)`, lengths `int64 (B,)` to logits `float32 (B, C)`."""


_Session = TypeVar("_Session")


class ResizePart(nn.Module):
    """The resizing as it is traced."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.preprocess = recognizer.encoder.preprocess

    def forward(self, frames: Tensor) -> Tensor:
        """Frames resized and cropped; shapes as `ResizeGraph`."""
        return self.preprocess.pictures(frames)


class PreparePart(nn.Module):
    """What the CNN is shown, as it is traced: apart from it, for differences of frames do not survive bfloat16."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.encoder = recognizer.encoder

    def forward(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor) -> Tensor:
        """Pixels of the pictures at `rows`, each after the one at `previous_rows`; shapes as `PrepareGraph`."""
        encoder, own, before = self.encoder, rows.flatten(), previous_rows.flatten()
        modalities, mean, std = encoder.modalities, encoder.preprocess.mean, encoder.preprocess.std
        return seen_as_traced(pictures, rows[:, 0], own, before, modalities, mean, std, encoder.contrast, encoder.noise)


class EncoderPart(nn.Module):
    """The CNN as it is traced."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.encoder = recognizer.encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """What the CNN makes of pixels; shapes as `EncodeGraph`."""
        return self.encoder.encode_seen(pixels)


class JoinPart(nn.Module):
    """The joining of looks to features, as it is traced: not of the CNN, which answers whatever looks it is shown."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.modalities, self.rgb_every = list(recognizer.modalities), recognizer.rgb_every

    def forward(self, found: Tensor, rows: Tensor) -> Tensor:
        """Features; shapes as `JoinGraph`."""
        return joined(found, rows.shape[0], rows.shape[1], self.modalities, self.rgb_every).flatten(0, 1)


class HeadPart(nn.Module):
    """The head as it is traced."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.head, self.temperature = recognizer.head, recognizer.temperature

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Logits of windows of which `lengths` features count; shapes as `ClassifyGraph`."""
        logits: Tensor = self.head(features, lengths)
        return logits / self.temperature


@dataclass(frozen=True)
class Graphs:
    """What a format runs: by torch, or by a runtime of its own."""

    resize: ResizeGraph
    prepare: PrepareGraph
    encode: EncodeGraph
    join: JoinGraph
    classify: ClassifyGraph


@dataclass(frozen=True)
class Example:
    """Inputs to trace with: sizes that are no special case."""

    frames: Tensor
    pictures: Tensor
    rows: Tensor
    previous_rows: Tensor
    pixels: Tensor
    found: Tensor
    features: Tensor
    lengths: Tensor


def example_of(recognizer: Recognizer) -> Example:
    """Inputs for a recognizer's parts."""
    rows = torch.arange(1, 1 + 2 * recognizer.rgb_every).view(2, -1)
    looks = sum(2 if modality == "rgb" else rows.numel() for modality in recognizer.modalities)
    size = recognizer.encoder.feature_size
    side = recognizer.encoder.preprocess.crop_size
    return Example(
        frames=torch.zeros(3, 3, 120, 160, dtype=torch.uint8),
        pictures=torch.zeros(rows.numel() + 1, 3, side, side, dtype=torch.uint8),
        rows=rows,
        previous_rows=rows - 1,
        pixels=torch.zeros(3, 3, side, side),  # few: a .pt2 file holds the inputs that it was traced with
        found=torch.zeros(looks, size // len(recognizer.modalities)),
        features=torch.zeros(2, recognizer.window_frames, size),
        lengths=torch.tensor([recognizer.window_frames, 1]),
    )


def same_in(recognizer: Recognizer, precision: str, *, traced: bool = False) -> Recognizer:
    """A recognizer of the same weights that computes in another precision.

    Args:
        recognizer: on the CPU.
        precision: "float32" or "bfloat16".
        traced: it is to be traced, and not to be run.
    """
    description = copy.deepcopy(recognizer.describe())
    description["encoder"]["precision"] = precision
    other = rebuild_recognizer(description)
    other.load_state_dict(recognizer.state_dict())
    if traced:
        other.encoder.backbone = nn.Identity()  # no feature is computed with it: the file would hold the CNN twice
    other.encoder.preprocess.traced = traced
    return other.eval().requires_grad_(False)


class ByThreads(Generic[_Session]):
    """A runtime's session for as many threads as torch takes where it is asked for: one for streams, one for batches.

    A stream has one frame at a time, to which all cores go; of videos each core encodes a batch of its own.

    Args:
        make: a session that computes in so many threads.
    """

    def __init__(self, make: Callable[[int], _Session]) -> None:
        self._make = make
        self._made: dict[int, _Session] = {}
        self._lock = threading.Lock()

    def get(self) -> _Session:
        """The one for the thread that asks."""
        threads = torch.get_num_threads()
        with self._lock:
            if threads not in self._made:
                self._made[threads] = self._make(threads)
            return self._made[threads]


class GraphsRecognizer:
    """A recognizer of graphs, with the interface of `LoadedRecognizer`; on the CPU.

    Here torch resizes and prepares the frames and joins the features, which takes it a fraction of the time and gives
    the same; the graphs that do are for programs that have no torch.

    Args:
        contract: what the file says of itself.
        graphs: what the file holds.
        format_name: what `activity inspect` calls it.
        by_torch: torch runs them, which computes in each precision as it did for the checkpoint.
    """

    def __init__(self, contract: Contract, graphs: Graphs, format_name: str, *, by_torch: bool = False) -> None:
        self.class_names = list(contract.class_names)
        self.sample_fps = float(contract.sample_fps)
        self.window_frames = int(contract.window_frames)
        self.modalities = list(contract.modalities)
        self.rgb_every = int(contract.rgb_every)
        self.format_version = contract.format_version
        self.feature_size = contract.feature_size
        self.encoder_name, self.precision, self.computes_in = contract.encoder, contract.precision, contract.computes_in
        self.format_name = format_name
        self.by_torch = by_torch
        self.graphs = graphs
        preprocess = Preprocess(**contract.preprocess)
        self._resize: ResizeGraph = preprocess.pictures
        rooms, of_motion = threading.local(), replace(contract, modalities=["motion"], rgb_every=1)
        self._prepare: PrepareGraph = partial(_prepared, preprocess, contract, rooms)
        self._look_at_motion: PrepareGraph = partial(_prepared, preprocess, of_motion, rooms)
        self._join: JoinGraph = partial(_joined, contract)

    def as_elsewhere(self) -> "GraphsRecognizer":
        """The same, all of whose work is done by the file's own graphs, as in other programs."""
        other = copy.copy(self)
        other._resize, other._prepare, other._join = self.graphs.resize, self.graphs.prepare, self.graphs.join
        other._look_at_motion = partial(_motion_of, self.graphs.prepare, self.modalities, self.rgb_every)
        return other

    def encode(self, frames: Tensor, previous: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        """Features `float32 (B, T, D)` of frames `uint8 (B, T, 3, H, W)`; see `Recognizer.encode`."""
        check_frames(frames, previous)
        if held is not None:
            check_held(held, frames, self.feature_size, self.rgb_every)
        batch, time = frames.shape[:2]
        before = frames[:, :1] if previous is None else previous.view(batch, 1, *frames.shape[2:])
        pictures = self._resize(torch.cat([before, frames], dim=1).flatten(0, 1))  # (B * (T + 1), 3, S, S)
        rows = torch.arange(len(pictures)).view(batch, time + 1)
        if held is not None and self.rgb_every > 1:
            held = held.view(batch, 1, -1).expand(-1, time, -1)
            return self._moved(pictures, rows[:, 1:].flatten(), rows[:, :-1].flatten(), held)
        # To graphs rows are one sequence, of which each item has to fill whole looks.
        more = whole_looks(time, self.rgb_every) - time
        rows = torch.cat([rows, rows[:, -1:].expand(-1, more)], dim=1)
        features = self._features(pictures, rows[:, 1:].flatten(), rows[:, :-1].flatten())
        return features.view(batch, time + more, -1)[:, :time]

    def encode_rows(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """Features `float32 (N, D)` of single frames; see `FrameEncoder.encode_rows`."""
        check_rows(frames, rows, previous_rows, self.modalities)
        resized = [self._resize(alike) for alike in frames]
        pictures = resized[0] if len(resized) == 1 else torch.cat(resized)
        return self._features(pictures, rows, rows if previous_rows is None else previous_rows)

    def _features(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor) -> Tensor:
        """Features `float32 (N, D)` of the pictures at `rows`, prepared as they come to the CNN."""
        wanted, pictures = len(rows), pictures.contiguous()  # while they are bytes
        more = whole_looks(wanted, self.rgb_every) - wanted
        lines, previous_lines = (
            torch.cat([own, own[-1:].expand(more)]).view(-1, self.rgb_every).split(self._lines_at_once())
            for own in (rows, previous_rows)
        )
        found = []
        for own, before in zip(lines, previous_lines, strict=True):
            found.append(self._join(self.graphs.encode(self._prepare(pictures, own, before)), own))
        return torch.cat(found)[:wanted]

    def _moved(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor, held: Tensor) -> Tensor:
        """Features `float32 (B, T, D)`: of `held`, `(B, T, D)`, all but what "motion" sees in the B * T rows."""
        features = held.unflatten(2, (len(self.modalities), -1)).clone()
        lines = (own.view(-1, 1).split(PICTURES_AT_ONCE) for own in (rows, previous_rows))
        looks = (self._look_at_motion(pictures, *some) for some in zip(*lines, strict=True))
        found = torch.cat([self.graphs.encode(some) for some in looks])
        features[:, :, self.modalities.index("motion")] = found.view(*held.shape[:2], -1)
        moved: Tensor = features.flatten(2)
        return moved

    def _lines_at_once(self) -> int:
        """How many lines of rows the CNN gets the looks of."""
        looks = sum(1 if modality == "rgb" else self.rgb_every for modality in self.modalities)
        return max(1, PICTURES_AT_ONCE // looks)

    def classify(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits `float32 (B, C)` of windows `float32 (B, T, D)`, T to `window_frames`; see `Recognizer.classify`."""
        if features.dim() != 3 or features.shape[2] != self.feature_size or features.shape[1] > self.window_frames:
            accepted = f"(B, T, {self.feature_size}) with T up to {self.window_frames}"
            raise ValueError(f"features are {tuple(features.shape)}; accepted: {accepted}.")
        batch, time = features.shape[:2]
        if lengths is None:
            lengths = torch.full((batch,), time, dtype=torch.int64)
        if lengths.shape != (batch,) or bool((lengths < 1).any()) or bool((lengths > time).any()):
            raise ValueError(f"lengths are {lengths}; accepted: int64 (B,), 1 to {time}.")
        missing = self.window_frames - time
        return self.graphs.classify(nn.functional.pad(features, (0, 0, 0, missing)), lengths)


def _prepared(
    preprocess: Preprocess,
    contract: Contract,
    rooms: threading.local,
    pictures: Tensor,
    rows: Tensor,
    previous_rows: Tensor,
) -> Tensor:
    """What `PreparePart` gives, by torch; in a thread's own room, where it stays until that thread prepares anew."""
    own, before, modalities = rows.flatten(), previous_rows.flatten(), contract.modalities
    most = len(modalities) * len(own)
    room = getattr(rooms, "room", None)
    if room is None or len(room) < most:
        with torch.inference_mode(False):  # who asks later may not be in it
            room = rooms.room = torch.empty(most, 3, *pictures.shape[2:])
    mean, std, contrast, noise = preprocess.mean, preprocess.std, contract.contrast, contract.noise
    return seen(pictures, rows[:, 0], own, before, modalities, mean, std, contrast, noise, room)


def _motion_of(
    prepare: PrepareGraph, modalities: list[str], rgb_every: int, pictures: Tensor, rows: Tensor, previous_rows: Tensor
) -> Tensor:
    """What "motion" sees of rows `int64 (N, 1)`, by a graph that shows the looks of all modalities."""
    count = len(rows)
    more = whole_looks(count, rgb_every) - count
    lines = (torch.cat([own, own[-1:].expand(more, 1)]).view(-1, rgb_every) for own in (rows, previous_rows))
    looks = prepare(pictures, *lines)
    first = 0 if modalities[0] == "motion" else len(looks) - count - more
    return looks[first : first + count]


def _joined(contract: Contract, found: Tensor, rows: Tensor) -> Tensor:
    """What `JoinPart` gives, by torch."""
    return joined(found, rows.shape[0], rows.shape[1], contract.modalities, contract.rgb_every).flatten(0, 1)
