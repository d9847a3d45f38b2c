"""What `activity bench peers` measures: from a video file to labels, beside the clip classifiers people would pick.

Weights are random: speed does not depend on them. Each peer samples, crops and runs as its documentation says, in
float32, one clip at a time; `activity` runs as `predict` and `timeline` do.
"""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from activity.cli.bench_figures import Figure, medians, timed
from activity.inference.predictor import predict_videos
from activity.inference.segmentation import TimelineSettings
from activity.inference.timeline import make_timelines
from activity.inference.videos import BATCH_FRAMES, DECODE_THREADS
from activity.models.recognizer import LoadedRecognizer, Recognizer
from activity.video.reader import VideoReader

EVERY_SECONDS = 0.5
"""Between the labels of dense labelling."""

OURS = (
    ("activity", ".ts", False),
    ("activity (openvino)", ".openvino", False),
    ("activity (openvino, int8)", ".openvino", True),
)
"""What is measured of ours: its name, the suffix of the file, and whether its CNN is in int8."""

_BOUNDS: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "activity": {"r3d_18": (3.0, 8.0), "videomae_base": (8.0, None), "x3d_s": (None, 2.5)},
    "activity (openvino)": {"r3d_18": (None, 15.0), "x3d_s": (None, 5.0)},
    "activity (openvino, int8)": {"r3d_18": (None, 15.0), "x3d_s": (None, 5.0)},
}  # times as fast, the clips end to end and dense

_CPU = torch.device("cpu")
_MOST_SECONDS = 20.0  # of runs of one of them


@dataclass(frozen=True)
class Peer:
    """A clip classifier and how it is documented to be run.

    Attributes:
        name: of the model.
        frames: of a clip.
        fps: at which they are sampled.
        prepare: frames `uint8 (T, H, W, 3)` to the model's input.
        model: the network.
    """

    name: str
    frames: int
    fps: float
    prepare: Callable[[np.ndarray], Tensor]
    model: nn.Module

    @property
    def clip_seconds(self) -> float:
        """How much time a clip covers."""
        return self.frames / self.fps


@dataclass(frozen=True)
class PeerSpeed:
    """What one of them takes for a video.

    Attributes:
        name: of the model.
        covering_seconds: from the file to scores, the clips laid end to end.
        dense_seconds: from the file to scores every half a second.
        gigamacs_a_second: multiply-adds for a second of video, the clips laid end to end, in thousand millions.
        clip: what is looked at.
        runs: of which the seconds are medians; fewer than three of what is slow.
    """

    name: str
    covering_seconds: float
    dense_seconds: float
    gigamacs_a_second: float
    clip: str
    runs: int


def peer_makers() -> dict[str, Callable[[], Peer]]:
    """Of each peer whose package is installed, how it is made."""
    makers: dict[str, Callable[[], Peer]] = {
        name: partial(_torchvision, name) for name in ("r3d_18", "s3d", "r2plus1d_18", "mvit_v2_s", "swin3d_t")
    }
    if _is_installed("pytorchvideo"):
        makers["x3d_s"] = _x3d
    if _is_installed("transformers"):
        makers["videomae_small"] = partial(_videomae, "small")
        makers["videomae_base"] = partial(_videomae, "base")
    return makers


def missing_peers() -> list[str]:
    """The packages of peers that are not installed."""
    return [name for name in ("pytorchvideo", "transformers") if not _is_installed(name)]


def measure_peer(make: Callable[[], Peer], video: Path, *, quick: bool) -> PeerSpeed:
    """The speed of a peer on a video; with `quick` of one run."""
    peer = make()
    with torch.inference_mode():
        clip = peer.prepare(np.zeros((peer.frames, 360, 640, 3), dtype=np.uint8))
        with FlopCounterMode(display=False) as counter:
            peer.model(clip)
        covering, covering_runs = _median(lambda: _labelled(peer, video, peer.clip_seconds), quick=quick)
        dense, dense_runs = _median(lambda: _labelled(peer, video, EVERY_SECONDS), quick=quick)
    return PeerSpeed(
        name=peer.name,
        covering_seconds=covering,
        dense_seconds=dense,
        gigamacs_a_second=counter.get_total_flops() / 2e9 / peer.clip_seconds,
        clip=f"{peer.frames} frames at {peer.fps:g} a second, {clip.shape[-1]} pixels",
        runs=min(covering_runs, dense_runs),
    )


