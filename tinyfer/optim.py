"""Optimizers, learning-rate schedules and the moving average of weights, each written as in its paper.

    optimizer = optim.SGD(model.params, lr=0.05, momentum=0.9, nesterov=True)
    optimizer.step()                                   # reads every param.grad, writes every param.value

A model's parameters lie in two flat arrays, decayed ones first, so that a step is two passes over memory; any other
list of Param works as well, one pass a tensor. A model may be named in place of its params."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import numpy as np

from tinyfer import ops
from tinyfer.errors import UserError


def _segments(params) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Flat (value, grad, decays) runs to update: two for a model's parameters, else one for each Param."""
    params = getattr(params, "params", params)
    if hasattr(params, "decayed"):
        cut = params.decayed
        runs = [(params.value[:cut], params.grad[:cut], True), (params.value[cut:], params.grad[cut:], False)]
        return [run for run in runs if run[0].size]
    return [(p.value.reshape(-1), p.grad.reshape(-1), p.decays) for p in params]


def _checked(state: dict, expected: dict[str, np.ndarray], what: str) -> dict[str, np.ndarray]:
    """state, if it has exactly the arrays of `expected`, in their shapes; a UserError otherwise."""
    for key in {**expected, **state}:
        if key not in state or key not in expected or np.shape(state[key]) != expected[key].shape:
            raise UserError(f"the saved state is not of this {what}: {key} is missing, surplus or misshapen; "
                            f"go on with the options that it was saved with.")
    return state


class Optimizer:
    """What optimizers share: the runs to update, lr (set it before any step), and their state as arrays by name."""

    slots: tuple[str, ...] = ()

    def __init__(self, params, lr: float, weight_decay: float = 0.0):
        self.lr, self.weight_decay, self.t = lr, weight_decay, 0
        self._runs = _segments(params)
        self._slots = {name: [np.zeros_like(value) for value, _, _ in self._runs] for name in self.slots}

    def step(self) -> None:
        """One update of every parameter from its gradient."""
        self.t += 1
        for i, (value, grad, decays) in enumerate(self._runs):
            slots = (self._slots[name][i] for name in self.slots)
            self._update(value, grad, *slots, self.weight_decay if decays else 0.0)

    def _update(self, value, grad, *slots_and_decay) -> None:
        raise NotImplementedError

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, besides the parameters: arrays by name (copies)."""
        arrays = {f"{name}{i}": run.copy() for name, runs in self._slots.items() for i, run in enumerate(runs)}
        return arrays | {"t": np.array(self.t)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take up where `state()` left off; UserError if that was another optimizer's or another model's."""
        self.t = int(_checked(state, self.state(), type(self).__name__)["t"])
        for name, runs in self._slots.items():
            for i, run in enumerate(runs):
                run[...] = state[f"{name}{i}"]


class SGD(Optimizer):
    """Stochastic gradient descent with (Nesterov) momentum and weight decay (Sutskever et al. 2013)."""

    slots = ("v",)

    def __init__(self, params, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov

    def _update(self, value, grad, v, decay):
        ops.sgd_update(value, grad, v, self.lr, self.momentum, self.nesterov, decay)


class AdamW(Optimizer):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019)."""

    slots = ("m", "v")

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(params, lr, weight_decay)
        self.betas, self.eps = betas, eps

    def _update(self, value, grad, m, v, decay):
        ops.adam_update(value, grad, m, v, self.t, self.lr, *self.betas, self.eps, decay)


class Adam(AdamW):
    """Adam (Kingma & Ba 2015); weight decay, if any, is added to the gradient: L2 regularisation as it was used
    then."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, value, grad, m, v, decay):
        if decay:
            grad = grad + np.float32(decay) * value
        super()._update(value, grad, m, v, 0.0)


# ----------------------------------------------------------------------------------------------------------- schedules

SCHEDULES = ("constant", "step", "cosine", "one-cycle")


def schedule(name: str, lr: float, total_steps: int, warmup_steps: int = 0) -> Callable[[int], float]:
    """The learning rate as a function of the step 0 .. total_steps - 1, after a linear warm-up (but for one-cycle).

    constant: lr; step: a tenth of it after half of the steps, a hundredth after three quarters; cosine: half a cosine
    wave from lr to 0 (Loshchilov & Hutter 2017); one-cycle: cosine from lr/25 up to lr in 30 % of the steps, then down
    to 0 (Smith & Topin 2019)."""

    def constant(progress):
        return lr

    def step(progress):
        return lr * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)

    def cosine(progress):
        return lr * 0.5 * (1 + math.cos(math.pi * progress))

    def one_cycle(progress):
        if progress < 0.3:
            return lr / 25 + (lr - lr / 25) * 0.5 * (1 - math.cos(math.pi * progress / 0.3))
        return cosine((progress - 0.3) / 0.7)

    shapes = dict(zip(SCHEDULES, (constant, step, cosine, one_cycle), strict=True))
    if name not in shapes:
        raise UserError(f"there is no schedule {name!r}; the schedules are {', '.join(SCHEDULES)}.")
    warmup_steps = 0 if name == "one-cycle" else min(warmup_steps, total_steps)

    def at(step_number: int) -> float:
        if step_number < warmup_steps:
            return lr * (step_number + 1) / warmup_steps
        # The step after the last would be at progress 1: the last one is just short of it, and of 0.
        return shapes[name](min(1.0, (step_number - warmup_steps) / max(1, total_steps - warmup_steps)))

    return at


# ------------------------------------------------------------------------------------------ exponential moving average


class EMA:
    """An exponential moving average of a model's parameters and batch-norm statistics (Polyak averaging).

    average += (1 - d) (value - average) with d = min(decay, n / (n + 10)) after n updates: a short memory at the
    start."""

    def __init__(self, model, decay=0.998):
        self.decay, self.n = decay, 0
        self._live = {"value": model.params.value} | model.buffers()
        self._average = {name: array.copy() for name, array in self._live.items()}

    def update(self) -> None:
        """Move the averages towards the model as it is now."""
        self.n += 1
        share = np.float32(1 - min(self.decay, self.n / (self.n + 10)))
        for name, average in self._average.items():
            average += share * (self._live[name] - average)

    def restart(self) -> None:
        """Forget what was averaged, and begin anew from the model as it is now."""
        self.n = 0
        for name, average in self._average.items():
            average[...] = self._live[name]

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model holds the averages; afterwards its own numbers again."""
        own = {name: array.copy() for name, array in self._live.items()}
        try:
            for name, array in self._live.items():
                array[...] = self._average[name]
            yield
        finally:
            for name, array in self._live.items():
                array[...] = own[name]

    def state(self) -> dict[str, np.ndarray]:
        """The averages and their count: arrays by name (copies)."""
        return {name: array.copy() for name, array in self._average.items()} | {"n": np.array(self.n)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take up where `state()` left off; UserError if that was another model's."""
        self.n = int(_checked(state, self.state(), "moving average")["n"])
        for name, average in self._average.items():
            average[...] = state[name]
