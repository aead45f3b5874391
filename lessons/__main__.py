"""python -m lessons: the course's one command.

This file needs nothing but some Python 3: it finds one that has the course's packages and hands over to
`lessons/runner/main.py` there."""

import importlib.util
import os
import subprocess
import sys

from tools.setup import VENV, VENV_PYTHON

PACKAGES = ("numpy", "numba", "matplotlib", "pytest", "hypothesis")


def missing():
    """Why the Python that runs this cannot run the lessons; "" where it can."""
    if sys.version_info < (3, 10):
        return "Python {}.{} is too old".format(*sys.version_info[:2])
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return "packages are missing here: " + ", ".join(lacking) if lacking else ""


def restart():
    """Go on with .venv's Python, and answer its exit status."""
    command = [VENV_PYTHON, "-m", "lessons"] + sys.argv[1:]
    if os.name != "nt":
        sys.stdout.flush()
        os.execv(VENV_PYTHON, command)
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:  # it went to both of us
        return 130


def main():
    why = missing()
    if not why:
        from lessons.runner.main import main as run

        return run(sys.argv[1:])
    if os.path.exists(VENV_PYTHON) and os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        return restart()
    remedy = "py tools\\setup.py test" if os.name == "nt" else "make setup     (or: python3 tools/setup.py test)"
    sys.stderr.write("error: {}. Type this once, then the same again:\n    {}\n".format(why, remedy))
    return 2


if __name__ == "__main__":
    sys.exit(main())
