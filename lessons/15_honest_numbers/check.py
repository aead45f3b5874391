"""Intervals, F1 and copies by hand; and each against the engine's own."""

import math

import numpy as np

from lessons.checking import Fault, fail, hold, note, rng, told
from tinyfer import metrics
from tinyfer.data.toyfaces import draw_many

Z = 1.959964
PUBLIC = np.array([467, 56, 496, 895, 653, 415, 607])  # pictures of each class in FER-2013's PublicTest

# ----------------------------------------------------------------------------------------------------------- interval


def hold_interval(mine, correct, total, expected=None):
    """Hold the student's (low, high) to the one by hand, or to the engine's."""
    case = told(correct=correct, total=total)
    answer = mine.wilson(correct, total)
    if not isinstance(answer, tuple | list | np.ndarray) or np.shape(answer) != (2,):
        looks = "nothing is returned: is the `return` there?" if answer is None else ""
        fail(f"wilson answers {answer!r:.60}, expected two numbers, low and high", looks, case)
    expected = metrics.wilson(correct, total) if expected is None else expected
    hold("low, high", np.array(expected), np.array(answer, float), case, rtol=1e-4 if total < 1000 else 1e-5, atol=1e-9,
         lookalikes=wrong_intervals(correct, total))  # fmt: skip


def wrong_intervals(correct, total):
    """Answers that classic mistakes would give."""
    p, low, high = correct / total, *metrics.wilson(correct, total)
    error = math.sqrt(p * (1 - p) / total)
    centre = p + Z**2 / (2 * total)
    half = Z * math.sqrt(p * (1 - p) / total + Z**2 / (4 * total**2))
    scale = 1 + Z**2 / total
    simple = p - Z * error, p + Z * error
    tail = "" if 0 < correct < total else ", which is of width 0 where all or none are right"
    beyond = ", which may reach beyond 0 and 1" if simple[0] < 0 or simple[1] > 1 else ""
    rule = f"p -+ 1.96 standard errors{tail}{beyond}: Wilson's interval is asked for"
    answers = {
        rule: simple,
        f"p -+ 1.96 standard errors, cut at 0 and 1{tail}: Wilson's interval is asked for": np.clip(simple, 0, 1),
        "not divided by 1 + z^2/n": (centre - half, centre + half),
        "z^2/(4 n^2) is missing under the root": ((centre - Z * error) / scale, (centre + Z * error) / scale),
        "z^2/(2 n) is missing in the middle": ((p - half) / scale, (p + half) / scale),
        "only one standard error: the root is multiplied by z": (
            (centre - half / Z) / scale, (centre + half / Z) / scale),
        "the middle and half of the width are given: low and high are asked for": (centre / scale, half / scale),
        "high comes first: low, high": (high, low),
        "in per cent: shares from 0 to 1 are asked for": (100 * low, 100 * high),
        "in pictures: shares from 0 to 1 are asked for": (total * low, total * high),
        "p (1 - p) is not divided by n: that is the spread of one answer, not of their mean": (
            (centre - Z * math.sqrt(p * (1 - p))) / scale, (centre + Z * math.sqrt(p * (1 - p))) / scale),
        "the root is missing": tuple((centre + sign * half**2 / Z) / scale for sign in (-1, 1)),
    }  # fmt: skip
    return {sentence: np.array(answer) for sentence, answer in answers.items()}


def test_eight_of_ten(mine):
    """By hand, with z^2 = 3.8415: centre 0.8 + 0.1921, root of 0.016 + 0.0096 = 0.1600, scale 1.3841."""
    hold_interval(mine, 8, 10, (0.490162, 0.943318))
    note("8 of 10: from 0.49 to 0.94")


def test_all_and_none(mine):
    """By hand: 0 of 10 ends at 3.8415 / 13.8415."""
    hold_interval(mine, 0, 10, (0.0, 0.277533))
    hold_interval(mine, 10, 10, (0.722467, 1.0))
    note("10 of 10: from 0.72 to 1")


def test_no_answers(mine):
    try:
        answer = mine.wilson(0, 0)
    except Fault as fault:
        fault.case, fault.looks = "correct=0 total=0", "without answers nothing is known: (0, 1), before you divide"
        raise
    if tuple(np.ravel(answer)) != (0, 1):
        fail(f"wilson(0, 0) is {answer!r:.60}, expected (0, 1)", "without answers nothing is known: the rate may be "
             "anything from 0 to 1")  # fmt: skip
    note("0 of 0: from 0 to 1")


def test_a_whole_test_set(mine):
    """63.44 % of FER-2013's PublicTest: 1.6 points to each side."""
    hold_interval(mine, 2277, 3589, (0.618553, 0.650046))
    note("2277 of 3589: from 0.619 to 0.650")


def test_what_the_interval_means(mine):
    """At both ends the share that was seen lies exactly z standard errors away from the true rate."""
    draw = rng("intervals")
    for total in (1, 2, 5, 37, 7178):
        correct = int(draw.integers(0, total + 1))
        hold_interval(mine, correct, total)
        for rate in mine.wilson(correct, total):
            hold("distance", (correct / total - rate) ** 2, Z**2 * rate * (1 - rate) / total,
                 told(correct=correct, total=total), atol=1e-9)  # fmt: skip
    note("(p - q)^2 = z^2 q (1 - q) / n at both ends")


