"""What is said of a video that cannot be read, or only in part."""

from pathlib import Path

MOST_PIXELS = 64_000_000
"""Of one frame; 8K is 33 million. A header may claim any size, and memory would be taken for it."""
HANGS_AFTER_SECONDS = 60.0
"""Without a frame, decoding hangs and is given up."""

# What to do with a file that FFmpeg cannot decode.
CONVERT = "copy or export it again, or convert it with FFmpeg to H.264 in MP4"
# Two reasons of VideoError that callers tell from the others.
NO_SUCH_FILE = "there is no such file"
NO_FRAMES = "it opens as a video but no frame of it can be decoded"


class VideoError(ValueError):
    """A video that cannot be read: which (``source``), why (``reason``), and in the message what to do."""

    def __init__(self, source: str, reason: str, advice: str) -> None:
        super().__init__(source, reason, advice)  # all three, so that it survives pickling between processes
        self.source = source
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}; {self.advice}."


class VideoWarning(UserWarning):
    """A video that is damaged or cut off: its good frames were delivered."""


class VideoNote(UserWarning):
    """What the reader assumed of a good video: a rate that it does not say, a clock that starts again."""


def unreadable(path: Path, error: OSError) -> VideoError:
    """What to say of a video that the system does not let us read: removed meanwhile, or on a drive that is gone."""
    return VideoError(str(path), f"it cannot be read ({error.strerror or error})", "check the path")


def hanging(source: str, seconds: float) -> VideoError:
    """What to say of a video that was given up because it gives no frame and does not end."""
    return VideoError(source, f"decoding hangs: there was no frame for {seconds:g} s, and it was given up", CONVERT)


def too_large(source: str, width: int, height: int) -> VideoError:
    """What to say of frames that would take too much memory."""
    size = f"{width} x {height} pixels ({width * height / 1e6:,.0f} million)"
    reason = f"it says that its frames are {size}; frames of at most {MOST_PIXELS / 1e6:.0f} million are read"
    return VideoError(source, reason, "scale it down, or copy it again if its frames are smaller")
