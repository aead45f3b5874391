"""The places where kernels usually go wrong, each with its right answer: kinks, ties, odd sizes, tiny batches,
constants, offsets, NaN, and inputs that must be refused in one sentence."""

import warnings

import numpy as np
import pytest

from tinyfer import cases, gradcheck, ops, reference

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def rng(seed=0):
    return np.random.default_rng(seed)


# --------------------------------------------------------------------------------------------------- kinks, ties, edges


@DTYPES
def test_relu_at_zero_has_gradient_zero(dtype):
    x = np.array([[-1.0, -0.0, 0.0, 2.0]], dtype)
    dy = np.full_like(x, 3)
    assert np.array_equal(ops.relu_forward(x), [[0, 0, 0, 2]])
    assert np.array_equal(ops.relu_backward(dy, x), [[0, 0, 0, 3]])
    assert np.array_equal(ops.leaky_relu_backward(dy, x, 0.5), [[1.5, 1.5, 1.5, 3]])


@DTYPES
def test_maxpool_gives_ties_to_the_first(dtype):
    y, index = ops.maxpool_forward(np.full((2, 6, 6, 3), 5, dtype), 3, 3)
    assert (y == 5).all() and (index == 0).all()
    x = np.zeros((1, 2, 2, 1), dtype)
    x[0, 0, 1, 0] = x[0, 1, 0, 0] = 1
    assert ops.maxpool_forward(x, 2)[1].item() == 1
    dx = ops.maxpool_backward(np.ones((1, 1, 1, 1), dtype), ops.maxpool_forward(x, 2)[1], x.shape, 2)
    assert np.array_equal(dx[0, :, :, 0], [[0, 1], [0, 0]])


@DTYPES
def test_maxpool_of_negative_values_is_not_cut_at_zero(dtype):
    x = -1 - rng().random((2, 5, 5, 3)).astype(dtype)
    y, _ = ops.maxpool_forward(x, 2)
    assert (y < 0).all() and np.array_equal(y, reference.maxpool_forward(x, 2, 2)[0])


@DTYPES
def test_maxpool_drops_odd_rows_and_gives_them_no_gradient(dtype):
    x = rng().standard_normal((2, 7, 5, 3)).astype(dtype)
    y, index = ops.maxpool_forward(x, 2)
    assert y.shape == (2, 3, 2, 3)
    dx = ops.maxpool_backward(np.ones_like(y), index, x.shape, 2)
    assert not dx[:, 6].any() and not dx[:, :, 4].any() and dx.sum() == y.size


def test_maxpool_gradient_by_differences_through_both_kernels():
    """On a permutation every window has one winner; overlapping windows share it."""
    def backward(dy, x):
        return ops.maxpool_backward(dy, ops.maxpool_forward(x, *window)[1], x.shape, *window)

    for window in ((2, 2), (3, 2), (3, 1), (2, 3)):
        x = cases.distinct(rng(), (2, 7, 6, 3))
        gradcheck.check_vjp(lambda x: ops.maxpool_forward(x, *window)[0], backward, x)  # noqa: B023


@DTYPES
def test_convolution_of_a_delta_is_the_kernel(dtype):
    w = rng().standard_normal((3, 5, 2, 4)).astype(dtype)
    x = np.zeros((1, 7, 9, 2), dtype)
    x[0, 3, 4, 1] = 1
    y = ops.conv2d_forward(x, w, pad=0)
    assert np.array_equal(y[0, 1:4, 0:5], w[::-1, ::-1, 1])  # cross-correlation shows a point turned by 180 degrees
    assert np.count_nonzero(y) == w[:, :, 1].size


@DTYPES
def test_picture_smaller_than_the_kernel(dtype):
    x, w = rng().standard_normal((2, 1, 2, 3)).astype(dtype), rng(1).standard_normal((5, 5, 3, 4)).astype(dtype)
    y = ops.conv2d_forward(x, w, pad=2)
    np.testing.assert_allclose(y, reference.conv2d_forward(x, w, np.zeros(4, dtype), 1, 2), rtol=2e-5, atol=1e-5)


