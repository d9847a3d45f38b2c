"""What a frame encoder computes in: float32, or bfloat16 where the processor has it."""

import copy

import torch
from torch import nn

PRECISIONS = ("float32", "bfloat16")


def choose_precision(asked: str, device: torch.device) -> str:
    """The precision for a new encoder: as asked, or for "auto" bfloat16 on a CPU that computes in it, else float32.

    To be asked once, when an encoder is made for training: from there on the encoder says it of itself, so that
    prediction computes as training did, whatever machine it runs on.

    >>> choose_precision("auto", torch.device("cuda")), choose_precision("bfloat16", torch.device("cpu"))
    ('float32', 'bfloat16')
    """
    if asked != "auto":
        return asked
    return "bfloat16" if device.type == "cpu" and cpu_computes_bfloat16() else "float32"


def cpu_computes_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX-512, AMX, Arm): where it does not, float32 is faster."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return any(bool(found.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported())  # before torch 2.10


def bfloat16_copy(backbone: nn.Module) -> nn.Module:
    """A copy that computes in bfloat16, of whose weights none is in a state dict.

    Batch norm keeps its statistics in float32, as autocast has it: it takes bfloat16 all the same. The weights are
    buffers that are not persistent, so that a checkpoint holds the float32 ones alone.
    """
    reduced = copy.deepcopy(backbone).to(torch.bfloat16)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for name, module in list(reduced.named_modules()):
        own = backbone.get_submodule(name)
        if isinstance(module, norms):
            module.track_running_stats = False  # else it adds its counter to any state dict that is loaded
        given = {**dict(own.named_parameters(recurse=False)), **dict(own.named_buffers(recurse=False))}
        for key in given:
            tensor = getattr(module, key).detach()
            if isinstance(module, norms):  # from the original: a number that was rounded stays rounded
                tensor = given[key].detach().clone()
            delattr(module, key)
            module.register_buffer(key, tensor, persistent=False)
    return reduced.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def refresh_bfloat16_copy(reduced: nn.Module, backbone: nn.Module) -> None:
    """Give a copy of `bfloat16_copy` the weights that `backbone` has now."""
    given = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    with torch.no_grad():
        for name, tensor in reduced.named_buffers():
            tensor.copy_(given[name])


def compute_as_on_a_cpu() -> None:
    """Have a GPU convolve in float32: by default it would round to TF32, and its features differ from a CPU's."""
    torch.backends.cudnn.allow_tf32 = False
