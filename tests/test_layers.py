"""Layers: their gradients as a whole, what they keep and forget, and that what they answered stays as it was."""

import numpy as np
import pytest

from tests.nets import (  # noqa: F401
    SMALL,
    in_float64,
    loss_and_gradients,
    norms,
    one_thread,
    pictures,
    randomise,
    small,
)
from tinyfer import ops
from tinyfer.errors import UserError
from tinyfer.gradcheck import numeric_gradient
from tinyfer.layers import (
    BatchNorm2d,
    Conv2d,
    ConvBlock,
    ConvStack,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
)


def rng():
    return np.random.default_rng(0)


def distinct(shape, seed=3):
    """Numbers at least 0.02 apart and 0.01 from 0, in random order: no ReLU or pooling changes its mind nearby."""
    size = int(np.prod(shape))
    values = 0.02 * (np.arange(size) - size // 2) + 0.01
    return np.random.default_rng(seed).permutation(values).reshape(shape)


LAYERS = {
    "conv": (lambda: Conv2d(2, 3, 3, rng()), (2, 4, 5, 2)),
    "conv stride 2, pad 0, no bias": (lambda: Conv2d(2, 3, 2, rng(), stride=2, pad=0, bias=False), (2, 5, 4, 2)),
    "conv 5x5": (lambda: Conv2d(1, 2, 5, rng()), (1, 4, 4, 1)),
    "norm": (lambda: BatchNorm2d(3), (2, 2, 3, 3)),
    "norm after dense": (lambda: BatchNorm2d(4), (5, 4)),
    "relu": (ReLU, (2, 3, 3, 2)),
    "pool": (lambda: MaxPool2d(2), (2, 5, 4, 2)),
    "pool 3, stride 2": (lambda: MaxPool2d(3, 2), (1, 7, 6, 2)),
    "average": (GlobalAvgPool, (2, 3, 4, 3)),
    "flatten": (Flatten, (2, 3, 2, 2)),
    "dropout": (lambda: Dropout(0.4), (2, 3, 3, 2)),
    "dense": (lambda: Dense(6, 4, rng()), (3, 6)),
    "block": (lambda: ConvBlock(2, 3, rng(), pool=True, dropout=0.3), (3, 5, 4, 2)),
    "block conv-relu-bn": (lambda: ConvBlock(2, 3, rng(), pool=True, order="conv-relu-bn"), (3, 4, 4, 2)),
}


def prepared(key):
    """A layer in float64 with random parameters, and its input."""
    make, shape = LAYERS[key]
    layer, draw = in_float64(make()), np.random.default_rng(4)
    for _, leaf in layer.leaves():
        for p in leaf.parameters().values():
            p.value += draw.normal(0, 0.3, p.value.shape)
        for statistic in leaf.buffers().values():
            statistic += draw.uniform(0, 0.5, statistic.shape)
    return layer, distinct(shape)


def run(layer, x, **how):
    """forward with the same dropout mask and the same running statistics each time."""
    for _, leaf in layer.leaves():
        if isinstance(leaf, Dropout):
            leaf.rng = np.random.default_rng(5)
    before = [(a, a.copy()) for _, leaf in layer.leaves() for a in leaf.buffers().values()]
    y = layer.forward(x, **how)
    for array, copy in before:
        array[...] = copy
    return y


@pytest.mark.parametrize("how", [dict(train=True), dict(keep=True)], ids=["train", "evaluate"])
@pytest.mark.parametrize("key", LAYERS)
def test_every_gradient_of_a_layer_is_that_of_central_differences(key, how):
    layer, x = prepared(key)
    dy = np.random.default_rng(6).standard_normal(run(layer, x, **how).shape)
    dx = layer.backward(dy)
    close = dict(rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(dx, numeric_gradient(lambda x: run(layer, x, **how), x, 1e-6, dy), **close)
    for path, leaf in layer.leaves():
        for name, param in leaf.parameters().items():
            grad = param.grad.copy()

            def shifted(value, param=param):
                kept, param.value = param.value, value
                y = run(layer, x, **how)
                param.value = kept
                return y

            expected = numeric_gradient(shifted, param.value, 1e-6, dy)
            np.testing.assert_allclose(grad, expected, **close, err_msg=f"{path} {name}")
            assert np.abs(grad).max() > 1e-3 or "conv" in path, f"{path} {name}: the test proves nothing about zeros"


@pytest.mark.parametrize("key", SMALL)
def test_every_gradient_of_a_network_along_a_random_direction(key):
    model = in_float64(randomise(small(key)))
    x, target = pictures(model, 5)
    _, dx = loss_and_gradients(model, x, target)
    grads = {p.name: p.grad.copy() for p in model.params} | {"dx": dx}
    arrays = {p.name: p.value for p in model.params} | {"dx": x}
    draw, eps, scale = np.random.default_rng(7), 1e-6, np.linalg.norm(model.params.grad)
    # Tensor by tensor, but for the large one: there along one direction of them all.
    for names in [[*arrays]] if key == "cnn4" else [[name] for name in arrays]:
        directions = {name: draw.standard_normal(arrays[name].shape) for name in names}
        middles, slope, expected = {name: arrays[name].copy() for name in names}, 0.0, 0.0
        for name, v in directions.items():
            v /= np.linalg.norm(v)
            expected += (grads[name] * v).sum()
        for sign in (1, -1):
            for name, v in directions.items():
                arrays[name][...] = middles[name] + sign * eps * v
            slope += sign * loss_and_gradients(model, x, target)[0] / (2 * eps)
        for name in names:
            arrays[name][...] = middles[name]
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-7 * scale), names


@pytest.mark.parametrize("how", [dict(train=True), dict()], ids=["train", "evaluate"])
@pytest.mark.parametrize("key", LAYERS)
def test_results_are_not_written_to_by_later_calls(key, how):
    layer = LAYERS[key][0]()
    first, second = distinct(LAYERS[key][1], 3).astype("f4"), distinct(LAYERS[key][1], 8).astype("f4")
    y = layer.forward(first, **how)
    kept = y.copy()
    other = layer.forward(second, **how)
    assert not np.shares_memory(y, other)
    assert np.array_equal(y, kept) and not np.array_equal(y, other)
    if how:
        dx = layer.backward(other.copy())
        kept = dx.copy()
        assert not np.shares_memory(dx, layer.backward(2 * other)) and np.array_equal(dx, kept)


@pytest.mark.parametrize("key", LAYERS)
def test_inputs_are_not_written_to_and_may_be_read_only(key):
    layer = LAYERS[key][0]()
    x = distinct(LAYERS[key][1]).astype("f4")
    kept = x.copy()
    x.flags.writeable = False
    y = layer.forward(x, train=True)
    dy = y.copy()
    dy.flags.writeable = False
    layer.backward(dy)
    assert np.array_equal(x, kept) and np.array_equal(dy, y)


@pytest.mark.parametrize("key", LAYERS)
def test_backward_without_forward_says_what_to_do(key):
    layer = LAYERS[key][0]()
    leaf = next(leaf for _, leaf in layer.leaves())
    x = distinct(LAYERS[key][1]).astype("f4")
    for how in (None, dict(), dict(train=True, keep=False)):
        y = x if how is None else layer.forward(x, **how)
        with pytest.raises(RuntimeError, match=r"\.backward: forward kept nothing; call it with train or keep first"):
            layer.backward(y)
        assert leaf._kept is None


def test_an_evaluation_in_between_makes_backward_refuse_rather_than_use_old_activations():
    layer = Dense(3, 2, rng())
    x = np.ones((4, 3), np.float32)
    y = layer.forward(x, train=True)
    layer.forward(x)
    with pytest.raises(RuntimeError, match=r"Dense\.backward"):
        layer.backward(y)


@pytest.mark.parametrize("key", ["block", "block conv-relu-bn", "conv", "dense"])
def test_grads_are_assigned_not_accumulated(key):
    layer, x = prepared(key)
    dy = np.ones_like(run(layer, x, train=True))
    layer.backward(dy)
    once = [p.grad.copy() for _, leaf in layer.leaves() for p in leaf.parameters().values()]
    layer.backward(dy)
    twice = [p.grad for _, leaf in layer.leaves() for p in leaf.parameters().values()]
    assert all(map(np.array_equal, once, twice))


@pytest.mark.parametrize("key", LAYERS)
def test_output_shape_tells_what_forward_answers(key):
    layer, shape = LAYERS[key][0](), LAYERS[key][1]
    assert layer.output_shape(shape[1:]) == layer.forward(np.ones(shape, np.float32)).shape[1:]


def test_macs_are_those_of_the_loops():
    conv = Conv2d(3, 8, 3, rng(), stride=2)
    assert conv.macs((10, 12, 3)) == 5 * 6 * 3 * 3 * 3 * 8
    assert Dense(30, 7, rng()).macs((30,)) == 210


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (Conv2d(3, 4, 3, rng()), (8, 8, 1), r"takes maps of 3 channels \(H,W,3\), not \(8, 8, 1\)"),
    (Conv2d(1, 4, 5, rng(), pad=0), (4, 8, 1), "no pixel of its 4x8 input"),
    (MaxPool2d(2), (1, 3, 4), "no pixel of its 1x3 input; use larger pictures"),
    (Dense(30, 7, rng()), (31,), "takes 30 features a picture, not 31"),
])
def test_output_shape_refuses_what_forward_could_not_take(layer, shape, message):
    with pytest.raises(UserError, match=f"{layer.name} .*{message}"):
        layer.output_shape(shape)
    with pytest.raises(ValueError):
        layer.forward(np.zeros((2, *shape), np.float32))


