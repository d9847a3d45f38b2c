"""The copy of a CNN that features are computed with: batch norm folded into convolutions, in float32 or bfloat16."""

import copy
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LARGEST_ERROR = 1e-3  # of the largest number, in float32; a wrong pair changes everything

Pairs = tuple[tuple[str, str], ...]


def foldable_pairs(backbone: nn.Module, size: int) -> Pairs:
    """The convolutions whose output goes to a batch norm and nowhere else, each with that norm, by their names.

    In evaluation a batch norm scales and shifts each channel by fixed numbers, which the convolution before it can do
    itself (Jacob et al. 2018, section 3.2): an EfficientNet-Lite0 is a sixth faster so.

    Args:
        backbone: pixels `float32 (N, 3, size, size)` to features, in evaluation mode.
        size: of the pictures.

    Returns:
        None of them where folding all would change the features, as where a convolution rewrites its weights.
    """
    generator = torch.Generator().manual_seed(0)
    probe = copy.deepcopy(backbone).cpu()
    # A new network's norms do nothing, so that a wrong pair would not be seen.
    for norm in (module for module in probe.modules() if isinstance(module, _NORMS)):
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            if tensor is not None:
                tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
    pixels = torch.randn(1, 3, size, size, generator=generator)
    with torch.inference_mode():
        pairs, before = _followed(probe, pixels)
        after = _folded(probe, pairs)(pixels)
    same = bool((before - after).abs().max() <= _LARGEST_ERROR * before.abs().max())
    return pairs if same else ()


def computing_copy(backbone: nn.Module, pairs: Pairs, precision: str) -> nn.Module:
    """A copy that computes in `precision` ("float32" or "bfloat16"), of whose weights none is in a state dict.

    The weights are buffers that are not persistent, so that a checkpoint holds those of `backbone` alone. A batch norm
    that is not folded keeps its numbers in float32, as autocast has it: it takes bfloat16 all the same.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    computing = _folded(copy.deepcopy(backbone).eval(), pairs)
    for module in computing.modules():
        if isinstance(module, _NORMS):
            module.track_running_stats = False  # else it adds its counter to any state dict that is loaded
        keeps = isinstance(module, _NORMS)
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            rounded = tensor.detach().to(dtype) if tensor.is_floating_point() and not keeps else tensor.detach()
            delattr(module, name)
            module.register_buffer(name, rounded, persistent=False)
    return computing.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def copy_numbers(source: nn.Module, target: nn.Module) -> None:
    """Have one computing copy of a CNN compute with the numbers of another, each in its own precision."""
    numbers = dict(source.named_buffers())
    for name, own in target.named_buffers():
        assert own.shape == numbers[name].shape, name
        own.copy_(numbers[name])


def _followed(module: nn.Module, pixels: Tensor) -> tuple[Pairs, Tensor]:
    """The convolutions, each with the batch norm that took its output; and the features."""
    given: dict[int, tuple[str, Tensor]] = {}  # by identity; the tensors are kept, so that none has that of another
    pairs: list[tuple[str, str]] = []

    def note_convolution(name: str, output: Tensor) -> None:
        given[id(output)] = (name, output)

    def note_norm(name: str, taken: Tensor) -> None:
        if id(taken) in given:
            pairs.append((given[id(taken)][0], name))

    hooks = []
    for name, child in module.named_modules():
        if isinstance(child, nn.Conv2d):
            hooks.append(child.register_forward_hook(lambda _, __, output, name=name: note_convolution(name, output)))
        elif isinstance(child, nn.BatchNorm2d):
            hooks.append(child.register_forward_pre_hook(lambda _, taken, name=name: note_norm(name, taken[0])))
    features: Tensor = module(pixels)
    for hook in hooks:
        hook.remove()
    uses = Counter(name for pair in pairs for name in pair)  # a module may be used in several places
    return tuple(pair for pair in pairs if all(uses[name] == 1 for name in pair)), features


def _folded(module: nn.Module, pairs: Pairs) -> nn.Module:
    """The module with these pairs folded, in its own place."""
    for convolution_name, norm_name in pairs:
        convolution, norm = module.get_submodule(convolution_name), module.get_submodule(norm_name)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        fused = fuse_conv_bn_eval(convolution, norm)
        # timm's batch norms are followed by an activation that is a part of them.
        rest = [child for child in norm.children() if not isinstance(child, nn.Identity)]
        _put(module, convolution_name, fused)
        _put(module, norm_name, rest[0] if len(rest) == 1 else nn.Sequential(*rest) if rest else nn.Identity())
    return module


def _put(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, child)
