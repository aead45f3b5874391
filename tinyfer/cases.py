"""Inputs for every op, drawn from a few small numbers: tests, the gradient checker, lessons and the bench share them.

Words used here
    draw     a `Draw`: asked for a size by name ("N", 1, 3), it answers a number and remembers it
    Case     an op's name with the very arguments to call it with, and the numbers they were drawn from
    layout   how an array lies in memory: "C", "F", "slice" (every second element), "reversed", "read-only"

Only sizes, layouts and a seed are drawn, arrays come from `default_rng(seed)`: so a case is told in one short line, and
hypothesis (see `tests/cases.py`), a random generator (`at_random`) and a written list (`small`) make them the same way.

The values keep away from what no gradient check can judge: |x| >= 0.1 for ReLU, a spread of at least about 0.5 in every
batch-normalised channel. Max-pooling gets permutations, and ties, which its index decides."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyfer import reference

LAYOUTS = ("C", "F", "slice", "reversed", "read-only")
FULL = {"N": 3, "C": 20, "H": 13}  # largest sizes; C also off the vector width, H and W also smaller than the kernel
TINY = {"N": 2, "C": 3, "H": 4}  # small enough to differentiate by every entry

EXAMPLES = 60  # cases of each op that a check draws evenly, `at_random`
# hypothesis, in the tests and in the gradient checker
SETTINGS = {"max_examples": 40, "deadline": None, "report_multiple_bugs": False}

# What each op answers, in order; the updates answer nothing and write into the arguments of these names.
OUTPUTS = {
    "conv2d_forward": ("y",), "conv2d_backward": ("dx", "dw", "db"),
    "relu_forward": ("y",), "relu_backward": ("dx",),
    "leaky_relu_forward": ("y",), "leaky_relu_backward": ("dx",),
    "batchnorm_forward": ("y", "mean", "var"), "batchnorm_backward": ("dx", "dgamma", "dbeta"),
    "batchnorm_eval_forward": ("y",), "batchnorm_eval_backward": ("dx", "dgamma", "dbeta"),
    "maxpool_forward": ("y", "index"), "maxpool_backward": ("dx",),
    "global_avgpool_forward": ("y",), "global_avgpool_backward": ("dx",),
    "dense_forward": ("y",), "dense_backward": ("dx", "dw", "db"),
    "dropout_forward": ("y",), "dropout_backward": ("dx",),
    "softmax": ("p",), "softmax_cross_entropy": ("loss", "dz"),
    "sgd_update": ("w", "v"), "adam_update": ("w", "m", "v"),
}  # fmt: skip
IN_PLACE = {"sgd_update": (0, 2), "adam_update": (0, 2, 3)}  # positions of the arguments that are written


class Draw:
    """Chooses sizes through `choose(name, low, high) -> int` and remembers each under its name."""

    def __init__(self, choose: Callable[[str, int, int], int]):
        self._choose = choose
        self.said: dict[str, int] = {}

    def __call__(self, name: str, low: int, high: int) -> int:
        self.said[name] = self._choose(name, low, high)
        return self.said[name]

    def pick(self, name: str, options):
        self.said[name] = options[self._choose(name, 0, len(options) - 1)]
        return self.said[name]


@dataclass(frozen=True)
class Case:
    """An op's name, its arguments in the reference's order, and the numbers these were drawn from."""

    op: str
    args: tuple
    said: dict

    def __repr__(self) -> str:
        return f"{self.op}: " + " ".join(f"{name}={value}" for name, value in self.said.items())

    def told(self) -> str:
        """The sizes alone, as a student reads them: "N=1 H=4 W=4 C=1"."""
        hidden = ("sizes", "layout", "axes")
        return " ".join(f"{name}={value}" for name, value in self.said.items() if name not in hidden)

    def copies(self) -> list:
        """Fresh copies of the arguments, C-contiguous, for a function that is called without `ops`."""
        return [np.array(a, order="C") if isinstance(a, np.ndarray) else a for a in self.args]

    def as_type(self, dtype) -> "Case":
        """The same case with every floating-point array in another dtype."""
        args = tuple(a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in self.args)
        return Case(self.op, args, self.said)


def outputs(op: str, function: Callable, args) -> tuple:
    """What `function` answers on copies of args, always as a tuple: for the updates, the arrays that it wrote into."""
    args = [a.copy() if i in IN_PLACE.get(op, ()) else a for i, a in enumerate(args)]
    answer = function(*args)
    if op in IN_PLACE:
        return tuple(args[i] for i in IN_PLACE[op])
    return tuple(answer) if isinstance(answer, tuple | list) else (answer,)


def lay_out(a: np.ndarray, layout: str) -> np.ndarray:
    """The same values, lying otherwise in memory."""
    if layout == "F":
        return np.asfortranarray(a)
    if layout == "slice":
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), 7, a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]
    if layout == "reversed":
        return a[::-1].copy()[::-1]
    a = a.copy()
    a.flags.writeable = layout != "read-only"
    return a


# ------------------------------------------------------------------------------------------------ one function a family


def _limits(draw) -> dict:
    small = os.environ.get("TINYFER_CASES")  # "N,C,H", for kernels that run as plain Python
    if small:
        return dict(zip("NCH", map(int, small.split(",")), strict=True))
    return FULL if draw.pick("sizes", ("tiny", "full")) == "full" else TINY


def _picture_shape(draw, lowest=1) -> tuple:
    most = _limits(draw)
    n, c = draw("N", 1, most["N"]), draw("C", 1, most["C"])
    return n, draw("H", lowest, max(lowest, most["H"])), draw("W", lowest, max(lowest, most["H"])), c


def _any_shape(draw) -> tuple:
    """(N,H,W,C), or (N,C) as after a dense layer."""
    shape = _picture_shape(draw)
    return shape if draw("axes", 0, 1) else (shape[0], shape[3])


def _off_zero(rng, shape):
    """Values of either sign, none closer to 0 than 0.1: where ReLU has a derivative."""
    x = rng.standard_normal(shape)
    return x + np.copysign(0.1, x)


def spread(rng, shape):
    """Values whose every channel varies: evenly spaced and shuffled, with noise, and an offset for each channel."""
    count = int(np.prod(shape[:-1]))
    x = np.linspace(-1.5, 1.5, count)[:, None] + rng.uniform(-0.2, 0.2, (count, shape[-1]))
    return rng.permuted(x, axis=0).reshape(shape) + rng.uniform(-3, 3, shape[-1])


def distinct(rng, shape):
    """A permutation: no two values closer than 0.01, so that max-pooling has a derivative."""
    return (rng.permutation(int(np.prod(shape))) * 0.01 - 0.005 * np.prod(shape)).reshape(shape)


def _conv2d(draw, rng):
    most = _limits(draw)
    kh, kw = draw.pick("kh", (1, 2, 3, 5)), draw.pick("kw", (1, 2, 3, 5))
    stride, pad = draw("stride", 1, 3), draw("pad", 0, 2)
    h = draw("H", max(1, kh - 2 * pad), max(most["H"], kh))
    w = draw("W", max(1, kw - 2 * pad), max(most["H"], kw))
    x = rng.standard_normal((draw("N", 1, most["N"]), h, w, draw("C", 1, most["C"])))
    weights = rng.standard_normal((kh, kw, x.shape[3], draw("K", 1, most["C"])))
    return x, weights, rng.standard_normal(weights.shape[3]), stride, pad


def _conv2d_backward(draw, rng):
    x, w, b, stride, pad = _conv2d(draw, rng)
    return rng.standard_normal(reference.conv2d_forward(x, w, b, stride, pad).shape), x, w, stride, pad


def _relu(draw, rng):
    return (_off_zero(rng, _any_shape(draw)),)


def _relu_backward(draw, rng):
    x = _off_zero(rng, _any_shape(draw))
    return rng.standard_normal(x.shape), x


def _leaky_relu(draw, rng):
    return *_relu(draw, rng), draw.pick("slope", (0.01, 0.3))


def _leaky_relu_backward(draw, rng):
    return *_relu_backward(draw, rng), draw.pick("slope", (0.01, 0.3))


def _batchnorm(draw, rng):
    shape = _any_shape(draw)
    if np.prod(shape[:-1]) == 1:  # one value a channel has no variance
        shape = (2, *shape[1:])
    gamma = _off_zero(rng, shape[-1])
    return spread(rng, shape), gamma, rng.standard_normal(shape[-1]), draw.pick("eps", (1e-5, 1e-3))


def statistics(x):
    """x (...,C) -> mean (C,), variance (C,) of each channel."""
    axes = tuple(range(x.ndim - 1))
    return x.mean(axes), x.var(axes)


def _batchnorm_backward(draw, rng):
    x, gamma, _, eps = _batchnorm(draw, rng)
    return rng.standard_normal(x.shape), x, gamma, *statistics(x), eps


def _given_statistics(rng, channels):
    return rng.standard_normal(channels), rng.uniform(0.2, 3, channels)


def _batchnorm_eval(draw, rng):
    x, gamma, beta, eps = _batchnorm(draw, rng)
    return x, gamma, beta, *_given_statistics(rng, x.shape[-1]), eps


def _batchnorm_eval_backward(draw, rng):
    x, gamma, _, eps = _batchnorm(draw, rng)
    return rng.standard_normal(x.shape), x, gamma, *_given_statistics(rng, x.shape[-1]), eps


def _maxpool(draw, rng):
    size, stride = draw("size", 1, 3), draw("stride", 1, 3)
    shape = _picture_shape(draw, lowest=size)
    ties = draw.pick("values", ("distinct", "ties")) == "ties"
    return rng.integers(-2, 2, shape) * 1.0 if ties else distinct(rng, shape), size, stride


def _maxpool_backward(draw, rng):
    x, size, stride = _maxpool(draw, rng)
    y, index = reference.maxpool_forward(x, size, stride)
    return rng.standard_normal(y.shape), index, x.shape, size, stride


def _global_avgpool(draw, rng):
    return (rng.standard_normal(_picture_shape(draw)),)


def _global_avgpool_backward(draw, rng):
    shape = _picture_shape(draw)
    return rng.standard_normal((shape[0], shape[3])), shape


def _dense(draw, rng):
    most = _limits(draw)
    x = rng.standard_normal((draw("N", 1, most["N"]), draw("D", 1, 2 * most["C"])))
    w = rng.standard_normal((x.shape[1], draw("K", 1, most["C"])))
    return x, w, rng.standard_normal(w.shape[1])


def _dense_backward(draw, rng):
    x, w, _ = _dense(draw, rng)
    return rng.standard_normal((len(x), w.shape[1])), x, w


def _dropout(draw, rng):
    x = rng.standard_normal(_any_shape(draw))
    p = draw.pick("p", (0.25, 0.5))
    return x, (rng.random(x.shape) >= p) / (1 - p)


def _softmax(draw, rng):
    most = _limits(draw)
    shape = draw("N", 1, most["N"]), draw("K", 1, most["C"])
    return (rng.standard_normal(shape) * draw.pick("scale", (1.0, 10.0)),)


def _softmax_cross_entropy(draw, rng):
    (z,) = _softmax(draw, rng)
    target = rng.integers(z.shape[1], size=len(z))
    if draw.pick("target", ("index", "soft")) == "soft":
        target = rng.dirichlet(np.ones(z.shape[1]), len(z))
    weights = rng.uniform(0.2, 3, z.shape[1]) if draw("weighted", 0, 1) else np.ones(z.shape[1])
    return z, target, weights, draw.pick("smoothing", (0.0, 0.1))


def _sgd_update(draw, rng):
    w, g, v = rng.standard_normal((3, draw("size", 1, 300)))
    momentum, nesterov = draw.pick("momentum", (0.0, 0.9)), bool(draw("nesterov", 0, 1))
    return w, g, v, 0.1, momentum, nesterov, draw.pick("decay", (0.0, 0.01))


def _adam_update(draw, rng):
    w, g, m = rng.standard_normal((3, draw("size", 1, 300)))
    v = rng.uniform(0.01, 2, w.shape)
    t, eps = draw("t", 1, 30), draw.pick("eps", (1e-8, 0.1))
    return w, g, m, v, t, 0.1, 0.9, 0.999, eps, draw.pick("decay", (0.0, 0.1))


_DRAWN = {
    "conv2d_forward": _conv2d, "conv2d_backward": _conv2d_backward,
    "relu_forward": _relu, "relu_backward": _relu_backward,
    "leaky_relu_forward": _leaky_relu, "leaky_relu_backward": _leaky_relu_backward,
    "batchnorm_forward": _batchnorm, "batchnorm_backward": _batchnorm_backward,
    "batchnorm_eval_forward": _batchnorm_eval, "batchnorm_eval_backward": _batchnorm_eval_backward,
    "maxpool_forward": _maxpool, "maxpool_backward": _maxpool_backward,
    "global_avgpool_forward": _global_avgpool, "global_avgpool_backward": _global_avgpool_backward,
    "dense_forward": _dense, "dense_backward": _dense_backward,
    "dropout_forward": _dropout, "dropout_backward": _dropout,
    "softmax": _softmax, "softmax_cross_entropy": _softmax_cross_entropy,
    "sgd_update": _sgd_update, "adam_update": _adam_update,
}  # fmt: skip
NAMES = tuple(_DRAWN)


# ------------------------------------------------------------------------------------------------ where cases come from


def make(op: str, choose: Callable[[str, int, int], int], dtype=np.float64) -> Case:
    """A case of `op`, with every size, layout and the seed chosen by `choose(name, low, high)`."""
    draw = Draw(choose)
    rng = np.random.default_rng(draw("seed", 0, 9999))
    args = Case(op, _DRAWN[op](draw, rng), draw.said).as_type(dtype).args
    layout = draw.pick("layout", LAYOUTS) if op not in IN_PLACE else "C"
    return Case(op, tuple(lay_out(a, layout) if isinstance(a, np.ndarray) else a for a in args), draw.said)


def strategy(op: str, dtype=np.float64):
    """Cases of `op` as a hypothesis strategy: a failing one is shrunk to few pictures, small maps, few channels."""
    from hypothesis import strategies  # here, because only tests and the gradient checker need it

    @strategies.composite
    def drawn(draw):
        return make(op, lambda name, low, high: draw(strategies.integers(low, high)), dtype)

    return drawn()


def at_random(op: str, seed: int, dtype=np.float64) -> Case:
    """Case number `seed` of `op`: the same one always."""
    rng = np.random.default_rng((seed, len(op)))
    return make(op, lambda name, low, high: int(rng.integers(low, high, endpoint=True)), dtype)


# A first look at a student's kernel goes from the simplest case up: one channel, then padding, strides, odd sizes.
_SMALL = (
    {"seed": 1, "N": 1, "H": 4, "W": 4, "C": 1, "K": 1, "D": 2, "size": 2, "stride": 1, "axes": 1, "t": 1},
    {"seed": 2, "N": 1, "H": 4, "W": 5, "C": 2, "K": 3, "D": 4, "kh": 2, "kw": 2, "pad": 1, "size": 2, "stride": 2,
     "axes": 1},
    {"seed": 3, "N": 2, "H": 5, "W": 7, "C": 3, "K": 4, "D": 5, "kh": 2, "kw": 2, "pad": 1, "size": 3, "stride": 2,
     "axes": 1, "smoothing": 1, "weighted": 1, "momentum": 1, "nesterov": 1, "decay": 1, "t": 3, "eps": 1,
     "values": 1},
    {"seed": 4, "N": 3, "H": 7, "W": 6, "C": 5, "K": 7, "D": 9, "kh": 2, "kw": 0, "stride": 1, "size": 3, "axes": 0,
     "target": 1, "momentum": 1, "t": 2},
)  # fmt: skip


def small(op: str, dtype=np.float32, seed: int = 0) -> list[Case]:
    """A few cases of `op`, from the simplest up: the first look at a student's kernel. Another seed, other numbers."""

    def chooser(given):
        return lambda name, low, high: min(high, max(low, given.get(name, 1 if name == "sizes" else 0)))

    return [make(op, chooser(given | {"seed": given["seed"] + seed}), dtype) for given in _SMALL]


