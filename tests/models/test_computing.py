"""Batch norm folded into convolutions: the same features, and a model it cannot be done to is left as it is."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from activity.models.computing import computing_copy, copy_numbers, foldable_pairs
from activity.models.pretrained import create_backbone

SIZE = 32


def with_statistics(module: nn.Module) -> nn.Module:
    """Norms that do something, as those of a trained network."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                assert tensor is not None
                tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
    return module.eval()


def pixels(size: int = SIZE) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu().mean((2, 3))


class UsedTwice(Plain):
    """Who reads the convolution's output beside the norm must not get that of the folded one."""

    def forward(self, x: Tensor) -> Tensor:
        seen = self.conv(x)
        return (self.norm(seen) + seen).mean((2, 3))


class Shared(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return (self.norm(self.conv(x)) + self.other(self.conv(x))).mean((2, 3))


class NormFirst(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x)).mean((2, 3))


@pytest.mark.parametrize(("make", "pairs"), [(Plain, 1), (UsedTwice, 0), (Shared, 0), (NormFirst, 0)])
def test_only_a_norm_that_alone_reads_a_convolution_is_folded(make: Callable[[], nn.Module], pairs: int) -> None:
    module = with_statistics(make())
    before = copy.deepcopy(module.state_dict())
    found = foldable_pairs(module, SIZE)
    assert len(found) == pairs
    computing = computing_copy(module, found, "float32")
    torch.testing.assert_close(computing(pixels()), module(pixels()), rtol=1e-5, atol=1e-5)
    assert computing.state_dict() == {}  # a checkpoint holds the weights once
    assert sum(isinstance(child, nn.BatchNorm2d) for child in computing.modules()) == (
        sum(isinstance(child, nn.BatchNorm2d) for child in module.modules()) - pairs
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("efficientnet_lite0", 49),
        ("torchvision/resnet18", 20),
        ("torchvision/mobilenet_v3_small", 34),
        ("timm/mobilenetv4_conv_small", 46),
        ("torchvision/convnext_tiny", 0),
    ],
)
def test_known_encoders_compute_the_same_features(name: str, pairs: int) -> None:
    preprocess, backbone = create_backbone(name, "none")
    backbone = with_statistics(backbone)
    found = foldable_pairs(backbone, preprocess.crop_size)
    assert len(found) == pairs
    exact = backbone(pixels(preprocess.crop_size))
    folded = computing_copy(backbone, found, "float32")(pixels(preprocess.crop_size))
    assert (folded - exact).abs().max() < 1e-4 * exact.abs().max()
    rounded = computing_copy(backbone, found, "bfloat16")(pixels(preprocess.crop_size).bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() < 0.1 * exact.norm()
    source, copied = computing_copy(backbone, found, "bfloat16"), computing_copy(backbone, found, "float32")
    copy_numbers(source, copied)
    numbers = dict(source.named_buffers())
    assert all(torch.equal(own, numbers[name].to(own.dtype)) for name, own in copied.named_buffers())
    # What is left of the difference is the rounding between layers.
    assert (rounded.float() - copied(pixels(preprocess.crop_size))).norm() < (rounded.float() - exact).norm()
