"""A student's file: loaded, and its functions called with the guard rails that Numba takes away.

    mine = Handin(path, lesson)
    mine.relu_forward(x)          the student's function on copies: what it may not do is a Fault, told with file:line

A function that is compiled with Numba runs as plain Python first, then with its indices checked, then compiled on one
thread, then on all of them, and all must agree. Nothing of the student's is cached on disk, whatever it asks for."""

from __future__ import annotations

import ast
import contextlib
import copy
import difflib
import inspect
import pathlib
import re
import traceback
import types
from collections.abc import Callable, Iterator

import numba
import numpy as np

from tinyfer import cases, explain, userkernels
from tinyfer.errors import UserError

from .course import Lesson, shown
from .exercises import expected

_SMALL = 20_000  # numbers in the arguments: above that, a compiled function is not run as plain Python too
_TIMES = 3  # runs on all threads; `lessons.checking.hold_threads` makes many more


class Fault(AssertionError):
    """What is wrong with a hand-in, as a verdict tells it.

    text   what is wrong, one sentence         case   on which input, "seed=7 N=1"
    rows   (label, values) to put one below the other       looks  what mistake it looks like       place  file:line"""

    def __init__(self, text="", *, case="", rows=(), looks="", place=""):
        self.text, self.case, self.rows, self.looks, self.place = text, case, list(rows), looks, place
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [" ".join(part for part in (self.place, self.text, self.case and f"on {self.case}") if part)]
        lines += [f"{label} {values}" for label, values in self.rows]
        return "\n".join(lines + ([f"looks like: {self.looks}"] if self.looks else []))


class Todo(Exception):
    """The function is still to be written."""


class Handin:
    """A student's file; its functions are attributes, guarded. `plain` gives them as they are, for pictures."""

    def __init__(self, path: pathlib.Path, lesson: Lesson):
        self.path, self.lesson = path, lesson
        self.say: Callable[[str], None] = lambda sentence: None  # told what takes long
        if not path.is_file():
            raise UserError(f"{shown(path)}: there is no such file.")
        self.plain = _quick(userkernels.run_file(path))
        self.called: list[str] = []  # functions that the check that runs now has called, each once
        self._stages: dict[str, types.ModuleType] = {}
        self.told: set[str] = set()  # functions of which it was said that compiling takes a while
        self._arguments = _signatures(lesson)

    def __getattr__(self, name: str) -> Guarded:
        if name not in self.lesson.functions and not hasattr(self.plain, name):
            raise AttributeError(name)
        self._expect_there(name)
        return Guarded(self, name)

    def place(self, name: str) -> str:
        """file:line of a function."""
        f = getattr(self.plain, name, None)
        return f"{shown(self.path)}:{_code(f).co_firstlineno}" if f is not None else shown(self.path)

    def about(self) -> str:
        """file:line and name of the function that the check has called; "" where it has called several, or none.

        Where the file is about one function anyway, the verdict's head says so, and this is "" too."""
        if len(self.called) != 1 or len(self.lesson.functions) == 1:
            return ""
        return f"{self.place(self.called[0])} {self.called[0]}"

    def module(self, stage: str) -> types.ModuleType:
        """The file as run for a stage: "compiled" as it stands, "plain" without Numba, "bounded" with indices
        checked."""
        if stage == "compiled":
            return self.plain
        if stage not in self._stages:
            with _numba_setting(DISABLE_JIT=int(stage == "plain")):
                self._stages[stage] = _quick(userkernels.run_file(self.path))
        return self._stages[stage]

    def _expect_there(self, name: str) -> None:
        f = getattr(self.plain, name, None)
        if not callable(f):
            near = difflib.get_close_matches(
                name, [n for n, g in vars(self.plain).items() if inspect.isfunction(g)], 1
            )
            hint = f"; did you rename it {near[0]}?" if near else ""
            raise Fault(f"the file defines no function {name}{hint}", place=shown(self.path))
        wanted = self._arguments.get(name)
        given = list(inspect.signature(getattr(f, "py_func", f)).parameters)
        if wanted is not None and given != wanted:
            raise Fault(
                f"{name}({', '.join(given)}): expected the arguments ({', '.join(wanted)}), in this order",
                place=self.place(name),
            )


