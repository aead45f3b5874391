"""Proof that gradients are right: against finite differences, against the adjoint, op by op.

    numeric_gradient(f, x)                 slopes by central differences
    check_vjp(forward, backward, x, ...)   any pair of functions: dx = J^T dy for a random dy
    adjoint_gap(A, AT, x, dy)              <dy, A x> = <A^T dy, x>: for linear functions the strongest test
    verify(op, case)                       one op of `ops` on one case, by all that applies
    prove(op)                              the same on many cases: what the tests run, and this program

The gradient from above is always random: with ones, `y.sum()`, four of five broken batch norms would pass, and so would
one that returns zeros. All in float64, where central differences with eps = 1e-5 are good to about nine digits.

    python -m tinyfer.gradcheck [--use FILE] [op ...]"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from tinyfer import cases, explain, machine, ops, reference
from tinyfer.errors import UserError
from tinyfer.lookalikes import lookalikes, named_sizes
from tinyfer.seeds import generator

EPS, RTOL, ATOL = 1e-5, 1e-5, 1e-7  # step of the differences; |error| <= ATOL + RTOL * |expected|
VALUE_RTOL = 1e-10  # a float64 result against the reference's, relative to its largest value
ADJOINT_RTOL = 1e-12  # two float64 sums of the same products, rounded differently
ALL_ENTRIES = 128  # arrays up to this size are differentiated by each entry, larger ones along random directions


class GradientError(AssertionError):
    """A gradient or value is wrong; the message says where, by how much and what it looks like."""


# ------------------------------------------------------------------------------------------------------------ the tools


def numeric_gradient(f: Callable, x: np.ndarray, eps: float = EPS, dy=None) -> np.ndarray:
    """Gradient of f at x by central differences: (f(x + eps) - f(x - eps)) / (2 eps) for each entry; shape of x.

    f(x) answers a number; with dy it may answer an array of dy's shape, and the gradient is that of sum(dy * f(x))."""
    x = np.array(x, np.float64)
    slope = np.empty_like(x)
    for i in np.ndindex(x.shape):
        middle = x[i]
        x[i] = middle + eps
        above = np.array(f(x))
        x[i] = middle - eps
        rise = above - f(x)
        x[i] = middle
        slope[i] = (rise if dy is None else (dy * rise).sum()) / (2 * eps)
    return slope


def directional_derivative(f: Callable, x: np.ndarray, v: np.ndarray, dy, eps: float = EPS) -> float:
    """Slope of sum(dy * f(x)) along v by central differences: two calls of f, however large x is."""
    return float((dy * (f(x + eps * v) - f(x - eps * v))).sum() / (2 * eps))


def adjoint_gap(A: Callable, AT: Callable, x: np.ndarray, dy: np.ndarray) -> float:
    """|<dy, A(x)> - <AT(dy), x>| relative to the size of the summands: about 1e-16 when AT is A's adjoint."""
    up, down = dy * A(x), AT(dy) * x
    return float(abs(up.sum() - down.sum()) / max(np.abs(up).sum(), np.abs(down).sum(), np.finfo(float).tiny))


def check_vjp(forward: Callable, backward: Callable, *inputs, rng=None, names=None) -> float:
    """Hold backward(dy, *inputs) -> gradients to central differences of forward(*inputs) -> y, each input on its own.

    dy is random. A GradientError says which gradient is off and what it looks like. The answer is the largest error, as
    |error| / (|expected| + ATOL/RTOL), of which RTOL is the limit."""
    rng = generator(0, "check_vjp") if rng is None else rng
    inputs = tuple(np.array(x, np.float64) for x in inputs)
    dy = rng.standard_normal(np.shape(forward(*inputs)))
    gradients = backward(dy, *inputs)
    gradients = gradients if isinstance(gradients, tuple | list) else (gradients,)
    names = names or [f"the gradient of input {i}" for i in range(len(inputs))]
    if len(gradients) != len(inputs):
        raise GradientError(f"{len(gradients)} gradients came back, expected {len(inputs)}: {', '.join(names)}")

    def along(i):
        return lambda x: forward(*inputs[:i], x, *inputs[i + 1 :])

    checks = zip(inputs, gradients, names, strict=True)
    return max(check_gradient(along(i), x, g, dy, rng, name) for i, (x, g, name) in enumerate(checks))


def check_gradient(f: Callable, x, gradient, dy, rng, name="the gradient") -> float:
    """Hold one gradient of sum(dy * f(x)) to central differences: by every entry of a small x, along random directions
    of a large one. Answers the largest error as `check_vjp` does, or raises a GradientError."""
    _expect_like(x, gradient, name)
    if x.size <= ALL_ENTRIES:
        expected, actual = numeric_gradient(f, x, dy=dy), gradient
    else:
        directions = rng.standard_normal((2, *x.shape))
        expected = np.array([directional_derivative(f, x, v, dy) for v in directions])
        actual = np.array([(gradient * v).sum() for v in directions])
    with np.errstate(invalid="ignore"):
        error = float((np.abs(actual - expected) / (np.abs(expected) + ATOL / RTOL)).max(initial=0))
    if not error <= RTOL:
        raise GradientError(_describe(f"{name} is not the gradient", expected, actual))
    return error