# ----------------------------------------------------------------------------------------------------------- macro F1


def hold_f1(mine, labels, answers, classes, expected=None, case=""):
    """Hold the student's macro-F1 to the one by hand, or to the engine's."""
    labels, answers = np.asarray(labels), np.asarray(answers)
    case = case or f"labels {' '.join(map(str, labels))}, answers {' '.join(map(str, answers))}, {classes} classes"
    scores = metrics.Scores.of(labels, answers, tuple(map(str, range(classes))))
    answer = mine.macro_f1(labels, answers, classes)
    if isinstance(answer, float | np.floating) and np.isnan(answer):
        fail("macro_f1 is NaN", "0/0: a class that was never named, or that does not occur; F1 = 2 right / (pictures + "
             "named) knows no 0/0 where the class occurs, and the others are left out", case)  # fmt: skip
    hold("macro-F1", scores.macro_f1 if expected is None else expected, answer, case, rtol=1e-6,
         lookalikes=wrong_f1(scores))  # fmt: skip


def wrong_f1(scores):
    """Answers that classic mistakes would give."""
    occurs, named = scores.support > 0, scores.confusion.sum(0) > 0
    precision, recall, f1, macro = scores.precision, scores.recall, scores.f1, scores.macro_f1
    p, r = precision[occurs].mean(), recall[occurs].mean()
    answers = {
        "this is micro-F1, which is the accuracy: take F1 of each class, then their mean": scores.accuracy,
        "this is F1 of the mean precision and mean recall: take F1 of each class, then their mean": 2 * p * r / (p + r),
        "each class is weighted by its pictures: in macro-F1 all classes count the same": np.average(
            f1, weights=scores.support),
        "a class that was never named is left out: it occurs, so its F1 is 0 and counts": f1[occurs & named].mean(),
        "a class that does not occur counts as 0: leave it out": f1.mean(),
        "a class that does not occur counts, if it was named: leave it out": f1[occurs | named].mean(),
        "a class that does not occur counts as 1: leave it out": np.where(occurs | named, f1, 1.0).mean(),
        "this is the mean recall: precision is missing": recall[occurs].mean(),
        "this is the mean precision: recall is missing": precision[occurs].mean(),
        "the 2 is missing: 2 right / (pictures + named)": macro / 2,
        "the sum over classes is given: divide by their number": f1.sum(),
        "the mean of precision and recall: F1 is their harmonic mean, 2 right / (pictures + named)": (
            (precision + recall)[occurs] / 2).mean(),
    }  # fmt: skip
    return {sentence: np.float64(answer) for sentence, answer in answers.items()}


def test_two_classes_by_hand(mine):
    """Class 0: 2 * 2 / (3 + 2) = 0.8; class 1: 2 * 1 / (1 + 2) = 0.667."""
    hold_f1(mine, [0, 0, 0, 1], [0, 0, 1, 1], 2, (4 / 5 + 2 / 3) / 2)
    hold_f1(mine, [0, 0, 0, 0, 1, 1, 1, 2], [0, 0, 0, 1, 1, 1, 0, 2], 3)
    note("(0.8 + 0.667) / 2 = 0.733")


def test_a_class_that_is_never_named(mine):
    """Class 0: 2 * 2 / (2 + 3) = 0.8; class 1: 1 of 1; class 2 occurs and is never named: 0."""
    hold_f1(mine, [0, 0, 1, 2], [0, 0, 1, 0], 3, (0.8 + 1 + 0) / 3)
    note("its F1 is 0, and counts")


def test_a_class_that_does_not_occur(mine):
    """Class 2 is in neither; class 3 is named once and does not occur: both are left out."""
    hold_f1(mine, [0, 0, 1, 1], [0, 0, 1, 0], 3, (2 * 2 / 5 + 2 * 1 / 3) / 2)
    hold_f1(mine, [0, 0, 1, 1], [0, 3, 1, 1], 4, (2 * 1 / 3 + 1) / 2)
    note("it is left out")


def test_always_happy(mine):
    """FER-2013's PublicTest, everything called happy: F1 of happy is 2 * 895 / (895 + 3589), and six are 0."""
    labels = np.repeat(np.arange(7), PUBLIC)
    hold_f1(mine, labels, np.full(len(labels), 3), 7, 2 * 895 / (895 + 3589) / 7, "everything is called class 3")
    note("accuracy 0.249, macro-F1 0.057")


def test_any_answers(mine):
    draw = rng("answers")
    for classes, n in ((2, 5), (3, 9), (7, 40), (7, 700)):
        labels = draw.integers(0, classes, n)
        answers = np.where(draw.random(n) < 0.5, labels, draw.integers(0, classes, n))
        hold_f1(mine, labels, answers, classes, case=told(N=n, classes=classes))
    note("up to 700 answers, 7 classes")


# ------------------------------------------------------------------------------------------------------------- copies