# ------------------------------------------------------------------------------------------------------ layer by layer


def test_he_normal_keeps_the_spread_of_activations():
    w = Conv2d(32, 64, 3, rng()).weight.value
    assert w.dtype == np.float32
    assert w.std() == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.02) and abs(w.mean()) < 0.002
    assert not Dense(30, 7, rng(), zero=True).weight.value.any()


def test_running_statistics_follow_the_written_convention():
    norm, x = BatchNorm2d(3, momentum=0.1), np.random.default_rng(9).normal(5, 2, (4, 3, 3, 3)).astype("f4")
    norm.forward(x, train=True)
    rows = x.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(norm.running_mean, 0.1 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, 0.9 + 0.1 * rows.var(0, ddof=1), rtol=1e-5)
    norm.forward(x, train=True)
    np.testing.assert_allclose(norm.running_mean, 0.19 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, 0.81 + 0.19 * rows.var(0, ddof=1), rtol=1e-5)


def test_evaluation_uses_the_running_statistics_and_leaves_them_alone():
    norm, x = BatchNorm2d(2), np.random.default_rng(9).normal(5, 2, (4, 3, 3, 2)).astype("f4")
    norm.running_mean[...], norm.running_var[...] = [1, 2], [4, 9]
    y = norm.forward(x)
    np.testing.assert_allclose(y, (x - np.float32([1, 2])) / np.sqrt(np.float32([4, 9]) + 1e-5), rtol=1e-5, atol=1e-6)
    assert norm.running_mean.tolist() == [1, 2] and norm.running_var.tolist() == [4, 9]


