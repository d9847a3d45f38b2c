"""`activity train finetune=last|all`: one checkpoint with the tuned encoder, and nothing lost where it ends early."""

import json
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from activity.formats import load_recognizer
from activity.formats.checkpoint import load_checkpoint
from activity.training.finetune import FinetuneModule
from tests.cli.command import Outcome, activity
from tests.datasets import GROUP_PATTERN, TINY
from tests.recognizers import random_frames

# Rates at which so small a network of random weights learns something in three epochs.
FINETUNE = (
    "finetune=last",
    "finetune.epochs=3",
    "finetune.lr=1e-3",
    "finetune.batch_size=4",
    "finetune.clips_at_once=2",
)


def train(run: Path, colour_folder: Path, store: str, *overrides: str) -> Outcome:
    own = (store, f"hydra.run.dir={run}", f"data.root={colour_folder}", GROUP_PATTERN)
    return activity("train", *own, *TINY, *FINETUNE, *overrides)


@pytest.fixture(scope="module")
def tuned_run(tmp_path_factory: pytest.TempPathFactory, colour_folder: Path, store: str) -> tuple[Path, Outcome]:
    run = tmp_path_factory.mktemp("tuned") / "run"
    outcome = train(run, colour_folder, store)
    assert outcome.code == 0, outcome.err
    return run, outcome


def test_the_checkpoint_holds_the_tuned_encoder_and_the_report_says_what_was_trained(
    tuned_run: tuple[Path, Outcome],
) -> None:
    run, outcome = tuned_run
    assert "fine-tuning trains blocks.3 to bn2" in outcome.err
    assert "fine-tuning made it better: validation loss" in outcome.err
    tuned, before = (load_checkpoint(run / "checkpoints" / name) for name in ("best.ckpt", "before_finetuning.ckpt"))
    baseline = load_checkpoint(run / "baseline" / "checkpoints" / "best.ckpt")
    assert tuned.encoder.weights_hash() != before.encoder.weights_hash() == baseline.encoder.weights_hash()
    page = (run / "report.html").read_text()
    for words in ("Fine-tuned", "blocks.3 to bn2", "mean_pool on the encoder as it was"):
        assert words in page
    assert set(json.loads((run / "test_metrics.json").read_text())["heads"]) == {"lstm", "mean_pool"}


def test_evaluate_and_an_exported_file_agree_with_it(tuned_run: tuple[Path, Outcome], tmp_path: Path) -> None:
    run, _ = tuned_run
    best, exported = run / "checkpoints" / "best.ckpt", tmp_path / "model.ts"
    assert activity("export", best, exported).code == 0
    frames = random_frames(1, 4, 48, 64)
    logits = [model.classify(model.encode(frames)) for model in (load_recognizer(best), load_recognizer(exported))]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-5)
    outcome = activity("evaluate", best, "format=json", f"hydra.run.dir={tmp_path / 'evaluated'}")
    assert outcome.code == 0, outcome.err
    own = json.loads((run / "test_metrics.json").read_text())["heads"]["lstm"]
    again = json.loads(outcome.out)["heads"]["lstm"]
    assert again["accuracy"] == own["accuracy"]
    assert again["expected_calibration_error"] == pytest.approx(own["expected_calibration_error"], abs=1e-5)


def raises(error: BaseException) -> object:
    def step(*_: object) -> NoReturn:
        raise error

    return step


def test_where_memory_runs_out_the_settings_to_lower_are_named(
    tmp_path: Path, colour_folder: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
    monkeypatch.setattr(FinetuneModule, "training_step", raises(error))
    outcome = train(tmp_path / "run", colour_folder, store)
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    for words in ("finetune.clips_at_once (2)", "finetune.gradient_checkpointing=true", "best.ckpt"):
        assert words in outcome.messages[-1]


@pytest.mark.slow
def test_stopped_in_fine_tuning_the_head_stays_and_a_resumed_run_fine_tunes_from_it(
    tmp_path: Path, colour_folder: Path, store: str
) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FinetuneModule, "training_step", raises(KeyboardInterrupt()))
        outcome = train(run, colour_folder, store)
    assert outcome.code == 130, outcome.err
    assert "best.ckpt holds the recognizer before it" in outcome.err
    head = load_checkpoint(run / "checkpoints" / "best.ckpt")
    # Twice: what was tuned already must not be taken for the result of training on features.
    for _ in range(2):
        resumed = activity("train", f"resume={run}")
        assert resumed.code == 0, resumed.err
        before = load_checkpoint(run / "checkpoints" / "before_finetuning.ckpt")
        tuned = load_checkpoint(run / "checkpoints" / "best.ckpt")
        assert before.encoder.weights_hash() == head.encoder.weights_hash() != tuned.encoder.weights_hash()


@pytest.mark.parametrize(
    ("verb", "override", "parts"),
    [
        ("train", "finetune=lst", ("finetune=lst", "all, last, none")),
        ("train", "finetune.part=first", ("finetune.part is 'first'", "none, last, all")),
        ("train", "finetune.lr=0", ("finetune.lr is 0", "a number above 0")),
        ("train", "finetune.smallest_crop=1.5", ("finetune.smallest_crop is 1.5", "to 1")),
        ("train", "finetune.clips_at_once=3", ("finetune.clips_at_once is 3", "divides batch_size")),
        ("train", "data.val_fraction=0", ("needs validation clips", "finetune=none")),
        ("crossval", "finetune=last", ("finetune plays no role in activity crossval",)),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, colour_folder: Path, store: str, verb: str, override: str, parts: tuple[str, ...]
) -> None:
    own = (store, f"hydra.run.dir={tmp_path / 'run'}", f"data.root={colour_folder}", GROUP_PATTERN)
    outcome = activity(verb, *own, *(FINETUNE if verb == "train" else ()), override)
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    for words in parts:
        assert words in outcome.messages[-1]
