"""`activity inspect MODEL`: what a model file says about itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from activity.cli.arguments import ArgumentParser, add_model_argument, megabytes
from activity.cli.main import EXIT_OK
from activity.cli.printable import printable
from activity.formats import load_recognizer
from activity.models.recognizer import LoadedRecognizer, Recognizer


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    parser = ArgumentParser(prog="activity inspect", description="What a model file says about itself.")
    add_model_argument(parser)
    parser.add_argument("--format", choices=["table", "json"], default="table", help="default: table")
    options = parser.parse_args(arguments)
    document = describe_file(Path(options.model), load_recognizer(options.model))
    if options.format == "json":
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        print("\n".join(f"{name:<16}{printable(_text(value))}" for name, value in document.items()))
    return EXIT_OK


def describe_file(path: Path, recognizer: LoadedRecognizer) -> dict[str, Any]:
    """What a file says, as plain Python; the same for each format, as far as the format knows it."""
    document: dict[str, Any] = {
        "file": str(path),
        "format": recognizer.format_name,
        "megabytes": round(megabytes(path), 1),
        "format_version": recognizer.format_version,
        "class_names": list(recognizer.class_names),
        "sample_fps": recognizer.sample_fps,
        "window_frames": recognizer.window_frames,
        "window_seconds": round(recognizer.window_frames / recognizer.sample_fps, 3),
        "modalities": list(recognizer.modalities),
        "rgb_every": recognizer.rgb_every,
        "temperature": round(float(recognizer.temperature), 4),
        "encoder": {
            "name": recognizer.encoder_name,
            "precision": recognizer.precision,
            "computes_in": recognizer.computes_in,
        },
    }
    if isinstance(recognizer, Recognizer):  # a checkpoint has all that it was made by
        description = recognizer.describe()
        document |= {"encoder": description["encoder"], "head": description["head"]}
        document["parameters"] = sum(parameter.numel() for parameter in recognizer.parameters())
    return document


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(item)}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
