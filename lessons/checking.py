"""What a lesson's check.py is written with. Its tests are pytest's, and take `mine`, the student's guarded file:

    def test_one_pixel(mine):
        x = rng().standard_normal((1, 1, 1, 1))
        hold("y", x, mine.relu_forward(x))         # Fault, with rows and "looks like", unless they are equal

    def test_small_cases(mine):
        hold_small(mine, "relu_forward")            # from the simplest case up, against the reference

    @drawn("relu_forward")
    def test_any_shape(mine, case):                 # hypothesis draws cases and shrinks the one that fails
        hold_op(mine, case)

The name of a test, without test_ and with spaces, is what the verdict calls the check; write them from the simplest to
the hardest, for the first that fails is the one that the student reads. Expected values come from the reference, from a
hand-computed table or from a formula, never from solution.py: a student's tree has none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numba
import numpy as np

from tinyfer import cases, explain, reference
from tinyfer.lookalikes import lookalikes as known_mistakes
from tinyfer.lookalikes import named_sizes
from tinyfer.seeds import generator

from .runner.course import class_seed
from .runner.handin import Fault, Guarded, Handin, Todo

__all__ = ["Fault", "Guarded", "Handin", "Todo", "Traced", "case_of", "drawn", "fail", "hold", "hold_faster", "hold_op",
           "hold_small", "hold_threads", "note", "rng", "seconds_in_turn", "told"]  # fmt: skip

EXAMPLES = 25  # that hypothesis draws for a check
THREAD_REPEATS = 20
ROUNDS = 5, 15  # of a race between two functions: at least, and while it is still open
CLASS_CASES = 6  # more shapes that a class of its own has in hold_small


class Record:
    """What the check that runs now has to say on its line: notes, and the largest error that was accepted."""

    notes: tuple[str, ...] = ()
    error: float | None = None

    def clear(self) -> None:
        self.notes, self.error = (), None

    def __str__(self) -> str:
        if self.notes:
            return "; ".join(self.notes)
        return "" if self.error is None else f"largest error {self.error:.0e}" if self.error else "exact"


record = Record()


def note(text: str) -> None:
    """Say this on the check's line when it passes, in place of the largest error."""
    record.notes = (*record.notes, text)


def rng(purpose: str = "values") -> np.random.Generator:
    """Random numbers for a check: always the same ones for one purpose and class."""
    return generator(class_seed(), purpose)


def fail(text: str, looks: str = "", case: str = "") -> None:
    """The check has failed: what is wrong, what it looks like, and on which input."""
    raise Fault(text, looks=looks, case=case)


def told(**sizes) -> str:
    """Sizes as a verdict tells them: told(N=2, side=48) -> "N=2 side=48"."""
    return " ".join(f"{name}={value}" for name, value in sizes.items())


def hold(name: str, expected, actual, case: str = "", *, rtol=1e-4, atol=1e-6, looks: str = "", like: str = "x",
         **hints) -> None:  # fmt: skip
    """Fault unless actual has expected's shape, dtype and, to rtol of the largest value, values.

    name: what the result is called; case: the input, told shortly; hints: as for `explain.explain_mismatch` (sizes,
    lookalikes, again, one_thread, pictures; lookalikes may be a function that makes them); like: the argument whose
    dtype the result should have; looks: what to say where nothing else is found."""
    expected = np.asarray(expected)
    fault = explain.shape_fault(expected, actual, like)
    if fault:
        what, _, hint = fault.partition(": ")
        raise Fault(f"{name}: {what}" if name else what, case=case, looks=hint or _missing_result(actual))
    actual = np.asarray(actual)
    if explain.close(expected, actual, rtol, atol):
        _remember(expected, actual)
        return
    if callable(hints.get("lookalikes")):
        hints["lookalikes"] = hints["lookalikes"]()
    sentence = explain.explain_mismatch(expected, actual, **hints)
    if looks and (not sentence or "no pattern" in sentence):
        sentence = looks
    raise _wrong(name, expected, actual, case, sentence)


def _wrong(name: str, expected, actual, case: str, looks: str) -> Fault:
    where, wanted, given = explain.excerpt(expected, actual)
    if "," in name:  # a handful of numbers, each of which has its own name
        where = ""
    rows = [(f"expected {name}{where}", wanted), (f"yours    {name}{where}", given)]
    return Fault(case=case, looks=looks, rows=rows)


def _missing_result(actual) -> str:
    return "nothing is returned: is the `return` there, and at the right depth?" if actual is None else ""


