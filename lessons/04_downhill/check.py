"""sgd_update and adam_update are held to steps that were computed by hand, and then to the reference."""

import numpy as np

from lessons.checking import case_of, drawn, hold, hold_op, hold_small, note, rng, told
from tinyfer import reference

STEPS = 40
FORGETFUL = "the velocity is not carried on from step to step: write it into v, v[...] = ..."


def sgd(w, g, v, lr=0.1, momentum=0.0, nesterov=False, decay=0.0, /, **said):
    """A case of sgd_update with one number in each array."""
    w, g, v = (np.array([number], np.float32) for number in (w, g, v))
    return case_of("sgd_update", w, g, v, lr, momentum, nesterov, decay, **said)


def test_plain_step(mine):
    """1 - 0.1 * 0.5 = 0.95; with momentum 0 nothing of an old v counts."""
    hold_op(mine, sgd(1, 0.5, 5, w=1, g=0.5, v=5, lr=0.1, momentum=0))
    note("w 1, g 0.5, lr 0.1 -> 0.95")


def test_momentum_by_hand(mine):
    """g is 1 three times: v = 1, 1.9, 2.71; w = 1, 0.9, 0.71, 0.439."""
    w, g, v = np.ones(1, np.float32), np.ones(1, np.float32), np.zeros(1, np.float32)
    for step, speed, place in ((1, 1, 0.9), (2, 1.9, 0.71), (3, 2.71, 0.439)):
        case = told(step=step, g=1, lr=0.1, momentum=0.9)
        hold_op(mine, sgd(float(w[0]), 1, float(v[0]), 0.1, 0.9, step=step, g=1, lr=0.1, momentum=0.9))
        mine.sgd_update(w, g, v, 0.1, 0.9, False, 0.0)
        hold("v", np.array([speed], np.float32), v, case, looks=FORGETFUL)
        hold("w", np.array([place], np.float32), w, case)
    note("1 -> 0.9 -> 0.71 -> 0.439")


def test_nesterov_by_hand(mine):
    """v = 0.9 * 1 + 1 = 1.9; w = 1 - 0.1 * (1 + 0.9 * 1.9) = 0.729."""
    hold_op(mine, sgd(1, 1, 1, 0.1, 0.9, True, w=1, g=1, v=1, lr=0.1, momentum=0.9, nesterov=True))
    note("w 1, g 1, v 1 -> 0.729")


def test_weight_decay_by_hand(mine):
    """g' = 1 + 0.5 * 2 = 2; v = 0.9 + 2 = 2.9; w = 2 - 0.29 = 1.71."""
    hold_op(mine, sgd(2, 1, 1, 0.1, 0.9, False, 0.5, w=2, g=1, v=1, lr=0.1, momentum=0.9, weight_decay=0.5))
    note("w 2, g 1, v 1 -> 1.71")


def test_sgd(mine):
    hold_small(mine, "sgd_update")


def test_adam_first_step(mine):
    """Whatever the size of g: mhat = g, vhat = g^2, and the step is lr."""
    g = np.array([0.02, -50, 3], np.float32)
    zeros = np.zeros(3, np.float32)
    hold_op(mine, case_of("adam_update", np.full(3, 2, np.float32), g, zeros, zeros, 1, 0.1, 0.9, 0.999, 1e-8, 0.0,
                          w="2 2 2", g="0.02 -50 3", t=1, lr=0.1))  # fmt: skip
    note("g 0.02 -50 3, lr 0.1: each step is 0.1 long")


def test_adam_second_step(mine):
    """g = 1, then -1: m = 0.1, -0.01; v = 0.001, 0.001999; mhat = -0.01 / 0.19, vhat = 1; w = 1, 0.9, 0.9053."""
    w, m, v = np.ones(1, np.float32), np.zeros(1, np.float32), np.zeros(1, np.float32)
    steps = ((1, 1, 0.9, 0.1, 0.001), (2, -1, 0.9 + 0.1 * 0.01 / 0.19, -0.01, 0.001999))
    for t, g, place, mean, square in steps:
        given = np.array([g], np.float32)
        settings = 0.1, 0.9, 0.999, 1e-8, 0.0
        hold_op(mine, case_of("adam_update", w.copy(), given, m.copy(), v.copy(), t, *settings, t=t, g=g, lr=0.1))
        mine.adam_update(w, given, m, v, t, *settings)
        for name, expected, actual in (("m", mean, m), ("v", square, v), ("w", place, w)):
            hold(name, np.array([expected], np.float32), actual, told(t=t, g=g, lr=0.1), rtol=1e-3)
    note("1 -> 0.9 -> 0.9053")


def test_adam_far_along(mine):
    """eps matters where gradients are small, and weight decay goes past m and v."""
    w, g, m = rng("far").standard_normal((3, 4)).astype(np.float32)
    v = rng("v").uniform(0.01, 1, 4).astype(np.float32)
    for eps, decay in ((0.1, 0.0), (1e-8, 0.5)):
        hold_op(mine, case_of("adam_update", w, g, m, v, 5, 0.1, 0.9, 0.99, eps, decay, t=5, eps=eps,
                              weight_decay=decay))  # fmt: skip


def test_adam(mine):
    hold_small(mine, "adam_update")


def test_down_a_valley(mine):
    """40 steps in the valley of (x^2 + 30 y^2) / 2, each update from the answer of the one before."""
    for update, slots, rest in (("sgd_update", 1, lambda t: (0.02, 0.9, True, 0.01)),
                                ("adam_update", 2, lambda t: (t, 0.05, 0.9, 0.999, 1e-8, 0.01))):  # fmt: skip
        theirs, ours = ([np.array([2, -1.5]), *np.zeros((slots, 2))] for _ in range(2))
        for t in range(1, STEPS + 1):
            for f, (w, *state) in ((getattr(mine, update), theirs), (getattr(reference, update), ours)):
                f(w, np.array([1, 30]) * w, *state, *rest(t))
        hold("w", ours[0], theirs[0], told(update=update, steps=STEPS), rtol=1e-8)
    note(f"{STEPS} steps of each")


@drawn("sgd_update")
def test_any_sgd(mine, case):
    hold_op(mine, case)


@drawn("adam_update")
def test_any_adam(mine, case):
    hold_op(mine, case)