def hold_leaked(mine, train, test, expected, case):
    """Hold the student's truth values to those by hand."""
    train, test, expected = np.asarray(train, np.uint8), np.asarray(test, np.uint8), np.asarray(expected, bool)
    answer = mine.leaked(train, test)
    if isinstance(answer, list | tuple):
        fail(
            f"leaked answers a {type(answer).__name__}",
            "an array of truth values is asked for: np.array(..., bool)",
            case,
        )
    if np.shape(answer) == ():
        if answer is not None:
            fail(f"leaked answers {answer!r}, expected {len(test)} truth values", "how many there are is not asked: "
                 "say of each test picture whether it is a copy", case)  # fmt: skip
    elif len(answer) == len(train) != len(test):
        fail(f"leaked answers {len(answer)} truth values, expected {len(test)}", "the question is turned round: which "
             "test pictures are known is asked, and not which training pictures", case)  # fmt: skip
    elif answer.dtype != bool and np.isin(answer, (0, 1)).all() and len(answer) == len(test):
        fail(f"the truth values are {answer.dtype}, expected bool", "as an index, 0 and 1 mean rows 0 and 1: "
             "np.array(..., bool)", case)  # fmt: skip
    hold("leaked", expected, answer, case, lookalikes=wrong_copies(train, test))


def wrong_copies(train, test):
    """Answers that classic mistakes would give."""

    def listed(pictures):
        return [picture.tobytes() for picture in pictures]

    known, asked = listed(train), listed(test)
    sums, pixels = train.sum((1, 2), dtype=int), {tuple(np.sort(picture.ravel())) for picture in train}
    answers = {
        "copies within the test pictures are marked: only those that are also in training leak":
            [one in known or asked.count(one) > 1 for one in asked],
        "only the first of two equal test pictures is marked": [one in known and one not in asked[:i]
                                                                for i, one in enumerate(asked)],
        "only the second of two equal test pictures is marked, whether in training or not":
            [one in asked[:i] for i, one in enumerate(asked)],
        "a single equal pixel is enough: `picture in train` asks whether any number is equal":
            [(train == picture).any() for picture in test],
        "only sums or means are compared: other pictures have the same": np.isin(test.sum((1, 2), dtype=int), sums),
        "only the numbers are compared, not their places": [tuple(np.sort(p.ravel())) in pixels for p in test],
        "only the first row is compared": [(train[:, 0] == picture[0]).all(1).any() for picture in test],
        "only the first pixel is compared": np.isin(test[:, 0, 0], train[:, 0, 0]),
        "only pictures at the same place are compared: every test picture with every training picture":
            [i < len(train) and (train[i] == picture).all() for i, picture in enumerate(test)],
        "True and False are swapped": [one not in known for one in asked],
        "only the first training picture is compared": [one == known[0] for one in asked],
        "only the last training picture is compared: is the answer overwritten in the loop?":
            [one == known[-1] for one in asked],
        "nearly equal is not equal: not one pixel may differ":
            [(np.abs(train.astype(int) - picture).max((1, 2)) <= 1).any() for picture in test],
    }  # fmt: skip
    return {sentence: np.asarray(answer, bool) for sentence, answer in answers.items()}


A, B, C, D, E, F = np.array([[[10, 20], [30, 40]], [[50, 60], [70, 80]], [[9, 9], [9, 9]], [[40, 30], [20, 10]],
                             [[10, 20], [30, 41]], [[10, 20], [99, 98]]])  # fmt: skip


def test_one_copy(mine):
    hold_leaked(mine, [A, B, C], [F, B, A, C], [False, True, True, True], "train A B C, test F B A C")
    hold_leaked(mine, [A, B], [D, C, A], [False, False, True], "train A B, test D C A")
    note("train A B, test D C A -> False False True")


def test_nearly_equal_is_not_equal(mine):
    """The same numbers at other places; one pixel, one grey level; the same first row."""
    hold_leaked(mine, [A, B, C], [D, E, F, A], [False, False, False, True], "train A B C, test: A turned, A + 1, F, A")
    note("not one pixel may differ")


def test_copies_within_a_split(mine):
    """Two equal test pictures are no leak; two equal ones that are in training are two."""
    hold_leaked(mine, [A, A, B], [C, C, D, F], [False, False, False, False], "train A A B, test C C D F")
    hold_leaked(mine, [A, A, B], [C, B, C, B], [False, True, False, True], "train A A B, test C B C B")
    note("only copies across count")


def test_drawn_faces(mine):
    """Copies of drawn faces are hidden among others, some of them mirrored or a little lighter."""
    draw = rng("copies")
    faces = draw_many(np.arange(60) % 7, draw, 24)
    train, rest = faces[:40], faces[40:]
    copied = draw.choice(40, 6, replace=False)
    test = np.concatenate([rest, train[copied], train[copied[:3], :, ::-1], np.minimum(train[copied[:3]], 254) + 1])
    order = draw.permutation(len(test))
    expected = (order >= len(rest)) & (order < len(rest) + 6)
    hold_leaked(mine, train, test[order], expected, told(N=len(train), M=len(test)))
    note(f"6 of {len(test)} drawn faces")
