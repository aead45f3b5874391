"""A student's own kernels, taken from a file: `--use FILE.py` on every program.

    kernels = load("my_conv.py")           the functions named like ops, checked, compiled and timed
    for note in kernels.notes: print(note)
    with ops.using(**kernels): ...         they run wherever the engine calls these ops
    estimate(kernels, step, 64, 28709)     seconds per epoch, known before training starts

A function is first run as plain Python, where a wrong index is an error and no wrong number, and held to the reference
on small cases; then it is compiled with njit and held to it again, and a parallel one with one thread and with all.
Plain functions that the file itself defines may call each other. Nothing of the student's is ever cached on disk."""

import difflib
import functools
import importlib.util
import inspect
import linecache
import pathlib
import re
import sys
import time
import types
from collections.abc import Callable

import numba
import numpy as np

from tinyfer import cases, explain, ops, reference
from tinyfer import kernels as stock
from tinyfer.errors import UserError
from tinyfer.lookalikes import lookalikes, named_sizes

_LADDER = ((1, 6, 4), (1, 12, 8), (1, 12, 16), (2, 24, 16), (4, 24, 32), (8, 24, 64))  # pictures, side, channels
_LONG_ENOUGH = 0.15  # seconds: a measurement of this length is trusted
_REPEATS, _PATIENCE = 20, 1.0  # calls in search of a race: so many, and for so many seconds


class Kernels(dict):
    """Op name -> function, ready for `ops.using`; with what a program should print and the speeds measured.

    notes: sentences; rates: op -> seconds per unit of work (see `cases.work`); path: the file."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.path = path
        self.notes: list[str] = []
        self.rates: dict[str, float] = {}


def load(path, check=True, dtype=np.float32, say: Callable[[str], None] | None = None) -> Kernels:
    """The functions of a Python file that are named like ops, checked against the reference, compiled and timed.

    Raises UserError where the file cannot be run or defines no op, or a function's arguments or results are wrong.
    check=False only compiles (the gradient checker and the tests do the checking); say is told what takes long."""
    path = pathlib.Path(path)
    found = _functions(path)
    kernels = Kernels(path)
    kernels.notes += _near_misses(found, path)
    for op in (op for op in ops.NAMES if op in found):
        _check_signature(op, found[op], path)
        if check:
            _check_results(op, getattr(found[op], "py_func", found[op]), path, "")
        kernels[op] = _compiled(op, found[op], kernels, dtype, check, say or (lambda sentence: None))
        if check:
            kernels.rates[op] = seconds_per_unit(op, kernels[op])
            kernels.notes.append(_speed(op, kernels.rates[op]))
    return kernels


def announced(path) -> Kernels:
    """load, for a program: it prints what is done and what there is to know."""
    print(f"checking the kernels in {path} against the reference", flush=True)
    kernels = load(path, say=print)
    for note in kernels.notes:
        print(note)
    return kernels


# ----------------------------------------------------------------------------------------------------- reading the file


def run_file(path: pathlib.Path) -> types.ModuleType:
    """The module that a Python file makes, run but not registered; UserError, with the line, where it cannot be run."""
    spec = importlib.util.spec_from_loader(f"_use_{path.stem}", loader=None, origin=str(path))
    assert spec is not None  # without a loader nothing is looked up that could be missing
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    try:
        code = compile(path.read_text(encoding="utf-8-sig"), str(path), "exec")  # Notepad's mark is no syntax error
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: this is not valid Python, {error.msg}") from error
    except ValueError as error:  # no UTF-8, or null bytes
        raise UserError(f"{path}: this is not a text file of Python source ({error})") from error
    sys.path.insert(0, str(path.resolve().parent))  # so that the file can import its neighbours
    try:
        exec(code, vars(module))
    except (Exception, SystemExit) as error:
        fault = f"{type(error).__name__}: {error}"
        raise UserError(f"{place(error, path)}: running the file stops with {fault}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _functions(path: pathlib.Path) -> dict[str, Callable]:
    """Run the file; answer the functions it defines, UserError if it cannot be run or none is named like an op."""
    if not path.is_file():
        raise UserError(f"--use {path}: there is no such file; expected a Python file with functions named like ops")
    module = run_file(path)
    functions = {name: f for name, f in vars(module).items() if not name.startswith("_") and _is_own(f, module)}
    if not any(name in ops.NAMES for name in functions):
        hint = " ".join(_near_misses(functions, path)) or f"the ops are {', '.join(ops.NAMES)}"
        raise UserError(f"{path} defines no function named like an op: {hint}")
    return functions


def _is_own(f, module) -> bool:
    """True for functions and compiled functions; those named like ops may also be imported from another file."""
    return inspect.isfunction(f) or isinstance(f, numba.core.dispatcher.Dispatcher)


def _near_misses(functions: dict, path) -> list[str]:
    """A sentence for each function whose name is nearly an op's."""
    notes = []
    for name, f in functions.items():
        close = difflib.get_close_matches(name, ops.NAMES, 1, 0.8)
        if close and name not in ops.NAMES and close[0] not in functions and _code(f).co_filename == str(path):
            notes.append(f"{path}:{_code(f).co_firstlineno} {name} is not an op's name: did you mean {close[0]}?")
    return notes


