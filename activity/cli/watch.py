"""`activity watch MODEL SOURCE`: events of a source, as JSON lines.

The source is a camera, a stream or a file. Lines are written as it plays.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import TextIO

import torch

from activity.cli.arguments import (
    ArgumentParser,
    UsageError,
    add_device_flag,
    add_model_argument,
    add_runtime_flag,
    chosen_model,
    device_of,
    not_negative,
    note,
    positive,
)
from activity.cli.latency import Latencies
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.output import open_output
from activity.cli.timeline_settings import add_timeline_settings, timeline_settings
from activity.data.segments import Segment
from activity.formats import load_recognizer
from activity.inference.live import LiveEvent, LiveRecognizer
from activity.inference.palette import captions_of
from activity.models.recognizer import LoadedRecognizer
from activity.video.errors import VideoError
from activity.video.live import LiveFrame, LiveSource, SourceBack, SourceLost
from activity.video.sources import kind_of_source
from activity.visualization.display import Display

_SCORES_SECONDS, _STALL_SECONDS = 1.0, 10.0
_WARM_UP_FRAMES = 3  # the first encodings take longer: what is compiled and allocated once


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(arguments)
    options.model = chosen_model(options)
    settings = timeline_settings(options)
    try:
        kind = kind_of_source(options.source)
        _check_flags(options, kind)
        device = device_of(options.device, options.model)
        recognizer = load_recognizer(options.model, device)
        live = LiveRecognizer(
            recognizer,
            settings=settings,
            device=device,
            scores_every_seconds=_scores_every(options),
        )
        _watch(options, live, recognizer)
    except VideoError as error:  # not there, or given up
        note(f"activity watch: {error}")
        return EXIT_SOME_FAILED
    return EXIT_OK


def _watch(options: argparse.Namespace, live: LiveRecognizer, recognizer: LoadedRecognizer) -> None:
    source = LiveSource(
        options.source,
        sample_fps=recognizer.sample_fps,
        realtime=options.realtime,
        square_pixels=recognizer.square_pixels,
        stall_seconds=options.stall_seconds or _STALL_SECONDS,
        give_up_seconds=options.give_up_seconds,
    )
    with ExitStack() as stack:
        output = stack.enter_context(open_output(None))
        display = stack.enter_context(closing(Display(source.name))) if options.display else None
        warm_up(recognizer, device_of(options.device, options.model))
        stack.enter_context(source)
        stack.enter_context(_ended_by_signals(source))
        _Watch(live, source, recognizer, display, output).run()


def _scores_every(options: argparse.Namespace) -> float | None:
    if options.no_scores:
        return None
    return _SCORES_SECONDS if options.scores_every is None else float(options.scores_every)


def _check_flags(options: argparse.Namespace, kind: str) -> None:
    """Refuse flags that would do nothing."""
    if options.no_scores and options.scores_every is not None:
        raise UsageError("--scores-every and --no-scores contradict each other. Give one of them.")
    if options.realtime and kind == "camera":
        raise UsageError("--realtime is for files: a camera has its own speed. Leave it out.")
    for name in ("stall_seconds", "give_up_seconds"):
        if kind == "file" and getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for cameras and streams: a file ends. Leave it out.")


class _Watch:
    """Watches one source and writes its events as they come."""

    def __init__(
        self,
        live: LiveRecognizer,
        source: LiveSource,
        recognizer: LoadedRecognizer,
        display: Display | None,
        output: TextIO,
    ) -> None:
        self._live = live
        self._source = source
        self._recognizer = recognizer
        self._display = display
        self._output = output
        self._latencies = Latencies()
        self._sampled = self._lost = 0
        self._end_seconds = 0.0
        self._begun = time.monotonic()
        self._going_on: LiveEvent | None = None

    def run(self) -> None:
        """Until the source ends or is closed."""
        try:
            for item in self._source:
                if isinstance(item, LiveFrame):
                    self._frame(item)
                elif isinstance(item, SourceLost):
                    self._gone(item)
                else:
                    self._back(item)
        finally:  # the source is given up: what was found till then is not lost
            self._write_all(self._live.finish(), None)
            if self._sampled or sys.exc_info()[0] is None:  # of a source that was never there, nothing is to be told
                self._write(self._summary())

    def _frame(self, frame: LiveFrame) -> None:
        events = self._live.push_sampled(frame.index, frame.pixels)
        self._sampled += 1
        self._end_seconds = (frame.index + 1) / self._recognizer.sample_fps
        self._write_all(events, frame)
        self._latencies.add(time.monotonic() - frame.received_at)
        if self._display is not None and not self._shown(frame, events):
            self._source.close()

    def _shown(self, frame: LiveFrame, events: Sequence[LiveEvent]) -> bool:
        """Show the frame and its activity; False once the user ends it."""
        assert self._display is not None
        for event in events:
            if event.kind == "start":
                self._going_on = event
            elif event.kind == "end":
                self._going_on = None
        span, now = None, frame.index / self._recognizer.sample_fps
        if self._going_on is not None:
            begun = Segment(
                label=self._going_on.label,
                start_seconds=self._going_on.time_seconds,
                end_seconds=max(now, self._going_on.time_seconds) + 1,
                score=self._going_on.score,
            )
            (span,) = captions_of([begun], self._recognizer.class_names)
        return self._display.show(frame.pixels, time_seconds=now, span=span)

    def _gone(self, lost: SourceLost) -> None:
        self._write_all(self._live.interrupt(), None)
        if lost.attempt == 1:
            self._lost += 1
        note(f"activity watch: {self._source.name}: {lost.reason}; trying again in {lost.retry_seconds:g} s")
        document = {
            "event": "lost",
            "reason": lost.reason,
            "attempt": lost.attempt,
            "retry_seconds": lost.retry_seconds,
        }
        self._write(document | {"time_seconds": self._end_seconds, "wall_time": _wall_time()})

    def _back(self, back: SourceBack) -> None:
        seconds = back.index / self._recognizer.sample_fps
        document = {"event": "back", "time_seconds": seconds, "away_seconds": round(back.away_seconds, 3)}
        self._write(document | {"wall_time": _wall_time()})

    def _write_all(self, events: Sequence[LiveEvent], frame: LiveFrame | None) -> None:
        received_at = None if frame is None else frame.received_at
        for event in events:
            self._write(event_document(event, self._recognizer.class_names, received_at))

    def _write(self, document: dict[str, object]) -> None:
        print(json.dumps(document, ensure_ascii=False), file=self._output, flush=True)

    def _summary(self) -> dict[str, object]:
        return {
            "event": "summary",
            "source": self._source.name,
            "time_seconds": self._end_seconds,
            "frames": self._source.frames,
            "sampled": self._sampled,
            "dropped": self._source.dropped,
            "lost": self._lost,
            "latency_ms": self._latencies.document(),
            "busy_seconds": round(time.monotonic() - self._begun, 3),
            "encode_ms": round(1e3 * self._live.encode_seconds / max(1, self._sampled), 3),
            "scores": self._scores(),
            "wall_time": _wall_time(),
        }

    def _scores(self) -> dict[str, float] | None:
        """Scores since the source was there last, as `predict` has them."""
        if self._live.scores is None:
            return None
        return dict(zip(self._recognizer.class_names, self._live.scores.tolist(), strict=True))


def event_document(event: LiveEvent, class_names: Sequence[str], received_at: float | None) -> dict[str, object]:
    """An event as plain Python, for one line of JSON.

    `received_at`: `time.monotonic()` when the frame was received that made it known; None: no frame did.
    """
    document: dict[str, object] = {
        "event": event.kind,
        "label": event.label,
        "score": event.score,
        "time_seconds": round(event.time_seconds, 6),
    }
    if event.scores is not None:
        document["scores"] = dict(zip(class_names, event.scores, strict=True))
    latency = None if received_at is None else round(1e3 * (time.monotonic() - received_at), 3)
    return document | {"wall_time": _wall_time(), "latency_ms": latency}


def warm_up(recognizer: LoadedRecognizer, device: torch.device) -> None:
    """Run the model a few times, since the first runs take longer.

    So no latency is measured too high, and no frame is missed.
    """
    frames = torch.zeros(1, 1, 3, 240, 320, dtype=torch.uint8, device=device)
    with torch.inference_mode():
        for _ in range(_WARM_UP_FRAMES):
            recognizer.classify(recognizer.encode(frames, frames[:, 0]).repeat(1, recognizer.window_frames, 1))


def _wall_time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def _ended_by_signals(source: LiveSource) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the source, a second one the program.

    What was found up to there is written.

    Not where they are ignored: a script's background jobs are started so that Ctrl-C does not end them.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def end(number: int, frame: FrameType | None) -> None:
        for known, handler in before.items():
            signal.signal(known, handler)
        source.close()

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="activity watch",
        description="Watch a camera, a stream or a file: one JSON line on standard output for each activity that "
        "begins or ends, for scores, and for a source that is lost or back; at the end a summary. Ctrl-C ends it.",
    )
    add_model_argument(parser)
    parser.add_argument("source", metavar="SOURCE", help="a camera (0), a device (/dev/video0), a URL, or a video file")
    parser.add_argument("--realtime", action="store_true", help="play a file at its own speed, not as fast as it goes")
    parser.add_argument(
        "--scores-every", type=not_negative, metavar="SECONDS", help="default: 1; 0: of each sampled frame"
    )
    parser.add_argument("--no-scores", action="store_true", help="only what begins and ends")
    parser.add_argument("--display", action="store_true", help="show the picture with its labels in a window")
    parser.add_argument(
        "--stall-seconds",
        type=positive,
        metavar="N",
        help="without a frame: it is lost (default: 10)",
    )
    parser.add_argument(
        "--give-up-seconds", type=positive, metavar="N", help="end when it is lost for so long (default: never)"
    )
    add_runtime_flag(parser)
    add_device_flag(parser)
    add_timeline_settings(parser)
    return parser
