"""Activations through eight layers for three starts; one value under batch statistics and under running averages; a
backward pass that only a random dy shows to be broken."""

import numpy as np

from tinyfer import data, gradcheck, plots, reference

LAYERS, WIDTH, FACES, SIDE = 8, 96, 160, 12
SMALL, EPS = 0.06, 1e-5  # the spread of a bad start's weights
BATCHES, BATCH, VALUE = 60, 8, 5.0


def draw(mine):
    figure = plots.empty_figure(12.5, 7.4)
    above, below = figure.subfigures(2, 1)
    draw_layers(mine, above)
    draw_below(mine, below)
    return figure


# ---------------------------------------------------------------------------------------------------- eight layers


def faces():
    """Drawn faces as rows of numbers (FACES, SIDE*SIDE), with mean 0 and spread 1."""
    images = data.toyfaces(int(FACES / 0.8), np.random.default_rng(0)).train.images
    step = images.shape[1] // SIDE
    small = images.reshape(len(images), SIDE, step, SIDE, step).mean((2, 4)).reshape(len(images), -1)
    return (small - small.mean(0)) / small.std()


def activations(mine, spread, normalise):
    """What each of the layers answers before its ReLU; spread(inputs) is that of a layer's weights."""
    rng = np.random.default_rng(2)
    x, found = faces(), []
    for _ in range(LAYERS):
        x = x @ (rng.standard_normal((x.shape[1], WIDTH)) * spread(x.shape[1]))
        if normalise:
            x, _, _ = mine.batchnorm_forward(x, np.ones(WIDTH), np.zeros(WIDTH), EPS)
        found.append(x)
        x = np.maximum(x, 0)
    return found


def draw_layers(mine, figure):
    figure.suptitle(f"{FACES} faces through {LAYERS} layers: how {WIDTH} activations spread in each, before the ReLU",
                    x=0.015, ha="left", fontsize=11, color=plots.INK)  # fmt: skip
    starts = (("a bad start: weights a little too small", lambda inputs: SMALL, False, plots.ORANGE),
              ("He's start: spread sqrt(2 / inputs)", lambda inputs: np.sqrt(2 / inputs), False, plots.GREEN),
              ("the bad start again, with your batch norm", lambda inputs: SMALL, True, plots.BLUE))  # fmt: skip
    for axes, (title, spread, normalise, colour) in zip(figure.subplots(1, 3), starts, strict=True):
        plots.clean(axes)
        for layer, values in enumerate(activations(mine, spread, normalise), 1):
            draw_spread(axes, layer, values, colour)
        axes.set_title(title, loc="left", fontsize=10.5, color=colour)
        axes.set_xlim(0.4, LAYERS + 0.6)
        axes.set_ylim(-4, 3.2)
        axes.set_xticks(range(1, LAYERS + 1))
        axes.set_xlabel("layer; below the shapes: their standard deviation", fontsize=9, color=plots.INK)
        axes.grid(False, axis="x")


def draw_spread(axes, layer, values, colour):
    """The values' histogram, upright, on both sides of the layer's number."""
    edges = np.linspace(-3.2, 3.2, 65)
    counts, _ = np.histogram(values, edges)
    width = 0.44 * np.sqrt(counts / max(1, counts.max()))
    middle = (edges[1:] + edges[:-1]) / 2
    axes.fill_betweenx(middle, layer - width, layer + width, color=colour, alpha=0.75, linewidth=0)
    axes.text(layer, -3.75, f"{values.std():.2g}", ha="center", fontsize=8.5, color=plots.INK)


# ---------------------------------------------------------------------------- running averages, and a broken backward


def draw_below(mine, figure):
    left, middle, right = figure.subplots(1, 3)
    draw_running(mine, left)
    x, dy = (np.random.default_rng(seed).standard_normal((12, 4)) for seed in (3, 4))
    draw_claims(mine, middle, x, np.ones_like(dy), "dy all ones: both seem right")
    middle.annotate(f"all {dy.size} slopes are 0", (0.08, -0.08), (0.5, -1.3), fontsize=9, color=plots.INK,
                    arrowprops={"arrowstyle": "-", "color": plots.FAINT})  # fmt: skip
    draw_claims(mine, right, x, dy, "dy drawn at random: one is broken")


def draw_running(mine, axes):
    """One and the same value in 60 batches: by each batch's own statistics, and by the running averages."""
    rng = np.random.default_rng(6)
    one, zero = np.ones(1), np.zeros(1)
    running_mean, running_var = np.zeros(1), np.ones(1)
    own, averaged = [], []
    for _ in range(BATCHES):
        x = np.append(VALUE, 3 + 2 * rng.standard_normal(BATCH - 1))[:, None]
        y, mean, var = mine.batchnorm_forward(x, one, zero, EPS)
        mine.track(running_mean, running_var, mean, var, BATCH, 0.1)
        own.append(y[0, 0])
        averaged.append(mine.batchnorm_eval_forward(x[:1], one, zero, running_mean, running_var, EPS)[0, 0])
    plots.clean(axes)
    places = np.arange(1, BATCHES + 1)
    axes.plot(places, own, "o", color=plots.ORANGE, markersize=4, label="by its batch: depends on the others")
    axes.plot(places, averaged, color=plots.BLUE, linewidth=2.5, label="by your running averages")
    axes.set_ylim(-0.4, 5)
    axes.set_xlabel("batch of 8", fontsize=9, color=plots.INK)
    axes.set_title("y of one x = 5; the others have mean 3, spread 2", loc="left", fontsize=10.5, color=plots.INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=plots.INK)


def draw_claims(mine, axes, x, dy, title):
    """dx as claimed by two backward passes against the slopes as measured."""
    gamma, beta = np.ones(x.shape[1]), np.zeros(x.shape[1])
    _, mean, var = mine.batchnorm_forward(x, gamma, beta, EPS)
    measured = gradcheck.numeric_gradient(lambda x: reference.batchnorm_forward(x, gamma, beta, EPS)[0], x, dy=dy)
    broken, yours = (dy - dy.mean(0)) / np.sqrt(var + EPS), mine.batchnorm_backward(dy, x, gamma, mean, var, EPS)[0]
    claims = (("without the way through the variance", broken, plots.ORANGE, "s", 42),
              ("your batchnorm_backward", yours, plots.BLUE, "o", 22))  # fmt: skip
    plots.clean(axes)
    axes.plot([-3, 3], [-3, 3], color=plots.FAINT, linewidth=1)
    for name, claimed, colour, marker, size in claims:
        axes.scatter(measured, claimed, s=size, color=colour, marker=marker, edgecolor="white", linewidth=0.5,
                     label=name)  # fmt: skip
    axes.set_xlim(-2.6, 2.6)
    axes.set_ylim(-2.6, 2.6)
    axes.set_xlabel("slope as measured", fontsize=9, color=plots.INK)
    axes.set_ylabel("dx as claimed", fontsize=9, color=plots.INK)
    axes.set_title(title, loc="left", fontsize=10.5, color=plots.INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=plots.INK, loc="upper left")
