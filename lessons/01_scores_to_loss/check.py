"""What softmax and softmax_cross_entropy are held to."""

import numpy as np

from lessons.checking import case_of, drawn, fail, hold, hold_op, hold_small, note, rng, told
from tinyfer import gradcheck

OP = "softmax_cross_entropy"


def plain(z, target, /, **said):
    """A case without class weights and label smoothing."""
    z, target = np.asarray(z, np.float32), np.asarray(target)
    return case_of(OP, z, target, np.ones(z.shape[1], np.float32), 0.0, **said)


def test_softmax_by_hand(mine):
    """exp(ln 3) = 3, so the probabilities are 1 : 1 : 1 and 1 : 3 : 1."""
    z = np.array([[0, 0, 0], [0, np.log(3), 0]], np.float32)
    hold_op(mine, case_of("softmax", z, N=2, K=3))
    note("1/3 1/3 1/3, and 1/5 3/5 1/5")


def test_softmax(mine):
    hold_small(mine, "softmax")


def test_at_the_start(mine):
    hold_op(mine, plain(np.zeros((5, 7)), [0, 3, 6, 6, 1], N=5, K=7, z=0))
    note("all scores 0: the loss is ln 7")


def test_one_picture(mine):
    """p = 1/4, 3/4 and the second is right: loss = ln(4/3), dz = 1/4, -1/4."""
    hold_op(mine, plain([[0, np.log(3)]], [1], N=1, K=2))
    note("loss ln 4/3, dz 1/4 and -1/4")


def test_small_batches(mine):
    for n in (2, 3):
        z = rng(f"small {n}").standard_normal((n, 4))
        hold_op(mine, plain(z, rng(f"target {n}").integers(4, size=n), N=n, K=4))


def test_huge_scores(mine):
    """By hand: the loss is how far the right score lies below the largest."""
    for row, target, loss in (([1e4, 0, -1e4], 0, 0), ([1e4, 0, -1e4], 1, 1e4), ([1e4, 0, -1e4], 2, 2e4)):
        _finite(mine, plain([row], [target], z=row, target=target), loss)
    note("scores of 10000 and -10000 stay finite")


def _finite(mine, case, loss):
    with np.errstate(all="ignore"):
        p = mine.softmax(case.args[0])
        actual, dz = mine.softmax_cross_entropy(*case.copies())
    if not np.isfinite(p).all():
        fail(f"softmax gives {p[0]}", "exp overflows: subtract each row's largest score before exp", case.told())
    if not np.isfinite(actual) or not np.isfinite(dz).all():
        looks = ("the logarithm of a probability that was rounded to 0: take it apart first, log p = z - max - "
                 "log(sum(exp(z - max)))")  # fmt: skip
        fail(f"the loss is {actual}, dz is {np.asarray(dz)[0]}", looks, case.told())
    looks = ("something small is added inside the logarithm, which keeps it finite and wrong: log p = z - max - "
             "log(sum(exp(z - max))) needs no such help")  # fmt: skip
    hold("loss", np.float32(loss), actual, case.told(), looks=looks)
    hold_op(mine, case)


def test_rows_far_apart(mine):
    z = np.array([[900, 901], [-900, -901]], np.float32)
    case = plain(z, [0, 1], z="900,901 and -900,-901")
    loss, dz = mine.softmax_cross_entropy(*case.copies())
    if not (np.isfinite(loss) and np.isfinite(dz).all() and np.isfinite(mine.softmax(z)).all()):
        fail(f"the loss is {loss}", "the largest score of the whole array is subtracted: each row needs its own, "
             "max(axis=1, keepdims=True)", case.told())  # fmt: skip
    hold_op(mine, case)


def test_adding_to_all_scores(mine):
    z = rng().standard_normal((4, 7)).astype(np.float32)
    case, moved = plain(z, [0, 1, 2, 3]), plain(z + 4, [0, 1, 2, 3], N=4, K=7, z="z + 4")
    for name, before, after in zip(("loss", "dz"), mine.softmax_cross_entropy(*case.copies()),
                                   mine.softmax_cross_entropy(*moved.copies()), strict=True):  # fmt: skip
        looks = "the same number added to all scores of a picture must change nothing"
        hold(name, before, after, moved.told(), rtol=1e-3, looks=looks)
    note("changes nothing")


def test_weights_and_smoothing(mine):
    hold_small(mine, OP)


def test_your_loss_has_your_gradient(mine):
    z, target = rng().standard_normal((3, 5)), np.array([4, 0, 2])
    rest = target, np.array([1, 2, 0.5, 1, 1]), 0.1
    slopes = gradcheck.numeric_gradient(lambda z: mine.softmax_cross_entropy.fast(z, *rest)[0], z)
    hold("dz", slopes, mine.softmax_cross_entropy(z, *rest)[1], told(N=3, K=5),
         looks="dz is not the gradient of your loss: move one score a little and see how the loss moves")  # fmt: skip


@drawn(OP)
def test_any_batch(mine, case):
    hold_op(mine, case)
