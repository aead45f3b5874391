"""How near to the limit of one core a convolution comes, by its number of channels; and how often it goes to memory."""

import contextlib

import numba
import numpy as np

from lessons.checking import Traced, seconds_in_turn
from tinyfer import kernels, plots
from tinyfer.bench.loops import Peak, Winograd
from tinyfer.kernels.compile import LANES

CHANNELS = (4, 8, 16, 32, 64, 128)
SIDE, PICTURES = 24, 2
FEW = 8  # channels of the largest layer for which a multiply in plain Python is waited for
BURST = 0.4  # seconds in search of the limit
COLOURS = {"lesson 10": plots.ORANGE, "yours": plots.BLUE, "our register tiles": plots.FAINT,
           "our Winograd, F(4x4, 3x3)": plots.GREEN, "PyTorch": plots.INK}  # fmt: skip
SHADES = "#E3C6D8", "#CC79A7", "#7A3E63"  # of the trips: of a, of wt, of y


def layer(channels):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((PICTURES, SIDE, SIDE, channels), np.float32)
    return x, rng.standard_normal((3, 3, channels, channels), np.float32), np.zeros(channels, np.float32), 1, 1


def draw(mine):
    figure = plots.empty_figure(12.5, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    draw_speeds(mine, left)
    draw_trips(mine, right)
    return figure


# ---------------------------------------------------------------------------------------------------------------- speed


def ways(mine, args):
    """Name -> a convolution of this layer, as far as it can be done here."""
    x, w = args[:2]
    found = {"lesson 10": lambda: mine.lesson_10(*args),
             "our register tiles": lambda: kernels.conv2d_forward(*args)}  # fmt: skip
    if isinstance(mine.multiply, numba.core.dispatcher.Dispatcher) or x.shape[3] <= FEW:
        found["yours"] = lambda: mine.conv2d_forward(*args)
    if LANES and x.shape[3] % LANES == 0:  # whole vectors
        winograd = Winograd(x, w)
        found["our Winograd, F(4x4, 3x3)"] = lambda: winograd(x, w)
    with contextlib.suppress(ImportError):
        found["PyTorch"] = torch_convolution(x, w)
    return found


def torch_convolution(x, w):
    """The same layer by PyTorch, on one thread, channels last."""
    import torch

    torch.set_num_threads(1)
    last = torch.channels_last
    inputs = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=last)
    weights = torch.from_numpy(w).permute(3, 2, 0, 1).contiguous(memory_format=last)

    def run():
        with torch.no_grad():
            return torch.nn.functional.conv2d(inputs, weights, padding=1)

    return run


def speeds(mine):
    """Name -> {channels: GFLOP/s of a direct convolution}, on one thread; and the limit of that thread."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    found = {}
    try:
        for channels in CHANNELS:
            args = layer(channels)
            turns = ways(mine, args)
            for run in turns.values():
                run()  # compiles
            flops = 2 * args[0].size * args[1].size / channels
            for name, seconds in seconds_in_turn(turns, rounds=5).items():
                found.setdefault(name, {})[channels] = flops / seconds / 1e9
        limit = 1 / Peak(1).run(0.1, BURST)["seconds"]
    finally:
        numba.set_num_threads(before)
    return found, limit


def draw_speeds(mine, axes):
    found, limit = speeds(mine)
    plots.clean(axes)
    axes.axhline(limit, color=plots.INK, linewidth=1.2)
    axes.text(CHANNELS[0], limit * 1.02, f"the limit of a direct convolution: {limit:.0f}", fontsize=9, va="bottom",
              color=plots.INK)  # fmt: skip
    for name, speed in sorted(found.items(), key=lambda item: list(COLOURS).index(item[0])):
        own = name == "yours"
        axes.plot(list(speed), list(speed.values()), marker="o", color=COLOURS[name], linewidth=2.6 if own else 1.5,
                  markersize=6 if own else 4, linestyle=":" if name == "PyTorch" else "-",
                  label=f"{name}: up to {max(speed.values()):.0f}", zorder=3 if own else 2)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(CHANNELS, map(str, CHANNELS))
    axes.set_ylim(0, 1.1 * max(limit, *(max(speed.values()) for speed in found.values())))
    axes.set_xlabel("channels in and out", color=plots.INK)
    axes.set_title(f"GFLOP/s of one core: 3x3 kernels, {SIDE}x{SIDE} pixels", loc="left", fontsize=11, color=plots.INK)
    axes.legend(frameon=False, labelcolor=plots.INK, loc="upper left", bbox_to_anchor=(0, 0.93), fontsize=9)


# ------------------------------------------------------------------------------------------------------ trips to memory


def trips(mine, m=24, count=12, depth=36):
    """Numbers that the student's multiply loads or stores for each multiply-add. What it loads of y, it stores again;
    where it loads nothing, it stores each number once."""
    rng = np.random.default_rng(0)
    a, wt = (Traced.of(rng.standard_normal((rows, depth), np.float32)) for rows in (m, count))
    y = Traced.of(np.zeros((m, count), np.float32))
    getattr(mine.multiply, "py_func", mine.multiply)(a, wt, np.zeros(count, np.float32), y)
    a_loads, wt_loads, y_loads = (array.loads / (m * count * depth) for array in (a, wt, y))
    return {"of a": a_loads, "of wt": wt_loads, "of y": 2 * y_loads if y_loads else 1 / depth}


def draw_trips(mine, axes):
    """Lesson 10: each multiply-add loads a weight, loads a sum and stores it; a pixel serves all K of them."""
    bars = {"lesson 10": {"of a": 1 / 64, "of wt": 1, "of y": 2}, "yours": trips(mine)}
    plots.clean(axes)
    for place, parts in enumerate(bars.values()):
        left = 0.0
        for (name, value), colour in zip(parts.items(), SHADES, strict=True):
            axes.barh(place, value, left=left, color=colour, height=0.5, label=None if place else name)
            left += value
        axes.text(left + 0.06, place, f"{left:.2g}", va="center", fontsize=11, color=plots.INK)
    axes.set_yticks(range(len(bars)), bars, fontsize=10)
    axes.invert_yaxis()
    axes.set_ylim(1.9, -0.9)
    axes.set_xlim(0, 3.6)
    axes.grid(False, axis="y")
    axes.set_xlabel("loads and stores for each multiply-add", color=plots.INK)
    axes.set_title("trips to memory", loc="left", fontsize=11, color=plots.INK)
    axes.legend(frameon=False, labelcolor=plots.INK, loc="lower right", ncols=3, fontsize=9)
