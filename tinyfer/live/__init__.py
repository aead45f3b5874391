"""Live: faces that move, from a camera, a video or a drawing to what is shown and written down.

session.py     a frame and its time -> its faces, followed and smoothed: pure, the part that servers and tests use
tracking.py    which face is which from frame to frame, and how its answers are smoothed
capture.py     where frames come from; the thread that reads them
demo.py        drawn faces that move: a camera for machines without one
hud.py         what is drawn over a frame and beside it
recording.py   videos and tables
window.py      the window and its keys
player.py      the loop that ties them together
lesson.py      teaching the last layer one's own face
speed.py       what each stage costs"""

from tinyfer.live.session import LiveFace, Session, View

__all__ = ["LiveFace", "Session", "View"]
