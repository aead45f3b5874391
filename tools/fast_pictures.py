"""The pictures of docs/how-it-is-fast.md: the ladder that was measured, and a drawing for each of its ten steps.

Each function answers a figure 5 inches wide whose smallest letters can be read on a phone. A drawing is laid out in
units of half an inch, 10 across, y upwards."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from tinyfer.plots import BLUE, FAINT, GREEN, INK, ORANGE

SMALL, NORMAL = 9.0, 10.5
LIGHT_BLUE, LIGHT_ORANGE, LIGHT_GREEN, GREY = "#D3E6F2", "#FADBCB", "#CDEBE0", "#EDEFF1"
SHADES = {BLUE: LIGHT_BLUE, ORANGE: LIGHT_ORANGE, GREEN: LIGHT_GREEN, FAINT: GREY, INK: "white"}


class Canvas:
    """An empty drawing, 10 units across and `height` up."""

    def __init__(self, height: float):
        self.figure = Figure(figsize=(5, height / 2))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, 10)
        self.axes.set_ylim(0, height)
        self.axes.set_axis_off()

    def say(self, x: float, y: float, text: str, size: float = SMALL, colour: str = INK, ha: str = "center",
            va: str = "center", bold: bool = False, **more) -> None:
        """Words at a place."""
        self.axes.text(x, y, text, fontsize=size, color=colour, ha=ha, va=va, linespacing=1.25,
                       fontweight="bold" if bold else "normal", **more)

    def box(self, x: float, y: float, width: float, height: float, text: str = "", colour: str = FAINT,
            size: float = SMALL, fill: str | None = None, line: float = 1.0, bold: bool = False) -> None:
        """A rectangle with words in it; x, y is its lower left corner."""
        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=fill or SHADES[colour], edgecolor=colour,
                                      linewidth=line))
        if text:
            self.say(x + width / 2, y + height / 2, text, size, bold=bold)

    def card(self, x: float, y: float, width: float, height: float, text: str, colour: str = BLUE,
             size: float = SMALL) -> None:
        """The same with round corners: something that is done, where `box` is something that lies in memory."""
        self.axes.add_patch(FancyBboxPatch((x + 0.12, y + 0.12), width - 0.24, height - 0.24, facecolor=SHADES[colour],
                                           edgecolor=colour, linewidth=1.0, boxstyle="round,pad=0.12"))
        self.say(x + width / 2, y + height / 2, text, size)

    def frame(self, x: float, y: float, width: float, height: float, colour: str, line: float = 2.0,
              style: str = "-") -> None:
        """A rectangle's outline."""
        self.axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=line,
                                      linestyle=style, zorder=4))

    def grid(self, x: float, y: float, rows: int, columns: int, side: float) -> None:
        """Squares side by side."""
        self.axes.add_patch(Rectangle((x, y), columns * side, rows * side, facecolor="white", edgecolor="none"))
        ends = [((x, y + i * side), (x + columns * side, y + i * side)) for i in range(rows + 1)]
        ends += [((x + j * side, y), (x + j * side, y + rows * side)) for j in range(columns + 1)]
        path = Path([point for line in ends for point in line], [Path.MOVETO, Path.LINETO] * len(ends))
        self.axes.add_patch(PathPatch(path, edgecolor=FAINT, linewidth=0.6, fill=False))

    def arrow(self, start: tuple[float, float], end: tuple[float, float], colour: str = INK, bend: float = 0.0,
              line: float = 1.3) -> None:
        """An arrow; bend 0 is straight."""
        self.axes.add_patch(FancyArrowPatch(start, end, color=colour, linewidth=line, arrowstyle="-|>",
                                            mutation_scale=9, shrinkA=0, shrinkB=0, zorder=5,
                                            connectionstyle=f"arc3,rad={bend}"))


