"""The one thread that reads faces, and the queue before it.

    engine = Engine(make_session)
    answer = engine.ask(client, picture, time)       # in any thread; waits for its turn
    engine.run(lambda: stop.asked)                   # in the thread that works, until told to stop

A *client* is a page in a browser; each has a session of its own, since each sees other faces. Of each, one frame waits
at most: a newer one takes its place, and the older is answered None."""

from __future__ import annotations

import base64
import collections
import threading
import time as clocks
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyfer.live.session import LiveFace, Session, View

CLIENTS = 8  # of which the faces are remembered
PATIENCE = 20.0  # seconds after which a frame is no longer waited for


class Busy(Exception):
    """More clients wait than are served."""


class _Ticket:
    """A frame that waits, and its answer once `done` is set; `fault` instead where working on it failed."""

    def __init__(self, client: str, picture: np.ndarray, time: float, still: bool):
        self.client, self.picture, self.time, self.still = client, picture, time, still
        self.done = threading.Event()
        self.since = clocks.perf_counter()
        self.answer: dict[str, Any] | None = None
        self.fault: Exception | None = None


class Engine:
    """Answers frames, one after the other.

    make_session(still) makes the session of a new client; still: for single pictures, which have nothing to do with
    each other."""

    def __init__(self, make_session: Callable[[bool], Session]):
        self._make = make_session
        self._stills = make_session(True)
        self._sessions: collections.OrderedDict[str, tuple[Session, float]] = collections.OrderedDict()
        self._waiting: collections.OrderedDict[str, _Ticket] = collections.OrderedDict()
        self._changed = threading.Condition()
        self._stopped = False

    @property
    def model(self):
        """The model that answers."""
        return self._stills.reader.model

    def warm(self) -> None:
        """Have everything compiled and read before the first frame comes."""
        side = self.model.preprocess.size
        self._stills.reader.logits(np.zeros((1, side, side), np.uint8))
        self._session("").step(np.zeros((120, 160, 3), np.uint8), 0.0)
        self._sessions.clear()

    def ask(self, client: str, picture: np.ndarray, time: float, still: bool = False) -> dict[str, Any] | None:
        """The answer to a picture uint8 (H,W,3) BGR that was taken at `time` (seconds, by the client's own clock); None
        where a newer one of the same client has taken its place. Busy where too many others wait."""
        ticket = _Ticket(client, picture, time, still)
        with self._changed:
            if self._stopped or (client not in self._waiting and len(self._waiting) >= CLIENTS):
                raise Busy
            older = self._waiting.get(client)
            if older is not None:
                older.done.set()
            self._waiting[client] = ticket  # the place in the queue stays the older one's
            self._changed.notify()
        if not ticket.done.wait(PATIENCE):
            raise Busy
        if ticket.fault is not None:
            raise ticket.fault
        return ticket.answer

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop()` says so: it is asked five times a second and after each frame."""
        try:
            while not stop():
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting, 0.2)
                    ticket = self._waiting.popitem(last=False)[1] if self._waiting else None
                if ticket is not None:
                    self._work(ticket)
        finally:
            with self._changed:
                self._stopped = True
                for ticket in self._waiting.values():
                    ticket.done.set()
                self._waiting.clear()

    def _work(self, ticket: _Ticket) -> None:
        try:
            ticket.answer = self._answer(ticket)
        except Exception as fault:  # told to the one who asked; the others go on
            ticket.fault = fault
        ticket.done.set()

    def _answer(self, ticket: _Ticket) -> dict[str, Any]:
        begun = last = clocks.perf_counter()
        milliseconds = {"wait": 1e3 * (begun - ticket.since)}

        def lap(stage: str) -> None:
            nonlocal last
            now = clocks.perf_counter()
            milliseconds[stage], last = 1e3 * (now - last), now

        if ticket.still:
            view = self._stills.step(ticket.picture, 0.0, lap)
        else:
            view = self._session(ticket.client).step(ticket.picture, self._in_order(ticket.client, ticket.time), lap)
        return described(view, {stage: round(spent, 1) for stage, spent in milliseconds.items()})

    def _session(self, client: str) -> Session:
        """The client's session, a new one where it has none; that of the client which has been silent longest goes."""
        session, time = self._sessions.pop(client, (None, 0.0))
        while len(self._sessions) >= CLIENTS:
            self._sessions.popitem(last=False)
        self._sessions[client] = session or self._make(False), time
        return self._sessions[client][0]

    def _in_order(self, client: str, time: float) -> float:
        """The time, but never before that of the client's last frame; a clock that was set back starts it anew."""
        session, before = self._sessions[client]
        if time < before - 1:
            session.reset()
        elif time < before:
            time = before
        self._sessions[client] = session, time
        return time


def described(view: View, milliseconds: dict[str, float]) -> dict[str, Any]:
    """A view as JSON can tell it; see `_face`."""
    return {"size": [view.size[1], view.size[0]], "faces": [_face(face) for face in view.faces], "ms": milliseconds}


def _face(face: LiveFace) -> dict[str, Any]:
    """box: x, y, width, height in pixels of the frame. crop: what the network sees, grey bytes row by row, base64."""
    return {"track": face.track, "box": list(face.box), "label": face.label, "shown": face.shown, "seen": face.seen,
            "uncertain": face.uncertain, "probabilities": [round(p, 4) for p in face.probabilities.values()],
            "side": len(face.crop), "crop": base64.b64encode(face.crop.tobytes()).decode()}
