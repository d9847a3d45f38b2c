"""What one types in a notebook: load a model file, then `predict`, `timeline`, or frames live."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from activity.formats import load_recognizer as load_model
from activity.inference.predictor import Prediction, predict_videos
from activity.inference.segmentation import TimelineSettings
from activity.inference.timeline import Timeline, make_timelines
from activity.inference.videos import BATCH_FRAMES, DECODE_THREADS, Failure
from activity.models.recognizer import LoadedRecognizer

Source = str | os.PathLike[str]


class VideoRecognizer:
    """A recognizer for whole videos: what `activity.load_recognizer` gives.

    It is itself what `LiveRecognizer` takes. `class_names`, `sample_fps` (sampled frames a second), `window_frames`
    (sampled frames read at once), `modalities` and `rgb_every` (sampled frames from one that rgb looks at to the next)
    are what the model says of itself; nothing else is asked for. Where `square_pixels` is true, frames that you give
    must have pixels as wide as high; of video files that is seen to.

    Args:
        model: on `device`.
        device: where the model is.
    """

    def __init__(self, model: LoadedRecognizer, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.class_names = list(model.class_names)
        self.sample_fps = float(model.sample_fps)
        self.window_frames = int(model.window_frames)
        self.modalities = list(model.modalities)
        self.rgb_every = int(model.rgb_every)
        self.square_pixels = bool(model.square_pixels)
        self.format_version = int(model.format_version)

    def predict(self, source: Source) -> Prediction:
        """One label for a video: the mean of the scores of all its windows.

        Raises:
            VideoError: it cannot be read; says why and what to do.
        """
        (result,) = self.predict_all([source])
        if isinstance(result, Failure):
            raise result.cause
        return result

    def predict_all(self, sources: Sequence[Source]) -> Iterator[Prediction | Failure]:
        """`predict` for many videos, in their order, decoded ahead and encoded in batches across them.

        One that cannot be read is a `Failure` (its `error` says why), and the rest is done.
        """
        return predict_videos(
            self.model,
            _names(sources),
            batch_frames=BATCH_FRAMES,
            decode_threads=DECODE_THREADS,
            device=self.device,
        )

    def timeline(self, source: Source, *, settings: TimelineSettings | None = None) -> Timeline:
        """What happens when in a video, of any length, in memory that does not grow with it.

        Args:
            source: a video file.
            settings: how scores become segments; None: `TimelineSettings()`.

        Raises:
            VideoError: it cannot be read; says why and what to do.
            TimelineSettingsError: the settings do not fit this model.
        """
        (result,) = self.timelines([source], settings=settings)
        if isinstance(result, Failure):
            raise result.cause
        return result

    def timelines(
        self, sources: Sequence[Source], *, settings: TimelineSettings | None = None
    ) -> Iterator[Timeline | Failure]:
        """`timeline` for many videos, as `predict_all`."""
        return make_timelines(
            self.model,
            _names(sources),
            settings=settings or TimelineSettings(),
            batch_frames=BATCH_FRAMES,
            decode_threads=DECODE_THREADS,
            device=self.device,
        )

    def encode(self, frames: Tensor, previous: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        """Frames `uint8 (B, T, 3, H, W)` to features `float32 (B, T, D)`; see `Recognizer.encode`."""
        return self.model.encode(frames, previous, held)

    def encode_rows(self, frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None = None) -> Tensor:
        """Frames `uint8 (M, 3, H, W)`, by size, to features `float32 (N, D)`; see `FrameEncoder.encode_rows`."""
        return self.model.encode_rows(frames, rows, previous_rows)

    def classify(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features `float32 (B, T, D)` to logits `(B, C)`; see `Recognizer.classify`."""
        return self.model.classify(features, lengths)

    def __repr__(self) -> str:
        return (
            f"<VideoRecognizer of {len(self.class_names)} classes, {'+'.join(self.modalities)}, windows of "
            f"{self.window_frames} at {self.sample_fps:g} frames/s, on {self.device}>"
        )


def _names(sources: Sequence[object]) -> list[str]:
    if isinstance(sources, str | bytes | os.PathLike):
        raise TypeError(f"sources is {type(sources).__name__}; accepted: a list of paths. Of one: predict or timeline.")
    names = []
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            advice = " Frames go to LiveRecognizer.push." if hasattr(source, "shape") else ""
            raise TypeError(f"source is {type(source).__name__}; accepted: the path of a video file.{advice}")
        names.append(os.fsdecode(source))
    return names


def load_recognizer(path: str | Path, device: str | torch.device = "cpu") -> VideoRecognizer:
    """Load a checkpoint (best.ckpt) or what was exported of one (.ts, .pt2, .onnx, .openvino).

    An exported file is a program: load only those you trust. A checkpoint's pickled code is never executed.

    Raises:
        ModelFileError: missing, truncated, of another program, or of an unknown version.
        TypeError: `path` is none.

    A notebook, from the model file to segments and live events::

        import activity

        recognizer = activity.load_recognizer("model.ts")
        recognizer.predict("clip.mp4").top(3)
        recognizer.timeline("holiday.mp4").segments

        live = activity.LiveRecognizer(recognizer)
        for frame, time_seconds in my_camera():  # RGB uint8 (H, W, 3), seconds that rise
            for event in live.push(frame, time_seconds):
                print(event.kind, event.label, event.time_seconds)
    """
    given: object = path
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"path is {type(given).__name__}; accepted: the path of a model, best.ckpt or model.ts.")
    return VideoRecognizer(load_model(path, device), torch.device(device))
