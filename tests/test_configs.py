"""Every shipped YAML composes and makes what it names; a value has one home."""

import inspect
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from activity.cli.configuration import CONFIG_FOLDER
from activity.models.encoder import FrameEncoder

CHECKOUT = Path(__file__).parents[1]
FILES = sorted(path.relative_to(CONFIG_FOLDER) for path in CONFIG_FOLDER.rglob("*.yaml"))
CHOICES = [(path.parent.as_posix(), path.stem) for path in FILES if path.parent != Path() and path.stem != "base"]
ENCODERS = [choice for group, choice in CHOICES if group == "encoder"]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("train", list(overrides))


def with_data(config: DictConfig) -> DictConfig:
    """The configuration with what the user must give."""
    for name in ("root", "csv"):
        if OmegaConf.is_missing(config.data, name):
            config.data[name] = "given"
    return config


def targets(node: object, key: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Each node with a `_target_`, and its key."""
    if not isinstance(node, DictConfig):
        return
    if "_target_" in node:
        yield key, node
    for name in node:
        if not node._is_missing() and not OmegaConf.is_missing(node, name):
            yield from targets(node[name], f"{key}.{name}".lstrip("."))


def test_the_folder_of_the_checkout_is_used() -> None:
    assert CONFIG_FOLDER == CHECKOUT / "conf"
    assert {"data", "encoder", "head", "sampling", "optim", "trainer", "logger", "experiment"} <= {
        group for group, _ in CHOICES
    }


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_each_choice_composes_and_what_it_names_takes_its_values_and_has_none_of_its_own(
    group: str, choice: str
) -> None:
    config = with_data(composed(f"{group}={choice}"))
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for key, node in targets(config):
        made_by = get_object(node["_target_"])
        parameters = inspect.signature(made_by).parameters
        takes_any = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
        unknown = [name for name in node if name not in ("_target_", "_partial_") and name not in parameters]
        assert takes_any or not unknown, (key, unknown)
        if made_by.__module__.startswith("activity."):
            # A value has one home, the YAML: a default in the code would be a second one.
            double = [
                name for name in node if name in parameters and parameters[name].default is not inspect.Parameter.empty
            ]
            assert not double, (key, double)


@pytest.mark.slow
@pytest.mark.parametrize("choice", ENCODERS)
def test_encoders(choice: str) -> None:
    encoder = instantiate(composed(f"encoder={choice}", "encoder.weights=none").encoder)
    assert isinstance(encoder, FrameEncoder)
    assert encoder.modalities == ["rgb", "motion"]
    features = encoder(torch.zeros(1, 1, 3, 48, 64, dtype=torch.uint8))
    assert features.shape == (1, 1, encoder.feature_size)


@pytest.mark.parametrize("choice", [choice for group, choice in CHOICES if group == "head"])
def test_heads(choice: str) -> None:
    head = instantiate(
        composed(f"head={choice}").head, feature_size=6, modality_weights=[1.0], mean_penalty=0.1, num_classes=3
    )
    assert head(torch.zeros(2, 4, 6), torch.tensor([4, 2])).shape == (2, 3)


@pytest.mark.parametrize("choice", [choice for group, choice in CHOICES if group == "trainer"])
def test_trainers_loggers_and_callbacks(choice: str, tmp_path: Path) -> None:
    if choice == "gpu" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    config = composed(f"trainer={choice}")
    loggers = [instantiate(logger, save_dir=tmp_path) for logger in config.logger.values()]
    callbacks = [instantiate(callback) for callback in config.callbacks.values()]
    trainer = instantiate(config.trainer, logger=loggers, callbacks=callbacks, default_root_dir=tmp_path)
    assert trainer.max_epochs == config.trainer.max_epochs
    assert {type(logger).__name__ for logger in trainer.loggers} == {"CSVLogger", "TensorBoardLogger"}


def test_optimizer() -> None:
    make_optimizer = instantiate(composed().optim.optimizer)
    assert isinstance(make_optimizer([torch.nn.Parameter(torch.zeros(1))]), torch.optim.AdamW)


@pytest.mark.slow
def test_a_wheel_holds_the_configurations_inside_the_package(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    script = f"from hatchling.build import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"activity/conf/{path.as_posix()}" for path in FILES} <= names
    assert {"activity/py.typed", "activity/cli/main.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "conf/"))]


def test_an_experiment_overrides_the_settings_of_train_yaml():
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("train", overrides=["experiment=demo", "data.root=x"])
    assert (list(config.modalities), list(config.encoder.modalities)) == (["rgb"], ["rgb"])
    assert (list(config.modalities), config.sampling.sample_fps) == (["rgb"], 5.0)
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        for verb in ("train", "crossval", "extract"):
            usual, finer = (
                compose(verb, overrides=[*more, "data.root=x"]).sampling for more in ([], ["experiment=accurate"])
            )
            assert finer.sample_fps > usual.sample_fps
            assert finer.window_frames / finer.sample_fps == usual.window_frames / usual.sample_fps
