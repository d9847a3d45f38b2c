"""What several verbs do with their arguments and results."""

import argparse
import glob
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from activity.cli.printable import tell
from activity.data.layouts.disk import left_out_texts
from activity.data.names import given_source
from activity.formats.load import only_on_the_cpu
from activity.formats.verified import fastest_model
from activity.inference.videos import BATCH_FRAMES, DECODE_THREADS
from activity.video.files import scan_folder


class UsageError(ValueError):
    """Arguments that cannot be used as given."""


class ArgumentParser(argparse.ArgumentParser):
    """The flags of a verb: what cannot be used is one message, where argparse prints its usage over several lines.

    Args:
        prog: the command, such as "activity predict".
        description: what it does, for its help.
        epilog: what stands below the help.
    """

    def __init__(self, *, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog)
        self.color = False  # Python 3.14 colours the usage, which is a part of our messages

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError of what argparse says, with what is accepted and where it is explained."""
        usage = " ".join(self.format_usage().split()).removeprefix("usage: ")
        raise UsageError(f"{message}. Accepted: {usage}; see {self.prog} --help.")


def device_of(name: str, model: str) -> torch.device:
    """The device of a `--device` flag for a model: "auto" is a GPU where there is one, and the model can run on it.

    Raises:
        UsageError: for one that torch does not know or does not find here.
    """
    if name == "auto":
        gpu = torch.cuda.is_available() and not only_on_the_cpu(Path(model))
        return torch.device("cuda" if gpu else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:  # whose text names dozens
        device = torch.device("meta")
    if device.type == "meta" or (device.type == "cpu" and device.index):
        raise UsageError(f"--device is {name!r}, which is no device. Accepted: auto, cpu, cuda.")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here ({reason}). Accepted: auto, cpu, cuda.") from error
    return device


def expand_sources(sources: Sequence[str]) -> list[str]:
    """Files as given, the videos of folders (at any depth), and those that a pattern matches.

    What names nothing stays, to be reported as a source that failed. What a folder holds besides videos is named.

    Raises:
        UsageError: for an empty name.
    """
    found: list[str] = []
    for source in sources:
        if not source:
            raise UsageError("SOURCE is empty (an unset variable?). Give video files, folders or patterns.")
        source = given_source(source)
        # os.path: pathlib's own tests raise for a name that is too long.
        if os.path.isdir(source):  # noqa: PTH112
            # An empty folder stays as it is: reading it fails and says why.
            found += [str(path) for path in videos_in(source)] or [source]
        elif not os.path.exists(source) and glob.has_magic(source):  # noqa: PTH110
            # Path.glob takes no absolute pattern.
            found += sorted(glob.glob(source, recursive=True)) or [source]  # noqa: PTH207
        else:
            found.append(source)
    return found


def videos_in(folder: str) -> list[Path]:
    """The videos of a folder, at any depth; names what is left out."""
    videos, others = scan_folder(folder)
    for text in left_out_texts(others, Path(folder), f"in {folder}"):
        note(f"note: {text}. A file that you name outright is read whatever its suffix.")
    return videos


def positive_number(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def not_negative(text: str) -> float:
    """A number from 0 up, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return number


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    if not_negative(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return float(text)


def add_model_argument(parser: ArgumentParser) -> None:
    """MODEL: a checkpoint or an exported file."""
    parser.add_argument(
        "model", metavar="MODEL", type=given_source, help="a checkpoint (best.ckpt) or what was exported of one"
    )


def add_runtime_flag(parser: ArgumentParser) -> None:
    """What `chosen_model` reads."""
    parser.add_argument(
        "--runtime",
        choices=["given", "auto"],
        default="given",
        help="auto: the fastest of the files that were exported of the same checkpoint into the folder of MODEL, and "
        "can run here; default: MODEL as given",
    )


def chosen_model(options: argparse.Namespace) -> str:
    """The model file of the flags; with `--runtime auto` it is said which.

    Raises:
        ModelFileError: nothing is known of files beside the model.
    """
    if options.runtime == "given":
        return str(options.model)
    on_gpu = options.device.startswith("cuda") or (options.device == "auto" and torch.cuda.is_available())
    fastest = fastest_model(Path(options.model), on_gpu=on_gpu, say=note)
    note(f"model: {fastest.path}")
    if fastest.elsewhere:
        note(f"note: speeds were measured on another machine ({fastest.elsewhere}); to measure here, export anew.")
    return str(fastest.path)


def add_device_flag(parser: ArgumentParser) -> None:
    """What `device_of` reads."""
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda; default: auto")


def add_decoding_flags(parser: ArgumentParser) -> None:
    """How many frames and videos are in work at once."""
    for flag, default, what in (
        ("--batch-frames", BATCH_FRAMES, "frames encoded at once"),
        ("--decode-threads", DECODE_THREADS, "videos decoded at once"),
    ):
        text = f"{what} (default: {default})"
        parser.add_argument(flag, type=positive_number, default=default, metavar="N", help=text)


def megabytes(path: Path) -> float:
    """Of a file, or of all files in a folder."""
    files = [item for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path]
    return sum(item.stat().st_size for item in files) / 1e6


def quoted(text: str) -> str:
    """A value as Hydra's grammar takes it, whatever is in it."""
    return '"' + text.replace('"', '\\"') + '"'


def note(message: str) -> None:
    """Tell the user something that is not a result."""
    tell(message)
