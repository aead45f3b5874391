"""The fused way through a run of blocks is the spelled-out one: same values, gradients and statistics, in other hands.

What it is held to is the block-by-block run of the same layers by the reference ops in float64; bounds are relative
root mean squares."""

import numpy as np
import pytest

from tests.nets import in_float64, norms, randomise, small
from tinyfer import ops
from tinyfer.kernels import frozen, fused, schemes, tiles
from tinyfer.kernels.compile import LANES
from tinyfer.kernels.ends import mask_output, pool_raw
from tinyfer.kernels.norm import combine_moments
from tinyfer.kernels.simd import MASK, TILE_ROWS
from tinyfer.kernels.winograd import flip_weights
from tinyfer.layers import ConvBlock, ConvStack

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
    "pool between": ((5, 9, 13, 16), [(16, 3, True), (16, 3, False)]),
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


def spelled_out(do, *args):
    """do(*args) with every op as the reference has it: nothing is fused, and nothing need be compiled."""
    with ops.using(ops.reference):
        return do(*args)


def step_of(key, seed=1):
    """x and dy for one of the runs, float64."""
    shape, blocks = RUNS[key]
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), rng.standard_normal((shape[0], *stack(shape, blocks).output_shape(shape[1:])))


def rms(error, like):
    return float(np.sqrt(np.mean(np.square(error)) / np.mean(np.square(like))))


def bound(name):
    return FORWARD if name == "y" or "running" in name else GRAD_INPUT if name == "dx" else GRAD_WEIGHT


def wrong(fast, exact):
    """What is farther from the exact step than it may be, and how far."""
    errors = {name: rms(fast[name] - value, value) for name, value in exact.items()}
    return {name: error for name, error in errors.items() if not error <= bound(name)}


@pytest.fixture
def cut_small(monkeypatch):
    """Blocks of a few tiles and chunks of one picture: small inputs are then cut into as many pieces as large ones."""
    for module in (fused, frozen):
        monkeypatch.setattr(module, "block_tiles", lambda *sizes: TILE_ROWS)
    monkeypatch.setattr(fused, "CHUNK_FLOATS", 1)


@pytest.mark.parametrize("key", RUNS)
def test_fused_equals_spelled_out(key):
    (x, dy), run = step_of(key), stack(*RUNS[key])
    assert all(way.startswith("fused") for way in run.paths(x.shape[1:]).values())
    fast, exact = all_of(run, x.astype(np.float32), dy), spelled_out(all_of, in_float64(stack(*RUNS[key])), x, dy)
    assert wrong(fast, exact) == {}


def test_pieces_make_a_whole(cut_small):
    """Many blocks, the last a short one, and a chunk of tiles for every picture."""
    (x, dy), run = step_of("pool between"), stack(*RUNS["pool between"])
    fast = all_of(run, x.astype(np.float32), dy)
    first, second = run._made(fused.FusedStack, x.shape).parts[0][0].steps
    assert (len(first.pixels), len(second.pixels), first.chunk, second.chunk) == (13, 2, 1, 1)
    assert wrong(fast, spelled_out(all_of, in_float64(stack(*RUNS["pool between"])), x, dy)) == {}


@pytest.mark.parametrize("key", ["first layer", "pool between"])
def test_bits_depend_on_no_number_of_workers_and_on_no_step_before(key, cut_small, monkeypatch):
    """As many workers take turns on the threads that there are; a run's arrays are full of the step before."""
    (x, dy), (other_x, other_dy), made = step_of(key), step_of(key, seed=2), []
    for workers in (1, 2, 3, 7):
        monkeypatch.setattr(fused.numba, "get_num_threads", lambda n=workers: n)
        run = stack(*RUNS[key])
        if workers > 1:
            all_of(run, other_x.astype(np.float32), other_dy)
        step = all_of(run, x.astype(np.float32), dy)
        assert all(np.isfinite(value).all() for value in step.values())  # bytes of NaN would be equal, too
        made.append({name: value.tobytes() for name, value in step.items() if "running" not in name})
    assert [{name for name in step if step[name] != made[0][name]} for step in made] == [set()] * 4