def test_kept_statistics_are_not_the_live_ones():
    norm, x = BatchNorm2d(2), np.random.default_rng(9).normal(5, 2, (4, 3, 3, 2)).astype("f4")
    norm.forward(x, keep=True)
    dx = norm.backward(x)
    norm.running_var *= 100
    assert np.array_equal(norm.backward(x), dx)


def test_one_value_a_channel_is_refused_in_training_and_taken_in_evaluation():
    norm, x = BatchNorm2d(2), np.ones((1, 1, 1, 2), np.float32)
    with pytest.raises(ValueError, match="one value a channel: no variance"):
        norm.forward(x, train=True)
    assert norm.running_mean.tolist() == [0, 0]
    assert np.isfinite(norm.forward(x)).all()


def test_dropout_uses_its_mask_again_backward_and_draws_a_new_one_forward():
    layer, x = Dropout(0.3), np.ones((50, 40), np.float32)
    y = layer.forward(x, train=True)
    assert np.array_equal(layer.backward(x), y)
    assert sorted({*np.unique(y)}) == [0, np.float32(1 / np.float32(0.7))]
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert not np.array_equal(layer.forward(x, train=True), y)
    layer.rng = np.random.default_rng(1)
    again = layer.forward(x, train=True)
    layer.rng = np.random.default_rng(1)
    assert np.array_equal(layer.forward(x, train=True), again)


