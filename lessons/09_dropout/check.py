"""What dropout and seeds are held to: what a mask holds, its mean, one mask for both ways, no chance at evaluation, and
generators that depend on four values alone."""

import itertools
from unittest import mock

import numpy as np

from lessons.checking import Fault, Todo, case_of, drawn, fail, hold, hold_op, hold_small, note, rng, told
from tinyfer import explain

FORWARD, BACKWARD = "dropout_forward", "dropout_backward"
MANY = (200, 200)  # numbers of a mask whose share is counted
SIGMAS = 5  # how far chance may lead away from what is expected
WORDS = ("dropout", "order", "noise", "trace", "crate")  # two of one length, and two of the same letters
EPOCHS = (0, 1, 2, 3, 10, 11, 20)
STEPS = (*range(4), 10, 11, 12, 100, 110, 111, 200, 225, 256, 1000, 1024, 2000, 10_000)  # FER-2013 has 225 an epoch
KEYS = [key for seed in (1, 11, 0) for word in WORDS for key in itertools.product([seed], [word], EPOCHS, STEPS)]


# ------------------------------------------------------------------------------------------------------------ the mask


def mask_of(mine, shape, p, purpose="mask"):
    """The student's mask, of the right shape and dtype."""
    mask, case = mine.dropout_mask(shape, p, rng(purpose)), told(shape=shape, p=p)
    kind = getattr(mask, "dtype", None)
    if np.shape(mask) == shape and kind != np.float32:
        fail(f"the mask is {kind}, expected float32", "x is float32, and must stay so: .astype(np.float32)", case)
    if np.shape(mask) != shape:
        hold("mask", np.zeros(shape, np.float32), mask, case)
    return mask


def test_mask_values(mine):
    """0 or 1/(1-p), and nothing else."""
    for p in (0.5, 0.2, 0.75):
        mask = mask_of(mine, (20, 30), p)
        found = np.unique(mask)
        if not explain.close(np.array([0, 1 / (1 - p)]), found):
            values = " ".join(f"{value:.3g}" for value in found[:4]) + " ..." * (len(found) > 4)
            text = f"the mask holds {values}, expected 0 and 1/(1-p) = {1 / (1 - p):.3g}"
            fail(text, scaled(found[-1], p), told(p=p))
    note("p 0.5: 0 and 2; p 0.2: 0 and 1.25; p 0.75: 0 and 4")


def scaled(value, p):
    """How a wrong value of what is kept may have come about."""
    looks = ((1, "what is kept is not scaled: divide by 1 - p"),
             (1 / p, "divided by p: the share that is kept is 1 - p"),
             (1 - p, "multiplied by 1 - p: divide by it, so that the mean stays"))  # fmt: skip
    return next((text for wrong, text in looks if np.isclose(value, wrong)), "")


def test_every_number_by_itself(mine):
    """Along no axis are all numbers dropped together."""
    mask = mask_of(mine, (6, 7, 7, 8), 0.5)
    for axis, name in enumerate(("pictures", "rows", "columns", "channels")):
        if (mask == mask.take([0], axis)).all():
            fail(f"all {name} are dropped at the same places", "the mask is drawn for a part of the shape and "
                 "repeated: one number for each of x, rng.random(shape)", told(shape=mask.shape, p=0.5))  # fmt: skip
    note("no two pictures, rows, columns or channels alike")


def test_share_that_is_dropped(mine):
    for p in (0.2, 0.5, 0.8):
        mask = mask_of(mine, MANY, p)
        share = (mask == 0).mean()
        bound = SIGMAS * np.sqrt(p * (1 - p) / mask.size)
        if abs(share - p) > bound:
            looks = "p is the share that is dropped, not the one that is kept" if abs(share - 1 + p) <= bound else ""
            fail(f"{100 * share:.1f} % are dropped, expected {100 * p:g} %, give or take {100 * bound:.1f}", looks,
                 told(shape=MANY, p=p))  # fmt: skip
    note("20, 50 and 80 % of 40000")


def test_nothing_is_dropped_for_p_0(mine):
    hold("mask", np.ones((5, 8), np.float32), mask_of(mine, (5, 8), 0.0), told(p=0))


def test_from_the_generator(mine):
    """The same generator, the same mask; another one, another mask; and nothing from elsewhere."""
    first, again, other = (mask_of(mine, (9, 9), 0.5, purpose) for purpose in ("one", "one", "other"))
    if not np.array_equal(first, again):
        fail("two calls with the same generator give two masks", "the numbers come from elsewhere: take them from rng, "
             "rng.random(shape)", told(shape=(9, 9), p=0.5))  # fmt: skip
    if np.array_equal(first, other):
        fail("another generator gives the same mask", "rng is not used: a generator that is made in the function, from "
             "the same seed, begins anew at every call", told(shape=(9, 9), p=0.5))  # fmt: skip
    note("the same for the same generator")


# ------------------------------------------------------------------------------------------------------------- the ops


