"""Inference: a model with its batch normalisations folded into the weights, the one way every evaluation takes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from tinyfer import ops
from tinyfer.layers import BatchNorm2d, Conv2d, ConvStack, Dense, Dropout, GlobalAvgPool, Layer

Step = Callable[[np.ndarray], np.ndarray]


def fold(layer: Conv2d | Dense, norm: BatchNorm2d | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights and bias of one layer that does the work of both: norm(x w + b) = x (w s) + (b - mean) s + beta, with
    s = gamma / sqrt(var + eps) from the running statistics. Without a norm: copies of the layer's own."""
    if norm is None:
        return layer.weight.value.copy(), layer.bias.value.copy() if layer.bias else None
    scale = norm.gamma.value.astype(np.float64) / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    bias = layer.bias.value if layer.bias else 0.0
    shift = (bias - norm.running_mean.astype(np.float64)) * scale + norm.beta.value
    return (layer.weight.value * scale).astype(np.float32), shift.astype(np.float32)


class Plan:
    """A model made ready to answer: `plan(x)`, x (N,h,w,1) float32 -> logits (N,7), any N, in chunks of `batch`.

    It holds copies, the weights and running statistics of the moment when it was made: make a new one after a training
    step. Every step runs through `ops`, so a kernel plugged in with `ops.using` is the one that answers."""

    def __init__(self, model, batch: int = 128):
        if batch < 1:
            raise ValueError(f"Plan(batch={batch}): expected the number of pictures to work on at a time, 1 or more")
        self.batch = batch
        self._check, self._classes = model.check_input, len(model.labels)
        self._checked: set[tuple] = set()
        self._parts = list(_parts(model))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if (kind := (x.dtype, *x.shape[1:])) not in self._checked:
            self._check(x)
            self._checked.add(kind)
        if 0 < len(x) <= self.batch:
            return self._run(x)
        parts = [self._run(x[start : start + self.batch]) for start in range(0, len(x), self.batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self._classes), np.float32)

    def _run(self, x: np.ndarray) -> np.ndarray:
        for part in self._parts:
            x = part(x)
        return x


class _Steps:
    """Layers one after the other, norms folded into what precedes them, through `ops`."""

    def __init__(self, leaves: list[Layer]):
        self._steps = list(_steps(leaves))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        for step in self._steps:
            x = step(x)
        return x


class _Run:
    """A run of blocks, with the layers behind it where these are an average pooling and a dense layer: the fused way
    where there is no obstacle, else the same by steps."""

    OPS = ("global_avgpool_forward", "dense_forward")

    def __init__(self, stack: ConvStack, behind: list[Layer]):
        self._stack, self._head = stack.frozen(), fold(behind[-1], None) if behind else ()  # type: ignore[arg-type]
        self._spelled_out, self._behind = _Steps([leaf for _, leaf in stack.leaves()]), _Steps(behind)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self._stack.obstacle(x.shape[1:]):
            return self._behind(self._spelled_out(x))
        if ops.overridden(*self.OPS):
            return self._behind(self._stack.answer(x))
        return self._stack.answer(x, self._head)


def _parts(model) -> Iterator[Step]:
    """The model cut where runs of blocks begin and end: a function of x for each piece."""
    pieces: list[tuple[ConvStack | None, list[Layer]]] = [(None, [])]  # each run, and the layers behind it
    for child in model.children().values():
        if isinstance(child, ConvStack):
            pieces.append((child, []))
        else:
            pieces[-1][1].extend(leaf for _, leaf in child.leaves() if not isinstance(leaf, Dropout))
    for stack, behind in pieces:
        if stack is None:
            yield _Steps(behind)
        elif [type(leaf) for leaf in behind] == [GlobalAvgPool, Dense]:
            yield _Run(stack, behind)
        else:
            yield _Run(stack, [])
            yield _Steps(behind)


def _steps(leaves: list[Layer]) -> Iterator[Step]:
    """What to do to x, one function after the other: dropouts are left out, norms folded into what precedes them."""
    leaves = [leaf for leaf in leaves if not isinstance(leaf, Dropout)]
    folded = None
    for layer, after in itertools.zip_longest(leaves, leaves[1:]):
        if layer is folded:
            continue
        if type(layer) is Conv2d or type(layer) is Dense:  # a subclass may compute something else
            norm = after if type(after) is BatchNorm2d else None
            (weight, bias), folded = fold(layer, norm), norm
            if isinstance(layer, Conv2d):
                yield functools.partial(ops.conv2d_forward, w=weight, b=bias, stride=layer.stride, pad=layer.pad)
            else:
                yield functools.partial(ops.dense_forward, w=weight, b=bias)
        else:
            yield functools.partial(layer.frozen().forward, keep=False)