def test_the_smallest_tiles_train_as_well(monkeypatch):
    monkeypatch.setattr(schemes, "TILE_SIZES", (2,))
    (x, dy), run = step_of("one tile"), stack(*RUNS["one tile"])
    fast = all_of(run, x.astype(np.float32), dy)
    assert run._made(fused.FusedStack, x.shape).parts[0][0].steps[0].tile == 2
    assert wrong(fast, spelled_out(all_of, in_float64(stack(*RUNS["one tile"])), x, dy)) == {}


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
    exact = in_float64(stack(shape, blocks))
    exact = spelled_out(exact.forward, x.astype(np.float32).astype(np.float64), True)
    assert rms(y - exact, exact) <= FORWARD * (1 if far == 0 else 20)


@pytest.mark.parametrize("channels", [1, 16])
def test_a_channel_far_from_zero_keeps_its_spread(channels, cut_small):
    """Kernels of one tap, so that no border adds to the spread: the mean is a thousand times as large."""
    shape, blocks = (3, 9, 13, channels), [(16, 3, False)]
    run, exact = stack(shape, blocks), in_float64(stack(shape, blocks))
    for model in (run, exact):
        weight = dict(model.leaves())["block0.conv"].weight.value
        weight[...] = 0
        weight[1, 1] = channels**-0.5
    x = (np.random.default_rng(0).standard_normal(shape) + 1000).astype(np.float32)
    run.forward(x, train=True), spelled_out(exact.forward, x.astype(np.float64), True)
    (bn,), (like,) = norms(run), norms(exact)
    np.testing.assert_allclose(bn.running_mean, like.running_mean, rtol=1e-6)
    np.testing.assert_allclose(bn.running_var - 0.9, like.running_var - 0.9, rtol=1e-3)  # what the batch has added


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_constant_pictures(value):
    x = np.full((3, 8, 8, 16), value, np.float32)
    run, exact = stack(x.shape, [(16, 3, True)]), in_float64(stack(x.shape, [(16, 3, True)]))
    y, e = run.forward(x, train=True), spelled_out(exact.forward, x.astype(np.float64), True)
    assert np.isfinite(y).all() and rms(y - e, e) <= 10 * FORWARD


def test_results_are_fresh_and_arrays_are_reused():
    shape, blocks = RUNS["vgg stage"]
    rng = np.random.default_rng(0)
    run, a, b = stack(shape, blocks), *(rng.standard_normal((2, *shape), np.float32))
    first = run.forward(a, train=True)
    kept, arrays = first.copy(), run._made(fused.FusedStack, shape)
    run.forward(b, train=True)
    assert np.array_equal(first, kept) and run._made(fused.FusedStack, shape) is arrays


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


def trained(key):
    """One of the runs with statistics as if it had been trained."""
    rng, run = np.random.default_rng(2), stack(*RUNS[key])
    for norm in norms(run):
        norm.running_mean[...] = rng.normal(0, 0.5, norm.running_mean.shape)
        norm.running_var[...] = rng.uniform(0.3, 3, norm.running_var.shape)
    return run


@pytest.mark.parametrize("n", [None, 16])
@pytest.mark.parametrize("key", RUNS)
def test_a_frozen_run_answers_like_the_spelled_out_one(key, n):
    batch, *shape = RUNS[key][0]
    run, x = trained(key), np.random.default_rng(3).standard_normal((n or batch, *shape), np.float32)
    fast, exact = run.frozen().answer(x), spelled_out(in_float64(run.frozen()).forward, x.astype(np.float64))
    assert rms(fast - exact, exact) <= FORWARD


