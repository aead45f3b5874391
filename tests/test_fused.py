"""The fused way through a run of blocks is the spelled-out one: same values, gradients and statistics, in other hands.

What it is held to is the block-by-block run of the same layers in float64; bounds are relative root mean squares."""

import numpy as np
import pytest

from tests.nets import in_float64, norms, randomise, small
from tinyfer import models, ops
from tinyfer.kernels import fused
from tinyfer.kernels.compile import LANES
from tinyfer.kernels.simd import winograd_matrices
from tinyfer.layers import ConvBlock, ConvStack
from tinyfer.reference import conv2d_forward

FORWARD, GRAD_INPUT, GRAD_WEIGHT = 1e-5, 2e-5, 5e-5
pytestmark = pytest.mark.skipif(not LANES, reason="plain Numba has no fused way")

# Inputs (N, H, W, C) and blocks (outputs, kernel, pool): one input channel and many, odd maps before a pool, maps that
# no tile fits, a map smaller than a tile, 5x5 kernels, channels of one, two and three vectors.
RUNS = {
    "first layer": ((3, 9, 7, 1), [(16, 3, False)]),
    "first layer, pooled": ((2, 9, 8, 1), [(32, 3, True)]),
    "5x5 first layer": ((2, 6, 6, 1), [(16, 5, False)]),
    "one tile": ((2, 4, 4, 16), [(16, 3, False)]),
    "odd map": ((2, 7, 11, 16), [(48, 3, False)]),
    "odd map, pooled": ((3, 11, 9, 32), [(16, 3, True)]),
    "tiny map": ((4, 2, 3, 16), [(32, 3, True)]),
    "5x5": ((2, 9, 10, 16), [(32, 5, True)]),
    "two blocks": ((2, 10, 10, 16), [(32, 3, False), (16, 3, True)]),
    "vgg stage": ((2, 13, 13, 1), [(16, 3, False), (16, 3, True), (32, 3, False), (32, 3, True)]),
}


def stack(shape, blocks, seed=0):
    rng = np.random.default_rng(seed)
    channels, layers = shape[3], {}
    for i, (outputs, kernel, pool) in enumerate(blocks):
        layers[f"block{i}"] = ConvBlock(channels, outputs, rng, kernel, pool)
        channels = outputs
    run = ConvStack(layers)
    for norm in norms(run):  # some gammas negative: the largest raw value is then not the winner
        norm.gamma.value[...] = rng.uniform(0.5, 1.5, norm.gamma.value.shape) * rng.choice([-1, 1],
                                                                                           norm.gamma.value.shape)
        norm.beta.value[...] = rng.normal(0, 0.5, norm.beta.value.shape)
    return run


def all_of(run, x, dy):
    """Everything that a step makes: y, dx, gradients and running statistics by name."""
    y = run.forward(x, train=True)
    dx = run.backward(dy.astype(x.dtype))
    made = {"y": y, "dx": dx}
    for path, leaf in run.leaves():
        made |= {f"{path}.{name}": p.grad.copy() for name, p in leaf.parameters().items()}
        made |= {f"{path}.{name}": array.copy() for name, array in leaf.buffers().items()}
    return made


def rms(error, like):
    return float(np.sqrt(np.mean(np.square(error)) / np.mean(np.square(like))))


def bound(name):
    return FORWARD if name == "y" or "running" in name else GRAD_INPUT if name == "dx" else GRAD_WEIGHT


@pytest.mark.parametrize("key", RUNS)
def test_fused_equals_spelled_out(key):
    shape = RUNS[key][0]
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    dy = rng.standard_normal((shape[0], *stack(*RUNS[key]).output_shape(shape[1:])))
    run = stack(*RUNS[key])
    assert run.path(shape[1:]) == "fused"
    fast, exact = all_of(run, x.astype(np.float32), dy), all_of(in_float64(stack(*RUNS[key])), x, dy)
    wrong = {name: rms(fast[name] - value, value) for name, value in exact.items()}
    assert {name: error for name, error in wrong.items() if not error <= bound(name)} == {}


@pytest.mark.parametrize("m,r", [(2, 3), (3, 3), (4, 3), (2, 5)])
def test_winograd_matrices_make_a_convolution(m, r):
    at, g, bt = winograd_matrices(m, r)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((m + r - 1, m + r - 1)), rng.standard_normal((r, r))
    exact = conv2d_forward(x[None, :, :, None], w[:, :, None, None], np.zeros(1), 1, 0)[0, :, :, 0]
    np.testing.assert_allclose(at @ ((g @ w @ g.T) * (bt @ x @ bt.T)) @ at.T, exact, rtol=0, atol=1e-12)


