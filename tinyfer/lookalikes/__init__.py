"""The answers that classic mistakes in each op would give, so that a wrong one can be recognised and named.

`lookalikes(op, args)` goes through the mistakes of one op; each is the op's formula with one thing done wrong. They
stand in a file for each family, as the kernels do, in a generator of the op's name that takes the op's arguments and
yields (output, sentence, what this mistake gives)."""

import numpy as np

from tinyfer import cases
from tinyfer.lookalikes import activation, conv, dense, dropout, loss, norm, pool, update

FAMILIES = (conv, activation, norm, pool, dense, dropout, loss, update)


def lookalikes(op: str, args) -> list[dict]:
    """For each output of `op`, {sentence: the array that this mistake gives}; args are the op's, contiguous."""
    found: list[dict] = [{} for _ in cases.OUTPUTS[op]]
    for family in FAMILIES:
        with np.errstate(all="ignore"):
            for output, sentence, value in getattr(family, op, _none)(*args):
                found[cases.OUTPUTS[op].index(output)][sentence] = np.asarray(value)
    return found


def _none(*args):
    """An op in which no mistake is known."""
    return ()


def named_sizes(op: str, args) -> dict:
    """The numbers that a constant factor may come from in this op: {"N": 3, "H*W": 16, ...}."""
    shape: tuple = next((a.shape for a in args if isinstance(a, np.ndarray)), ())
    if "avgpool_backward" in op or "maxpool_backward" in op:
        shape = next(a for a in args if isinstance(a, tuple))
    if len(shape) == 4:
        n, h, w, c = shape
        sizes = {"N": n, "H*W": h * w, "N*H*W": n * h * w, "C": c}
        if op.startswith("conv"):
            kernel = args[1 if op.endswith("forward") else 2].shape
            sizes["kh*kw"] = kernel[0] * kernel[1]
        return sizes
    if len(shape) == 2:
        return {"N": shape[0], "K" if op.startswith("softmax") else "C": shape[1]}
    return {}