def ladder(steps: Mapping[str, Mapping], names: Mapping[str, str], peak: float) -> Figure:
    """Measured GFLOP/s of every step (steps[way]["gflops"]), on a logarithmic axis, names[way] above each bar."""
    ways = [way for way in names if way in steps]
    figure = Figure(figsize=(5, 0.7 + 0.42 * len(ways)))
    axes = figure.add_axes((0.03, 0.075, 0.94, 0.915))
    rates = [steps[way]["gflops"] for way in ways]
    low, high = min(rates) / 3, 2 * max(*rates, peak)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(ways) - 0.35, -1.25)
    for place, (way, rate) in enumerate(zip(ways, rates, strict=True)):
        colour = BLUE if way in ("tile", "direct", "winograd", "fused", "engine") else "#B9BEC6"
        axes.barh(place, rate - low, left=low, height=0.42, color=colour)
        axes.text(low * 1.04, place - 0.25, names[way], fontsize=SMALL + 0.5, color=INK, va="bottom")
        inside = rate > low * (high / low) ** 0.5
        axes.text(rate * (0.88 if inside else 1.12), place + 0.015, number(rate), fontsize=SMALL + 0.5, va="center",
                  ha="right" if inside else "left", color="white" if inside and colour == BLUE else INK,
                  fontweight="bold")
    axes.axvline(peak, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.text(peak * 0.93, -1.05, f"peak of the multiply-add units: {number(peak)}", fontsize=SMALL, color=INK,
              ha="right", va="center")
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=SMALL, colors=INK)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("GFLOP/s of direct convolution, logarithmic", fontsize=SMALL, color=INK)
    return figure