def test_nan_reaches_the_output():
    shape, blocks = RUNS["vgg stage"]
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    x[0, 6, 6, 0] = np.nan
    assert np.isnan(stack(shape, blocks).forward(x, train=True)).any()


@pytest.mark.parametrize("far", [0.0, 1000.0])
def test_far_from_zero(far):
    """N(1000, 1) loses no more digits than its distance from 0 takes."""
    shape, blocks = (4, 12, 12, 16), [(16, 3, False)]
    x = np.random.default_rng(0).standard_normal(shape) + far
    y = stack(shape, blocks).forward(x.astype(np.float32), train=True)
    exact = in_float64(stack(shape, blocks)).forward(x.astype(np.float32).astype(np.float64), train=True)
    assert rms(y - exact, exact) <= FORWARD * (1 if far == 0 else 20)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_constant_pictures(value):
    x = np.full((3, 8, 8, 16), value, np.float32)
    run, exact = stack(x.shape, [(16, 3, True)]), in_float64(stack(x.shape, [(16, 3, True)]))
    y = run.forward(x, train=True)
    assert np.isfinite(y).all() and rms(y - (e := exact.forward(x.astype(np.float64), train=True)), e) <= 10 * FORWARD


def test_results_are_fresh_and_arrays_are_reused():
    shape, blocks = RUNS["vgg stage"]
    rng = np.random.default_rng(0)
    run, a, b = stack(shape, blocks), *(rng.standard_normal((2, *shape), np.float32))
    first = run.forward(a, train=True)
    kept, arrays = first.copy(), run._fused(shape)
    run.forward(b, train=True)
    assert np.array_equal(first, kept) and run._fused(shape) is arrays


def test_an_overridden_op_spells_the_run_out():
    model = randomise(small("lite", size=17, width=0.5))
    calls = []

    def spy(x, w, b, stride, pad):
        calls.append(x.shape)
        return ops.reference.conv2d_forward(x, w, b, stride, pad)

    x = np.zeros((2, 17, 17, 1), np.float32)
    with ops.using(conv2d_forward=spy):
        model.forward(x, train=True)
    assert len(calls) == 8
    model.forward(x, train=True)
    assert len(calls) == 8


def test_the_choice_of_forward_holds_in_backward():
    model = randomise(small("lite", size=17, width=0.5))
    x, dy = np.random.default_rng(0).standard_normal((2, 17, 17, 1), np.float32), np.ones((2, 7), np.float32)
    model.forward(x, train=True)
    with ops.using(relu_backward=lambda dy, x: 1 / 0):
        model.backward(dy)
    assert np.isfinite(model.params.grad).all() and model.params.grad.any()


def test_no_input_gradient_where_nobody_needs_it():
    model = randomise(small("lite", size=17, width=0.5, dropout=0.0))
    x, dy = np.random.default_rng(0).standard_normal((2, 17, 17, 1), np.float32), np.ones((2, 7), np.float32)
    model.forward(x, train=True)
    assert model.backward(dy, input_gradient=False) is None
    grad = model.params.grad.copy()
    model.forward(x, train=True)
    assert model.backward(dy).shape == x.shape and np.array_equal(grad, model.params.grad)


@pytest.mark.parametrize("key", RUNS)
def test_evaluation_equals_spelled_out(key):
    shape, blocks = RUNS[key]
    rng = np.random.default_rng(2)
    run = stack(shape, blocks)
    for norm in norms(run):
        norm.running_mean[...] = rng.normal(0, 0.5, norm.running_mean.shape)
        norm.running_var[...] = rng.uniform(0.3, 3, norm.running_var.shape)
    x = rng.standard_normal(shape, np.float32)
    fast, exact = run.evaluate(x), in_float64(run.frozen()).forward(x.astype(np.float64))
    assert rms(fast - exact, exact) <= FORWARD


def test_what_cannot_be_fused_says_why():
    rng = np.random.default_rng(0)
    cases = {"order": ConvBlock(16, 16, rng, order="conv-relu-bn"), "dropout": ConvBlock(16, 16, rng, dropout=0.5),
             "channels": ConvBlock(3, 16, rng)}
    for word, block in cases.items():
        assert word in fused.obstacle(block, (8, 8, block.layers["conv"].weight.value.shape[2]))
    assert models.build("cnn4", size=16).layers[""].path((16, 16, 1)) == "block by block"
