"""What batch norm is held to: four numbers by hand, channels far apart and far from 0, a channel without spread, the
running averages, slopes for a random dy, and the reference."""

import numpy as np

from lessons.checking import case_of, drawn, fail, hold, hold_op, hold_small, note, rng, told
from tinyfer import explain, gradcheck, reference

FORWARD, EVAL, BACKWARD = "batchnorm_forward", "batchnorm_eval_forward", "batchnorm_backward"
FOUR = np.array([2, 8, 2, 8]).reshape(2, 1, 2, 1)  # mean 5, variance 9


def floats(*arrays):
    return (np.asarray(a, np.float32) for a in arrays)


def sizes(x):
    return dict(zip("NHWC" if x.ndim == 4 else "NC", x.shape, strict=True))


def forward_case(x, gamma=None, beta=None, eps=1e-5, /, **said):
    """A case in float32; gamma and beta are drawn unless they are given."""
    x = np.asarray(x)
    gamma, beta = (draw(name, x.shape[-1]) if a is None else a for name, a in (("gamma", gamma), ("beta", beta)))
    return case_of(FORWARD, *floats(x, gamma, beta), eps, **(said or sizes(x)))


def backward_case(dy, x, gamma=None, eps=1e-5, /, **said):
    """A case in float32, with the mean and the variance of x."""
    dy, x = floats(dy, x)
    gamma = draw("gamma", x.shape[-1]) if gamma is None else gamma
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)
    return case_of(BACKWARD, dy, x, *floats(gamma, mean, var), eps, **(said or sizes(x)))


def draw(purpose, *shape):
    """Numbers of either sign, none near 0."""
    values = rng(purpose + str(shape)).standard_normal(shape)
    return values + np.copysign(0.5, values)


# ------------------------------------------------------------------------------------------------------------- forwards


def test_four_numbers(mine):
    """2 8 2 8: mean 5, variance 9, and so xhat = -1 1 -1 1; gamma 10 and beta 5 make it -5 15 -5 15."""
    hold_op(mine, forward_case(FOUR, [10], [5], x="2 8 2 8", gamma=10, beta=5))
    note("2 8 2 8, gamma 10, beta 5: mean 5, var 9, y -5 15 -5 15")


def test_eps_under_the_root(mine):
    """sqrt(9 + 16) = 5, and so xhat = -3/5 3/5 -3/5 3/5."""
    hold_op(mine, forward_case(FOUR, [10], [0], 16.0, x="2 8 2 8", gamma=10, beta=0, eps=16))
    note("2 8 2 8, gamma 10, eps 16: y -6 6 -6 6")


def test_channels(mine):
    """Three channels with means and spreads of their own."""
    x = draw("x", 1, 3, 4, 3) * [0.5, 1, 4] + [-3, 0, 3]
    hold_op(mine, forward_case(x))
    note("each channel has its own mean and variance")


def test_over_the_batch(mine):
    """A dark and a bright picture: one mean for both."""
    x = draw("x", 2, 3, 3, 2) + np.array([-5, 5]).reshape(2, 1, 1, 1)
    hold_op(mine, forward_case(x))
    note("one mean for all pictures")


def test_after_a_dense_layer(mine):
    hold_op(mine, forward_case(draw("x", 6, 4)))
    note("x of shape (N, C)")


def test_far_from_zero(mine):
    """1000 and a spread of 1: float32 has too few digits for the difference of two large numbers."""
    x = 1000 + np.round(8 * draw("far", 2, 4, 2, 2)) / 8  # sums of these have no rounding
    case = forward_case(x, N=2, H=4, W=2, C=2, x="1000 with a spread of about 1")
    with np.errstate(invalid="ignore"):
        _, _, var = mine.batchnorm_forward(*case.args)
    expected = np.asarray(x.var((0, 1, 2)), np.float32)
    if not explain.close(expected, var, rtol=1e-3):
        fail(f"var is {told_row(var)}, expected {told_row(expected)}", "the variance is the small difference of two "
             "large numbers, mean(x^2) - mean(x)^2: subtract the mean first, then square", case.told())  # fmt: skip
    hold_op(mine, case)
    note("1000 with a spread of 1")