class Guarded:
    """One function of a hand-in, to be called as it would be; `fast(...)` calls it without the extra runs."""

    def __init__(self, handin: Handin, name: str):
        self._handin, self.__name__ = handin, name
        places = handin.lesson.in_place.get(name, cases.IN_PLACE.get(name, ()))
        self._in_place = frozenset(places)

    def __call__(self, *args):
        """The answer; what the function writes into arguments that it may write is written into args."""
        if not _is_compiled(getattr(self._handin.plain, self.__name__)):
            return self._deliver(args, *self._run("compiled", args))
        with _threads(1):
            answer = self._run("compiled", args) if _size(args) > _SMALL else self._staged(args)
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        for _ in range(_TIMES if self.parallel and most > 1 else 0):
            with _threads(most):
                self._agree(answer, self._run("compiled", args), f"with {most} threads", race=True)
        return self._deliver(args, *answer)

    def fast(self, *args):
        """The answer of the file's own form alone, still on copies."""
        return self._deliver(args, *self._run("compiled", args))

    @property
    def parallel(self) -> bool:
        """True for a function that Numba runs on several threads."""
        f = getattr(self._handin.plain, self.__name__)
        return bool(getattr(f, "targetoptions", {}).get("parallel"))

    def _staged(self, args):
        if self.__name__ not in self._handin.told:
            self._handin.told.add(self.__name__)
            self._handin.say(f"compiling your {self.__name__}: some seconds")
        plain = self._run("plain", args)
        with _numba_setting(BOUNDSCHECK=1):
            self._run("bounded", args)
        compiled = self._run("compiled", args)
        self._agree(plain, compiled, "compiled")
        return compiled

    def _run(self, stage: str, args):
        """(answer, the arguments after the call) of one run on copies."""
        handin = self._handin
        handin.called += [self.__name__] * (self.__name__ not in handin.called)
        f = getattr(handin.module(stage), self.__name__)
        given = [_copy(a) for a in args]
        before = [a.copy() if isinstance(a, np.ndarray) else None for a in given]
        try:
            answer = f(*given)
        except (Fault, Todo):  # from a function of the check's own that was among the arguments
            raise
        except (Exception, SystemExit) as error:
            if isinstance(error, MemoryError):  # what filled it up would be kept until the verdict is told
                traceback.clear_frames(error.__traceback__)
            raise self._fault(error, stage, f, args) from error
        for i, (old, new) in enumerate(zip(before, given, strict=True)):
            changed = old is not None and i not in self._in_place and not np.array_equal(old, new, equal_nan=True)
            if changed:
                name = (handin._arguments.get(self.__name__) or [f"argument {i}"] * len(args))[i]
                raise Fault(
                    f"{self.__name__} changes its input {name}",
                    place=handin.place(self.__name__),
                    looks=f"it writes into {name}, which belongs to the caller: work on a copy, {name}.copy()",
                )
        return answer, given

    def _fault(self, error: BaseException, stage: str, f, args) -> Exception:
        """What an exception in the function comes to: a Fault with file and line, or Todo."""
        path = self._handin.path
        if isinstance(error, numba.core.errors.NumbaError) or (_is_compiled(f) and not f.signatures):
            where, _, sentence = userkernels.compile_fault(error, f, path).removeprefix(str(path)).partition(" ")
            return Fault(f"Numba cannot compile it: {sentence}", place=shown(path) + where.rstrip(":"))
        where = shown(path) + userkernels.place(error, path, f).removeprefix(str(path))
        if isinstance(error, NotImplementedError):
            return Todo(f"{self.__name__} is still to be written ({where})")
        how = "run as plain Python, " if stage == "plain" else ""
        fault = Fault(f"{how}{self.__name__} stops with {type(error).__name__}: {error}", place=where)
        if "broadcast" in str(error):
            fault.looks = "two shapes do not go together; a max or sum along an axis keeps it with keepdims=True"
        names = self._handin._arguments.get(self.__name__, [])
        fault.looks = fault.looks or _known_error(error, dict(zip(names, args, strict=False)))
        if stage == "bounded":
            fault.looks = "an index runs out of its array; compiled code would not notice and read or write elsewhere"
        return fault

    def _agree(self, expected, actual, how: str, race=False) -> None:
        """Fault unless two runs on the same arguments gave the same, to rounding."""
        pairs = zip(_arrays(expected), _arrays(actual), strict=False)
        wrong = next(((e, a) for e, a in pairs if not explain.close(e, a)), None)
        if wrong is None:
            return
        alone = "with one thread" if race else "as plain Python"
        looks = explain.explain_mismatch(*wrong, one_thread=wrong[0] if race else None)
        if self._forgets_nan(*wrong):
            looks = ("fastmath=True, which lets the compiler assume that there is no NaN: "
                     "fastmath={'reassoc', 'contract', 'arcp', 'nsz'} is as fast and keeps them")  # fmt: skip
        rows = []
        if np.shape(wrong[0]) == np.shape(wrong[1]):
            where, wanted, given = explain.excerpt(*wrong)
            rows = [(f"{alone} {where}", wanted), (f"{how} {where}", given)]
        raise Fault(
            f"{self.__name__} gives other values {how} than {alone}",
            looks=looks,
            rows=rows,
            place=self._handin.place(self.__name__),
        )

    def _forgets_nan(self, expected, actual) -> bool:
        f = getattr(self._handin.plain, self.__name__)
        return bool(getattr(f, "targetoptions", {}).get("fastmath") is True and np.isnan(expected).any())

    def _deliver(self, args, answer, given):
        for i in self._in_place:
            args[i][...] = given[i]
        return answer