def _code(f) -> types.CodeType:
    return getattr(f, "py_func", f).__code__


def _where(op: str, f, path) -> str:
    return f"{path}:{_code(f).co_firstlineno} {op}"


def place(error: BaseException, path, f=None) -> str:
    """file:line of the last frame of an exception's traceback that lies in the student's file; without one, f's."""
    line, trace = _code(f).co_firstlineno if f else 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}:{line}"


def _check_signature(op: str, f, path) -> None:
    """UserError unless f takes the reference's arguments, in the reference's order."""
    expected = list(inspect.signature(getattr(reference, op)).parameters)
    given = inspect.signature(getattr(f, "py_func", f)).parameters
    plain = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in given.values())
    moved = any(name in expected and expected.index(name) != i for i, name in enumerate(given))
    if not plain or len(given) != len(expected) or moved:
        raise UserError(f"{_where(op, f, path)}({', '.join(given)}): expected the arguments ({', '.join(expected)}), "
                        "all of them and in this order")  # fmt: skip


# ----------------------------------------------------------------------------------------------------- checking results


def _call(op: str, f, args, path) -> tuple:
    """The results of one call as a tuple; an exception in it becomes a UserError with file and line."""
    try:
        return cases.outputs(op, f, args)
    except (numba.core.errors.NumbaError, ImportError, NotImplementedError):  # it does not compile
        raise
    except Exception as error:
        raise UserError(f"{place(error, path, f)} {op} stops with {type(error).__name__}: {error}") from error


def _expected(op: str, case: cases.Case) -> tuple:
    """What the reference, in float64, answers; rounded to the dtypes that a float32 kernel answers in."""
    results = cases.outputs(op, getattr(reference, op), case.as_type(np.float64).copies())
    return tuple(np.asarray(r) if np.asarray(r).dtype.kind != "f" else np.asarray(r, np.float32) for r in results)


def _check_results(op: str, f, path, stage: str) -> None:
    """Hold f to the reference on small cases: twice each with other numbers, inputs untouched, results kept apart."""
    for first, second in zip(cases.small(op), cases.small(op, seed=100), strict=True):
        args = first.copies()
        before = first.copies()
        results = _call(op, f, args, path)
        kept = [np.array(r) for r in results]
        _check_inputs(op, f, before, args, path)
        expected = _expected(op, first)
        _compare(op, f, first, expected, results, path, stage)
        later = _call(op, f, second.copies(), path)
        _compare(op, f, second, _expected(op, second), later, path, stage, earlier=(expected, kept))
        if op not in cases.IN_PLACE and not all(np.array_equal(a, b) for a, b in zip(kept, results, strict=True)):
            raise UserError(f"{_where(op, f, path)}: a second call overwrites the first call's result: make the array "
                            "inside the function, so that each call answers a new one")  # fmt: skip


def _check_inputs(op, f, before, after, path) -> None:
    for name, old, new in zip(cases.arguments(op), before, after, strict=True):
        if isinstance(old, np.ndarray) and not np.array_equal(old, new):
            raise UserError(f"{_where(op, f, path)}: it changes its input {name}: work on a copy, {name}.copy()")


