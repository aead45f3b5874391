"""The two pictures of a bench.json: the ladder and the roofline, each naming the processor it was measured on."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tinyfer.bench.arithmetic import LADDER, TORCH_RUNG
from tinyfer.bench.common import OURS
from tinyfer.plots import BLUE, FAINT, GREEN, INK, ORANGE, clean, empty_figure

PALE = "#B9BEC6"
TILED = tuple(LADDER[way] for way in ("tile", "direct", "winograd", "apart", "fused", "engine"))  # on our own tiles
# Families of ops: a colour and a marker each, the first that fits.
FAMILIES = (("block_", "convolution with batch norm and ReLU, fused", BLUE, "o"),
            ("conv2d_", "convolution alone", ORANGE, "s"), ("dense_", "dense layer", GREEN, "D"),
            ("", "everything else", "#555555", "^"))


def machine_line(told: dict) -> str:
    """Where it was measured."""
    machine = told["machine"]
    return f"{machine['processor']}, {machine['threads']} threads, vectors of {machine['vector_bits']} bits"


def limit(told: dict, what: str, unit: str) -> float | None:
    """GFLOP/s or GB/s of all cores from the rows of `limits`."""
    name = f"{told['machine']['threads']} threads"
    return next((row[unit] for row in told["rows"] if row["section"] == "limits" and row["what"] == what
                 and row["peer"] == name and unit in row), None)


def _titled(axes, title: str, below: str) -> None:
    axes.set_title(title + "\n" * (1 + below.count("\n")), loc="left", fontsize=14, color=INK, fontweight="bold")
    axes.annotate(below, (0, 1), (0, 7), "axes fraction", textcoords="offset points", fontsize=9.5, color="#555555",
                  va="bottom")


# ---------------------------------------------------------------------------------------------------------- the ladder


def ladder(told: dict) -> Figure | None:
    """The same convolution by all its ways, GFLOP/s on a logarithmic axis; None where none was measured."""
    rows = {row["peer"]: row for row in told["rows"] if row["section"] == "ladder" and "gflops" in row}
    names = [name for name in [*LADDER.values(), TORCH_RUNG] if name in rows]
    if not names:
        return None
    figure = empty_figure(10, 1.5 + 0.62 * len(names))
    axes = figure.subplots()
    clean(axes)
    axes.grid(False, axis="y")
    axes.set_xscale("log")
    rates = [rows[name]["gflops"]["median"] for name in names]
    low = 10 ** math.floor(math.log10(min(rates)) - 0.2)
    axes.set_xlim(low, max(rates) * 60)
    for place, (name, rate) in enumerate(zip(names, rates, strict=True)):
        colour = ORANGE if name == TORCH_RUNG else BLUE if name in TILED else PALE
        axes.barh(place, rate - low, left=low, height=0.66, color=colour)
        taken = f"{_number(rate)} GFLOP/s,  {_seconds(rows[name]['s'])}"
        taken += "  (extrapolated)" if rows[name]["extrapolated"] else ""
        axes.text(rate * 1.18, place, taken, va="center", fontsize=10, color=INK, fontweight="bold" if colour == BLUE
                  else "normal", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2})
    peak = limit(told, "multiply-adds", "gflops")
    if peak:
        axes.axvline(peak, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.annotate(f"peak of the multiply-add units: {_number(peak)} GFLOP/s", (peak, -0.5), (-5, 0),
                      textcoords="offset points", fontsize=9, color=INK, ha="right", va="center")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelsize=10.5)
    axes.set_ylim(len(names) - 0.45, -0.65)
    axes.set_xlabel("GFLOP/s of direct convolution, logarithmic", size=10, color=INK)
    what = rows[names[0]]["what"]
    _titled(axes, "One convolution, from seven loops to Winograd", f"{what}\n{machine_line(told)}")
    return figure


def _number(value: float) -> str:
    """Three digits, no more."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def _seconds(value: float) -> str:
    if value >= 90:
        return f"{value / 60:,.0f} minutes"
    return f"{_number(value)} s" if value >= 1 else f"{_number(1e3 * value)} ms"


# -------------------------------------------------------------------------------------------------------- the roofline


