"""The frame encoders: preprocessing and a CNN, from frames to features, one modality or two."""

import hashlib
from typing import Any, Final

import torch
from torch import Tensor, nn

from activity.models.computing import Pairs, computing_copy, foldable_pairs
from activity.models.precision import PRECISIONS
from activity.models.preprocess import Preprocess
from activity.models.pretrained import EncoderError, create_backbone

MODALITIES = ("rgb", "motion")
CONTRAST, NOISE = 0.25, 0.01


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
        trained: features come from `backbone` itself, in float32, and gradients flow to its weights. Else they come
            from a copy of it that is faster, in evaluation only, which `follow_backbone` brings up to date.
    """

    modalities: list[str]
    # Constants to TorchScript, which leaves out what is not taken.
    in_bfloat16: Final[bool]
    trained: Final[bool]

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
        trained: bool = False,
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
        self.trained = trained
        self._pairs: Pairs = () if trained else foldable_pairs(self.backbone.eval(), preprocess.crop_size)
        self.computing: nn.Module = nn.Identity()
        self.follow_backbone()
        self.register_load_state_dict_post_hook(_follow_backbone)  # type: ignore[no-untyped-call]

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
        pictures = self.preprocess.pictures(frames.flatten(0, 1))  # (B * T, 3, S, S)
        rows = torch.arange(batch * time, device=frames.device).view(batch, time)
        first = rows[:, :1]
        if previous is not None and "motion" in self.modalities:
            earlier = previous.view(batch, 3, previous.shape[-2], previous.shape[-1])
            pictures = torch.cat([pictures, self.preprocess.pictures(earlier)])
            first = batch * time + torch.arange(batch, device=frames.device).unsqueeze(1)
        before = torch.cat([first, rows[:, :-1]], dim=1)
        return self._encode(pictures, rows.flatten(), before.flatten()).view(batch, time, -1)  # (B, T, D)

    @torch.jit.export
    def encode_rows(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None = None) -> Tensor:
        """Features `float32 (N, D)` of single frames, each of which is preprocessed once however often it is looked at.

        Args:
            frames: RGB, in any order, those of one size in a tensor `uint8 (M, 3, H, W)`.
            rows: `int64 (N,)`, which to encode, counted through all of them.
            previous_rows: `int64 (N,)`, the sampled frame before each; only "motion" looks at it.
        """
        pictures = torch.cat([self.preprocess.pictures(alike) for alike in frames])  # now all of one size
        return self._encode(pictures, rows, previous_rows)

    def seen(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor | None) -> list[Tensor]:
        """What the CNN gets of frames, for each modality `float32 (N, 3, S, S)`.

        Args:
            pictures: the frames, resized and cropped, `uint8 (M, 3, S, S)`.
            rows, previous_rows: as of `encode_rows`.
        """
        pixels = self.preprocess.normalised(pictures)
        return seen(pixels, rows, previous_rows, self.modalities, self.preprocess.std, self.contrast, self.noise)

    def encode_seen(self, pixels: Tensor) -> Tensor:
        """Features `float32 (N, D)` of what `seen` gives, stacked: `float32 (modalities, N, 3, S, S)`."""
        features = self._cnn(pixels.flatten(0, 1))
        return features.view(pixels.shape[0], pixels.shape[1], -1).transpose(0, 1).flatten(1)

    def follow_backbone(self) -> None:
        """Let features be computed with the weights that `backbone` has now."""
        if not self.trained:
            self.computing = computing_copy(self.backbone, self._pairs, self.precision)

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

    def _encode(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """Features `float32 (N, D)` of frames that are resized and cropped; arguments as of `seen`."""
        features = [self._cnn(pixels) for pixels in self.seen(pictures, rows, previous_rows)]
        return torch.cat(features, dim=1)

    def _cnn(self, pixels: Tensor) -> Tensor:
        """Features `float32 (N, backbone_size)` of what one modality sees."""
        # Casts that are written out, not autocast: TorchScript's has other rules than the eager one.
        if self.in_bfloat16 and not self.trained:
            pixels = pixels.to(torch.bfloat16)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.backbone(pixels) if self.trained else self.computing(pixels)
        return features.float()


def seen(
    pixels: Tensor,
    rows: Tensor,
    previous_rows: Tensor | None,
    modalities: list[str],
    std: Tensor,
    contrast: float,
    noise: float,
) -> list[Tensor]:
    """What each modality shows the CNN of preprocessed frames, `float32 (N, 3, S, S)`.

    Args:
        pixels: `float32 (M, 3, S, S)`, as `Preprocess` gives them.
        rows, previous_rows: `int64 (N,)`, the frames wanted and the sampled frame before each; only "motion" looks at
            those.
        modalities: one or both of `MODALITIES`.
        std: what the pixels were divided by.
        contrast, noise: as of `FrameEncoder`.
    """
    found: list[Tensor] = []
    own = pixels.index_select(0, rows)
    for modality in modalities:
        shown = own
        if modality == "motion":
            assert previous_rows is not None, "motion needs the frame before"
            shown = motion(own, pixels.index_select(0, previous_rows), std, contrast, noise)
        found.append(shown)
    return found


def motion(pixels: Tensor, before: Tensor, std: Tensor, contrast: float, noise: float) -> Tensor:
    """Signed differences `(N, 3, S, S)` of preprocessed frames to those before, at the contrast of a photograph.

    At 25 frames/s a time grid of 10 a second steps by two frames, then by three: as they are, the differences would
    grow and shrink with the step, and with the light. Where nothing moves, the noise of the camera stays noise.
    """
    change = pixels - before
    strength = (change * std).square_().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return change.mul_(contrast / (strength + noise))


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
    preprocess, backbone = create_backbone(name, weights)
    preprocess = Preprocess(**{**preprocess.describe(), "framing": framing})
    encoder = FrameEncoder(
        name=name, preprocess=preprocess, backbone=backbone, modalities=modalities, precision=precision
    )
    return encoder.eval().requires_grad_(False)


def rebuild_encoder(description: dict[str, Any]) -> FrameEncoder:
    """The encoder that `FrameEncoder.describe` described, its weights still to be loaded."""
    name = description["name"]
    _, backbone = create_backbone(name, "none")
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


def _check_modalities(modalities: list[str]) -> None:
    if not modalities or len(set(modalities)) != len(modalities) or not set(modalities) <= set(MODALITIES):
        raise EncoderError(
            f"modalities is {list(modalities)}; accepted: [rgb], [motion] or [rgb,motion], each at most once."
        )


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise EncoderError(f"precision is {precision!r}; accepted: {', '.join(PRECISIONS)}.")


def _follow_backbone(encoder: FrameEncoder, _: object) -> None:
    """After weights were loaded."""
    encoder.follow_backbone()


def _measured_feature_size(backbone: nn.Module, size: int) -> int:
    device = next((tensor.device for tensor in backbone.parameters()), None)  # another encoder's weights may be moved
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, size, size, device=device))
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise EncoderError("This model gives no single feature vector an image; choose another encoder.")
    return int(features.shape[1])