def measure_ours(name: str, recognizer: LoadedRecognizer, eager: Recognizer, video: Path, *, quick: bool) -> PeerSpeed:
    """The speed of a recognizer on a video.

    Args:
        name: what to call it.
        recognizer: what is run, on the CPU.
        eager: the same as modules, to count its multiply-adds.
        video: the file.
        quick: one run.
    """
    how: dict[str, Any] = {"batch_frames": BATCH_FRAMES, "decode_threads": DECODE_THREADS, "device": _CPU}
    stride = round(EVERY_SECONDS * recognizer.sample_fps)
    settings = TimelineSettings(stride=min(max(1, stride), recognizer.window_frames))
    covering, covering_runs = _median(lambda: list(predict_videos(recognizer, [str(video)], **how)), quick=quick)
    dense, dense_runs = _median(
        lambda: list(make_timelines(recognizer, [str(video)], settings=settings, **how)), quick=quick
    )
    size = eager.encoder.preprocess.crop_size
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        eager.encoder.backbone(torch.zeros(1, 3, size, size))
    looks = sum(1 / recognizer.rgb_every if modality == "rgb" else 1 for modality in recognizer.modalities)
    macs = counter.get_total_flops() / 2e9 * looks * recognizer.sample_fps
    return PeerSpeed(
        name=name,
        covering_seconds=covering,
        dense_seconds=dense,
        gigamacs_a_second=macs,
        clip=f"{recognizer.window_frames} frames at {recognizer.sample_fps:g} a second, {size} pixels",
        runs=min(covering_runs, dense_runs),
    )


def peer_figures(speeds: Sequence[PeerSpeed]) -> list[Figure]:
    """How many times faster ours are than the peers that were measured, with the bounds."""
    ours = [speed for speed in speeds if speed.name.startswith("activity")]
    figures = []
    for peer in speeds:
        if peer in ours:
            continue
        for own in ours:
            covering, dense = _BOUNDS[own.name].get(peer.name, (None, None))
            for what, ratio, bound in (
                ("end to end", peer.covering_seconds / own.covering_seconds, covering),
                ("dense", peer.dense_seconds / own.dense_seconds, dense),
            ):
                at = "" if bound is None else "at least"
                runs = min(own.runs, peer.runs)
                figures.append(Figure(f"{own.name} by {peer.name}, {what}", ratio, "x", at, bound, runs))
    return figures


def _median(run: Callable[[], object], *, quick: bool) -> tuple[float, int]:
    (seconds, _), runs = medians(lambda: timed(run), quick=quick, most_seconds=_MOST_SECONDS)
    return seconds, runs


def _labelled(peer: Peer, video: Path, step_seconds: float) -> list[Tensor]:
    """Scores of the clips that begin each so many seconds; the video is decoded once, as a careful user would."""
    with VideoReader(video) as reader:
        frames = np.stack([frame.pixels for frame in reader.sampled_frames(peer.fps)])
    found = []
    for number in range(max(1, int(len(frames) / peer.fps / step_seconds + 1e-6))):
        start = round(number * step_seconds * peer.fps)
        rows = np.minimum(np.arange(start, start + peer.frames), len(frames) - 1)
        output = peer.model(peer.prepare(frames[rows]))
        found.append((output if isinstance(output, Tensor) else output.logits).softmax(dim=-1))
    return found


def _torchvision(name: str) -> Peer:
    video = importlib.import_module("torchvision.models.video")
    weights = importlib.import_module("torchvision.models").get_model_weights(name).DEFAULT
    transform = weights.transforms()
    facts = {
        "r3d_18": (16, 15),
        "s3d": (128, 15),
        "r2plus1d_18": (16, 15),
        "mvit_v2_s": (16, 7.5),
        "swin3d_t": (32, 15),
    }
    frames, fps = facts[name]

    def prepare(pixels: np.ndarray) -> Tensor:
        clip: Tensor = transform(torch.from_numpy(pixels).permute(0, 3, 1, 2))  # (T, 3, H, W)
        return clip.unsqueeze(0)

    return Peer(name, frames, float(fps), prepare, getattr(video, name)(weights=None).eval())


def _x3d() -> Peer:
    """X3D-S: 13 frames, every sixth of 30 a second, 182 pixels."""
    model = importlib.import_module("pytorchvideo.models.x3d").create_x3d(
        input_clip_length=13, input_crop_size=182, model_num_class=400
    )

    def prepare(pixels: np.ndarray) -> Tensor:
        clip = torch.from_numpy(pixels).permute(3, 0, 1, 2).float() / 255  # (3, T, H, W)
        clip = (clip - 0.45) / 0.225
        height, width = clip.shape[-2:]
        short = min(height, width)
        clip = F.interpolate(clip, size=(182 * height // short, 182 * width // short), mode="bilinear")
        top, left = (clip.shape[-2] - 182) // 2, (clip.shape[-1] - 182) // 2
        return clip[..., top : top + 182, left : left + 182].unsqueeze(0)

    return Peer("x3d_s", 13, 5.0, prepare, model.eval())


def _videomae(size: str) -> Peer:
    """VideoMAE: 16 frames, every fourth of 30 a second, 224 pixels."""
    library = importlib.import_module("transformers")
    layers = {} if size == "base" else {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    config = library.VideoMAEConfig(num_labels=400, **layers)
    model = library.VideoMAEForVideoClassification(config)
    processor = library.VideoMAEImageProcessor()

    def prepare(pixels: np.ndarray) -> Tensor:
        found: Tensor = processor(list(pixels), return_tensors="pt")["pixel_values"]
        return found

    return Peer(f"videomae_{size}", 16, 7.5, prepare, model.eval())


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
