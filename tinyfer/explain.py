"""What does a wrong result look like? Sentences for a student whose kernel or gradient is off.

`explain_mismatch(expected, actual)` knows the classic mistakes by their looks: a constant factor, a sign, a transpose,
a flipped kernel, a shift, a missing bias or sum, zeros, only the border, a stale buffer, a race. What only an op's own
formula can show is in `tinyfer.lookalikes`: the answers that the classic mistakes in that very op would give."""

import itertools

import numpy as np

# ----------------------------------------------------------------------------------------------------- comparing arrays


def close(expected, actual, rtol=1e-4, atol=1e-6) -> bool:
    """True when two arrays of one shape agree to rtol of the largest expected value, and are NaN at the same places."""
    expected, actual = np.asarray(expected), np.asarray(actual)
    if expected.shape != actual.shape:
        return False
    finite = np.isfinite(expected)
    largest = np.abs(expected[finite]).max(initial=0)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(actual[finite].astype(np.float64) - expected[finite])
    return bool((np.isnan(actual) == np.isnan(expected)).all() and (error <= rtol * largest + atol).all())


def excerpt(expected, actual) -> tuple[str, str, str]:
    """Where two arrays of one shape differ most, as (place, expected values, actual values), the values in columns.

    They are neighbours along the last axis, or, where that is of length 1, along the last one that is longer."""
    expected, actual = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    if expected.ndim == 0:
        return "", f"{expected:.4g}", f"{actual:.4g}"
    gap = np.abs(actual - expected)
    gap[np.isnan(gap)] = np.inf
    worst = [int(i) for i in np.unravel_index(gap.argmax(), gap.shape)]
    axis = max((i for i, length in enumerate(expected.shape) if length > 1), default=expected.ndim - 1)
    first = max(0, min(worst[axis] - 1, expected.shape[axis] - 4))
    end = min(first + 4, expected.shape[axis])
    place = "[" + ",".join(f"{first}:{end}" if i == axis else str(at) for i, at in enumerate(worst)) + "]"
    index = (*worst[:axis], slice(first, end), *worst[axis + 1 :])
    columns = [(f"{e:.4g}", f"{a:.4g}") for e, a in zip(expected[index], actual[index], strict=True)]
    rows = zip(*(map(str.rjust, pair, [max(map(len, pair))] * 2) for pair in columns), strict=True)
    wanted, given = (" ".join(row) for row in rows)
    return place, wanted, given


# ----------------------------------------------------------------------------------------------------- the one entrance


def explain_mismatch(expected, actual, *, sizes=None, lookalikes=None, again=None, one_thread=None, few=0.1,
                     pictures=True) -> str:  # fmt: skip
    """One sentence that says what a wrong result looks like; "" when it is right.

    expected, actual   arrays (or numbers): what should be there, and what the function under test gave
    sizes              names of numbers that a factor may come from, {"N": 4, "H*W": 64}
    lookalikes         {sentence: array}: answers that known mistakes would give (see `lookalikes`)
    again              (expected, actual) of a second call with other data: finds stale buffers
    one_thread         what the function gave on one thread: finds races
    few                the share of wrong values below which their places are described first
    pictures           False for arrays in which no axis stands for pictures, rows, columns or channels"""
    expected, shaped = np.asarray(expected), shape_fault(expected, actual)
    if shaped:
        return shaped
    actual = np.asarray(actual)
    if close(expected, actual):
        if again is not None and not close(*again):
            return _stale(again, expected)
        return ""
    if one_thread is not None and close(expected, one_thread):
        return ("right with one thread and wrong with several: a race; two threads add to the same element, "
                "so give each chunk its own partial sum and add these up afterwards")  # fmt: skip
    if not np.isfinite(actual).all() and np.isfinite(expected).all():
        return _known(expected, actual, _finite_alike(actual, lookalikes or {})) or _not_finite(actual)
    if actual.size > 1 and not actual.any():
        return "all zeros: is the result ever written, or returned before the loop has run?"
    sentence = _known(expected, actual, lookalikes or {})
    if sentence:
        return sentence
    of_pictures = _rearranged, _offset, _shifted, _channel_factor, _partly
    for finder in (_factor, *(of_pictures if pictures else ()), _lookalike_factor):
        sentence = finder(expected, actual, sizes or {}, lookalikes or {})
        if sentence:
            return sentence
    return _worst(expected, actual)


