"""How long a video says it is, without reading it."""

from pathlib import Path

from activity.video.capture import Capture, check_file
from activity.video.errors import VideoError


def declared_seconds(path: Path) -> float | None:
    """The duration that a video's container declares; None where it declares none, or the video cannot be read.

    One frame is decoded. Containers round, count the sound's length, or were never told that the file was cut off: it
    is a hint, and only reading to the end says how long a video is.

    >>> import tempfile, cv2, numpy as np
    >>> path = Path(tempfile.mkdtemp(), "holiday.avi")
    >>> writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    >>> for brightness in (0, 50, 100, 150):
    ...     _ = writer.write(np.full((48, 64, 3), brightness, np.uint8))
    >>> writer.release()
    >>> declared_seconds(path), declared_seconds(path.with_name("none.avi"))
    (0.4, None)
    """
    try:
        check_file(str(path))
        capture = Capture(str(path))
    except VideoError:
        return None
    try:
        capture.grab()
        return capture.declared_seconds or None
    except VideoError:
        return None
    finally:
        capture.release()
