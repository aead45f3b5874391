"""The error of a central difference against its step, in both precisions: a V, whose left half is rounding."""

import numpy as np

from tinyfer import cases, ops, plots, reference

STEPS = np.logspace(-13, 0, 53)
EXPONENT = 3  # sum of exp(x)^3 has slopes 3 exp(3x)


def error(mine, dtype, eps):
    """Relative error of the slopes of f(x) = exp(x)^3, when f is computed in a precision."""
    x = np.random.default_rng(0).uniform(-1, 1, 12)

    def f(x):
        return np.exp(x.astype(dtype)) ** EXPONENT

    exact = EXPONENT * np.exp(x) ** EXPONENT
    return np.abs(mine.numeric_gradient(f, x, np.ones(12), eps) - exact).max() / exact.max()


def draw(mine):
    figure = plots.empty_figure(10, 5.2)
    axes = figure.subplots()
    plots.clean(axes)
    for dtype, colour in ((np.float32, plots.ORANGE), (np.float64, plots.BLUE)):
        errors = [max(error(mine, dtype, eps), 1e-16) for eps in STEPS]
        axes.loglog(STEPS, errors, "o-", color=colour, linewidth=2, markersize=4, label=np.dtype(dtype).name)
    axes.axvline(1e-5, color=plots.GREEN, linewidth=1.2, linestyle="--")
    axes.text(1.2e-5, 3e-13, "eps = 1e-5", color=plots.GREEN, fontsize=10)
    axes.text(1e-13, 1e-11, "left: rounding.\nThe smaller the step, the fewer\ndigits the difference keeps.", size=10)
    axes.text(3, 1e-11, "right: f is curved.\nThe error grows with\nthe square of the step.", size=10, ha="right")
    axes.set_ylim(1e-13, 10)
    axes.set_xlabel("step eps", color=plots.INK)
    axes.set_ylabel("largest error, relative", color=plots.INK)
    axes.set_title("how wrong is (f(x + eps) - f(x - eps)) / (2 eps)?", loc="left", fontsize=11, color=plots.INK)
    axes.legend(frameon=False, title="f computed in", loc=(0.63, 0.78), labelcolor=plots.INK)
    return figure


# ------------------------------------------------------------------------------------------------------------- try 02


def subjects():
    """(name, forward, backward, x): four gradients of the engine, and two broken ones."""
    conv = cases.small("conv2d_backward", np.float64)[2].args
    norm = cases.small("batchnorm_backward", np.float64)[2].args
    x, gamma, eps = norm[1], norm[2], norm[5]

    def normalise(x):
        return reference.batchnorm_forward(x, gamma, np.zeros_like(gamma), eps)[0]

    def norm_backward(op):
        return lambda dy, x: op(dy, x, gamma, *cases.statistics(x), eps)[0]

    _, picture, w, stride, pad = conv

    def convolve(x):
        return reference.conv2d_forward(x, w, np.zeros(w.shape[3]), stride, pad)

    yield "convolution", convolve, lambda dy, x: ops.conv2d_backward(dy, x, w, stride, pad)[0], picture
    yield "ReLU", reference.relu_forward, ops.relu_backward, cases.small("relu_forward", np.float64)[2].args[0]
    yield "batch norm", normalise, norm_backward(ops.batchnorm_backward), x
    yield ("global average pooling", reference.global_avgpool_forward,
           lambda dy, x: ops.global_avgpool_backward(dy, x.shape), picture)  # fmt: skip
    yield "BROKEN: batch norm, statistics as constants", normalise, norm_backward(ops.batchnorm_eval_backward), x
    yield ("BROKEN: convolution, kernel flipped", convolve,
           lambda dy, x: ops.conv2d_backward(dy, x, np.ascontiguousarray(w[::-1, ::-1]), stride, pad)[0],
           picture)  # fmt: skip


def try_it(mine, say):
    """Let check_vjp judge gradients of the engine, and two that were broken on purpose."""
    say("check_vjp judges gradients of the engine (the kernels are compiled first, which may take half a minute)")
    for name, forward, backward, x in subjects():
        say(f"  {'right' if mine.check_vjp(forward, backward, x, np.random.default_rng(0)) else 'WRONG':<6} {name}")
    say("It should find the last two wrong, and no other.")
