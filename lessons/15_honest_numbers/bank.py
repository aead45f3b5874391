"""Lesson 15: what students write."""

import math

import numba
import numpy as np


# %% wrong: p -+ 1.96 standard errors
# looks like: Wilson's interval is asked for
def wilson(correct, total):
    p = correct / total
    error = math.sqrt(p * (1 - p) / total)
    return p - Z * error, p + Z * error


# %% wrong: p -+ 1.96 standard errors, cut at 0 and 1
# looks like: cut at 0 and 1|Wilson's interval is asked for
def wilson(correct, total):
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    error = math.sqrt(p * (1 - p) / total)
    return max(0.0, p - Z * error), min(1.0, p + Z * error)


# %% wrong: the scale is forgotten
# looks like: not divided by 1
def wilson(correct, total):
    p = correct / total
    centre = p + Z**2 / (2 * total)
    half = Z * math.sqrt(p * (1 - p) / total + Z**2 / (4 * total**2))
    return centre - half, centre + half


# %% wrong: the second term under the root is forgotten
# looks like: is missing under the root
def wilson(correct, total):
    p = correct / total
    centre = p + Z**2 / (2 * total)
    half = Z * math.sqrt(p * (1 - p) / total)
    scale = 1 + Z**2 / total
    return (centre - half) / scale, (centre + half) / scale


# %% wrong: in per cent
# looks like: in per cent
def wilson(correct, total):
    p = correct / total
    centre = p + Z**2 / (2 * total)
    half = Z * math.sqrt(p * (1 - p) / total + Z**2 / (4 * total**2))
    scale = 1 + Z**2 / total
    return 100 * (centre - half) / scale, 100 * (centre + half) / scale


# %% wrong: no answers are not thought of
# looks like: without answers nothing is known
def wilson(correct, total):
    p = correct / total
    centre = p + Z**2 / (2 * total)
    half = Z * math.sqrt(p * (1 - p) / total + Z**2 / (4 * total**2))
    scale = 1 + Z**2 / total
    return (centre - half) / scale, (centre + half) / scale


# %% wrong: brackets, 4 * total ** 2 divides too little
def wilson(correct, total):
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    centre = p + Z**2 / 2 * total
    half = Z * math.sqrt(p * (1 - p) / total + Z**2 / 4 * total**2)
    return (centre - half) / (1 + Z**2 / total), (centre + half) / (1 + Z**2 / total)


# %% wrong: micro-F1
# looks like: this is micro-F1
def macro_f1(labels, answers, classes):
    right = wrong = missed = 0
    for k in range(classes):
        right += np.sum((labels == k) & (answers == k))
        wrong += np.sum((labels != k) & (answers == k))
        missed += np.sum((labels == k) & (answers != k))
    return 2 * right / (2 * right + wrong + missed)


# %% wrong: F1 of the means
# looks like: F1 of the mean precision and mean recall
def macro_f1(labels, answers, classes):
    p, r = [], []
    for k in range(classes):
        right = np.sum((labels == k) & (answers == k))
        if np.sum(labels == k):
            p.append(right / max(1, np.sum(answers == k)))
            r.append(right / np.sum(labels == k))
    p, r = np.mean(p), np.mean(r)
    return 2 * p * r / (p + r)


# %% wrong: weighted by the pictures
# looks like: each class is weighted by its pictures
def macro_f1(labels, answers, classes):
    total = 0.0
    for k in range(classes):
        right = np.sum((labels == k) & (answers == k))
        if np.sum(labels == k):
            total += np.sum(labels == k) * 2 * right / (np.sum(labels == k) + np.sum(answers == k))
    return total / len(labels)


# %% wrong: precision of a class that is never named is 0/0
# looks like: 0/0
def macro_f1(labels, answers, classes):
    scores = []
    for k in range(classes):
        right = np.sum((labels == k) & (answers == k))
        precision, recall = right / np.sum(answers == k), right / np.sum(labels == k)
        scores.append(2 * precision * recall / (precision + recall))
    return np.mean(scores)


# %% wrong: nanmean leaves out what was never named
# looks like: a class that was never named is left out
def macro_f1(labels, answers, classes):
    scores = []
    for k in range(classes):
        right = np.sum((labels == k) & (answers == k))
        precision, recall = right / np.sum(answers == k), right / np.sum(labels == k)
        scores.append(2 * precision * recall / (precision + recall))
    return np.nanmean(scores)


# %% wrong: a class that does not occur counts as 0
# looks like: a class that does not occur counts
def macro_f1(labels, answers, classes):
    scores = []
    for k in range(classes):
        right = np.sum((labels == k) & (answers == k))
        scores.append(2 * right / max(1, np.sum(labels == k) + np.sum(answers == k)))
    return float(np.mean(scores))


