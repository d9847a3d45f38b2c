"""A tiny labelled data set: a square of the class's colour moves over a grey ground. Learnable at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.videos import Pixels, write_video

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
GROUP_PATTERN = r"data.group_pattern='(?P<group>actor\d+)'"
VIDEO_FPS = 25

# An encoder and a head so small that a run takes a second or two; its weights are random, from the seed.
TINY = (
    "encoder.name=timm/test_efficientnet.r160_in1k",
    "encoder.weights=none",
    "modalities=[rgb]",
    "head.hidden_size=8",
    "sampling.window_frames=4",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "optim.steps_per_epoch=2",
)


def colour_frames(label: str, count: int, *, seed: int = 0) -> list[Pixels]:
    """Return frames `uint8 (48, 64, 3)` of a square that starts where the seed says and moves to the right."""
    rng = np.random.default_rng(seed)
    left, top = int(rng.integers(0, 44)), int(rng.integers(0, 28))
    frames = []
    for index in range(count):
        frame = np.full((48, 64, 3), 128, np.uint8)
        column = (left + 2 * index) % 44
        frame[top : top + 20, column : column + 20] = COLOURS[label]
        frames.append(frame)
    return frames


def write_colour_video(path: Path, label: str, *, frames: int = 12, seed: int = 0) -> Path:
    """Write a video of a class; a path with missing folders is fine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, colour_frames(label, frames, seed=seed), fps=VIDEO_FPS)


def write_colour_folder(
    root: Path, *, labels: Sequence[str] = ("blue", "red"), actors: int = 6, frames: int = 12
) -> Path:
    """Write root/LABEL/actorN.mp4 for each label and actor."""
    for label in labels:
        for actor in range(actors):
            write_colour_video(root / label / f"actor{actor}.mp4", label, frames=frames, seed=actor)
    return root
