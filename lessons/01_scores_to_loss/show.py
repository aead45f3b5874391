"""The loss against the gap between the right score and the others, and one picture's way from scores to gradient."""

import numpy as np

from tinyfer import plots
from tinyfer.data import LABELS

SCORES = np.array([[0.2, -1.6, 0.7, 2.1, -0.4, 1.2, 0.5]], np.float32)  # of a happy face
HAPPY = LABELS.index("happy")


def loss_of(mine, z, target):
    return mine.softmax_cross_entropy(z, np.full(len(z), target), np.ones(z.shape[1], z.dtype), 0.0)


def draw(mine):
    figure = plots.empty_figure(12, 4.8)
    gap_axes, bar_axes = figure.subplots(1, 2, width_ratios=(1, 1.1))
    draw_gap(mine, gap_axes)
    draw_bars(mine, bar_axes)
    return figure


def draw_gap(mine, axes):
    gaps = np.linspace(-10, 10, 201)
    z = np.zeros((len(gaps), 7))
    z[:, 0] = gaps
    both = [loss_of(mine, row[None], 0) for row in z]
    loss, slope = np.array([one[0] for one in both]), np.array([one[1][0, 0] for one in both])
    plots.clean(axes)
    axes.plot(gaps, loss, color=plots.BLUE, linewidth=2.5, label="loss")
    axes.plot(gaps, slope, color=plots.ORANGE, linewidth=2.5, label="gradient of the right score")
    axes.scatter([0], [np.log(7)], s=70, color=plots.INK, zorder=3)
    axes.annotate("the start: all scores equal,\nloss ln 7 = 1.946", (0, np.log(7)), (1.2, 4.6), color=plots.INK,
                  arrowprops={"arrowstyle": "-", "color": plots.FAINT})  # fmt: skip
    axes.text(-9.8, 3.6, "wrong and sure:\nthe loss grows with the gap,\nthe gradient stays near -1", size=9, va="top")
    axes.text(10, 0.4, "right and sure:\nnothing to learn", fontsize=9, ha="right")
    axes.set_xlabel("right score minus the others (all six equal)", color=plots.INK)
    axes.set_ylim(-1.6, 12.5)
    axes.set_title("one picture, seven classes", loc="left", fontsize=11, color=plots.INK)
    axes.legend(frameon=False, loc="upper right", labelcolor=plots.INK)


def draw_bars(mine, axes):
    p, dz = mine.softmax(SCORES)[0], loss_of(mine, SCORES, HAPPY)[1][0]
    places = np.arange(7)
    plots.clean(axes)
    axes.axhline(0, color=plots.FAINT, linewidth=0.8)
    axes.bar(places - 0.2, p, 0.4, color=plots.BLUE, label="probability p")
    axes.bar(places + 0.2, dz, 0.4, color=plots.ORANGE, label="gradient dz = p - q")
    for place, value, score in zip(places, p, SCORES[0], strict=True):
        axes.text(place - 0.2, value + 0.015, f"{value:.2f}", ha="center", fontsize=8.5, color=plots.BLUE)
        axes.text(place, -0.68, f"score {score:+.1f}", ha="center", fontsize=8.5, color=plots.INK)
    axes.set_xticks(places, LABELS)
    axes.set_ylim(-0.74, 0.72)
    axes.set_title("a happy face: which scores should go down, which one up?", loc="left", fontsize=11, color=plots.INK)
    axes.legend(frameon=False, loc="upper right", labelcolor=plots.INK)
