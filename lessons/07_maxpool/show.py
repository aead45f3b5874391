"""The map of the winners: which pixel of each window goes on, where the gradient goes back, and the edges of a face
pooled again and again."""

import numpy as np

from tinyfer import data, plots, reference

SIDE, TOP, LEFT, CUT = 96, 32, 52, 16  # of the face, and the piece of it that is shown large
PINK = "#CC79A7"
TAPS = [plots.BLUE, plots.ORANGE, plots.GREEN, PINK]
SIGNED = plots.LinearSegmentedColormap.from_list("dx", [plots.BLUE, "white", plots.ORANGE])


def edges():
    """How strong the edges of a drawn face are, (1, 96, 96, 1)."""
    face = data.toyfaces.draw(SIDE, "happy", np.random.default_rng(4), noise=0, occlusion="none") / 255.0
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)
    kernels = np.stack([sobel, sobel.T], 2)[:, :, None]
    both = reference.conv2d_forward(np.pad(face, 1, "edge")[None, :, :, None], kernels, np.zeros(2), 1, 0)
    return np.sqrt((both**2).sum(3, keepdims=True))


def draw(mine):
    x = edges()
    figure = plots.empty_figure(12.5, 6.6)
    above, below = figure.subfigures(2, 1, height_ratios=(1.12, 1))
    draw_winners(mine, above, x[:, TOP : TOP + CUT, LEFT : LEFT + CUT])
    draw_again_and_again(mine, below, x)
    return figure


def picture(axes, values, title, **style):
    axes.imshow(values, **style)
    axes.set_title(title, fontsize=10, color=plots.INK)
    axes.set_xticks([])
    axes.set_yticks([])


def windows(axes, size=2):
    """White lines between the windows."""
    for at in np.arange(0, CUT + 1, size) - 0.5:
        axes.axhline(at, color="white", linewidth=1.2)
        axes.axvline(at, color="white", linewidth=1.2)


def draw_winners(mine, figure, x):
    figure.suptitle("forwards the largest of each 2 x 2 window goes on; backwards its gradient goes to that pixel, "
                    "and to no other", x=0.015, ha="left", fontsize=11, color=plots.INK)  # fmt: skip
    y, index = mine.maxpool_forward(x, 2, 2)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx = mine.maxpool_backward(dy, index, x.shape, 2, 2)
    row = figure.subplots(1, 5)
    style = {"cmap": "gray", "vmin": 0, "vmax": 0.8 * x.max()}
    picture(row[0], x[0, :, :, 0], "x: the edges of an eye", **style)
    windows(row[0])
    picture(row[1], winners(index[0, :, :, 0]), "index: the map of the winners")
    windows(row[1])
    for tap, (i, j) in enumerate(np.ndindex(2, 2)):
        name = f"{tap}\n{('above', 'below')[i]}\n{('left', 'right')[j]}"
        row[1].text(0.125 + 0.25 * tap, -0.03, name, color=TAPS[tap], fontsize=8, ha="center", va="top",
                    transform=row[1].transAxes)  # fmt: skip
    picture(row[2], y[0, :, :, 0], "y", **style)
    extent = 0.8 * np.abs(dy).max()
    picture(row[3], dy[0, :, :, 0], "dy: what comes back", cmap=SIGNED, vmin=-extent, vmax=extent)
    picture(row[4], dx[0, :, :, 0], "dx: white is 0", cmap=SIGNED, vmin=-extent, vmax=extent)


def winners(index):
    """The map as a picture (H, W, 3): each winner in the colour of its number, all others light."""
    shown = np.full((2 * len(index), 2 * index.shape[1], 3), 0.93)
    for (p, q), tap in np.ndenumerate(index):
        colour = TAPS[int(tap)].lstrip("#")
        shown[2 * p + tap // 2, 2 * q + tap % 2] = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return shown


def draw_again_and_again(mine, figure, x):
    figure.suptitle("96 x 96 edges pooled four times: the strongest answer survives. To take every sixteenth pixel "
                    "loses most of them (right)", x=0.015, ha="left", fontsize=11, color=plots.INK)  # fmt: skip
    row = figure.subplots(1, 6)
    y = x
    for pooled, axes in enumerate(row[:5]):
        title = f"pooled {pooled} times" if pooled > 1 else "pooled once" if pooled else "x"
        picture(axes, y[0, :, :, 0], f"{title}: {y.shape[1]} x {y.shape[2]}", cmap="gray", vmin=0, vmax=x.max())
        y, _ = mine.maxpool_forward(y, 2, 2)
    picture(row[5], x[0, 8::16, 8::16, 0], "every 16th pixel: 6 x 6", cmap="gray", vmin=0, vmax=x.max())
