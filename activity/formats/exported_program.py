"""`.pt2`: programs of `torch.export` in one archive, and what the model says of itself."""

import importlib
import io
import json
import logging
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from activity.files import write_atomically
from activity.formats.compare import Window, check_same_scores
from activity.formats.contract import (
    CONTRACT,
    MAKE_ONE,
    ModelFileError,
    cannot_express,
    check_classes,
    contract_of,
    read_contract,
    reason_of,
)
from activity.formats.graphs import Graphs, GraphsRecognizer
from activity.formats.parts import (
    LARGEST_SIDE,
    MOST_FRAMES,
    PARTS,
    EncoderPart,
    HeadPart,
    JoinPart,
    PreparePart,
    ResizePart,
    example_of,
    same_in,
)
from activity.models.recognizer import Recognizer

NAME = "torch.export"
_PART = "|".join(PARTS)
_MEMBER = re.compile(
    r"[^/]+/(?:archive_format|archive_version|byteorder|\.data/version|\.data/serialization_id"
    rf"|extra/{re.escape(CONTRACT)}|models/(?:{_PART})\.json|data/(?:weights/weight|constants/tensor)_\d+"
    rf"|(?P<config>data/(?:weights/(?:{_PART})_weights|constants/(?:{_PART})_constants)_config\.json)"
    rf"|(?P<inputs>data/sample_inputs/(?:{_PART})\.pt))"
)
_TENSOR = re.compile(r"(?:weight|tensor)_\d+")


class Programs(NamedTuple):
    """The graphs of a recognizer, in the order of `PARTS`; of any number of frames, and of windows."""

    resize: ExportedProgram
    prepare: ExportedProgram
    encoder: ExportedProgram
    join: ExportedProgram
    head: ExportedProgram


def exported_programs(recognizer: Recognizer, path: Path) -> Programs:
    """What `torch.export` makes of a recognizer, of frames of any size.

    Args:
        recognizer: on the CPU.
        path: of the file that they are for, for messages.

    Raises:
        ModelFileError: it cannot express the encoder.
    """
    example = example_of(recognizer)
    frames, lines, looks = (Dim(name, min=1, max=MOST_FRAMES) for name in ("frames", "lines", "looks"))
    sizes = {2: Dim("height", min=1, max=LARGEST_SIDE), 3: Dim("width", min=1, max=LARGEST_SIDE)}
    windows = Dim("windows", min=1, max=MOST_FRAMES)

    def program(part: nn.Module, inputs: tuple[Tensor, ...], dims: tuple[dict[int, Any], ...]) -> ExportedProgram:
        return torch.export.export(part, inputs, dynamic_shapes=dims, strict=False)

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes of the exporter on its own insides
            pictures = (example.pictures, example.rows, example.previous_rows)
            return Programs(
                resize=program(ResizePart(recognizer), (example.frames,), ({0: frames, **sizes},)),
                prepare=program(PreparePart(recognizer), pictures, ({0: frames}, {0: lines}, {0: lines})),
                encoder=program(EncoderPart(recognizer), (example.pixels,), ({0: looks},)),
                join=program(JoinPart(recognizer), (example.found, example.rows), ({0: looks}, {0: lines})),
                head=program(HeadPart(recognizer), (example.features, example.lengths), ({0: windows}, {0: windows})),
            )
    except Exception as error:  # of many kinds, private ones too
        raise cannot_express(path, NAME, recognizer.encoder.name, error) from error


def export_program(recognizer: Recognizer, path: Path, examples: Sequence[Window]) -> float:
    """Write a recognizer as a `.pt2` archive; arguments, result and errors as `export_torchscript`."""
    package_pt2 = _archives(path).package_pt2
    recognizer = recognizer.cpu().eval()
    programs = exported_programs(same_in(recognizer, recognizer.encoder.precision, traced=True), path)
    buffer = io.BytesIO()
    parts, texts = (
        dict(zip(PARTS, programs, strict=True)),
        {CONTRACT: contract_of(recognizer, computes_in=recognizer.encoder.precision).text()},
    )
    logger = logging.getLogger("torch.export.pt2_archive._package_weights")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of tensors that share memory, as buffers of a folded CNN may
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # likewise
            package_pt2(buffer, exported_programs=parts, extra_files=texts)
    finally:
        logger.setLevel(level)
    buffer.seek(0)
    loaded = _load(path, buffer)
    difference = check_same_scores(path, recognizer, (loaded, loaded.as_elsewhere()), examples)
    write_atomically(path, buffer.getvalue())
    return difference


def load_program(path: Path) -> GraphsRecognizer:
    """The recognizer of a `.pt2` archive, on the CPU.

    Raises:
        ModelFileError: of another program, of another version of it or of torch, or holding pickled code.
    """
    return _load(path, io.BytesIO(path.read_bytes()))


def _load(path: Path, archive: io.BytesIO) -> GraphsRecognizer:
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
        graphs = Graphs(*(programs[part].module() for part in PARTS))
        features = torch.zeros(1, said.window_frames, said.feature_size)
        logits = graphs.classify(features, torch.tensor([said.window_frames]))
    except Exception as error:  # of many kinds, private ones too
        raise ModelFileError(
            f"{path} cannot be read by torch {torch.__version__} ({reason_of(error)}). Export it again with the torch "
            "that is to read it, or to .ts."
        ) from error
    check_classes(path, said, logits.shape[1])
    return GraphsRecognizer(said, graphs, NAME, by_torch=True)


def _check_holds_no_code(path: Path, members: zipfile.ZipFile) -> None:
    """Refuse what torch might unpickle: all but the members that `export_program` writes, as it writes them.

    It unpickles tensors that say so, objects beside tensors, and inputs that are no plain tensors; and it finds a
    member whatever the case of its name, and another one of the same name than Python does.
    """
    for name, count in Counter(members.namelist()).items():
        found = _MEMBER.fullmatch(name)
        if found is None or count > 1:
            safe = False
        elif found["config"]:
            safe = _names_plain_tensors(path, name, members.read(name))
        else:
            safe = not found["inputs"] or _is_plain(members.read(name))
        if not safe:
            raise ModelFileError(f"{path} holds pickled code, or may do so (in {name}); none was executed. {MAKE_ONE}")


def _names_plain_tensors(path: Path, name: str, text: bytes) -> bool:
    """Whether a table of weights or constants names nothing but tensors as they lie in memory."""
    try:
        entries = json.loads(text)["config"].values()
        return all(not entry["use_pickle"] and _TENSOR.fullmatch(entry["path_name"]) for entry in entries)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path} is damaged (in {name}); copy or export it again.") from error


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