def _compare(op, f, case, expected, results, path, stage, earlier=None, one_thread=None) -> None:
    """UserError with all a student needs, unless results equal expected."""
    names = cases.OUTPUTS[op]
    if len(results) != len(expected):
        raise UserError(f"{_where(op, f, path)}: it returns {len(results)} values, expected {len(expected)}: "
                        f"{', '.join(names)}")  # fmt: skip
    for i, name in enumerate(names):
        fault = explain.shape_fault(expected[i], results[i])
        if fault:
            if stage.startswith(" when compiled") and "dtype" in fault:
                fault += "; compiled, a plain 0 or 1.0 in np.where or np.maximum makes float64 too: x.dtype.type(0)"
            raise UserError(f"{_where(op, f, path)}: {name} is wrong{stage} on {case.told()}: {fault}")
        actual = np.asarray(results[i])
        if explain.close(expected[i], actual):
            continue
        place, wanted, given = explain.excerpt(expected[i], actual)
        looks = explain.explain_mismatch(
            expected[i], actual, sizes=named_sizes(op, case.copies()), lookalikes=lookalikes(op, case.copies())[i],
            one_thread=None if one_thread is None else one_thread[i])  # fmt: skip
        if earlier is not None:  # the first call was right: what was kept between the calls?
            looks = explain.explain_mismatch(earlier[0][i], earlier[1][i], again=(expected[i], actual))
        raise UserError(f"{_where(op, f, path)}: {name} is wrong{stage} on {case.told()}: expected {name}{place} "
                        f"{wanted}, it gives {given}; looks like: {looks}")  # fmt: skip


def _check_threads(op: str, f, path) -> None:
    """Hold a parallel function to itself on one thread, many times: a race shows only now and then."""
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if most == 1 or not getattr(f, "targetoptions", {}).get("parallel"):
        return
    case, before = cases.sized(op, 64, 24, 8), numba.get_num_threads()  # long enough for the threads to meet
    try:
        numba.set_num_threads(1)
        alone = _call(op, f, case.copies(), path)
        expected = _expected(op, case)
        _compare(op, f, case, expected, alone, path, " with one thread")
        numba.set_num_threads(most)
        started, calls = time.perf_counter(), 0
        while calls < _REPEATS or time.perf_counter() - started < _PATIENCE:
            calls += 1
            results = _call(op, f, case.copies(), path)
            _compare(op, f, case, expected, results, path, f" with {most} threads", one_thread=alone)
    finally:
        numba.set_num_threads(before)


# ------------------------------------------------------------------------------------------------------------ compiling


def _compiled(op: str, f, kernels: Kernels, dtype, check: bool, say) -> Callable:
    """f compiled and, with check, held to the reference again; f itself, with a note, where Numba cannot compile it."""
    own = isinstance(f, numba.core.dispatcher.Dispatcher)
    fast = quick_to_compile(f if own else _njit(f))
    say(f"compiling your {op} (about 5 s)")
    args = cases.small(op, dtype)[0].copies()
    try:
        cases.outputs(op, fast, args)
    except Exception as error:
        if not fast.signatures:  # no compiled form came out of it
            reason = compile_fault(error, f, kernels.path)
            if own:
                told = f"Numba cannot compile {op}; to run it as plain Python, take @njit away"
                raise UserError(f"{reason}: {told}") from error
            kernels.notes.append(f"{reason}: Numba cannot compile {op}, so it runs as plain Python, which is slow "
                                 "where it loops itself")
            return f
        if check:  # plain Python has just done the same without an exception
            raise UserError(f"{_where(op, f, kernels.path)}: right as plain Python, but compiled it stops with "
                            f"{type(error).__name__}: {error}") from error  # fmt: skip
    if check:
        _check_compiled(op, f, fast, kernels.path)
        _check_threads(op, fast, kernels.path)
    return fast


def _check_compiled(op: str, f, fast, path) -> None:
    try:
        _check_results(op, fast, path, " when compiled, right as plain Python")
    except UserError:
        plain = getattr(f, "py_func", f)
        try:
            _check_results(op, _njit(plain, boundscheck=True), path, "")
        except UserError as bounded:
            if "IndexError" in str(bounded):
                raise UserError(f"{_where(op, f, path)}: compiled, an index runs out of its array: {bounded}") from None
        raise


def _njit(f, **options) -> Callable:
    """f compiled, never cached, together with the plain functions of its own file that it calls.

    A function that says prange is compiled for all cores: that is what it means. One that it calls is compiled for the
    core that calls it: Numba's own pool of threads, which is what macOS has, ends the program where loops nest."""
    assert isinstance(f, types.FunctionType)
    compiled = dict(f.__globals__)  # the names that f sees, the plain functions of its file replaced by compiled ones
    reached = _reached(f)
    wide = {name for name, g in reached.items() if "prange" in g.__code__.co_names}
    inner = {called for name in wide for called in _reached(reached[name]) if called != name}

    def build(g):
        twin = types.FunctionType(g.__code__, compiled, g.__name__, g.__defaults__, g.__closure__)
        return numba.njit(parallel=g.__name__ in wide - inner, **options)(twin)

    for name, g in reached.items():
        compiled[name] = build(g)
    return compiled[f.__name__] if reached.get(f.__name__) is f else build(f)


