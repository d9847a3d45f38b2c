"""Post-training quantisation of the CNN to int8, by NNCF: its ranges are measured on clips, nothing is trained."""

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activity.formats.compare import Window
from activity.formats.contract import ModelFileError, cannot_express, needs_extra
from activity.formats.libraries import import_silent
from activity.models.recognizer import Recognizer

EXTRA = "int8"
# The first convolutions make what all others build on, in few channels of very different range: where an eighth of all
# is left as it is, the features of photographs come out three times as near, for a twentieth of the time.
_LEFT_PART = 8


def quantised(
    path: Path,
    encoder: Any,
    recognizer: Recognizer,
    windows: Iterable[Window],
    *,
    as_input: Callable[[Tensor], Any],
    convolutions: Sequence[str],
) -> Any:
    """A CNN's graph with convolutions and products of matrices in int8 (Jacob et al. 2018), weights by channel.

    The first convolutions stay as they are, an eighth of all and at least one. Weights take half of int8's range: the
    full one overflows on a processor without an instruction for sums of such products (AVX2 alone, AVX-512 without
    VNNI), and a file would answer there otherwise than where it was verified.

    Args:
        path: of the file that is made of it, for messages.
        encoder: the graph of `EncoderPart`, of ONNX or of OpenVINO.
        recognizer: what it was made of.
        windows: each is looked at once, and only its pictures are kept.
        as_input: from the pixels of a window to what the graph takes.
        convolutions: the names of the graph's, in data-flow order.

    Raises:
        ModelFileError: the extra is not installed, there are no windows, or NNCF cannot do it.
    """
    try:
        nncf = import_silent("nncf")
    except ModuleNotFoundError as error:
        if error.name != "nncf":
            raise
        raise needs_extra(path, EXTRA, "nncf") from error
    importlib.import_module("nncf.common.logging").nncf_logger.setLevel(logging.ERROR)
    preprocess = recognizer.encoder.preprocess
    pictures = [preprocess.pictures(frames[0]) for _, frames in windows]  # bytes: a quarter of pixels
    if not pictures:
        raise ModelFileError(f"{path}: there is no clip to calibrate int8 on; give some that can be read.")
    left = convolutions[: max(1, len(convolutions) // _LEFT_PART)]
    try:
        # Its progress bars go to standard output, which is for results.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            return nncf.quantize(
                encoder,
                nncf.Dataset(pictures, lambda own: as_input(_pixels(recognizer, own))),
                subset_size=len(pictures),
                preset=nncf.QuantizationPreset.MIXED,  # activations are not symmetric around 0
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
                ignored_scope=nncf.IgnoredScope(names=list(left)),
            )
    except Exception as error:  # of many kinds, private ones too
        raise cannot_express(path, "int8", recognizer.encoder.name, error) from error


@torch.inference_mode()
def _pixels(recognizer: Recognizer, pictures: Tensor) -> Tensor:
    """What the CNN is shown of a window's pictures `uint8 (T, 3, S, S)`: `float32 (K, 3, S, S)`."""
    rows = torch.arange(len(pictures))
    return recognizer.encoder.seen(pictures, rows[:: recognizer.rgb_every], rows, (rows - 1).clamp(min=0))
