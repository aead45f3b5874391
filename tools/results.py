"""Make docs/results.md, its picture and the README's table of shipped models of the papers in docs/runs:

    python -m tools.results

What was reached (docs/runs/RUN, written by `python -m tools.ship`), and which settings helped (docs/runs/GROUP/RUN,
written by `python -m tools.search`)."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from tinyfer import checkpoint, cli, plots
from tinyfer.errors import UserError
from tools import papers, search
from tools.fast import README, filled

PAGE, PICTURE = papers.ROOT / "docs" / "results.md", papers.ROOT / "docs" / "images" / "results.svg"
COLOURS = {"lite": plots.BLUE, "vgg": plots.ORANGE}  # on every picture of models
BUDGETS = ("10min", "30min", "2h")  # recipes, and the runs made by them
# where a label may stand beside its point, in points, the best first
PLACES = [(side, up) for ups in ((0, 9, -9), (18, -18), (27, -27)) for side in (9, -9) for up in ups]
VIEWS = ("one view", "picture and mirror image", "ten views")
TEXT = """# What was reached, and by which settings

Written by `python -m tools.results` from the logs in `docs/runs`. FER-2013, one network, no other data and no
weights from elsewhere: trained on Training (28,709 pictures), every choice made on PublicTest (3,589 pictures),
PrivateTest never read. A figure on PublicTest is that of the last epoch's model; the standard error of one is 0.8
points.

## Runs

{runs}

Runs named like a recipe (`recipes/10min.toml` ...) were made with it, for what a person gets in so much time; a line
joins them below. Ten views: the picture, moved by two pixels to each corner, and the mirror images of these five (of a
model with crops: centre and corners). Columns are per cent right on PublicTest; brackets are 95 % intervals. Each
run's settings stand in its folder: `python -m tinyfer.train --config docs/runs/RUN/config.toml --data fer2013.csv`
does it again; where they name minutes, it does as many epochs as the machine can do in them. A run that began with
the weights of another, or learned from its answers, has its epochs after those of that other; its minutes are all of
them. To do such a run again follow the recipe of its name: what its settings call `vgg` is the one shipped before.

![Accuracy by minutes of training](images/results.svg)

## Which settings help

Short runs that differ from their base in one setting: `python -m tools.search --data fer2013.csv --out ~/searches`
([tools/search.toml](../tools/search.toml)). Per cent right on PublicTest by one view after the last epoch. What
helps a small, short run need not help a large, long one.

