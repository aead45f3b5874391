"""tinyfer: a CNN engine to read in an afternoon, and the facial-expression network that it trains."""

__version__ = "0.1.0"