def shape_fault(expected, actual, like: str = "x") -> str:
    """What is wrong with the type, shape or dtype of a result, or "". like: the argument whose dtype it should have."""
    if not isinstance(actual, np.ndarray | np.generic | int | float):
        return f"the result is a {type(actual).__name__}, expected an array of shape {expected.shape}"
    actual = np.asarray(actual)
    if actual.shape != expected.shape:
        return f"the shape is {actual.shape}, expected {expected.shape}{_shape_hint(expected.shape, actual.shape)}"
    if actual.dtype != expected.dtype and isinstance(actual, np.ndarray) and actual.ndim:
        right = f"{like}.dtype" if expected.dtype.kind == "f" else f"np.{expected.dtype}"
        double = actual.dtype == np.float64
        why = "np.zeros and np.empty make float64 unless told otherwise" if double else "say which dtype it should have"
        return f"the dtype is {actual.dtype}, expected {expected.dtype}: {why}, np.zeros(shape, {right})"
    return ""


def _shape_hint(expected: tuple, actual: tuple) -> str:
    if actual == expected[::-1] and len(expected) == 2:
        return ": transposed"
    if len(expected) == 4 and actual == (expected[0], expected[3], expected[1], expected[2]):
        return ": channels come last here, (N, H, W, C)"
    if len(expected) == 4 and actual == (expected[0], expected[2], expected[1], expected[3]):
        return ": height and width are swapped"
    if sorted(actual) == sorted(expected):
        return ": the right axes in the wrong order"
    if len(actual) == len(expected) == 4 and actual[0] == expected[0] and actual[3] == expected[3]:
        return ": height and width are floor((length + 2*pad - kernel) / stride) + 1"
    if [n for n in actual if n > 1] == [n for n in expected if n > 1]:
        return f": an axis of length 1 is {'missing' if len(actual) < len(expected) else 'left over'}"
    if len(actual) > len(expected) and actual[len(actual) - len(expected) :] == expected:
        return ": a sum over the leading axes (batch, space) is missing"
    if len(actual) < len(expected):
        return ": an axis is missing; was it summed or averaged away?"
    return ""


def _stale(again, first) -> str:
    expected, actual = (np.asarray(a) for a in again)
    if actual.shape == expected.shape and actual.shape == first.shape and close(first, actual):
        return "right on the first call, and the second call gives the first one's result again: a stale buffer"
    if actual.shape == expected.shape and actual.shape == first.shape and close(first + expected, actual):
        return "right on the first call, and the second adds to it: a buffer is kept between calls and not set to zero"
    return "right on the first call and wrong on the second: a stale buffer; make the array in the function or clear it"


def _known(expected, actual, lookalikes: dict) -> str:
    """The sentence of the known mistake whose answer this is, or ""."""
    for sentence, other in lookalikes.items():
        if np.shape(other) == actual.shape and close(other, actual) and not close(other, expected):
            return sentence
    return ""


def _finite_alike(actual, lookalikes: dict) -> dict:
    """The known mistakes that give some finite values, at the very places where these are finite."""
    finite = np.isfinite(actual)
    return {sentence: other for sentence, other in lookalikes.items()
            if finite.any() and np.array_equal(np.isfinite(other), finite)}  # fmt: skip


def _not_finite(actual) -> str:
    count = int((~np.isfinite(actual)).sum())
    kind = "NaN" if np.isnan(actual).any() else "infinite"
    return (f"{count} of {actual.size} values are {kind}: is there a division by zero, the logarithm of 0, the "
            "root of a negative number, exp of a large number, or an array from np.empty that is not filled "
            "everywhere?")  # fmt: skip


