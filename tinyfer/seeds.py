"""Randomness that depends on (seed, purpose, epoch, step) alone, so that stopping and resuming cannot change it."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
    """An independent random generator for one purpose ("order", "augment", "dropout" ...) at one step of one run.

    Built on NumPy's SeedSequence spawn keys: the same four values give the same stream on every machine."""
    key = (zlib.crc32(purpose.encode()), epoch, step)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
