"""The graphs of an ONNX file: each part of a recognizer by itself, and all as one from frames to logits."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from activity.formats.contract import Contract
from activity.formats.parts import PARTS
from activity.models.looks import whole_looks

INPUTS = (  # as PARTS
    ["frames"],
    ["pictures", "shown_rows", "shown_previous_rows"],
    ["pixels"],
    ["found", "joined_rows"],
    ["windows", "lengths"],
)
OUTPUTS = ("pictures", "pixels", "found", "joined", "logits")
_ROWS = {"shown_rows": "rows", "shown_previous_rows": "previous_rows", "joined_rows": "rows"}  # of what they are made
FEATURES, _COUNT = "features", "count"
_Operation = tuple[str, list[str], list[str], dict[str, Any]]  # its kind, what it takes and gives, its attributes


def graph_of(program: torch.export.ExportedProgram, inputs: list[str], output: str) -> Any:
    """What ONNX makes of an exported program."""
    exported = torch.onnx.export(
        program, (), input_names=inputs, output_names=[output], dynamo=True, optimize=True, verbose=False
    )
    assert exported is not None
    return exported.model_proto


def joined_graph(contract: Contract, *parts: Any, by_window: bool = True) -> Any:
    """One graph: features `(N, D)` become windows `(N / window_frames, window_frames, D)`.

    Args:
        contract: of the model.
        parts: in the order of `PARTS`.
        by_window: "rgb" looks at the first row of each window; else N is any number, and it looks at the first of all.
    """
    compose = importlib.import_module("onnx.compose")
    resize, prepare, encoder, join, head = (
        compose.add_prefix(part, f"{name}/", rename_inputs=False, rename_outputs=False)
        for name, part in zip(PARTS, parts, strict=True)
    )
    pictures, pixels, found, joined, logits = OUTPUTS
    windows = INPUTS[-1][0]
    taken = {item.name for part in (prepare, join) for item in part.graph.input}  # "rgb" alone takes no rows before
    rows = [name for name in _ROWS if name in taken]
    before, after = _around(contract, resize, rows, by_window=by_window)
    model = compose.merge_models(resize, prepare, io_map=[(pictures, pictures)])
    shown = [name for name in rows if name in INPUTS[1]]
    kept = [name for name in rows if name in INPUTS[3]]
    joining = {name: name for name in (found, *kept)}
    kept.append(_COUNT)
    model = compose.merge_models(before, model, io_map=[(name, name) for name in shown], outputs=[pixels, *kept])
    model = compose.merge_models(model, encoder, io_map=[(pixels, pixels)], outputs=[found, *kept])
    model = compose.merge_models(model, join, io_map=list(joining.items()), outputs=[joined, _COUNT])
    model = compose.merge_models(model, after, io_map=[(joined, joined), (_COUNT, _COUNT)])
    return compose.merge_models(model, head, io_map=[(windows, windows)], outputs=[logits, FEATURES])


def _around(contract: Contract, like: Any, rows: Sequence[str], *, by_window: bool) -> tuple[Any, Any]:
    """The graphs around the others: rows to lines, each a look of "rgb", and features to windows.

    What is no whole number of looks is filled up with its last row, and its features are cut again.

    Args:
        contract: of the model.
        like: a graph of the same version.
        rows: the names of rows that the other graphs take.
        by_window: fill each window; else all rows together.
    """
    time, size, every = contract.window_frames, contract.feature_size, contract.rgb_every
    whole = whole_looks(time, every)
    numbers = {
        "zero": [0],
        "every": [every],
        "window": [-1, time],
        "filled": [*range(time), *[time - 1] * (whole - time)],
        "lines": [-1, every],
        "cut": list(range(time)),
        "whole_shape": [-1, whole, size],
        "window_shape": [-1, time, size],
        "features_shape": [-1, size],
    }
    kinds = importlib.import_module("onnx").TensorProto
    count: tuple[str, int, list[int | None]] = (_COUNT, kinds.INT64, [1])
    before = _small_graph(
        like,
        "rows",
        _filling(rows, by_window=by_window),
        numbers,
        [(name, kinds.INT64, [None]) for name in sorted({_ROWS[name] for name in rows}, reverse=True)],
        [*((name, kinds.INT64, [None, every]) for name in rows), count],
    )
    after = _small_graph(
        like,
        "windows",
        _cutting(by_window=by_window),
        numbers,
        [(OUTPUTS[3], kinds.FLOAT, [None, size]), count],
        [(INPUTS[-1][0], kinds.FLOAT, [None, time, size]), (FEATURES, kinds.FLOAT, [None, size])],
    )
    return before, after


def _filling(rows: Sequence[str], *, by_window: bool) -> list[_Operation]:
    """From rows as they are given to lines; arguments as of `_around`."""
    operations: list[_Operation] = [("Shape", ["rows"], [_COUNT], {})]
    if not by_window:
        operations += [
            ("Mod", [_COUNT, "every"], ["over"], {}),
            ("Sub", ["every", "over"], ["short"], {}),
            ("Mod", ["short", "every"], ["more"], {}),
            ("Concat", ["zero", "more"], ["pads"], {"axis": 0}),
        ]
    for name in rows:
        filled = f"{name}_filled"
        if by_window:
            operations.append(("Reshape", [_ROWS[name], "window"], [f"{name}_window"], {}))
            operations.append(("Gather", [f"{name}_window", "filled"], [filled], {"axis": 1}))
        else:
            operations.append(("Pad", [_ROWS[name], "pads"], [filled], {"mode": "edge"}))
        operations.append(("Reshape", [filled, "lines"], [name], {}))
    return operations


def _cutting(*, by_window: bool) -> list[_Operation]:
    """From the features of lines to those of the rows that were given, and to windows."""
    joined, windows = OUTPUTS[3], INPUTS[-1][0]
    if by_window:
        return [
            ("Reshape", [joined, "whole_shape"], ["whole"], {}),
            ("Gather", ["whole", "cut"], [windows], {"axis": 1}),
            ("Reshape", [windows, "features_shape"], [FEATURES], {}),
        ]
    return [
        ("Slice", [joined, "zero", _COUNT, "zero"], [FEATURES], {}),
        ("Reshape", [FEATURES, "window_shape"], [windows], {}),
    ]


def _small_graph(
    like: Any,
    name: str,
    operations: Sequence[_Operation],
    numbers: dict[str, list[int]],
    inputs: Sequence[tuple[str, int, list[int | None]]],
    outputs: Sequence[tuple[str, int, list[int | None]]],
) -> Any:
    """A graph of operations and of those of the numbers that they take."""
    helper, numpy_helper, compose = (
        importlib.import_module(f"onnx.{module}") for module in ("helper", "numpy_helper", "compose")
    )
    nodes = [helper.make_node(kind, taken, given, **more) for kind, taken, given, more in operations]
    used = {text for node in nodes for text in node.input}
    constants = [numpy_helper.from_array(np.array(numbers[key]), key) for key in numbers if key in used]
    ends = [[helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs)]
    model = helper.make_model(
        helper.make_graph(nodes, name, *ends, constants), ir_version=like.ir_version, opset_imports=like.opset_import
    )
    return compose.add_prefix(model, f"{name}/", rename_inputs=False, rename_outputs=False)


def cut_graph(model: Any, inputs: list[str], output: str) -> Any:
    """The part of a graph between these."""
    return importlib.import_module("onnx.utils").Extractor(model).extract_model(inputs, [output])
