"""Imports run one way, and each outside library with a home is used there alone. The imports are read, not run."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import activity

PACKAGE = Path(activity.__file__).parent

# From the top: a folder imports from itself and from those below, never from a sibling on its own level.
LEVELS = (
    {"cli"},
    {"training", "inference"},
    {"features", "formats", "evaluation", "visualization"},
    {"data"},
    {"models", "video"},
)
LEVEL_OF = {folder: level for level, folders in enumerate(LEVELS) for folder in folders}
# Single files in the root that all may import; they import nothing of ours.
PUBLIC = {"inference", "formats", "data", "video"}  # where the names lie that the package itself offers
FOUNDATIONS = {"allocator", "files", "torchvision_operators"}

# What is used in its home alone: a dotted name, and the files or folders that may name it.
HOMES = {
    "torch.jit": ("formats/torchscript.py",),
    "cv2.VideoCapture": ("video/",),
    "av": ("video/",),
    "matplotlib": ("inference/plot/", "cli/bench_chart.py"),
    "hydra": ("cli/",),
    "omegaconf": ("cli/",),
    "argparse": ("cli/",),
    "rich": ("cli/",),
    # Each imports torchvision, which may need `activity.torchvision_operators` first.
    "torchvision": ("models/pretrained.py",),
    "timm": ("models/pretrained.py",),
    "pytorch_lightning": ("training/",),
    "torchmetrics": ("evaluation/",),
}
# A decorator that marks a method for TorchScript: it calls nothing.
EXCEPTIONS = {("torch.jit.export", "models/"), ("torch.jit.is_scripting", "models/")}

Sources = Mapping[str, str]


def sources() -> dict[str, str]:
    """The source of each file by its path below `activity/`, with forward slashes."""
    return {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: str, tree: ast.AST) -> Iterator[str]:
    """Dotted names that a file imports, wherever in it, relative ones made absolute."""
    package = ["activity", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def uses(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a file uses, such as `torch.jit.load` in `torch.jit.load(path)`."""
    parts: set[ast.AST] = set()  # `torch.jit` in `torch.jit.load` is not used by itself; the whole comes first
    for node in ast.walk(tree):
        names, inner = [], node
        while isinstance(inner, ast.Attribute) and node not in parts:
            names.append(inner.attr)
            inner = inner.value
            parts.add(inner)
        if names and isinstance(inner, ast.Name):
            yield ".".join([inner.id, *reversed(names)])


def violations(files: Sources) -> list[str]:
    found = []
    for path, source in files.items():
        tree = ast.parse(source, path)
        found += [f"{path} imports {name}" for name in imports(path, tree) if not may_import(path, name)]
        named = {*imports(path, tree), *uses(tree)}
        found += [f"{path} uses {name}" for name in sorted(named) if not is_at_home(path, name)]
    return found


def may_import(path: str, name: str) -> bool:
    ours, _, rest = name.partition(".")
    if ours != "activity":
        return True
    imported = rest.split(".")[0]
    if imported in FOUNDATIONS:
        return path.removesuffix(".py") not in FOUNDATIONS
    importer = path.split("/")[0]
    if path == "__init__.py":
        return imported in PUBLIC
    if importer not in LEVEL_OF or imported not in LEVEL_OF:
        return False
    return imported == importer or LEVEL_OF[importer] < LEVEL_OF[imported]


def is_at_home(path: str, name: str) -> bool:
    for library, homes in HOMES.items():
        if name == library or name.startswith(library + "."):
            allowed = any(path.startswith(home) for home in homes)
            return allowed or any(name == exact and path.startswith(home) for exact, home in EXCEPTIONS)
    return True


def test_imports_run_one_way_and_libraries_stay_at_home() -> None:
    assert violations(sources()) == []


def test_every_file_has_its_place() -> None:
    folders = {path.split("/")[0] for path in sources() if "/" in path}
    assert folders == set(LEVEL_OF)
    assert {path for path in sources() if "/" not in path} == {"__init__.py", *(f"{name}.py" for name in FOUNDATIONS)}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("models/head.py", "from activity.video.reader import VideoReader"),  # a leaf, another leaf
        ("video/reader.py", "import activity.models.head"),
        ("video/reader.py", "from activity.data import clips"),  # upwards
        ("data/splits.py", "from activity.features.store import FeatureStore"),
        ("features/fill.py", "from activity.formats import load_recognizer"),  # a sibling
        ("formats/checkpoint.py", "from activity import features"),
        ("training/fit.py", "from activity.inference.predictor import predict_videos"),
        ("inference/predictor.py", "from activity.training.fit import fit_head"),
        ("inference/predictor.py", "from activity.cli.main import main"),
        ("inference/predictor.py", "from ..training import fit"),
        ("features/store.py", "def late():\n    from activity.training import fit"),  # within a function
        ("features/store.py", "if TYPE_CHECKING:\n    from activity.training import fit"),
        ("files.py", "from activity.video.reader import VideoReader"),
        ("files.py", "from activity.torchvision_operators import declare_missing_operators"),
        ("__init__.py", "from activity.training.fit import fit_head"),
        ("__init__.py", "from activity.cli.main import main"),
        ("models/head.py", "from activity.helpers import anything"),  # no such place
        ("models/encoder.py", "module = torch.jit.script(module)"),
        ("models/encoder.py", "from torch import jit"),
        ("models/encoder.py", "import torch.jit"),
        ("inference/predictor.py", "@torch.jit.export\ndef encode(): ..."),
        ("formats/load.py", "torch.jit.load(path)"),
        ("inference/predictor.py", "capture = cv2.VideoCapture(path)"),
        ("data/layouts/folder.py", "from cv2 import VideoCapture"),
        ("training/fit.py", "import hydra"),
        ("training/fit.py", "from hydra.utils import instantiate"),
        ("training/module.py", "from omegaconf import DictConfig"),
        ("data/demo.py", "import argparse"),
        ("features/fill.py", "from rich.progress import track"),
        ("features/extract.py", "import av"),
        ("visualization/overlay.py", "import av"),
        ("visualization/overlay.py", "from activity.features.views import View"),
        ("video/writer.py", "from activity.visualization.overlay import draw_caption"),
        ("evaluation/metrics.py", "from matplotlib.figure import Figure"),
        ("cli/train.py", "from pytorch_lightning import Trainer"),
    ],
)
def test_an_import_against_the_rule_is_found(path: str, line: str) -> None:
    before = sources()[path]
    assert violations({path: before}) == []
    [found] = violations({path: f"{before}\n{line}\n"})
    assert found.startswith(f"{path} ")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("cli/predict.py", "from activity.models.head import StackedLSTM"),
        ("cli/predict.py", "import rich.table"),
        ("training/fit.py", "from activity.features.store import FeatureStore"),
        ("features/store.py", "from activity.files import write_atomically"),
        ("features/store.py", "from .extract import extract_features"),
        ("video/reader.py", "from activity.video import sampling"),
        ("models/head.py", "@torch.jit.export\ndef encode(): ..."),
        ("data/demo.py", "writer = cv2.VideoWriter(path)"),
        ("models/head.py", "import richer_than_rich"),
    ],
)
def test_what_the_rule_allows_is_not_found(path: str, line: str) -> None:
    assert violations({path: f"{sources()[path]}\n{line}\n"}) == []


@pytest.mark.parametrize("module", ["activity", "activity.cli.main"])
def test_the_command_starts_without_the_slow_imports(module: str) -> None:
    slow = {"torch", "torchvision", "timm", "cv2", "numpy", "pytorch_lightning", "hydra", "rich"}
    program = f"import sys, {module}; print(*sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
