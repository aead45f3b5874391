"""What the compiled conv2d_forward is held to: the reference, its indices, and the clock."""

import ast
from collections import Counter

import numba
import numpy as np

from lessons.checking import Traced, case_of, drawn, fail, hold_faster, hold_op, hold_small, note, rng
from tinyfer import cases, userkernels

OP = "conv2d_forward"
MOST = 20_000  # multiply-adds of a case that runs as plain Python, too
LOOPS, ORDER = 50, 3  # so many times as fast as plain loops, and as the same loops compiled in the formula's order
PLACES = ("i", "j", "c", "k")  # the axes of w


def case(x, w, b=None, stride=1, pad=0):
    """A case in float32, told by its sizes."""
    x, w = np.asarray(x, np.float32), np.asarray(w, np.float32)
    b = np.zeros(w.shape[3], np.float32) if b is None else np.asarray(b, np.float32)
    n, h, v, c = x.shape
    return case_of(OP, x, w, b, stride, pad, N=n, H=h, W=v, C=c, kernel=f"{w.shape[0]}x{w.shape[1]}", K=w.shape[3],
                   stride=stride, pad=pad)  # fmt: skip


def random(*shape):
    return rng(str(shape)).standard_normal(shape)


def layer(side, channels, kernels):
    """One picture and 3x3 kernels, as a network has them."""
    return case(random(1, side, side, channels), random(3, 3, channels, kernels), random(kernels), 1, 1)


def by_definition(mine):
    """The function that the exercise gives, whatever has become of it in the student's file."""
    return userkernels.quick_to_compile(userkernels.run_file(mine.lesson.file("exercise.py")).by_definition)


def test_windows_by_hand(mine):
    """1*1 + 2*2 + 4*3 + 5*4 = 37, then 47, 67, 77, and 100 more for the bias."""
    x, w = np.arange(1, 10).reshape(1, 3, 3, 1), np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1)
    hold_op(mine, case(x, w))
    hold_op(mine, case(x, w, [100]))
    note("1 .. 9 and 1 2 / 3 4 -> 37 47 / 67 77")


def test_it_compiles(mine):
    hold_op(mine, layer(4, 2, 3))
    f = mine.plain.conv2d_forward
    if not isinstance(f, numba.core.dispatcher.Dispatcher) or f.targetoptions.get("forceobj"):
        fail("conv2d_forward is a plain Python function", "the line @numba.njit is missing above its def; where Numba "
             "complains, the function has to change, and not the line")  # fmt: skip
    if not f.nopython_signatures:
        fail("conv2d_forward runs as Python objects", "object mode: @numba.njit, and no forceobj")
    note("plain Python, with indices checked, and compiled: the same")


def test_small_cases(mine):
    hold_small(mine, OP)


def test_fifty_times_plain_loops(mine):
    """The same layer, by seven loops in Python and by what the student wrote, compiled."""
    args = layer(8, 8, 8).args
    mine.conv2d_forward(*args)
    loops = by_definition(mine).py_func
    hold_faster(LOOPS, lambda: mine.plain.conv2d_forward(*args), lambda: loops(*args), "plain loops",
                lambda: order(mine))  # fmt: skip
    note("a very small picture; `show 10` measures a real layer")


def test_order_of_memory(mine):
    """Three times as fast as the formula's order, which is what vectors and neighbours in memory are good for; and
    float32 throughout: with float64 in the sum it may be as fast, but no more than half as fast as it could be."""
    mine.conv2d_forward(*layer(4, 2, 3).args)
    args, slow = layer(12, 64, 64).args, by_definition(mine)
    for f in (mine.plain.conv2d_forward, slow):
        f(*args)  # compiles
    hold_faster(ORDER, lambda: mine.plain.conv2d_forward(*args), lambda: slow(*args), "by_definition",
                lambda: order(mine))  # fmt: skip
    if widened(mine):
        fail("its sums are reckoned in float64", WIDENED)


