"""Lets torchvision be imported beside a torch for which its compiled operators do not load.

A CPU-only torch next to a CUDA build of torchvision is a common pair, and there `import torchvision` ends in
`RuntimeError: operator torchvision::nms does not exist` (pytorch/pytorch issue 157648); so do the packages that
import it: Lightning (through torchmetrics) and timm. Classifiers and their transforms use none of these operators:
it is enough that their schemas are known.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # a declaration lasts as long as its object


def declare_missing_operators() -> None:
    """Declare torchvision's operators if its library does not load. To be called before torchvision is imported.

    On a matching pair of torch and torchvision nothing is declared.
    """
    spec = None if _declared or "torchvision" in sys.modules else importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _operators_load(Path(spec.origin).parent):
        return
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


def _operators_load(package: Path) -> bool:
    """Whether torchvision's own library loads, tried as torchvision itself does at import."""
    import torch

    libraries = [*package.glob("_C*.so"), *package.glob("_C*.pyd")]
    try:
        for library in libraries:
            torch.ops.load_library(str(library))
    except (ImportError, OSError):
        return False
    return bool(libraries)