def _expect_like(expected, actual, name) -> None:
    """Raise GradientError unless actual has the type, shape and dtype of expected."""
    fault = explain.shape_fault(np.asarray(expected), actual)
    if fault:
        raise GradientError(f"{name}: {fault}")


def _describe(what, expected, actual, **hints) -> str:
    place, wanted, given = explain.excerpt(expected, actual)
    looks = explain.explain_mismatch(expected, actual, **hints)
    return f"{what}: expected {place} {wanted}; it is {given}" + (f"\n  looks like: {looks}" if looks else "")


# --------------------------------------------------------------------------------------------------- one op on one case


def _some(shape):
    return generator(0, "input").standard_normal(shape)


def _winners(index, size, stride):
    """x -> the pixel of each window that `index` names: max-pooling as long as no other pixel overtakes the winner."""
    n, p, q, c = np.indices(index.shape, sparse=True)
    return lambda x: x[n, p * stride + index // size, q * stride + index % size, c]


# For every op that is a gradient: its arguments (without dy) -> the inputs to differentiate by, and a function of them.
# That is the reference's, so that a wrong forward kernel is blamed in its own line and not in its gradient's.
_DIFFERENTIATED: dict[str, Callable] = {
    "conv2d_backward": lambda x, w, stride, pad: (
        (x, w, _some(w.shape[3])), lambda x, w, b: reference.conv2d_forward(x, w, b, stride, pad)),
    "relu_backward": lambda x: ((x,), reference.relu_forward),
    "leaky_relu_backward": lambda x, slope: ((x,), lambda x: reference.leaky_relu_forward(x, slope)),
    "batchnorm_backward": lambda x, gamma, mean, var, eps: (
        (x, gamma, _some(gamma.shape)), lambda x, g, b: reference.batchnorm_forward(x, g, b, eps)[0]),
    "batchnorm_eval_backward": lambda x, gamma, mean, var, eps: (
        (x, gamma, _some(gamma.shape)), lambda x, g, b: reference.batchnorm_eval_forward(x, g, b, mean, var, eps)),
    "maxpool_backward": lambda index, x_shape, size, stride: ((_some(x_shape),), _winners(index, size, stride)),
    "global_avgpool_backward": lambda x_shape: ((_some(x_shape),), reference.global_avgpool_forward),
    "dense_backward": lambda x, w: ((x, w, _some(w.shape[1])), reference.dense_forward),
    "dropout_backward": lambda mask: ((_some(mask.shape),), lambda x: reference.dropout_forward(x, mask)),
}  # fmt: skip
_NOT_LINEAR = ("batchnorm_backward",)  # all others are, in each input, linear, affine, or (ReLU) homogeneous


def verify(op: str, case: cases.Case) -> float:
    """Check `ops.<op>`, whatever implementation it runs now, on one float64 case; answer the largest relative error.

    Every result is held to the reference's; gradients also to central differences of the reference's forward and, where
    that is linear, to its adjoint. A GradientError says what is wrong and what it looks like."""
    try:
        error = _verify_values(op, case)
        if op in _DIFFERENTIATED:
            error = max(error, _verify_gradient(op, case))
        if op == "softmax_cross_entropy":
            z, *rest = case.copies()
            dz = ops.softmax_cross_entropy(z, *rest)[1]
            rng = generator(case.said["seed"], "directions")
            loss = lambda z: reference.softmax_cross_entropy(z, *rest)[0]  # noqa: E731
            error = max(error, check_gradient(loss, z, dz, 1.0, rng, "dz"))
        return error
    except GradientError as failure:
        raise GradientError(f"{case}\n  {failure}") from None


def _verify_values(op, case) -> float:
    args = case.copies()
    expected = cases.outputs(op, getattr(reference, op), args)
    actual = cases.outputs(op, getattr(ops, op), case.args)
    names = cases.OUTPUTS[op]
    if len(actual) != len(expected):
        raise GradientError(f"{op} gives {len(actual)} results, expected {len(expected)}: {', '.join(names)}")
    worst = 0.0
    for output, name in enumerate(names):
        e, a = np.asarray(expected[output]), actual[output]
        _expect_like(e, a, name)
        a = np.asarray(a)
        gap = float(np.abs(a - e.astype(np.float64)).max(initial=0) / max(np.abs(e).max(initial=0), 1e-3))
        if not gap <= VALUE_RTOL:
            hints = {"sizes": named_sizes(op, args), "lookalikes": lookalikes(op, args)[output]}
            raise GradientError(_describe(f"{name} differs from the reference", e, a, **hints))
        worst = max(worst, gap)
    return worst


def _verify_gradient(op, case) -> float:
    _, *rest = case.copies()
    inputs, forward = _DIFFERENTIATED[op](*rest)
    rng = generator(case.said["seed"], "upstream")

    def backward(dy, *_):
        return getattr(ops, op)(dy, *rest)

    error = check_vjp(forward, backward, *inputs, rng=rng, names=cases.OUTPUTS[op])
    for i in range(0 if op in _NOT_LINEAR else len(inputs)):
        _verify_adjoint(op, forward, backward, inputs, i, rng)
    return error


def _verify_adjoint(op, forward, backward, inputs, i, rng) -> None:
    """Hold gradient number i of a function that is linear or affine in input i to that function: <dy, Ax> = <dx, x>."""

    def along(v):
        return forward(*inputs[:i], v, *inputs[i + 1 :])

    origin = along(np.zeros_like(inputs[i]))
    dy = rng.standard_normal(origin.shape)
    gradient = cases.outputs(op, backward, (dy,))[i]
    gap = adjoint_gap(lambda v: along(v) - origin, lambda _: gradient, inputs[i], dy)
    if not gap <= ADJOINT_RTOL:
        name = cases.OUTPUTS[op][i]
        raise GradientError(f"{name} is not the adjoint: <dy, A x> and <{name}, x> differ by {gap:.1e} of their size")


# ------------------------------------------------------------------------------------------------- one op on many cases


def prove(op: str, check: Callable[[str, cases.Case], float] = verify, dtype=np.float64) -> tuple[int, float]:
    """Run check(op, case) on many cases of `op`; answer how many and the largest error, or raise what check raises.

    First come the few written cases, where a mistake is told best; then a fixed list drawn evenly, because hypothesis
    likes small sizes and repeats itself; then hypothesis, under its current profile, which shrinks a failing case."""
    errors = []

    def one(case):
        errors.append(check(op, case))

    for case in cases.small(op, dtype):
        one(case)
    for seed in range(cases.EXAMPLES):
        one(cases.at_random(op, seed, dtype))
    given = _hypothesis("given")
    if given is not None:
        given(cases.strategy(op, dtype))(one)()
    return len(errors), max(errors)


def _hypothesis(name: str):
    try:
        import hypothesis
    except ImportError:
        return None
    return getattr(hypothesis, name)


# ---------------------------------------------------------------------------------------------------------- the program


def main(arguments=None) -> int:
    """Prove the named ops, or all, or those of --use FILE; print a table. Exit status 0 right, 1 wrong, 2 bad input."""
    parser = argparse.ArgumentParser("python -m tinyfer.gradcheck", description="Prove values and gradients, op by op.")
    parser.add_argument("ops", nargs="*", metavar="op", help="ops to check (default: all, or those that FILE defines)")
    parser.add_argument("--use", metavar="FILE", help="check the functions of this Python file in place of ours")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except UserError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _run(options) -> int:
    from tinyfer import userkernels

    for name in options.ops:
        if name not in ops.NAMES:
            raise UserError(f"there is no op {name!r}; the ops are {', '.join(ops.NAMES)}")
    functions = userkernels.load(options.use, check=False) if options.use else {}
    for note in getattr(functions, "notes", ()):
        print(note)
    machine.tell_of_compiling()
    if _hypothesis("given") is None:
        print("hypothesis is not installed, so only a fixed list of cases is drawn; for more, and failing ones shrunk "
              "to the smallest: python tools/setup.py test (or pip install hypothesis)")  # fmt: skip
    else:
        _hypothesis("settings").register_profile("gradcheck", **cases.SETTINGS, derandomize=True, database=None)
        _hypothesis("settings").load_profile("gradcheck")
    with ops.using(**functions):
        return _table(options.ops or tuple(functions) or ops.NAMES)


def _table(names) -> int:
    print(f"{'op':<26}{'cases':>7}{'largest error':>16}   verdict")
    failures, started = [], time.perf_counter()
    for op in names:
        try:
            count, error = prove(op)
        except Exception as raised:
            failures.append((op, raised))
            print(f"{op:<26}{'':>7}{'':>16}   WRONG", flush=True)
        else:
            print(f"{op:<26}{count:>7}{error:>16.1e}   ok", flush=True)
    seconds = time.perf_counter() - started
    for op, failure in failures:
        print(f"\n{op}\n  {_told(failure)}")
    limits = f"limits: {RTOL:.0e} against central differences, {VALUE_RTOL:.0e} against the reference"
    print(f"\n{len(names) - len(failures)} of {len(names)} ops right in {seconds:.0f} s   ({limits})")
    return 1 if failures else 0


def _told(failure: Exception) -> str:
    """A failed check's message; for an exception inside a kernel its kind and the line that raised it."""
    if isinstance(failure, GradientError):
        return str(failure)
    trace = failure.__traceback__
    assert trace is not None  # it was raised
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(failure).__name__} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}: {failure}"


if __name__ == "__main__":
    sys.exit(main())
