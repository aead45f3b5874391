"""How two orders of the same loops go through the weights, and what that is worth: the ladder of speed, per core."""

from unittest import mock

import numba
import numpy as np

from lessons.checking import Traced, seconds_in_turn
from tinyfer import kernels, plots, reference
from tinyfer.kernels import conv, gemm

SMALL = (1, 6, 4, 8)  # pictures, side, channels, kernels: of the reading of w, and of the loops in plain Python
LARGE = (2, 24, 64, 64)
YOURS, LOOPS = "yours", "seven loops in Python"


def layer(pictures, side, channels, count):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((pictures, side, side, channels), np.float32)
    return x, rng.standard_normal((3, 3, channels, count), np.float32), np.zeros(count, np.float32), 1, 1


def draw(mine):
    figure = plots.empty_figure(12.5, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    draw_reading(mine, left)
    draw_ladder(speeds(mine), right)
    return figure


def plain(f):
    """A function as Python runs it."""
    return getattr(f, "py_func", f)


# ----------------------------------------------------------------------------------------------------- reading weights


def draw_reading(mine, axes):
    """Which weight is read, step by step, for one pixel of the answer."""
    x, w, *rest = layer(*SMALL)
    plots.clean(axes)
    given = f"by_definition: c innermost, jumps of K = {w.shape[3]}"
    for f, colour, label in ((mine.by_definition, plots.ORANGE, given), (mine.conv2d_forward, plots.BLUE, YOURS)):
        watched = Traced.of(w)
        plain(f)(x, watched, *rest)
        reads = [at for at in watched.reads if at is not None]
        first = 14 * w.size  # a pixel in the middle of the picture, where all taps count
        steps = reads[first : first + w.size] or reads[: w.size]
        label = label if steps else f"{YOURS}: reads whole rows"
        axes.plot(steps, ".-", color=colour, markersize=3, linewidth=0.9, label=label)
    axes.set_xlim(0, w.size)
    axes.set_ylim(0, w.size * 1.3)
    axes.set_xlabel("step of the innermost loop", color=plots.INK)
    axes.set_title("which of the weights is read, counted in memory", loc="left", fontsize=11, color=plots.INK)
    axes.legend(frameon=False, labelcolor=plots.INK, loc="upper left", fontsize=9)


# ---------------------------------------------------------------------------------------------------------- the ladder


def speeds(mine):
    """Name -> GFLOP/s of one core, from the slowest way to the fastest."""
    small, large = layer(*SMALL), layer(*LARGE)
    readable = mock.patch.object(conv, "gemm_code", lambda dtype: gemm.gemm_code(dtype, rows=1))

    def ours_readable():
        with readable:
            return kernels.conv2d_forward(*large)

    own = mine.conv2d_forward
    slow = not isinstance(own, numba.core.dispatcher.Dispatcher)
    ways = {
        LOOPS: lambda: plain(mine.by_definition)(*small),
        "njit, the order of the formula": lambda: mine.by_definition(*large),
        YOURS: lambda: own(*small if slow else large),
        "NumPy, a product for each tap": lambda: reference.conv2d_forward(*large),
        "our kernel, in plain loops": ours_readable,
        "our kernel, in register tiles": lambda: kernels.conv2d_forward(*large),
    }
    for run in ways.values():
        run()  # compiles
    seconds = seconds_in_turn(ways, rounds=5)
    found = {name: flops(small if name == LOOPS or (slow and name == YOURS) else large) / taken / 1e9
             for name, taken in seconds.items()}  # fmt: skip
    return dict(sorted(found.items(), key=lambda item: item[1]))


def flops(args):
    x, w = args[:2]
    return 2 * x.size // x.shape[3] * w.size


def draw_ladder(found, axes):
    names = list(found)
    colours = [plots.BLUE if name == YOURS else "#C9CDD2" for name in names]
    plots.clean(axes)
    axes.barh(range(len(names)), list(found.values()), color=colours, height=0.66)
    for place, speed in enumerate(found.values()):
        axes.text(speed * 1.15, place, f"{speed:.2g}" if speed < 10 else f"{speed:.0f}", va="center", fontsize=10,
                  color=plots.INK)  # fmt: skip
    axes.set_yticks(range(len(names)), names, fontsize=10)
    axes.set_xscale("log")
    axes.set_xlim(min(found.values()) / 2, max(found.values()) * 3)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel("GFLOP/s of one core, logarithmic", color=plots.INK)
    axes.set_title(f"the ladder: yours is {found[YOURS] / found[LOOPS]:,.0f} times plain Python",
                   loc="left", fontsize=11, color=plots.INK)  # fmt: skip