# -------------------------------------------------------------------------------------------------------------- helpers


def _signatures(lesson: Lesson) -> dict[str, list[str]]:
    """The arguments of each function, as the exercise has them."""
    source = lesson.file("exercise.py")
    text = source.read_text(encoding="utf-8") if source.exists() else expected(lesson)
    return {node.name: [a.arg for a in node.args.args] for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef)}  # fmt: skip


def _known_error(error: BaseException, given: dict) -> str:
    """What an exception looks like, from its message and the arguments that were given."""
    if isinstance(error, OverflowError) and "uint8" in str(error):
        return "a uint8 holds 0 to 255 and no more, in sums too: make it an int before you add, int(...)"
    x, ran_out = given.get("x"), re.search(r"out of bounds for axis (\d) with size (\d+)", str(error))
    if ran_out and given.get("pad") and isinstance(x, np.ndarray) and x.ndim == 4:
        axis, length = int(ran_out[1]), int(ran_out[2])
        if axis in (1, 2) and x.shape[axis] == length:
            return "an index runs out of an array that is as large as x: is this x without its padding?"
    return ""


def _quick(module: types.ModuleType) -> types.ModuleType:
    """The module, its compiled functions sooner there."""
    for f in vars(module).values():
        if _is_compiled(f) and _code(f).co_filename == module.__file__:
            userkernels.quick_to_compile(f)
    return module


def _is_compiled(f) -> bool:
    return isinstance(f, numba.core.dispatcher.Dispatcher)


def _code(f) -> types.CodeType:
    return getattr(f, "py_func", f).__code__


def _copy(a):
    """A copy of an argument, arrays C-contiguous and writable as `tinyfer.ops` hands them out."""
    if isinstance(a, np.ndarray):
        return np.array(a, order="C")
    if isinstance(a, np.random.Generator):
        return copy.deepcopy(a)
    return type(a)(_copy(part) for part in a) if isinstance(a, list) else a


def _size(args) -> int:
    return sum(a.size for a in args if isinstance(a, np.ndarray))


def _arrays(run) -> list[np.ndarray]:
    """Everything that a run answered or wrote, as arrays."""
    answer, given = run
    answers = answer if isinstance(answer, tuple | list) else [answer]
    return [np.asarray(a) for a in [*answers, *given] if isinstance(a, np.ndarray | np.generic | int | float)]


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


@contextlib.contextmanager
def _numba_setting(**settings) -> Iterator[None]:
    before = {name: getattr(numba.config, name) for name in settings}
    for name, value in settings.items():
        setattr(numba.config, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(numba.config, name, value)
