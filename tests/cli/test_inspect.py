import json
from pathlib import Path

import pytest
import torch

from tests.cli.command import activity


@pytest.mark.parametrize(("model", "format_name"), [("checkpoint", "checkpoint"), ("exported", "TorchScript")])
def test_both_formats_say_the_same_of_themselves(
    request: pytest.FixtureRequest, model: str, format_name: str, checkpoint: Path
) -> None:
    path: Path = request.getfixturevalue(model)
    outcome = activity("inspect", path, "--format", "json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert document["file"] == str(path)
    assert document["format"] == format_name
    assert document["class_names"] == ["blue", "red"]
    assert document["modalities"] == ["rgb"]
    assert (document["sample_fps"], document["window_frames"], document["window_seconds"]) == (10.0, 4, 0.4)
    assert document["megabytes"] == pytest.approx(path.stat().st_size / 1e6, abs=0.06)
    assert document["encoder"]["name"] == "timm/test_efficientnet.r160_in1k"
    saved = torch.load(checkpoint, weights_only=True)["recognizer"]
    assert document["encoder"]["precision"] == saved["encoder"]["precision"]
    if model == "checkpoint":
        assert document["head"]["hidden_size"] == 8


@pytest.mark.parametrize("model", ["checkpoint", "exported"])
def test_a_table_is_the_default(request: pytest.FixtureRequest, model: str) -> None:
    outcome = activity("inspect", request.getfixturevalue(model))
    assert outcome.code == 0, outcome.err
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert lines["class_names"] == "blue, red"
    assert lines["window_frames"] == "4"
