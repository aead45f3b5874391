"""Optimizers against their formulas, schedules against their shapes, and the moving average of weights."""

import math

import numpy as np
import pytest

from tests.nets import loss_and_gradients, one_thread, pictures, randomise, small  # noqa: F401
from tinyfer import optim
from tinyfer.errors import UserError
from tinyfer.infer import Plan
from tinyfer.layers import Param
from tinyfer.models import Params

MAKE = {
    "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=False, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "plain": lambda p: optim.SGD(p, lr=0.05, momentum=0.0, nesterov=False, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
}


def some_params(seed=0):
    rng = np.random.default_rng(seed)
    return [Param(rng.standard_normal(shape)) for shape in ((5,), (4, 3), (3, 3, 2, 4), (7,))]


def gradients(params, steps, seed=1):
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal(p.value.shape).astype("f4") for p in params] for _ in range(steps)]


def by_the_book(key, w, grads):
    """The papers' formulas in float64 on one tensor, decay on matrices only."""
    w, v, m = w.astype(np.float64), np.zeros(w.shape), np.zeros(w.shape)
    decay = {"adamw": 0.1}.get(key, 0.01) if w.ndim > 1 else 0.0
    for t, g in enumerate(grads, 1):
        if key.startswith("adam"):
            g = g + (decay * w if key == "adam" else 0)
            m, v = 0.8 * m + 0.2 * g, 0.99 * v + 0.01 * g**2
            step = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-6)
            w = w - 0.01 * (step + (decay * w if key == "adamw" else 0))
        else:
            momentum = 0.0 if key == "plain" else 0.9
            g = g + decay * w
            v = momentum * v + g
            w = w - 0.05 * (g + momentum * v if key == "nesterov" else v)
    return w


