"""Seven toy faces in colour, what to_grey48 makes of them, and the machine's card."""

import platform

import numba
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from tinyfer import data, plots
from tinyfer.bench import facts
from tinyfer.data import LABELS

COAT = LinearSegmentedColormap.from_list("coat", ["#20161f", "#6b3b2c", "#c98b66", "#f0cba8", "#fdf3e7"])


def coloured(label):
    """A drawn face of 192 x 192 pixels, with skin, uint8 (192, 192, 3)."""
    grey = data.toyfaces.draw(192, label, np.random.default_rng(len(label) + ord(label[0])), noise=0, occlusion="none")
    return (COAT(grey / 255.0)[..., :3] * 255).astype(np.uint8)


def card():
    """What this machine says of itself."""
    memory = facts.memory_gb()
    return [facts.processor(), f"{facts.cores()} cores, {facts.compiling.VECTOR_BITS or 'no'} vector bits"
            + (f", {memory:.0f} GB" if memory else ""),
            f"Python {platform.python_version()}, NumPy {np.__version__}, Numba {numba.__version__}"]  # fmt: skip


def draw(mine):
    figure = plots.empty_figure(12, 4.6)
    rows = figure.subplots(2, 7)
    for label, (above, below) in zip(LABELS, rows.T, strict=True):
        img = coloured(label)
        above.imshow(img)
        above.set_title(label, fontsize=11, color=plots.INK)
        below.imshow(mine.to_grey48(img), cmap="gray", vmin=0, vmax=255)
        for axes in (above, below):
            axes.set_xticks([])
            axes.set_yticks([])
    rows[0, 0].set_ylabel("192 x 192 x 3", color=plots.INK)
    rows[1, 0].set_ylabel("48 x 48", color=plots.INK)
    figure.supxlabel("   |   ".join(card()), fontsize=9, color=plots.FAINT)
    return figure
