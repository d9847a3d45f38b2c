"""Formats of graphs, one for each part of a recognizer: what is traced of it, and how it answers once loaded."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from activity.formats.contract import Contract
from activity.models.encoder import seen
from activity.models.preprocess import Preprocess
from activity.models.recognizer import Recognizer, check_rows, rebuild_recognizer

_PICTURES_AT_ONCE = 8  # that a CNN gets: what it makes of more does not stay in a core's cache
MOST_FRAMES, LARGEST_SIDE = 65_536, 16_384

PARTS = ("resize", "prepare", "encoder", "head")
"""The graphs of a model, in data-flow order, as files name them."""

ResizeGraph = Callable[[Tensor], Tensor]
"""Frames `uint8 (M, 3, H, W)` to pictures `uint8 (M, 3, S, S)`."""

PrepareGraph = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Pictures, rows `int64 (N,)`, previous rows `int64 (N,)` to pixels `float32 (modalities, N, 3, S, S)`."""

EncodeGraph = Callable[[Tensor], Tensor]
"""Pixels to features `float32 (N, D)`."""

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
        return torch.stack(self.encoder.seen(pictures, rows, previous_rows))


class EncoderPart(nn.Module):
    """The CNN as it is traced."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.encoder = recognizer.encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """Features; shapes as `EncodeGraph`."""
        return self.encoder.encode_seen(pixels)


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
    classify: ClassifyGraph


@dataclass(frozen=True)
class Example:
    """Inputs to trace with: sizes that are no special case."""

    frames: Tensor
    pictures: Tensor
    rows: Tensor
    previous_rows: Tensor
    pixels: Tensor
    features: Tensor
    lengths: Tensor


def example_of(recognizer: Recognizer) -> Example:
    """Inputs for a recognizer's parts."""
    rows = torch.tensor([1, 2])
    side = recognizer.encoder.preprocess.crop_size
    return Example(
        frames=torch.zeros(3, 3, 120, 160, dtype=torch.uint8),
        pictures=torch.zeros(3, 3, side, side, dtype=torch.uint8),
        rows=rows,
        previous_rows=rows - 1,
        pixels=torch.zeros(len(recognizer.modalities), 2, 3, side, side),
        features=torch.zeros(2, recognizer.window_frames, recognizer.encoder.feature_size),
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

    Here torch resizes and prepares the frames, which takes it a fraction of the time and gives the same; the graphs
    that do are for programs that have no torch.

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
        self.format_version = contract.format_version
        self.feature_size = contract.feature_size
        self.encoder_name, self.precision, self.computes_in = contract.encoder, contract.precision, contract.computes_in
        self.format_name = format_name
        self.by_torch = by_torch
        self.graphs = graphs
        preprocess = Preprocess(**contract.preprocess)
        self._resize: ResizeGraph = preprocess.pictures
        self._prepare: PrepareGraph = partial(_prepared, preprocess, contract)

    def as_elsewhere(self) -> "GraphsRecognizer":
        """The same, all of whose work is done by the file's own graphs, as in other programs."""
        other = copy.copy(self)
        other._resize, other._prepare = self.graphs.resize, self.graphs.prepare
        return other

    def encode(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """Features `float32 (B, T, D)` of frames `uint8 (B, T, 3, H, W)`; see `Recognizer.encode`."""
        if frames.dtype != torch.uint8 or frames.dim() != 5 or frames.shape[2] != 3:
            raise ValueError(f"frames are {frames.dtype} {frames.shape}; accepted: uint8 RGB (B, T, 3, H, W).")
        if previous is not None and (previous.dtype != torch.uint8 or previous.numel() != frames[:, 0].numel()):
            raise ValueError(f"previous is {previous.dtype} {previous.shape}; accepted: uint8 (B, 3, H, W), as frames.")
        batch, time = frames.shape[:2]
        before = frames[:, :1] if previous is None else previous.view(batch, 1, *frames.shape[2:])
        shown = torch.cat([before, frames], dim=1).flatten(0, 1)  # (B * (T + 1), 3, H, W)
        rows = torch.arange(len(shown)).view(batch, time + 1)
        features = self._features(self._resize(shown), rows[:, 1:].flatten(), rows[:, :-1].flatten())
        return features.view(batch, time, -1)

    def encode_rows(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """Features `float32 (N, D)` of single frames; see `FrameEncoder.encode_rows`."""
        check_rows(frames, rows, previous_rows, self.modalities)
        pictures = torch.cat([self._resize(alike) for alike in frames])
        return self._features(pictures, rows, rows if previous_rows is None else previous_rows)

    def _features(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor) -> Tensor:
        """Features `float32 (N, D)` of the pictures at `rows`, prepared as they come to the CNN."""
        count = max(1, _PICTURES_AT_ONCE // len(self.modalities))
        found = []
        for own, before in zip(rows.split(count), previous_rows.split(count), strict=True):
            wanted, places = torch.cat([own, before]).unique(return_inverse=True)
            shown, looked_back_at = places.chunk(2)
            found.append(self.graphs.encode(self._prepare(pictures.index_select(0, wanted), shown, looked_back_at)))
        return torch.cat(found)

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
    preprocess: Preprocess, contract: Contract, pictures: Tensor, rows: Tensor, previous_rows: Tensor
) -> Tensor:
    """What `PreparePart` gives, by torch."""
    pixels = preprocess.normalised(pictures)
    shown = seen(pixels, rows, previous_rows, contract.modalities, preprocess.std, contract.contrast, contract.noise)
    return torch.stack(shown)
