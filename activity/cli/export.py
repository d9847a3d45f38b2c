"""`activity export CHECKPOINT OUT...`: the files that are deployed, each verified on clips before it is written."""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from activity.cli.arguments import ArgumentParser, UsageError, megabytes, note, positive_number
from activity.cli.components import quiet_libraries
from activity.cli.export_clips import MOST_CALIBRATED, ExportClips, export_clips, first_windows
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.new_folders import kept_unless_empty
from activity.cli.output import check_new_output
from activity.cli.printable import printable
from activity.cli.training_run import seen_in_training, training_run
from activity.cli.verification import Verification, Verified
from activity.data.clips import Clip, DataError, count_text
from activity.data.names import given_source
from activity.features.store import video_digest
from activity.files import replace_folder
from activity.formats.compare import Window
from activity.formats.contract import CONTRACT, ModelFileError, another_way, needs_extra
from activity.formats.load import load_recognizer
from activity.formats.save import missing_library, save_model
from activity.formats.table import FORMATS, Format, format_by_suffix
from activity.formats.verified import FILE_NAME, known_models, model_digest, record
from activity.models.recognizer import Recognizer

_ACCEPTED = ", ".join(f"NAME{' or '.join(row.suffixes)} ({row.what})" for row in FORMATS)
_APART = "Leave it out, or export this OUT by a command of its own."
_MOST_CLIPS = 100
_COMPARED_AT_ONCE = 2  # windows that a file is first compared on: in pieces, padded, and as other programs run it


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    outs = [Path(out) for out in options.out]
    with kept_unless_empty(out.parent for out in outs):
        _check(options, outs)
        return _export(options, outs)


def _export(options: argparse.Namespace, outs: Sequence[Path]) -> int:
    quiet_libraries()
    recognizer = load_recognizer(options.checkpoint)
    if not isinstance(recognizer, Recognizer):
        raise UsageError(f"{options.checkpoint} is an exported file already; give the checkpoint it was made from.")
    with TemporaryDirectory(prefix="activity-export-") as rendered:
        clips = export_clips(
            options.verify, Path(options.checkpoint), recognizer, most=options.clips, folder=Path(rendered)
        )
        verification = _labelled(options, recognizer, clips)
        rows = [_row(options.checkpoint, verification.of_recognizer, Path(options.checkpoint))]
        try:
            refused = _export_each(options, outs, rows, clips, verification)
        finally:
            if len(rows) > 1:
                _print(rows, f"{count_text(len(verification.clips), 'clip')} ({clips.source})")
    if refused:
        note(f"activity export: {refused} of {len(outs)} files were not written")
    # Clips of the run that cannot be read were named when it was trained.
    return EXIT_SOME_FAILED if refused or (options.verify and verification.failed) else EXIT_OK


def _labelled(options: argparse.Namespace, recognizer: Recognizer, clips: ExportClips) -> Verification:
    """What the checkpoint answers on the clips that its files are held to."""
    if options.int8 and not (clips.calibration and clips.verified_apart):
        raise UsageError(
            "--int8 takes its ranges from other clips than it is verified on: give two clips or more (--verify)."
        )
    verified = clips.verified_apart if options.int8 else clips.verified
    if options.verify and clips.labelled:
        _say_what_was_seen(Path(options.checkpoint), verified)
    if options.int8:
        note(f"int8: its ranges are to be taken from {count_text(len(clips.calibration), 'other clip')}")
        if {clip.group for clip in clips.calibration} & {clip.group for clip in verified}:
            note("note: they are of the same group as those that are verified, and may be much like them")
    note(f"labelling {count_text(len(verified), 'clip')} ({clips.source}) with the checkpoint ...")
    verification = Verification(recognizer, verified, labelled=clips.labelled)
    for failed in verification.failed:
        note(f"warning: {failed.error}")
    return verification


def _say_what_was_seen(checkpoint: Path, clips: Sequence[Clip]) -> None:
    """Of labelled clips of the user's: an accuracy is no good on those that the model has learned from."""
    contents = {path: video_digest(path) for path in {clip.path for clip in clips} if path.is_file()}
    seen = seen_in_training(checkpoint, clips, contents, training_run(checkpoint))
    if seen.text:
        note(f"{'warning' if seen.clips else 'note'}: {seen.text}")


