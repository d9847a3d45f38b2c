"""What a frame encoder computes in: float32, or bfloat16 where the processor has it."""

import torch

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


def compute_as_on_a_cpu() -> None:
    """Have a GPU convolve in float32: by default it would round to TF32, and its features differ from a CPU's."""
    torch.backends.cudnn.allow_tf32 = False
