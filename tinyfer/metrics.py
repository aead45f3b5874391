"""How good are the answers, and do they know it? Scores are read off one confusion matrix: row = true class, column =
answer; calibration compares how sure answers are with how often they are right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


def confusion_matrix(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """Labels and answers int (N,) -> int64 (K,K): entry (i, j) counts pictures of class i that were called j."""
    return np.bincount(np.asarray(labels) * classes + answers, minlength=classes * classes).reshape(classes, classes)


def wilson(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927): right for few pictures and near 0 and 1, unlike p +- 2 s."""
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label) over logits (N,K) and labels (N,), in float64 and without label smoothing."""
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(labels)), labels].mean())


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logits (N,K) -> probabilities float64 (N,K)."""
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


class Reliability(NamedTuple):
    """Answers by how confident they were, a bin each: number, mean confidence and share that was right, (bins,)."""

    number: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: mean |accuracy - confidence| over answers."""
        return float((self.number * abs(self.accuracy - self.confidence)).sum() / max(1, self.number.sum()))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Probabilities (N,K) and labels (N,) in bins of equal width of the largest probability (Guo et al. 2017,
    arXiv:1706.04599); an empty bin holds zeros."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin = np.minimum((confidence * bins).astype(int), bins - 1)
    number = np.bincount(bin, minlength=bins)
    sums = (np.bincount(bin, weights=values, minlength=bins) for values in (confidence, right))
    return Reliability(number, *(total / np.maximum(1, number) for total in sums))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that makes softmax(logits / T) of logits (N,K) most probable for labels (N,): one number, so it
    changes no answer, only how sure it is of them (Guo et al. 2017).

    The loss is convex in 1 / T, so its slope changes sign once: halving finds where."""
    z, rows = logits.astype(np.float64), np.arange(len(labels))
    low, high = 0.05, 20.0  # of 1 / T
    for _ in range(60):
        middle = math.sqrt(low * high)
        p = softmax(z, 1 / middle)
        slope = ((p * z).sum(axis=1) - z[rows, labels]).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return 1 / math.sqrt(low * high)


@dataclass(frozen=True)
class Scores:
    """The figures of a confusion matrix int64 (K,K) whose classes are named by `labels`.

    Means over classes (balanced accuracy, macro-F1) are over those that occur in the true labels; a precision of a
    class that was never answered counts as 0."""

    confusion: np.ndarray
    labels: tuple[str, ...]

    @classmethod
    def of(cls, labels: np.ndarray, answers: np.ndarray, names: tuple[str, ...]) -> Scores:
        """Scores of answers (N,) to pictures whose true labels (N,) are known."""
        return cls(confusion_matrix(labels, answers, len(names)), tuple(names))

    @property
    def total(self) -> int:
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        return self.correct / max(1, self.total)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy."""
        return wilson(self.correct, self.total)

    @property
    def support(self) -> np.ndarray:
        """Pictures of each class, (K,)."""
        return self.confusion.sum(axis=1)

    @property
    def recall(self) -> np.ndarray:
        """Of the pictures of a class, the share that was called so, (K,)."""
        return np.diag(self.confusion) / np.maximum(1, self.support)

    @property
    def precision(self) -> np.ndarray:
        """Of the answers that name a class, the share that is right, (K,)."""
        return np.diag(self.confusion) / np.maximum(1, self.confusion.sum(axis=0))

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall, (K,): 2 right / (pictures + answers)."""
        return 2 * np.diag(self.confusion) / np.maximum(1, self.support + self.confusion.sum(axis=0))

    def _over_classes(self, values: np.ndarray) -> float:
        occurs = self.support > 0
        return float(values[occurs].mean()) if occurs.any() else 0.0

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall: every class counts alike, however rare."""
        return self._over_classes(self.recall)

    @property
    def macro_f1(self) -> float:
        """Mean F1: every class counts alike."""
        return self._over_classes(self.f1)

    def headline(self) -> str:
        """`accuracy 72.31 % [70.8, 73.8]`, with the 95 % interval."""
        low, high = self.interval
        return f"accuracy {100 * self.accuracy:.2f} % [{100 * low:.1f}, {100 * high:.1f}]"

    def table(self) -> str:
        """Precision, recall, F1 and number of pictures, a line a class."""
        width = max(map(len, self.labels))
        lines = [f"{'':{width}}  precision  recall     F1  pictures"]
        for name, p, r, f, n in zip(self.labels, self.precision, self.recall, self.f1, self.support, strict=True):
            lines.append(f"{name:{width}}  {p:9.3f}  {r:6.3f}  {f:5.3f}  {n:8,}")
        return "\n".join(lines)

    def matrix(self) -> str:
        """The confusion matrix in text: a row for each true class, a column for each answer."""
        cell = max(5, len(str(self.confusion.max(initial=0))) + 1, *(len(name[:10]) + 1 for name in self.labels))
        width = max(map(len, self.labels))
        lines = [f"{'true / answer':{max(width, 13)}}" + "".join(f"{name[:10]:>{cell}}" for name in self.labels)]
        for name, row in zip(self.labels, self.confusion, strict=True):
            lines.append(f"{name:{max(width, 13)}}" + "".join(f"{n:{cell}d}" for n in row))
        return "\n".join(lines)

    def as_dict(self) -> dict:
        """The same as plain values for JSON."""
        low, high = self.interval
        per_class = {name: {"precision": p, "recall": r, "f1": f, "pictures": n} for name, p, r, f, n in
                     zip(self.labels, self.precision.tolist(), self.recall.tolist(), self.f1.tolist(),
                         self.support.tolist(), strict=True)}
        return {"accuracy": self.accuracy, "interval": [low, high], "correct": self.correct, "pictures": self.total,
                "balanced_accuracy": self.balanced_accuracy, "macro_f1": self.macro_f1, "classes": per_class,
                "labels": list(self.labels), "confusion": self.confusion.tolist()}
