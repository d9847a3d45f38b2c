"""What to say of a clip whose span and video do not go together."""

import warnings

from activity.data.clips import Clip


class FillWarning(UserWarning):
    """A clip whose features are not all that its span promised."""


def no_frames(clip: Clip, duration_seconds: float | None, sample_fps: float) -> str:
    """Why a clip has no sampled frame; `duration_seconds` is the video's, None where it goes on after the span."""
    end = "its end" if clip.end_seconds is None else f"{clip.end_seconds:g} s"
    if duration_seconds is not None and clip.start_seconds >= duration_seconds:
        return (
            f"{clip.name}: the span {clip.start_seconds:g} s to {end} begins after the video ends "
            f"({duration_seconds:.2f} s). Correct the span."
        )
    return (
        f"{clip.name}: the span {clip.start_seconds:g} s to {end} holds no sampled frame at {sample_fps:g} frames/s; "
        "give a longer span or a higher sampling.sample_fps."
    )


def warn_of_short_span(clip: Clip, duration_seconds: float | None) -> None:
    """Say so where the span goes on after the video has ended; `duration_seconds` as above."""
    if duration_seconds is not None and clip.reaches_beyond(duration_seconds):
        warnings.warn(
            f"{clip.name}: the span ends at {clip.end_seconds:g} s but the video at {duration_seconds:.2f} s; "
            "what there is was used. Correct the span.",
            FillWarning,
            stacklevel=2,
        )