def one_row(op, *rows):
    """A case by hand: arrays of one row."""
    names = ("x" if op == FORWARD else "dy", "mask")
    said = {name: " ".join(f"{value:g}" for value in row) for name, row in zip(names, rows, strict=True)}
    return case_of(op, *(np.array([row], np.float32) for row in rows), **said)


def test_forward_by_hand(mine):
    hold_op(mine, one_row(FORWARD, [1, 2, 3, -4], [0, 2, 2, 0]))
    note("x 1 2 3 -4, mask 0 2 2 0 -> 0 4 6 0")


def test_backward_by_hand(mine):
    hold_op(mine, one_row(BACKWARD, [5, 6, -7, 8], [0, 2, 2, 0]))
    note("dy 5 6 -7 8, mask 0 2 2 0 -> 0 12 -14 0")


def test_small_cases(mine):
    hold_small(mine, FORWARD)


def test_small_cases_backward(mine):
    hold_small(mine, BACKWARD)


# ------------------------------------------------------------------------------------------------------------ both ways


def both_ways(mine, x, dy, p, numbers, train):
    """y and dx of the student's dropout."""
    answer = mine.dropout(x, p, numbers, train)
    if not (isinstance(answer, tuple | list) and len(answer) == 2 and callable(answer[1])):
        given = ", ".join(type(one).__name__ for one in answer) if isinstance(answer, tuple | list) else \
            type(answer).__name__  # fmt: skip
        fail(f"dropout returns {given}, expected y and a function backward(dy)", "backward is a function that is "
             "defined inside: `def backward(dy): ...`, then `return y, backward`", told(p=p, train=train))  # fmt: skip
    lent = dy.copy()
    try:
        dx = answer[1](lent)
    except (Fault, Todo):
        raise
    except Exception as error:
        text = f"the backward that dropout returns stops with {type(error).__name__}: {error}"
        raise Fault(text, place=mine.place("dropout"), case=told(p=p, train=train)) from error
    if not np.array_equal(lent, dy):
        fail("the backward that dropout returns changes dy", "dy belongs to the caller: dy * mask makes a new array")
    for name, given, found in (("y", x, answer[0]), ("dx", dy, dx)):
        if np.shape(found) != given.shape:
            hold(name, given, found, told(p=p, train=train))
    return answer[0], dx


def pair(purpose, *shape):
    """x and dy in float32, no number near 0."""
    values = rng(purpose).standard_normal((2, *shape))
    return (values + np.copysign(0.5, values)).astype(np.float32)


def test_training(mine):
    """Each number is 0 or x/(1-p), and about as many of each as p says."""
    x, dy = pair("training", 50, 40)
    for p in (0.5, 0.2):
        y, _ = both_ways(mine, x, dy, p, rng("training"), True)
        case = told(shape=x.shape, p=p, train=True)
        hold("y", np.where(np.asarray(y) == 0, np.float32(0), x / np.float32(1 - p)), y, case,
             lookalikes={"nothing is dropped: is train asked the wrong way round?": x,
                         "what is kept is not scaled by 1/(1-p)": np.where(np.asarray(y) == 0, 0, x)})  # fmt: skip
        if abs((y == 0).mean() - p) > SIGMAS * np.sqrt(p * (1 - p) / x.size):
            fail(f"{100 * (y == 0).mean():.1f} % of y are 0, expected about {100 * p:g} %", "nothing is dropped"
                 if y.all() else "the mask belongs to x once", case)  # fmt: skip
    note("each number is 0 or x/(1-p)")


def test_same_mask_on_the_way_back(mine):
    """dx is 0 where y is, and dy/(1-p) elsewhere."""
    x, dy = pair("back", 6, 30)
    for p in (0.5, 0.2):
        y, dx = both_ways(mine, x, dy, p, rng("back"), True)
        case = told(shape=x.shape, p=p, train=True)
        expected = np.where(y == 0, np.float32(0), dy / np.float32(1 - p))
        here, there = (y == 0), (np.asarray(dx) == 0)
        if here.shape == there.shape and there.any() and (here != there).any():
            fail(f"y is 0 at {here.sum()} places, dx at {there.sum()}, but only {(here & there).sum()} of them are "
                 "the same", "backward draws a mask of its own: what was dropped on the way forward gets 0 on the way "
                 "back, so keep that mask", case)  # fmt: skip
        hold("dx", expected, dx, case,
             lookalikes={"nothing is dropped on the way back: dx = dy * mask": dy,
                         "what is kept is not scaled by 1/(1-p)": np.where(y == 0, 0, dy)})  # fmt: skip
    note("dx is 0 where y is 0")


def test_mean_is_kept(mine):
    """The mean of y over many masks is x."""
    x, dy = pair("mean", 4, 5)
    p, masks = 0.4, 1000
    mean = np.mean([both_ways(mine, x, dy, p, rng(f"mean {i}"), True)[0] for i in range(masks)], 0)
    bound = SIGMAS * np.sqrt(p / (1 - p) / masks)
    off = np.abs(mean / x - 1).max()
    if not off <= bound:
        fail(f"over {masks} masks the mean of y is up to {100 * off:.0f} % off x, expected at most {100 * bound:.0f} %",
             "are the numbers for each call taken from rng?", told(shape=x.shape, p=p))  # fmt: skip
    note(f"over {masks} masks, within {100 * bound:.0f} %")


