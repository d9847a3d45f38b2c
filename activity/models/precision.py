"""What a frame encoder computes in: float32, or bfloat16 where the processor has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

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


@contextmanager
def without_tf32() -> Iterator[None]:
    """Have cuDNN compute in float32 within: by default it rounds to TF32, and a GPU's scores differ from a CPU's.

    Its switches are those of the process. The first thread that enters turns them, the last one that leaves gives them
    the user's values again. Without a GPU in use they are left alone.
    """
    if not torch.cuda.is_initialized():
        yield
        return
    _float32.enter()
    try:
        yield
    finally:
        _float32.leave()


class _CudnnInFloat32:
    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before = ("", "")

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = _cudnn_precision()
                _set_cudnn_precision("ieee", "ieee")
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _set_cudnn_precision(*self._before)


_float32 = _CudnnInFloat32()


def _cudnn_precision() -> tuple[str, str]:
    """What convolutions and recurrent layers round to."""
    cudnn: Any = torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # since torch 2.9, where reading `allow_tf32` fails if the two differ
        return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    return ("tf32", "tf32") if cudnn.allow_tf32 else ("ieee", "ieee")


def _set_cudnn_precision(convolutions: str, recurrent: str) -> None:
    cudnn: Any = torch.backends.cudnn
    cudnn.allow_tf32 = "tf32" in (convolutions, recurrent)  # first: it sets the others
    if hasattr(cudnn, "conv"):
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = convolutions, recurrent
