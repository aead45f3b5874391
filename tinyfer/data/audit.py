"""What is wrong with the pictures themselves: constant ones, copies, copies with different labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyfer.data.known import SPLITS, digits
from tinyfer.data.splits import digests
from tinyfer.data.types import LABELS, Dataset

SHOWN = 12  # at most so many examples on one line


class Audit(NamedTuple):
    """An audit's findings; pictures are named (split, index from 0), splits 0 train, 1 val, 2 test."""

    pictures: int
    distinct: int
    constant: list[tuple[int, int]]        # one grey all over
    black: int                             # how many of those are black
    copies_within: list[int]               # for each split: pictures that repeat an earlier one of it
    copies_across: dict[tuple[int, int], int]  # (a split, a later split): pictures of the later also in the former
    conflicts: list[list[tuple[int, int]]]  # groups of identical pictures with different labels


def audit(dataset: Dataset) -> Audit:
    """A data set -> Audit, by exact comparison of the pictures' bytes."""
    splits = list(dataset)
    where = [(code, index) for code, split in enumerate(splits) for index in range(len(split))]
    labels = np.concatenate([split.labels for split in splits])
    names = [digests(split.images) for split in splits]
    unique, group = np.unique(np.concatenate(names), return_inverse=True)
    constant, black = [], 0
    for code, split in enumerate(splits):
        same = np.flatnonzero((split.images == split.images[:, :1, :1]).all((1, 2)))
        constant += [(code, int(index)) for index in same]
        black += int((split.images[same, 0, 0] == 0).sum())
    across = {(a, b): int(np.isin(names[b], names[a]).sum()) for b in range(3) for a in range(b)
              if len(splits[a]) and len(splits[b])}
    return Audit(len(where), len(unique), constant, black, [len(name) - len(np.unique(name)) for name in names], across,
                 _conflicts(group, labels, where))


def _conflicts(group: np.ndarray, labels: np.ndarray, where: list) -> list[list[tuple[int, int]]]:
    """The groups of identical pictures whose labels differ, each as a list of places."""
    order = np.argsort(group, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []
    return sorted([where[i] for i in run] for run in runs if len(run) > 1 and len(np.unique(labels[run])) > 1)


def report(dataset: Dataset) -> str:
    """The audit of a data set in words, a finding a line."""
    found, splits = audit(dataset), list(dataset)
    repeats = ", ".join(f"{kind} {digits(count)}" for kind, count in zip(SPLITS, found.copies_within, strict=True))
    across = ", ".join(f"{digits(count)} of {SPLITS[later]} in {SPLITS[earlier]}"
                       for (earlier, later), count in found.copies_across.items()) or "there is one split only"
    lines = [
        f"{digits(found.distinct)} distinct pictures among {digits(found.pictures)}",
        f"constant pictures: {_places(found.constant)} ({digits(found.black)} of them black)",
        f"exact copies within a split (beyond the first): {repeats}",
        f"exact copies across splits: {across}",
        f"identical pictures with different labels: {digits(len(found.conflicts))} groups",
    ]
    for group in found.conflicts[:3]:
        told = ", ".join(f"{SPLITS[code]}[{index}] {LABELS[splits[code].labels[index]]}" for code, index in group)
        lines.append(f"  for example {told}")
    return "\n".join(lines)


def _places(places: list[tuple[int, int]]) -> str:
    """'3: train[17], train[400], val[2]', cut after SHOWN."""
    if not places:
        return "none"
    shown = ", ".join(f"{SPLITS[code]}[{index}]" for code, index in places[:SHOWN])
    return f"{digits(len(places))}: {shown}{', ...' if len(places) > SHOWN else ''}"