def number(value: float) -> str:
    """Three digits: 0.00412, 1.37, 45.3, 1,210."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def loops() -> Figure:
    """One output is a sum over a window."""
    c = Canvas(5.6)
    for back in (2, 1, 0):
        c.grid(0.4 + 0.22 * back, 1.3 + 0.22 * back, 6, 6, 0.5)
    c.frame(0.9, 2.3, 1.5, 1.5, ORANGE, 2.4)
    c.axes.add_patch(Rectangle((0.9, 2.3), 1.5, 1.5, facecolor=LIGHT_ORANGE, edgecolor="none", alpha=0.8))
    for back in (2, 1, 0):
        c.grid(6.1 + 0.22 * back, 1.3 + 0.22 * back, 6, 6, 0.5)
    c.box(7.1, 2.8, 0.5, 0.5, colour=BLUE, fill=BLUE)
    c.arrow((2.5, 3.05), (7.0, 3.05), ORANGE, line=1.8)
    c.box(4.35, 3.3, 1.35, 0.75, "weights\n3 × 3 × C", ORANGE)
    c.say(4.98, 2.6, "576 products,\none sum")
    c.say(2.1, 0.85, "input: rows p, columns q,\nC = 64 channels")
    c.say(7.8, 0.85, "output: one number for\neach p, q and k of K = 64")
    c.say(5, 5.3, "y[p, q, k] = Σ x[p+i−1, q+j−1, c] · w[i, j, c, k]", NORMAL)
    return c.figure


def im2col() -> Figure:
    """Windows become rows of a matrix."""
    c = Canvas(5.8)
    c.grid(0.3, 2.1, 6, 6, 0.42)
    c.frame(0.3, 3.36, 1.26, 1.26, ORANGE, 2.2)
    c.frame(0.72, 3.36, 1.26, 1.26, BLUE, 2.2, "--")
    c.say(1.56, 1.75, "pictures", NORMAL)
    c.box(3.6, 1.0, 2.3, 3.8, fill="white")
    for i in range(9):
        top = 4.8 - (i + 1) * 3.8 / 9
        colour = (ORANGE, BLUE)[i] if i < 2 else FAINT
        c.box(3.6, top, 2.3, 3.8 / 9, colour=colour, line=0.8)
    c.arrow((1.6, 4.3), (3.55, 4.6), ORANGE)
    c.arrow((2.0, 3.9), (3.55, 4.17), BLUE)
    c.say(4.75, 5.15, "9 C = 576 numbers a row")
    c.say(3.38, 2.35, "a row for each pixel", rotation=90)
    c.say(4.75, 0.62, "every number of the input\nis written 9 times")
    c.say(6.2, 2.9, "×", 15)
    c.box(6.5, 1.8, 0.95, 2.3, "w", GREEN, NORMAL)
    c.say(6.98, 4.38, "K = 64")
    c.say(7.7, 2.9, "=", 15)
    c.box(8.0, 1.0, 0.95, 3.8, "y", BLUE, NORMAL)
    c.say(8.5, 0.62, "one product,\none call")
    return c.figure


def compiled() -> Figure:
    """What one multiply-add costs, interpreted and compiled; and that it fills one lane."""
    c = Canvas(5.7)
    c.say(0.3, 5.35, "Python: what one multiply-add costs", NORMAL, ha="left", bold=True)
    words = ("find x", "index", "check\ntypes", "make a\nnumber", "find w", "index",
             "check\ntypes", "×", "make a\nnumber", "+", "make a\nnumber", "next c")
    for i, word in enumerate(words):
        line, place = divmod(i, 6)
        colour = ORANGE if word in "×+" else FAINT
        c.card(0.25 + 1.58 * place, 4.15 - 0.95 * line, 1.56, 0.9, word, colour)
    c.say(0.3, 2.75, "njit: the same loop as machine code", NORMAL, ha="left", bold=True)
    for i, (word, colour) in enumerate((("load x", FAINT), ("load w", FAINT), ("× and +", ORANGE))):
        c.card(0.25 + 1.58 * i, 1.75, 1.56, 0.72, word, colour)
    c.arrow((4.7, 2.25), (4.7, 1.68), ORANGE, bend=-2.2)
    c.say(5.45, 2.11, "each sum waits for the last one", ha="left")
    for i in range(8):
        c.box(0.3 + 0.62 * i, 0.5, 0.62, 0.62, "sum" if i == 0 else "", ORANGE if i == 0 else FAINT)
    c.say(5.45, 0.8, "a register has room for 8 (AVX2)\nor 16 (AVX-512): one is used", ha="left")
    return c.figure


def vectors() -> Figure:
    """The order of the loops against the order in memory."""
    c = Canvas(5.9)

    def strip(y):
        for i in range(24):
            c.box(0.3 + 0.39 * i, y, 0.39, 0.5, line=0.6)
        for i in range(3):
            c.say(0.3 + 0.39 * (8 * i + 4), y - 0.3, f"w[i, j, {i}, 0 … K−1]")
            c.frame(0.3 + 0.39 * 8 * i, y, 0.39 * 8, 0.5, INK, 1.2)

    c.say(0.3, 5.55, "c innermost: every step is a jump", NORMAL, ha="left", bold=True)
    strip(4.0)
    for i in range(3):
        c.box(0.3 + 0.39 * (8 * i + 2), 4.0, 0.39, 0.5, colour=ORANGE, fill=ORANGE)
    for i in range(2):
        c.arrow((0.5 + 0.39 * (8 * i + 2), 4.58), (0.5 + 0.39 * (8 * i + 10), 4.58), ORANGE, bend=-0.28)
    c.say(0.3, 2.95, "k innermost: neighbours, 8 at a time", NORMAL, ha="left", bold=True)
    strip(2.0)
    for i in range(8):
        c.box(0.3 + 0.39 * i, 2.0, 0.39, 0.5, colour=BLUE, fill=LIGHT_BLUE)
    c.frame(0.3, 2.0, 0.39 * 8, 0.5, BLUE, 2.2)
    c.box(0.3, 0.75, 0.5, 0.5, "x", ORANGE, NORMAL)
    c.say(1.05, 1.0, "×", 13)
    c.box(1.3, 0.75, 2.4, 0.5, "8 weights", BLUE)
    c.say(4.05, 1.0, "+", 13)
    c.box(4.35, 0.75, 2.4, 0.5, "y[p, q, 0 … 7]", GREEN)
    c.say(6.95, 1.0, "one instruction", ha="left")
    c.say(0.3, 0.35, "but y is loaded and stored again for every c", ha="left")
    return c.figure


def cores() -> Figure:
    """Whole pictures to each core."""
    c = Canvas(4.9)
    for core, (x, colour) in enumerate(((0.3, BLUE), (5.2, GREEN))):
        c.box(x, 0.75, 4.5, 2.65, fill="white", colour=colour, line=1.6)
        c.say(x + 2.25, 3.08, f"core {core + 1}", NORMAL, bold=True)
        for i in range(8):
            c.box(x + 0.25 + i % 4 * 1.03, 2.12 - i // 4 * 0.8, 0.9, 0.66, f"{8 * core + i}", colour)
        c.say(x + 2.25, 1.03, "pictures: own input, own output")
        c.arrow((x + 2.25, 4.05), (x + 2.25, 3.45), FAINT)
    c.box(2.2, 4.1, 5.6, 0.6, "the same weights for all: read only", ORANGE)
    c.say(5, 0.35, "nobody writes where another reads: no locks, no waiting", colour=INK)
    return c.figure


def tile() -> Figure:
    """Accumulators of a register tile, for 16 registers and for 32."""
    c = Canvas(7.2)

    def draw(x, vectors, side, title, facts):
        width = vectors * 0.78
        c.say(x + 0.62 + width / 2, 6.85, title, NORMAL, bold=True)
        for j in range(vectors):
            c.box(x + 0.62 + 0.78 * j, 5.7, 0.78, 0.5, f"b{j}", GREEN)
        for i in range(6):
            c.box(x, 4.95 - 0.55 * i, 0.5, 0.5, f"a{i}", ORANGE)
            for j in range(vectors):
                c.box(x + 0.62 + 0.78 * j, 4.95 - 0.55 * i, 0.78, 0.5, f"c{i}{j}", BLUE)
        c.say(side, 1.9, facts, ha="left", va="top")

    draw(0.4, 2, 0.3, "6 × 2: AVX2", "16 registers of 8 numbers:\n12 sums + 2 b + 1 a = 15\n\n"
         "each k: 8 loads, 12 fma\n0.67 loads for each fma")
    draw(5.0, 4, 5.0, "6 × 4: AVX-512, NEON", "32 registers of 16 or 4:\n24 sums + 4 b + 1 a = 29\n\n"
         "each k: 10 loads, 24 fma\n0.42 loads for each fma")
    c.say(3.05, 5.95, "one row of B", ha="left", colour=GREEN)
    c.say(3.05, 5.2, "one column\nof A", ha="left", colour=ORANGE)
    c.say(3.05, 3.4, "sums, in\nregisters for\nall of k", ha="left", colour=BLUE)
    return c.figure


def implicit() -> Figure:
    """The rows of the matrix overlap in memory."""
    c = Canvas(5.6)
    c.say(0.3, 5.25, "one padded row in memory, channels last", NORMAL, ha="left", bold=True)
    names = ("0", "pixel 0", "pixel 1", "pixel 2", "pixel 3", "pixel 4", "…")
    for i, name in enumerate(names):
        c.box(0.3 + 1.34 * i, 4.25, 1.34, 0.6, name, FAINT if i in (0, 6) else INK)
    c.say(0.97, 3.97, "padding")
    c.say(2.31, 3.97, "C numbers")
    for i, colour in enumerate((ORANGE, BLUE, GREEN)):
        y = 3.1 - 0.72 * i
        c.box(0.3 + 1.34 * i, y, 3 * 1.34, 0.52, f"row {i} of A: 3 C numbers", colour)
    c.arrow((0.3, 1.35), (1.62, 1.35), INK)
    c.say(1.8, 1.35, "the next row begins C numbers further on", ha="left")
    c.say(5, 0.62, "A is a way of reading: start, row stride C, width 3 C.\n"
          "Three products, one for each row of the kernel; nothing copied.", NORMAL)
    return c.figure


def winograd() -> Figure:
    """Windows that overlap, the way through the frequencies, and what is saved."""
    c = Canvas(8.3)
    c.say(0.3, 7.95, "a 6 × 6 window for 4 × 4 outputs; they overlap", NORMAL, ha="left", bold=True)
    c.grid(0.4, 4.3, 7, 11, 0.42)
    c.axes.add_patch(Rectangle((0.4 + 0.42, 4.3 + 0.42), 4 * 0.42, 4 * 0.42, facecolor=LIGHT_ORANGE, edgecolor="none"))
    c.axes.add_patch(Rectangle((0.4 + 5 * 0.42, 4.3 + 0.42), 4 * 0.42, 4 * 0.42, facecolor=LIGHT_BLUE,
                               edgecolor="none"))
    c.frame(0.4, 4.3, 6 * 0.42, 6 * 0.42, ORANGE, 2.2)
    c.frame(0.4 + 4 * 0.42, 4.3, 6 * 0.42, 6 * 0.42, BLUE, 2.2, "--")
    c.say(5.4, 6.5, "products for 16 outputs", ha="left")
    c.box(5.4, 5.75, 4.3, 0.45, "direct: 16 · 9 = 144", FAINT)
    c.box(5.4, 5.0, 4.3 / 4, 0.45, "36", BLUE)
    c.say(5.6 + 4.3 / 4, 5.22, "Winograd F(4, 3): 6 · 6", ha="left")
    c.card(0.2, 2.5, 2.2, 1.1, "window\n$B^T x\\, B$", ORANGE, NORMAL)
    c.card(0.2, 0.9, 2.2, 1.1, "filter\n$G\\, w\\, G^T$", GREEN, NORMAL)
    for i in range(4):
        c.box(3.2 + 0.17 * i, 1.35 + 0.17 * i, 2.7, 1.15, colour=BLUE)
    c.say(5.06, 2.44, "36 products of\ntiles × C with C × K")
    c.arrow((2.42, 3.05), (3.35, 2.6))
    c.arrow((2.42, 1.45), (3.15, 1.7))
    c.card(7.1, 1.6, 2.7, 1.2, "4 × 4 outputs\n$A^T z\\, A$", BLUE, NORMAL)
    c.arrow((6.42, 2.2), (7.08, 2.2))
    c.say(5, 0.45, "transforms are sums with fixed factors: a window is\ntransformed once and serves all K outputs")
    return c.figure


def fused() -> Figure:
    """How often a layer's numbers pass through memory, apart and fused."""
    c = Canvas(6.9)

    def lane(top, steps, colour):
        c.box(0.3, top - 2.0, 9.4, 0.5, "memory", FAINT)
        width = 9.4 / len(steps)
        for i, (name, reads, writes) in enumerate(steps):
            x = 0.3 + width * i
            c.card(x + 0.04, top - 0.95, width - 0.08, 0.9, name, colour)
            marks = ["r"] * reads + ["w"] * writes
            for k, mark in enumerate(marks):
                at = x + width * (k + 1) / (len(marks) + 1)
                up, down = (at, top - 0.96), (at, top - 1.49)
                c.arrow(*((down, up) if mark == "r" else (up, down)), colour=BLUE if mark == "r" else ORANGE, line=1.8)

    c.say(0.3, 6.6, "apart: 3 times written, 4 times read", NORMAL, ha="left", bold=True)
    lane(6.25, (("convolve", 0, 1), ("mean,\nvariance", 1, 0), ("normalise", 1, 1), ("ReLU", 1, 1),
                ("convolve", 1, 0)), FAINT)
    c.say(0.3, 3.7, "fused: once written, once read", NORMAL, ha="left", bold=True)
    lane(3.35, (("convolve; as tiles are written:\nsum, sum of squares", 0, 1),
                ("as tiles are read: relu(s · y + h);\nconvolve", 1, 0)), GREEN)
    c.arrow((0.6, 0.95), (1.3, 0.95), ORANGE, line=1.8)
    c.say(1.45, 0.95, "write", ha="left")
    c.arrow((2.6, 0.95), (3.3, 0.95), BLUE, line=1.8)
    c.say(3.45, 0.95, "read", ha="left")
    c.say(5, 0.4, "on the way back the same: mask and both sums as tiles are written,\n"
          "s · dz + q · y + r as they are read", SMALL)
    return c.figure


