"""Training on numbers that stand for features: no video is read, nothing is encoded."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.nn import functional as F

from activity.features.store import FeatureStore
from activity.formats import load_recognizer
from activity.models.encoder import FrameEncoder, create_encoder
from activity.models.head import StackedLSTM
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.fit import FittedHead, fit_head
from activity.training.module import RecognizerModule, TrainingSettings
from tests.training.stored import stored_clip

NAMES = ["rise", "fall"]
WINDOW = 4
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings(r"ignore:.*module\(s\) in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated.*"),
]


@pytest.fixture(scope="module")
def encoder() -> FrameEncoder:
    torch.manual_seed(0)
    return create_encoder(
        name="timm/test_efficientnet.r160_in1k", weights="none", modalities=["rgb"], framing="centre", rgb_every=1
    )


def recognizer(encoder: FrameEncoder, *, seed: int = 0) -> Recognizer:
    torch.manual_seed(seed)
    head = StackedLSTM(
        feature_size=encoder.feature_size,
        modality_weights=[1.0],
        mean_penalty=0.0,
        num_classes=2,
        projection_size=8,
        hidden_size=8,
        num_layers=1,
        dropout=0.0,
        modality_dropout=0.0,
        bidirectional=False,
        readout="mean",
        centered=True,
        shortcut=True,
        pooled_vote=True,
    )
    return Recognizer(encoder=encoder, head=head, class_names=NAMES, sample_fps=10.0, window_frames=WINDOW)


def data(
    folder: Path, size: int, *, swap_val_labels: bool = False, batch_size: int = 8, steps_per_epoch: int = 4
) -> FeatureDataModule:
    """Features that turn from one direction to another or back: one mean for both, their order tells the class."""
    store = FeatureStore(folder / "features")
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, size, generator=generator)
    clips = {}
    for split, count in (("train", 8), ("val", 4), ("test", 6)):
        clips[split] = []
        for number in range(count):
            label = NAMES[number % 2]
            angle = torch.linspace(-1.5, 1.5, 9)[:, None] * (1 if label == "rise" else -1)
            features = angle.cos() * one + angle.sin() * other + 0.05 * torch.randn(9, size, generator=generator)
            if swap_val_labels and split == "val":
                label = NAMES[1 - number % 2]
            clips[split].append(stored_clip(store, f"{split}{number}.mp4", label, features))
    return FeatureDataModule(
        store,
        clips,
        NAMES,
        window_frames=WINDOW,
        batch_size=batch_size,
        balance="none",
        steps_per_epoch=steps_per_epoch,
        memory_mb=16.0,
    )


def settings(learning_rate: float = 0.02) -> TrainingSettings:
    optimizer = partial(torch.optim.AdamW, lr=learning_rate)
    return TrainingSettings(make_optimizer=optimizer, warmup_fraction=0.1, label_smoothing=0.0, reading_lr_factor=1.0)


def make_trainer(folder: Path, *, epochs: int, patience: int | None = None) -> Trainer:
    checkpoints = folder / "checkpoints"
    best = ModelCheckpoint(checkpoints, "best", monitor="val/loss", enable_version_counter=False)
    last = ModelCheckpoint(checkpoints, "last", enable_version_counter=False)
    stopping = [] if patience is None else [EarlyStopping("val/loss", patience=patience)]
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[best, last, *stopping],
        logger=CSVLogger(folder / "logs", name="", version=""),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def fit(
    folder: Path,
    encoder: FrameEncoder,
    *,
    epochs: int = 3,
    seed: int = 0,
    patience: int | None = None,
    learning_rate: float = 0.02,
    swap_val_labels: bool = False,
    resume: bool = False,
) -> FittedHead:
    seed_everything(seed, verbose=False)
    return fit_head(
        recognizer(encoder, seed=seed),
        data(folder, encoder.feature_size, swap_val_labels=swap_val_labels),
        settings(learning_rate),
        make_trainer=lambda own: make_trainer(own, epochs=epochs, patience=patience),
        folder=folder,
        resume=resume,
    )


def logged(folder: Path, name: str) -> list[float]:
    header, *rows = (line.split(",") for line in (folder / "logs" / "metrics.csv").read_text().splitlines())
    column = header.index(name)
    return [float(row[column]) for row in rows if row[column]]


def read(folder: Path, name: str) -> dict[str, object]:
    content: dict[str, object] = torch.load(folder / "checkpoints" / name, weights_only=True)
    return content


def test_learns_what_only_the_order_in_time_tells(tmp_path: Path, encoder: FrameEncoder) -> None:
    fitted = fit(tmp_path, encoder, epochs=8)
    assert fitted.metrics is not None
    assert fitted.metrics.accuracy == 1.0
    assert fitted.metrics.clips == 6
    losses = logged(tmp_path, "train/loss")
    assert losses[-1] < 0.75 * losses[0]  # half of it is of the vote that reads the mean alone, which tells nothing


def test_an_epochs_loss_is_the_mean_over_its_windows_whatever_the_batches(
    tmp_path: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[float, int]] = []
    note = RecognizerModule.note_loss

    def noting(self: RecognizerModule, loss: torch.Tensor, windows: int) -> None:
        steps.append((loss.item(), windows))
        note(self, loss, windows)

    monkeypatch.setattr(RecognizerModule, "note_loss", noting)
    loaders = data(tmp_path, encoder.feature_size, batch_size=3, steps_per_epoch=1)
    fit_head(
        recognizer(encoder),
        loaders,
        settings(0.02),
        make_trainer=lambda own: make_trainer(own, epochs=2),
        folder=tmp_path,
        resume=False,
    )
    assert len({windows for _, windows in steps}) > 1  # the last batch of an epoch is a smaller one
    epochs = [steps[: len(steps) // 2], steps[len(steps) // 2 :]]
    means = [sum(loss * windows for loss, windows in own) / sum(windows for _, windows in own) for own in epochs]
    assert logged(tmp_path, "train/loss") == pytest.approx(means, rel=1e-5)


def test_best_is_the_epoch_with_the_lowest_validation_loss_and_last_the_last(
    tmp_path: Path, encoder: FrameEncoder
) -> None:
    # With the validation labels swapped, the loss rises as training goes on: the last epoch is not the best.
    fitted = fit(tmp_path, encoder, epochs=5, swap_val_labels=True)
    losses = logged(tmp_path, "val/loss")
    best = losses.index(min(losses))
    assert best < 4
    assert (read(tmp_path, "best.ckpt")["epoch"], read(tmp_path, "last.ckpt")["epoch"]) == (best, 4)
    assert fitted.checkpoint == tmp_path / "checkpoints" / "best.ckpt"


def test_early_stopping_stops(tmp_path: Path, encoder: FrameEncoder) -> None:
    fit(tmp_path, encoder, epochs=30, patience=2, swap_val_labels=True)
    losses = logged(tmp_path, "val/loss")
    assert len(losses) == losses.index(min(losses)) + 1 + 2 < 30


def test_what_is_measured_is_what_is_in_the_file(tmp_path: Path, encoder: FrameEncoder) -> None:
    fitted = fit(tmp_path, encoder, epochs=4, swap_val_labels=True)
    loaded = load_recognizer(fitted.checkpoint)
    module = data(tmp_path, encoder.feature_size)
    batch = next(iter(module.test_dataloader()))
    scores = loaded.classify(batch.features, batch.lengths).softmax(dim=1)
    own = [scores[batch.clips == clip].mean(dim=0).argmax() for clip in range(len(batch.labels))]
    right = [int(one) == int(label) for one, label in zip(own, batch.labels, strict=True)]
    assert fitted.metrics is not None
    assert fitted.metrics.accuracy == pytest.approx(sum(right) / len(right))


def test_the_encoder_is_in_the_checkpoint_and_not_trained(tmp_path: Path, encoder: FrameEncoder) -> None:
    before = encoder.weights_hash()
    fitted = fit(tmp_path, encoder, epochs=2)
    loaded = load_recognizer(fitted.checkpoint)
    assert loaded.encoder.weights_hash() == before == encoder.weights_hash()  # type: ignore[attr-defined]


def test_resume_goes_on_with_epoch_step_and_rate(tmp_path: Path, encoder: FrameEncoder) -> None:
    fit(tmp_path, encoder, epochs=2)
    assert read(tmp_path, "last.ckpt")["global_step"] == 8
    fit(tmp_path, encoder, epochs=5, resume=True)
    last = read(tmp_path, "last.ckpt")
    assert (last["epoch"], last["global_step"]) == (4, 20)
    assert len(logged(tmp_path, "val/loss")) == 3  # only what came after


def test_the_rate_rises_then_falls_to_zero(tmp_path: Path, encoder: FrameEncoder) -> None:
    fit(tmp_path, encoder, epochs=5)
    last = read(tmp_path, "last.ckpt")
    (state,) = last["lr_schedulers"]  # type: ignore[attr-defined]
    assert state["last_epoch"] == 20  # steps, not epochs
    assert state["_last_lr"][0] == pytest.approx(0.0, abs=1e-9)


def test_what_reads_the_window_learns_at_a_share_of_the_rate(tmp_path: Path, encoder: FrameEncoder) -> None:
    module = RecognizerModule(
        recognizer(encoder), replace(settings(0.02), reading_lr_factor=0.1), class_weights=torch.ones(2)
    )
    trainer = make_trainer(tmp_path, epochs=1)
    rates = {}

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
            (optimizer,) = trainer.optimizers
            for group in optimizer.param_groups:
                rates.update({id(parameter): group["lr"] for parameter in group["params"]})

    trainer.callbacks.append(Watch())
    trainer.fit(module, data(tmp_path, encoder.feature_size))
    head = module.recognizer.head
    assert len(rates) == sum(parameter.requires_grad for parameter in head.parameters())
    slow = {rates[id(parameter)] for parameter in head.lstm.parameters()}
    fast = {rates[id(parameter)] for parameter in head.classifier.parameters()}
    assert {round(rate / fast_rate, 6) for rate in slow for fast_rate in fast} == {0.1}


def test_the_loss_is_the_mean_over_the_votes_each_with_its_penalty(encoder: FrameEncoder) -> None:
    model = recognizer(encoder)
    model.head.mean_penalty = 0.3
    module = RecognizerModule(model, settings(0.02), class_weights=torch.tensor([1.0, 3.0])).eval()
    features, lengths = torch.randn(5, 4, encoder.feature_size), torch.tensor([4, 4, 2, 4, 1])
    labels = torch.tensor([0, 1, 1, 0, 1])
    votes, penalties = model.head.votes(features, lengths), model.head.penalties()
    assert len(votes) == 2
    cross = [F.cross_entropy(logits, labels, weight=torch.tensor([1.0, 3.0])) for logits in votes]
    expected = (cross[0] + penalties[0] + cross[1] + penalties[1]) / 2
    torch.testing.assert_close(module.window_loss(features, lengths, labels), expected)
    assert expected > (cross[0] + cross[1]) / 2 + 0.01


def test_schedule_by_hand() -> None:
    from activity.training.module import _warmup_then_cosine

    factors = [_warmup_then_cosine(step, 20, 0.2) for step in range(21)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert factors[12] == pytest.approx(0.5)
    assert factors[20] == pytest.approx(0.0)
    assert all(later <= earlier for earlier, later in pairwise(factors[4:]))


def test_a_clips_scores_are_the_mean_over_its_windows(
    tmp_path: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaders = data(tmp_path, encoder.feature_size)
    batch = next(iter(loaders.test_dataloader()))
    module = RecognizerModule(recognizer(encoder), settings(), class_weights=torch.ones(2)).eval()
    seen = {}
    monkeypatch.setattr(
        "activity.training.module.clip_metrics", lambda scores, labels, names: seen.update(scores=scores, labels=labels)
    )
    with torch.no_grad():
        module.test_step(batch, 0)
        module.on_test_epoch_end()
        of_windows = module.recognizer.classify(batch.features, batch.lengths).softmax(dim=1)
    assert len(of_windows) == 6 * 4  # nine features, windows of four every two and one at the end
    assert torch.allclose(seen["scores"], of_windows.view(6, 4, 2).mean(dim=1), atol=1e-6)
    assert torch.equal(seen["labels"], batch.labels)


def test_the_temperature_of_the_validation_clips_is_in_the_best_checkpoint(
    tmp_path: Path, encoder: FrameEncoder
) -> None:
    fitted = fit(tmp_path, encoder, epochs=2)
    assert fitted.temperature != 1.0
    loaded = load_recognizer(fitted.checkpoint)
    assert float(loaded.temperature) == pytest.approx(fitted.temperature)  # type: ignore[attr-defined]
    last = read(tmp_path, "last.ckpt")["state_dict"]["recognizer.temperature"]  # type: ignore[index]
    assert float(last) == 1.0, "training goes on from logits as they are"
    # The scores measured are those of the file, and so are those at temperature 1.
    batch = next(iter(data(tmp_path, encoder.feature_size).test_dataloader()))
    logits = loaded.classify(batch.features, batch.lengths)
    for scale, scores in ((1.0, fitted.scores), (fitted.temperature, fitted.unscaled_scores)):
        of_windows = (logits * scale).softmax(dim=1)
        own = torch.stack([of_windows[batch.clips == clip].mean(dim=0) for clip in range(len(batch.labels))])
        assert torch.allclose(own, scores, atol=1e-5)
