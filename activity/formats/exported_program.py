"""`.pt2`: two programs of `torch.export` in one archive, encoder and head, and what the model says of itself."""

import io
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

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
    from torch.export.pt2_archive._package import package_pt2

    recognizer = recognizer.cpu().eval()
    traced = same_in(recognizer, recognizer.encoder.precision, traced=True)
    encoder, head = exported_programs(traced)
    buffer = io.BytesIO()
    programs, texts = {ENCODER: encoder, HEAD: head}, {CONTRACT: contract_of(recognizer).text()}
    package_pt2(buffer, exported_programs=programs, extra_files=texts)
    buffer.seek(0)
    difference = check_same_scores(recognizer, _load(path, buffer), examples)
    write_atomically(path, buffer.getvalue())
    return difference


def load_program(path: Path) -> HalvesRecognizer:
    """The recognizer of a `.pt2` archive, on the CPU.

    Raises:
        ModelFileError: truncated, of another program, or of another version.
    """
    return _load(path, io.BytesIO(path.read_bytes()))


def _load(path: Path, archive: io.BytesIO) -> HalvesRecognizer:
    from torch.export.pt2_archive._package import load_pt2

    try:
        with zipfile.ZipFile(archive) as members:
            contract = next((name for name in members.namelist() if name.endswith(f"extra/{CONTRACT}")), None)
            text = None if contract is None else members.read(contract)
        said = read_contract(path, text)  # before any program is read
        archive.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            programs = load_pt2(archive).exported_programs
        encode, classify = programs[ENCODER].module(), programs[HEAD].module()
    except ModelFileError:
        raise
    except Exception as error:  # of many kinds, private ones too
        raise ModelFileError(f"{path} is no model file, or not a whole one. {MAKE_ONE}") from error
    return HalvesRecognizer(said, encode, classify, NAME)