# %% wrong: the mean recall
# looks like: this is the mean recall
def macro_f1(labels, answers, classes):
    return float(np.mean([np.mean(answers[labels == k] == k) for k in range(classes) if (labels == k).any()]))


# %% wrong: the 2 is forgotten
# looks like: the 2 is missing|1/2
def macro_f1(labels, answers, classes):
    scores = []
    for k in range(classes):
        if np.sum(labels == k):
            right = np.sum((labels == k) & (answers == k))
            scores.append(right / (np.sum(labels == k) + np.sum(answers == k)))
    return float(np.mean(scores))


# %% wrong: `picture in train`
# looks like: a single equal pixel is enough
def leaked(train, test):
    return np.array([picture in train for picture in test], bool)


# %% wrong: how many there are
# looks like: how many there are is not asked
def leaked(train, test):
    known = {picture.tobytes() for picture in train}
    return sum(picture.tobytes() in known for picture in test)


# %% wrong: the training pictures that are in the test
# looks like: the question is turned round
def leaked(train, test):
    asked = {picture.tobytes() for picture in test}
    return np.array([picture.tobytes() in asked for picture in train], bool)


# %% wrong: equal sums
# looks like: only sums or means are compared
def leaked(train, test):
    return np.isin(test.mean((1, 2)), train.mean((1, 2)))


# %% wrong: copies within the test set are marked too
# looks like: copies within the test pictures are marked
def leaked(train, test):
    seen = [picture.tobytes() for picture in train] + [picture.tobytes() for picture in test]
    return np.array([seen.count(picture.tobytes()) > 1 for picture in test], bool)


# %% wrong: only the first of two copies
# looks like: only the first of two equal test pictures
def leaked(train, test):
    known, found = {picture.tobytes() for picture in train}, []
    for picture in test:
        found.append(picture.tobytes() in known)
        known.discard(picture.tobytes())
    return np.array(found, bool)


# %% wrong: pictures that are nearly equal
# looks like: nearly equal is not equal
def leaked(train, test):
    return np.array([np.abs(train.astype(int) - picture).mean((1, 2)).min() < 1 for picture in test], bool)


# %% wrong: the answer is overwritten
# looks like: only the last training picture is compared
def leaked(train, test):
    found = np.zeros(len(test), bool)
    for i in range(len(test)):
        for picture in train:
            found[i] = np.array_equal(picture, test[i])
    return found


# %% wrong: a list
# looks like: an array of truth values
def leaked(train, test):
    known = {picture.tobytes() for picture in train}
    return [picture.tobytes() in known for picture in test]


# %% right: loops
def wilson(correct, total):
    low = high = 0.0
    if total:
        p, n, z2 = correct / total, total, Z * Z
        root = math.sqrt(z2 * z2 + 4 * n * z2 * p * (1 - p))
        low, high = (2 * n * p + z2 - root) / (2 * (n + z2)), (2 * n * p + z2 + root) / (2 * (n + z2))
    return (low, high) if total else (0, 1)


def macro_f1(labels, answers, classes):
    total, occurring = 0.0, 0
    for k in range(classes):
        right = wrong = missed = 0
        for label, answer in zip(labels, answers, strict=True):
            right += label == k and answer == k
            wrong += label != k and answer == k
            missed += label == k and answer != k
        if right + missed:
            occurring += 1
            total += right / (right + (wrong + missed) / 2)
    return total / occurring


def leaked(train, test):
    found = np.zeros(len(test), bool)
    for i, picture in enumerate(test):
        for known in train:
            if np.array_equal(known, picture):
                found[i] = True
    return found


# %% right: vectorised
def macro_f1(labels, answers, classes):
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels, answers), 1)
    pictures, named, right = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    occurs = pictures > 0
    return (2 * right[occurs] / (pictures + named)[occurs]).mean()


def leaked(train, test):
    return (test[:, None] == train[None]).all((2, 3)).any(1)


# %% right: njit
@numba.njit
def wilson(correct, total):
    if total == 0:
        return 0.0, 1.0
    p, n = correct / total, float(total)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    centre = p + Z * Z / (2 * n)
    return max(0.0, (centre - half) / (1 + Z * Z / n)), min(1.0, (centre + half) / (1 + Z * Z / n))


@numba.njit
def macro_f1(labels, answers, classes):
    right, pictures, named = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    for i in range(len(labels)):
        pictures[labels[i]] += 1
        named[answers[i]] += 1
        right[labels[i]] += labels[i] == answers[i]
    total, occurring = 0.0, 0
    for k in range(classes):
        if pictures[k] > 0:
            total += 2 * right[k] / (pictures[k] + named[k])
            occurring += 1
    return total / occurring


@numba.njit
def leaked(train, test):
    found = np.zeros(len(test), np.bool_)
    for i in range(len(test)):
        for j in range(len(train)):
            found[i] = found[i] or np.array_equal(train[j], test[i])
    return found
