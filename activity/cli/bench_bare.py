"""The encoder in each runtime by that runtime's own documented means: what `activity bench encoder` holds ours to.

Nothing of ours is in it but the CNN: no recognizer, no threads, no sessions or requests that are kept. What the CNN is
shown lies ready, in the type and the memory order in which the runtime reads it.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activity.cli.bench_alone import encode_all
from activity.formats.libraries import import_silent
from activity.formats.onnx_graph import INPUTS, OUTPUTS, cut_graph
from activity.formats.parts import PARTS
from activity.models.encoder import FrameEncoder

Parts = Sequence[Sequence[Tensor]]
"""Of each batch what the CNN is shown at once, `float32 (K, 3, S, S)`."""

EncodeAll = Callable[[Sequence[int]], None]
"""Encodes batches, each given by its number, on all cores, and waits for them."""

Runner = Callable[[], AbstractContextManager[EncodeAll]]
"""Starts what encodes."""


def bare_torch(encoder: FrameEncoder, parts: Parts) -> Runner:
    """The eager CNN that features are computed with, called from a thread a core, each of which computes by itself.

    As of https://docs.pytorch.org/docs/stable/notes/cpu_threading_torchscript_inference.html
    """
    dtype = torch.bfloat16 if encoder.in_bfloat16 else torch.float32
    own = [[part.to(dtype).contiguous(memory_format=torch.channels_last) for part in batch] for batch in parts]
    return partial(_from_threads, encoder.computing, own)


def bare_onnxruntime(file: Path, parts: Parts) -> Runner:
    """The encoder of an exported file in one session, run from a thread a core, each of which computes by itself.

    As of https://onnxruntime.ai/docs/performance/tune-performance/threading.html

    Args:
        file: as `export_onnx` writes it.
        parts: of the batches.
    """
    onnx, runtime = importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    place = PARTS.index("encoder")
    (name,) = INPUTS[place]
    graph = cut_graph(onnx.load(file), [name], OUTPUTS[place])
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # none beside the thread that asks
    session = runtime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    own = [[{name: part.contiguous().numpy()} for part in batch] for batch in parts]
    return partial(_from_threads, partial(session.run, None), own)


def bare_openvino(folder: Path, parts: Parts, *, exact: bool) -> Runner:
    """The encoder of an exported folder, compiled for throughput and asked by a queue of as many requests as it likes.

    As of https://docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference/optimizing-throughput.html

    Args:
        folder: as `export_openvino` writes it.
        parts: of the batches.
        exact: in float32, as `load_openvino` has it for what was trained so; else in what OpenVINO finds fastest.
    """
    library = import_silent("openvino")
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", **({"INFERENCE_PRECISION_HINT": "f32"} if exact else {})}
    compiled = library.Core().compile_model(folder / "encoder.xml", "CPU", settings)
    own = [[part.contiguous().numpy() for part in batch] for batch in parts]
    return partial(_by_queue, partial(library.AsyncInferQueue, compiled), own)


@contextmanager
def _from_threads(run: Callable[[Any], object], parts: Sequence[Sequence[Any]]) -> Iterator[EncodeAll]:
    batches = [partial(_run_each, run, own) for own in parts]
    cores = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda numbers: encode_all(pool, [batches[number] for number in numbers])
    finally:
        torch.set_num_threads(cores)  # a thread's choice becomes that of threads to come


def _run_each(run: Callable[[Any], object], parts: Sequence[Any]) -> None:
    for part in parts:
        run(part)


@contextmanager
def _by_queue(make: Callable[[], Any], parts: Sequence[Sequence[Any]]) -> Iterator[EncodeAll]:
    queue = make()

    def encode(numbers: Sequence[int]) -> None:
        for number in numbers:
            for part in parts[number]:
                queue.start_async([part], share_inputs=True)
        queue.wait_all()

    yield encode
