"""Training an encoder on frames: what changes, what must not, and that memory settings change no result."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from activity.data.clips import Clip, DataError
from activity.features.fill import fill_store
from activity.features.outcome import StoredClip
from activity.features.store import FeatureStore
from activity.formats import load_recognizer
from activity.formats.checkpoint import load_checkpoint
from activity.models.encoder import FrameEncoder, create_encoder
from activity.models.finetuning import as_trained, encode_windows, set_training_mode, trained_part
from activity.models.recognizer import Recognizer
from activity.training.datamodule import FeatureDataModule
from activity.training.finetune import Finetuned, FinetuneModule, FinetuneSettings, finetune
from activity.training.fit import FittedHead
from activity.training.frames import FrameWindowLoader, ValidationClips
from activity.training.module import TrainingSettings
from tests.recognizers import (
    SMALL_ENCODER,
    checkpoint_of,
    mean_pool_head,
    random_frames,
    small_encoder,
    tiny_encoder,
    tiny_preprocess,
    tiny_recognizer,
)
from tests.videos import frame_index, index_frames, write_video

NAMES = ["blue", "red"]
FPS, WINDOW = 5.0, 3
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:.*module\(s\) in eval mode.*"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated.*"),
]

FINETUNING = FinetuneSettings(
    part="all",
    lr=3e-3,
    head_lr=3e-3,
    batch_size=4,
    clips_at_once=4,
    gradient_checkpointing=False,
    smallest_crop=1.0,
    flip=False,
    balance="none",
    batch_frames=8,
    decode_threads=1,
)


def settings(lr: float = 1e-3, *, optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW) -> TrainingSettings:
    return TrainingSettings(
        make_optimizer=partial(optimizer, lr=lr), warmup_fraction=0.0, label_smoothing=0.0, reading_lr_factor=0.1
    )


def windows(count: int = 3, time: int = WINDOW) -> list[tuple[Tensor, Tensor]]:
    frames = random_frames(count, time + 1)
    return [(own[1:], own[0]) for own in frames]


def colour_blind_encoder() -> FrameEncoder:
    """Random weights that see brightness alone: each first filter is the same for red, green and blue."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = create_encoder(name=SMALL_ENCODER, weights="none", modalities=["rgb"], framing="centre", rgb_every=1)
    preprocess = tiny_preprocess().describe() | {"mean": [0.4] * 3, "std": [0.25] * 3}
    encoder.preprocess = type(encoder.preprocess)(**preprocess)
    first = next(module for module in encoder.backbone.modules() if isinstance(module, nn.Conv2d))
    first.weight.data = first.weight.data.mean(dim=1, keepdim=True).repeat(1, 3, 1, 1)
    encoder.follow_backbone()
    return encoder


def write_clip(root: Path, number: int, label: str) -> Clip:
    """A still video of one colour, of a brightness that says nothing of the class."""
    path = root / f"{label}{number}.avi"
    colour = np.zeros(3)
    colour[2 if label == "blue" else 0] = 60 + 30 * (number % 5)
    frame = np.broadcast_to(60 + colour, (24, 32, 3)).astype(np.uint8)
    write_video(path, [frame] * 5, fps=5)
    return Clip(path=path, relative_path=path.name, label=label, group=path.name)


