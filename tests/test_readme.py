"""What the README says is run here, as it stands there."""

import re
import warnings
from pathlib import Path

import pytest
import torch

from activity.cli.configuration import CONFIG_FOLDER, known_keys
from activity.formats.compare import Window
from activity.formats.torchscript import export_torchscript
from activity.video.reader import VideoReader
from tests.inference.test_live import restless_recognizer, scenes
from tests.recognizers import CLASS_NAMES, random_frames, tiny_encoder, tiny_recognizer
from tests.videos import noise_frames, write_video

README = Path(__file__).parents[1] / "README.md"


def python_of_readme(holding: str) -> str:
    """The one Python example that holds some text."""
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if holding in code]
    return code


def test_the_lines_for_a_notebook_run(tmp_path, monkeypatch, capsys):
    export_torchscript(restless_recognizer("rgb", "motion"), tmp_path / "model.ts", [])
    frames = scenes(200)
    for name in ("clip.mp4", "match.mp4"):
        write_video(tmp_path / name, frames, fps=25)
    monkeypatch.chdir(tmp_path)
    camera = [(frame, number / 25) for number, frame in enumerate(frames)]
    exec(compile(python_of_readme("my_camera"), "README.md", "exec"), {"my_camera": lambda: camera})
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith(tuple(CLASS_NAMES)) for line in printed)  # segments
    assert any(line.startswith("start ") for line in printed)  # events


@pytest.mark.parametrize(("fps", "count"), [(10, 60), (24, 60), (30, 60), (24, 1), (24, 6), (25, 7), (10, 3)])
def test_ten_lines_of_plain_torch_score_a_video_as_the_recognizer_does(tmp_path, monkeypatch, capsys, fps, count):
    code = python_of_readme("torch.jit.load")
    recognizer = tiny_recognizer(tiny_encoder("rgb", "motion"))
    write_video(tmp_path / "holiday.mp4", noise_frames(count), fps=fps)
    export_torchscript(recognizer, tmp_path / "model.ts", [Window("random", random_frames(1, 4))])
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        exec(compile(code, "README.md", "exec"), {})
    # Of the one warning that a reader may see, the example says what to think.
    assert all("`torch.jit.load` is deprecated" in str(warning.message) for warning in said)
    assert "torch.jit is deprecated" in code
    with VideoReader("holiday.mp4") as reader:
        shown = [torch.from_numpy(frame.pixels) for frame in reader.sampled_frames(recognizer.sample_fps)]
    window = torch.stack(shown[: recognizer.window_frames]).permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        scores = recognizer(window).softmax(1)[0]
    label, score = capsys.readouterr().out.rsplit(" ", 1)
    assert label == recognizer.class_names[scores.argmax()]
    assert float(score) == pytest.approx(scores.max().item(), abs=1e-5)


def test_every_setting_it_names_exists():
    pages = [README, *CONFIG_FOLDER.rglob("*.yaml")]
    named = {
        key
        for page in pages
        for key in re.findall(
            r"(?<![\w.@])((?:data|head|optim|trainer|sampling|features|encoder|finetune)(?:\.\w+)+|modalities|modality_weights|folds|split|seed)=",
            page.read_text(),
        )
    }
    assert {"data.root", "data.csv", "optim.optimizer.lr", "encoder.weights"} <= named
    known = {key for verb in ("train", "crossval", "extract", "evaluate") for key in known_keys(verb)}
    assert named <= known


def test_its_pictures_are_there_and_small():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text(), re.DOTALL)
    assert len(pictures) == 2
    for picture in pictures:
        assert 10_000 < (README.parent / picture).stat().st_size < 300_000