@pytest.mark.parametrize("flat", [False, True], ids=["list", "flat"])
@pytest.mark.parametrize("key", MAKE)
def test_twenty_steps_by_the_book(key, flat):
    params = Params(some_params()) if flat else some_params()
    start, optimizer = [p.value.copy() for p in params], MAKE[key](params)
    steps = gradients(params, 20)
    for step in steps:
        for p, g in zip(params, step, strict=True):
            p.grad[...] = g
        optimizer.step()
        assert all(np.array_equal(p.grad, g) for p, g in zip(params, step, strict=True)), "gradients stay as they were"
    for i, p in enumerate(params):
        np.testing.assert_allclose(p.value, by_the_book(key, start[i], [s[i] for s in steps]), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("key", MAKE)
def test_decay_touches_matrices_alone(key):
    model = randomise(small("micro"))
    before = {p.name: p.value.copy() for p in model.params}
    MAKE[key](model.params).step()  # all gradients are 0
    for p in model.params:
        assert np.array_equal(p.value, before[p.name]) is (p.value.ndim == 1), p.name


def test_a_model_may_be_named_in_place_of_its_params():
    a, b = randomise(small("micro")), randomise(small("micro"))
    for model, optimizer in ((a, optim.SGD(a)), (b, optim.SGD(b.params))):
        loss_and_gradients(model, *pictures(model))
        optimizer.step()
    assert np.array_equal(a.params.value, b.params.value)


def test_lr_may_be_set_before_any_step():
    params = some_params()
    before = [p.value.copy() for p in params]
    for p in params:
        p.grad[...] = 1
    optimizer = optim.SGD(params, lr=1.0)
    optimizer.lr = 0.0
    optimizer.step()
    assert all(np.array_equal(p.value, b) for p, b in zip(params, before, strict=True))


@pytest.mark.parametrize("key", MAKE)
def test_an_optimizer_goes_on_from_its_state_to_the_same_bits(key):
    through, stopped = Params(some_params()), Params(some_params())
    one, two = MAKE[key](through), MAKE[key](stopped)
    for i, step in enumerate(gradients(through, 10)):
        for params, optimizer in ((through, one), (stopped, two)):
            for p, g in zip(params, step, strict=True):
                p.grad[...] = g
            optimizer.step()
        if i == 4:
            state = two.state()
            two = MAKE[key](stopped)
            two.load_state(state)
    assert np.array_equal(through.value, stopped.value)
    assert one.t == two.t == 10


def test_a_state_of_another_optimizer_or_model_is_refused():
    sgd, adam = optim.SGD(Params(some_params())), optim.AdamW(Params(some_params()))
    other = optim.SGD(Params(some_params()[:2]))
    for optimizer, state in ((sgd, adam.state()), (adam, sgd.state()), (sgd, other.state()), (sgd, {})):
        with pytest.raises(UserError, match=r"the saved state is not of this .*go on with the options"):
            optimizer.load_state(state)
    with pytest.raises(UserError, match="not of this moving average"):
        optim.EMA(small("micro")).load_state(optim.EMA(small("dnn5")).state())


# ----------------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("name", optim.SCHEDULES)
@pytest.mark.parametrize(("total", "warmup"), [(1000, 100), (1000, 0), (7, 3), (1, 0), (3, 5), (0, 0)])
def test_schedules_are_finite_positive_and_never_above_lr(name, total, warmup):
    at = optim.schedule(name, 0.1, total, warmup)
    rates = [at(step) for step in range(total + 2)]
    assert all(0 <= rate <= 0.1 * (1 + 1e-12) for rate in rates) and all(rate > 0 for rate in rates[:total])


@pytest.mark.parametrize("name", ["constant", "step", "cosine"])
def test_warm_up_is_linear_and_then_the_rate_only_falls(name):
    at = optim.schedule(name, 0.1, 1000, 100)
    rates = np.array([at(step) for step in range(1000)])
    np.testing.assert_allclose(rates[:100], 0.1 * np.arange(1, 101) / 100)
    assert rates[99] == rates[100] == 0.1 and (np.diff(rates[100:]) <= 0).all()


def test_constant_step_and_cosine_have_their_shapes():
    constant, step, cosine = (optim.schedule(name, 0.2, 1000) for name in ("constant", "step", "cosine"))
    assert {constant(s) for s in range(1000)} == {0.2}
    assert [step(0), step(499), step(500), step(749)] == pytest.approx([0.2, 0.2, 0.02, 0.02])
    assert [step(750), step(999)] == pytest.approx([0.002, 0.002])
    assert cosine(0) == 0.2 and cosine(500) == pytest.approx(0.1) and 0 < cosine(999) < 1e-5 * 0.2
    assert cosine(250) == pytest.approx(0.1 * (1 + math.sqrt(0.5)))


def test_one_cycle_rises_for_three_tenths_and_falls_to_nothing():
    at = optim.schedule("one-cycle", 0.1, 1000, warmup_steps=500)
    rates = np.array([at(step) for step in range(1000)])
    assert rates[0] == pytest.approx(0.1 / 25) and rates.argmax() == 300 and rates[300] == pytest.approx(0.1)
    assert (np.diff(rates[:301]) > 0).all() and (np.diff(rates[300:]) < 0).all() and rates[-1] < 1e-5
    assert np.abs(np.diff(rates)).max() < 0.001, "no jumps"


def test_an_unknown_schedule_names_the_known_ones():
    with pytest.raises(UserError, match=r"no schedule 'linear'; the schedules are constant, step, .*one-cycle"):
        optim.schedule("linear", 0.1, 10)


# -------------------------------------------------------------------------------------------------------------- average


def moved(model, seed):
    """The model after something like a training step."""
    rng = np.random.default_rng(seed)
    model.params.value += rng.standard_normal(model.params.value.shape).astype("f4")
    for array in model.buffers().values():
        array += rng.random(array.shape).astype("f4")


def everything(model):
    return np.concatenate([a.ravel() for a in model.state().values()])


def test_the_average_has_a_short_memory_at_the_start_and_covers_the_statistics():
    model = small("micro")
    ema, expected = optim.EMA(model, decay=0.9), everything(model).astype(np.float64)
    for n in range(1, 151):
        moved(model, n)
        ema.update()
        expected += (1 - min(0.9, n / (n + 10))) * (everything(model) - expected)
    with ema.applied():
        np.testing.assert_allclose(everything(model), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
def test_applied_restores_every_bit_whatever_happens_inside(error):
    model = randomise(small("micro"))
    ema = optim.EMA(model)
    moved(model, 1)
    own, flat = everything(model), model.params.value
    ema.update()
    try:
        with ema.applied():
            assert not np.array_equal(everything(model), own)
            model.params.value += 1
            if error:
                raise error
    except (ZeroDivisionError, KeyboardInterrupt):
        pass
    assert np.array_equal(everything(model), own) and model.params.value is flat
    with ema.applied():
        assert everything(model).max() < own.max() + 0.9, "what is written inside does not reach the average"


def test_a_plan_made_of_the_average_outlives_the_block():
    model = randomise(small("vgg-relu-bn"))
    ema, (x, _) = optim.EMA(model), pictures(model)
    average = Plan(model)(x)
    moved(model, 1)
    with ema.applied():
        plan = Plan(model)
    assert np.array_equal(plan(x), average)


def test_the_average_goes_on_from_its_state_to_the_same_bits():
    a, b = small("micro"), small("micro")
    one, two = optim.EMA(a), optim.EMA(b)
    for n in range(6):
        for model, ema in ((a, one), (b, two)):
            moved(model, n)
            ema.update()
        if n == 2:
            state = two.state()
            two = optim.EMA(b)
            two.load_state(state)
            state["value"] += 1  # state answers copies
    assert one.n == two.n == 6
    assert all(np.array_equal(x, y) for x, y in zip(one.state().values(), two.state().values(), strict=True))
