"""Layers: they hold parameters and what backward needs; the arithmetic is done by `ops`.

    y  = layer.forward(x, train=True)      train: batch statistics and dropout; it also keeps what backward needs
    dx = layer.backward(dy)                assigns param.grad of every parameter on the way

A chain of layers is a list: forward goes through it, backward goes through `reversed(...)`. There is no autograd here;
each backward stands under its forward. Arrays are (N, H, W, C) float32; (N, D) after Flatten. What forward and backward
answer is never written to again by the layer, so it may be kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import numpy as np

from tinyfer import ops, seeds
from tinyfer.errors import UserError
from tinyfer.kernels import frozen, fused, schemes
from tinyfer.reference import output_length

Shape = tuple[int, ...]


class Param:
    """One tensor to learn: its value and its gradient, of the same shape. A model makes both views into two flat
    arrays.

    Weight decay is for matrices and kernels, not for biases, gammas and betas: `decays` is true from two axes on."""

    def __init__(self, value: np.ndarray):
        self.name = ""
        self.value = np.ascontiguousarray(value, np.float32)
        self.grad = np.zeros_like(self.value)

    @property
    def decays(self) -> bool:
        return self.value.ndim > 1

    def __repr__(self) -> str:
        return f"Param({self.name or 'unnamed'}, {'x'.join(map(str, self.value.shape))})"


def he_normal(rng: np.random.Generator, shape: Shape) -> Param:
    """Weights from a normal distribution of variance 2 / fan_in, which keeps the spread through ReLUs (He et al.
    2015)."""
    return Param(rng.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[:-1]), dtype=np.float32))


class Layer:
    """What every layer can do. A subclass writes forward and backward, and lists what it owns."""

    def __init__(self):
        self.name = type(self).__name__  # a model replaces it by the dotted path
        self._kept = None

    def forward(self, x, train=False, keep=None):
        """x (N,...) -> y (N,...), as the layer's own text says; train: batch statistics and dropout; keep: save what
        backward needs (by default where it trains)."""
        raise NotImplementedError

    def backward(self, dy):
        """dy, of y's shape -> dx, of x's shape; assigns `grad` of every parameter. RuntimeError where forward kept
        nothing."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Param]:
        """The layer's own parameters by name."""
        return {}

    def buffers(self) -> dict[str, np.ndarray]:
        """The layer's own arrays that are not learned but belong to the model (running statistics), by name."""
        return {}

    def children(self) -> dict[str, Layer]:
        """The layers inside this one by name, in the order in which they run."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """What one example of this shape (without the batch) becomes; UserError where the layer cannot take it."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates that one example of this shape costs forward."""
        return 0

    def leaves(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        """Every innermost layer with its dotted path, in the order in which they run."""
        if not self.children():
            yield path, self
        for name, child in self.children().items():
            yield from child.leaves(".".join(part for part in (path, name) if part))

    def frozen(self) -> Layer:
        """A copy to evaluate with: it shares no array with this layer, and nothing that was kept comes along."""
        twin = copy.copy(self)
        twin._kept = None
        return copy.deepcopy(twin)

    def remember(self, keep, *values) -> None:
        """Keep what backward needs, or forget what was kept before."""
        self._kept = values if keep else None

    def recall(self) -> tuple:
        """What forward kept; a clear error when it kept nothing."""
        if self._kept is None:
            raise RuntimeError(f"{self.name}.backward: forward kept nothing; call it with train or keep first")
        return self._kept


def _at_least_one_pixel(layer: Layer, before: Shape, after: Shape) -> Shape:
    if min(after) < 1:
        raise UserError(f"{layer.name} is left no pixel of its {before[0]}x{before[1]} input; use larger pictures.")
    return after


class Conv2d(Layer):
    """Convolution (N,H,W,C_in) -> (N,H',W',C_out); pad "same" keeps the size of the picture when stride is 1."""

    def __init__(self, c_in: int, c_out: int, kernel: int, rng, stride=1, pad: int | None = None, bias=True):
        super().__init__()
        self.weight = he_normal(rng, (kernel, kernel, c_in, c_out))
        self.bias = Param(np.zeros(c_out)) if bias else None
        self.stride, self.pad = stride, kernel // 2 if pad is None else pad

    def forward(self, x, train=False, keep=None):
        self.remember(train if keep is None else keep, x)
        return ops.conv2d_forward(x, self.weight.value, self.bias and self.bias.value, self.stride, self.pad)

    def backward(self, dy):
        (x,) = self.recall()
        dx, self.weight.grad[...], db = ops.conv2d_backward(dy, x, self.weight.value, self.stride, self.pad)
        if self.bias:
            self.bias.grad[...] = db
        return dx

    def parameters(self):
        return {"weight": self.weight} | ({"bias": self.bias} if self.bias else {})

    def output_shape(self, shape):
        kh, kw, c_in, c_out = self.weight.value.shape
        if len(shape) != 3 or shape[2] != c_in:
            raise UserError(f"{self.name} takes maps of {c_in} channels (H,W,{c_in}), not {shape}.")
        height, width = (output_length(n, k, self.stride, self.pad) for n, k in zip(shape, (kh, kw), strict=False))
        return _at_least_one_pixel(self, shape, (height, width, c_out))

    def macs(self, shape):
        height, width, _ = self.output_shape(shape)
        return height * width * self.weight.value.size


class BatchNorm2d(Layer):
    """Batch normalisation of (N,H,W,C), or of (N,D) after a dense layer.

    In training by the batch's own mean and variance, of which running averages are kept:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance (count / (count - 1)), as in
    PyTorch. Otherwise by the running averages, as constants."""

    def __init__(self, channels: int, momentum=0.1, eps=1e-5):
        super().__init__()
        self.gamma, self.beta = Param(np.ones(channels)), Param(np.zeros(channels))
        self.running_mean, self.running_var = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        self.momentum, self.eps = momentum, eps

    def forward(self, x, train=False, keep=None):
        gamma, beta = self.gamma.value, self.beta.value
        if train:
            y, mean, var = ops.batchnorm_forward(x, gamma, beta, self.eps)
            self.track(mean, var, x.size // x.shape[-1])
        else:
            mean, var = self.running_mean.copy(), self.running_var.copy()
            y = ops.batchnorm_eval_forward(x, gamma, beta, mean, var, self.eps)
        self.remember(train if keep is None else keep, x, mean, var, train)
        return y

    def track(self, mean, var, count: int) -> None:
        """Move the running averages towards a batch's mean and biased variance over `count` values a channel."""
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (var * count / (count - 1) - self.running_var)

    def backward(self, dy):
        x, mean, var, train = self.recall()
        backward = ops.batchnorm_backward if train else ops.batchnorm_eval_backward
        dx, self.gamma.grad[...], self.beta.grad[...] = backward(dy, x, self.gamma.value, mean, var, self.eps)
        return dx

    def parameters(self):
        return {"gamma": self.gamma, "beta": self.beta}

    def buffers(self):
        return {"running_mean": self.running_mean, "running_var": self.running_var}


class ReLU(Layer):
    """0 where x < 0, x elsewhere; any shape."""

    def forward(self, x, train=False, keep=None):
        self.remember(train if keep is None else keep, x)
        return ops.relu_forward(x)

    def backward(self, dy):
        (x,) = self.recall()
        return ops.relu_backward(dy, x)


class MaxPool2d(Layer):
    """The largest of each size x size window, (N,H,W,C) -> (N,H',W',C); rows that fill no whole window are dropped."""

    def __init__(self, size=2, stride: int | None = None):
        super().__init__()
        self.size, self.stride = size, stride or size

    def forward(self, x, train=False, keep=None):
        y, index = ops.maxpool_forward(x, self.size, self.stride)
        self.remember(train if keep is None else keep, index, x.shape)
        return y

    def backward(self, dy):
        index, x_shape = self.recall()
        return ops.maxpool_backward(dy, index, x_shape, self.size, self.stride)

    def output_shape(self, shape):
        height, width = (output_length(n, self.size, self.stride, 0) for n in shape[:2])
        return _at_least_one_pixel(self, shape, (height, width, shape[2]))


class GlobalAvgPool(Layer):
    """The mean of each channel's map, (N,H,W,C) -> (N,C)."""

    def forward(self, x, train=False, keep=None):
        self.remember(train if keep is None else keep, x.shape)
        return ops.global_avgpool_forward(x)

    def backward(self, dy):
        (x_shape,) = self.recall()
        return ops.global_avgpool_backward(dy, x_shape)

    def output_shape(self, shape):
        return shape[2:]


class Flatten(Layer):
    """(N,H,W,C) -> (N, H*W*C), a view of x: channels stay the fastest."""

    def forward(self, x, train=False, keep=None):
        self.remember(train if keep is None else keep, x.shape)
        return x.reshape(len(x), -1)

    def backward(self, dy):
        (x_shape,) = self.recall()
        return dy.reshape(x_shape)

    def output_shape(self, shape):
        return (int(np.prod(shape)),)


class Dropout(Layer):
    """Zeroes each value with probability p in training and scales the rest by 1/(1-p); does nothing otherwise.

    The mask is drawn from `rng`, which the training loop replaces at every step: step t's mask is the same in every
    run. In a model all dropouts share one rng."""

    def __init__(self, p=0.5):
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"dropout is {p}, expected the share of values to drop: 0 or more, less than 1.")
        self.p, self.rng = p, seeds.generator(0, "dropout")

    def forward(self, x, train=False, keep=None):
        mask = None
        if train and self.p > 0:
            mask = (self.rng.random(x.shape, np.float32) >= self.p).astype(np.float32) / np.float32(1 - self.p)
        self.remember(train if keep is None else keep, mask)
        return x.copy() if mask is None else ops.dropout_forward(x, mask)

    def backward(self, dy):
        (mask,) = self.recall()
        return dy if mask is None else ops.dropout_backward(dy, mask)


class Dense(Layer):
    """Fully connected, (N,D_in) -> (N,D_out). `zero` starts the weights at 0: right for the last layer, whose loss then
    starts at ln(classes)."""

    def __init__(self, d_in: int, d_out: int, rng, zero=False):
        super().__init__()
        self.weight = Param(np.zeros((d_in, d_out))) if zero else he_normal(rng, (d_in, d_out))
        self.bias = Param(np.zeros(d_out))

    def forward(self, x, train=False, keep=None):
        self.remember(train if keep is None else keep, x)
        return ops.dense_forward(x, self.weight.value, self.bias.value)

    def backward(self, dy):
        (x,) = self.recall()
        dx, self.weight.grad[...], self.bias.grad[...] = ops.dense_backward(dy, x, self.weight.value)
        return dx

    def parameters(self):
        return {"weight": self.weight, "bias": self.bias}

    def output_shape(self, shape):
        d_in, d_out = self.weight.value.shape
        if shape != (d_in,):
            raise UserError(f"{self.name} takes {d_in} features a picture, not {'x'.join(map(str, shape))}.")
        return (d_out,)

    def macs(self, shape):
        return self.weight.value.size


class Sequential(Layer):
    """Layers one after the other, by name; backward runs them in reverse, each handing its dx down as the next one's
    dy."""

    def __init__(self, layers: Mapping[str, Layer]):
        super().__init__()
        self.layers = dict(layers)

    def forward(self, x, train=False, keep=None):
        for layer in self.layers.values():
            x = layer.forward(x, train, keep)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers.values()):
            dy = layer.backward(dy)
        return dy

    def children(self):
        return self.layers

    def frozen(self):
        twin = copy.copy(self)
        twin._kept, twin.layers = None, {name: layer.frozen() for name, layer in self.layers.items()}
        return twin

    def output_shape(self, shape):
        for layer in self.layers.values():
            shape = layer.output_shape(shape)
        return shape