def sized(op: str, n: int, side: int, channels: int, dtype=np.float32, seed: int = 0) -> Case:
    """A case of `op` as a network has it: n pictures of side x side x channels, 3x3 kernels with pad 1, 2x2 windows."""
    given = {"seed": seed, "N": n, "H": side, "W": side, "C": channels, "K": channels, "D": side * side * channels,
             "kh": 2, "kw": 2, "pad": 1, "stride": 2 if op.startswith("maxpool") else 1, "size": 2, "axes": 1,
             "sizes": 1, "momentum": 1, "nesterov": 1, "decay": 1}  # fmt: skip
    if op in IN_PLACE:
        given["size"] = n * side * side * channels
    return make(op, lambda name, low, high: given.get(name, low), dtype)


def work(op: str, args) -> int:
    """How much there is to do, in multiply-adds (convolution, dense) or values: a plain loop's time grows with it."""
    by_name = dict(zip(_ARGUMENTS[op], args, strict=True))
    if op.startswith("conv2d"):
        x, w = by_name["x"], by_name["w"]
        h, v = (reference.output_length(x.shape[1 + i], w.shape[i], by_name["stride"], by_name["pad"]) for i in (0, 1))
        return len(x) * h * v * w.size * (2 if op.endswith("backward") else 1)
    if op.startswith("dense"):
        return len(by_name["x"]) * by_name["w"].size * (2 if op.endswith("backward") else 1)
    shape = by_name.get("x_shape")
    return int(np.prod(shape)) if shape else max(a.size for a in args if isinstance(a, np.ndarray))


def arguments(op: str) -> tuple[str, ...]:
    """The names of the op's arguments, in order."""
    return _ARGUMENTS[op]


_ARGUMENTS = {op: tuple(inspect.signature(getattr(reference, op)).parameters) for op in NAMES}
