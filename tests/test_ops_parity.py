"""The float32 kernels against the float64 reference, element by element, within the error bounds of `bounds.py`."""

import inspect
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.bounds import BOUNDS, EPS32
from tinyfer import cases, gradcheck, kernels, ops, reference
from tinyfer.kernels.compile import VECTOR_BITS


def within_bound(op, case):
    """The largest error in units of its bound, at most 1."""
    exact = case.as_type(np.float64).copies()
    with np.errstate(invalid="ignore"):
        expected = cases.outputs(op, getattr(reference, op), exact)
        bounds = BOUNDS[op](*exact)
    actual = cases.outputs(op, getattr(ops, op), case.args)
    assert len(actual) == len(expected)
    worst = 0.0
    for name, e, a, bound in zip(cases.OUTPUTS[op], expected, actual, bounds, strict=True):
        a = np.asarray(a)
        assert a.shape == np.shape(e), name
        if a.ndim:  # a number, the loss, comes as a Python float
            assert a.dtype == (np.float32 if e.dtype.kind == "f" else e.dtype), name
        if np.asarray(e).dtype.kind == "f":
            error, limit = np.abs(a - e), 4 * EPS32 * np.asarray(bound) + 1e-37
        else:
            error, limit = (a != e).astype(float), 0.5
        assert (error <= limit).all(), f"{name} of {case}: error {error.max():.2e}, {(error / limit).max():.2f} bounds"
        worst = max(worst, float((error / limit).max()))
    return worst


@pytest.mark.parametrize("op", ops.NAMES)
def test_float32_kernel_is_within_the_error_bound(op):
    gradcheck.prove(op, within_bound, np.float32)


@pytest.mark.parametrize("op", ops.NAMES)
def test_float32_at_a_network_s_size(op):
    """Sizes that no drawn case reaches: several chunks of a batch-norm sum, full register tiles, many pictures."""
    for n, side, channels in ((17, 12, 32), (2, 9, 70)):
        case = cases.sized(op, n, side, channels)
        assert within_bound(op, case) <= 1


def strict(op, function):
    return list(inspect.signature(getattr(function, "py_func", function)).parameters)


@pytest.mark.parametrize("op", ops.NAMES)
def test_every_op_has_both_twins_with_one_signature(op):
    arguments = strict(op, getattr(reference, op))
    assert strict(op, getattr(kernels, op)) == arguments
    assert strict(op, getattr(ops, op)) == arguments
    assert not any(p.default is not p.empty for p in inspect.signature(getattr(reference, op)).parameters.values())
    assert getattr(ops, op).__doc__ == inspect.getdoc(getattr(reference, op))


def test_every_op_is_drawn_bounded_and_listed():
    assert set(cases.NAMES) == set(ops.NAMES) == set(BOUNDS) == set(cases.OUTPUTS)
    public = {name for name, f in vars(reference).items() if inspect.isfunction(f) and not name.startswith("_")}
    assert public - {"output_length", "soft_targets"} == set(ops.NAMES)


@pytest.mark.ci
@pytest.mark.parametrize("bits", [b for b in (0, 128, 256, 512) if b <= max(VECTOR_BITS, 128)])
def test_parity_at_every_vector_width(bits):
    """The whole of this file again, compiled for another vector width, in a process of its own."""
    env = {**os.environ, "TINYFER_VECTOR_BITS": str(bits)}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout[-3000:]
