"""Data: where pictures come from and how they reach the network."""

from tinyfer.data.types import LABELS, Dataset, Info, Split

__all__ = ["LABELS", "Dataset", "Info", "Split"]
