"""Lesson 15, Honest numbers: how sure a figure is, what it hides, and whether the test was known before."""

import math

import numpy as np

Z = 1.959964  # so many standard errors leave out 2.5 % on each side: the interval is one of 95 %


def wilson(correct, total):
    """correct of total answers are right -> (low, high), the 95 % interval of the accuracy, from 0 to 1.

    Without any answers it may be anything: (0, 1)."""
    # BEGIN ANSWER
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    centre = p + Z**2 / (2 * total)
    half = Z * math.sqrt(p * (1 - p) / total + Z**2 / (4 * total**2))
    scale = 1 + Z**2 / total
    return (centre - half) / scale, (centre + half) / scale
    # END ANSWER


def macro_f1(labels, answers, classes):
    """labels and answers int (N,), each 0 .. classes - 1 -> the mean F1 of the classes that occur among the labels."""
    # BEGIN ANSWER
    scores = []
    for k in range(classes):
        right = np.sum((labels == k) & (answers == k))
        pictures, named = np.sum(labels == k), np.sum(answers == k)
        if pictures > 0:
            scores.append(2 * right / (pictures + named))
    return float(np.mean(scores))
    # END ANSWER


def leaked(train, test):
    """train uint8 (N,H,W), test uint8 (M,H,W) -> bool (M,): True where a test picture is also a training picture."""
    # BEGIN ANSWER
    known = {picture.tobytes() for picture in train}
    return np.array([picture.tobytes() in known for picture in test], bool)
    # END ANSWER
