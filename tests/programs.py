"""Running the programs as a user does, each in a process of its own."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
# cv2 belongs to the programs that look at pictures from outside; everything tested with this must do without.
NO_CV2 = "import sys; sys.modules['cv2'] = None; "


def command(module, *words):
    """The words that start `python -m MODULE WORDS` with cv2 blocked."""
    code = NO_CV2 + f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", code, *map(str, words)]


def run(module, *words, timeout=300, cwd=None, **env):
    """The finished process, its output as text."""
    return subprocess.run(command(module, *words), capture_output=True, text=True, timeout=timeout, cwd=cwd,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **env})


def refused(process, *parts):
    """The one sentence of a process that must have refused its input with exit status 2."""
    assert process.returncode == 2, (process.returncode, process.stderr)
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), process.stderr
    for part in parts:
        assert part in lines[0], lines[0]
    return lines[0]
