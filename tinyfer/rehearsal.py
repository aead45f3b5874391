"""Before a run begins: its kernels are compiled, and some steps are timed to know how many epochs fit. Whatever that
does to the run is undone.

`step` is training.train_step: step(run, x, y)."""

from __future__ import annotations

import bisect
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinyfer import evaluation
from tinyfer.errors import UserError
from tinyfer.progress import Show, duration

if TYPE_CHECKING:
    from tinyfer.training import Run

STEPS = 30  # that are timed
MOST_EPOCHS = 10_000  # their rows have to fit into a checkpoint


def warm_up(run: Run, step: Callable) -> None:
    """One step and one answer at each picture size, on a picture or two: every kernel is compiled before the clock
    runs."""
    with undone(run):
        for size in sizes(run):
            run.take_size(size)
            x, y = run.batches.batch(0, 0)
            try:
                step(run, x[:2], y[:2])
            except ValueError as error:  # a net that cannot take this batch or picture size says so now
                raise UserError(f"this model cannot be trained so: {error}") from error
            evaluation.logits(run.model, run.val.take(slice(0, 1)), size=size)


def sizes(run: Run) -> list[int]:
    """Every picture size of the run, the model's own last."""
    return [*dict.fromkeys(run.config.grow), run.model.preprocess.size]


def plan_epochs(run: Run, step: Callable, show: Show) -> None:
    """Fix the number of epochs that fit into config.minutes, from the time of some steps, which are then undone."""
    assert run.config.minutes is not None
    budget = 60 * run.config.minutes
    start = time.perf_counter()
    epoch, taken = {}, 0  # seconds of an epoch, validation and all, by size
    with undone(run):
        for size in sizes(run):
            run.take_size(size)
            seconds = rehearse(run, step, budget / 10 / len(sizes(run)))
            epoch[size] = run.steps * float(np.mean(seconds)) + time_of_validation(run, size)
            taken += len(seconds)
    run.seconds = time.perf_counter() - start
    left = budget - run.seconds

    def whole(epochs: int) -> float:
        return sum(epoch[run.size(number, epochs)] for number in range(epochs))

    most = run.config.epochs or min(MOST_EPOCHS, int(left / min(epoch.values())))
    run.epochs = max(1, bisect.bisect_right(range(1, most + 1), left, key=whole))
    fits = f"{run.epochs} {'epoch fits' if run.epochs == 1 else 'epochs fit'}"
    if whole(run.epochs) > left:
        fits = "not even one epoch fits, so it will be one"
    each = ", ".join(duration(seconds) + (f" at {size}x{size}" if run.config.grow else "")
                     for size, seconds in epoch.items())
    show.say(f"{taken} warm steps say that an epoch takes {each}: into {run.config.minutes:g} minute"
             f"{'' if run.config.minutes == 1 else 's'} {fits}")


def time_of_validation(run: Run, size: int) -> float:
    """Seconds to answer all validation pictures at this size, from some of them."""
    pictures = run.val.take(slice(0, 256))
    begun = time.perf_counter()
    evaluation.logits(run.model, pictures, size=size)
    return (time.perf_counter() - begun) * len(run.val) / len(pictures)


def rehearse(run: Run, step: Callable, at_most: float) -> list[float]:
    """Seconds of each of STEPS steps, or of as many (two or more) as end within at_most seconds."""
    taken: list[float] = []
    first = time.perf_counter()
    while len(taken) < STEPS:
        with contextlib.closing(run.batches.iterate(len(taken))) as batches:  # type: ignore[type-var]
            tick = time.perf_counter()
            for _, (x, y) in zip(range(run.steps), batches, strict=False):
                step(run, x, y)
                tick, before = time.perf_counter(), tick
                taken.append(tick - before)
                if len(taken) >= STEPS or (len(taken) >= 2 and tick - first > at_most):
                    return taken
    return taken


@contextlib.contextmanager
def undone(run: Run):
    """Whatever happens to the run's arrays inside the block has not happened after it."""
    before = run.arrays()
    yield
    run.load_arrays(before)
