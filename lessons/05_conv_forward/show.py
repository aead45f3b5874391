"""One face through six kernels: what each of them looks for, and where it finds it."""

import numpy as np

from tinyfer import data, plots

SIDE = 96


def kernels(mine):
    """name -> kernel (3, 3) or (5, 5)."""
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    rim = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    corner = np.zeros((5, 5))
    corner[0, 0] = 1
    return {
        "1 in the corner: moved": corner,
        "blur: the mean": np.ones((5, 5)) / 25,
        "Sobel: upright edges": across,
        "Sobel: level edges": across.T,
        "Laplace: all rims": rim,
        "my_kernel: yours": np.asarray(mine.my_kernel(), float),
    }


def through(mine, picture, kernel):
    """The picture (H, W) seen by one kernel, of the same size."""
    x = picture[None, :, :, None].astype(np.float32)
    w = kernel[:, :, None, None].astype(np.float32)
    return mine.conv2d_forward(x, w, np.zeros(1, np.float32), 1, len(kernel) // 2)[0, :, :, 0]


def draw(mine):
    face = data.toyfaces.draw(SIDE, "happy", np.random.default_rng(4), noise=0, occlusion="none") / 255.0
    figure = plots.empty_figure(12.5, 4.6)
    rows = figure.subplots(2, 7, height_ratios=(1, 0.62))
    rows[0, 0].imshow(face, cmap="gray", vmin=0, vmax=1)
    rows[0, 0].set_title("x", fontsize=10, color=plots.INK)
    rows[1, 0].text(0.5, 0.5, "kernels w\n\nblue: negative\nwhite: 0\norange: positive", ha="center", va="center",
                    fontsize=9, color=plots.INK, transform=rows[1, 0].transAxes)  # fmt: skip
    for (name, kernel), (above, below) in zip(kernels(mine).items(), rows.T[1:], strict=True):
        y = through(mine, face, kernel)
        extent = np.abs(y[2:-2, 2:-2]).max()
        above.imshow(y, cmap="gray", vmin=0 if kernel.min() >= 0 else -extent, vmax=1 if kernel.min() >= 0 else extent)
        above.set_title(name, fontsize=9, color=plots.INK)
        draw_kernel(below, kernel)
    for axes in rows.ravel():
        axes.set_xticks([])
        axes.set_yticks([])
    rows[1, 0].set_axis_off()
    return figure


def draw_kernel(axes, kernel):
    extent = np.abs(kernel).max()
    axes.imshow(kernel, cmap=plots.LinearSegmentedColormap.from_list("w", [plots.BLUE, "white", plots.ORANGE]),
                vmin=-1.6 * extent, vmax=1.6 * extent)  # fmt: skip
    for (i, j), value in np.ndenumerate(kernel):
        text = f"{value:g}" if kernel.max() >= 1 else "1/25"
        axes.text(j, i, text, ha="center", va="center", fontsize=9 if len(kernel) == 3 else 5.5, color=plots.INK)
