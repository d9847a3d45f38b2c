"""What `activity bench encoder` measures: frames a second of the encoder in each runtime that is installed."""

import copy
import importlib
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from activity.cli.bench_figures import Figure
from activity.features.batches import encoding_threads
from activity.formats import load_recognizer
from activity.formats.graphs import GraphsRecognizer
from activity.formats.save import missing_library, save_model
from activity.inference.videos import BATCH_FRAMES
from activity.models.encoder import FrameEncoder
from activity.models.recognizer import LoadedRecognizer, Recognizer

_SUFFIXES = (".ts", ".onnx", ".openvino")
_ROUNDS = 5  # each measured thing in turn, so that all meet the same noise
_BATCHES = 12  # a thread and round
_OTHERS = 16  # batches that take turns
_Work = Callable[[int], object]  # encodes one of them


def bench_encoder(folder: Path, recognizer: Recognizer, *, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Frames a second of a recognizer's encoder: as people write it, as it is by default, and in the fast runtimes.

    All cores encode, a batch each, of pictures that need no resizing. As in a video, each batch is another one: what is
    read again and again lies in a core's cache.

    Args:
        folder: an empty one, for the files that are made.
        recognizer: in evaluation mode, on the CPU.
        quick: one round.
        say: is told what comes next.
    """
    encoder = recognizer.encoder
    side = encoder.preprocess.crop_size
    frames = torch.randint(0, 256, (_OTHERS, BATCH_FRAMES + 1, 3, side, side), dtype=torch.uint8)
    rows = torch.arange(1, BATCH_FRAMES + 1)
    looks = [encoder.seen(own, rows[:: encoder.rgb_every], rows, rows - 1) for own in frames]
    # As many pictures at once as there are frames, or fewer, and as many in each part.
    parts = [own.chunk(len(encoder.modalities)) for own in looks]
    work: dict[str, _Work] = {"torch, bare": partial(_in_parts, encoder.encode_seen, parts)}
    loaded: dict[str, LoadedRecognizer] = {}
    for suffix in _SUFFIXES:
        if missing_library(suffix, quantised=False) is None:
            say(f"model{suffix} ...")
            save_model(recognizer, folder / f"model{suffix}", [])
            loaded[suffix] = load_recognizer(folder / f"model{suffix}")
    for suffix, model in loaded.items():
        if isinstance(model, GraphsRecognizer):
            bare = model.graphs.encode if suffix != ".openvino" else _openvino(folder / f"model{suffix}")
            work[f"{suffix}, bare"] = partial(_in_parts, bare, parts)
        work[f"{suffix}, in activity"] = partial(_encode_rows, model, frames, rows)
    say("encoding ...")
    naive = _naive(encoder)
    found: dict[str, list[float]] = {name: [] for name in ("as it is mostly written", *work)}
    for _ in range(1 if quick else _ROUNDS):
        found["as it is mostly written"].append(_rate_alone(naive, looks))
        for name, batch in work.items():
            found[name].append(_rate(batch))
    rates = {name: statistics.median(values) for name, values in found.items()}
    return [Figure(name, rate, "frames/s") for name, rate in rates.items()] + _ratios(rates, list(loaded))


def _ratios(rates: dict[str, float], suffixes: list[str]) -> list[Figure]:
    naive = rates["as it is mostly written"]
    figures = [Figure("the default by what is mostly written", rates[".ts, in activity"] / naive, "x", "at least", 2.0)]
    if ".openvino" in suffixes:
        figures.append(Figure("OpenVINO by the same", rates[".openvino, in activity"] / naive, "x", "at least", 4.0))
    best = max(suffixes, key=lambda suffix: rates[f"{suffix}, in activity"])
    bare = rates["torch, bare" if best == ".ts" else f"{best}, bare"]
    figures.append(
        Figure(f"the best ({best}), in activity by bare", rates[f"{best}, in activity"] / bare, "", "at least", 0.95)
    )
    return figures


def _in_parts(encode: Callable[[Tensor], object], parts: Sequence[Sequence[Tensor]], number: int) -> None:
    for part in parts[number]:
        encode(part)


def _encode_rows(model: LoadedRecognizer, frames: Tensor, rows: Tensor, number: int) -> None:
    model.encode_rows([frames[number]], rows, rows - 1)


def _openvino(folder: Path) -> Callable[[Tensor], object]:
    """The encoder of an exported folder as OpenVINO is documented to run for throughput, nothing of ours around."""
    library = importlib.import_module("openvino")
    compiled = library.Core().compile_model(folder / "encoder.xml", "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    own = threading.local()

    def encode(pixels: Tensor) -> object:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return own.request.infer([pixels.numpy()], share_inputs=True, share_outputs=True)

    return encode


def _naive(encoder: FrameEncoder) -> nn.Module:
    """The CNN as it comes: float32, contiguous, batch norm for itself."""
    cnn = copy.deepcopy(encoder.backbone).float().eval()
    return cnn.to(memory_format=torch.contiguous_format)  # type: ignore[no-any-return]


@torch.inference_mode()
def _rate_alone(cnn: nn.Module, looks: Sequence[Tensor]) -> float:
    """Frames a second of a CNN that torch gives all cores, the looks of one batch at once."""
    cnn(looks[0])
    begun = time.perf_counter()
    for number in range(_BATCHES):
        cnn(looks[number % _OTHERS])
    return BATCH_FRAMES * _BATCHES / (time.perf_counter() - begun)


def _rate(encode: _Work) -> float:
    """Frames a second of batches on all cores, as extraction and prediction run them."""
    with encoding_threads(torch.device("cpu")) as (pool, workers):
        wait([pool.submit(_encode, encode, 0) for _ in range(4 * workers)])  # what is made and compiled once
        begun = time.perf_counter()
        for done in [pool.submit(_encode, encode, number % _OTHERS) for number in range(_BATCHES * workers)]:
            done.result()
        return BATCH_FRAMES * _BATCHES * workers / (time.perf_counter() - begun)


@torch.inference_mode()
def _encode(encode: _Work, number: int) -> None:
    encode(number)
