"""Lesson 15, Honest numbers: how sure a figure is, what it hides, and whether the test was known before."""

import math

import numpy as np

Z = 1.959964  # so many standard errors leave out 2.5 % on each side: the interval is one of 95 %


def wilson(correct, total):
    """correct of total answers are right -> (low, high), the 95 % interval of the accuracy, from 0 to 1.

    Without any answers it may be anything: (0, 1)."""
    # Your code: about 7 lines.
    raise NotImplementedError("wilson is still to be written")


def macro_f1(labels, answers, classes):
    """labels and answers int (N,), each 0 .. classes - 1 -> the mean F1 of the classes that occur among the labels."""
    # Your code: about 7 lines.
    raise NotImplementedError("macro_f1 is still to be written")


def leaked(train, test):
    """train uint8 (N,H,W), test uint8 (M,H,W) -> bool (M,): True where a test picture is also a training picture."""
    # Your code: about 2 lines.
    raise NotImplementedError("leaked is still to be written")
