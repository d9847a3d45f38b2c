"""`activity export CHECKPOINT OUT`: the file that is deployed."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from activity.cli.arguments import ArgumentParser, UsageError, megabytes, note
from activity.cli.main import EXIT_OK
from activity.cli.output import check_new_output
from activity.data.clips import count_text
from activity.data.demo import DEMO_ACTIVITIES, render_clip
from activity.formats.contract import CONTRACT
from activity.formats.load import load_recognizer
from activity.models.recognizer import Recognizer
from activity.video.reader import VideoReader

_ACCEPTED = "NAME.ts or .pt (TorchScript), NAME.pt2 (torch.export), NAME.onnx, or NAME.openvino (a folder)"


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    out = Path(options.out)
    if out.suffix not in EXPORTERS:
        raise UsageError(f"OUT is {options.out!r}; accepted: {_ACCEPTED}.")
    if options.split and out.suffix != ".onnx":
        raise UsageError("--split is for NAME.onnx, which becomes NAME.encoder.onnx and NAME.head.onnx. Leave it out.")
    written = [out.with_suffix(f".{half}.onnx") for half in ("encoder", "head")] if options.split else [out]
    for path in written:
        _check_can_be_written(path, [options.checkpoint, *options.compare_on], force=options.force)
    out.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be had is said before the work is done
    recognizer = load_recognizer(options.checkpoint)
    if not isinstance(recognizer, Recognizer):
        raise UsageError(f"{options.checkpoint} is an exported file already; give the checkpoint it was made from.")
    examples = [_clip_window(Path(path), recognizer) for path in options.compare_on]
    if not examples:
        examples = [_rendered_window(activity, recognizer) for activity in DEMO_ACTIVITIES[:2]]
    clips = count_text(len(examples), "given clip" if options.compare_on else "rendered clip")
    export = partial(EXPORTERS[out.suffix], split=True) if options.split else EXPORTERS[out.suffix]
    difference = export(recognizer, out, examples)
    print("\n".join(map(str, written)))
    of = "the checkpoint's"
    if out.suffix in (".onnx", ".openvino") and recognizer.encoder.precision != "float32":
        of = "those of the checkpoint in float32"
    note(
        f"{sum(map(megabytes, written)):.1f} MB; scores of the file differ from {of} by {difference:.1g} at most "
        f"({clips} and random frames)"
    )
    return EXIT_OK


def _check_can_be_written(path: Path, inputs: Sequence[str], *, force: bool) -> None:
    is_folder = path.suffix == ".openvino"
    if path.is_dir() and not (is_folder and (path / CONTRACT).is_file()):
        raise UsageError(f"OUT is the folder {str(path)!r}, which is no model; give another name.")
    if path.is_file() and is_folder:
        raise UsageError(f"OUT is the file {str(path)!r}, and NAME.openvino is a folder; give another name.")
    if path.is_dir() and not force:
        raise UsageError(f"{path} is there already. Give another name, or --force to replace it.")
    check_new_output(path, inputs, force=force)


def _torchscript(recognizer: Recognizer, out: Path, examples: list[Tensor]) -> float:
    from activity.formats.torchscript import export_torchscript

    return export_torchscript(recognizer, out, examples)


def _program(recognizer: Recognizer, out: Path, examples: list[Tensor]) -> float:
    from activity.formats.exported_program import export_program

    return export_program(recognizer, out, examples)


def _onnx(recognizer: Recognizer, out: Path, examples: list[Tensor], *, split: bool = False) -> float:
    from activity.formats.onnx import export_onnx

    return export_onnx(recognizer, out, examples, split=split)


def _openvino(recognizer: Recognizer, out: Path, examples: list[Tensor]) -> float:
    from activity.formats.openvino import export_openvino

    return export_openvino(recognizer, out, examples)


EXPORTERS: dict[str, Callable[..., float]] = {
    ".ts": _torchscript,
    ".pt": _torchscript,
    ".pt2": _program,
    ".onnx": _onnx,
    ".openvino": _openvino,
}


def _clip_window(path: Path, recognizer: Recognizer) -> Tensor:
    """The first window of a video, `uint8 (1, T, 3, H, W)`."""
    with VideoReader(path) as reader:
        frames = islice(reader.sampled_frames(recognizer.sample_fps), recognizer.window_frames)
        return _window([frame.pixels for frame in frames])


def _rendered_window(activity: str, recognizer: Recognizer) -> Tensor:
    """A window of the demo's figure: pictures, where random frames are noise."""
    frames = list(render_clip(activity, actor=0, take=0, seed=0))
    return _window(frames[:: max(1, len(frames) // recognizer.window_frames)][: recognizer.window_frames])


def _window(frames: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).unsqueeze(0)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="activity export",
        description="Write the one file that is deployed. It is compared with the checkpoint before it is written.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="best.ckpt of a run")
    parser.add_argument("out", metavar="OUT", help=f"what to write: {_ACCEPTED}")
    parser.add_argument(
        "--compare-on",
        metavar="VIDEO",
        nargs="+",
        default=[],
        help="videos of yours to compare on as well (default: two rendered clips)",
    )
    parser.add_argument("--split", action="store_true", help="of NAME.onnx: encoder and head as two files, for streams")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser
