"""The process is the user's: neither `import activity` nor a prediction changes what others in it rely on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import activity
from activity.formats.torchscript import export_torchscript
from tests.recognizers import SMALL_ENCODER, tiny_encoder, tiny_recognizer
from tests.videos import noise_frames, write_video

CHECKOUT = Path(activity.__file__).parents[1]

CHANGED = """
import json, logging, os, signal, sys, warnings
import cv2, numpy, torch

def state():
    cudnn = torch.backends.cudnn
    loggers = {name: logging.getLogger(name) for name in known_loggers}
    return {
        "environment": dict(os.environ),
        "import finders": sys.meta_path[:],
        "torch": [
            cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision(),
            cudnn.enabled, cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(),
            torch.is_grad_enabled(), torch.get_rng_state().tolist(),
        ],
        "numpy": [numpy.geterr(), numpy.random.get_state()[1].tolist()],
        "OpenCV": [cv2.getNumThreads(), cv2.useOptimized()],
        "logging": {name: (log.level, log.handlers[:], log.disabled) for name, log in loggers.items()},
        "warnings": [warnings.filters[:], warnings.showwarning],
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "streams": [sys.stdout, sys.stderr, sys.excepthook],
    }

known_loggers = ["", *logging.root.manager.loggerDict]
before = state()
exec(sys.argv[1])
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def changed_by(program: str, folder: Path) -> list[str]:
    """What is another after a program than before it, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CHANGED, program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_the_import_changes_nothing_outside_itself(tmp_path: Path) -> None:
    assert changed_by("import activity; activity.load_recognizer", tmp_path) == []


def test_a_prediction_changes_nothing_outside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_LOG_LEVEL"):  # reading a file sets those that are not set
        monkeypatch.setenv(name, "-8" if "FFMPEG" in name else "ERROR")
    export_torchscript(tiny_recognizer(tiny_encoder("rgb", "motion")), tmp_path / "model.ts", [])
    write_video(tmp_path / "clip.mp4", noise_frames(20), fps=10)
    program = "import activity; activity.load_recognizer('model.ts').predict('clip.mp4')"
    assert changed_by(program, tmp_path) == []


@pytest.mark.parametrize(
    "program",
    [
        "import activity.training.fit",
        "import activity.evaluation.metrics",
        f"from activity.models.pretrained import create_backbone; create_backbone({SMALL_ENCODER!r}, 'none')",
    ],
)
def test_what_imports_torchvision_can_beside_a_cpu_torch(program: str) -> None:
    program += "; from torchvision import models; models.get_model('resnet18')"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