def caches() -> Figure:
    """What lies in which cache, and why planes are set apart."""
    c = Canvas(8.3)
    levels = (("registers", "6 × 2 or 6 × 4 vectors of sums", 4.6, BLUE),
              ("L1", "a panel of weights, 128 deep", 6.0, GREEN),
              ("L2", "one block: its tiles and their products, 640 kB", 7.9, ORANGE),
              ("L3, memory", "maps; transformed weights, read once a block", 9.6, FAINT))
    for i, (name, what, width, colour) in enumerate(levels):
        y = 7.15 - 0.98 * i
        c.box(5 - width / 2, y, width, 0.9, f"{what}", colour)
        c.say(5 - width / 2 + 0.1, y + 0.72, name, SMALL - 0.5, ha="left", bold=True)
    c.say(0.3, 3.75, "planes of 36 frequencies, where they fall in a cache", NORMAL, ha="left", bold=True)
    for x, title, shift in ((0.5, "a power of two apart:\nall on the same line", 0.0),
                            (5.5, "16 numbers more:\nspread over all lines", 0.5)):
        for f in range(4):
            c.box(x, 2.95 - 0.4 * f, 3.9, 0.34, fill="white", line=0.8)
            c.box(x + 0.2 + f * shift * 1.6, 2.95 - 0.4 * f, 0.55, 0.34, colour=ORANGE if not shift else BLUE)
        c.say(x + 1.95, 1.35, title)
    for i in range(5):
        c.box(0.3 + 0.98 * i, 0.35, 0.9, 0.45, f"sums {i}", GREEN, SMALL - 0.5)
    c.say(5.35, 0.57, "one row a block, added in order:\nthe same bits for any threads", ha="left")
    return c.figure


DRAWINGS = {"1-loops": loops, "2-im2col": im2col, "3-njit": compiled, "4-vectors": vectors, "5-cores": cores,
            "6-register-tile": tile, "7-implicit": implicit, "8-winograd": winograd, "9-fused": fused,
            "10-caches": caches}
