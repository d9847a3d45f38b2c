"""Errors and warnings about videos that cannot be read in full."""

from pathlib import Path

MOST_PIXELS = 64_000_000
"""Of one frame; 8K has 33 million. A header may claim any size, and FFmpeg would allocate it."""
HANGS_AFTER_SECONDS = 60.0
"""Decoding that gives no frame for so long is given up."""

CONVERT = "copy or export it again, or convert it with FFmpeg to H.264 in MP4"


class VideoError(ValueError):
    """A video that cannot be read: its name, the reason, and advice."""

    def __init__(self, source: str, reason: str, advice: str) -> None:
        super().__init__(source, reason, advice)  # all three, so that it survives pickling between processes
        self.source, self.reason, self.advice = source, reason, advice

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}; {self.advice}."


class NoFileError(VideoError):
    """A video file that does not exist."""


class NoFramesError(VideoError):
    """A file that opens as a video, without a decodable frame."""


class HangError(VideoError):
    """A video that gives no frame and does not end."""


class VideoWarning(UserWarning):
    """A damaged video whose good frames were read."""


class VideoNote(UserWarning):
    """An assumption about a good video, such as its frame rate."""


def unreadable(path: Path, error: OSError) -> VideoError:
    """Describe a file that cannot be read, such as a removed one."""
    return VideoError(str(path), f"it cannot be read ({error.strerror or error})", "check the path")


def hanging(source: str, seconds: float) -> HangError:
    """Describe a video that gives no frame and does not end."""
    return HangError(source, f"decoding hangs: there was no frame for {seconds:g} s, and it was given up", CONVERT)
