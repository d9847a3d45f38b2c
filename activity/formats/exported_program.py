"""`.pt2`: two programs of `torch.export` in one archive, encoder and head, and what the model says of itself."""

import importlib
import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from activity.files import write_atomically
from activity.formats.compare import check_same_scores
from activity.formats.contract import CONTRACT, MAKE_ONE, ModelFileError, cannot_express, contract_of, read_contract
from activity.formats.halves import (
    LARGEST_SIDE,
    MOST_FRAMES,
    EncoderHalf,
    HalvesRecognizer,
    HeadHalf,
    example_of,
    same_in,
)
from activity.models.recognizer import Recognizer

ENCODER, HEAD = "encoder", "head"
NAME = "torch.export"


def exported_programs(recognizer: Recognizer) -> tuple[ExportedProgram, ExportedProgram]:
    """The encoder, of any number of frames of any size, and the head, of any number of windows, as graphs.

    Raises:
        ModelFileError: `torch.export` cannot express one of them.
    """
    example = example_of(recognizer)
    rows = Dim("rows", min=1, max=MOST_FRAMES)
    sizes = {2: Dim("height", min=1, max=LARGEST_SIDE), 3: Dim("width", min=1, max=LARGEST_SIDE)}
    windows = Dim("windows", min=1, max=MOST_FRAMES)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes of the exporter on its own insides
            encoder = torch.export.export(
                EncoderHalf(recognizer),
                (example.frames, example.rows, example.previous_rows),
                dynamic_shapes=({0: Dim("frames", min=1, max=MOST_FRAMES), **sizes}, {0: rows}, {0: rows}),
                strict=False,
            )
            head = torch.export.export(
                HeadHalf(recognizer),
                (example.features, example.lengths),
                dynamic_shapes=({0: windows}, {0: windows}),
                strict=False,
            )
    except Exception as error:  # of many kinds, private ones too
        raise cannot_express(NAME, recognizer.encoder.name, error) from error
    return encoder, head


def export_program(recognizer: Recognizer, path: Path, examples: Sequence[Tensor]) -> float:
    """Write a recognizer as a `.pt2` archive; arguments, result and errors as `export_torchscript`."""
    package_pt2 = _archives(path).package_pt2
    recognizer = recognizer.cpu().eval()
    traced = same_in(recognizer, recognizer.encoder.precision, traced=True)
    encoder, head = exported_programs(traced)
    buffer = io.BytesIO()
    programs, texts = {ENCODER: encoder, HEAD: head}, {CONTRACT: contract_of(recognizer).text()}
    package_pt2(buffer, exported_programs=programs, extra_files=texts)
    buffer.seek(0)
    difference = check_same_scores(recognizer, _load(path, buffer), examples, noise=True)
    write_atomically(path, buffer.getvalue())
    return difference


def load_program(path: Path) -> HalvesRecognizer:
    """The recognizer of a `.pt2` archive, on the CPU.

    Raises:
        ModelFileError: of another program, of another version of it or of torch, or holding pickled code.
    """
    return _load(path, io.BytesIO(path.read_bytes()))


def _load(path: Path, archive: io.BytesIO) -> HalvesRecognizer:
    with zipfile.ZipFile(archive) as members:
        contract = next((name for name in members.namelist() if name.endswith(f"extra/{CONTRACT}")), None)
        said = read_contract(path, None if contract is None else members.read(contract))
        _check_holds_no_code(path, members)
    archive.seek(0)
    load_pt2 = _archives(path).load_pt2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            programs = load_pt2(archive).exported_programs
        encode, classify = programs[ENCODER].module(), programs[HEAD].module()
    except Exception as error:  # of many kinds, private ones too
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelFileError(
            f"{path} cannot be read by torch {torch.__version__} ({reason}). Export it again with the torch that is to "
            "read it, or to .ts."
        ) from error
    return HalvesRecognizer(said, encode, classify, NAME)


def _check_holds_no_code(path: Path, members: zipfile.ZipFile) -> None:
    """Refuse what torch would unpickle: it does so for tensors that say so, and for anything beside plain tensors."""
    for name in members.namelist():
        if name.endswith(".json"):
            safe = not _says_pickled(json.loads(members.read(name)))
        elif name.endswith((".pt", ".pth", ".pkl")):
            safe = _is_plain(members.read(name))
        else:
            safe = "custom_obj" not in name
        if not safe:
            raise ModelFileError(f"{path} holds pickled code (in {name}); it was not executed. {MAKE_ONE}")


def _says_pickled(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value.get("use_pickle")) or any(map(_says_pickled, value.values()))
    return isinstance(value, list) and any(map(_says_pickled, value))


def _is_plain(pickled: bytes) -> bool:
    if not pickled:
        return True
    try:
        torch.load(io.BytesIO(pickled), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def _archives(path: Path) -> Any:
    try:
        return importlib.import_module("torch.export.pt2_archive._package")
    except ImportError as error:
        raise ModelFileError(
            f"{path}: .pt2 needs torch 2.8 or newer; this is {torch.__version__}. Update it, or export to .ts."
        ) from error