def test_dropout_does_nothing_outside_training_or_at_zero():
    x = np.ones((5, 4), np.float32)
    assert np.array_equal(Dropout(0.5).forward(x), x)
    layer = Dropout(0.0)
    assert np.array_equal(layer.forward(x, train=True), x) and np.array_equal(layer.backward(2 * x), 2 * x)
    layer = Dropout(0.5)
    layer.forward(x, keep=True)
    assert np.array_equal(layer.backward(2 * x), 2 * x)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_dropout_refuses_what_is_no_share(p):
    with pytest.raises(UserError, match="0 or more, less than 1"):
        Dropout(p)


@pytest.mark.parametrize(("order", "names", "bias"), [
    ("conv-bn-relu", ["conv", "bn", "relu", "pool", "dropout"], False),
    ("conv-relu-bn", ["conv", "relu", "bn", "pool", "dropout"], True),
])
def test_a_block_runs_in_its_order(order, names, bias):
    block = ConvBlock(2, 3, rng(), pool=True, dropout=0.2, order=order)
    assert list(block.children()) == names and ("bias" in block.layers["conv"].parameters()) is bias
    x = distinct((2, 4, 4, 2)).astype("f4")
    w, norm = block.layers["conv"].weight.value, block.layers["bn"]
    expected = ops.conv2d_forward(x, w, stride=1, pad=1)
    for step in order.split("-")[1:]:
        zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
        expected = (ops.relu_forward(expected) if step == "relu" else
                    ops.batchnorm_eval_forward(expected, one, zero, zero, one, norm.eps))
    np.testing.assert_allclose(block.forward(x), ops.maxpool_forward(expected)[0], rtol=1e-6, atol=1e-6)


def test_a_block_of_another_order_is_refused():
    with pytest.raises(UserError, match="order is 'bn-conv-relu', expected conv-bn-relu or conv-relu-bn"):
        ConvBlock(1, 8, rng(), order="bn-conv-relu")


def test_a_stack_says_how_it_runs_and_calls_every_op_through_the_switchboard():
    stack = ConvStack({"a": ConvBlock(1, 8, rng()), "b": ConvBlock(8, 8, rng(), pool=True)})
    calls = []

    def spy(x, w, b, stride, pad):
        calls.append(x.shape)
        return ops.reference.conv2d_forward(x, w, b, stride, pad)

    with ops.using(conv2d_forward=spy):
        stack.forward(np.zeros((2, 6, 6, 1), np.float32), train=True)
        assert set(stack.paths((6, 6, 1)).values()) == {"op by op"}
    assert calls == [(2, 6, 6, 1), (2, 6, 6, 8)]


def test_leaves_are_named_by_dotted_paths_in_the_order_of_the_run():
    block = ConvBlock(1, 8, rng(), pool=True)
    chain = Sequential({"stem": block, "": Sequential({"flatten": Flatten()}), "out": Dense(8, 7, rng())})
    assert [path for path, _ in chain.leaves()] == ["stem.conv", "stem.bn", "stem.relu", "stem.pool", "flatten", "out"]


def test_a_frozen_copy_shares_nothing_and_keeps_nothing():
    block = ConvBlock(1, 8, rng(), pool=True)
    x = distinct((2, 4, 4, 1)).astype("f4")
    y = block.forward(x, train=True)
    for leaf in norms(block):
        twin = leaf.frozen()
        assert twin._kept is None and leaf._kept is not None
        assert not np.shares_memory(twin.gamma.value, leaf.gamma.value)
        assert not np.shares_memory(twin.running_mean, leaf.running_mean)
        assert np.array_equal(twin.running_var, leaf.running_var)
    block.backward(y)  # the original still remembers


def test_a_students_layer_needs_forward_and_backward_alone():
    class Scale(Layer):
        def forward(self, x, train=False, keep=None):
            return 3 * x

        def backward(self, dy):
            return 3 * dy

    chain = Sequential({"scale": Scale(), "relu": ReLU()})
    x = np.float32([[-1, 2]])
    assert chain.forward(x, train=True).tolist() == [[0, 6]] and chain.backward(x).tolist() == [[0, 6]]
    with pytest.raises(NotImplementedError):
        Layer().forward(x)