def roofline(told: dict) -> Figure | None:
    """GFLOP/s of every op over its arithmetic intensity, under the roofs of bandwidth and multiply-adds (Williams,
    Waterman & Patterson 2009); None where ops or limits were not measured."""
    rows = [row for row in told["rows"] if row["section"] == "ops" and row["peer"] == OURS and "flops_per_byte" in row]
    peak, bandwidth = limit(told, "multiply-adds", "gflops"), limit(told, "triad", "gb_per_s")
    if not rows or not peak or not bandwidth:
        return None
    figure = empty_figure(13, 7.4)
    axes, key = figure.subplots(1, 2, width_ratios=(2.1, 1))
    clean(axes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    x = [row["flops_per_byte"] for row in rows]
    y = [row["gflops"] for row in rows]
    left, right = min(x) / 2, max(x) * 2
    axes.set_xlim(left, right)
    axes.set_ylim(min(*y, left * bandwidth) / 1.6, max(*y, peak) * 2.2)
    _roofs(axes, peak, bandwidth, left, right)
    rows.sort(key=lambda row: (_family(row["what"]), row["flops_per_byte"], row["what"]))
    drawn: set[int] = set()
    for row in rows:
        family = _family(row["what"])
        _, name, colour, marker = FAMILIES[family]
        axes.scatter(row["flops_per_byte"], row["gflops"], s=46, color=colour, marker=marker, edgecolor="white",
                     linewidth=0.8, zorder=3, label=None if family in drawn else name)
        drawn.add(family)
    _number_points(axes, rows)
    axes.set_xlabel("FLOPs for each byte that must be moved", size=10, color=INK)
    axes.set_ylabel("GFLOP/s of direct convolution", size=10, color=INK)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, loc="lower right")
    _titled(axes, "Every op under the roofs of the machine", machine_line(told))
    _key(key, rows, peak, bandwidth)
    return figure


def _family(what: str) -> int:
    return next(i for i, (start, *_) in enumerate(FAMILIES) if what.startswith(start))


def _roofs(axes, peak: float, bandwidth: float, left: float, right: float) -> None:
    corner = peak / bandwidth
    axes.plot([left, corner, right], [left * bandwidth, peak, peak], color=INK, linewidth=1.6)
    axes.fill_between([left, corner, right], [left * bandwidth, peak, peak], 1e9, color="#F3F4F6", zorder=0)
    axes.text(corner * 1.1, peak * 1.05, f"multiply-adds, {_number(peak)} GFLOP/s", va="bottom", size=9.5, color=INK)
    axes.text(right / 1.08, axes.get_ylim()[1] / 1.12, "above the roof: Winograd needs fewer multiplications",
              ha="right", va="top", fontsize=9.5, color=BLUE, style="italic")
    start = left * 1.25
    axes.figure.draw_without_rendering()  # lays the axes out: only then is the slope known
    (x0, y0), (x1, y1) = axes.transData.transform([(left, left * bandwidth), (corner, peak)])
    axes.text(start, start * bandwidth * 1.12, f"memory, {_number(bandwidth)} GB/s", fontsize=9.5, color=INK,
              va="bottom", rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)), rotation_mode="anchor")


def _number_points(axes, rows: list[dict]) -> None:
    """A number beside each point, moved to where no other one stands."""
    axes.figure.draw_without_rendering()
    points = axes.transData.transform([(row["flops_per_byte"], row["gflops"]) for row in rows])
    around = [(13 * math.cos(a) * grow, 13 * math.sin(a) * grow) for grow in (1, 1.7, 2.5)
              for a in np.arange(0, 2 * math.pi, math.pi / 6)]
    taken = [tuple(point) for point in points]
    for number, point in enumerate(points, 1):
        spots = [(point[0] + dx, point[1] + dy) for dx, dy in around]
        spot = next((s for s in spots if all(math.dist(s, other) > 11.5 for other in taken)), spots[0])
        taken.append(spot)
        x, y = axes.transData.inverted().transform(spot)
        axes.text(x, y, str(number), fontsize=8, color=INK, ha="center", va="center", zorder=4)


def _key(axes, rows: list[dict], peak: float, bandwidth: float) -> None:
    """What the numbers stand for."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) + 0.5, 0.2)
    axes.text(1, 0, "GFLOP/s   of its roof", ha="right", va="center", fontsize=8.5, color=FAINT)
    for number, row in enumerate(rows, 1):
        roof = min(peak, row["flops_per_byte"] * bandwidth)
        colour = FAMILIES[_family(row["what"])][2]
        axes.text(0.06, number, str(number), ha="right", va="center", fontsize=8.5, color=colour, fontweight="bold")
        axes.text(0.09, number, row["what"].replace("_", " ").replace(">", "→"), va="center", fontsize=8.5, color=INK)
        axes.text(0.84, number, _number(row["gflops"]), ha="right", va="center", fontsize=8.5, color=INK)
        axes.text(1, number, f"{100 * row['gflops'] / roof:.0f} %", ha="right", va="center", fontsize=8.5, color=INK)
