"""The pictures of a run: curves, confusion matrix, first-layer filters, in colours that colour-blind readers can tell.

Each function answers a matplotlib Figure; `png` and `svg` turn it into the bytes of a file. No window is opened."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from tinyfer.metrics import Scores

# Okabe & Ito 2008. Training is blue, validation orange, on every picture of this project.
BLUE, ORANGE, GREEN, INK, FAINT = "#0072B2", "#D55E00", "#009E73", "#222222", "#888888"
_SHADES = LinearSegmentedColormap.from_list("tinyfer", ["#FFFFFF", "#CFE3F0", "#5BA3CF", BLUE, "#003A5C"])


def png(figure: Figure, dpi: int = 120) -> bytes:
    """The figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as the bytes of an SVG file: the same bytes whenever it is drawn, letters as outlines."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tinyfer"}):
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    return file.getvalue()


def clean(axes) -> None:
    """No box around, faint grid behind, and quiet ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.grid(True, color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=3)


def curves(rows: Sequence[dict]) -> Figure:
    """Loss and accuracy of training and validation, epoch by epoch, from the rows of log.csv; one row is enough."""
    figure = empty_figure(10, 4.2)
    epochs = [row["epoch"] for row in rows]
    best = max(rows, key=lambda row: (row["size"], row["val_accuracy"]))
    for axes, key, scale, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), ("loss", "accuracy, %"),
                                       strict=True):
        clean(axes)
        for part, colour, marker, name in (("train", BLUE, "o", "training"), ("val", ORANGE, "s", "validation")):
            values = [scale * row[f"{part}_{key}"] for row in rows]
            axes.plot(epochs, values, color=colour, linewidth=2, marker=marker if len(rows) <= 30 else None,
                      markersize=4.5, label=name)
        axes.set_title(title, loc="left", fontsize=12, color=INK)
        axes.set_xlabel("epoch", size=10, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        margin = max(0.5, 0.03 * (epochs[-1] - epochs[0]))
        axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
        for before, row in itertools.pairwise(rows):
            if row["size"] != before["size"]:  # the pictures grow
                axes.axvline(row["epoch"] - 0.5, color=FAINT, linewidth=1, linestyle=":")
                axes.text(row["epoch"] - 0.5, 1, f" {row['size']:.0f}x{row['size']:.0f}", fontsize=9, color=INK,
                          va="top", transform=axes.get_xaxis_transform())
        axes.legend(frameon=False, fontsize=10, labelcolor=INK)
    top = 100 * best["val_accuracy"]
    axes.scatter([best["epoch"]], [top], s=110, facecolor="none", edgecolor=ORANGE, linewidth=1.6, zorder=3)
    axes.set_title(f"best validation {top:.1f} %, epoch {best['epoch']}", loc="right", fontsize=10, color=ORANGE)
    return figure


def empty_figure(width: float, height: float) -> Figure:
    """A figure of so many inches with room around it."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))


def confusion(scores: Scores, title: str = "") -> Figure:
    """The confusion matrix: each row in per cent of its true class, with the counts below, the diagonal framed."""
    size = len(scores.labels)
    figure = empty_figure(0.86 * size + 1.6, 0.86 * size + 1.2)
    axes = figure.subplots()
    share = scores.confusion / np.maximum(1, scores.support)[:, None]
    axes.imshow(share, cmap=_SHADES, vmin=0, vmax=1)
    for i in range(size):
        for j in range(size):
            colour = "white" if share[i, j] > 0.5 else INK if scores.confusion[i, j] else "#BBBBBB"
            axes.text(j, i - 0.08, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=12,
                      fontweight="bold" if i == j else "normal")
            axes.text(j, i + 0.27, f"{scores.confusion[i, j]:,}", ha="center", va="center", color=colour, fontsize=7.5)
    for i in range(size):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=1.4, zorder=3))
    axes.set_xticks(range(size), scores.labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), scores.labels)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0, colors=INK, labelsize=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("the network's answer; large: per cent of the true class, small: pictures", size=10, color=INK)
    axes.set_ylabel("true class", size=10, color=INK)
    title = title or f"{100 * scores.accuracy:.1f} % of {scores.total:,} pictures right"
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    return figure


def filters(weight: np.ndarray, columns: int = 16) -> Figure:
    """First-layer kernels (kh,kw,C,K) as small grey pictures, each about its own middle grey, strongest first."""
    kernels = weight.mean(axis=2).transpose(2, 0, 1)
    kernels = kernels[np.argsort(-np.abs(kernels).max(axis=(1, 2)), kind="stable")]
    columns = min(columns, len(kernels))
    rows = -(-len(kernels) // columns)
    figure = empty_figure(0.55 * columns, 0.55 * rows + 0.2)
    for axes in figure.subplots(rows, columns, squeeze=False).ravel():
        axes.set_axis_off()
    for axes, kernel in zip(figure.axes, kernels, strict=False):
        extent = max(1e-12, float(np.abs(kernel).max()))
        axes.imshow(kernel, cmap="gray", vmin=-extent, vmax=extent)
        height, width = kernel.shape
        axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=FAINT, linewidth=0.8,
                                 clip_on=False))
    return figure
