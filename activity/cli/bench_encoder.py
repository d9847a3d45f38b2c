"""What `activity bench encoder` measures: frames a second of the encoder in each runtime that is installed."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from activity.cli.bench_alone import encode_all
from activity.cli.bench_bare import EncodeAll, Parts, Runner, bare_onnxruntime, bare_openvino, bare_torch
from activity.cli.bench_figures import Figure, medians
from activity.features.batches import encoding_threads
from activity.formats import load_recognizer
from activity.formats.contract import ModelFileError
from activity.formats.save import missing_library, save_model
from activity.inference.videos import BATCH_FRAMES
from activity.models.encoder import PICTURES_AT_ONCE, FrameEncoder
from activity.models.looks import part_size
from activity.models.recognizer import LoadedRecognizer, Recognizer

_SUFFIXES = (".ts", ".onnx", ".openvino")
_BARE = {".ts": "torch, bare", ".onnx": ".onnx, bare", ".openvino": ".openvino, bare"}
_NAIVE = "as it is mostly written"
_RUNS = 5
_BATCHES = 12  # a core and run
_WARMING = 4  # a core: what is made, compiled and allocated once
_OTHERS = 16  # batches that take turns


def bench_encoder(folder: Path, recognizer: Recognizer, *, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Frames a second of a recognizer's encoder: as people write it, as each runtime documents it, and as it is here.

    All cores encode the same batches, of pictures that need no resizing. As in a video, each batch is another one: what
    is read again and again lies in a core's cache. A format that cannot express the encoder is named and left out.

    Args:
        folder: an empty one, for the files that are made.
        recognizer: in evaluation mode, on the CPU.
        quick: one run.
        say: is told what comes next.
    """
    encoder = recognizer.encoder
    side = encoder.preprocess.crop_size
    frames = torch.randint(0, 256, (_OTHERS, BATCH_FRAMES + 1, 3, side, side), dtype=torch.uint8)
    rows = torch.arange(1, BATCH_FRAMES + 1)
    looks = [encoder.seen(own, rows[:: encoder.rgb_every], rows, rows - 1) for own in frames]
    parts = [own.split(part_size(len(own), PICTURES_AT_ONCE)) for own in looks]  # as a recognizer gives them to the CNN
    files = _written(folder, recognizer, say)
    runners: dict[str, Runner] = {
        _NAIVE: partial(_as_written, encoder, looks),
        _BARE[".ts"]: bare_torch(encoder, parts),
    }
    for suffix, file in files.items():
        if suffix != ".ts":
            runners[_BARE[suffix]] = _bare(file, recognizer, parts)
        runners[_in_activity(suffix)] = partial(_as_here, load_recognizer(file), frames, rows)
    say("encoding ...")
    found, runs = medians(lambda: [_rate(runner) for runner in runners.values()], quick=quick, runs=_RUNS)
    rates = dict(zip(runners, found, strict=True))
    return [Figure(name, rate, "frames/s", runs=runs) for name, rate in rates.items()] + _ratios(rates, files, runs)


def _written(folder: Path, recognizer: Recognizer, say: Callable[[str], None]) -> dict[str, Path]:
    """The recognizer in each format that is installed and can express it, by suffix."""
    files = {}
    for suffix in _SUFFIXES:
        if missing_library(suffix, quantised=False) is None:
            say(f"model{suffix} ...")
            try:
                save_model(recognizer, folder / f"model{suffix}", [])
            except ModelFileError as error:
                say(f"warning: {error}")
                continue
            files[suffix] = folder / f"model{suffix}"
    return files


def _bare(file: Path, recognizer: Recognizer, parts: Parts) -> Runner:
    if file.suffix == ".onnx":
        return bare_onnxruntime(file, parts)
    return bare_openvino(file, parts, exact=recognizer.encoder.precision == "float32")


def _in_activity(suffix: str) -> str:
    return f"{suffix}, in activity"


@contextmanager
def _as_written(encoder: FrameEncoder, looks: Sequence[Tensor]) -> Iterator[EncodeAll]:
    """The CNN as it comes: float32, contiguous, batch norm for itself, all cores for the looks of one batch at once."""
    cnn = copy.deepcopy(encoder.backbone).float().eval().to(memory_format=torch.contiguous_format)

    @torch.inference_mode()
    def encode(numbers: Sequence[int]) -> None:
        for number in numbers:
            cnn(looks[number])

    yield encode


@contextmanager
def _as_here(model: LoadedRecognizer, frames: Tensor, rows: Tensor) -> Iterator[EncodeAll]:
    """As extraction and prediction encode."""
    batches = [partial(model.encode_rows, [own], rows, rows - 1) for own in frames]
    with encoding_threads(torch.device("cpu")) as (pool, _):
        yield lambda numbers: encode_all(pool, [batches[number] for number in numbers])


def _rate(runner: Runner) -> float:
    """Frames a second of batches on all cores."""
    cores = torch.get_num_threads()
    numbers = [number % _OTHERS for number in range(_BATCHES * cores)]
    with runner() as encode:
        encode(numbers[:1] * _WARMING * cores)
        begun = time.perf_counter()
        encode(numbers)
        return BATCH_FRAMES * len(numbers) / (time.perf_counter() - begun)


def _ratios(rates: dict[str, float], suffixes: Iterable[str], runs: int) -> list[Figure]:
    """The default and OpenVINO by what is mostly written, and the best runtime by itself; of what was measured."""
    figures = []
    for suffix, name, bound in (
        (".ts", "the default by what is mostly written", 2.0),
        (".openvino", "OpenVINO by the same", 4.0),
    ):
        if suffix in suffixes:
            figures.append(Figure(name, rates[_in_activity(suffix)] / rates[_NAIVE], "x", "at least", bound, runs))
    if suffixes:
        best = max(suffixes, key=lambda suffix: rates[_BARE[suffix]])  # which is what ours has to reach
        ratio = rates[_in_activity(best)] / rates[_BARE[best]]
        figures.append(Figure(f"the best ({best}), in activity by bare", ratio, "", "at least", 0.95, runs))
    return figures
