"""Peers for the tests of the bench: processes that answer what they are told to."""

import os
import threading
import time


class Scripted:
    """Its steps take the seconds of a list, one a round; `log` names a file that every turn is written to."""

    def __init__(self, seconds, tag="", log=None, losses=(1.0, 0.5)):
        self.seconds, self.tag, self.log, self.first = list(seconds), tag, log, list(losses)
        print("a library says hello")  # must not disturb the answers

    def run(self, warm, seconds):
        if self.log:
            with open(self.log, "a") as file:
                file.write(self.tag + "\n")
        taken = self.seconds.pop(0)
        if taken is None:
            raise ValueError("out of luck\nand more")
        return {"seconds": taken, "steps": 1}

    def losses(self, batch, steps):
        return self.first


class Absent:
    def __init__(self):
        import a_package_that_nobody_has  # noqa: F401


class Dies:
    def __init__(self):
        import sys

        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)


class Sleeps:
    def run(self, warm, seconds):
        time.sleep(60)


class Spins(Scripted):
    """A thread of it goes on working after the answer."""

    def __init__(self):
        super().__init__([0.1] * 9)
        threading.Thread(target=self._spin, daemon=True).start()

    @staticmethod
    def _spin():
        while True:
            pass
