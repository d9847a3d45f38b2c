"""`activity timeline MODEL SOURCE...`: what happens when in long videos."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
)
from activity.cli.files_progress import videos_progress
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.output import check_new_output, format_of, open_output
from activity.cli.results import open_results
from activity.cli.timeline_formats import FORMATS, failure_text, subtitle_files, timeline_header, timeline_text
from activity.cli.timeline_settings import add_timeline_settings, timeline_settings
from activity.data.clips import count_text
from activity.formats import load_recognizer
from activity.inference.palette import captions_of
from activity.inference.plot import check_plot, plot_timeline, thumbnails_of
from activity.inference.timeline import Timeline, timelines_as_completed
from activity.inference.videos import Failure
from activity.video.errors import VideoError
from activity.visualization.overlay import check_overlay, write_overlay

_THUMBNAILS, _THUMBNAIL_HEIGHT = 10, 120

Write = Callable[[int, Timeline | Failure], None]


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    options.model = chosen_model(options)
    options.format = format_of(options.format, options.output, FORMATS)
    settings = timeline_settings(options)
    sources = expand_sources(options.source)
    files = subtitle_files(options.format, sources, options.output)
    _check(options, sources, files)
    device = device_of(options.device, options.model)
    recognizer = load_recognizer(options.model, device)
    settings.stride_frames(recognizer.window_frames)  # refused before a header is written
    # Where the results appear in the same terminal, a bar would stand among them.
    shown = sys.stderr.isatty() and not (options.output is None and sys.stdout.isatty() and len(sources) > 1)
    failures = 0
    with _writer(options, files) as write, videos_progress(sources, shown=shown) as progress:
        for position, result in timelines_as_completed(
            recognizer,
            sources,
            settings=settings,
            batch_frames=options.batch_frames,
            decode_threads=options.decode_threads,
            device=device,
            on_frames=lambda position, frames: progress.read(position, frames / recognizer.sample_fps),
        ):
            write(position, result)
            failures += not _taken(result, options)
            progress.finish(position)
    if failures:
        note(f"activity timeline: {failures} of {count_text(len(sources), 'source')} failed")
    return EXIT_SOME_FAILED if failures else EXIT_OK


def _taken(result: Timeline | Failure, options: argparse.Namespace) -> bool:
    """Make what else was asked for of a result; whether all of it could be done."""
    try:
        if isinstance(result, Failure):
            raise result.cause
        if options.plot is not None:
            plot_timeline(
                result,
                options.plot,
                thumbnails_of(
                    result.source,
                    count=_THUMBNAILS,
                    duration_seconds=result.duration_seconds,
                    height=_THUMBNAIL_HEIGHT,
                ),
            )
        if options.overlay is not None:
            spans = captions_of(result.segments, result.class_names)
            write_overlay(result.source, options.overlay, spans)
    except VideoError as error:
        note(f"activity timeline: {error}")
        return False
    return True


def _check(options: argparse.Namespace, sources: Sequence[str], files: Sequence[Path] | None) -> None:
    """Refuse before hours of work what could not be written in the end."""
    for name in ("plot", "overlay"):
        if getattr(options, name) is not None and len(sources) != 1:
            raise UsageError(f"--{name} is of one video, and there are {count_text(len(sources), 'source')}. Give one.")
    named = [os.path.realpath(path) for path in (options.output, options.plot, options.overlay) if path is not None]
    if len(set(named)) < len(named):
        raise UsageError("--output, --plot and --overlay name one file twice. Give each a name of its own.")
    inputs = [options.model, *sources]
    outputs = files if files is not None else [options.output]
    for path in (*outputs, options.plot, options.overlay):
        check_new_output(path, inputs, force=options.force)
    if options.plot is not None:
        check_plot(options.plot)
    if options.overlay is not None:
        check_overlay(sources[0], options.overlay)


@contextmanager
def _writer(options: argparse.Namespace, files: Sequence[Path] | None) -> Iterator[Write]:
    """What writes the result of the source at a position: all to one output, or each to a file of its own."""
    if files is not None:

        def write_own(position: int, result: Timeline | Failure) -> None:
            if isinstance(result, Timeline):  # a failure is said on standard error, and leaves no file
                with open_output(str(files[position])) as output:
                    print(timeline_header(options.format) + _text(options, result), end="", file=output)

        yield write_own
        return
    with open_results(options.output, timeline_header(options.format)) as write:
        yield lambda position, result: write(position, _text(options, result))


def _text(options: argparse.Namespace, result: Timeline | Failure) -> str:
    if isinstance(result, Failure):
        return failure_text(options.format, result.source, result.error)
    segments = result.segments if options.no_background else result.with_background()
    return timeline_text(options.format, result.source, segments, result.duration_seconds)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="activity timeline", description="What happens when in videos of any length: segments with start and end."
    )
    add_model_argument(parser)
    parser.add_argument("source", metavar="SOURCE", nargs="+", help="video files, folders (at any depth), patterns")
    parser.add_argument("--format", choices=FORMATS, help="default: that of --output's suffix, else table")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write there, each result as it completes, sorted in the end; with srt or vtt of several videos, a folder "
        "(default: standard output, in the order given)",
    )
    parser.add_argument("--plot", metavar="FILE", help="scores over time, segments and frames, as .png, .svg or .pdf")
    parser.add_argument(
        "--overlay", metavar="FILE", help="the video with labels and scores drawn on it, .webm or .mp4, without sound"
    )
    parser.add_argument("--no-background", action="store_true", help="leave out the spans in which no activity is sure")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    add_runtime_flag(parser)
    add_device_flag(parser)
    add_decoding_flags(parser)
    add_timeline_settings(parser)
    return parser
