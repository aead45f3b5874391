"""tinyfer: a CNN engine to read in an afternoon, and the facial-expression network that it trains."""

import importlib.util
import sys

__version__ = "0.1.0"


def _refuse_bare_python() -> None:
    """End `python -m tinyfer...` with a sentence where that Python lacks the packages; doctor has more to say."""
    missing = [name for name in ("numpy", "numba", "pandas", "matplotlib", "tqdm", "PIL")
               if importlib.util.find_spec(name) is None]
    if missing and not any(word.endswith("tinyfer.doctor") for word in getattr(sys, "orig_argv", ())):
        setup, made = (("py tools\\setup.py", r".venv\Scripts\python") if sys.platform == "win32" else
                       ("python3 tools/setup.py", ".venv/bin/python"))
        print(f"error: {sys.executable} lacks {', '.join(missing)}: run `{setup}` once, then use the Python that it "
              f"makes, {made}.", file=sys.stderr)
        sys.exit(2)


if sys.argv[:1] == ["-m"]:  # so it is while Python looks for the module to run, and then only
    _refuse_bare_python()


def __getattr__(name: str):
    """tinyfer.FaceReader, imported when first asked for: whoever trains needs no pictures from outside."""
    if name == "FaceReader":
        from tinyfer.faces import FaceReader
        return FaceReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