# -------------------------------------------------------------------------------------------------------- one look each


def _ratio(expected, actual) -> float | None:
    """The one number k with actual = k * expected, or None."""
    norm = float((expected.astype(np.float64) ** 2).sum())
    k = float((actual.astype(np.float64) * expected).sum()) / norm if norm else 0.0
    return k if k and close(k * expected, actual, atol=1e-6 * abs(k)) else None


def _factor(expected, actual, sizes, _) -> str:
    k = _ratio(expected, actual)
    if k is None:
        return ""
    if abs(k + 1) < 1e-3:
        return "the sign is wrong: each value is minus the expected one"
    if expected.size == 1 and not _named_factor(abs(k), sizes):
        return ""
    sign = "minus " if k < 0 else ""
    named = _named_factor(abs(k), sizes)
    return f"a constant factor: each value is {sign}{named or f'{abs(k):.4g}'} times the expected one"


def _named_factor(k: float, sizes: dict) -> str:
    for name, value in sizes.items():
        if value > 1 and abs(k / value - 1) < 1e-3:
            return f"{name} = {value:g}"
        if value > 1 and abs(k * value - 1) < 1e-3:
            return f"1/({name}) = 1/{value:g}" if "*" in name else f"1/{name} = 1/{value:g}"
    for value in (2, 3, 4):
        if abs(k / value - 1) < 1e-3:
            return str(value)
        if abs(k * value - 1) < 1e-3:
            return f"1/{value}"
    return ""


def _rearranged(expected, actual, *_) -> str:
    if expected.ndim >= 2:
        for axes in itertools.permutations(range(expected.ndim)):
            moved = expected.transpose(axes)
            if axes != tuple(range(expected.ndim)) and moved.shape == actual.shape and close(moved, actual):
                return f"transposed: it is the expected array with its axes in the order {axes}"
    if expected.ndim == 4:
        for flip, what in (((0, 1), "flipped in both directions: the kernel is turned by 180 degrees"),
                           ((1, 2), "mirrored in height and width: is picture or kernel turned by 180 degrees?"),
                           ((0,), "flipped along the first axis"), ((1,), "flipped along the second axis"),
                           ((2,), "flipped along the third axis"),
                           ((3,), "the channels are in reverse order")):  # fmt: skip
            if close(np.flip(expected, flip), actual):
                return what
    if expected.ndim == 2 and expected.shape[0] > 1 and close(expected[::-1], actual):
        return "the rows are in reverse order"
    return ""


def _offset(expected, actual, *_) -> str:
    if expected.ndim == 0:
        return ""
    gap = actual.astype(np.float64) - expected
    scale = 1e-4 * max(1e-2, np.abs(expected).max(), np.abs(gap).max())
    if expected.size > 2 and np.ptp(gap) <= scale:
        return f"off by the same amount everywhere, {gap.flat[0]:.4g}: a bias or an offset is missing or added twice"
    per_channel = gap.reshape(-1, gap.shape[-1]) if gap.ndim > 1 else gap[:1]
    if len(per_channel) > 1 and (np.ptp(per_channel, axis=0) <= scale).all():
        return "each channel is off by its own constant: is the bias (or beta) missing, or added more than once?"
    return ""


def _shifted(expected, actual, *_) -> str:
    if expected.ndim not in (2, 4):
        return ""
    named = ((1, "row"), (2, "column"), (3, "channel")) if expected.ndim == 4 else ((0, "row"), (1, "column"))
    for axis, name in named:
        for step in (1, 2):
            if expected.shape[axis] < step + 2:
                continue
            later = (slice(None),) * axis + (slice(step, None),)
            earlier = (slice(None),) * axis + (slice(None, -step),)
            count = "one " + name if step == 1 else f"two {name}s"
            hint = "" if expected.ndim == 2 or name == "channel" else "; is the padding added on both sides?"
            if close(expected[later], actual[earlier]) and np.ptp(expected[later]):
                return f"shifted by {count}: the value at i is the expected one at i + {step}{hint}"
            if close(expected[earlier], actual[later]) and np.ptp(expected[earlier]):
                return f"shifted by {count}: the value at i is the expected one at i - {step}{hint}"
    return ""


