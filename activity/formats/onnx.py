"""`.onnx`: a graph from frames to logits for any runtime; here ONNX Runtime runs it, cut at pictures and features."""

import copy
import hashlib
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activity.files import write_atomically
from activity.formats.compare import Window, check_same_scores
from activity.formats.contract import (
    MAKE_ONE,
    CannotBeRunError,
    Contract,
    ModelFileError,
    cannot_express,
    check_classes,
    contract_of,
    damaged,
    needs_extra,
    read_contract,
)
from activity.formats.exported_program import exported_programs
from activity.formats.graphs import ByThreads, Graphs, GraphsRecognizer
from activity.formats.int8 import quantised
from activity.formats.onnx_graph import INPUTS, OUTPUTS, cut_graph, graph_of, joined_graph
from activity.formats.parts import PARTS, same_in
from activity.models.recognizer import Recognizer

NAME, EXTRA, KEY, DIGEST = "ONNX", "onnx", "activity", "activity_digest"
_MEANS = {
    "frames": "uint8 (M, 3, H, W), RGB, of any size; with square pixels where the preprocessing's framing is centre",
    "rows": "int64 (N,), for each sampled frame which of the frames it is",
    "previous_rows": "int64 (N,), for each sampled frame which of the frames is the sampled one before it; at the "
    "beginning of a video, itself",
    "windows": "float32 (B, window_frames, D), features; what is missing of a short window may be any number",
    "lengths": "int64 (B,), how many sampled frames of each window count",
    "features": "float32 (N, D)",
    "logits": "float32 (B, classes); a softmax makes scores of them",
}
_OF_WINDOWS = (
    "N is B * window_frames; a short window is filled up with any row. rgb looks at the first row of each window and "
    "at each rgb_every-th after: windows that begin at a multiple of rgb_every, counted from the beginning of the "
    "video, get the scores that activity gives them."
)
_OF_PIECES = (
    "N is any number. rgb looks at the first row and at each rgb_every-th after: give pieces that begin at a multiple "
    "of rgb_every, counted from the beginning of the video, to get the features that activity gets."
)
_METADATA = 'class_names, sample_fps, window_frames and rgb_every stand in the metadata, as JSON under "activity".'
_HALVES = {
    "encoder": (["frames", "rows", "previous_rows"], "features", _OF_PIECES),
    "head": (["windows", "lengths"], "logits", ""),
}


def export_onnx(
    recognizer: Recognizer,
    path: Path,
    examples: Sequence[Window],
    *,
    split: bool = False,
    calibration: Iterable[Window] | None = None,
) -> float:
    """Write a recognizer as an ONNX file that computes in float32, or whose CNN computes in int8.

    Its inputs are `frames` `uint8 (M, 3, H, W)`, `rows` and `previous_rows` `int64 (N,)`: which frames are looked at,
    and the one before each; N is a multiple of the window's length; and `lengths` `int64 (B,)`, how many features of
    each window count. Its outputs: `features` `float32 (N, D)` and `logits` `float32 (B, C)`.

    Args:
        recognizer: what to export; moved to the CPU.
        path: the file to write.
        examples: windows to compare on, besides random ones.
        split: write NAME.encoder.onnx (to `features`) and NAME.head.onnx (from `windows`) beside it. The encoder takes
            any number N of rows, and "rgb" looks at the first and each `rgb_every`-th after: a stream gives it so many
            frames at a time.
        calibration: as of `save_model`.

    Returns:
        The largest difference of scores seen, from the recognizer in float32 (`same_in`).

    Raises:
        ModelFileError: the extra is not installed, ONNX cannot express the encoder, or scores differ by more than 1e-4;
            nothing is written.
    """
    _library(path, "onnxscript")
    recognizer = recognizer.cpu().eval()
    contract = contract_of(recognizer, computes_in="float32")
    programs = exported_programs(same_in(recognizer, "float32", traced=True), path)
    try:
        parts = [graph_of(*part) for part in zip(programs, INPUTS, OUTPUTS, strict=True)]
    except Exception as error:  # of many kinds, private ones too
        raise cannot_express(path, NAME, recognizer.encoder.name, error) from error
    model = joined_graph(contract, *copy.deepcopy(parts))
    loaded = _recognizer(contract, path, model)
    difference = check_same_scores(path, same_in(recognizer, "float32"), (loaded, loaded.as_elsewhere()), examples)
    if calibration is not None:
        place = PARTS.index("encoder")
        parts[place] = _quantised(parts[place], recognizer, path, calibration)
        contract = replace(contract, computes_in="int8")
        model = joined_graph(contract, *copy.deepcopy(parts))
    if split:
        _write_halves(path, contract, encoder=joined_graph(contract, *parts, by_window=False), head=model)
    write_atomically(path, _sealed(_described(model, contract, _OF_WINDOWS)))
    return difference