class Untouched:
    """Stands in for a Generator where nothing may be drawn."""

    def __getattr__(self, name):
        fail(f"evaluation asks rng for {name}", "ask `if not train` first, and draw nothing then: an evaluation in "
             "between must not change the training", "train=False")  # fmt: skip


def test_evaluation(mine):
    """y is x and dx is dy, to the last bit, and no number is drawn."""
    x, dy = pair("evaluation", 5, 6)
    p = 0.2
    y, dx = both_ways(mine, x, dy, p, rng("evaluation"), False)
    for name, expected, actual in (("y", x, y), ("dx", dy, dx)):
        hold(name, expected, actual, told(p=p, train=False), rtol=0, atol=0, lookalikes={
            "scaled by 1 - p: that was already settled in training, by 1/(1-p)": expected * np.float32(1 - p),
            "scaled by 1/(1-p): at evaluation nothing is dropped, so nothing is to be made up for":
                expected / np.float32(1 - p),
            "still dropping: at evaluation every number counts": np.where(np.asarray(actual) == 0, 0,
                                                                          expected / np.float32(1 - p)),
        })  # fmt: skip
    both_ways(mine, x, dy, p, Untouched(), False)
    note("y is x, dx is dy, and nothing is drawn")


# -------------------------------------------------------------------------------------------------------------- seeds


def numbers_of(mine, key):
    """The first numbers of the student's generator for a key."""
    found = mine.generator(*key)
    if not isinstance(found, np.random.Generator):
        fail(f"generator returns a {type(found).__name__}, expected a np.random.Generator", "np.random.default_rng "
             "makes one; np.random.seed is the old way, one state for everybody", called(key))  # fmt: skip
    return tuple(found.integers(2**62, size=2).tolist())


def called(key):
    return told(**dict(zip(("seed", "purpose", "epoch", "step"), key, strict=True)))


def test_same_four_same_numbers(mine):
    """Whatever was drawn in between."""
    key = (1, "dropout", 2, 3)
    first = numbers_of(mine, key)
    numbers_of(mine, (1, "order", 2, 3))
    if numbers_of(mine, key) != first:
        fail("the same four values give other numbers the second time", "something else takes part: an unseeded "
             "default_rng(), the clock, or a generator that is kept and goes on where it was", called(key))  # fmt: skip
    note("seed 1, dropout, epoch 2, step 3: always the same")


def test_all_four_count(mine):
    key = (1, "dropout", 2, 3)
    for i, (name, other) in enumerate((("seed", 2), ("purpose", "order"), ("epoch", 3), ("step", 4))):
        changed = (*key[:i], other, *key[i + 1 :])
        if numbers_of(mine, key) == numbers_of(mine, changed):
            fail(f"another {name} gives the same numbers", f"{name} does not count: it belongs into the list",
                 f"{called(key)}, and {called(changed)}")  # fmt: skip
    note("seed, purpose, epoch and step")


def test_no_two_alike(mine):
    seen = {}
    for key in KEYS:
        numbers = numbers_of(mine, key)
        if numbers in seen:
            fail("two different calls give the same numbers", likeness(seen[numbers], key),
                 f"{called(seen[numbers])}, and {called(key)}")  # fmt: skip
        seen[numbers] = key
    note(f"{len(KEYS):,} generators, all different")


def likeness(one, other):
    """What two keys have in common that should be told apart."""
    (seed, word, epoch, step), (seed2, word2, epoch2, step2) = one, other
    if word != word2:
        return "two words count alike: neither their length nor the sum of their letters is enough, zlib.crc32 is"
    if f"{seed}{epoch}{step}" == f"{seed2}{epoch2}{step2}":
        return "the digits are written one after the other, and 1, 11 is 11, 1: hand over a list of numbers"
    if seed + epoch + step == seed2 + epoch2 + step2:
        return "the numbers are added up, and 1 + 0 is 0 + 1: hand them over side by side, default_rng([..., ...])"
    return "the numbers are reckoned into one, and different ones meet: hand them over side by side, in a list"


def test_tomorrow_too(mine):
    """Python's hash() of a word has another salt whenever Python is started: here it gets one."""
    key = (1, "dropout", 2, 3)
    today = numbers_of(mine, key)
    with mock.patch("builtins.hash", lambda value, true=hash: true(("tomorrow's salt", value))):
        tomorrow = numbers_of(mine, key)
    if tomorrow != today:
        fail("a Python that is started anew gives other numbers", "hash(...) of a word is another number in every "
             "Python: zlib.crc32(purpose.encode()) is always the same", called(key))  # fmt: skip
    note("the same numbers in a Python started anew")


@drawn(FORWARD)
def test_any_shape(mine, case):
    hold_op(mine, case)


@drawn(BACKWARD)
def test_any_shape_backward(mine, case):
    hold_op(mine, case)
