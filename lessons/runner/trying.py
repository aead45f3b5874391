"""`try NN`: the network trains for a minute with the student's op plugged in, and for another one with ours.

The op is checked, compiled and timed by `tinyfer.userkernels`, as `train --use` does it. How fast it is decides what is
trained: `lite` on 48x48 drawn faces where some epochs fit into the time, otherwise `micro` on as many 24x24 ones as
fit. A lesson without ops may have a `try_it(mine, say)` in its show.py instead, which takes `minutes` too
where it trains."""

from __future__ import annotations

import inspect
import math
import pathlib
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from tinyfer import data, kernels, models, ops, plots, reference, rehearsal, sources, training, userkernels
from tinyfer.errors import UserError
from tinyfer.progress import Live, duration
from tinyfer.seeds import generator

from . import course, state
from .course import Lesson, shown
from .pictures import chosen, earlier_kernels
from .verdict import say

MINUTES = 1.0  # of training, where nothing else is asked for
EPOCHS = 3  # that should fit into the time
FEWEST, MOST = 350, 4000  # drawn faces, of which 80 % are for training
LATE = 1.5  # times the minutes that were asked for, after which a training is ended
LEARNED = 0.3  # of the validation faces: what has learned anything names more of them rightly
SAMPLE = 32  # pictures of the step that is timed
BAR = 40  # characters of the ladder's longest bar
LITE = "lite, the network that this course leads to,"
MICRO = "micro, the same one with a quarter of the channels,"


def run(lesson: Lesson, path: pathlib.Path | None, minutes: float | None, with_earlier: bool) -> int:
    """The whole of `try`; 0. minutes: None where none were asked for; with_earlier: ops of earlier lessons, too."""
    if not lesson.ops:
        return _own_way(lesson, path, minutes, with_earlier)
    mine, minutes = path or lesson.mine, minutes or MINUTES
    if not mine.is_file():
        raise UserError(f"{shown(mine)}: there is no such file; begin with: python -m lessons {lesson.number}")
    say(f"checking {', '.join(lesson.ops)} of {shown(mine)} against the reference")
    plugged = userkernels.load(mine, say=say)
    for op in [op for op in plugged if op not in lesson.ops]:
        del plugged[op]
    for note in plugged.notes:
        if "million" not in note:
            say(note)
    for op, rate in plugged.rates.items():
        ladder(op, rate)
    for op, f in (earlier_kernels(lesson) if with_earlier else {}).items():
        plugged.setdefault(op, f)  # where lessons share an op, it is this lesson's that is tried
    plan = choose(plugged, 60 * minutes)
    say(plan.reason)
    yours = train(plan, "your " + ", ".join(plugged), plugged, minutes=minutes)
    ours = train(plan, "our kernels, for comparison", {}, epochs=yours.epochs, most=len(yours.rows))
    place = course.pictures() / f"{lesson.name}_try.png"
    place.parent.mkdir(parents=True, exist_ok=True)
    title = f"Lesson {lesson.number}, {lesson.title}: {plan.name} trained with your {', '.join(plugged)}"
    place.write_bytes(plots.png(curves(yours, ours, title)))
    for whose, one in (("yours", yours), ("ours", ours)):
        last = one.rows[-1]
        say(f"{whose}: {100 * last['val_accuracy']:.1f} % of the validation faces after {last['epoch']} epochs, "
            f"{duration(one.seconds)}")
    if max(row["val_accuracy"] for one in (yours, ours) for row in one.rows) < LEARNED:
        say("that is too short to learn anything: look at the time")
    elif yours.rows[-1]["val_accuracy"] != ours.rows[-1]["val_accuracy"]:  # though the check has held yours to ours
        say(f"both compute the same, to rounding. The difference is chance: sums in another order, and only "
            f"{len(plan.dataset.val):,} validation faces.")
    say(f"{shown(place)} shows both; the webcam runs on it, too: python -m tinyfer.webcam --use {shown(mine)}")
    return 0


def _own_way(lesson: Lesson, path: pathlib.Path | None, minutes: float | None, with_earlier: bool) -> int:
    """What a lesson without ops does in its show.py; UserError where minutes are given to one that trains nothing."""
    module = userkernels.run_file(lesson.file("show.py"))
    if not hasattr(module, "try_it"):
        say(f"lesson {lesson.number} plugs nothing into training; its picture: python -m lessons show {lesson.number}")
        return 0
    trains = "minutes" in inspect.signature(module.try_it).parameters
    if minutes and not trains:
        raise UserError(f"--minutes: try {lesson.number} trains nothing, so there is no time to choose.")
    functions, whose = chosen(lesson, path or lesson.mine, path is None and state.of(lesson) == state.DONE)
    say(whose.removeprefix("drawn "))
    earlier = earlier_kernels(lesson) if with_earlier else {}
    if earlier:
        say(f"and with your {', '.join(earlier)} of earlier lessons")
    with ops.using(**earlier):
        module.try_it(functions, say, **({"minutes": minutes or MINUTES} if trains else {}))
    return 0


# ---------------------------------------------------------------------------------------------------- the speed ladder


def ladder(op: str, yours: float) -> None:
    """Print how fast the op is beside the reference, which is plain NumPy, and our kernel."""
    unit = "multiply-adds" if op.startswith(("conv2d", "dense")) else "values"
    rungs = {"ours": userkernels.seconds_per_unit(op, getattr(kernels, op)), "yours": yours,
             "plain NumPy": userkernels.seconds_per_unit(op, getattr(reference, op))}  # fmt: skip
    speeds = {name: 1e-6 / rate for name, rate in rungs.items()} | {"plain Python loops": 2.0}
    least, most = (math.log10(bound(speeds.values())) for bound in (min, max))
    say(f"{op}: million {unit} a second (the bars are logarithmic)")
    for name, speed in sorted(speeds.items(), key=lambda item: -item[1]):
        length = 1 + round((BAR - 1) * (math.log10(speed) - least) / max(1e-9, most - least))
        figure = f"{speed:,.0f}" if speed >= 100 else f"{speed:,.3g}"
        say(f"    {name:<20}{figure:>10}  {('#' if name == 'yours' else '-') * length}")


