"""Masks on a face that belong to their steps, the mean over many of them, and why what is kept is scaled."""

import numpy as np

from tinyfer import data, plots

SIDE, P = 32, 0.5
MEANS = (1, 4, 16, 64, 256, 1024)
PS = np.linspace(0, 0.9, 10)


def draw(mine):
    face = data.toyfaces.draw(96, "happy", np.random.default_rng(4), noise=0, occlusion="none")
    x = face.reshape(SIDE, 3, SIDE, 3).mean((1, 3)).astype(np.float32) / np.float32(255)
    figure = plots.empty_figure(12.5, 7.6)
    above, middle, below = figure.subfigures(3, 1, height_ratios=(1, 1, 1.1))
    draw_steps(mine, above, x)
    draw_means(mine, middle, x)
    draw_scale(mine, below, x)
    return figure


def picture(axes, values, title, brightest=1.0):
    axes.imshow(values, cmap="gray", vmin=0, vmax=brightest)
    axes.set_title(title, fontsize=10, color=plots.INK)
    axes.set_xticks([])
    axes.set_yticks([])


def dropped(mine, x, step, p=P):
    """y of one step, from your generator and your dropout."""
    return mine.dropout(x, p, mine.generator(0, "dropout", 0, step), True)[0]


def draw_steps(mine, figure, x):
    figure.suptitle("every step has a mask of its own, and step 1 always the same one (what is kept counts double)",
                    x=0.015, ha="left", fontsize=11, color=plots.INK)  # fmt: skip
    row = figure.subplots(1, 6)
    picture(row[0], x, "x")
    for axes, step in zip(row[1:4], range(3), strict=True):
        picture(axes, dropped(mine, x, step), f"training, step {step}", 1 / (1 - P))
    picture(row[4], dropped(mine, x, 1), "resumed at step 1", 1 / (1 - P))
    picture(row[5], mine.dropout(x, P, mine.generator(0, "dropout", 0, 0), False)[0], "evaluation: y = x")
    for axes in (row[2], row[4]):
        for side in axes.spines.values():
            side.set_color(plots.ORANGE)
            side.set_linewidth(2.5)


def draw_means(mine, figure, x):
    figure.suptitle("the mean of y over more and more steps: in the mean, nothing is lost", x=0.015, ha="left",
                    fontsize=11, color=plots.INK)  # fmt: skip
    every = np.array([dropped(mine, x, step) for step in range(MEANS[-1])])
    for axes, count in zip(figure.subplots(1, len(MEANS)), MEANS, strict=True):
        picture(axes, every[:count].mean(0), f"{count} step{'s' * (count > 1)}", 1 / (1 - P) if count == 1 else 1.0)


def draw_scale(mine, figure, x):
    """The mean of y for each p, with and without the factor 1/(1-p); and what the next layer is used to see."""
    left, right = figure.subplots(1, 2)
    rng = np.random.default_rng(1)
    w = rng.standard_normal(x.size).astype(np.float32) + 0.4
    for axes in (left, right):
        plots.clean(axes)
    scaled = [np.mean([dropped(mine, x, step, p).mean() for step in range(20)]) / x.mean() for p in PS]
    plain = [np.mean([(dropped(mine, x, step, p) * (1 - p)).mean() for step in range(20)]) / x.mean() for p in PS]
    left.plot(PS, scaled, "o-", color=plots.BLUE, linewidth=2, label="your dropout")
    left.plot(PS, plain, "s--", color=plots.ORANGE, linewidth=2, label="without the factor 1/(1-p)")
    left.set_ylim(0, 1.25)
    left.set_xlabel("p: the share that is dropped", fontsize=9, color=plots.INK)
    left.set_title("mean of y in training, mean of x = 1", loc="left", fontsize=10.5, color=plots.INK)
    left.legend(frameon=False, labelcolor=plots.INK, loc="lower left")
    sums = np.array([dropped(mine, x, step).ravel() @ w for step in range(300)])
    at_evaluation = float(mine.dropout(x, P, mine.generator(0, "dropout", 0, 0), False)[0].ravel() @ w)
    edges = np.linspace(0, 1.75 * at_evaluation, 71)
    for values, colour, name in ((sums, plots.BLUE, "in training, your dropout"),
                                 (sums * (1 - P), plots.ORANGE, "in training, without the factor")):  # fmt: skip
        right.hist(values, edges, color=colour, alpha=0.75, label=name)
    top = 1.45 * right.get_ylim()[1]
    right.set_ylim(0, top)
    right.axvline(at_evaluation, ymax=0.72, color=plots.INK, linewidth=2)
    right.text(at_evaluation, 0.74 * top, "at evaluation", fontsize=9, ha="center", color=plots.INK)
    right.set_yticks([])
    right.set_xlabel(f"a weighted sum of y, 300 steps, p = {P:g}", fontsize=9, color=plots.INK)
    right.set_title("what a neuron of the next layer sees", loc="left", fontsize=10.5, color=plots.INK)
    right.legend(frameon=False, labelcolor=plots.INK, loc="upper left")