WIDENED = ("float32 and float64 meet in the sum, so that each number is first turned into the other: "
           "np.zeros(shape, x.dtype), for xp and y alike")  # fmt: skip


def widened(mine, what="fpext <") -> bool:
    """True where the compiled function turns float32 into float64: whole vectors of them, as in the innermost loop."""
    return any(what in code for code in mine.plain.conv2d_forward.inspect_llvm().values())


def order(mine) -> str:
    """How the student's loops go through w, from the places that they read one after the other."""
    x, w, b, stride, pad = layer(4, 3, 5).args
    w = Traced.of(w)
    mine.module("plain").conv2d_forward(x, w, b, stride, pad)
    if not w.reads:
        return "the compiler finds no vectors: is the innermost loop over k, and nothing in it but one += ?"
    if w.reads.count(None) > len(w.reads) / 2:
        return ("whole rows at a time, in NumPy's way: compiled, each such line makes a new array; write the loop "
                "over k out, and add number to number")  # fmt: skip
    steps = Counter(b - a for a, b in zip(w.reads, w.reads[1:], strict=False) if a is not None and b is not None)
    step = steps.most_common(1)[0][0]
    if step == 0:
        return ("the innermost loop goes along the picture: w[i,j,c,k] stays the same, and y[n,p,q,k] jumps by all K "
                "outputs of a pixel; take k for the innermost loop")  # fmt: skip
    strides = {size // w.itemsize: axis for size, axis in zip(w.strides, PLACES, strict=True)}
    if step != 1 and step in strides:
        return (f"the innermost loop is over {strides[step]}: with C = 3 and K = 5 each of its steps jumps {step} "
                f"numbers ahead in w[i,j,c,k]; take k for the innermost: there weights are neighbours")  # fmt: skip
    if step == 1 and widened(mine, "fpext"):
        return WIDENED
    if step == 1 and unmoved(mine):
        return (f"{unmoved(mine)} is the same for every k, and read anew for each: take it out of the loop over k, "
                "pixel = ...")  # fmt: skip
    if step == 1:
        return "w is read in its order; is there an `if` or a division in the innermost loop?"
    return "the innermost loop jumps about in w: take k for the innermost one"


def unmoved(mine) -> str:
    """What an innermost loop that adds up reads at the same place in each round, such as xp[n,r,s,c]; "" if nothing."""
    for loop in innermost(ast.parse(mine.path.read_text(encoding="utf-8-sig"))):
        for line in loop.body:
            for read in ast.walk(line.value) if isinstance(line, ast.AugAssign) else []:
                if isinstance(read, ast.Subscript) and not names(loop.target) & names(read.slice):
                    return ast.unparse(read)
    return ""


def innermost(tree: ast.Module) -> list[ast.For]:
    """The loops of the last conv2d_forward that have no loop in them."""
    functions = [f for f in tree.body if getattr(f, "name", "") == OP]
    loops = [loop for f in functions[-1:] for loop in ast.walk(f) if isinstance(loop, ast.For)]
    return [loop for loop in loops if not any(isinstance(inner, ast.For) for inner in ast.walk(loop) if inner != loop)]


def names(tree: ast.AST) -> set[str]:
    return {at.id for at in ast.walk(tree) if isinstance(at, ast.Name)}


def test_nan_stays_where_it_is(mine):
    """A NaN reaches the windows that see it, and no other."""
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 0, 0] = np.nan
    y = mine.conv2d_forward(x, np.ones((2, 2, 1, 1), np.float32), np.zeros(1, np.float32), 1, 0)
    if np.isnan(y).sum() != 1:
        fail(f"{np.isnan(y).sum()} of 16 outputs are NaN, expected 1", "a NaN in x must reach y where its window sees "
             "it, and nowhere else", "x[0,0] = nan, kernel=2x2")  # fmt: skip


@drawn(OP, np.float32, only=lambda one: cases.work(one.op, one.args) <= MOST)
def test_any_shape(mine, case):
    hold_op(mine, case)
