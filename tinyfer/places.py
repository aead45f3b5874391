"""Where a user's caches lie, and how things are set up here; without Numba, so that the lessons' runner can ask in no
time."""

import os
import pathlib
import sys

SETUP = "py tools\\setup.py test" if sys.platform == "win32" else "make setup"  # what installs the packages


def user_cache() -> pathlib.Path:
    """The folder where this user's caches belong on this system (TINYFER_CACHE overrides it)."""
    if "TINYFER_CACHE" in os.environ:
        return pathlib.Path(os.environ["TINYFER_CACHE"])
    if sys.platform == "darwin":
        return pathlib.Path.home() / "Library" / "Caches" / "tinyfer"
    if sys.platform == "win32":
        return pathlib.Path(os.environ.get("LOCALAPPDATA", pathlib.Path.home() / "AppData" / "Local")) / "tinyfer"
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tinyfer"
