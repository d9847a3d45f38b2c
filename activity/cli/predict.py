"""`activity predict MODEL SOURCE...`: labels for files and folders."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from activity.cli.arguments import (
    ArgumentParser,
    UsageError,
    add_decoding_flags,
    add_device_flag,
    add_model_argument,
    add_runtime_flag,
    chosen_model,
    device_of,
    expand_sources,
    note,
    positive_number,
)
from activity.cli.files_progress import files_progress
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.output import check_new_output, csv_row, format_of
from activity.cli.printable import printable
from activity.cli.results import Span, open_results
from activity.cli.resume import EarlierResults, check_same_model
from activity.data.clips import count_text
from activity.formats import load_recognizer
from activity.formats.torchscript import answer_at_once
from activity.formats.verified import model_digest
from activity.inference.predictor import Failure, Prediction, predictions_as_completed

Line = Callable[[Prediction | Failure, int, str], str]


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    options.model = chosen_model(options)
    options.format = _format_of(options)
    device = device_of(options.device, options.model)
    sources = expand_sources(options.source)
    _check_output(options, sources)
    if device.type == "cpu":
        answer_at_once()
    recognizer = load_recognizer(options.model, device)
    top_k = min(options.top_k, len(recognizer.class_names))
    earlier = _earlier_results(options, sources, top_k) if options.resume else None
    remaining = range(len(sources)) if earlier is None else earlier.remaining
    results = predictions_as_completed(
        recognizer,
        [sources[position] for position in remaining],
        batch_frames=options.batch_frames,
        decode_threads=options.decode_threads,
        device=device,
    )
    try:
        positioned = ((remaining[number], result) for number, result in results)
        kept = None if earlier is None else earlier.spans
        failures = _write(positioned, options, top_k, kept, done=len(sources) - len(remaining), total=len(sources))
    except KeyboardInterrupt:
        if options.output is not None and options.format == "jsonl":
            again = [argument for argument in arguments if argument not in ("--resume", "--force")]
            note(f"stopped; {options.output} is kept. Go on with: activity predict --resume {shlex.join(again)}")
        raise
    if failures:
        note(f"activity predict: {failures} of {count_text(len(remaining), 'source')} failed")
    return EXIT_SOME_FAILED if failures else EXIT_OK


def _format_of(options: argparse.Namespace) -> str:
    name = format_of(options.format, options.output, LINES)
    if options.resume and (name != "jsonl" or options.output is None):
        given = f"the format is {name}" if options.output else "there is no --output"
        raise UsageError(
            f"--resume goes on with a file of JSON lines, and {given}. Give --output results.jsonl; where the name has "
            "another suffix, --format jsonl as well."
        )
    return name


def _check_output(options: argparse.Namespace, sources: Sequence[str]) -> None:
    otherwise = "--force to replace it"
    if options.format == "jsonl":
        otherwise = f"--resume to go on where it ends, or {otherwise}"
    inputs = [options.model, *sources]
    check_new_output(options.output, inputs, force=options.force or options.resume, otherwise=otherwise)


def _earlier_results(options: argparse.Namespace, sources: Sequence[str], top_k: int) -> EarlierResults:
    path = Path(options.output)
    results = EarlierResults(path, sources)
    check_same_model(results, path, model=Path(options.model), top_k=top_k)
    results.leave_what_is_kept()
    done = len(sources) - len(results.remaining)
    if done:
        note(f"{done} of {count_text(len(sources), 'source')} are in {path}; {len(results.remaining)} left")
    return results


def _write(
    results: Iterator[tuple[int, Prediction | Failure]],
    options: argparse.Namespace,
    top_k: int,
    kept: Mapping[int, Span] | None,
    *,
    done: int,
    total: int,
) -> int:
    """Write the results as they come, by position; returns how many sources failed."""
    failures, line = 0, LINES[options.format]
    digest = model_digest(Path(options.model)) if options.format == "jsonl" else ""  # the others do not say it
    # Where the results appear in the same terminal, they are the progress.
    shown = sys.stderr.isatty() and not (options.output is None and sys.stdout.isatty())
    with (
        open_results(options.output, header_line(options.format, top_k), kept=kept) as write,
        files_progress(total, done=done, shown=shown) as update,
    ):
        for finished, (position, result) in enumerate(results, 1):
            write(position, line(result, top_k, digest))
            if isinstance(result, Failure):
                failures += 1
                note(f"activity predict: {result.error}")
            update(done + finished, finished)
    return failures


def header_line(format_name: str, top_k: int) -> str:
    """The first line of a format, or nothing."""
    if format_name == "csv":
        further = [name for rank in range(2, top_k + 1) for name in (f"label_{rank}", f"score_{rank}")]
        return csv_row(["source", "label", "score", "duration_seconds", "windows", "error", "damage", *further])
    return f"{'label':<24} {'score':>6} {'seconds':>8}  source\n" if format_name == "table" else ""


def json_line(result: Prediction | Failure, top_k: int, model: str) -> str:
    """One result as a JSON object on one line; `model` is the digest of the model file."""
    if isinstance(result, Failure):
        return json.dumps({"source": result.source, "error": result.error}) + "\n"
    best = result.top(top_k)
    document: dict[str, object] = {
        "source": result.source,
        "label": best[0][0],
        "score": best[0][1],
        "top": [{"label": label, "score": score} for label, score in best],
        "duration_seconds": round(result.duration_seconds, 3),
        "windows": result.windows,
        "model": model,
    }
    if result.damage is not None:
        document["damage"] = result.damage
    return json.dumps(document, ensure_ascii=False) + "\n"


def csv_line(result: Prediction | Failure, top_k: int, model: str) -> str:
    """One result as a CSV row under `header_line`."""
    if isinstance(result, Failure):
        return csv_row([result.source, "", "", "", "", result.error, "", *[""] * 2 * (top_k - 1)])
    (label, score), *further = result.top(top_k)
    cells = [result.source, label, score, round(result.duration_seconds, 3), result.windows, "", result.damage or ""]
    return csv_row(cells + [cell for pair in further for cell in pair])


def table_line(result: Prediction | Failure, top_k: int, model: str) -> str:
    """One result as an aligned line; the second best class and so on below it."""
    if isinstance(result, Failure):
        return f"{'(failed)':<24} {'':>6} {'':>8}  {printable(result.source)}\n"
    (label, score), *further = result.top(top_k)
    lines = [f"{printable(label):<24} {score:>6.1%} {result.duration_seconds:>8.1f}  {printable(result.source)}"]
    lines += [f"  {printable(label):<22} {score:>6.1%}" for label, score in further]
    return "\n".join(lines) + "\n"


LINES: dict[str, Line] = {"table": table_line, "jsonl": json_line, "csv": csv_line}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="activity predict", description="Labels for video files and folders.")
    add_model_argument(parser)
    parser.add_argument("source", metavar="SOURCE", nargs="+", help="video files, folders (at any depth), patterns")
    parser.add_argument("--format", choices=list(LINES), help="default: that of --output's suffix, else table")
    parser.add_argument("--top-k", type=positive_number, default=1, metavar="K", help="the K best classes (default: 1)")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write there, each result as it completes, sorted in the end (default: standard output, in the order "
        "given)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with an interrupted --output FILE.jsonl")
    existing.add_argument("--force", action="store_true", help="replace an --output that is there")
    add_runtime_flag(parser)
    add_device_flag(parser)
    add_decoding_flags(parser)
    return parser