class Run:
    """A small data set with the features of a colour-blind encoder, and a head that knows nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FeatureStore(folder / "features")
        folder.mkdir(exist_ok=True)
        self.clips = {
            split: [write_clip(folder, number, label) for number in numbers for label in NAMES]
            for split, numbers in (("train", range(5)), ("val", range(5, 7)), ("test", range(8, 10)))
        }
        encoder = colour_blind_encoder()
        head = mean_pool_head(encoder.feature_size, num_classes=2)
        self.recognizer = Recognizer(
            encoder=encoder, head=head, class_names=NAMES, sample_fps=FPS, window_frames=WINDOW
        ).eval()
        self.checkpoint = folder / "checkpoints" / "best.ckpt"
        self.checkpoint.parent.mkdir()
        torch.save(checkpoint_of(self.recognizer), self.checkpoint)
        self.stored = self.filled(self.recognizer)

    def filled(self, recognizer: Recognizer) -> dict[str, list[StoredClip]]:
        parts = {}
        for split, clips in self.clips.items():
            parts[split], failed = fill_store(
                self.store,
                clips,
                recognizer.encoder,
                sample_fps=FPS,
                batch_frames=FINETUNING.batch_frames,
                decode_threads=1,
                device=torch.device("cpu"),
                on_progress=lambda _: None,
            )
            assert not failed
        return parts

    def loaders(self, clips: Mapping[str, list[StoredClip]]) -> FeatureDataModule:
        return FeatureDataModule(
            self.store,
            clips,
            NAMES,
            window_frames=WINDOW,
            batch_size=4,
            balance="none",
            steps_per_epoch=1,
            memory_mb=16.0,
        )

    def finetune(self, finetuning: FinetuneSettings, *, epochs: int, own: TrainingSettings | None = None) -> Finetuned:
        self.said: list[str] = []
        seed_everything(0, verbose=False)
        return finetune(
            FittedHead(self.checkpoint, None, torch.empty(0), torch.empty(0), 1.0),
            self.stored,
            self.loaders(self.stored),
            own or settings(),
            finetuning,
            make_trainer=lambda folder: make_trainer(folder, finetuning, epochs),
            features_of=lambda recognizer: self.loaders(self.filled(recognizer)),
            folder=self.folder / "finetune",
            say=self.said.append,
        )


def make_trainer(folder: Path, finetuning: FinetuneSettings, epochs: int) -> Trainer:
    best = ModelCheckpoint(folder / "checkpoints", "best", monitor="val/loss", save_weights_only=True)
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[best],
        accumulate_grad_batches=finetuning.batch_size // finetuning.clips_at_once,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Finetuned]:
    run = Run(tmp_path_factory.mktemp("tuned") / "run")
    return run, run.finetune(FINETUNING, epochs=12)


class TestPart:
    def test_last_is_the_last_stage_of_known_networks(self) -> None:
        with torch.device("meta"):
            networks = {
                torchvision.models.resnet18(num_classes=1): ["layer4.0", "layer4.1"],
                timm.create_model("tf_efficientnet_lite0", num_classes=0): ["blocks.5", "blocks.6", "conv_head"],
                timm.create_model("convnext_tiny", num_classes=0): [f"stages.3.blocks.{number}" for number in range(3)],
                timm.create_model("vit_tiny_patch16_224", num_classes=0): [
                    f"blocks.{number}" for number in range(5, 12)
                ],
            }
        for network, modules in networks.items():
            part = trained_part(network, "last")
            found = [name for name, module in part.modules.items() if list(module.parameters())]
            assert found[: len(modules)] == modules
            assert part.of / 2 <= part.trained < part.of

    def test_a_part_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(ValueError, match="accepted: last, all"):
            trained_part(tiny_encoder().backbone, "first")

    def test_batch_norm_keeps_evaluating_and_what_is_not_trained_too(self) -> None:
        encoder = small_encoder()
        part = trained_part(encoder.backbone, "last")
        set_training_mode(encoder, part)
        norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms
        assert not any(norm.training for norm in norms)
        training = {id(module) for module in encoder.modules() if module.training}
        assert training
        assert training <= {id(module) for own in part.modules.values() for module in own.modules()}


class TestFeaturesWithGradients:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_they_are_those_of_prediction(self, precision: str) -> None:
        encoder = create_encoder(
            name=SMALL_ENCODER,
            weights="none",
            modalities=["rgb", "motion"],
            framing="centre",
            rgb_every=1,
            precision=precision,
        )
        encoder.preprocess = tiny_preprocess()
        own = [windows(1)[0], windows(1, time=2)[0]]
        features, lengths = encode_windows(as_trained(encoder), own, window_frames=WINDOW, piece_frames=None)
        assert lengths.tolist() == [3, 2]
        assert not features[1, 2:].any()
        tolerance = 1e-5 if precision == "float32" else 0.05
        for row, (frames, previous) in enumerate(own):
            expected = encoder(frames[None], previous[None])[0]
            torch.testing.assert_close(features[row, : len(frames)], expected, rtol=0, atol=tolerance)

    def test_a_bfloat16_encoder_computes_with_the_weights_that_were_trained(self) -> None:
        encoder = create_encoder(
            name=SMALL_ENCODER, weights="none", modalities=["rgb"], framing="centre", rgb_every=1, precision="bfloat16"
        )
        encoder.preprocess = tiny_preprocess()
        frames = random_frames(1, 2)
        before = encoder(frames)
        for parameter in as_trained(encoder).backbone.parameters():
            parameter.data.mul_(1.5)
        assert torch.equal(encoder(frames), before)
        encoder.follow_backbone()
        expected = as_trained(encoder)(frames)
        assert not torch.equal(encoder(frames), before)
        assert (encoder(frames) - expected).abs().max() < 0.05 * expected.abs().max()

    @pytest.mark.parametrize("rgb_every", [1, 2])
    @pytest.mark.parametrize("piece_frames", [1, 2, 8])
    def test_gradient_checkpointing_gives_the_same_gradients(self, piece_frames: int, rgb_every: int) -> None:
        encoder = small_encoder("rgb", "motion", rgb_every=rgb_every).requires_grad_(True)
        set_training_mode(encoder, trained_part(encoder.backbone, "all"))
        gradients = []
        for pieces in (None, piece_frames):
            features, _ = encode_windows(as_trained(encoder), windows(), window_frames=WINDOW, piece_frames=pieces)
            features.square().mean().backward()
            gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])  # type: ignore[union-attr]
            encoder.zero_grad()
        for plain, again in zip(*gradients, strict=True):
            torch.testing.assert_close(again, plain, rtol=1e-3, atol=1e-6)
        assert any(gradient.abs().max() > 0 for gradient in gradients[0])


class TestFrameWindows:
    def loader(self, clips: list[StoredClip], **changes: object) -> FrameWindowLoader:
        own = {
            "window_frames": WINDOW,
            "rgb_every": 1,
            "square_pixels": True,
            "clips_at_once": 1,
            "step_clips": 2,
            "balanced": False,
            "flip": False,
        }
        return FrameWindowLoader(clips, NAMES, **{**own, "smallest_crop": 1.0, "decode_threads": 2, **changes})  # type: ignore[arg-type]

    def clips(self, folder: Path, encoder: FrameEncoder, **span: float) -> list[StoredClip]:
        path = write_video(folder / "video.mp4", index_frames(20), fps=5)
        clip = Clip(path=path, relative_path=path.name, label="red", group="a", **span)  # type: ignore[arg-type]
        store = FeatureStore(folder / "features")
        fill = partial(fill_store, store, [clip], encoder, sample_fps=FPS, batch_frames=8, decode_threads=1)
        return fill(device=torch.device("cpu"), on_progress=lambda _: None)[0]

    def test_they_are_consecutive_frames_of_the_clip_with_the_one_before(self, tmp_path: Path) -> None:
        clips = self.clips(tmp_path, tiny_encoder(), start_seconds=1.0, end_seconds=2.4)
        torch.manual_seed(0)
        starts = set()
        for _ in range(12):
            for batch in self.loader(clips):
                ((frames, previous),) = batch.windows
                shown = [frame_index(frame.permute(1, 2, 0).numpy()) for frame in (previous, *frames)]
                assert shown == list(range(shown[0], shown[0] + WINDOW + 1))
                assert batch.labels.tolist() == [1]
                starts.add(shown[1])
        assert starts == {5, 6, 7, 8, 9}

    def test_they_begin_where_rgb_looks(self, tmp_path: Path) -> None:
        (clip,) = self.clips(tmp_path, tiny_encoder("rgb", "motion", rgb_every=3), start_seconds=0.8)  # sampled frame 4
        loader = self.loader([clip], rgb_every=3)
        starts = {
            frame_index(window[0][0].permute(1, 2, 0).numpy())
            for _ in range(40)
            for batch in loader
            for window in batch.windows
        }
        assert starts <= {4, 5, *range(6, 20, 3)}  # 4 and 5 where the look at 3 is not the clip's
        assert len(starts) > 3

    def test_a_video_begins_with_nothing_before_it(self, tmp_path: Path) -> None:
        clips = self.clips(tmp_path, tiny_encoder(), end_seconds=0.6)
        ((frames, previous),) = next(iter(self.loader(clips))).windows
        assert torch.equal(previous, frames[0])

    def test_the_same_seed_draws_the_same_windows_and_views(self, tmp_path: Path) -> None:
        clips = self.clips(tmp_path, tiny_encoder())
        drawn = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            batches = list(self.loader(clips, flip=True, smallest_crop=0.5))
            drawn.append([(tuple(frames.shape), int(frames.sum())) for batch in batches for frames, _ in batch.windows])
        assert drawn[0] == drawn[1] != drawn[2]
        assert any(shape[2:] != (48, 64) for shape, _ in drawn[0])

    def test_a_clip_that_is_gone_is_named_and_the_others_are_there(self, tmp_path: Path) -> None:
        clips = self.clips(tmp_path, tiny_encoder())
        gone = replace(clips[0].clip, path=tmp_path / "gone.mp4", relative_path="gone.mp4")
        (batch,) = self.loader([*clips, replace(clips[0], clip=gone)], clips_at_once=2)
        assert len(batch.windows) == len(batch.labels) == 1
        assert [item.clip.name for item in batch.failed] == ["gone.mp4"]
        assert "gone.mp4" in batch.failed[0].error

    def test_validation_features_are_those_of_the_store(self, tmp_path: Path) -> None:
        encoder = tiny_encoder("rgb", "motion")
        clips = self.clips(tmp_path, encoder, start_seconds=0.4)
        make = partial(ValidationClips, encoder=encoder, labels=[1], sample_fps=FPS, window_frames=WINDOW)
        make = partial(make, batch_frames=8, decode_threads=1, prepare=lambda: None)
        (batch,) = make([clips[0].clip])
        stored = FeatureStore(tmp_path / "features").read(clips[0].key)
        assert torch.equal(batch.features[0], stored[:WINDOW])
        assert torch.equal(batch.features[-1], stored[-WINDOW:])
        gone = replace(clips[0].clip, path=tmp_path / "gone.mp4")
        with pytest.raises(DataError, match=r"gone\.mp4.*validation clip"):
            list(make([gone]))


class TestFinetune:
    def test_it_learns_what_the_features_do_not_show(self, tuned: tuple[Run, Finetuned]) -> None:
        run, done = tuned
        features = torch.stack([run.store.read(item.key).mean(dim=0) for item in run.stored["test"]])
        by_class = features.view(2, 2, -1).mean(dim=0)  # the videos of both classes have the same brightness
        assert (by_class[0] - by_class[1]).norm() < 0.1 * features.norm(dim=1).mean()
        assert done.loss_after < 0.3 < done.loss_before
        assert done.head is not None
        assert done.head.metrics is not None
        assert done.head.metrics.accuracy == 1.0

    def test_one_checkpoint_holds_the_tuned_encoder_and_the_one_before_is_kept(
        self, tuned: tuple[Run, Finetuned]
    ) -> None:
        run, done = tuned
        assert done.head is not None
        assert done.head.checkpoint == run.checkpoint
        loaded, before = (
            load_checkpoint(run.checkpoint),
            load_checkpoint(run.checkpoint.parent / "before_finetuning.ckpt"),
        )
        assert loaded.encoder.weights_hash() != before.encoder.weights_hash() == run.recognizer.encoder.weights_hash()
        assert float(loaded.temperature) == pytest.approx(done.head.temperature)
        # What was measured is what the file gives on the frames themselves.
        frames = torch.tensor([[[[150]], [[60]], [[60]]]], dtype=torch.uint8).expand(1, WINDOW, 3, 24, 32)
        scores = loaded(frames.contiguous()).softmax(dim=1)
        assert NAMES[int(scores.argmax())] == "red"
        assert load_recognizer(run.checkpoint).class_names == NAMES

    def test_statistics_of_batch_norm_stay(self, tuned: tuple[Run, Finetuned]) -> None:
        run, _ = tuned
        before = run.recognizer.encoder.state_dict()
        after = load_checkpoint(run.checkpoint).encoder.state_dict()
        statistics = [name for name in before if "running_" in name or "num_batches" in name]
        assert statistics
        assert all(torch.equal(before[name], after[name]) for name in statistics)
        weights = [name for name in before if name.endswith((".weight", ".bias"))]
        assert all(not torch.equal(before[name], after[name]) for name in weights)

    def test_last_changes_the_last_part_alone(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "run")
        part = trained_part(run.recognizer.encoder.backbone, "last")
        run.finetune(replace(FINETUNING, part="last"), epochs=1)
        before = run.recognizer.encoder.backbone.state_dict()
        path = tmp_path / "run" / "finetune" / "checkpoints" / "best.ckpt"
        after = load_checkpoint(path).encoder.backbone.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        within = {
            name
            for name, _ in run.recognizer.encoder.backbone.named_parameters()
            if any(name.startswith(f"{module}.") for module in part.modules)
        }
        assert changed == within
        assert "fine-tuning trains layer4" in run.said[0]

    def test_clips_at_once_change_memory_and_nothing_else(self, tmp_path: Path) -> None:
        weights = []
        for clips_at_once in (4, 1):
            run = Run(tmp_path / str(clips_at_once))
            head = mean_pool_head(run.recognizer.encoder.feature_size, num_classes=2)
            run.recognizer.head = type(head)(
                **{k: v for k, v in head.describe().items() if k != "kind"} | {"dropout": 0.0}
            )
            run.recognizer.head.load_state_dict(head.state_dict())
            torch.save(checkpoint_of(run.recognizer), run.checkpoint)
            own = settings(optimizer=torch.optim.SGD)
            finetuning = replace(FINETUNING, clips_at_once=clips_at_once, lr=0.01, head_lr=0.01)
            run.finetune(finetuning, epochs=1, own=own)
            path = tmp_path / str(clips_at_once) / "finetune" / "checkpoints" / "best.ckpt"
            weights.append(load_checkpoint(path).state_dict())
        for name, tensor in weights[0].items():
            torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5)

    def test_where_it_makes_nothing_better_all_stays_as_it_was(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "run")
        before = run.checkpoint.read_bytes()
        run.stored["val"] = [
            replace(item, clip=replace(item.clip, label=NAMES[1 - NAMES.index(item.clip.label)]))
            for item in run.stored["val"]
        ]
        done = run.finetune(replace(FINETUNING, head_lr=10.0), epochs=2)
        assert done.head is None
        assert done.loss_after >= done.loss_before
        assert run.checkpoint.read_bytes() == before
        assert not (run.checkpoint.parent / "before_finetuning.ckpt").exists()

    def test_a_training_clip_that_is_gone_is_named_once(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "run")
        run.clips["train"][0].path.unlink()
        done = run.finetune(FINETUNING, epochs=2)
        assert [item.clip.name for item in done.failed] == ["blue0.avi"]
        assert sum("blue0.avi" in line for line in run.said) == 1

    def test_each_part_has_its_own_rate(self) -> None:
        recognizer = tiny_recognizer(small_encoder())
        module = FinetuneModule(
            recognizer,
            settings(1e-2),
            replace(FINETUNING, lr=1e-5, head_lr=1e-4),
            class_weights=torch.ones(3),
            say=lambda _: None,
        )
        module.trainer = type("OfFewSteps", (), {"estimated_stepping_batches": 10})()  # type: ignore[assignment]
        optimizer = module.configure_optimizers()["optimizer"]
        rates = {id(own): group["initial_lr"] for group in optimizer.param_groups for own in group["params"]}
        assert {rates[id(own)] for own in recognizer.encoder.backbone.parameters()} == {1e-5}
        assert {rates[id(own)] for own in recognizer.head.classifier.parameters()} == {1e-4}
        assert {rates[id(own)] for own in recognizer.head.lstm.parameters()} == {1e-4 * 0.1}
