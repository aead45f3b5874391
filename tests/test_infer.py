"""The folded plan answers as the model does in evaluation, whatever the batch, and holds what it was made of."""

import numpy as np
import pytest

from tests.nets import SMALL, norms, one_thread, pictures, randomise, small  # noqa: F401
from tinyfer import ops
from tinyfer.errors import UserError
from tinyfer.infer import Plan, fold
from tinyfer.layers import BatchNorm2d, Conv2d, Dense, Layer, Sequential


def trained_like(key):
    """Random parameters and statistics, logits of a size as in life."""
    model = randomise(small(key))
    x, _ = pictures(model, 20)
    model.params.value[: model.params.decayed] *= np.float32(min(1, 5 / np.abs(model.forward(x)).max()) ** 0.1)
    return model, x


def close(got, expected):
    return np.abs(got - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("key", SMALL)
def test_a_plan_answers_as_the_model_does(key):
    model, x = trained_like(key)
    expected = model.forward(x)
    assert np.ptp(expected) > 0.1 and close(Plan(model)(x), expected)
    fresh = small(key)
    assert not Plan(fresh)(x).any(), "a fresh network answers zeros"


@pytest.mark.parametrize("key", SMALL)
def test_batch_sizes_agree(key):
    model, x = trained_like(key)
    plans = [Plan(model, batch)(x) for batch in (1, 3, 20, 128)]
    assert all(plan.shape == (20, 7) and close(plan, plans[0]) for plan in plans)
    one_by_one = np.concatenate([Plan(model)(x[i:i + 1]) for i in range(20)])
    assert np.array_equal(one_by_one, plans[0])


def test_no_pictures_are_no_logits():
    model, x = trained_like("micro")
    assert Plan(model)(x[:0]).shape == (0, 7)


def test_what_is_no_input_or_no_batch_is_refused():
    model, x = trained_like("micro")
    with pytest.raises(UserError, match="micro: x is uint8"):
        Plan(model)(x.astype(np.uint8))
    with pytest.raises(ValueError, match="1 or more"):
        Plan(model, 0)


@pytest.mark.parametrize("key", SMALL)
def test_a_plan_holds_copies(key):
    model, x = trained_like(key)
    plan = Plan(model)
    before = plan(x)
    model.params.value += 1
    for norm in norms(model):
        norm.running_mean += 1
        norm.running_var *= 2
    assert np.array_equal(plan(x), before) and not close(Plan(model)(x), before)


@pytest.mark.parametrize("key", SMALL)
def test_a_plan_disturbs_no_training_step(key):
    model, x = trained_like(key)
    y = model.forward(x, train=True)
    statistics = [a.copy() for a in model.buffers().values()]
    dx = model.backward(y)
    Plan(model)(x)
    assert np.array_equal(model.backward(y), dx)
    assert all(np.array_equal(a, b) for a, b in zip(model.buffers().values(), statistics, strict=True))


@pytest.mark.parametrize(("key", "convolutions", "norms_left"), [
    ("vgg", 8, 0), ("vgg-relu-bn", 8, 8), ("lite", 8, 0), ("cnn4", 4, 0), ("dnn5", 3, 0), ("micro", 8, 0)])
def test_norms_are_folded_and_a_kernel_of_ones_own_answers(key, convolutions, norms_left):
    model, x = trained_like(key)
    calls = {"conv2d_forward": 0, "batchnorm_eval_forward": 0, "dropout_forward": 0}

    def spy(name):
        def called(*args):
            calls[name] += 1
            return getattr(ops.reference, name)(*args)
        return called

    plan = Plan(model)
    with ops.using(**{name: spy(name) for name in calls}):
        assert close(plan(x), model_logits := plan(x)) and calls["conv2d_forward"] == 2 * convolutions
    assert close(model_logits, model.forward(x))
    assert calls["batchnorm_eval_forward"] == 2 * norms_left and calls["dropout_forward"] == 0


@pytest.mark.parametrize("name", ["global_avgpool_forward", "dense_forward"])
def test_an_op_of_ones_own_behind_the_run_answers(name):
    model, x = trained_like("lite")
    plan, calls = Plan(model), []
    expected = plan(x)

    def mine(*args):
        calls.append(name)
        return getattr(ops.reference, name)(*args)

    with ops.using(**{name: mine}):
        assert close(plan(x), expected)
    assert calls == [name]


def test_a_nan_in_the_input_reaches_the_logits():
    for key in SMALL:
        model, x = trained_like(key)
        x[3, 5, 6] = np.nan
        logits = Plan(model)(x)
        assert np.isnan(logits[3]).all() and np.isfinite(np.delete(logits, 3, 0)).all()


def test_folding_tiny_variances_and_large_means_stays_right():
    rng = np.random.default_rng(0)
    conv, norm = Conv2d(3, 5, 3, rng), BatchNorm2d(5)
    norm.running_var[...] = [1e-12, 1e-6, 1, 1e4, 0]
    norm.running_mean[...] = rng.normal(0, 3, 5)
    conv.bias.value[...] = rng.normal(0, 1, 5)
    weight, bias = fold(conv, norm)
    scale = 1 / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    np.testing.assert_allclose(weight, conv.weight.value * scale, rtol=1e-6)
    np.testing.assert_allclose(bias, (conv.bias.value.astype(np.float64) - norm.running_mean) * scale, rtol=1e-6)
    weight, bias = fold(conv, None)
    assert np.array_equal(weight, conv.weight.value) and not np.shares_memory(weight, conv.weight.value)


def test_a_layer_that_the_plan_does_not_know_runs_as_it_is():
    class Doubled(Dense):
        def forward(self, x, train=False, keep=None):
            return 2 * super().forward(x, train, keep)

    class Shift(Layer):
        def forward(self, x, train=False, keep=None):
            return x + 1

    class Chain(Sequential):
        labels, check_input = ("a", "b"), staticmethod(lambda x: None)

    rng = np.random.default_rng(0)
    chain = Chain({"doubled": Doubled(3, 2, rng), "bn": BatchNorm2d(2), "shift": Shift(), "out": Dense(2, 2, rng)})
    x = rng.standard_normal((4, 3)).astype("f4")
    assert close(Plan(chain)(x), chain.forward(x))