def told_row(values):
    return " ".join(f"{value:.4g}" for value in np.ravel(values))


def test_channel_without_spread(mine):
    """A channel that is constant, whatever the constant: y is beta."""
    x = draw("x", 2, 2, 2, 3)
    x[..., 0], x[..., 2] = 7, 0
    hold_op(mine, forward_case(x, N=2, H=2, W=2, C=3, x="channel 0 is 7 everywhere, channel 2 is 0"))
    note("7 7 7 7: y is beta")


def test_a_single_value(mine):
    """N*H*W = 1: the mean is the value itself, the variance 0, and y is beta."""
    hold_op(mine, forward_case(draw("x", 1, 1, 1, 2)))
    note("N H W = 1: y is beta")


def test_nan_is_seen(mine):
    """A NaN spoils its own channel and no other."""
    x = draw("x", 2, 2, 2, 2)
    x[0, 1, 0, 0] = np.nan
    hold_op(mine, forward_case(x, N=2, H=2, W=2, C=2, x="channel 0 holds a NaN"))
    note("a NaN spoils its own channel only")


def test_small_cases(mine):
    hold_small(mine, FORWARD)


# ------------------------------------------------------------------------------------------------------ at evaluation


def test_evaluation_by_hand(mine):
    """mean 1, variance 4 are given: x = 1 5 becomes 0 2, whatever mean x has."""
    args = floats([[1], [5]], [1], [0], [1], [4])
    hold_op(mine, case_of(EVAL, *args, 0.0, x="1 5", mean=1, var=4, eps=0))
    note("x 1 5, mean 1, var 4 -> 0 2")


def test_evaluation(mine):
    hold_small(mine, EVAL)


def test_running_averages_by_hand(mine):
    """10 + 0.1 * (20 - 10) = 11; the variance 3 of 4 values is 4, and 1 + 0.1 * (4 - 1) = 1.3."""
    hold_track(mine, *floats([10], [1], [20], [3]), 4, 0.1)
    note("mean 10 -> 11, var 1 -> 1.3")


def hold_track(mine, running_mean, running_var, mean, var, count, momentum):
    """Hold one step of the running averages to the formula, in place."""
    case = told(running_mean=told_row(running_mean), running_var=told_row(running_var), mean=told_row(mean),
                var=told_row(var), count=count, momentum=momentum)  # fmt: skip
    unbiased = var * count / (count - 1)
    expected = moved(running_mean, mean, momentum), moved(running_var, unbiased, momentum)
    before = running_mean.copy(), running_var.copy()
    mine.track(running_mean, running_var, mean, var, count, momentum)
    known = track_mistakes(*before, mean, var, count, momentum)
    for name, right, actual, looks in zip(("running_mean", "running_var"), expected, (running_mean, running_var),
                                          known, strict=True):  # fmt: skip
        hold(name, np.asarray(right, np.float32), actual, case, lookalikes=looks)


def moved(old, new, momentum):
    return (1 - momentum) * old + momentum * new


def track_mistakes(running_mean, running_var, mean, var, count, momentum):
    """What classic mistakes would make of the running mean, and of the running variance."""
    unbiased = var * count / (count - 1)
    both = []
    for name, old, new in (("mean", running_mean, mean), ("var", running_var, unbiased)):
        both.append({
            f"running_{name} is unchanged: write into it, running_{name} += ... or running_{name}[...] = ...": old,
            "old and new are swapped: the old average keeps 1 - momentum, the batch counts momentum": moved(new, old,
                                                                                                          momentum),
            "the batch takes the average's place: only the share momentum of it counts": new,
            "the old average is not made smaller: it keeps 1 - momentum of itself": old + momentum * new,
            "the batch's share momentum is missing": (1 - momentum) * old + new,
        })  # fmt: skip
    both[0]["count / (count - 1) belongs to the variance: a mean of M values is right as it is"] = \
        moved(running_mean, mean * count / (count - 1), momentum)  # fmt: skip
    both[1] |= {
        "the batch's variance is taken as it is: over M values it is too small, times count / (count - 1)":
            moved(running_var, var, momentum),
        "the factor is upside down: count / (count - 1) makes the variance larger":
            moved(running_var, var * (count - 1) / count, momentum),
        "this is the standard deviation: the variance is averaged": moved(running_var, np.sqrt(unbiased), momentum),
        "this follows the mean: running_var follows the variance": moved(running_var, mean, momentum),
    }  # fmt: skip
    return both