@DTYPES
def test_dropout_uses_the_mask_it_is_given_both_ways(dtype):
    x, dy = rng().standard_normal((2, 3, 4, 5, 6)).astype(dtype)
    mask = ((rng(1).random(x.shape) > 0.5) * 2).astype(dtype)
    assert np.array_equal(ops.dropout_forward(x, mask), x * mask)
    assert np.array_equal(ops.dropout_backward(dy, mask), dy * mask)


# ----------------------------------------------------------------------------------------------------- batch statistics


@DTYPES
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, -33.3, 1e4])
def test_constant_channel_becomes_beta(dtype, value):
    x = np.full((4, 6, 7, 3), value, dtype)
    x[..., 1] = rng().standard_normal((4, 6, 7))
    gamma, beta = np.array([2, 1, -3], dtype), np.array([0.5, 0, -1], dtype)
    y, mean, var = ops.batchnorm_forward(x, gamma, beta)
    constant = [0, 2]
    assert np.array_equal(mean[constant], x[0, 0, 0, constant]) and (var[constant] == 0).all()
    assert (y[..., constant] == beta[constant]).all()
    gradients = ops.batchnorm_backward(rng(1).standard_normal(x.shape).astype(dtype), x, gamma, mean, var)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("rows", [2, 100, 513, 5000, 70000])
def test_statistics_far_from_zero(rows):
    """N(1000, 1) in float32: squares summed naively lose the variance altogether."""
    x = (1000 + rng().standard_normal((rows, 5))).astype(np.float32)
    y, mean, var = ops.batchnorm_forward(x, np.ones(5, np.float32), np.zeros(5, np.float32))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-5)
    expected = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=8 * np.finfo(np.float32).eps * 1000 / np.sqrt(exact.var(0).min()))


def test_variance_is_the_biased_one():
    x = np.array([[1.0], [3.0]], np.float32)
    _, mean, var = ops.batchnorm_forward(x, np.ones(1, np.float32), np.zeros(1, np.float32))
    assert mean.item() == 2 and var.item() == 1


def test_pixels_and_rows_are_the_same_to_batch_norm():
    x = rng().standard_normal((3, 4, 5, 6)).astype(np.float32)
    gamma, beta = rng(1).standard_normal((2, 6)).astype(np.float32)
    flat = ops.batchnorm_forward(x.reshape(-1, 6), gamma, beta)
    y, mean, var = ops.batchnorm_forward(x, gamma, beta)
    for a, b in zip(flat, (y.reshape(-1, 6), mean, var), strict=True):
        assert np.array_equal(a, b)


# -------------------------------------------------------------------------------------------------------------- softmax


@DTYPES
def test_logits_of_ten_thousand(dtype):
    z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, dz = ops.softmax_cross_entropy(z, np.array([0, 2]))
        p = ops.softmax(z)
    assert loss == pytest.approx(np.log(3) / 2, rel=1e-6)
    np.testing.assert_allclose(p, [[1, 0, 0], [1 / 3] * 3], rtol=1e-6)
    np.testing.assert_allclose(dz, [[0, 0, 0], [1 / 6, 1 / 6, -1 / 3]], rtol=1e-5, atol=1e-7)


def test_a_common_shift_of_the_logits_changes_nothing():
    z = rng().integers(-5, 5, (4, 7)).astype(np.float32)
    assert np.array_equal(ops.softmax(z), ops.softmax(z + 64))


