"""Whether a loaded file answers as the recognizer that it was made of."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from activity.formats.contract import CannotBeRunError, ModelFileError, another_way, reason_of
from activity.models.recognizer import LoadedRecognizer, Recognizer

LARGEST_DIFFERENCE = 1e-4
"""Of scores, where both compute in the same precision."""


class Window(NamedTuple):
    """The first frames of a clip, `uint8 (1, T, 3, H, W)`, and its name."""

    clip: str
    frames: Tensor


def check_same_scores(
    path: Path, recognizer: Recognizer, loaded: Sequence[LoadedRecognizer], examples: Sequence[Window]
) -> float:
    """Compare on windows of clips and on random ones; returns the largest difference of scores.

    Args:
        path: of the file that is to be written, for messages.
        recognizer: what was exported, computing in the precision of the file.
        loaded: the file's own content, loaded again, in each way that it is run.
        examples: windows to compare on.

    Raises:
        ModelFileError: it is more than `LARGEST_DIFFERENCE`, or the file cannot be run; names the clip.
    """
    most = 0.0
    for clip, frames in (*examples, *_random_windows(recognizer)):
        try:
            difference = _largest(_score_difference(recognizer, each, frames) for each in loaded)
        except (MemoryError, AssertionError):
            raise
        except Exception as error:  # each runtime has its own kinds
            reason = error.reason if isinstance(error, CannotBeRunError) else reason_of(error)
            raise ModelFileError(
                f"{path} was not written: it cannot be run on {clip} ({reason}). {another_way(path)}"
            ) from error
        if not difference <= LARGEST_DIFFERENCE:
            raise ModelFileError(
                f"{path} was not written: its scores differ from the checkpoint's by {difference:.2g} on {clip}, more "
                f"than {LARGEST_DIFFERENCE:g}. {another_way(path)}"
            )
        most = max(most, difference)
    return most


@torch.inference_mode()
def _score_difference(eager: Recognizer, loaded: LoadedRecognizer, frames: Tensor) -> float:
    """The largest difference of scores over the ways a file is used: whole windows, windows in pieces, padded ones."""
    features, again = eager.encode(frames), loaded.encode(frames)
    lengths = torch.tensor([max(1, frames.shape[1] // 2)])
    pairs = [
        (eager.classify(features), loaded.classify(again)),
        (eager.classify(features), loaded.classify(_in_pieces(loaded, frames))),
        (eager.classify(features, lengths), loaded.classify(again, lengths)),
    ]
    return _largest((one.softmax(1) - other.softmax(1)).abs().max().item() for one, other in pairs)


def _in_pieces(loaded: LoadedRecognizer, frames: Tensor) -> Tensor:
    """Features of a window in pieces, as of a stream: a frame "rgb" looks at, those for which that holds, the rest."""
    every, time = loaded.rgb_every, frames.shape[1]
    features = [loaded.encode(frames[:, :1])]
    if every > 1 and time > 1:
        features.append(loaded.encode(frames[:, 1:every], frames[:, 0], features[0]))
    if time > every:
        features.append(loaded.encode(frames[:, every:], frames[:, every - 1]))
    return torch.cat(features, dim=1)


def _largest(differences: Iterable[float]) -> float:
    """The largest; NaN where one is NaN, which `max` finds in the first place only."""
    return torch.tensor(list(differences), dtype=torch.float64).max().item()


def _random_windows(recognizer: Recognizer) -> list[Window]:
    generator = torch.Generator().manual_seed(0)
    time = recognizer.window_frames
    sizes = [(time, 120, 160), (min(3, time), 256, 144), (1, 33, 65)]
    return [
        Window(
            f"{frames} random pictures of {size[1]}x{size[0]}",
            torch.randint(0, 256, (1, frames, 3, *size), dtype=torch.uint8, generator=generator),
        )
        for frames, *size in sizes
    ]