# ------------------------------------------------------------------------------------------------ what will be trained


@dataclass(frozen=True)
class Plan:
    """What is trained: a model's name, drawn faces, and the sentence that says why."""

    name: str
    dataset: data.Dataset
    reason: str
    dropout: float = 0.2  # before the last layer: where the op is the student's, it must be there

    def model(self) -> models.Model:
        return models.build(self.name, generator(0, "weights"), dropout=self.dropout)


def choose(plugged: userkernels.Kernels, seconds: float) -> Plan:
    """lite where EPOCHS of all the faces fit into the time, else micro on as many 24x24 ones as fit."""
    large = sources.toyfaces(f"{sources.TOY}:{MOST}")
    an_epoch = estimate(Plan("lite", large, ""), plugged)
    if EPOCHS * an_epoch <= seconds:
        return Plan("lite", large, f"an epoch of {len(large.train):,} drawn faces of 48x48 takes {LITE} "
                                   f"about {duration(an_epoch)}: fast enough for it")  # fmt: skip
    faces, dropout = data.toyfaces(FEWEST, np.random.default_rng(0), size=24), 0.0
    if any(op.startswith("dropout") for op in plugged):
        dropout = Plan.dropout
    each = estimate(Plan("micro", faces, "", dropout), plugged) / len(faces.train)
    count = int(np.clip(seconds / EPOCHS / each / 0.8, FEWEST, MOST))
    small = Plan("micro", data.toyfaces(count, np.random.default_rng(0), size=24), "")
    reason = (
        f"an epoch of {len(large.train):,} drawn faces of 48x48 would take {LITE} {duration(an_epoch)}. "
        f"So it is {MICRO} on {len(small.dataset.train):,} faces of 24x24: about "
        f"{duration(each * len(small.dataset.train))} an epoch"
    )
    return Plan("micro", small.dataset, reason, dropout)


def estimate(plan: Plan, plugged: userkernels.Kernels) -> float:
    """Seconds an epoch with the student's ops, from our speed and theirs."""
    run = training.Run(plan.model(), plan.dataset.train, plan.dataset.val, training.TrainConfig(ema=0))
    x, y = run.batches.batch(0, 0)
    n = min(len(y), SAMPLE)
    with rehearsal.undone(run):
        return userkernels.estimate(
            plugged, lambda: training.train_step(run, x[:n], y[:n]), n, len(plan.dataset.train)
        )


class Enough(Exception):
    """It has been trained for long enough."""


class Limited(Live):
    """Ends a training after the epoch in which it has taken so many seconds, or after `most` epochs."""

    def __init__(self, seconds: float, most: int | None):
        super().__init__()
        self.seconds, self.most = seconds, most

    def epoch(self, run: training.Run) -> None:
        super().epoch(run)
        self.run = run
        if not run.finished and (len(run.rows) == self.most or run.seconds > self.seconds):
            raise Enough


def train(plan: Plan, whose: str, plugged, minutes: float | None = None, epochs: int | None = None,
          most: int | None = None) -> training.Run:
    """A training run of so many epochs, or of as many as fit, but of at most `most`; the same weights and pictures
    whosever ops it uses. One that turns out to be slower than was measured beforehand is ended early."""
    say(f"\ntraining {plan.name} with {whose}")
    config = training.TrainConfig(epochs=epochs, minutes=minutes, ema=0.9)
    limit = Limited(LATE * 60 * minutes if minutes else math.inf, most)
    try:
        with ops.using(**plugged):
            return training.fit(plan.model(), plan.dataset.train, plan.dataset.val, config, show=limit)
    except Enough:
        if most is None:
            say(f"this machine has become slower: {len(limit.run.rows)} of {limit.run.epochs} epochs are enough")
        return limit.run


def curves(yours: training.Run, ours: training.Run, title: str):
    """Validation accuracy of both runs, by epoch and by time."""
    best = max(row["val_accuracy"] for one in (yours, ours) for row in one.rows)
    top = min(100, max(30, 130 * best))  # with room for the legend over curves that are still low
    figure = plots.empty_figure(10, 4.2)
    by_epoch, by_time = figure.subplots(1, 2)
    for axes, key, label in ((by_epoch, "epoch", "epoch"), (by_time, "seconds", "seconds of training")):
        plots.clean(axes)
        axes.axhline(100 / 7, color=plots.FAINT, linewidth=0.8)
        axes.text(0.01, 100 / 7 - 0.04 * top, "guessing", color=plots.FAINT, size=8,
                  transform=axes.get_yaxis_transform())  # fmt: skip
        for one, colour, style, name in ((yours, plots.BLUE, "-", "yours"), (ours, plots.ORANGE, "--", "ours")):
            points = [row[key] for row in one.rows], [100 * row["val_accuracy"] for row in one.rows]
            axes.plot(*points, style, color=colour, marker="o", markersize=5, linewidth=2, label=name)
        axes.set_ylim(0, top)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.set_xlabel(label, color=plots.INK)
        axes.set_title("validation accuracy, %", loc="left", fontsize=11, color=plots.INK)
        axes.legend(frameon=False, labelcolor=plots.INK, loc="upper left")
    figure.suptitle(title, x=0.015, ha="left", fontsize=10, color=plots.FAINT)
    return figure
