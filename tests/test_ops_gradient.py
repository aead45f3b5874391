"""Values, gradients and adjoints in float64, on cases drawn for every op: the checks of `python -m tinyfer.gradcheck`
themselves; and the reference itself against the definitions it is written from."""

import numpy as np
import pytest

from tinyfer import cases, gradcheck, ops, reference


@pytest.mark.parametrize("op", ops.NAMES)
def test_values_and_gradients(op):
    count, _ = gradcheck.prove(op)
    assert count > 0


def linear_pairs(op, case):
    """For a linear op's gradient: (input, forward through `ops`, which result is its adjoint)."""
    args = case.copies()
    if op == "conv2d_backward":
        _, x, w, stride, pad = args
        yield x, lambda v: ops.conv2d_forward(v, w, None, stride, pad), 0
        yield w, lambda v: ops.conv2d_forward(x, v, None, stride, pad), 1
    elif op == "dense_backward":
        _, x, w = args
        yield x, lambda v: ops.dense_forward(v, w), 0
        yield w, lambda v: ops.dense_forward(x, v), 1
    elif op == "batchnorm_eval_backward":
        _, x, gamma, mean, var, eps = args
        zero = np.zeros_like(mean)
        yield x, lambda v: ops.batchnorm_eval_forward(v, gamma, zero, zero, var, eps), 0
    elif op == "maxpool_backward":
        _, index, shape, size, stride = args
        x = np.random.default_rng(0).standard_normal(shape).astype(args[0].dtype)
        taken = index[..., None]  # the pixels that index names, as if they were the maxima: linear in x
        yield x, lambda v: np.take_along_axis(windows(v, size, stride, index.shape), taken, -1)[..., 0], 0
    elif op == "global_avgpool_backward":
        yield np.random.default_rng(0).standard_normal(args[1]).astype(args[0].dtype), ops.global_avgpool_forward, 0
    elif op == "dropout_backward":
        dy, mask = args
        yield dy[::-1].copy(), lambda v: ops.dropout_forward(v, mask), 0


def windows(x, size, stride, shape):
    """x (N,H,W,C) -> (N,H',W',C,size*size): all pixels of each window, written as plainly as can be."""
    seen = np.empty((*shape, size * size), x.dtype)
    for p, q, i, j in np.ndindex(*shape[1:3], size, size):
        seen[:, p, q, :, i * size + j] = x[:, p * stride + i, q * stride + j]
    return seen


LINEAR = ("conv2d_backward", "dense_backward", "batchnorm_eval_backward", "maxpool_backward", "global_avgpool_backward",
          "dropout_backward")  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("op", LINEAR)
def test_backward_is_the_adjoint_of_the_forward_kernel(op, dtype):
    def check(op, case):
        dy, *rest = case.args
        worst = 0.0
        for x, forward, i in linear_pairs(op, case):
            gradient = cases.outputs(op, getattr(ops, op), (dy, *rest))[i]
            exact = [a.astype(np.float64) for a in (dy, forward(x), gradient, x)]
            gap = gradcheck.adjoint_gap(lambda _: exact[1], lambda _: exact[2], exact[3], exact[0])  # noqa: B023
            worst = max(worst, gap)
        assert worst <= (1e-12 if dtype is np.float64 else 4 * np.finfo(np.float32).eps), case
        return worst

    gradcheck.prove(op, check, dtype)


@pytest.mark.parametrize("op", ["relu", "leaky_relu", "maxpool"])
def test_euler_for_what_is_homogeneous(op):
    """f(t x) = t f(x) for t > 0, so <dy, f(x)> = <J^T dy, x>: forward and backward kernel held to each other."""

    def check(_, case):
        y = cases.outputs(f"{op}_forward", getattr(ops, f"{op}_forward"), case.args)
        dy = np.random.default_rng(1).standard_normal(y[0].shape)
        x, *rest = case.args
        args = (dy, y[1], x.shape, *rest) if op == "maxpool" else (dy, x, *rest)
        gap = gradcheck.adjoint_gap(lambda _: y[0], lambda _: getattr(ops, f"{op}_backward")(*args), x, dy)
        assert gap <= 1e-12, case
        return gap

    gradcheck.prove(f"{op}_forward", check)


def test_reference_convolution_is_the_definition():
    """Six loops and no thought, against the reference: kernels of every parity, strides, pads, odd sizes."""

    def check(_, case):
        x, w, b, stride, pad = case.args
        y = reference.conv2d_forward(x, w, b, stride, pad)
        for n, p, q in np.ndindex(y.shape[:3]):
            total = b.copy()
            for i, j in np.ndindex(w.shape[:2]):
                row, column = p * stride + i - pad, q * stride + j - pad
                if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                    total += x[n, row, column] @ w[i, j]
            np.testing.assert_allclose(y[n, p, q], total, rtol=1e-12, atol=1e-12)
        return 0.0

    gradcheck.prove("conv2d_forward", check)


def test_reference_maxpool_is_the_definition():
    def check(_, case):
        x, size, stride = case.args
        y, index = reference.maxpool_forward(x, size, stride)
        seen = windows(x, size, stride, y.shape)
        assert np.array_equal(seen.max(-1), y) and np.array_equal(seen.argmax(-1), index)
        return 0.0

    gradcheck.prove("maxpool_forward", check)


def test_reference_cross_entropy_is_the_definition():
    z, weight = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), np.array([1.0, 1.0, 2.0])
    loss, dz = reference.softmax_cross_entropy(z, np.array([2, 0]), weight, 0.0)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert loss == pytest.approx((2 * -np.log(p[0, 2]) + 1 * -np.log(p[1, 0])) / 3)
    np.testing.assert_allclose(dz, (p - np.eye(3)[[2, 0]]) * [[2 / 3], [1 / 3]])


def test_reference_updates_by_hand():
    w, v = np.array([1.0]), np.array([0.5])
    reference.sgd_update(w, np.array([2.0]), v, 0.1, 0.9, False, 0.01)
    assert v[0] == pytest.approx(0.9 * 0.5 + 2.01) and w[0] == pytest.approx(1 - 0.1 * (0.45 + 2.01))
    reference.sgd_update(w := np.array([1.0]), np.array([2.0]), v := np.array([0.5]), 0.1, 0.9, True, 0.0)
    assert w[0] == pytest.approx(1 - 0.1 * (2 + 0.9 * (0.45 + 2)))
    w, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    reference.adam_update(w, np.array([4.0]), m, v, 1, 0.1, 0.9, 0.999, 1e-8, 0.5)
    assert w[0] == pytest.approx(1 - 0.1 * (1 + 0.5 * 1))  # the first step has size lr, whatever g's
