"""A window that shows frames as they come."""

import os
import sys

import cv2

from activity.video.errors import VideoError
from activity.video.picture import Pixels
from activity.visualization.overlay import CaptionedSpan, draw_caption

_KEYS_TO_END = (27, ord("q"))  # Esc
_WITHOUT = "go on without a display, or log in to a screen"


class Display:
    """A window with the latest frame and its label.

    Raises:
        VideoError: there is no screen, or no window can be opened on it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Without this check the window toolkit ends the whole process.
            raise VideoError("the display", "there is no screen here (DISPLAY is not set)", _WITHOUT)
        try:
            cv2.namedWindow(name, cv2.WINDOW_NORMAL)
        except cv2.error as error:  # an OpenCV without windows
            reason = f"no window can be opened ({str(error).strip().splitlines()[-1]})"
            advice = "install opencv-python instead of opencv-python-headless"
            raise VideoError("the display", reason, advice) from None

    def show(self, pixels: Pixels, *, time_seconds: float, span: CaptionedSpan | None) -> bool:
        """Show a frame, RGB `uint8 (H, W, 3)`, with its label.

        Returns:
            False once the user ends it: Esc, q, or closing the window.
        """
        picture = pixels.copy()
        draw_caption(picture, time_seconds=time_seconds, span=span)
        cv2.imshow(self._name, picture[:, :, ::-1])
        key = cv2.waitKey(1) & 0xFF
        return key not in _KEYS_TO_END and cv2.getWindowProperty(self._name, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyWindow(self._name)
