"""`.onnx`: a graph from frames to logits for any runtime; here ONNX Runtime runs it, cut at pictures and features."""

import copy
import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from activity.files import write_atomically
from activity.formats.compare import check_same_scores
from activity.formats.contract import (
    MAKE_ONE,
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
from activity.formats.graphs import PARTS, ByThreads, Graphs, GraphsRecognizer, same_in
from activity.formats.int8 import quantised
from activity.models.encoder import whole_looks
from activity.models.recognizer import Recognizer

NAME, EXTRA, KEY, DIGEST = "ONNX", "onnx", "activity", "activity_digest"
_INPUTS = (  # as PARTS
    ["frames"],
    ["pictures", "shown_rows", "shown_previous_rows"],
    ["pixels"],
    ["found", "joined_rows"],
    ["windows", "lengths"],
)
_OUTPUTS = ("pictures", "pixels", "found", "joined", "logits")
_ROWS = {"shown_rows": "rows", "shown_previous_rows": "previous_rows", "joined_rows": "rows"}  # of what they are made
_FEATURES = "features"
_HALVES = {
    "encoder": (["frames", "rows", "previous_rows"], "features"),
    "head": (["windows", "lengths"], "logits"),
}


def export_onnx(
    recognizer: Recognizer,
    path: Path,
    examples: Sequence[Tensor],
    *,
    split: bool = False,
    calibration: Iterable[Tensor] | None = None,
) -> float:
    """Write a recognizer as an ONNX file that computes in float32, or whose CNN computes in int8.

    Its inputs are `frames` `uint8 (M, 3, H, W)`, `rows` and `previous_rows` `int64 (N,)`: which frames are looked at,
    and the one before each; N is a multiple of the window's length; and `lengths` `int64 (B,)`, how many features of
    each window count. Its outputs: `features` `float32 (N, D)` and `logits` `float32 (B, C)`.

    Args:
        recognizer: what to export; moved to the CPU.
        path: the file to write.
        examples: windows of frames `uint8 (1, T, 3, H, W)`, to compare on besides random ones.
        split: write NAME.encoder.onnx (to `features`) and NAME.head.onnx (from `windows`) beside it.
        calibration: as of `save_model`.

    Returns:
        The largest difference of scores seen, from the recognizer in float32.

    Raises:
        ModelFileError: the extra is not installed, ONNX cannot express the encoder, or scores differ by more than 1e-4;
            nothing is written.
    """
    _library(path, "onnxscript")
    recognizer = recognizer.cpu().eval()
    contract = contract_of(recognizer, computes_in="float32")
    programs = exported_programs(same_in(recognizer, "float32", traced=True))
    try:
        parts = [_graph(*part) for part in zip(programs, _INPUTS, _OUTPUTS, strict=True)]
    except Exception as error:  # of many kinds, private ones too
        raise cannot_express(NAME, recognizer.encoder.name, error) from error
    model = _joined(path, contract, *copy.deepcopy(parts))
    loaded = _recognizer(contract, path, model)
    difference = check_same_scores(same_in(recognizer, "float32"), (loaded, loaded.as_elsewhere()), examples)
    if calibration is not None:
        place = PARTS.index("encoder")
        (name,) = _INPUTS[place]
        parts[place] = quantised(
            path,
            parts[place],
            recognizer,
            calibration,
            as_input=lambda pixels: {name: pixels.contiguous().numpy()},
            convolutions=[node.name for node in parts[place].graph.node if node.op_type == "Conv"],
        )
        contract = replace(contract, computes_in="int8")
        model = _joined(path, contract, *parts)
    if split:
        for half, (inputs, output) in _HALVES.items():
            content = _described(_cut(model, inputs, output), contract)
            write_atomically(path.with_suffix(f".{half}.onnx"), content.SerializeToString())
    write_atomically(path, model.SerializeToString())
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
    if texts.get(DIGEST) != _digest(model):
        raise damaged(path, "graph")
    check_classes(path, contract, outputs["logits"].type.tensor_type.shape.dim[1].dim_value)
    return _recognizer(contract, path, model)


def _graph(program: torch.export.ExportedProgram, inputs: list[str], output: str) -> Any:
    exported = torch.onnx.export(
        program, (), input_names=inputs, output_names=[output], dynamo=True, optimize=True, verbose=False
    )
    assert exported is not None
    return exported.model_proto


def _joined(path: Path, contract: Contract, *parts: Any) -> Any:
    """One graph: features `(N, D)` become windows `(N / window_frames, window_frames, D)`."""
    onnx = _library(path, "onnx")
    compose = importlib.import_module("onnx.compose")
    resize, prepare, encoder, join, head = (
        compose.add_prefix(part, f"{name}/", rename_inputs=False, rename_outputs=False)
        for name, part in zip(PARTS, parts, strict=True)
    )
    pictures, pixels, found, joined, logits = _OUTPUTS
    windows = _INPUTS[-1][0]
    taken = {item.name for part in (prepare, join) for item in part.graph.input}  # "rgb" alone takes no rows before
    rows = [name for name in _ROWS if name in taken]
    before, after = _whole_looks(onnx, contract, resize, rows)
    model = compose.merge_models(resize, prepare, io_map=[(pictures, pictures)])
    shown = [name for name in rows if name in _INPUTS[1]]
    kept = [name for name in rows if name in _INPUTS[3]]
    model = compose.merge_models(before, model, io_map=[(name, name) for name in shown], outputs=[pixels, *kept])
    model = compose.merge_models(model, encoder, io_map=[(pixels, pixels)], outputs=[found, *kept])
    model = compose.merge_models(model, join, io_map=[(name, name) for name in (found, *kept)], outputs=[joined])
    model = compose.merge_models(model, after, io_map=[(joined, joined)])
    model = compose.merge_models(model, head, io_map=[(windows, windows)], outputs=[logits, _FEATURES])
    return _described(model, contract)


def _whole_looks(onnx: Any, contract: Contract, like: Any, rows: Sequence[str]) -> tuple[Any, Any]:
    """The graphs around the others: rows to lines, each a look of "rgb", and features to windows.

    Windows that are no whole number of lines are filled up, and their features cut again.

    Args:
        onnx: the library.
        contract: of the model.
        like: a graph of the same version.
        rows: the names of rows that the other graphs take.
    """
    helper, numpy_helper = (importlib.import_module(f"onnx.{name}") for name in ("helper", "numpy_helper"))
    time, size, every = contract.window_frames, contract.feature_size, contract.rgb_every
    whole = whole_looks(time, every)
    numbers = {
        "window": [-1, time],
        "filled": [*range(time), *[time - 1] * (whole - time)],
        "lines": [-1, every],
        "cut": list(range(time)),
        "windows_shape": [-1, whole, size],
        "features_shape": [-1, size],
    }

    def graph(name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Any:
        used = {text for node in nodes for text in node.input}
        constants = [numpy_helper.from_array(np.array(numbers[key]), key) for key in numbers if key in used]
        made = helper.make_graph(nodes, name, inputs, outputs, constants)
        model = helper.make_model(made, ir_version=like.ir_version, opset_imports=like.opset_import)
        compose = importlib.import_module("onnx.compose")
        return compose.add_prefix(model, f"{name}/", rename_inputs=False, rename_outputs=False)

    def value(name: str, kind: int, shape: list[int | None]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    integer, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    joined, windows = _OUTPUTS[3], _INPUTS[-1][0]
    nodes = []
    for name in rows:
        source = _ROWS[name]
        if whole != time:
            nodes.append(helper.make_node("Reshape", [source, "window"], [f"{name}_window"]))
            nodes.append(helper.make_node("Gather", [f"{name}_window", "filled"], [f"{name}_filled"], axis=1))
            source = f"{name}_filled"
        nodes.append(helper.make_node("Reshape", [source, "lines"], [name]))
    given = [value(name, integer, [None]) for name in sorted({_ROWS[name] for name in rows}, reverse=True)]
    before = graph("rows", nodes, given, [value(name, integer, [None, every]) for name in rows])
    nodes = [
        helper.make_node("Reshape", [joined, "windows_shape"], ["whole"]),
        helper.make_node("Gather", ["whole", "cut"], [windows], axis=1),
        helper.make_node("Reshape", [windows, "features_shape"], [_FEATURES]),
    ]
    if whole == time:
        nodes = [
            helper.make_node("Reshape", [joined, "windows_shape"], [windows]),
            helper.make_node("Identity", [joined], [_FEATURES]),
        ]
    outputs = [value(windows, real, [None, time, size]), value(_FEATURES, real, [None, size])]
    return before, graph("windows", nodes, [value(joined, real, [None, size])], outputs)


def _described(model: Any, contract: Contract) -> Any:
    for key, text in ((KEY, contract.text()), (DIGEST, _digest(model))):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    return model


def _digest(model: Any) -> str:
    """Of the graph with its weights, which have no checksum of their own."""
    return hashlib.blake2b(model.graph.SerializeToString(deterministic=True), digest_size=16).hexdigest()


def _cut(model: Any, inputs: list[str], output: str) -> Any:
    """The part of a graph between these."""
    return importlib.import_module("onnx.utils").Extractor(model).extract_model(inputs, [output])


def _recognizer(contract: Contract, path: Path, model: Any) -> GraphsRecognizer:
    runtime = _library(path, "onnxruntime")
    sessions = []
    for inputs, output in zip(_INPUTS, _OUTPUTS, strict=True):
        sessions.append(ByThreads(_maker(runtime, _cut(model, inputs, output).SerializeToString())))
    try:
        for part, session in zip(PARTS, sessions, strict=True):
            if part in ("encoder", "head"):  # the others are for other programs
                session.get()
    except Exception as error:  # of many kinds, private ones too
        raise ModelFileError(f"{path} cannot be run ({str(error).splitlines()[0]}). {MAKE_ONE}") from error

    def run(part: int) -> Callable[..., Tensor]:
        return lambda *tensors: _run(sessions[part].get(), dict(zip(_INPUTS[part], tensors, strict=True)))

    return GraphsRecognizer(contract, Graphs(*map(run, range(len(PARTS)))), NAME)


def _maker(runtime: Any, model: bytes) -> Any:
    def make(threads: int) -> Any:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

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
