"""Post-training quantisation of the CNN to int8, by NNCF: its ranges are measured on clips, nothing is trained."""

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activity.formats.contract import needs_extra
from activity.models.recognizer import Recognizer

EXTRA = "int8"


def quantised(
    path: Path, encoder: Any, recognizer: Recognizer, windows: Sequence[Tensor], as_input: Callable[[Tensor], Any]
) -> Any:
    """A CNN's graph with convolutions and products of matrices in int8 (Jacob et al. 2018), weights by channel.

    Args:
        path: of the file that is made of it, for messages.
        encoder: the graph of `EncoderPart`, of ONNX or of OpenVINO.
        recognizer: what it was made of.
        windows: of frames, `uint8 (1, T, 3, H, W)`.
        as_input: from the pixels of a window to what the graph takes.

    Raises:
        ModelFileError: the extra is not installed.
        ValueError: there are no windows.
    """
    if not windows:
        raise ValueError("There are no clips to calibrate int8 on; give some that can be read.")
    try:
        nncf = importlib.import_module("nncf")
    except ModuleNotFoundError as error:
        if error.name != "nncf":
            raise
        raise needs_extra(path, EXTRA, "nncf") from error
    importlib.import_module("nncf.common.logging").nncf_logger.setLevel(logging.ERROR)
    pixels = [_pixels(recognizer, window) for window in windows]
    # Its progress bars go to standard output, which is for results.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        return nncf.quantize(
            encoder,
            nncf.Dataset(pixels, as_input),
            subset_size=len(pixels),
            preset=nncf.QuantizationPreset.MIXED,  # activations are not symmetric around 0
        )


@torch.inference_mode()
def _pixels(recognizer: Recognizer, window: Tensor) -> Tensor:
    """What the CNN is shown of a window, `float32 (modalities, T, 3, S, S)`."""
    encoder = recognizer.encoder
    rows = torch.arange(window.shape[1])
    return torch.stack(encoder.seen(encoder.preprocess.pictures(window[0]), rows, (rows - 1).clamp(min=0)))
