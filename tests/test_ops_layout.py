"""How inputs lie in memory, whether they can be written and who else holds them must not change a bit of a result."""

import numpy as np
import pytest

from tinyfer import cases, ops


def same_bits(a, b):
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(a, b, strict=True))


def some_cases(op, dtype=np.float32):
    return [*cases.small(op, dtype), *(cases.at_random(op, seed, dtype) for seed in range(4))]


@pytest.mark.parametrize("layout", cases.LAYOUTS[1:])
@pytest.mark.parametrize("op", [op for op in ops.NAMES if op not in cases.IN_PLACE])
def test_any_layout_gives_the_same_bits(op, layout):
    for case in some_cases(op):
        args = case.copies()
        moved = [cases.lay_out(a, layout) if isinstance(a, np.ndarray) else a for a in args]
        assert same_bits(cases.outputs(op, getattr(ops, op), args), cases.outputs(op, getattr(ops, op), moved)), case


@pytest.mark.parametrize("op", ops.NAMES)
def test_inputs_are_left_alone(op):
    for case in some_cases(op):
        args, before = case.copies(), case.copies()
        getattr(ops, op)(*args)
        for i, (a, b) in enumerate(zip(args, before, strict=True)):
            assert i in cases.IN_PLACE.get(op, ()) or not isinstance(a, np.ndarray) or np.array_equal(a, b), case


@pytest.mark.parametrize("op", [op for op in ops.NAMES if op not in cases.IN_PLACE])
def test_results_are_fresh_and_nothing_is_kept_between_calls(op):
    """Two calls with other data: the first result stays as it was, the second is what a first call would have given."""
    for first, second in zip(cases.small(op), cases.small(op, seed=100), strict=True):
        alone = cases.outputs(op, getattr(ops, op), second.copies())
        args = first.copies()
        held = cases.outputs(op, getattr(ops, op), args)
        kept = [np.array(r) for r in held]
        assert same_bits(alone, cases.outputs(op, getattr(ops, op), second.copies())), second
        assert same_bits(kept, held), first
        for result in held:
            shared = [a for a in args if isinstance(a, np.ndarray) and np.shares_memory(a, result)]
            assert not shared and np.asarray(result).flags.writeable


@pytest.mark.parametrize("op", ops.NAMES)
def test_the_same_call_gives_the_same_bits(op):
    case = cases.sized(op, 9, 11, 20)
    results = [cases.outputs(op, getattr(ops, op), case.copies()) for _ in range(5)]
    assert all(same_bits(results[0], other) for other in results[1:])


@pytest.mark.parametrize("op", cases.IN_PLACE)
def test_updates_write_into_what_they_are_given(op):
    """Views into one flat array, as a model's parameters are: neighbours stay as they were."""
    case = cases.sized(op, 1, 8, 4)
    flat = {i: np.full(case.args[0].size + 20, 7, np.float32) for i in cases.IN_PLACE[op]}
    args = case.copies()
    for i, whole in flat.items():
        whole[10:-10] = args[i]
        args[i] = whole[10:-10]
    getattr(ops, op)(*args)
    expected = cases.outputs(op, getattr(ops, op), case.copies())
    for whole, right in zip(flat.values(), expected, strict=True):
        assert same_bits([whole[10:-10]], [right])
        assert (whole[:10] == 7).all() and (whole[-10:] == 7).all()