def test_running_averages_of_many_batches(mine):
    """60 batches of 5 values: the averages come near the mean and the variance of what the batches are drawn from."""
    running = np.zeros(2, np.float32), np.ones(2, np.float32)
    numbers = rng("batches")
    for _ in range(60):
        x = numbers.standard_normal((5, 2)) * [2, 0.5] + [3, -1]
        hold_track(mine, *running, *floats(x.mean(0), x.var(0)), 5, 0.1)
    note("60 batches")


# ----------------------------------------------------------------------------------------------------------- backwards


def test_backward_by_hand(mine):
    """xhat = -1 1 -1 1; dy - 1 + xhat = 2 0 -2 0; gamma / root = 6 / 3; dgamma = -4, dbeta = 4."""
    dy = np.array([4, 0, 0, 0]).reshape(FOUR.shape)
    hold_op(mine, backward_case(dy, FOUR, [6], 0.0, x="2 8 2 8", dy="4 0 0 0", gamma=6, eps=0))
    note("dy 4 0 0 0, gamma 6 -> dx 4 0 -4 0, dgamma -4, dbeta 4")


def test_backward_of_pictures(mine):
    for shape in ((1, 2, 3, 1), (2, 3, 3, 2), (6, 3)):
        hold_op(mine, backward_case(draw("dy", *shape), 3 * draw("x", *shape) + 1, None, 0.5))
    note("pictures, and a dense layer's rows")


def test_backward_without_spread(mine):
    """A constant channel, and a single value a channel: dx stays finite."""
    x = draw("x", 2, 2, 2, 2)
    x[..., 0] = 7
    hold_op(mine, backward_case(draw("dy", 2, 2, 2, 2), x, N=2, H=2, W=2, C=2, x="channel 0 is 7 everywhere"))
    hold_op(mine, backward_case(draw("dy", 1, 1, 1, 2), draw("x", 1, 1, 1, 2)))
    note("a constant channel, and N H W = 1")


def test_slopes(mine):
    """What can be measured, for a random dy: dy all ones would see nothing."""
    x, gamma, beta, dy = draw("x", 3, 2, 2, 2), draw("gamma", 2), draw("beta", 2), draw("dy", 3, 2, 2, 2)
    eps = 1e-3
    _, mean, var = reference.batchnorm_forward(x, gamma, beta, eps)
    found = mine.batchnorm_backward(dy, x, gamma, mean, var, eps)
    for i, name in enumerate(("dx", "dgamma", "dbeta")):
        at = (x, gamma, beta)[i]

        def forward(a, i=i):
            return reference.batchnorm_forward(*((x, gamma, beta)[:i] + (a,) + (x, gamma, beta)[i + 1 :]), eps)[0]

        hold(name, gradcheck.numeric_gradient(forward, at, dy=dy), found[i], told(**sizes(x)))
    note("of a random dy, as measured")


def test_small_cases_backward(mine):
    """Three values a channel or more: of two, xhat is -1 and 1 whatever x is, and dx is nothing but rounding."""
    hold_small(mine, BACKWARD, only=lambda case: case.args[1].size > 2 * case.args[1].shape[-1])


@drawn(FORWARD)
def test_any_shape(mine, case):
    hold_op(mine, case)


@drawn(EVAL)
def test_any_shape_evaluated(mine, case):
    hold_op(mine, case)


@drawn(BACKWARD)
def test_any_shape_backward(mine, case):
    hold_op(mine, case)