def test_an_answer_in_pieces_is_the_same(cut_small, monkeypatch):
    monkeypatch.setattr(frozen, "weights_cost_most", lambda *sizes: False)
    run, x = trained("vgg stage"), np.random.default_rng(3).standard_normal((3, 13, 13, 1), np.float32)
    fast, exact = run.frozen().answer(x), spelled_out(in_float64(run.frozen()).forward, x.astype(np.float64))
    assert rms(fast - exact, exact) <= FORWARD


@pytest.mark.parametrize("key", RUNS)
def test_all_tiles_at_once_or_in_blocks_are_the_same_bits(key, monkeypatch):
    x, answers = np.random.default_rng(3).standard_normal(RUNS[key][0], np.float32), []
    for at_once in (True, False):
        monkeypatch.setattr(frozen, "weights_cost_most", lambda *sizes, at_once=at_once: at_once)
        answers.append(trained(key).frozen().answer(x))
    assert np.array_equal(*answers)


def test_few_tiles_of_many_channels_are_multiplied_at_once():
    assert schemes.weights_cost_most(1, 9, 6, 512, 512) and not schemes.weights_cost_most(1, 9, 12, 512, 512)
    assert not schemes.weights_cost_most(1, 144, 30, 64, 64) and not schemes.weights_cost_most(128, 1152, 96, 256, 256)


@pytest.mark.parametrize("key", ["first layer, pooled", "two blocks", "vgg stage"])
def test_a_head_is_the_mean_of_each_map_and_a_dense_layer(key):
    run, rng = trained(key).frozen(), np.random.default_rng(4)
    x = rng.standard_normal(RUNS[key][0], np.float32)
    maps = trained(key).frozen().answer(x).astype(np.float64)
    w, b = rng.standard_normal((maps.shape[3], 7), np.float32), rng.standard_normal(7, np.float32)
    exact = maps.mean(axis=(1, 2)) @ w + b
    assert run.answer(x, (w, b)).shape == exact.shape and rms(run.answer(x, (w, b)) - exact, exact) <= 1e-6


def test_answers_are_fresh():
    run, (a, b) = trained("one tile").frozen(), np.random.default_rng(0).standard_normal((2, 2, 4, 4, 16), np.float32)
    first = run.answer(a)
    kept = first.copy()
    assert not np.array_equal(run.answer(b), kept) and np.array_equal(first, kept)
    assert np.array_equal(run.answer(a), kept)


@pytest.mark.parametrize("key", ["first layer, pooled", "two blocks"])
def test_a_frozen_run_keeps_a_nan_and_keeps_it_to_its_picture(key):
    run, x = trained(key), np.random.default_rng(3).standard_normal(RUNS[key][0], np.float32)
    x[1, 4, 5, 0] = np.nan
    fast, exact = run.frozen().answer(x), spelled_out(in_float64(run.frozen()).forward, x.astype(np.float64))
    assert np.isnan(exact[1]).any() and np.isnan(fast[np.isnan(exact)]).all() and np.isfinite(fast[0]).all()
    scores = run.frozen().answer(x, (np.eye(exact.shape[3], dtype=np.float32), np.zeros(exact.shape[3], np.float32)))
    assert np.array_equal(np.isnan(scores), np.isnan(exact).any(axis=(1, 2)))


def test_dropout_cuts_a_stack_into_runs():
    """Between two runs lies the dropout of the spelled-out way, with the same mask."""
    made = []
    for kind in (np.float32, np.float64):
        rng = np.random.default_rng(0)
        run = ConvStack({"a": ConvBlock(16, 32, rng, pool=True, dropout=0.5),
                         "b": ConvBlock(32, 16, rng, dropout=0.25)})
        run = in_float64(run) if kind == np.float64 else run
        rng = np.random.default_rng(1)
        x, dy = (rng.standard_normal(shape).astype(kind) for shape in ((2, 8, 8, 16), (2, 4, 4, 16)))
        assert run.paths(x.shape[1:]) == {"a": "fused, F(4, 3)", "b": "fused, F(4, 3)"}
        made.append(all_of(run, x, dy) if kind == np.float32 else spelled_out(all_of, run, x, dy))
    fast, exact = made
    assert (exact["y"] == 0).mean() > 0.2
    assert wrong(fast, exact) == {}


