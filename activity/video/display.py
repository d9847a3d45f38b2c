"""A picture on the screen that shows frames as they come."""

import os
import sys

import cv2

from activity.video.errors import VideoError
from activity.video.overlay import CaptionedSpan, draw_caption
from activity.video.picture import Pixels

_KEYS_TO_END = (27, ord("q"))  # Esc
_WITHOUT = "go on without a display, or log in to a screen"


class Display:
    """A picture on the screen, shown until it is closed.

    Raises:
        VideoError: there is no screen, or no window can be opened on it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # The window toolkit would end the whole process.
            raise VideoError("the display", "there is no screen here (DISPLAY is not set)", _WITHOUT)
        try:
            cv2.namedWindow(name, cv2.WINDOW_NORMAL)
        except cv2.error as error:  # an OpenCV without windows
            reason = f"no window can be opened ({str(error).strip().splitlines()[-1]})"
            raise VideoError(
                "the display", reason, "install opencv-python in the place of opencv-python-headless"
            ) from None

    def show(self, pixels: Pixels, *, time_seconds: float, span: CaptionedSpan | None) -> bool:
        """Show a frame, RGB `uint8 (H, W, 3)`, with its label; False once the user wants no more (Esc, q, closed)."""
        shown = pixels.copy()
        draw_caption(shown, time_seconds=time_seconds, span=span)
        cv2.imshow(self._name, shown[:, :, ::-1])
        key = cv2.waitKey(1) & 0xFF
        return key not in _KEYS_TO_END and cv2.getWindowProperty(self._name, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close it."""
        cv2.destroyWindow(self._name)