{searches}
"""


@dataclass(frozen=True)
class Options:
    """This program has no flags."""


class Result(NamedTuple):
    """A run of docs/runs with scores: its folder's name, its scores.json, its log and its settings, and the runs whose
    weights it began with or learned from, however far back."""

    name: str
    scores: dict
    log: list[dict[str, float]]
    settings: dict
    before: tuple[Result, ...] = ()

    @property
    def own_minutes(self) -> float:
        return self.log[-1]["seconds"] / 60

    @property
    def minutes(self) -> float:
        """All that it took, the runs before this one included."""
        return self.own_minutes + sum(earlier.own_minutes for earlier in self.before)

    @property
    def threads(self) -> int:
        return self.settings.get("threads", self.scores["cores"])

    def accuracy(self, view: str) -> float:
        return self.scores["views"][view]["accuracy"]


def results() -> list[Result]:
    """Every run that was scored, the best by ten views first."""
    found = [Result(path.parent.name, json.loads(path.read_text()), papers.read_log(path.parent),
                    cli.read_toml(path.parent / "config.toml")) for path in papers.RUNS.glob("*/scores.json")]
    by_weights = {weights: result for result in found for weights in result.scores.get("parameters", ())}
    found = [result._replace(before=_before(result, by_weights)) for result in found]
    return sorted(found, key=lambda result: -result.accuracy("ten views"))


def _before(result: Result, by_weights: dict[str, Result]) -> tuple[Result, ...]:
    """The runs whose weights a run began with or learned from, the first one first; each once, whether its own file or
    what was shipped of it was used."""
    weights = result.scores.get("before", ())
    if unknown := set(weights) - by_weights.keys():
        raise UserError(f"docs/runs/{result.name}: it began with or learned from weights whose run is not in "
                        f"docs/runs ({', '.join(sorted(unknown))}); ship that run's papers, too.")
    return tuple({by_weights[one].name: by_weights[one] for one in weights}.values())


def main(options: Options) -> int:
    """Write the page, the picture and the table."""
    found = results()
    readme = filled(README.read_text(encoding="utf-8"), {"results": shipped_table(found)}, ("bench",))
    for path, content in ((PAGE, page(found).encode()), (PICTURE, plots.svg(picture(found))),
                          (README, readme.encode())):
        checkpoint.write_atomically(path, lambda file, content=content: file.write(content))
        print(path.relative_to(papers.ROOT))
    return 0


def page(found: list[Result]) -> str:
    """The text of docs/results.md."""
    tables = [table(name, group) for name, group in search.groups().items()]
    return TEXT.format(runs=run_table(found), searches="\n\n".join(filter(None, tables)) or "None yet.")


def run_table(found: list[Result]) -> str:
    """A line a run."""
    lines = ["| run | network | seed | epochs | minutes | threads | one view | with mirror image | ten views "
             "| calibration error, ten views | shipped as | trained on |",
             "|---|---|---:|---:|---:|---:|---:|---:|---|---:|---|---|"]
    for result in found:
        one, mirrored, ten = (result.scores["views"][view] for view in VIEWS)
        low, high = ten["interval"]
        lines.append(f"| [{result.name}](runs/{result.name}/log.csv) | {network(result.settings)} "
                     f"| {result.settings['seed']} | {epochs(result)} | {result.minutes:.0f} | {result.threads} "
                     f"| {100 * one['accuracy']:.2f} | {100 * mirrored['accuracy']:.2f} "
                     f"| **{100 * ten['accuracy']:.2f}** [{100 * low:.1f}, {100 * high:.1f}] "
                     f"| {100 * ten['calibration_error']:.1f} % | {result.scores['shipped_as'] or '–'} "
                     f"| {machine(result)} |")
    return "\n".join(lines)


def machine(result: Result) -> str:
    """What a run was made on."""
    return f"{result.scores['cores']} cores of {result.scores['processor']}"


def shipped_table(found: list[Result]) -> str:
    """The README's table: a line a shipped model."""
    shipped = [result for result in found if result.scores["shipped_as"]]
    lines = ["| model | file | one view | ten views | calibration error, one view | trained |",
             "|---|---:|---:|---|---:|---|"]
    for result in shipped:
        one, _, ten = (result.scores["views"][view] for view in VIEWS)
        low, high = ten["interval"]
        threads = f"{result.threads} thread{'s' if result.threads > 1 else ''}"
        lines.append(f"| `{result.scores['shipped_as']}` | {result.scores['bytes'] / 1e6:.1f} MB "
                     f"| {100 * one['accuracy']:.1f} % | **{100 * ten['accuracy']:.1f} %** [{100 * low:.1f}, "
                     f"{100 * high:.1f}] | {100 * one['calibration_error']:.1f} % | [{epochs(result)} epochs, "
                     f"{result.minutes:.0f} minutes on {threads}](docs/runs/{result.name}/log.csv) |")
    return "\n".join([*lines, "", f"Per cent right on PublicTest, in brackets the 95 % interval; trained on "
                                  f"{' and '.join(sorted({machine(result) for result in shipped}))}."])


def epochs(result: Result) -> str:
    """How many a run did, after those of the runs that it began with."""
    return " + ".join(str(len(run.log)) for run in (*result.before, result))


def network(settings: dict) -> str:
    """Name and width of the network that was trained."""
    return settings["model"] + (f", width {settings['width']:g}" if "width" in settings else "")