def _export_each(
    options: argparse.Namespace,
    outs: Sequence[Path],
    rows: list[dict[str, Any]],
    clips: ExportClips,
    verification: Verification,
) -> int:
    """Write the files one after the other, each a row; returns how many were not to be written."""
    refused = 0
    for out in outs:
        note(f"{out} ...")
        try:
            rows.append(_exported(options, out, rows[0], clips, verification))
        except (ModelFileError, DataError) as error:  # the latter of a clip that is gone meanwhile
            if len(outs) == 1:
                raise
            note(f"activity export: {error}")
            refused += 1
    return refused


def _exported(
    options: argparse.Namespace,
    out: Path,
    checkpoint: dict[str, Any],
    clips: ExportClips,
    verification: Verification,
) -> dict[str, Any]:
    """Write one file, where it answers as the checkpoint, of which that is the row; returns its own."""
    recognizer = verification.recognizer
    with TemporaryDirectory(dir=out.parent, prefix=".writing-") as folder:
        path = Path(folder) / out.name
        examples = list(first_windows(verification.clips[:_COMPARED_AT_ONCE], recognizer))
        calibrated: list[str] = []
        calibration = _noted(first_windows(clips.calibration, recognizer), calibrated) if options.int8 else None
        try:
            save_model(recognizer, path, examples, split=options.split, calibration=calibration)
            loaded = load_recognizer(path)
            verified = verification.verify(loaded)
        except ModelFileError as error:  # of a place that nobody has asked for
            raise ModelFileError(str(error).replace(str(path), str(out))) from error
        if verified.problem is not None:
            raise ModelFileError(f"{out} was not written: {verified.problem}. {_instead(out, verified)}")
        row = _row(str(out), verified, path)
        for part in sorted(Path(folder).iterdir()):
            place = out.parent / part.name
            replace_folder(part, place) if part.is_dir() else part.replace(place)
    known = {name: value for name, value in row.items() if name != "file"}
    made_of = {
        "checkpoint": model_digest(Path(options.checkpoint)),
        "checkpoint_frames_per_second": verification.of_recognizer.frames_per_second,
        "checkpoint_load_seconds": checkpoint["load_seconds"],
        "verified_on": f"{count_text(len(verification.clips), 'clip')} ({clips.source})",
        "calibrated_on": count_text(len(calibrated), "other clip") if options.int8 else None,
    }
    record(out, known | made_of)
    return row


def _noted(windows: Iterable[Window], clips: list[str]) -> Iterator[Window]:
    """The windows, and a note of the clip of each that is taken."""
    for window in windows:
        clips.append(window.clip)
        yield window


def _instead(out: Path, verified: Verified) -> str:
    if verified.computes_in == "int8":
        return "Calibrate on more clips, more like those it is for (--verify), or leave --int8 out."
    return another_way(out)


def _row(name: str, verified: Verified, path: Path) -> dict[str, Any]:
    row = {
        "file": name,
        **asdict(verified),
        "megabytes": round(megabytes(path), 1),
        "load_seconds": _load_seconds(path),
    }
    del row["problem"]
    return row


def _load_seconds(path: Path) -> float:
    """Until a file has encoded its first picture: some compile then. Libraries are there already."""
    began = time.perf_counter()
    load_recognizer(path).encode(torch.zeros(1, 1, 3, 240, 320, dtype=torch.uint8))
    return time.perf_counter() - began


def _print(rows: Sequence[dict[str, Any]], source: str) -> None:
    table = Table(
        title=f"Verified on {source}; also in {FILE_NAME}",
        title_justify="left",
        caption="differs: scores from those of torch in the same precision, as far as torch computes in it; equal: "
        "labels that are those of the checkpoint as it was trained",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        collapse_padding=True,
        pad_edge=False,
    )
    for name in ("file", "CNN in", "differs", "equal", "accuracy", "MB", "frames/s", "loads"):
        text = name in ("file", "CNN in")
        # Where there is little room a name goes on in the next line, and no figure is cut.
        table.add_column(name, justify="left" if text else "right", no_wrap=name != "file", overflow="fold")
    for row in rows:
        table.add_row(
            Text(printable(Path(row["file"]).name)),
            row["computes_in"],
            f"{row['score_difference']:.1g}",
            f"{row['equal_labels']:.1%}",
            "" if row["accuracy"] is None else f"{row['accuracy']:.1%}",
            f"{row['megabytes']:.1f}",
            f"{row['frames_per_second']:.0f}",
            f"{row['load_seconds']:.1f} s",
        )
    Console().print(table)