def test_uniform_logits_lose_ln_7_and_rows_add_up():
    loss, dz = ops.softmax_cross_entropy(np.zeros((5, 7), np.float32), np.arange(5))
    assert loss == pytest.approx(np.log(7), rel=1e-6)
    np.testing.assert_allclose(dz.sum(1), 0, atol=1e-7)
    np.testing.assert_allclose(ops.softmax(rng().standard_normal((9, 7)).astype(np.float32)).sum(1), 1, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------------ NaN

# No padding: what a NaN times a padded zero gives is left open (the reference multiplies, a kernel may leave it out).
NAN_CASES = {op: case for op in ops.NAMES for case in [cases.sized(op, 3, 6, 5)]}


def with_nan(op, position):
    """The op's arguments with one NaN in the argument at `position`."""
    args = NAN_CASES[op].copies()
    if op.startswith("conv2d"):
        args[-1] = 0
        if op.endswith("backward"):
            args[0] = args[0][:, 1:-1, 1:-1].copy()
    args[position].flat[args[position].size // 2] = np.nan
    return args


FLOATS = [(op, i) for op in ops.NAMES for i, a in enumerate(NAN_CASES[op].args)
          if isinstance(a, np.ndarray) and a.dtype == np.float32]  # fmt: skip


@pytest.mark.parametrize("op, position", FLOATS)
def test_a_nan_is_seen_where_the_reference_shows_it(op, position):
    args = with_nan(op, position)
    with np.errstate(invalid="ignore"):
        expected = cases.outputs(op, getattr(reference, op), with_nan(op, position))
        actual = cases.outputs(op, getattr(ops, op), args)
    name = cases.arguments(op)[position]
    gates = ("relu_backward", "leaky_relu_backward")  # x only decides there, and lets dy pass
    assert any(np.isnan(e).any() for e in expected) or (op in gates and name == "x"), "the reference hides it"
    for output, e, a in zip(cases.OUTPUTS[op], expected, actual, strict=True):
        assert np.array_equal(np.isnan(e), np.isnan(a)), f"NaN in {name}: {output} has it elsewhere"


def test_a_nan_reaches_the_loss():
    x = rng().standard_normal((4, 8, 8, 3)).astype(np.float32)
    x[1, 3, 3, 1] = np.nan
    h = ops.conv2d_forward(x, rng(1).standard_normal((3, 3, 3, 7)).astype(np.float32), pad=1)
    h, _, _ = ops.batchnorm_forward(h, np.ones(7, np.float32), np.zeros(7, np.float32))
    h, _ = ops.maxpool_forward(ops.relu_forward(h), 2)
    loss, dz = ops.softmax_cross_entropy(ops.global_avgpool_forward(h), np.arange(4))
    assert np.isnan(loss) and np.isnan(dz).any()


def test_maxpool_keeps_the_first_nan_wherever_it_stands():
    for place in range(4):
        x = rng().standard_normal((1, 2, 2, 1)).astype(np.float32)
        x.flat[place:] = np.nan
        y, index = ops.maxpool_forward(x, 2)
        assert np.isnan(y).all() and index.item() == place


# ------------------------------------------------------------------------------------------------------- refused inputs

F = np.float32
X, W, V = np.ones((2, 5, 5, 3), F), np.ones((3, 3, 3, 4), F), np.ones(3, F)
REFUSED = {
    "empty batch, convolution": lambda: ops.conv2d_forward(X[:0], W),
    "empty batch, convolution backward": lambda: ops.conv2d_backward(np.ones((0, 3, 3, 4), F), X[:0], W),
    "empty batch, dense": lambda: ops.dense_forward(np.ones((0, 3), F), np.ones((3, 2), F)),
    "empty batch, max-pool": lambda: ops.maxpool_forward(X[:0]),
    "empty batch, average pool": lambda: ops.global_avgpool_forward(X[:0]),
    "empty batch, batch norm": lambda: ops.batchnorm_forward(X[:0], V, V),
    "empty batch, softmax": lambda: ops.softmax(np.ones((0, 7), F)),
    "empty batch, loss": lambda: ops.softmax_cross_entropy(np.ones((0, 7), F), np.zeros(0, int)),
    "channels first": lambda: ops.conv2d_forward(X.transpose(0, 3, 1, 2), W),
    "three axes": lambda: ops.conv2d_forward(X[0], W),
    "bias of another length": lambda: ops.conv2d_forward(X, W, V),
    "kernel larger than the picture": lambda: ops.conv2d_forward(X[:, :2], W),
    "stride 0": lambda: ops.conv2d_forward(X, W, stride=0),
    "negative pad": lambda: ops.conv2d_forward(X, W, pad=-1),
    "dy of another shape, convolution": lambda: ops.conv2d_backward(X, X, W),
    "dy of another shape, relu": lambda: ops.relu_backward(X[:1], X),
    "dy of another shape, leaky relu": lambda: ops.leaky_relu_backward(X[:1], X),
    "dy of another shape, batch norm": lambda: ops.batchnorm_backward(X[:1], X, V, V, V),
    "dy of another shape, frozen batch norm": lambda: ops.batchnorm_eval_backward(X[:1], X, V, V, V),
    "dy of another shape, dense": lambda: ops.dense_backward(V[None], np.ones((1, 5), F), np.ones((5, 4), F)),
    "dy of another shape, average pool": lambda: ops.global_avgpool_backward(np.ones((2, 4), F), X.shape),
    "dy of another shape, max-pool": lambda: ops.maxpool_backward(X, np.zeros(X.shape, np.uint8), X.shape),
    "index outside the window": lambda: ops.maxpool_backward(X[:, :2, :2], np.full((2, 2, 2, 3), 4), X.shape),
    "window larger than the picture": lambda: ops.maxpool_forward(X, 6),
    "window of 300 taps": lambda: ops.maxpool_forward(np.ones((1, 40, 40, 1), F), 20),
    "one value a channel": lambda: ops.batchnorm_forward(np.ones((1, 1, 1, 3), F), V, V),
    "gamma of another length": lambda: ops.batchnorm_forward(X, V[:2], V),
    "variance of another length": lambda: ops.batchnorm_eval_forward(X, V, V, V, V[:1]),
    "features": lambda: ops.dense_forward(np.ones((2, 5), F), np.ones((4, 3), F)),
    "mask of another shape": lambda: ops.dropout_forward(X, X[:1]),
    "mask of another shape, backward": lambda: ops.dropout_backward(X, X[:1]),
    "label 7": lambda: ops.softmax_cross_entropy(np.ones((2, 7), F), np.array([0, 7])),
    "label -1": lambda: ops.softmax_cross_entropy(np.ones((2, 7), F), np.array([0, -1])),
    "labels for another batch": lambda: ops.softmax_cross_entropy(np.ones((2, 7), F), np.array([0, 1, 2])),
    "six class weights": lambda: ops.softmax_cross_entropy(np.ones((2, 7), F), np.array([0, 1]), np.ones(6, F)),
    "velocity of another length": lambda: ops.sgd_update(V, V, np.ones(2, F), 0.1),
    "step 0 of Adam": lambda: ops.adam_update(V, V, V, V, 0, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_one_sentence(what):
    with pytest.raises(ValueError) as caught:
        REFUSED[what]()
    message = str(caught.value)
    assert message.split(":")[0] in ops.NAMES and "\n" not in message and len(message) < 250
    assert any(word in message for word in ("expected", "does not fit", "takes", "use ", "counted from 1")), message


def test_using_restores_and_refuses_unknown_names():
    def mine(x):
        return x

    with ops.using(relu_forward=mine):
        assert ops.overridden("relu_forward") and ops.overridden() and not ops.overridden("softmax")
        assert ops.implementation("relu_forward") is mine
    stock = ops.implementation("relu_forward")
    assert stock is not mine
    with pytest.raises(ZeroDivisionError), ops.using(relu_forward=mine):
        raise ZeroDivisionError
    assert ops.implementation("relu_forward") is stock
    with pytest.raises(ValueError, match="no op of that name"), ops.using(relu=mine):
        pass


def test_using_hands_over_strict_arguments():
    """An implementation is called with every argument of the reference, arrays where arrays belong."""
    seen = {}

    def spy(op):
        def implementation(*args):
            seen[op] = args
            return getattr(reference, op)(*args)

        return implementation

    with ops.using(**{op: spy(op) for op in ("conv2d_forward", "softmax_cross_entropy", "maxpool_forward")}):
        ops.conv2d_forward(X, W)
        ops.maxpool_forward(X)
        ops.softmax_cross_entropy(np.ones((2, 7), F), [0, 1])
    _, _, b, stride, pad = seen["conv2d_forward"]
    assert np.array_equal(b, np.zeros(4)) and b.dtype == F and (stride, pad) == (1, 0)
    assert seen["maxpool_forward"][1:] == (2, 2)
    _, target, weight, smoothing = seen["softmax_cross_entropy"]
    assert target.dtype == np.int64 and np.array_equal(weight, np.ones(7)) and smoothing == 0
