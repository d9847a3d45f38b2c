"""The C++ program of `scripts/cpp` gives Python's answers."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from activity.formats import load_recognizer
from activity.formats.torchscript import export_torchscript
from activity.inference.windows import WindowScorer
from tests.recognizers import CLASS_NAMES, tiny_encoder, tiny_recognizer

SOURCE = Path(__file__).parents[1] / "scripts" / "cpp"
WIDTH, HEIGHT = 64, 48

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("cmake") is None or not (shutil.which("c++") or shutil.which("g++")),
        reason="there is no CMake or no C++ compiler here",
    ),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("build")
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in (["cmake", "-S", SOURCE, "-B", build, prefix], ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "classify"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.ts"
    export_torchscript(tiny_recognizer(tiny_encoder("rgb", "motion", rgb_every=3), window_frames=4), path, [])
    return path


@pytest.mark.parametrize("count", [2, 4, 11])  # fewer than a window, one, some that overlap and a last one
def test_the_class_names_and_scores_are_those_of_python(program: Path, model: Path, count: int) -> None:
    frames = torch.randint(0, 256, (count, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    arguments = [program, model, str(WIDTH), str(HEIGHT)]
    printed = subprocess.run(arguments, input=frames.numpy().tobytes(), capture_output=True, check=True).stdout.decode()
    found = {name: float(score) for score, name in (line.split(" ", 1) for line in printed.splitlines())}

    recognizer = load_recognizer(model)
    scorer = WindowScorer(recognizer, torch.device("cpu"))
    with torch.inference_mode():
        scorer.push(recognizer.encode(frames.permute(0, 3, 1, 2).unsqueeze(0))[0])
    expected = dict(zip(CLASS_NAMES, scorer.finish().tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-5)
    assert list(found) == sorted(found, key=lambda name: -found[name])


def test_what_is_no_frame_and_no_model_is_said(program: Path, model: Path) -> None:
    for size in (0, 4, 2 * HEIGHT * WIDTH * 3 + 7):
        short = subprocess.run([program, model, "64", "48"], input=bytes(size), capture_output=True)
        assert (short.returncode, b"no whole number of frames of 64 x 48" in short.stderr) == (1, True)
    missing = subprocess.run([program, "none.ts", "64", "48"], input=b"", capture_output=True)
    assert (missing.returncode, missing.stderr.startswith(b"classify: ")) == (1, True)
    assert subprocess.run([program], capture_output=True).returncode == 2


@pytest.mark.parametrize(
    ("name", "given"),
    [("WIDTH", "wide"), ("HEIGHT", "48abc"), ("WIDTH", "-3"), ("HEIGHT", "0"), ("WIDTH", ""), ("HEIGHT", "9" * 20)],
)
def test_what_is_no_size_is_named_and_nothing_is_labelled(program: Path, model: Path, name: str, given: str) -> None:
    size = {"WIDTH": str(WIDTH), "HEIGHT": str(HEIGHT)} | {name: given}
    wrong = subprocess.run([program, model, *size.values()], input=bytes(WIDTH * HEIGHT * 3), capture_output=True)
    (message,) = wrong.stderr.decode().splitlines()
    assert (wrong.returncode, wrong.stdout) == (1, b"")
    assert message.startswith(f"classify: {name} is '{given}'; accepted: a whole number from 1 to 32767. Give the size")