def test_pooling_raw_values_takes_the_first_of_equals_and_any_nan():
    """argmax does the same; a negative scale turns the order round."""
    n, height, width, channels = 8, 5, 7, 3
    rng = np.random.default_rng(0)
    raw = rng.integers(-1, 2, (n, height, width, channels)).astype(np.float32)
    raw[rng.random(raw.shape) < 0.1] = np.nan
    sign = np.array([1, -1, 1], np.float32)
    pooled, index = np.empty((n, 2, 3, channels), np.float32), np.empty((n, 2, 3, channels), np.uint8)
    pool_raw(raw.reshape(-1), sign, pooled.reshape(-1), index.reshape(-1), n, height, width, channels)
    taps = np.stack([raw[:, i:4:2, j:6:2] for i in range(2) for j in range(2)])
    want = np.argmax(taps * sign, 0)
    assert np.array_equal(index, want)
    assert np.array_equal(pooled, np.take_along_axis(taps, want[None], 0)[0], equal_nan=True)


def test_the_mask_of_the_last_relu():
    """Nothing passes where the ReLU's input is 0 or less; a NaN there lets pass, as in the reference. Sums by chunk."""
    pixels, channels, chunks = 37, 2 * LANES, 3
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (pixels, channels)).astype(np.float32)
    x[5, 3] = np.nan
    s, q = rng.choice([-2, -0.5, 0.5, 2], channels).astype(np.float32), rng.integers(-1, 2, channels).astype(np.float32)
    dy, mean = rng.standard_normal((pixels, channels), np.float32), rng.standard_normal(channels, np.float32)
    dz, sums = np.empty_like(dy), np.full((chunks, 2, channels), np.nan, np.float32)
    mask_output(tiles.finisher(MASK), chunks, dy.reshape(-1), (dz.reshape(-1), x.reshape(-1), mean, s, q,
                                                               sums.reshape(-1)), pixels, channels)
    want = ops.reference.relu_backward(dy, s * x + q)
    assert (s * x + q == 0).any() and np.array_equal(dz, want)
    cuts = [slice(chunk * pixels // chunks, (chunk + 1) * pixels // chunks) for chunk in range(chunks)]
    np.testing.assert_allclose(sums[:, 0], [want[cut].sum(0) for cut in cuts], rtol=0, atol=1e-5)
    np.testing.assert_allclose(sums[:, 1], [(want * (x - mean))[cut].sum(0) for cut in cuts], rtol=0, atol=1e-5)


def test_flipped_weights_have_their_taps_reversed_and_channels_exchanged():
    w = np.random.default_rng(0).standard_normal((3, 3, LANES, 2 * LANES), np.float32)
    flipped = np.empty((3, 3, 2 * LANES, LANES), np.float32)
    flip_weights(w.reshape(-1), flipped.reshape(-1), 9, LANES, 2 * LANES)
    assert np.array_equal(flipped, w[::-1, ::-1].swapaxes(2, 3))


def test_rounding_makes_no_variance_negative():
    """Four values of 1, their squares summed a little short."""
    one = np.ones((1, 1))
    mean, variance = combine_moments([4], 0 * one, 4 * one, 3.999999 * one)
    assert (mean, variance) == (1, 0) and np.isnan(combine_moments([4], one, one, one * np.nan)[1]).all()


def test_what_cannot_be_fused_says_why():
    rng = np.random.default_rng(0)
    cases = {"order": ConvBlock(16, 16, rng, order="conv-relu-bn"), "channels": ConvBlock(3, 16, rng)}
    cases["border"] = ConvBlock(16, 16, rng)
    cases["border"].layers["conv"].pad = 0
    for word, block in cases.items():
        assert word in schemes.obstacle(block, (8, 8, block.layers["conv"].weight.value.shape[2]))
