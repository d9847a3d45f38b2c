"""`.onnx`: a graph from frames to logits for any runtime; here ONNX Runtime runs it, cut in two at its features."""

import importlib
from collections.abc import Sequence
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
    contract_of,
    needs_extra,
    read_contract,
)
from activity.formats.exported_program import exported_programs
from activity.formats.halves import ByThreads, HalvesRecognizer, same_in
from activity.models.recognizer import Recognizer

NAME, EXTRA, KEY = "ONNX", "onnx", "activity"
_FRAMES, _FEATURES = ["frames", "rows", "previous_rows"], "features"
_WINDOWS, _LOGITS = ["windows", "lengths"], "logits"
_HEAD_PREFIX = "head/"


def export_onnx(recognizer: Recognizer, path: Path, examples: Sequence[Tensor], *, split: bool = False) -> float:
    """Write a recognizer as an ONNX file that computes in float32.

    Its inputs are `frames` `uint8 (M, 3, H, W)`, `rows` and `previous_rows` `int64 (N,)`: which frames are looked at,
    and the one before each; N is a multiple of the window's length; and `lengths` `int64 (B,)`, how many features of
    each window count. Its outputs: `features` `float32 (N, D)` and `logits` `float32 (B, C)`.

    Args:
        recognizer: what to export; moved to the CPU.
        path: the file to write.
        examples: windows of frames `uint8 (1, T, 3, H, W)`, to compare on besides random ones.
        split: write NAME.encoder.onnx (to `features`) and NAME.head.onnx (from `windows`) in its place.

    Returns:
        The largest difference of scores seen, from the recognizer in float32.

    Raises:
        ModelFileError: the extra is not installed, ONNX cannot express the encoder, or scores differ by more than 1e-4;
            nothing is written.
    """
    _library(path, "onnxscript")
    recognizer = recognizer.cpu().eval()
    contract = contract_of(recognizer)
    encoder, head = exported_programs(same_in(recognizer, "float32", traced=True, on_uint8=False))
    try:
        halves = _graph(encoder, _FRAMES, _FEATURES), _graph(head, _WINDOWS, _LOGITS)
    except Exception as error:  # of many kinds, private ones too
        raise cannot_express(NAME, recognizer.encoder.name, error) from error
    difference = check_same_scores(same_in(recognizer, "float32"), _recognizer(contract, path, *halves), examples)
    if split:
        for half, name in zip(halves, ("encoder", "head"), strict=True):
            write_atomically(path.with_suffix(f".{name}.onnx"), _described(half, contract).SerializeToString())
    else:
        write_atomically(path, _described(_joined(path, *halves, contract), contract).SerializeToString())
    return difference


def load_onnx(path: Path) -> HalvesRecognizer:
    """The recognizer of an ONNX file, on the CPU.

    Raises:
        ModelFileError: the extra is not installed; or the file is truncated, of another program, or of another version.
    """
    onnx = _library(path, "onnx")
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
        texts = {item.key: item.value for item in model.metadata_props}
    except Exception as error:  # of protobuf, of several kinds
        raise ModelFileError(f"{path} is no ONNX file, or not a whole one. {MAKE_ONE}") from error
    contract = read_contract(path, texts.get(KEY))
    known = {item.name for item in (*model.graph.input, *model.graph.output)}
    if not {*_FRAMES, "lengths", _LOGITS} <= known:
        raise ModelFileError(
            f"{path} is one half of a model that was exported with --split. Such halves are for programs of your own; "
            "here, give the whole file."
        )
    extractor = importlib.import_module("onnx.utils").Extractor(model)
    encoder = extractor.extract_model(_FRAMES, [_FEATURES])
    return _recognizer(contract, path, encoder, extractor.extract_model(_WINDOWS, [_LOGITS]))


def _graph(program: torch.export.ExportedProgram, inputs: list[str], output: str) -> Any:
    exported = torch.onnx.export(
        program, (), input_names=inputs, output_names=[output], dynamo=True, optimize=True, verbose=False
    )
    assert exported is not None
    return exported.model_proto


def _joined(path: Path, encoder: Any, head: Any, contract: Contract) -> Any:
    """One graph: features `(N, D)` become windows `(N / window_frames, window_frames, D)`."""
    onnx = _library(path, "onnx")
    compose, helper, numpy_helper = (
        importlib.import_module(f"onnx.{name}") for name in ("compose", "helper", "numpy_helper")
    )
    shape = torch.tensor([-1, contract.window_frames, contract.feature_size]).numpy()
    encoder.graph.initializer.append(numpy_helper.from_array(shape, "windows_shape"))
    encoder.graph.node.append(helper.make_node("Reshape", [_FEATURES, "windows_shape"], [_WINDOWS[0]]))
    kind = [None, contract.window_frames, contract.feature_size]
    encoder.graph.output.append(helper.make_tensor_value_info(_WINDOWS[0], onnx.TensorProto.FLOAT, kind))
    head = compose.add_prefix(head, _HEAD_PREFIX, rename_inputs=False, rename_outputs=False)
    return compose.merge_models(encoder, head, io_map=[(_WINDOWS[0], _WINDOWS[0])], outputs=[_LOGITS, _FEATURES])


def _described(model: Any, contract: Contract) -> Any:
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, contract.text()
    return model


def _recognizer(contract: Contract, path: Path, encoder: Any, head: Any) -> HalvesRecognizer:
    runtime = _library(path, "onnxruntime")
    encoders, heads = (ByThreads(_maker(runtime, half.SerializeToString())) for half in (encoder, head))

    def encode(frames: Tensor, rows: Tensor, previous_rows: Tensor) -> Tensor:
        given = (frames.contiguous(), rows, previous_rows)
        return _run(encoders.get(), dict(zip(_FRAMES, given, strict=True)))

    def classify(features: Tensor, lengths: Tensor) -> Tensor:
        return _run(heads.get(), dict(zip(_WINDOWS, (features.contiguous(), lengths), strict=True)))

    return HalvesRecognizer(contract, encode, classify, NAME)


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
    (output,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items() if name in known})
    return torch.from_numpy(output)


def _library(path: Path, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # installed, and broken
            raise
        raise needs_extra(path, EXTRA, name) from error
