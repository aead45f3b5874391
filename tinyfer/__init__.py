"""tinyfer: a CNN engine to read in an afternoon, and the facial-expression network that it trains."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """tinyfer.FaceReader, imported when first asked for: whoever trains needs no pictures from outside."""
    if name == "FaceReader":
        from tinyfer.faces import FaceReader
        return FaceReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
