"""`activity VERB ...`: finds the verb, and turns a user's mistake into one message."""

import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from activity.cli.printable import tell

# A verb's module is imported when it is asked for: help and mistakes must not wait for torch.
VERBS = {
    "train": "fit a recognizer on labelled videos; test, save checkpoint, metrics and splits",
    "doctor": "what is wrong with a data set, before training",
    "crossval": "leave one group out or k-fold: how good it is on what it has not seen",
    "evaluate": "metrics, predictions and a report of a model on labelled videos",
    "extract": "fill the feature store for a data set, so that training decodes nothing",
    "predict": "labels for video files and folders",
    "timeline": "segments with start and end, of long videos",
    "watch": "live: events of a camera, a stream or a file as JSON lines",
    "export": "one file to deploy, from a checkpoint",
    "inspect": "what a model file says about itself",
    "bench": "speed and memory on this machine, measured the same way each time",
    "demo": "all of it on a rendered data set, offline, in a minute or two",
}

EXIT_OK, EXIT_SOME_FAILED, EXIT_WRONG_USE, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 all well, 1 some inputs failed, 2 wrong use, 130 interrupted."""
    try:
        # Else it is one of whoever calls from Python, whose signals and objects are not ours.
        own_process = arguments is None and threading.current_thread() is threading.main_thread()
        code = _main(sys.argv[1:] if arguments is None else list(arguments), own_process=own_process)
        sys.stdout.flush()  # here, where a broken pipe is caught, and not at exit
    except BrokenPipeError:
        # Whoever read our output has enough; what is still buffered must not raise once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return code


def _main(arguments: list[str], *, own_process: bool) -> int:
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return EXIT_OK if arguments else EXIT_WRONG_USE
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"activity {version('activity')}")
        return EXIT_OK
    verb, *rest = arguments
    if verb not in VERBS:
        return _say(None, _unknown(verb))
    return _run(verb, rest, debug=debug, own_process=own_process)


def _run(verb: str, arguments: list[str], *, debug: bool, own_process: bool) -> int:
    try:
        with _ended_as_by_ctrl_c():
            with _importing(verb) if own_process else nullcontext():
                from activity.allocator import keep_freed_memory
                from activity.cli.errors import show_warnings_on_stderr

                show_warnings_on_stderr()
                keep_freed_memory()
                module = importlib.import_module(f"activity.cli.{verb}")
            return int(module.main(arguments))
    except KeyboardInterrupt:
        print(f"activity {verb}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        from activity.cli.errors import message_of

        message = message_of(error)
        if debug or message is None:
            raise
        return _say(verb, message)


@contextmanager
def _importing(verb: str) -> Iterator[None]:
    """While a verb's modules are imported: no collection of garbage, and Ctrl-C leaves at once.

    Little of what is imported is garbage, and the collector takes a tenth of a second each time it looks through all
    that torch holds; it does not, from here on. Nothing has been begun that were to be cleaned up, and an exception
    would be lost: torch takes it, in the middle of its own imports, for a library that is not there.
    """

    def leave(*_: object) -> None:
        os.write(2, f"activity {verb}: interrupted\n".encode())
        os._exit(EXIT_INTERRUPTED)

    asked = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in asked}
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, as of `timeout` and of cluster queues, ends a verb as Ctrl-C does: cleaned up, and told how to go on."""
    if threading.current_thread() is not threading.main_thread():  # of whoever calls from Python: not ours to change
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _say(verb: str | None, message: str) -> int:
    tell(f"activity{f' {verb}' if verb else ''}: {message}")
    return EXIT_WRONG_USE


def _unknown(verb: str) -> str:
    import difflib

    nearest = difflib.get_close_matches(verb, VERBS, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"there is no command {verb!r}.{hint} Accepted: {', '.join(VERBS)}; see activity --help."


def _help() -> str:
    lines = "\n".join(f"  {verb:<10}{what}" for verb, what in VERBS.items())
    return (
        "usage: activity VERB ...\n\n"
        "Train an activity recogniser on your own videos, predict on files, deploy one file.\n\n"
        f"{lines}\n\n"
        "activity VERB --help says more. --debug shows the traceback of an error, --version the version."
    )


if __name__ == "__main__":
    sys.exit(main())
