"""`.onnx`: a graph from frames to logits for any runtime; here ONNX Runtime runs it, cut at pictures and features."""

import copy
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    needs_extra,
    read_contract,
)
from activity.formats.exported_program import exported_programs
from activity.formats.graphs import PARTS, ByThreads, Graphs, GraphsRecognizer, same_in
from activity.formats.int8 import quantised
from activity.models.recognizer import Recognizer

NAME, EXTRA, KEY = "ONNX", "onnx", "activity"
_INPUTS = (["frames"], ["pictures", "rows", "previous_rows"], ["pixels"], ["windows", "lengths"])  # as PARTS
_OUTPUTS = ("pictures", "pixels", "features", "logits")
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
        (name,) = _INPUTS[2]
        place = PARTS.index("encoder")
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
    compose, helper, numpy_helper = (
        importlib.import_module(f"onnx.{name}") for name in ("compose", "helper", "numpy_helper")
    )
    pictures, pixels, features, logits = _OUTPUTS
    windows = _INPUTS[-1][0]
    resize, prepare, encoder, head = (
        compose.add_prefix(part, f"{name}/", rename_inputs=False, rename_outputs=False)
        for name, part in zip(PARTS, parts, strict=True)
    )
    shape = torch.tensor([-1, contract.window_frames, contract.feature_size]).numpy()
    encoder.graph.initializer.append(numpy_helper.from_array(shape, "windows_shape"))
    encoder.graph.node.append(helper.make_node("Reshape", [features, "windows_shape"], [windows]))
    kind = [None, contract.window_frames, contract.feature_size]
    encoder.graph.output.append(helper.make_tensor_value_info(windows, onnx.TensorProto.FLOAT, kind))
    model = compose.merge_models(resize, prepare, io_map=[(pictures, pictures)])
    model = compose.merge_models(model, encoder, io_map=[(pixels, pixels)], outputs=[windows, features])
    return _described(
        compose.merge_models(model, head, io_map=[(windows, windows)], outputs=[logits, features]), contract
    )


def _described(model: Any, contract: Contract) -> Any:
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, contract.text()
    return model


def _cut(model: Any, inputs: list[str], output: str) -> Any:
    """The part of a graph between these."""
    return importlib.import_module("onnx.utils").Extractor(model).extract_model(inputs, [output])


def _recognizer(contract: Contract, path: Path, model: Any) -> GraphsRecognizer:
    runtime = _library(path, "onnxruntime")
    sessions = []
    for inputs, output in zip(_INPUTS, _OUTPUTS, strict=True):
        sessions.append(ByThreads(_maker(runtime, _cut(model, inputs, output).SerializeToString())))
    try:
        for session in sessions[2:]:  # the first two are for other programs
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
