"""Inference: a model with its batch normalisations folded into the weights, the one way every evaluation takes."""

from __future__ import annotations

import numpy as np

from tinyfer import ops
from tinyfer.layers import BatchNorm2d, Conv2d, Dense, Layer


def fold(layer: Conv2d | Dense, norm: BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of one layer that does the work of both: norm(x w + b) = x (w s) + (b - mean) s + beta."""
    scale = norm.gamma.value.astype(np.float64) / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    bias = layer.bias.value if layer.bias else 0.0
    shift = (bias - norm.running_mean.astype(np.float64)) * scale + norm.beta.value
    return (layer.weight.value * scale).astype(np.float32), shift.astype(np.float32)


class Plan:
    """A model made ready to answer: `plan(x)`, x (N,h,w,1) float32 -> logits (N,7), any N, in chunks of `batch`.

    It holds the weights of the moment it was made; make a new one after a training step. Everything runs through
    `ops`, so a kernel plugged in with `ops.using` is the one that answers."""

    def __init__(self, model, batch: int = 128):
        self.batch = batch
        self._steps = list(self._plan([leaf for _, leaf in model.leaves()]))
        self._classes = len(model.labels)

    @staticmethod
    def _plan(leaves: list[Layer]):
        skip = False
        for layer, after in zip(leaves, [*leaves[1:], None], strict=True):
            if skip:
                skip = False
                continue
            folds = isinstance(layer, (Conv2d, Dense)) and isinstance(after, BatchNorm2d)
            weight, bias = fold(layer, after) if folds else (None, None)
            skip = folds
            yield layer, weight, bias

    def __call__(self, x: np.ndarray) -> np.ndarray:
        parts = [self._run(x[start : start + self.batch]) for start in range(0, len(x), self.batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self._classes), np.float32)

    def _run(self, x):
        for layer, weight, bias in self._steps:
            if weight is None:
                x = layer.forward(x, keep=False)
            elif isinstance(layer, Conv2d):
                x = ops.conv2d_forward(x, weight, bias, layer.stride, layer.pad)
            else:
                x = ops.dense_forward(x, weight, bias)
        return x