def quick_to_compile(dispatcher):
    """The same dispatcher, compiling at LLVM's level 2: as fast a kernel, as far as measured, and sooner there.

    At Numba's usual level 3 one whole-array product of four axes, x * mask, takes 20 to 45 seconds to compile."""
    compile_signature = dispatcher.compile

    @functools.wraps(compile_signature)
    def compile_at_2(signature):
        before = numba.config.OPT
        numba.config.OPT = min(before, 2)
        try:
            return compile_signature(signature)
        finally:
            numba.config.OPT = before

    dispatcher.compile = compile_at_2
    return dispatcher


def _reached(f) -> dict[str, types.FunctionType]:
    """The plain functions of f's file that f calls, directly or through each other, and f itself, by name."""
    found, waiting = {f.__name__: f}, [f]
    while waiting:
        for name in waiting.pop().__code__.co_names:
            g = f.__globals__.get(name)
            if inspect.isfunction(g) and g.__globals__ is f.__globals__ and name not in found:
                found[name] = g
                waiting.append(g)
    return found


def compile_fault(error: BaseException, f, path) -> str:
    """Numba's long message cut down to file:line, the source line and the cause."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    numbers = re.findall(r'File "[^"]*' + re.escape(path.name) + r'", line (\d+)', text)
    numbers += re.findall(re.escape(path.name) + r" \((\d+)\)", text)
    line = int(numbers[0]) if numbers else _code(f).co_firstlineno
    causes = [part.strip() for part in text.splitlines() if part.strip()]
    causes = [part for part in causes if not part.startswith(("Failed in", "- Resolution failure", "During:", "File "))]
    cause = causes[0] if causes else type(error).__name__
    if not isinstance(error, numba.core.errors.NumbaError):
        cause = f"Numba stops with {type(error).__name__} {causes[0] if causes else ''}".rstrip()
    if isinstance(error, ImportError):
        cause = "compiled, @ and np.dot need SciPy: pip install scipy, or write the sum as loops"
    if cause.startswith("No implementation of function"):
        call = next((part.removeprefix(">>> ") for part in causes if part.startswith(">>> ")), "")
        cause = f"there is no compiled form of {call}" if call else cause
    cause = re.sub(r"\.?\s*Raised from.*", "", cause).rstrip(". :")
    source = linecache.getline(str(path), line).strip()
    return f"{path}:{line} `{source}`: {cause[:200]}"


# --------------------------------------------------------------------------------------------------------------- timing


def seconds_per_unit(op: str, f) -> float:
    """Seconds per unit of `cases.work`: on ever larger cases, until one takes long enough to be trusted."""
    _seconds(f, cases.sized(op, *_LADDER[0]))  # compiles, if that is still to be done
    for size in _LADDER:
        case = cases.sized(op, *size)
        seconds = _seconds(f, case)
        if seconds >= _LONG_ENOUGH:
            break
    else:  # a fast one: the first calls only woke the processor up
        seconds = min(_seconds(f, case) for _ in range(5))
    return seconds / cases.work(op, case.args)


def _seconds(f, case) -> float:
    args = case.copies()
    start = time.perf_counter()
    f(*args)
    return time.perf_counter() - start


def _speed(op: str, rate: float) -> str:
    unit = "multiply-adds" if op.startswith(("conv2d", "dense")) else "values"
    ours = seconds_per_unit(op, getattr(stock, op))
    return f"{op}: yours does {1e-6 / rate:,.3g} million {unit} a second, ours {1e-6 / ours:,.3g}"


def estimate(kernels: Kernels, step: Callable[[], object], images_per_step: int, images: int) -> float:
    """Seconds per epoch with the student's kernels, without waiting for one.

    step() does one training step on images_per_step pictures through `ops`. It is run with our kernels, counting the
    work of the ops that the student replaces; their time is then exchanged for the student's, at measured speed."""
    taken = {op: [0.0, 0] for op in kernels}  # seconds in our kernel, units of work

    def spy(op):
        def timed(*args):
            start = time.perf_counter()
            result = getattr(stock, op)(*args)
            taken[op][0] += time.perf_counter() - start
            taken[op][1] += cases.work(op, args)
            return result

        return timed

    with ops.using(**{op: spy(op) for op in kernels}):
        step()  # compiles
        for record in taken.values():
            record[:] = 0.0, 0
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
    for op, (ours, amount) in taken.items():
        rate = kernels.rates.get(op) or seconds_per_unit(op, kernels[op])
        seconds += amount * rate - ours
    return seconds * images / images_per_step
