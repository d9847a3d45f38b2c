"""Train an activity recogniser on your own videos, predict on files and cameras, deploy one file.

import activity

recognizer = activity.load_recognizer("model.ts")
recognizer.predict("clip.mp4").top(3)
recognizer.timeline("holiday.mp4").segments
activity.LiveRecognizer(recognizer).push(frame, time_seconds)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activity.data.segments import Segment as Segment
    from activity.formats import ModelFileError as ModelFileError
    from activity.inference.library import VideoRecognizer as VideoRecognizer
    from activity.inference.library import load_recognizer as load_recognizer
    from activity.inference.live import LiveEvent as LiveEvent
    from activity.inference.live import LiveRecognizer as LiveRecognizer
    from activity.inference.predictor import Prediction as Prediction
    from activity.inference.segmentation import TimelineSettings as TimelineSettings
    from activity.inference.timeline import Timeline as Timeline
    from activity.inference.videos import Failure as Failure
    from activity.video.errors import VideoError as VideoError

# Where each public name lives; imported when it is asked for: the command line's help must not wait for torch.
_HOMES = {
    "Failure": "activity.inference.videos",
    "LiveEvent": "activity.inference.live",
    "LiveRecognizer": "activity.inference.live",
    "ModelFileError": "activity.formats",
    "Prediction": "activity.inference.predictor",
    "Segment": "activity.data.segments",
    "Timeline": "activity.inference.timeline",
    "TimelineSettings": "activity.inference.segmentation",
    "VideoError": "activity.video.errors",
    "VideoRecognizer": "activity.inference.library",
    "load_recognizer": "activity.inference.library",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'activity' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
