"""How graphs, one for each part of a recognizer, answer as the recognizer once they are loaded."""

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
from activity.models.looks import joined, part_size, seen, whole_looks
from activity.models.preprocess import Preprocess
from activity.models.recognizer import check_features, check_frames, check_held, check_lengths, check_rows

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


@dataclass(frozen=True)
class Graphs:
    """What a format runs: by torch, or by a runtime of its own."""

    resize: ResizeGraph
    prepare: PrepareGraph
    encode: EncodeGraph
    join: JoinGraph
    classify: ClassifyGraph


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
        self.temperature = torch.tensor(contract.temperature)
        self.format_name = format_name
        self.by_torch = by_torch
        self.graphs = graphs
        preprocess = Preprocess(**contract.preprocess)
        self.square_pixels = preprocess.square_pixels
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
            found.append(self._join(self._encoded(self._prepare(pictures, own, before)), own))
        return torch.cat(found)[:wanted]

    def _moved(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor, held: Tensor) -> Tensor:
        """Features `float32 (B, T, D)`: of `held`, `(B, T, D)`, all but what "motion" sees in the B * T rows."""
        features = held.unflatten(2, (len(self.modalities), -1)).clone()
        lines = (own.view(-1, 1).split(PICTURES_AT_ONCE) for own in (rows, previous_rows))
        looks = (self._look_at_motion(pictures, *some) for some in zip(*lines, strict=True))
        found = torch.cat([self._encoded(some) for some in looks])
        features[:, :, self.modalities.index("motion")] = found.view(*held.shape[:2], -1)
        moved: Tensor = features.flatten(2)
        return moved

    def _encoded(self, looks: Tensor) -> Tensor:
        """What the CNN makes of looks, `float32 (K, backbone_size)`."""
        parts = looks.split(part_size(len(looks), PICTURES_AT_ONCE))
        return self.graphs.encode(looks) if len(parts) == 1 else torch.cat([self.graphs.encode(part) for part in parts])

    def _lines_at_once(self) -> int:
        """How many lines of rows the CNN gets the looks of."""
        looks = sum(1 if modality == "rgb" else self.rgb_every for modality in self.modalities)
        return max(1, PICTURES_AT_ONCE // looks)

    def classify(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits `float32 (B, C)` of windows `float32 (B, T, D)`, T to `window_frames`; see `Recognizer.classify`."""
        check_features(features, self.feature_size, torch.float32)
        if lengths is None:
            lengths = torch.full(features.shape[:1], features.shape[1], dtype=torch.int64)
        check_lengths(lengths, features)
        missing = self.window_frames - features.shape[1]
        if missing < 0:
            raise ValueError(f"features are {list(features.shape)}; accepted: T up to {self.window_frames}.")
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
    return seen(
        pictures,
        rgb_rows=rows[:, 0],
        rows=own,
        previous_rows=before,
        modalities=modalities,
        mean=preprocess.mean,
        std=preprocess.std,
        contrast=contract.contrast,
        noise=contract.noise,
        room=room,
    )


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
    return joined(
        found, batch=rows.shape[0], time=rows.shape[1], modalities=contract.modalities, rgb_every=contract.rgb_every
    ).flatten(0, 1)
