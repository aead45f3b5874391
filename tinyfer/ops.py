"""The switchboard: every op by name, with shapes checked and an implementation picked.

    ops.conv2d_forward(x, w)                       runs the fast kernel
    with ops.using(conv2d_forward=mine): ...       runs yours, everywhere, until the block ends
    with ops.using(ops.reference): ...             runs the readable reference throughout

An op here has the name and the order of arguments of its reference (`tinyfer.reference`), adds friendly defaults,
makes inputs contiguous and writable (a read-only array is another type to Numba and would be compiled for again),
refuses wrong shapes in one sentence, and hands over to the implementation of the moment."""

import contextlib
import inspect
import types
from collections.abc import Callable, Iterator

import numpy as np

from tinyfer import kernels, reference
from tinyfer.reference import output_length

NAMES = (
    "conv2d_forward", "conv2d_backward", "relu_forward", "relu_backward", "leaky_relu_forward", "leaky_relu_backward",
    "batchnorm_forward", "batchnorm_backward", "batchnorm_eval_forward", "batchnorm_eval_backward",
    "maxpool_forward", "maxpool_backward", "global_avgpool_forward", "global_avgpool_backward",
    "dense_forward", "dense_backward", "dropout_forward", "dropout_backward", "softmax", "softmax_cross_entropy",
    "sgd_update", "adam_update",
)

_stock = {name: getattr(kernels, name) for name in NAMES}
_current: dict[str, Callable] = dict(_stock)


def implementation(name: str) -> Callable:
    """The function that runs at this moment when `ops.<name>` is called."""
    return _current[name]


def overridden(*names: str) -> bool:
    """True when any of the named ops (of all ops, if none is named) is not the stock kernel at this moment."""
    return _current != _stock and any(_current[name] is not _stock[name] for name in names or NAMES)


@contextlib.contextmanager
def using(module: types.ModuleType | None = None, **functions: Callable) -> Iterator[None]:
    """Run other implementations inside a `with` block: keyword by keyword, or every op that `module` defines.

    The functions get the strict arguments of the reference (b and class_weight are always arrays). The choice holds
    for the whole process, so that a kernel plugged in by one thread is the one that the engine's thread runs."""
    if module is not None:
        functions = {name: getattr(module, name) for name in NAMES if hasattr(module, name)} | functions
    for name in functions:
        if name not in NAMES:
            raise ValueError(f"ops.using({name}=...): there is no op of that name; the ops are {', '.join(NAMES)}")
    before = dict(_current)
    _current.update(functions)
    try:
        yield
    finally:
        _current.update(before)


# ----------------------------------------------------------------------------------------------------- checking inputs


def _array(a, dtype=None) -> np.ndarray:
    """a as a C-contiguous, writable array (itself, wherever that is already so)."""
    return np.require(a, dtype, ["C", "W"])


