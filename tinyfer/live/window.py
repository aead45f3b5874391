"""The window and its keys, by OpenCV; and whether there can be one at all.

The headless wheels have the functions and fail when they are called; with Qt but without a display the whole process is
ended. So a window is first tried where that does no harm: in another process."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from tinyfer.detectors import opencv
from tinyfer.errors import UserError

TITLE = "tinyfer"
REMEDY = "use --headless with --csv or --record, or --browser to see it in a browser"
_PROBE = "import cv2; cv2.namedWindow('tinyfer'); cv2.waitKey(1); cv2.destroyAllWindows()"
_THERE = 0 if sys.platform == "darwin" else 1  # what WND_PROP_VISIBLE is at least: on macOS 0 while minimised
_NAMES = {27: "q", 32: "p", 43: "+", 61: "+", 45: "-", 95: "-", 63: "?", 47: "?"}


class NoDisplay(UserError):
    """This session has no screen, as by ssh or in a container: nothing is broken."""


def check() -> None:
    """UserError where no window can be opened, with what to do instead."""
    opencv()  # where it is missing or does not start, that is what to say, not that a window failed
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise NoDisplay(f"no window can be opened: there is no display here (ssh, a container?); {REMEDY}.")
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise UserError(f"no window can be opened: the display does not answer; {REMEDY}.") from None
    if probe.returncode == 0:
        return
    if "not implemented" in probe.stderr:
        raise UserError('no window can be opened: this OpenCV was built without windows (opencv-python-headless); pip '
                        f'uninstall opencv-python-headless, pip install "opencv-python>=4.10,<5", or {REMEDY}.')
    raise UserError(f"no window can be opened: the display {os.environ.get('DISPLAY', '')} refuses; {REMEDY}.")


class Window:
    """Shows pictures and tells which keys were pressed."""

    def __init__(self, title: str = TITLE):
        check()
        self._cv2, self._title, self._size = opencv(), title, (0, 0)
        plain = self._cv2.WINDOW_GUI_NORMAL  # without Qt's buttons
        self._cv2.namedWindow(title, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO | plain)

    def show(self, picture: np.ndarray) -> None:
        """uint8 (H,W,3) BGR; the window takes the size of the picture when that changes."""
        if picture.shape[:2] != self._size:
            self._size = picture.shape[:2]
            self._cv2.resizeWindow(self._title, self._size[1], self._size[0])
        self._cv2.imshow(self._title, picture)

    def key(self, milliseconds: int = 1) -> str:
        """The key pressed within that time, "" for none, "q" also for the window's own close button."""
        code = self._cv2.waitKeyEx(max(1, milliseconds))  # waitKey cuts Left, 0xFF51, down to Q
        if self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) < _THERE:
            return "q"
        code = code & 0xFFFF if code >= 0 else 0  # above: Shift, Num Lock ...
        return _NAMES.get(code) or (chr(code).lower() if 0 < code < 128 else "")

    def close(self) -> None:
        """Close it."""
        self._cv2.destroyAllWindows()