def _remember(expected, actual) -> None:
    finite = np.isfinite(expected)
    largest = np.abs(expected[finite]).max(initial=0) or 1
    gap = np.abs(actual[finite].astype(np.float64) - expected[finite]).max(initial=0) / largest
    record.error = max(record.error or 0.0, float(gap))


# ---------------------------------------------------------------------------------------------- ops of the real engine


def case_of(op: str, /, *args, **said) -> cases.Case:
    """A case made by hand: the op's arguments, and the sizes that a verdict tells."""
    return cases.Case(op, args, said)


def hold_op(mine: Handin, case: cases.Case) -> tuple:
    """Hold the student's op to the reference on one case; its results."""
    results = _results(mine, case)
    _compare(case, _expected(case), results)
    return results


def hold_small(
    mine: Handin, op: str, only: Callable[[cases.Case], bool] = lambda case: True, dtype=np.float32
) -> None:
    """Hold an op to the reference on a few small cases from the simplest up, twice each: other numbers of the same
    shape find what is kept from call to call. `only` picks the cases that the lesson asks for."""
    count = 0
    pairs = zip(cases.small(op, dtype, class_seed()), cases.small(op, dtype, class_seed() + 100), strict=True)
    for first, second in (*pairs, *_of_the_class(op, dtype)):
        if not only(first):
            continue
        count += 1
        results = hold_op(mine, first)
        kept = [np.array(r) for r in results]
        later = _results(mine, second)
        _compare(second, _expected(second), later, earlier=(_expected(first), kept))
        if op not in cases.IN_PLACE and not all(np.array_equal(a, b) for a, b in zip(kept, results, strict=True)):
            raise Fault(
                "a second call overwrites the first call's result",
                case=first.told(),
                place=mine.place(op),
                looks="a buffer that is kept between calls: make the array inside the function",
            )
    note(f"{2 * count} calls, {record}")


def _of_the_class(op: str, dtype) -> list[tuple[cases.Case, cases.Case]]:
    """More pairs of cases, each of one shape and two seeds, that only a class of its own has."""

    def case(number: int, seed: int) -> cases.Case:
        def choose(name: str, low: int, high: int) -> int:
            purpose = f"{op} {number} {name} {seed if name == 'seed' else ''}"
            return int(rng(purpose).integers(low, high, endpoint=True))

        return cases.make(op, choose, dtype)

    return [(case(number, 1), case(number, 2)) for number in range(CLASS_CASES if class_seed() else 0)]


def drawn(op: str, dtype=np.float64, only: Callable[[cases.Case], bool] | None = None, examples: int = EXAMPLES):
    """A decorator: the test is given cases of `op` of any shape as `case`, and fails with the smallest one."""
    from hypothesis import given, seed, settings

    found = cases.strategy(op, dtype)
    if only is not None:
        found = found.filter(only)

    def decorate(test):
        return seed(class_seed())(settings(max_examples=examples)(given(case=found)(test)))

    return decorate


def hold_threads(mine: Handin, case: cases.Case, repeats: int = THREAD_REPEATS) -> None:
    """Hold a compiled op on a large case to the reference with one thread, and to itself with all, many times."""
    f, most = getattr(mine, case.op), numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    expected, before = _expected(case), numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = cases.outputs(case.op, f.fast, case.args)
        _compare(case, expected, alone)
        numba.set_num_threads(most)
        for _ in range(repeats):
            _compare(case, expected, cases.outputs(case.op, f.fast, case.args), one_thread=alone)
    finally:
        numba.set_num_threads(before)
    note(
        f"{repeats} runs on {most} threads equal one thread's" if most > 1 else "one thread: this machine has no more"
    )


def _results(mine: Handin, case: cases.Case) -> tuple:
    results = cases.outputs(case.op, getattr(mine, case.op), case.args)
    mine.called[:] = [case.op]  # what comes next compares these
    return results


