"""A headless Chromium with a camera that shows a film: driven by the DevTools protocol through two pipes, so that it
needs no driver and no port.

    with Chromium(tmp_path, film) as page:
        page.open(address)
        page.wait("document.title == 'tinyfer'")"""

import base64
import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def found():
    """The browser's program; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def write_film(path, frames):
    """Grey or RGB uint8 frames as motion JPEG, which Chromium shows over and over as its camera's picture."""
    with open(path, "wb") as file:
        for frame in frames:
            part = io.BytesIO()
            Image.fromarray(frame).convert("RGB").save(part, "JPEG", quality=92)
            file.write(part.getvalue())
    return path


class Chromium:
    """One page of a browser of its own; film: what its camera shows, None for a browser without a camera."""

    def __init__(self, folder, film=None, width=1280, height=900, scale=1):
        self.width, self.height, self.scale = width, height, scale
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--remote-debugging-pipe", f"--user-data-dir={pathlib.Path(folder) / 'profile'}",
                 "--disable-background-networking", "--mute-audio"]
        if film is not None:
            flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                      f"--use-file-for-fake-video-capture={film}"]
        told, self._tell = os.pipe()
        self._hear, say = os.pipe()
        shell = f'exec "$0" "$@" 3<&{told} 4>&{say}'  # it reads from 3 and writes to 4
        self._process = subprocess.Popen(["bash", "-c", shell, found(), *flags, "about:blank"], pass_fds=[told, say],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(told)
        os.close(say)
        self._number, self._answers, self._session = 0, {}, None
        self.complaints = []  # what the page writes into its console
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self.resize(width, height, scale)

    def resize(self, width, height, scale=1):
        """Give the window another size, in CSS pixels; narrow ones are telephones."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                   mobile=width < 500)

    def open(self, address):
        """Load a page."""
        self._call("Page.navigate", url=address)
        self.wait(f"location.href == {address!r} && document.readyState == 'complete'")

    def js(self, code):
        """The value of an expression in the page."""
        result = self._call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, code, seconds=60):
        """Until an expression in the page is true."""
        end = time.monotonic() + seconds
        while not (value := self.js(code)):
            assert time.monotonic() < end, f"{code} is not true after {seconds} s: {self.js('document.body.innerText')}"
            time.sleep(0.1)
        return value

    def choose_file(self, selector, path):
        """Give a file to an <input type=file>."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key, code=0):
        """Press and release a key."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
                       **({"text": text} if text and kind == "keyDown" else {}))

    def screenshot(self, path, whole=False):
        """What is to be seen, as PNG; whole: also what lies below the window's edge."""
        data = self._call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def _call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._tell, json.dumps(message).encode() + b"\0")
        number = self._number
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._answers, 60), f"no answer to {method}"
            answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _listen(self):
        rest = b""
        while part := os.read(self._hear, 1 << 16):
            *whole, rest = (rest + part).split(b"\0")
            for message in map(json.loads, whole):
                self._note(message)

    def _note(self, message):
        with self._changed:
            if "id" in message:
                self._answers[message["id"]] = message
                self._changed.notify_all()
            elif message["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(message["params"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(AssertionError, OSError):
            self._session = None
            self._call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._tell)