def load_onnx(path: Path) -> GraphsRecognizer:
    """The recognizer of an ONNX file, on the CPU.

    Raises:
        ModelFileError: the extra is not installed; or the file is truncated, of another program, or of another version.
    """
    onnx = _library(path, "onnx")
    content = path.read_bytes()
    try:
        if not content:
            raise EOFError
        model = onnx.load_model_from_string(content)
        texts = {item.key: item.value for item in model.metadata_props}
    except Exception as error:  # of protobuf, of several kinds
        raise ModelFileError(f"{path} is no ONNX file, or not a whole one. {MAKE_ONE}") from error
    contract = read_contract(path, texts.get(KEY))
    outputs = {item.name: item for item in model.graph.output}
    known = {item.name for item in model.graph.input} | set(outputs)
    if not {"frames", "rows", "lengths", "logits"} <= known:
        raise ModelFileError(
            f"{path} is one half of a model that was exported with --split. Such halves are for programs of your own; "
            "here, give the whole file."
        )
    if not _is_sealed(content, type(model), texts.get(DIGEST)):
        raise damaged(path, "content")
    check_classes(path, contract, outputs["logits"].type.tensor_type.shape.dim[1].dim_value)
    return _recognizer(contract, path, model)


def _quantised(encoder: Any, recognizer: Recognizer, path: Path, calibration: Iterable[Window]) -> Any:
    (name,) = INPUTS[PARTS.index("encoder")]
    return quantised(
        path,
        encoder,
        recognizer,
        calibration,
        as_input=lambda pixels: {name: pixels.contiguous().numpy()},
        convolutions=[node.name for node in encoder.graph.node if node.op_type == "Conv"],
    )


def _write_halves(path: Path, contract: Contract, **whole: Any) -> None:
    """Write the halves, each cut out of a whole graph."""
    for half, (inputs, output, how) in _HALVES.items():
        own = _described(cut_graph(whole[half], inputs, output), contract, how)
        write_atomically(path.with_suffix(f".{half}.onnx"), _sealed(own))


def _described(model: Any, contract: Contract, how: str) -> Any:
    """The model, with its contract and what its inputs and outputs are; `how` it is used beside that."""
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, contract.text()
    names = [item.name for item in (*model.graph.input, *model.graph.output)]
    lines = [f"{name}: {_MEANS[name]}." for name in names]
    model.doc_string = "\n".join([*lines, *([how] if how else []), _METADATA])
    model.model_version = contract.format_version
    return model


def _sealed(model: Any) -> bytes:
    """A file's bytes, and at their end, as one more entry of its metadata, their digest: ONNX has no checksum."""
    content: bytes = model.SerializeToString()
    return content + _seal(type(model), hashlib.blake2b(content, digest_size=16).hexdigest())


def _is_sealed(content: bytes, kind: type, digest: object) -> bool:
    """Whether the bytes of a file are those that were written."""
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{32}", digest):  # of one that is damaged, bytes
        return False
    seal = _seal(kind, digest)
    own = memoryview(content)[: -len(seal)]
    return content.endswith(seal) and hashlib.blake2b(own, digest_size=16).hexdigest() == digest


def _seal(kind: Any, digest: str) -> bytes:
    """A model of nothing but a digest: what is written one after the other is read as one."""
    seal = kind()
    entry = seal.metadata_props.add()
    entry.key, entry.value = DIGEST, digest
    content: bytes = seal.SerializeToString()
    return content


def _recognizer(contract: Contract, path: Path, model: Any) -> GraphsRecognizer:
    runtime = _library(path, "onnxruntime")
    # A session is made where it is first asked for: for how many threads is not known before, and most are for other
    # programs.
    sessions = [
        ByThreads(_maker(runtime, path, cut_graph(model, inputs, output).SerializeToString()))
        for inputs, output in zip(INPUTS, OUTPUTS, strict=True)
    ]

    def run(part: int) -> Callable[..., Tensor]:
        return lambda *tensors: _run(sessions[part].get(), dict(zip(INPUTS[part], tensors, strict=True)))

    return GraphsRecognizer(contract, Graphs(*map(run, range(len(PARTS)))), NAME)


def _maker(runtime: Any, path: Path, model: bytes) -> Any:
    def make(threads: int) -> Any:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        try:
            return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of many kinds, private ones too
            raise CannotBeRunError(path, "ONNX Runtime", runtime.__version__, error) from error

    return make


def _run(session: Any, inputs: dict[str, Tensor]) -> Tensor:
    known = {item.name for item in session.get_inputs()}  # "rgb" alone looks at no frame before
    given = {name: tensor.contiguous().numpy() for name, tensor in inputs.items() if name in known}
    (output,) = session.run(None, given)
    return torch.from_numpy(output)


def _library(path: Path, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # installed, and broken
            raise
        raise needs_extra(path, EXTRA, name) from error