def _check(options: argparse.Namespace, outs: Sequence[Path]) -> None:
    for data in options.verify:
        if not Path(data).exists():
            raise UsageError(f"--verify {data}: there is no such file or folder. Give a data set, or videos.")
    written = {out: _written(options, out) for out in outs}
    every = [path.absolute() for out in outs for path in written[out]]
    if twice := [path for path in every if every.count(path) > 1]:
        raise UsageError(f"{twice[0]} would be written twice: OUT is given twice, or is a half of another.")
    if within := [path for path in every if set(path.parents) & set(every)]:
        raise UsageError(f"{within[0]} would be written into another OUT. Give it another folder.")
    for out in outs:
        for path in written[out]:
            _check_can_be_written(path, [options.checkpoint, *options.verify], force=options.force)
        missing = missing_library(out.suffix, quantised=options.int8)
        if missing is not None:
            raise needs_extra(out, *missing)
    for out in outs:
        _check_folder(out)  # before the work is done
        known_models(out.parent)  # and what lies in the place of its export.json


def _written(options: argparse.Namespace, out: Path) -> list[Path]:
    """The files that an OUT makes."""
    found = format_by_suffix(out.suffix)
    if found is None:
        raise UsageError(f"OUT is {str(out)!r}; accepted: {_ACCEPTED}.")
    if options.int8 and not found.quantised:
        raise UsageError(f"--int8 is for {_named(lambda row: row.quantised)}, and OUT is {str(out)!r}. {_APART}")
    if options.split and not found.halves:
        raise UsageError(
            f"--split is for {_named(lambda row: bool(row.halves))}, of which it adds the halves as files, and OUT is "
            f"{str(out)!r}. {_APART}"
        )
    return found.paths(out, split=options.split)


def _named(has: Callable[[Format], bool]) -> str:
    return " and ".join(f"NAME{row.suffixes[0]}" for row in FORMATS if has(row))


def _check_folder(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".writing-"):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{out} cannot be written ({reason}). Give a name in a folder that can be written.") from error


def _check_can_be_written(path: Path, inputs: Sequence[str], *, force: bool) -> None:
    found = format_by_suffix(path.suffix)
    check_replaceable = None if found is None else found.check_replaceable
    if path.is_dir() and (check_replaceable is None or not (path / CONTRACT).is_file()):
        raise UsageError(f"OUT is the folder {str(path)!r}, which is no model; give another name.")
    if path.is_file() and check_replaceable is not None:
        raise UsageError(f"OUT is the file {str(path)!r}, and NAME{path.suffix} is a folder; give another name.")
    if check_replaceable is not None:
        check_replaceable(path)
    if path.is_dir() and not force:
        raise UsageError(f"{path} is there already. Give another name, or --force to replace it.")
    check_new_output(path, inputs, force=force)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="activity export",
        description="Write the files that are deployed. Each is held to the checkpoint on clips before it is written.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=given_source, help="best.ckpt of a run")
    parser.add_argument("out", metavar="OUT", nargs="+", help=f"what to write: {_ACCEPTED}")
    parser.add_argument(
        "--verify",
        metavar="DATA",
        nargs="+",
        default=[],
        help="a data set (a folder or CSV; its test clips where it names some), or videos, to verify on (default: the "
        "test clips of the run, or rendered ones)",
    )
    parser.add_argument(
        "--clips",
        type=positive_number,
        default=_MOST_CLIPS,
        metavar="N",
        help=f"verify on so many of them at most (default: {_MOST_CLIPS}); int8 is calibrated on up to "
        f"{MOST_CALIBRATED} others",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="of .onnx and .openvino, for all OUTs: the CNN in int8, calibrated on other clips of DATA",
    )
    parser.add_argument(
        "--split", action="store_true", help="of .onnx, for all OUTs: encoder and head as a file each too, for streams"
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    return parser
