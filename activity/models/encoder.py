"""The frame encoders: preprocessing and a CNN, from frames to features, one modality or two."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from activity.models.computing import Pairs, computing_copy, foldable_pairs
from activity.models.looks import joined, part_size, seen
from activity.models.precision import PRECISIONS
from activity.models.preprocess import Preprocess
from activity.models.pretrained import EncoderError, create_backbone

MODALITIES = ("rgb", "motion")
CONTRAST, NOISE = 0.25, 0.01
# That a CNN gets on a CPU: what it makes of more does not stay in a core's cache, and fewer leave it idle.
PICTURES_AT_ONCE = 8
MOST_RGB_EVERY = 64  # the CNN gets whole looks of "rgb": a batch is as long as one


class FrameEncoder(nn.Module):
    """Preprocessing and a CNN: uint8 frames to one feature each.

    Modalities as in two-stream networks: "rgb" encodes the frame, "motion" the signed difference of the
    preprocessed frame to that of the sampled frame before (the RGB difference of TSN, Wang et al. 2016), brought to the
    contrast of a photograph. The features of several modalities stand side by side, in their order.

    What things look like changes more slowly than where they are: "rgb" may look at each `rgb_every`-th sampled frame
    only, and its feature holds until the next, while "motion" looks at each (the slow and the fast pathway of SlowFast,
    Feichtenhofer et al. 2019).

    Args:
        name: what `create_encoder` makes it from.
        preprocess: belongs to the weights of `backbone`.
        backbone: pixels `float32 (N, 3, S, S)` to features `(N, backbone_size)`.
        modalities: one or both of `MODALITIES`.
        rgb_every: sampled frames from one that "rgb" looks at to the next; 1: it looks at each, as it does alone.
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
    pictures_at_once: Final[int]

    def __init__(
        self,
        *,
        name: str,
        preprocess: Preprocess,
        backbone: nn.Module,
        modalities: list[str],
        rgb_every: int = 1,
        precision: str = "float32",
        contrast: float = CONTRAST,
        noise: float = NOISE,
        trained: bool = False,
    ) -> None:
        super().__init__()
        check_modalities(modalities)
        check_precision(precision)
        check_rgb_every(rgb_every, modalities)
        self.name = name
        self.modalities = list(modalities)
        self.rgb_every = int(rgb_every)
        self.contrast, self.noise = float(contrast), float(noise)
        self.precision = precision
        self.in_bfloat16 = precision == "bfloat16"
        self.preprocess = preprocess
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.feature_size = _measured_feature_size(backbone, preprocess.crop_size) * len(modalities)
        self.trained = trained
        self.pictures_at_once = PICTURES_AT_ONCE
        self._pairs: Pairs = () if trained else foldable_pairs(self.backbone.eval(), preprocess.crop_size)
        self.computing: nn.Module = nn.Identity()
        self.follow_backbone()
        self.register_load_state_dict_post_hook(_follow_backbone)  # type: ignore[no-untyped-call]

    def forward(self, frames: Tensor, previous: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        """Features of consecutive sampled frames.

        Args:
            frames: `uint8 (B, T, 3, H, W)`, RGB, any H and W. "rgb" looks at the first and each `rgb_every`-th after.
            previous: the sampled frame before the first, `uint8 (B, 3, H, W)` or `(B, 1, 3, H, W)`, when a video is
                read in pieces. Without it nothing has moved at the first frame. Only "motion" looks at it.
            held: the feature of the sampled frame before, `float32 (B, D)`, when a piece begins at a frame that "rgb"
                does not look at: what that said of "rgb" holds for all of these.

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
        return self._encode(pictures, rows, torch.cat([first, rows[:, :-1]], dim=1), held)

    @torch.jit.export
    def encode_rows(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None = None) -> Tensor:
        """Features `float32 (N, D)` of single frames, each of which is preprocessed once however often it is looked at.

        Args:
            frames: RGB, in any order, those of one size in a tensor `uint8 (M, 3, H, W)`.
            rows: `int64 (N,)`, which to encode, counted through all of them. "rgb" looks at the first and each
                `rgb_every`-th after, whatever video they are of.
            previous_rows: `int64 (N,)`, the sampled frame before each; only "motion" looks at it.
        """
        pictures = torch.cat([self.preprocess.pictures(alike) for alike in frames])  # now all of one size
        before = previous_rows.unsqueeze(0) if previous_rows is not None else None
        return self._encode(pictures, rows.unsqueeze(0), before, None)[0]

    def seen(self, pictures: Tensor, rgb_rows: Tensor | None, rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        """What the CNN gets of frames, `float32 (K, 3, S, S)`; arguments as of the function `seen`."""
        return seen(
            pictures,
            rgb_rows=rgb_rows,
            rows=rows,
            previous_rows=previous_rows,
            modalities=self.modalities,
            mean=self.preprocess.mean,
            std=self.preprocess.std,
            contrast=self.contrast,
            noise=self.noise,
        )

    def encode_seen(self, pixels: Tensor) -> Tensor:
        """What the CNN makes of what `seen` gives, `float32 (K, 3, S, S)` to `float32 (K, backbone_size)`."""
        return self._cnn(self._as_read(pixels))

    def follow_backbone(self) -> None:
        """Let features be computed with the weights that `backbone` has now."""
        if not self.trained:
            self.computing = computing_copy(self.backbone, self._pairs, self.precision)

    def describe(self) -> dict[str, Any]:
        """All but the weights, as plain Python, for `rebuild_encoder`."""
        return {
            "name": self.name,
            "modalities": list(self.modalities),
            "rgb_every": self.rgb_every,
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

    def _encode(self, pictures: Tensor, rows: Tensor, previous_rows: Tensor | None, held: Tensor | None) -> Tensor:
        """Features `float32 (B, T, D)` of B sequences of frames that are resized and cropped, `uint8 (M, 3, S, S)`.

        Args:
            pictures: the frames.
            rows, previous_rows: `int64 (B, T)`, those of each sequence, and the sampled frame before each.
            held: as of `joined`.
        """
        rgb_rows: Tensor | None = None
        if held is None:
            rgb_rows = rows[:, :: self.rgb_every].flatten()
        before = previous_rows.flatten() if previous_rows is not None else None
        looks = self._as_read(self.seen(pictures.contiguous(), rgb_rows, rows.flatten(), before))
        in_one = self.trained or looks.device.type != "cpu"
        size = looks.shape[0] if in_one else part_size(looks.shape[0], self.pictures_at_once)
        found = torch.cat([self._cnn(part) for part in looks.split(size)])
        return joined(
            found,
            batch=rows.shape[0],
            time=rows.shape[1],
            modalities=self.modalities,
            rgb_every=self.rgb_every,
            held=held,
        )

    def _as_read(self, pixels: Tensor) -> Tensor:
        """Pixels in the type and the memory order in which the CNN reads them."""
        # Casts that are written out, not autocast: TorchScript's has other rules than the eager one.
        if self.in_bfloat16 and not self.trained:
            pixels = pixels.to(torch.bfloat16)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _cnn(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.backbone(pixels) if self.trained else self.computing(pixels)
        return features.float()


def create_encoder(
    *,
    name: str,
    weights: str,
    modalities: list[str],
    framing: str,
    rgb_every: int,
    precision: str = "float32",
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
        rgb_every: beside "motion", "rgb" looks at each so many-th sampled frame; alone it looks at each.
        precision: "float32" or "bfloat16"; `choose_precision` says which suits a machine.

    Raises:
        EncoderError: for an unknown name, weights that cannot be downloaded or read, or that do not fit.
    """
    check_modalities(modalities)
    preprocess, backbone = create_backbone(name, weights)
    preprocess = Preprocess(**{**preprocess.describe(), "framing": framing})
    encoder = FrameEncoder(
        name=name,
        preprocess=preprocess,
        backbone=backbone,
        modalities=modalities,
        rgb_every=rgb_every if len(modalities) == 2 else 1,
        precision=precision,
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
        rgb_every=description["rgb_every"],
        precision=description["precision"],
        contrast=description["contrast"],
        noise=description["noise"],
    )
    return encoder.eval().requires_grad_(False)


def check_modalities(modalities: list[str]) -> None:
    """Refuse what is none of `MODALITIES`, or twice there; an `EncoderError` says what is accepted."""
    if not modalities or len(set(modalities)) != len(modalities) or not set(modalities) <= set(MODALITIES):
        raise EncoderError(
            f"modalities is {list(modalities)}; accepted: [rgb], [motion] or [rgb,motion], each at most once."
        )


def check_rgb_every(rgb_every: int, modalities: Sequence[str]) -> None:
    """Refuse what is no number of frames, or none of use.

    Raises:
        EncoderError: says what is accepted.
    """
    most = MOST_RGB_EVERY if len(modalities) == 2 else 1
    if not isinstance(rgb_every, int) or not 1 <= rgb_every <= most:
        raise EncoderError(
            f"rgb_every is {rgb_every} with modalities {list(modalities)}; accepted: 1, and beside motion up to "
            f"{MOST_RGB_EVERY} sampled frames."
        )


def check_precision(precision: str) -> None:
    """Refuse what is none of `PRECISIONS`; an `EncoderError` says what is accepted."""
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
