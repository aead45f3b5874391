"""Which pixels one output's gradient reaches; and dw at work: a hidden kernel is found again from its answers."""

import numpy as np

from tinyfer import data, plots, reference

SIDE, MIDDLE = 15, 7
STEPS, SHOWN, RATE = 300, (0, 1, 10, 300), 0.2
HIDDEN = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)
COLOURS = plots.LinearSegmentedColormap.from_list("w", [plots.BLUE, "white", plots.ORANGE])


def draw(mine):
    figure = plots.empty_figure(12, 6)
    above, below = figure.subfigures(2, 1)
    draw_reach(mine, above)
    draw_search(mine, below)
    return figure


def picture(axes, values, title, **style):
    axes.imshow(values, **style)
    axes.set_title(title, fontsize=10, color=plots.INK)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_reach(mine, figure):
    """dy is 1 at one pixel: dx after one, two, three 3x3 layers; beside it, how often stride 2 sees each pixel."""
    figure.suptitle("dx: from one output (left) back to all the pixels that had a part in it", x=0.015, ha="left",
                    fontsize=11, color=plots.INK)  # fmt: skip
    row = figure.subplots(1, 5)
    rng = np.random.default_rng(1)
    dy = np.zeros((1, SIDE, SIDE, 1))
    dy[0, MIDDLE, MIDDLE] = 1
    picture(row[0], dy[0, :, :, 0], "dy", cmap=COLOURS, vmin=-1, vmax=1)
    for layer, axes in enumerate(row[1:4], 1):
        kernel = rng.uniform(0.3, 1, (3, 3, 1, 1)) * rng.choice([-1, 1], (3, 3, 1, 1))
        dy = mine.conv2d_backward(dy, np.zeros((1, SIDE, SIDE, 1)), kernel, 1, 1)[0]
        title = f"dx, {layer} layer{'s' * (layer > 1)} of 3x3 back"
        extent = np.abs(dy).max()
        picture(axes, dy[0, :, :, 0], title, cmap=COLOURS, vmin=-extent, vmax=extent)
    coarse = np.ones((1, 7, 7, 1))
    dx = mine.conv2d_backward(coarse, np.zeros((1, SIDE, SIDE, 1)), np.ones((3, 3, 1, 1)), 2, 0)[0]
    picture(row[4], dx[0, :, :, 0], "all dy 1, stride 2: how often\neach pixel was seen (1, 2, 4)", cmap=COLOURS,
            vmin=-4, vmax=4)  # fmt: skip


def draw_search(mine, figure):
    """Descend from w = 0 until the convolution's answers are those of the hidden kernel."""
    figure.suptitle("dw: only x and the answers of a hidden kernel are given; steps along -dw find the kernel", x=0.015,
                    ha="left", fontsize=11, color=plots.INK)  # fmt: skip
    row = figure.subplots(1, 6)
    faces = data.toyfaces(70, np.random.default_rng(5)).train.images[:2, 8:40, 8:40]
    x = faces[..., None] / 255.0
    x = (x - x.mean()) / x.std()
    hidden, zero = HIDDEN[:, :, None, None], np.zeros(1)
    wanted = reference.conv2d_forward(x, hidden, zero, 1, 1)
    picture(row[0], x[0, :, :, 0], "x", cmap="gray")
    picture(row[1], wanted[0, :, :, 0], "answers of the hidden kernel", cmap="gray")
    w, column = np.zeros((3, 3, 1, 1)), 2
    for step in range(STEPS + 1):
        if step in SHOWN:
            kernel(row[column], w[:, :, 0, 0], f"w after {step} step{'s' * (step != 1)}")
            column += 1
        error = reference.conv2d_forward(x, w, zero, 1, 1) - wanted
        w -= RATE * mine.conv2d_backward(error / error.size, x, w, 1, 1)[1]


def kernel(axes, values, title):
    picture(axes, values, title, cmap=COLOURS, vmin=-3, vmax=3)
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, f"{round(value, 1) + 0.0:.1f}", ha="center", va="center", fontsize=9, color=plots.INK)