def _expected(case: cases.Case) -> tuple:
    """What the reference answers in float64, in the dtypes that the op should answer in."""
    kind = next(a.dtype for a in case.args if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    results = cases.outputs(case.op, getattr(reference, case.op), case.as_type(np.float64).copies())
    return tuple(np.asarray(r) if np.asarray(r).dtype.kind != "f" else np.asarray(r, kind) for r in results)


def _compare(case: cases.Case, expected: tuple, results: tuple, earlier=None, one_thread=None) -> None:
    names = cases.OUTPUTS[case.op]
    if len(results) != len(expected):
        raise Fault(
            f"{case.op} returns {len(results)} value{'s' * (len(results) != 1)}, expected {len(expected)}: "
            f"{', '.join(names)}",
            case=case.told(),
            looks=_missing_result(results[0]),
        )
    taken = cases.arguments(case.op)
    like = "x" if "x" in taken else taken[0]
    for i, name in enumerate(names):
        if np.shape(results[i]) == expected[i].shape and explain.close(expected[i], results[i]):
            hold(name, expected[i], results[i], case.told(), like=like)  # its dtype
            continue
        if earlier is not None and explain.shape_fault(expected[i], results[i]) == "":  # the first call was right
            looks = explain.explain_mismatch(earlier[0][i], earlier[1][i], again=(expected[i], results[i]))
            raise _wrong(name, expected[i], results[i], case.told(), looks)
        args = case.copies()
        hold(
            name,
            expected[i],
            results[i],
            case.told(),
            sizes=named_sizes(case.op, args),
            lookalikes=known_mistakes(case.op, args)[i],
            one_thread=None if one_thread is None else one_thread[i],
            like=like,
        )


# ---------------------------------------------------------------------------------------------------------------- speed


def seconds_in_turn(contestants: dict[str, Callable[[], object]], rounds: int = ROUNDS[0]) -> dict[str, float]:
    """The least processor time of each, on one thread, in rounds in which all take turns.

    Processor time does not run while other programs do, and noise only ever adds to it: the least of some is the one
    to trust. Call each once before, if it has to be compiled."""
    best = dict.fromkeys(contestants, float("inf"))
    # Windows counts processor time in steps of 15 ms
    clock = time.perf_counter if sys.platform == "win32" else time.process_time
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        for _ in range(rounds):
            for name, run in contestants.items():
                start = clock()
                run()
                best[name] = min(best[name], clock() - start)
    finally:
        numba.set_num_threads(before)
    return best


def hold_faster(times: float, yours: Callable[[], object], theirs: Callable[[], object], whose: str,
                looks: Callable[[], str] = str) -> None:  # fmt: skip
    """Fault, with both times, unless yours() takes at most 1/times of the seconds of theirs(), measured in turn.

    whose: what theirs is called; looks: asked only when yours is too slow, for the reason."""
    best, rounds = {"yours": float("inf"), whose: float("inf")}, 0
    while rounds < ROUNDS[0] or (rounds < ROUNDS[1] and best[whose] < times * best["yours"]):
        found = seconds_in_turn({"yours": yours, whose: theirs}, 1)
        best, rounds = {name: min(best[name], found[name]) for name in best}, rounds + 1
    ratio = best[whose] / best["yours"]
    many = f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"
    said = ", ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in best.items())
    if ratio < times:
        fail(f"{many} times as fast as {whose}, expected {times:g} times: {said}", looks())
    note(f"{many} times as fast: {said}")


def why_alone(f, plain_range: str, otherwise: str) -> str:
    """Why only one thread works in f: no njit, no parallel=True, no prange (`plain_range` says where it belongs)."""
    if not isinstance(f, numba.core.dispatcher.Dispatcher):
        return "a plain Python function: @numba.njit(parallel=True) belongs above its def"
    if not f.targetoptions.get("parallel"):
        return "parallel=True is missing: without it, numba.prange is a plain range"
    return otherwise if "prange" in f.py_func.__code__.co_names else plain_range


class Traced(np.ndarray):
    """An array that remembers which of its numbers are read, in their order: `Traced.of(w).reads` is a list of places
    in memory, counted in numbers from the beginning; a read of more than one number leaves None there."""

    reads: list[int | None]
    start: int

    @classmethod
    def of(cls, array: np.ndarray) -> Traced:
        """A copy that is watched."""
        traced = np.array(array, order="C").view(cls)
        traced.reads, traced.start = [], traced.ctypes.data
        return traced

    def __array_finalize__(self, whole) -> None:
        self.reads, self.start = getattr(whole, "reads", []), getattr(whole, "start", 0)

    @property
    def loads(self) -> int:
        """How many numbers must be loaded: what was among the last eight that were read is still at hand."""
        return sum(at is None or at not in self.reads[max(0, i - 8) : i] for i, at in enumerate(self.reads))

    def __getitem__(self, index):
        part = super().__getitem__(index)
        if isinstance(part, np.ndarray):
            self.reads.append(None)
        else:
            at = np.ravel(index) % self.shape @ self.strides
            self.reads.append((self.ctypes.data + int(at) - self.start) // self.itemsize)
        return part
