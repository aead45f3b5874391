"""A network of two dense layers and a ReLU finds a curved boundary; one layer alone makes a template of each face."""

import numpy as np

from tinyfer import data, plots
from tinyfer.data import LABELS

HIDDEN, STEPS, RATE = 16, 500, 0.6
FACES, SIDE, FACE_STEPS, FACE_RATE = 280, 16, 20, 0.3


def gradient(scores, target):
    """(softmax - target) / N: the answer of lesson 01."""
    p = np.exp(scores - scores.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True) - np.eye(scores.shape[1])[target]) / len(scores)


def rings(rng, count=200):
    """Two classes of points (count, 2): a disc, and a ring with a gap around it."""
    target = np.arange(count) % 2
    radius = np.where(target, rng.uniform(1.35, 2.1, count), rng.uniform(0, 0.95, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), target


class Network:
    """Dense, ReLU (or not), dense, from the student's functions, learning by plain steps downhill."""

    def __init__(self, mine, bent, rng):
        self.mine, self.bent = mine, bent
        self.w, self.b = rng.standard_normal((2, HIDDEN)) * 0.8, rng.standard_normal(HIDDEN) * 0.3
        self.v, self.c = rng.standard_normal((HIDDEN, 2)) * 0.4, np.zeros(2)

    def forward(self, x):
        self.hidden = self.mine.dense_forward(x, self.w, self.b)
        self.seen = self.mine.relu_forward(self.hidden) if self.bent else self.hidden
        return self.mine.dense_forward(self.seen, self.v, self.c)

    def learn(self, x, target):
        dseen, dv, dc = self.mine.dense_backward(gradient(self.forward(x), target), self.seen, self.v)
        dhidden = self.mine.relu_backward(dseen, self.hidden) if self.bent else dseen
        _, dw, db = self.mine.dense_backward(dhidden, x, self.w)
        for weights, slope in ((self.w, dw), (self.b, db), (self.v, dv), (self.c, dc)):
            weights -= RATE * slope


def draw(mine):
    figure = plots.empty_figure(12, 6.4)
    above, below = figure.subfigures(2, 1, height_ratios=(1.75, 1))
    straight, bent = above.subplots(1, 2)
    draw_boundary(mine, straight, False)
    draw_boundary(mine, bent, True)
    draw_templates(mine, below)
    return figure


def draw_boundary(mine, axes, bent):
    rng = np.random.default_rng(3)
    x, target = rings(rng)
    network = Network(mine, bent, rng)
    for _ in range(STEPS):
        network.learn(x, target)
    right = (network.forward(x).argmax(1) == target).mean()
    across, up = np.meshgrid(np.linspace(-2.7, 2.7, 121), np.linspace(-2.35, 2.35, 101))
    scores = network.forward(np.stack([across.ravel(), up.ravel()], 1))
    gap = (scores[:, 1] - scores[:, 0]).reshape(across.shape)
    axes.contourf(across, up, gap, levels=[-1e9, 0, 1e9], colors=["#CFE3F0", "#FBE0CE"])
    axes.contour(across, up, gap, levels=[0], colors=plots.INK, linewidths=2)
    for number, colour, marker in ((0, plots.BLUE, "o"), (1, plots.ORANGE, "s")):
        axes.scatter(*x[target == number].T, s=16, color=colour, marker=marker, edgecolor="white", linewidth=0.4)
    name = f"dense {HIDDEN}, ReLU, dense 2" if bent else f"dense {HIDDEN}, dense 2: two straight maps make one"
    axes.set_title(f"{name}  ({100 * right:.0f} % right)", loc="left", fontsize=11, color=plots.INK)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def draw_templates(mine, figure):
    faces = data.toyfaces(int(FACES / 0.8), np.random.default_rng(0)).train
    step = faces.images.shape[1] // SIDE
    small = faces.images.reshape(len(faces), SIDE, step, SIDE, step).mean((2, 4)) / 255.0
    x = (small - small.mean(0)).reshape(len(small), -1)
    w, b = np.zeros((SIDE * SIDE, 7)), np.zeros(7)
    for _ in range(FACE_STEPS):
        _, dw, db = mine.dense_backward(gradient(mine.dense_forward(x, w, b), faces.labels), x, w)
        w, b = w - FACE_RATE * dw, b - FACE_RATE * db
    for k, axes in enumerate(figure.subplots(1, 7)):
        extent = np.abs(w[:, k]).max()
        axes.imshow(w[:, k].reshape(SIDE, SIDE), cmap="gray", vmin=-extent, vmax=extent)
        axes.set_title(LABELS[k], fontsize=10, color=plots.INK)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle("one dense layer from 16 x 16 drawn faces to seven scores: column k of w as a picture", x=0.02,
                    ha="left", fontsize=11, color=plots.INK)  # fmt: skip