def _channel_factor(expected, actual, *_) -> str:
    if expected.ndim < 2 or expected.shape[-1] < 2:
        return ""
    e, a = (v.reshape(-1, v.shape[-1]).astype(np.float64) for v in (expected, actual))
    norm = (e * e).sum(0)
    if len(e) < 3 or not norm.all():
        return ""
    k = (e * a).sum(0) / norm
    if close(k * e, a):
        return ("each channel is off by its own factor, "
                f"{', '.join(f'{v:.3g}' for v in k[:4])}{' ...' if len(k) > 4 else ''}: "
                "is a scale (gamma, 1/sqrt(var + eps), a class weight) missing or applied twice?")  # fmt: skip
    return ""


def _partly(expected, actual, *_) -> str:
    """Right in one region and wrong in another: the region's name says where to look."""
    wrong = np.abs(actual.astype(np.float64) - expected) > 1e-4 * np.abs(expected).max() + 1e-6
    if wrong.all() or expected.ndim == 0:
        return ""
    if not actual[wrong].any():
        ending = "never written, or skipped?"
        if expected.ndim > 1 and _only(wrong, 0, slice(1, None)):
            return f"only the first picture (row) is there, the others are 0: {ending}"
    for sentence, region in _regions(wrong):
        if not wrong[~region].any() and wrong[region].any():
            return sentence
    return ""


def _only(wrong, axis, part) -> bool:
    region = np.zeros(wrong.shape, bool)
    region[(slice(None),) * axis + (part,)] = True
    return not wrong[~region].any() and wrong.shape[axis] > 1


def _regions(wrong):
    """(sentence, mask) of the places where mistakes gather, small ones first."""
    shape = wrong.shape

    def part(axis, piece):
        mask = np.zeros(shape, bool)
        if shape[axis] > 1:
            mask[(slice(None),) * axis + (piece,)] = True
        return mask

    if len(shape) == 4:
        rows, columns = part(1, -1), part(2, -1)
        yield "only the last row is wrong: the loop over rows ends too early or runs too far", rows
        yield "only the last column is wrong: the loop over columns ends too early or runs too far", columns
        yield "only the first row is wrong: what lies above the picture?", part(1, 0)
        yield "only the first column is wrong: what lies left of the picture?", part(2, 0)
        border = rows | columns | part(1, 0) | part(2, 0)
        yield "only the border is wrong, the inside is right: look at the padding and at the ends of the loops", border
    if len(shape) > 1:
        yield "only the first picture (row) is wrong", part(0, 0)
        yield "only the last picture (row) is wrong", part(0, -1)
        yield "only the first picture (row) is right", part(0, slice(1, None))
    if shape[-1] > 1:
        yield "only the last channel (column) is wrong: a tail that the loop leaves out?", part(len(shape) - 1, -1)
        yield "only the first channel (column) is right", part(len(shape) - 1, slice(1, None))


def _lookalike_factor(expected, actual, _, lookalikes) -> str:
    for sentence, other in lookalikes.items():
        other = np.asarray(other)
        k = _ratio(other, actual) if other.shape == actual.shape and other.size > 2 else None
        if k is not None:
            return f"{sentence}, and on top of that a constant factor of {k:.4g}"
    return ""


def _worst(expected, actual) -> str:
    wrong = np.abs(actual.astype(np.float64) - expected) > 1e-4 * np.abs(expected).max() + 1e-6
    if wrong.sum() > 0 and not wrong.all():
        return f"{wrong.sum()} of {wrong.size} values are wrong, with no pattern that is known here"
    return "all values are wrong, with no pattern that is known here"
