"""A folder `NAME.openvino`: OpenVINO models, the fastest on Intel's and AMD's processors."""

import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activity.files import replace_folder
from activity.formats.compare import Window, check_same_scores
from activity.formats.contract import (
    CONTRACT,
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
from activity.formats.libraries import import_silent
from activity.formats.parts import PARTS, ResizePart, example_of, same_in
from activity.models.recognizer import Recognizer

NAME, EXTRA = "OpenVINO", "openvino"
# What OpenVINO's binding prepares when it first meets an array of numpy, it must prepare in one thread: two that encode
# would wait for ever, one for the other's preparation, the other for the first to let Python go on.
_first_use = threading.Lock()
_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_GRAPHS = tuple(f"{part}.{suffix}" for part in PARTS for suffix in ("xml", "bin"))
_DIGESTS = "digests.json"  # of those and of the contract, which have no checksums of their own


def export_openvino(
    recognizer: Recognizer, path: Path, examples: Sequence[Window], *, calibration: Iterable[Window] | None = None
) -> float:
    """Write a recognizer as a folder of OpenVINO models, of float32 weights or with a CNN in int8.

    Arguments and result as `export_onnx`. The folder appears whole or not at all; one that is there is replaced.

    Raises:
        ModelFileError: the folder holds other things, the extra is not installed, OpenVINO cannot express the encoder,
            or scores differ by more than 1e-4; nothing is written.
    """
    library = _library(path)
    check_is_ours(path)
    recognizer = recognizer.cpu().eval()
    models = _converted(library, recognizer, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as temporary:
        folder = Path(temporary) / "model"
        folder.mkdir()
        for part, model in zip(PARTS, models, strict=True):
            library.save_model(model, folder / f"{part}.xml", compress_to_fp16=False)
        contract = contract_of(recognizer, computes_in=recognizer.encoder.precision)
        _describe(folder, contract)
        loaded = load_openvino(folder, exact=True, called=path)
        difference = check_same_scores(path, same_in(recognizer, "float32"), (loaded, loaded.as_elsewhere()), examples)
        if calibration is not None:
            encoder = _quantised(models[PARTS.index("encoder")], recognizer, path, calibration)
            library.save_model(encoder, folder / "encoder.xml", compress_to_fp16=False)
            _describe(folder, replace(contract, computes_in="int8"))
        replace_folder(folder, path)
    return difference


def check_is_ours(path: Path) -> None:
    """Refuse to replace a folder in which there is more than an exported model.

    Raises:
        ModelFileError: with the name of what else there is.
    """
    ours = {*_GRAPHS, CONTRACT, _DIGESTS}
    others = [item.name for item in path.iterdir() if item.name not in ours] if path.is_dir() else []
    if others:
        raise ModelFileError(f"{path} is a folder that holds other things ({others[0]}); give another name.")


def load_openvino(path: Path, *, exact: bool = False, called: Path | None = None) -> GraphsRecognizer:
    """The recognizer of a folder, on the CPU.

    Args:
        path: the folder.
        exact: compute in float32 even where training did not; else of a model that was trained in bfloat16 what is not
            int8 runs in what OpenVINO finds fastest here, bfloat16 where the processor has it.
        called: the folder in messages, where it is not yet in its place.

    Raises:
        ModelFileError: the extra is not installed; or the folder is not whole, of another program, or of
            another version.
    """
    contract_file = path / CONTRACT
    if not contract_file.is_file():
        raise ModelFileError(f"{path} is no model folder, or not a whole one: {CONTRACT} is missing. {MAKE_ONE}")
    contract = read_contract(path, contract_file.read_bytes())
    _check_digests(path)
    library = _library(path)
    core, precision = library.Core(), "f32" if exact or contract.precision == "float32" else None
    # Each is read and compiled where it is first used: for how many threads is not known before, and most are for other
    # programs.
    sessions = [
        ByThreads(_maker(library, core, path, called or path, part, precision if part == "encoder" else "f32"))
        for part in PARTS
    ]
    features = torch.zeros(1, contract.window_frames, contract.feature_size)
    try:
        with _first_use:
            logits = sessions[-1].get()(features, torch.tensor([contract.window_frames]))
    except RuntimeError as error:
        raise CannotBeRunError(called or path, "OpenVINO", library.__version__, error) from error
    check_classes(path, contract, logits.shape[1])

    def run(part: int) -> Callable[..., Tensor]:
        return lambda *tensors: sessions[part].get()(*tensors)

    return GraphsRecognizer(contract, Graphs(*map(run, range(len(PARTS)))), NAME)


def _converted(library: Any, recognizer: Recognizer, path: Path) -> list[Any]:
    """The parts of a recognizer as OpenVINO models of float32, in the order of `PARTS`."""
    traced = same_in(recognizer, "float32", traced=True)
    _, *programs = exported_programs(traced, path)
    try:
        # By an example: there is no rule for the smaller of two sizes of an exported program.
        resize = library.convert_model(ResizePart(traced), example_input=example_of(traced).frames)
        return [resize, *(library.convert_model(program) for program in programs)]
    except Exception as error:  # of many kinds, private ones too
        raise cannot_express(path, NAME, recognizer.encoder.name, error) from error


def _quantised(encoder: Any, recognizer: Recognizer, path: Path, calibration: Iterable[Window]) -> Any:
    convolutions = [
        operation.get_friendly_name()
        for operation in encoder.get_ordered_ops()
        if operation.get_type_name() in _CONVOLUTIONS
    ]
    return quantised(
        path,
        encoder,
        recognizer,
        calibration,
        as_input=lambda pixels: pixels.contiguous().numpy(),
        convolutions=convolutions,
    )


def _describe(folder: Path, contract: Contract) -> None:
    """Write down what the graphs of a folder are, once they are there."""
    (folder / CONTRACT).write_text(contract.text(), encoding="utf-8")
    digests = {name: _digest(folder / name) for name in (*_GRAPHS, CONTRACT)}
    (folder / _DIGESTS).write_text(json.dumps(digests, indent=2), encoding="utf-8")


def _check_digests(folder: Path) -> None:
    """Refuse a folder in which a file is missing or is not as it was written."""
    try:
        digests = dict(json.loads((folder / _DIGESTS).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"{folder} is no whole model folder: {_DIGESTS} is missing or damaged. Copy it or export it again."
        ) from error
    for name in (*_GRAPHS, CONTRACT):
        if not (folder / name).is_file():
            raise ModelFileError(f"{folder} is no whole model folder: {name} is missing. Copy it or export it again.")
        if _digest(folder / name) != digests.get(name):
            raise damaged(folder, name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class _Session:
    """A compiled model that threads may ask at once, each by a request of its own.

    Requests are kept: the memory for what lies between a model's layers is theirs, and new memory takes time.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: list[Any] = []

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The model's output; of the inputs as many as it has."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        given = [tensor.contiguous().numpy() for tensor in inputs[: len(self._compiled.inputs)]]
        result = request.infer(given, share_inputs=True, share_outputs=True)
        output = torch.from_numpy(result[0].copy())
        self._idle.append(request)
        return output


def _maker(
    library: Any, core: Any, path: Path, called: Path, part: str, precision: str | None
) -> Callable[[int], _Session]:
    # Read at once: a folder may be gone when a part is first asked for.
    model, weights = ((path / f"{part}.{suffix}").read_bytes() for suffix in ("xml", "bin"))
    cores = torch.get_num_threads()  # of the thread that loads; those that encode a batch each have their share

    def make(threads: int) -> _Session:
        # A stream for each thread that may ask: in one they would wait for each other.
        streams = max(1, cores // threads)
        settings: dict[str, int | str] = {"INFERENCE_NUM_THREADS": threads * streams, "NUM_STREAMS": streams}
        if precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = precision
        try:
            return _Session(core.compile_model(core.read_model(model, weights), "CPU", settings))
        except RuntimeError as error:
            raise CannotBeRunError(called, "OpenVINO", library.__version__, error) from error

    return make


def _library(path: Path) -> Any:
    try:
        return import_silent("openvino")
    except ModuleNotFoundError as error:
        if error.name != "openvino":  # installed, and broken
            raise
        raise needs_extra(path, EXTRA, "openvino") from error