class ConvBlock(Sequential):
    """Convolution, batch normalisation and ReLU, then max-pooling and dropout where asked for: a VGG's brick.

    order "conv-bn-relu" (no convolution bias: the norm's beta does that work) or "conv-relu-bn"."""

    ORDERS = ("conv-bn-relu", "conv-relu-bn")

    def __init__(self, c_in: int, c_out: int, rng, kernel=3, pool=False, dropout=0.0, order="conv-bn-relu"):
        if order not in self.ORDERS:
            raise UserError(f"order is {order!r}, expected {' or '.join(self.ORDERS)}.")
        conv, bn, relu = Conv2d(c_in, c_out, kernel, rng, bias=order == "conv-relu-bn"), BatchNorm2d(c_out), ReLU()
        layers: dict[str, Layer] = {"conv": conv}
        layers |= {"bn": bn, "relu": relu} if order == "conv-bn-relu" else {"relu": relu, "bn": bn}
        if pool:
            layers["pool"] = MaxPool2d(2)
        if dropout:
            layers["dropout"] = Dropout(dropout)
        super().__init__(layers)


class ConvStack(Sequential):
    """A run of ConvBlocks with plain arrays at both ends.

    Training on float32 takes the fused way (`kernels/fused.py`), in which nothing between the blocks is written twice,
    where every block can be part of it and none of their ops is overridden; everything else goes op by op
    through the switchboard. The choice is made in forward and kept for backward. `input_gradient` False says that
    nobody needs dx: the run stands first in its network."""

    OPS = ("conv2d_forward", "conv2d_backward", "batchnorm_forward", "batchnorm_backward", "relu_forward",
           "relu_backward", "maxpool_forward", "maxpool_backward")

    def __init__(self, layers: Mapping[str, Layer]):
        super().__init__(layers)
        self.input_gradient = True
        # of two shapes: whole batches, and the last one
        self._runs: dict[tuple[Shape, int], fused.FusedStack | frozen.FrozenRun] = {}
        self._obstacles: dict[Shape, str] = {}  # by shapes that were asked about

    def forward(self, x, train=False, keep=None):
        keep = train if keep is None else keep
        if not (train and keep and x.dtype == np.float32 and not self.obstacle(x.shape[1:])):
            self.remember(keep, None)
            return super().forward(x, train, keep)
        run = self._made(fused.FusedStack, x.shape)
        self.remember(True, run)
        return run.forward(np.require(x, np.float32, ["C", "W"]))

    def backward(self, dy):
        (run,) = self.recall()
        if run is None:
            return super().backward(dy)
        return run.backward(np.require(dy, np.float32, ["C", "W"]), self.input_gradient)

    def frozen(self):
        twin = super().frozen()
        twin._runs = {}
        return twin

    def answer(self, x, head: tuple = ()):
        """What a frozen copy says, forward without training or keeping, the fused way: only where there is no obstacle.
        Weights are transformed at a shape's first use, so they must not change any more. head, none or always the
        same one: what frozen.FrozenRun takes."""
        return self._made(frozen.FrozenRun, x.shape, *[head] * bool(head)).evaluate(x)

    def _made(self, kind, shape: Shape, *more):
        """The run for inputs of this shape; the last two that were asked are kept."""
        key = shape, len(more)
        run = self._runs.get(key)
        if not (isinstance(run, kind) and run.fits(shape)):
            self._runs.pop(key, None)
            run = kind(list(self.layers.values()), shape, *more)
            self._runs = dict([*self._runs.items()][-1:]) | {key: run}
        elif next(reversed(self._runs)) != key:
            self._runs[key] = self._runs.pop(key)
        return run

    def obstacle(self, shape: Shape) -> str:
        """Why inputs of this shape (H, W, C) cannot take the fused way; "" where they can."""
        if ops.overridden(*self.OPS):
            return "an op of the blocks is overridden"
        if shape not in self._obstacles:
            self._obstacles[shape] = self._seek_obstacle(shape)
        return self._obstacles[shape]

    def _seek_obstacle(self, shape: Shape) -> str:
        for name, block in self.layers.items():
            if why := schemes.obstacle(block, shape):
                return f"{name}: {why}"
            shape = block.output_shape(shape)
        return ""

    def paths(self, shape: Shape) -> dict[str, str]:
        """How each block is computed in training, for `print(model)`."""
        if self.obstacle(shape):
            return dict.fromkeys(self.layers, "op by op")
        ways = {}
        for name, block in self.layers.items():
            ways[name] = schemes.scheme(block, shape)
            shape = block.output_shape(shape)
        return ways
