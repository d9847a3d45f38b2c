"""`activity demo`: all of it on a rendered data set, offline."""

import json
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from activity.cli import export, predict, train
from activity.cli.arguments import ArgumentParser, UsageError, positive_number, quoted
from activity.cli.configuration import CONFIG
from activity.cli.main import EXIT_OK
from activity.cli.printable import printable
from activity.cli.training_run import SPLITS
from activity.data.demo import ORDER_PAIRS, render_demo
from activity.data.layouts import read_clips
from activity.formats import load_recognizer
from activity.inference.predictor import Prediction, predict_videos
from activity.inference.videos import BATCH_FRAMES

VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train.main,
    "export": export.main,
    "predict": predict.main,
}


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    begun = time.monotonic()
    folder = Path(options.folder)
    videos, run = folder / "videos", folder / "run"
    _say(f"Rendering videos of {options.actors} figures into {videos} ...")
    render_demo(videos, actors=options.actors, takes=options.takes, seed=options.seed)
    if (run / CONFIG).exists():  # of an earlier demo
        shutil.rmtree(run)
    paths = {"data.root": videos, "features.store": folder / "features", "hydra.run.dir": run}
    overrides = [f"{key}={quoted(str(path))}" for key, path in paths.items()]
    _verb("train", "experiment=demo", *overrides, *options.override)
    _print_order_pairs(json.loads((run / train.METRICS).read_text()))
    checkpoint, exported = run / "checkpoints" / "best.ckpt", run / "model.ts"
    _verb("export", str(checkpoint), str(exported), "--force")
    held_out = _held_out_video(run / SPLITS, videos)
    _verb("predict", str(checkpoint), str(held_out), "--top-k", "2")
    _verb("predict", str(exported), str(held_out), "--top-k", "2")
    _print_agreement(checkpoint, exported, held_out)
    _say(
        f"Done in {time.monotonic() - begun:.0f} s. Now yours: activity train data.root=FOLDER (one subfolder a class)"
    )
    return EXIT_OK


def order_pair_accuracy(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> float:
    """Share of right answers among the clips of the pairs that only the order in time tells apart.

    >>> names = ["jump", "pick_up", "put_down", "sit_down", "stand_up", "wave"]
    >>> order_pair_accuracy([[row == column for column in range(6)] for row in range(6)], names)
    1.0
    """
    rows = [class_names.index(name) for pair in ORDER_PAIRS for name in pair]
    return sum(confusion[row][row] for row in rows) / sum(sum(confusion[row]) for row in rows)


def _print_order_pairs(document: dict[str, Any]) -> None:
    pairs = ", ".join(f"{one}/{other}" for one, other in ORDER_PAIRS)
    print(f"Pairs that only the order in time tells apart ({pairs}):")
    for head, numbers in document["heads"].items():
        accuracy = order_pair_accuracy(numbers["confusion"], document["class_names"])
        print(f"  {head:<10} {accuracy:6.1%}")


def _print_agreement(checkpoint: Path, exported: Path, video: Path) -> None:
    of_checkpoint, of_exported = (_scores(path, video) for path in (checkpoint, exported))
    difference = max(abs(one - other) for one, other in zip(of_checkpoint, of_exported, strict=True))
    print(f"Checkpoint and exported file differ by {difference:.1g} at most in the scores of {video.name}.")


def _scores(model: Path, video: Path) -> tuple[float, ...]:
    import torch  # here: the rendering needs none

    device = torch.device("cpu")
    recognizer = load_recognizer(model, device)
    (result,) = predict_videos(recognizer, [str(video)], batch_frames=BATCH_FRAMES, decode_threads=1, device=device)
    assert isinstance(result, Prediction), result
    return result.scores


def _held_out_video(splits: Path, videos: Path) -> Path:
    clips, _ = read_clips(splits, root=videos)
    return next(clip.path for clip in clips if clip.split == "test" and clip.label == ORDER_PAIRS[0][0])


def _verb(verb: str, *arguments: str) -> None:
    """Run a verb as its command line would, and show that line."""
    _say(f"\n$ {printable(shlex.join(['activity', verb, *arguments]))}")
    if code := VERBS[verb](arguments):
        raise UsageError(f"activity {verb} ended with exit code {code}; what it said stands above.")


def _say(message: str) -> None:
    print(message, flush=True)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="activity demo",
        description="Render a data set of moving figures, train on it, measure, export, predict. Needs no network.",
    )
    parser.add_argument("override", nargs="*", metavar="OVERRIDE", help="passed on to activity train")
    parser.add_argument("--folder", default="demo", help="where everything goes (default: demo)")
    parser.add_argument(
        "--actors", type=positive_number, default=40, help="figures, each with a build, clothes and room of its own"
    )
    parser.add_argument("--takes", type=positive_number, default=1, help="clips of each activity by each figure")
    parser.add_argument("--seed", type=positive_number, default=1)
    return parser
