"""The gradient of one 3x3 kernel in hundreds of runs, with a race and without: its values, and some of the results."""

import numba
import numpy as np

from tinyfer import data, plots, reference

RUNS, FEW = 400, 2  # FEW: of a function in plain Python
PICTURES, SIDE = 64, 24
SHOWN = {"the median run": 0.5, "9 of 10 are better": 0.9, "the worst": 1.0}  # of the way from best to worst
RACE, YOURS = "one dw for all threads", "yours"
SHADES = plots.LinearSegmentedColormap.from_list("share", [plots.ORANGE, "#FBE3D6", "#D3E6F2"])


def runs_of(f):
    return RUNS if isinstance(f, numba.core.dispatcher.Dispatcher) else FEW


def racy(add_picture):
    """The backward convolution as many write it at first: all threads add to one dw."""

    @numba.njit(parallel=True)
    def conv2d_backward(dy, x, w, stride, pad):
        dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
        for n in numba.prange(len(x)):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw, db)
        return dx, dw, db

    return conv2d_backward


def draw(mine):
    faces = data.toyfaces(7 * PICTURES, np.random.default_rng(0), size=SIDE).train.images[:PICTURES]
    x = (faces[..., None] / 255).astype(np.float32)
    args = np.ones(x.shape, np.float32), x, np.zeros((3, 3, 1, 1), np.float32), 1, 1
    right = reference.conv2d_backward(*args)[1]
    functions = {RACE: racy(mine.add_picture), YOURS: mine.conv2d_backward}
    found = {name: np.array([f(*args)[1] for _ in range(runs_of(f))]) for name, f in functions.items()}
    shares = {name: (runs / right)[..., 0, 0] for name, runs in found.items()}  # (RUNS, 3, 3)
    figure = plots.empty_figure(12.5, 5)
    left, middle = figure.subfigures(1, 2, width_ratios=(1.35, 1))
    draw_values(shares, {name: len({run.tobytes() for run in runs}) for name, runs in found.items()}, left)
    draw_runs(shares, middle)
    return figure


def draw_values(shares, kinds, figure):
    """Histograms of the weight that suffers most from the race."""
    at = np.unravel_index(shares[RACE].std(0).argmax(), (3, 3))
    values = {name: 100 * runs[(slice(None), *at)] for name, runs in shares.items()}
    least, most = min(map(np.min, values.values())), max(map(np.max, values.values()))
    room = max(1.0, 0.04 * (most - least))
    bins = np.linspace(least - room, most + room, 61)
    for axes, name, colour in zip(figure.subplots(2, 1, sharex=True), shares, (plots.ORANGE, plots.BLUE), strict=True):
        plots.clean(axes)
        axes.hist(values[name], bins, color=colour)
        different = f"{kinds[name]} different dw" if kinds[name] > 1 else "always the same dw"
        axes.set_title(f"{name}: {len(values[name])} runs, {different}", loc="left", fontsize=11, color=plots.INK)
        axes.set_yscale("log")
        axes.set_ylim(0.7, 2 * RUNS)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel("runs", color=plots.INK)
    count = numba.get_num_threads()
    threads = f"on {count} threads" if count > 1 else "on one thread: no race can be seen on this machine"
    axes.set_xlabel(f"gradient of one weight, % of the right one; {threads}", color=plots.INK)


def draw_runs(shares, figure):
    """dw of a middling, a bad and the worst run, in percent of the right one."""
    for line, (name, runs) in zip(figure.subplots(2, len(SHOWN)), shares.items(), strict=True):
        order = np.abs(runs - 1).max((1, 2)).argsort()
        for axes, (which, part) in zip(line, SHOWN.items(), strict=True):
            share = runs[order[int(part * (len(runs) - 1))]]
            axes.set_xlabel(which, fontsize=9.5, color=plots.INK)
            axes.imshow(share, cmap=SHADES, vmin=0.6, vmax=1)
            for (i, j), value in np.ndenumerate(share):
                axes.text(j, i, f"{100 * value:.3g}", ha="center", va="center", fontsize=10, color=plots.INK)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name, fontsize=9.5, color=plots.INK)
    figure.suptitle("dw of three runs, % of the right one", x=0.03, ha="left", fontsize=11, color=plots.INK)