def _expect(op: str, holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(f"{op}: {message}")


def _like(op: str, name: str, a, other_name: str, other) -> None:
    _expect(op, a.shape == other.shape,
            f"{name} has shape {a.shape}, expected {other.shape}, the shape of {other_name}")


def _rank(op: str, name: str, a, rank: int, axes: str) -> None:
    _expect(op, a.ndim == rank, f"{name} has shape {a.shape}, expected {rank} axes {axes}")
    _expect(op, a.size > 0, f"{name} is empty, shape {a.shape}; expected at least one picture and one channel")


def _channel_vectors(op: str, x, **vectors) -> None:
    for name, v in vectors.items():
        _expect(op, v.shape == x.shape[-1:],
                f"{name} has shape {v.shape}, expected {x.shape[-1:]}, one number a channel of x {x.shape}")


def _conv_output(op: str, x, w, stride: int, pad: int) -> tuple[int, ...]:
    _rank(op, "x", x, 4, "(N, H, W, C)")
    _rank(op, "w", w, 4, "(kh, kw, C_in, C_out)")
    _expect(op, x.shape[3] == w.shape[2],
            f"x {x.shape} has {x.shape[3]} channels but w {w.shape} takes {w.shape[2]}; channels come last")
    _expect(op, stride >= 1 and pad >= 0, f"stride {stride} and pad {pad}; expected stride >= 1 and pad >= 0")
    size = [output_length(x.shape[1 + axis], w.shape[axis], stride, pad) for axis in (0, 1)]
    _expect(op, min(size) >= 1,
            f"a {w.shape[0]}x{w.shape[1]} kernel does not fit a {x.shape[1]}x{x.shape[2]} picture with pad {pad}")
    return (x.shape[0], *size, w.shape[3])


def _pool_output(op: str, x_shape, size: int, stride: int) -> tuple[int, ...]:
    _expect(op, 1 <= size <= 15 and stride >= 1, f"size {size} and stride {stride}; expected size 1 to 15, stride >= 1")
    height, width = (output_length(length, size, stride, 0) for length in x_shape[1:3])
    _expect(op, min(height, width) >= 1,
            f"a {size}x{size} window does not fit a {x_shape[1]}x{x_shape[2]} picture; make the input larger")
    return (x_shape[0], height, width, x_shape[3])


# ------------------------------------------------------------------------------------------------------------- the ops


def conv2d_forward(x, w, b=None, stride=1, pad=0):
    op, x, w = "conv2d_forward", _array(x), _array(w)
    shape = _conv_output(op, x, w, stride, pad)
    b = np.zeros(shape[3], x.dtype) if b is None else _array(b)
    _expect(op, b.shape == shape[3:], f"b has shape {b.shape}, expected {shape[3:]}, one number an output channel")
    return _current[op](x, w, b, stride, pad)


def conv2d_backward(dy, x, w, stride=1, pad=0):
    op, dy, x, w = "conv2d_backward", _array(dy), _array(x), _array(w)
    shape = _conv_output(op, x, w, stride, pad)
    _expect(op, dy.shape == shape, f"dy has shape {dy.shape}, expected {shape}, the shape of the output")
    return _current[op](dy, x, w, stride, pad)


def relu_forward(x):
    return _current["relu_forward"](_array(x))


def relu_backward(dy, x):
    dy, x = _array(dy), _array(x)
    _like("relu_backward", "dy", dy, "x", x)
    return _current["relu_backward"](dy, x)


def leaky_relu_forward(x, slope=0.01):
    return _current["leaky_relu_forward"](_array(x), slope)


def leaky_relu_backward(dy, x, slope=0.01):
    dy, x = _array(dy), _array(x)
    _like("leaky_relu_backward", "dy", dy, "x", x)
    return _current["leaky_relu_backward"](dy, x, slope)


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    op, x, gamma, beta = "batchnorm_forward", _array(x), _array(gamma), _array(beta)
    _channel_vectors(op, x, gamma=gamma, beta=beta)
    _expect(op, x.size // max(1, x.shape[-1]) > 1,
            f"x {x.shape} has one value a channel: no variance to divide by; use a larger batch or evaluation mode")
    return _current[op](x, gamma, beta, eps)


def batchnorm_backward(dy, x, gamma, mean, var, eps=1e-5):
    op = "batchnorm_backward"
    dy, x, gamma, mean, var = map(_array, (dy, x, gamma, mean, var))
    _like(op, "dy", dy, "x", x)
    _channel_vectors(op, x, gamma=gamma, mean=mean, var=var)
    return _current[op](dy, x, gamma, mean, var, eps)


def batchnorm_eval_forward(x, gamma, beta, mean, var, eps=1e-5):
    op = "batchnorm_eval_forward"
    x, gamma, beta, mean, var = map(_array, (x, gamma, beta, mean, var))
    _channel_vectors(op, x, gamma=gamma, beta=beta, mean=mean, var=var)
    return _current[op](x, gamma, beta, mean, var, eps)


def batchnorm_eval_backward(dy, x, gamma, mean, var, eps=1e-5):
    op = "batchnorm_eval_backward"
    dy, x, gamma, mean, var = map(_array, (dy, x, gamma, mean, var))
    _like(op, "dy", dy, "x", x)
    _channel_vectors(op, x, gamma=gamma, mean=mean, var=var)
    return _current[op](dy, x, gamma, mean, var, eps)


def maxpool_forward(x, size=2, stride=None):
    op, x = "maxpool_forward", _array(x)
    _rank(op, "x", x, 4, "(N, H, W, C)")
    stride = size if stride is None else stride
    _pool_output(op, x.shape, size, stride)
    return _current[op](x, size, stride)


def maxpool_backward(dy, index, x_shape, size=2, stride=None):
    op, dy, index = "maxpool_backward", _array(dy), _array(index, np.uint8)
    stride = size if stride is None else stride
    shape = _pool_output(op, x_shape, size, stride)
    _expect(op, dy.shape == shape, f"dy has shape {dy.shape}, expected {shape}, the shape of the output")
    _like(op, "index", index, "dy", dy)
    _expect(op, index.max() < size * size, f"index holds {index.max()}, expected taps 0 to {size * size - 1}")
    return _current[op](dy, index, tuple(x_shape), size, stride)


def global_avgpool_forward(x):
    x = _array(x)
    _rank("global_avgpool_forward", "x", x, 4, "(N, H, W, C)")
    return _current["global_avgpool_forward"](x)


def global_avgpool_backward(dy, x_shape):
    op, dy = "global_avgpool_backward", _array(dy)
    _expect(op, dy.shape == (x_shape[0], x_shape[3]), f"dy has shape {dy.shape}, expected {(x_shape[0], x_shape[3])}")
    return _current[op](dy, tuple(x_shape))


def dense_forward(x, w, b=None):
    op, x, w = "dense_forward", _array(x), _array(w)
    b = np.zeros(w.shape[1:], x.dtype) if b is None else _array(b)
    _dense_shapes(op, x, w)
    _expect(op, b.shape == w.shape[1:], f"b has shape {b.shape}, expected {w.shape[1:]}, one number an output")
    return _current[op](x, w, b)


def dense_backward(dy, x, w):
    op, dy, x, w = "dense_backward", _array(dy), _array(x), _array(w)
    _dense_shapes(op, x, w)
    shape = (x.shape[0], w.shape[1])
    _expect(op, dy.shape == shape, f"dy has shape {dy.shape}, expected {shape}, the shape of the output")
    return _current[op](dy, x, w)


def _dense_shapes(op: str, x, w) -> None:
    _rank(op, "x", x, 2, "(N, D)")
    _rank(op, "w", w, 2, "(D_in, D_out)")
    _expect(op, x.shape[1] == w.shape[0], f"x {x.shape} has {x.shape[1]} features but w {w.shape} takes {w.shape[0]}")


def dropout_forward(x, mask):
    x, mask = _array(x), _array(mask)
    _like("dropout_forward", "mask", mask, "x", x)
    return _current["dropout_forward"](x, mask)


def dropout_backward(dy, mask):
    dy, mask = _array(dy), _array(mask)
    _like("dropout_backward", "mask", mask, "dy", dy)
    return _current["dropout_backward"](dy, mask)


def softmax(z):
    z = _array(z)
    _rank("softmax", "z", z, 2, "(N, K)")
    return _current["softmax"](z)


def softmax_cross_entropy(z, target, class_weight=None, label_smoothing=0.0):
    op, z, target = "softmax_cross_entropy", _array(z), np.asarray(target)
    _rank(op, "z", z, 2, "(N, K)")
    if target.ndim == 1:
        target = _array(target, np.int64)
        _expect(op, target.shape == z.shape[:1],
                f"target has shape {target.shape}, expected {z.shape[:1]}, one a row of z")
        _expect(op, 0 <= target.min() and target.max() < z.shape[1],
                f"target holds classes {target.min()} to {target.max()}, expected 0 to {z.shape[1] - 1}")
    else:
        target = _array(target, z.dtype)
        _like(op, "target", target, "z", z)
    class_weight = np.ones(z.shape[1], z.dtype) if class_weight is None else _array(class_weight, z.dtype)
    _expect(op, class_weight.shape == z.shape[1:],
            f"class_weight has shape {class_weight.shape}, expected {z.shape[1:]}")
    return _current[op](z, target, class_weight, label_smoothing)


def sgd_update(w, g, v, lr, momentum=0.9, nesterov=True, weight_decay=0.0):
    _like("sgd_update", "g", g, "w", w)
    _like("sgd_update", "v", v, "w", w)
    _current["sgd_update"](w, g, v, lr, momentum, nesterov, weight_decay)


def adam_update(w, g, m, v, t, lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    for name, a in (("g", g), ("m", m), ("v", v)):
        _like("adam_update", name, a, "w", w)
    _expect("adam_update", t >= 1, f"t is {t}; steps are counted from 1")
    _current["adam_update"](w, g, m, v, t, lr, b1, b2, eps, weight_decay)


for _name in NAMES:  # an op's documentation is its specification
    globals()[_name].__doc__ = inspect.getdoc(getattr(reference, _name))
