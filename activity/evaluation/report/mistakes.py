"""The clips that a recognizer had wrong while it was surest, with some of their frames."""

import warnings

import cv2
import numpy as np
import numpy.typing as npt

from activity.data.clips import Clip
from activity.evaluation.predictions import ScoredClips
from activity.evaluation.report.content import Mistake
from activity.video.errors import VideoError, VideoNote, VideoWarning
from activity.video.reader import VideoReader

SHOWN = 12
_STRIP_FPS = 10.0
_GAP = 3  # pixels between two frames
_GREY = 128


def worst_mistakes(scored: ScoredClips, *, limit: int = SHOWN) -> tuple[Mistake, ...]:
    """The wrong clips, the one with the highest score first, with their frames; at most `limit`."""
    best = scored.scores.max(dim=1).values
    wrong = [int(row) for row in best.argsort(descending=True, stable=True) if not scored.correct[row]]
    return tuple(_mistake(scored, row) for row in wrong[:limit])


def frame_strip(clip: Clip, *, frames: int = 6, height: int = 96) -> bytes | None:
    """Frames of a clip, evenly spaced, side by side as JPEG; None where it cannot be read.

    At most twice `frames` of them are held at a time, at their small size, however long the clip is.

    Args:
        clip: the clip; only its span is looked at.
        frames: how many, at most.
        height: of the strip, in pixels.
    """
    try:
        chosen = _chosen(clip, frames, height)
    except (VideoError, OSError):
        return None
    if not chosen:
        return None
    gap = np.full((height, _GAP, 3), _GREY, np.uint8)
    row = [part for frame in chosen for part in (gap, frame)][1:]
    done, data = cv2.imencode(".jpg", np.hstack(row), [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    return data.tobytes()


def _mistake(scored: ScoredClips, row: int) -> Mistake:
    clip, scores = scored.clips[row], scored.scores[row]
    predicted, label = int(scored.predicted[row]), int(scored.labels[row])
    end = "its end" if clip.end_seconds is None else f"{clip.end_seconds:g} s"
    whole = clip.start_seconds == 0 and clip.end_seconds is None
    return Mistake(
        clip=clip.name,
        span="" if whole else f"{clip.start_seconds:g} s to {end}",
        label=scored.class_names[label],
        predicted=scored.class_names[predicted],
        score=scores[predicted].item(),
        label_score=scores[label].item(),
        strip=frame_strip(clip),
    )


def _chosen(clip: Clip, frames: int, height: int) -> list[npt.NDArray[np.uint8]]:
    """Evenly spaced frames of the span, BGR `(height, W, 3)`."""
    kept: list[npt.NDArray[np.uint8]] = []
    stride = 1
    with VideoReader(clip.path, square_pixels=True) as reader, warnings.catch_warnings():
        for category in (VideoNote, VideoWarning):  # said when its features were computed
            warnings.simplefilter("ignore", category)
        for number, frame in enumerate(reader.sampled_frames(_STRIP_FPS, indices=clip.sampled_indices(_STRIP_FPS))):
            if number % stride:
                continue
            if len(kept) == 2 * frames:  # the span is longer than thought: every other one will do
                kept, stride = kept[::2], 2 * stride
                if number % stride:
                    continue
            size = kept[0].shape[1] if kept else None  # a video may change its size midway
            kept.append(_small(frame.pixels, height, size))
    places = np.linspace(0, len(kept) - 1, min(frames, len(kept))).round().astype(int).tolist()
    return [kept[place] for place in places]


def _small(pixels: npt.NDArray[np.uint8], height: int, width: int | None) -> npt.NDArray[np.uint8]:
    if width is None:
        width = max(1, min(2 * height, round(pixels.shape[1] * height / pixels.shape[0])))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2BGR)  # type: ignore[return-value]
