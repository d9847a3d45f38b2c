"""What every model file of ours must say of itself, whatever its format."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from activity.models.encoder import check_modalities, check_precision, check_rgb_every
from activity.models.precision import PRECISIONS
from activity.models.preprocess import Preprocess
from activity.models.recognizer import FORMAT_VERSION, Recognizer

CONTRACT = "activity.json"
"""The file, or the member of an archive, in which a model says what it is."""

TORCHSCRIPT_SUFFIXES = (".ts", ".pt")
"""Of the format that expresses most."""

MAKE_ONE = (
    "Give a checkpoint of `activity train` (best.ckpt) or a file of `activity export` (.ts, .pt2, .onnx, .openvino)."
)


class ModelFileError(ValueError):
    """A file that is no model of ours, not a whole one, or one that cannot be made."""


class CannotBeRunError(ModelFileError):
    """A runtime refuses graphs that are as they were written.

    Attributes:
        reason: the runtime, and what it says.
    """

    def __init__(self, path: Path, library: str, version: str, error: Exception) -> None:
        self.reason = f"{library} {version}: {reason_of(error)}"
        super().__init__(
            f"{path} cannot be run by {library} {version} ({reason_of(error)}). Update it, or export the model again "
            "here, or to .ts."
        )


@dataclass(frozen=True)
class Contract:
    """What a file says of itself, for formats that hold text beside their graphs.

    Attributes:
        class_names: the name of each logit.
        sample_fps: sampled frames a second.
        window_frames: sampled frames that the head reads at once.
        modalities: what the encoder looks at.
        rgb_every: "rgb" looks at each so many-th sampled frame.
        feature_size: numbers of a feature, D.
        encoder: the name of the CNN.
        precision: what the CNN computed in when the head was trained, "float32" or "bfloat16".
        computes_in: what the file's CNN computes in, "float32", "bfloat16" (where the processor has it) or "int8".
        preprocess: the arguments of `Preprocess`.
        contrast, noise: of motion, as of `FrameEncoder`.
        temperature: that logits are divided by.
        format_version: of the contract.
    """

    class_names: list[str]
    sample_fps: float
    window_frames: int
    modalities: list[str]
    rgb_every: int
    feature_size: int
    encoder: str
    precision: str
    computes_in: str
    preprocess: dict[str, Any]
    contrast: float
    noise: float
    temperature: float
    format_version: int

    def __post_init__(self) -> None:
        texts = (self.class_names, self.modalities)
        if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in texts):
            raise TypeError("class_names and modalities are lists of names")
        numbers = (
            *(self.sample_fps, self.window_frames, self.rgb_every, self.feature_size),
            *(self.contrast, self.noise, self.temperature),
        )
        if not self.class_names or min(numbers) <= 0:
            raise ValueError("a model has classes, and numbers above 0")
        check_modalities(self.modalities)
        check_rgb_every(self.rgb_every, self.modalities)
        check_precision(self.precision)
        if self.computes_in not in (*PRECISIONS, "int8"):
            raise ValueError(f"computes_in is {self.computes_in!r}")
        Preprocess(**self.preprocess)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def contract_of(recognizer: Recognizer, *, computes_in: str) -> Contract:
    """What a file made of a recognizer is to say."""
    return Contract(
        class_names=list(recognizer.class_names),
        sample_fps=recognizer.sample_fps,
        window_frames=recognizer.window_frames,
        modalities=list(recognizer.modalities),
        rgb_every=recognizer.rgb_every,
        feature_size=recognizer.encoder.feature_size,
        encoder=recognizer.encoder.name,
        precision=recognizer.encoder.precision,
        computes_in=computes_in,
        preprocess=recognizer.encoder.preprocess.describe(),
        contrast=recognizer.encoder.contrast,
        noise=recognizer.encoder.noise,
        temperature=recognizer.temperature.item(),
        format_version=recognizer.format_version,
    )


def read_contract(path: Path, text: str | bytes | None) -> Contract:
    """The contract that a file holds as JSON.

    Raises:
        ModelFileError: there is none, it is of another program, or of another version.
    """
    if not text:
        raise of_another_program(path)
    fields: Any = None
    try:
        fields = json.loads(text)
        check_format_version(path, fields["format_version"])
        contract = Contract(**fields)
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, ModelFileError):
            raise
        if fields is None or (isinstance(fields, dict) and set(fields) == set(Contract.__annotations__)):
            raise ModelFileError(
                f"{path} is damaged: what it says of itself cannot be read. Copy it or export it again."
            ) from error
        if isinstance(fields, dict) and "class_names" in fields:
            raise of_another_version(path) from error
        raise of_another_program(path) from error
    return contract


def of_another_program(path: Path) -> ModelFileError:
    """What to say of a model that is in one of the formats, and holds no contract."""
    return ModelFileError(f"{path} is a model of another program: it does not say its classes. {MAKE_ONE}")


def of_another_version(path: Path) -> ModelFileError:
    """What to say of a file of ours that lacks what this program writes, or has more."""
    return ModelFileError(f"{path} was written by another version of activity; export it again from its checkpoint.")


def check_classes(path: Path, contract: Contract, number: int) -> None:
    """Refuse a file whose graphs tell apart another number of classes than it names."""
    if number != len(contract.class_names):
        raise ModelFileError(
            f"{path} is damaged: it names {len(contract.class_names)} classes, and gives a score to {number}. Copy it "
            "or export it again."
        )


def damaged(path: Path, part: str) -> ModelFileError:
    """What to say where a part of a file is not as it was written."""
    return ModelFileError(
        f"{path} is damaged: its {part} is not as it was written. Copy it or export it again. (What another program "
        "has changed is not what was verified; export again to change it.)"
    )


def check_format_version(path: Path, version: object) -> None:
    """Refuse a file of a version that this program does not know."""
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version!r}; this program reads version {FORMAT_VERSION}. "
            "Update activity where the file is newer; where it is older, train the model again."
        )


def needs_extra(path: Path, extra: str, missing: str) -> ModelFileError:
    """What to say where a format's library is not installed."""
    return ModelFileError(
        f"{path}: this format needs {missing}, which is not installed. Install it: pip install 'activity[{extra}]'. "
        "Or export to .ts, which needs nothing more."
    )


def cannot_express(path: Path, what: str, encoder: str, error: Exception) -> ModelFileError:
    """What to say where a format, or int8, has no word for an operation of the encoder."""
    advice = "Leave --int8 out." if what == "int8" else another_way(path)
    return ModelFileError(f"{what} cannot express the encoder {encoder}: {reason_of(error)}. {advice}")


def another_way(path: Path) -> str:
    """What to do where a file cannot be made."""
    if path.suffix in TORCHSCRIPT_SUFFIXES:
        return "Train with another encoder, efficientnet_lite0 for instance."
    return "Export to .ts, or train with another encoder, efficientnet_lite0 for instance."


def reason_of(error: Exception) -> str:
    """The first line of what an error says, without its full stop."""
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".")