def table(name: str, group: dict) -> str:
    """A group's settings, the best first: per cent right by seed, their mean, and what they gain over the base."""
    reached: dict[str, dict[int, float]] = {}
    for trial in search.trials(name, group):
        folder = papers.RUNS / trial.folder
        if (folder / "log.csv").exists():
            reached.setdefault(trial.variant, {})[trial.seed] = 100 * papers.read_log(folder)[-1]["val_accuracy"]
    if "base" not in reached:
        return ""
    base = reached["base"]

    def gain(variant: str) -> float:
        shared = reached[variant].keys() & base.keys()
        return float(np.mean([reached[variant][seed] - base[seed] for seed in shared])) if shared else math.nan

    seeds = sorted({seed for by_seed in reached.values() for seed in by_seed})
    lines = [f"### {group['what'][0].upper() if group['what'][0] != '`' else '`'}{group['what'][1:]}", "",
             f"Base: {', '.join(f'{key} {value}' for key, value in group['base'].items())}.", "",
             f"| setting | {' | '.join(f'seed {seed}' for seed in seeds)} | against the base |",
             f"|---|{'---:|' * (len(seeds) + 1)}"]
    for variant in sorted(reached, key=gain, reverse=True):
        cells = [f"{reached[variant][seed]:.2f}" if seed in reached[variant] else "" for seed in seeds]
        told = "" if variant == "base" else f"{gain(variant):+.2f}"
        lines.append(f"| {'**base**' if variant == 'base' else variant} | {' | '.join(cells)} | {told} |")
    return "\n".join([*lines, *noise(reached)])


def noise(reached: dict[str, dict[int, float]]) -> list[str]:
    """How far two seeds of one setting lie apart, in words; nothing where no setting has two."""
    spread = [np.var(list(by_seed.values()), ddof=1) for by_seed in reached.values() if len(by_seed) > 1]
    if not spread:
        return []
    sd = math.sqrt(float(np.mean(spread)))
    return ["", f"One seed differs from another by {sd:.2f} points (standard deviation, {len(spread)} settings): "
                f"differences below {2 * sd:.1f} say little."]


def picture(found: list[Result]) -> Figure:
    """Accuracy by ten views over minutes of training, a point a run, with its 95 % interval."""
    figure = plots.empty_figure(7.5, 4.2)
    axes = figure.subplots()
    plots.clean(axes)
    budgets = sorted((result.minutes, 100 * result.accuracy("ten views")) for result in found if result.name in BUDGETS)
    axes.plot(*np.array(budgets).reshape(-1, 2).T, color=plots.FAINT, linewidth=1.2, zorder=1)
    for result in found:
        low, high = (100 * end for end in result.scores["views"]["ten views"]["interval"])
        right, colour = 100 * result.accuracy("ten views"), COLOURS.get(result.settings["model"], plots.GREEN)
        axes.plot([result.minutes] * 2, [low, high], color=colour, linewidth=4, alpha=0.25, solid_capstyle="butt")
        axes.plot(result.minutes, right, "o", color=colour, markersize=7)
    axes.set_xscale("log")
    ticks = [tick for tick in (5, 10, 20, 30, 60, 120, 240, 480)
             if not found or tick <= 3 * max(result.minutes for result in found)]
    axes.set_xticks(ticks, [f"{tick} min" if tick < 60 else f"{tick // 60} h" for tick in ticks])
    axes.minorticks_off()
    axes.set_title("per cent right on PublicTest, ten views, by training time", loc="left", fontsize=11,
                   color=plots.INK)
    axes.set_xlim(4, 4 * max([30.0, *(result.minutes for result in found)]))
    label(axes, [(f"{result.name}: {100 * result.accuracy('ten views'):.1f}", result.minutes,
                  100 * result.accuracy("ten views")) for result in found], budgets)
    return figure


def label(axes: Axes, points: list[tuple[str, float, float]], line: list[tuple[float, float]]) -> None:
    """A name beside each point (name, x, y): at the first place where no other name, no point and no piece of the line
    lies; where there is none, at the last."""
    ends = axes.transData.transform(np.array(line).reshape(-1, 2))
    steps = np.linspace(0, 1, 100)[:, None]
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in
             axes.transData.transform([point[1:] for point in points] or np.empty((0, 2)))]
    taken += [Bbox.from_extents(x - 1, y - 1, x + 1, y + 1) for start, end in itertools.pairwise(ends)
              for x, y in start + steps * (end - start)]
    for name, x, y in points:
        for right, up in PLACES:
            text = axes.annotate(name, (x, y), xytext=(right, up), textcoords="offset points", va="center",
                                 ha="left" if right > 0 else "right", fontsize=9, color=plots.INK)
            place = text.get_window_extent()
            if not place.count_overlaps(taken) or (right, up) == PLACES[-1]:
                taken.append(place)
                break
            text.remove()


if __name__ == "__main__":
    cli.main(Options, main, prog="python -m tools.results", description="make docs/results.md of docs/runs")
