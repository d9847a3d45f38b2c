"""`activity predict MODEL SOURCE...`: labels for files and folders."""

import csv
import io
import json
from collections.abc import Callable, Sequence

from activity.cli.arguments import ArgumentParser, add_model_argument, device_of, expand_sources, note, positive_number
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.output import check_output, open_output
from activity.data.clips import count_text
from activity.formats import load_recognizer
from activity.inference.predictor import Failure, Prediction, predict_videos

Line = Callable[[Prediction | Failure, int], str]


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    device = device_of(options.device)
    recognizer = load_recognizer(options.model, device)
    top_k = min(options.top_k, len(recognizer.class_names))
    line = LINES[options.format]
    failures = 0
    sources = expand_sources(options.source)
    check_output(options.output, [options.model, *sources])
    results = predict_videos(
        recognizer,
        sources,
        batch_frames=options.batch_frames,
        decode_threads=options.decode_threads,
        device=device,
    )
    with open_output(options.output) as output:
        print(header_line(options.format, top_k), end="", file=output)
        for result in results:
            print(line(result, top_k), end="", file=output, flush=True)
            if isinstance(result, Failure):
                failures += 1
                note(f"activity predict: {result.error}")
    if failures:
        note(f"activity predict: {failures} of {count_text(len(sources), 'source')} failed")
    return EXIT_SOME_FAILED if failures else EXIT_OK


def header_line(format_name: str, top_k: int) -> str:
    """The first line of a format, or nothing."""
    if format_name == "csv":
        further = [name for rank in range(2, top_k + 1) for name in (f"label_{rank}", f"score_{rank}")]
        return _csv(["source", "label", "score", "duration_seconds", "windows", "error", *further])
    return f"{'label':<24} {'score':>6} {'seconds':>8}  source\n" if format_name == "table" else ""


def json_line(result: Prediction | Failure, top_k: int) -> str:
    """One result as a JSON object on one line."""
    if isinstance(result, Failure):
        return json.dumps({"source": result.source, "error": result.error}) + "\n"
    best = result.top(top_k)
    document = {
        "source": result.source,
        "label": best[0][0],
        "score": best[0][1],
        "top": [{"label": label, "score": score} for label, score in best],
        "duration_seconds": result.duration_seconds,
        "windows": result.windows,
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def csv_line(result: Prediction | Failure, top_k: int) -> str:
    """One result as a CSV row under `header_line`."""
    if isinstance(result, Failure):
        return _csv([result.source, "", "", "", "", result.error, *[""] * 2 * (top_k - 1)])
    (label, score), *further = result.top(top_k)
    cells = [result.source, label, score, result.duration_seconds, result.windows, ""]
    return _csv(cells + [cell for pair in further for cell in pair])


def table_line(result: Prediction | Failure, top_k: int) -> str:
    """One result as an aligned line; the second best class and so on below it."""
    if isinstance(result, Failure):
        return f"{'(failed)':<24} {'':>6} {'':>8}  {result.source}\n"
    (label, score), *further = result.top(top_k)
    lines = [f"{label:<24} {score:>6.1%} {result.duration_seconds:>8.1f}  {result.source}"]
    lines += [f"  {label:<22} {score:>6.1%}" for label, score in further]
    return "\n".join(lines) + "\n"


LINES: dict[str, Line] = {"table": table_line, "jsonl": json_line, "csv": csv_line}


def _csv(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="activity predict", description="Labels for video files and folders.")
    add_model_argument(parser)
    parser.add_argument("source", metavar="SOURCE", nargs="+", help="video files, folders (at any depth), patterns")
    parser.add_argument("--format", choices=list(LINES), default="table", help="default: table")
    parser.add_argument("--top-k", type=positive_number, default=1, metavar="K", help="the K best classes (default: 1)")
    parser.add_argument("--output", metavar="FILE", help="write the results there, not to standard output")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda; default: auto")
    parser.add_argument("--batch-frames", type=positive_number, default=16, metavar="N", help="frames encoded at once")
    parser.add_argument("--decode-threads", type=positive_number, default=2, metavar="N", help="videos decoded at once")
    return parser
