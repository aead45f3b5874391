"""Four ways down a valley that bends like a banana, from the student's own updates."""

import numpy as np

from tinyfer import plots

START, BOTTOM, STEPS = (-1.5, 1.1), (1.0, 1.0), 300
STEEP = 10  # of the valley's walls; Rosenbrock's own number is 100


def height(x, y):
    """Rosenbrock's valley: 0 at (1, 1), and along y = x^2 nearly flat."""
    return (1 - x) ** 2 + STEEP * (y - x * x) ** 2


def slope(w):
    x, y = w
    return np.array([-2 * (1 - x) - 4 * STEEP * x * (y - x * x), 2 * STEEP * (y - x * x)])


def path(update):
    """Places (STEPS + 1, 2) on the way down; update(w, g, first, second, t) writes into w."""
    w, first, second = np.array(START), np.zeros(2), np.zeros(2)
    places = [w.copy()]
    for t in range(1, STEPS + 1):
        update(w, slope(w), first, second, t)
        places.append(w.copy())
    return np.array(places)


def ways(mine):
    """(name, colour, path) of each."""

    def sgd(lr, momentum, nesterov):
        return lambda w, g, v, _, t: mine.sgd_update(w, g, v, lr, momentum, nesterov, 0.0)

    def adam(w, g, m, v, t):
        mine.adam_update(w, g, m, v, t, 0.1, 0.9, 0.999, 1e-8, 0.0)

    yield "plain, lr 0.005", plots.INK, path(sgd(0.005, 0.0, False))
    yield "momentum 0.9, lr 0.005", plots.BLUE, path(sgd(0.005, 0.9, False))
    yield "Nesterov 0.9, lr 0.005", plots.GREEN, path(sgd(0.005, 0.9, True))
    yield "Adam, lr 0.1", plots.ORANGE, path(adam)


def draw(mine):
    figure = plots.empty_figure(12, 5.4)
    valley, falls = figure.subplots(1, 2, width_ratios=(1.25, 1))
    x, y = np.meshgrid(np.linspace(-2.1, 2.1, 300), np.linspace(-1.2, 2.9, 300))
    valley.contourf(x, y, np.log10(height(x, y) + 1e-2), levels=14, cmap="Greys", alpha=0.55)
    plots.clean(falls)
    for name, colour, places in ways(mine):
        wide = 3 * (colour == plots.INK)  # plain descent lies under the others, and shows on both sides of them
        valley.plot(*places.T, color=colour, linewidth=1.6 + wide, marker="o", markersize=2.6 + wide,
                    label=name.partition(",")[0])  # fmt: skip
        falls.semilogy(np.maximum(height(*places.T), 1e-12), color=colour, linewidth=2, label=name)
    valley.plot(*BOTTOM, "*", color="gold", markersize=17, markeredgecolor=plots.INK)
    valley.annotate("start", START, (-2.0, 0.35), color=plots.INK, arrowprops={"arrowstyle": "-", "color": plots.INK})
    valley.legend(loc="lower right", facecolor="white", framealpha=0.8, edgecolor="none", labelcolor=plots.INK)
    valley.set_xlim(-2.1, 2.1)
    valley.set_ylim(-1.2, 2.9)
    valley.set_xticks([])
    valley.set_yticks([])
    valley.set_title(
        f"{STEPS} steps in a banana valley; the star is the lowest point", loc="left", fontsize=11, color=plots.INK
    )
    falls.set_ylim(1e-8, 100)
    falls.set_xlabel("step", color=plots.INK)
    falls.set_title("how high above it", loc="left", fontsize=11, color=plots.INK)
    falls.legend(frameon=False, labelcolor=plots.INK)
    return figure
