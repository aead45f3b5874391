"""What the parallel conv2d_backward is held to: the reference, and the same bits on any number of threads.

How many threads Numba may use is settled when it is imported. So the search for a race runs in a process of its own,
with THREADS of them whatever the machine has: `python check.py FILE OUT hunt` is that process."""

from __future__ import annotations

import ast
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from unittest import mock

import numba
import numpy as np

from lessons.checking import (
    Fault,
    Handin,
    case_of,
    drawn,
    fail,
    hold,
    hold_op,
    hold_small,
    note,
    rng,
    told,
    why_alone,
)
from lessons.runner import course
from tinyfer import cases, explain, reference

OP = "conv2d_backward"
NAMES = cases.OUTPUTS[OP]
MOST = 20_000  # multiply-adds of a case that runs as plain Python, too
THREADS = 4  # more than most laptops have to spare, so that they take turns in the middle of their work
REPEATS = 20  # with each number of threads
SHARE = 0.3  # of the processor time that the other three threads take at least; a fair share is three quarters
PATIENCE = 80  # seconds for the other process
CORES = {"cpu_count", "process_cpu_count", "sched_getaffinity", "NUMBA_NUM_THREADS", "get_num_threads"}
FEW, MANY = 3, 24  # cores of two machines


def random(*shape):
    return rng(str(shape)).standard_normal(shape)


def case(dy, x, w, stride=1, pad=0):
    """A case in float32, told by its sizes."""
    dy, x, w = (np.asarray(a, np.float32) for a in (dy, x, w))
    n, h, v, c = x.shape
    return case_of(OP, dy, x, w, stride, pad, N=n, H=h, W=v, C=c, kernel=f"{w.shape[0]}x{w.shape[1]}", K=w.shape[3],
                   stride=stride, pad=pad)  # fmt: skip


def batch(n, side=4, channels=2, kernels=2):
    """n pictures, 3x3 kernels, pad 1."""
    return case(random(n, side, side, kernels), random(n, side, side, channels), random(3, 3, channels, kernels), 1, 1)


def large():
    """Long enough for threads to meet."""
    return cases.sized(OP, 64, 24, 16)


# ----------------------------------------------------------------------------------------------------------- one thread


def test_add_up(mine):
    parts = np.array([[1, 2], [10, 20], [100, 200]], np.float32)
    looks = {"only the last row counts: '+=' belongs where '=' stands": parts[-1],
             "the first row is left out": parts[1:].sum(0), "the last row is left out": parts[:-1].sum(0),
             "the mean is given where the sum is asked for: the 1/N is in dy already": parts.mean(0)}  # fmt: skip
    hold("add_up(parts)", np.array([111, 222], np.float32), mine.add_up(parts), "parts=1 2 / 10 20 / 100 200",
         lookalikes=looks)  # fmt: skip
    parts = random(3, 2, 2, 1, 4).astype(np.float32)
    hold("add_up(parts)", parts.sum(0), mine.add_up(parts), told(parts=parts.shape))
    note("1 2 / 10 20 / 100 200 -> 111 222")


def test_one_picture(mine):
    """1x1 everywhere: y = x w + b, so dx = dy w = 6, dw = dy x = 10, db = 2."""
    try:
        hold_op(mine, case([[[[2]]]], [[[[5]]]], [[[[3]]]]))
    except Fault as fault:
        if "no attribute 'shape'" in fault.text:
            fault.looks = "zeros(count, like): the number of rows comes first, then an array like one row"
        raise
    note("dy 2, x 5, w 3: dx 6, dw 10, db 2")


def test_two_pictures(mine):
    """The same twice, and dy 4, x 1: dx 6 and 12, dw = 10 + 4, db = 2 + 4."""
    hold_op(mine, case([[[[2]]], [[[4]]]], [[[[5]]], [[[1]]]], [[[[3]]]]))
    note("dw 10 + 4, db 2 + 4")


def test_nine_pictures(mine):
    """More than chunks, and not a multiple of them."""
    for n in (9, 13):
        one = batch(n)
        right = reference.conv2d_backward(*one.args)[0]
        cut_off = right.copy()
        cut_off[n // 8 * 8 :] = 0
        looks = f"the rest of the batch is left out: 8 chunks of {n} // 8 pictures each are {n // 8 * 8} pictures"
        hold("dx", right, mine.conv2d_backward(*one.args)[0], one.told(), lookalikes={looks: cut_off})
        hold_op(mine, one)
    note("9 and 13, in 8 chunks")


def test_small_cases(mine):
    hold_small(mine, OP)


# --------------------------------------------------------------------------------------------------------- many threads


def test_same_bits(mine):
    """dx, dw and db of a large case, on 2, 3 and 4 threads, 20 times each: bit for bit one thread's."""
    hold_op(mine, batch(2))
    found = evidence(mine)
    said = large().told()
    right = cases.outputs(OP, reference.conv2d_backward, large().as_type(np.float64).copies())
    for name, expected in zip(NAMES, right, strict=True):
        hold(name, expected.astype(np.float32), found[f"alone {name}"], f"{said}, one thread")
    for name in NAMES:
        for threads in range(2, THREADS + 1):
            if found[f"differ {threads} {name}"]:
                raise difference(mine, found, threads, name, said)
    note(f"{REPEATS} runs each on 2 to {THREADS} threads equal one thread's, bit for bit")


def difference(mine, found, threads: int, name: str, said: str) -> Fault:
    """Other bits than one thread's: what they are, and where they come from."""
    alone, other = found[f"alone {name}"], found[f"worst {threads} {name}"]
    count, kinds = int(found[f"differ {threads} {name}"]), int(found[f"kinds {threads} {name}"])
    often = range(2, THREADS + 1)
    if any(found[f"kinds {t} {name}"] > 1 or not explain.close(alone, found[f"worst {t} {name}"]) for t in often):
        looks = ("a race: two threads add to the same numbers, and what one of them adds may be lost; give each chunk "
                 "its own row of partial sums, and add the rows up afterwards")  # fmt: skip
        if name == "dx":
            looks = ("a race: two threads add to the same pixels of dx; let each thread have whole pictures, whose "
                     "pixels nobody else writes")  # fmt: skip
    elif collected(mine):
        looks = (f"always the same on {threads} threads, but not what one gives: Numba adds up `{collected(mine)} +=` "
                 "thread by thread; give each chunk its own row, and add the rows up in add_up")  # fmt: skip
    else:
        looks = (f"always the same on {threads} threads, but not what one gives: the batch is cut, or the sum is added "
                 "up, by the number of threads; cut it by the number of pictures")  # fmt: skip
    worst = np.unravel_index(np.argmax(np.abs(alone.astype(np.float64) - other)), alone.shape)
    place = f"{name}[{','.join(map(str, worst))}]"
    rows = [(f"one thread  {place}", f"{alone[worst]:.9g}"), (f"{threads} threads   {place}", f"{other[worst]:.9g}")]
    return Fault(f"{count} of {REPEATS} runs on {threads} threads give other bits than one thread, {kinds} different "
                 "results", case=said, rows=rows, looks=looks)  # fmt: skip


def collected(mine: Handin) -> str:
    """The first array to which a prange adds as a whole, in an order of Numba's own; "" if there is none."""
    functions = [f for f in ast.parse(mine.path.read_text(encoding="utf-8-sig")).body if getattr(f, "name", "") == OP]
    loops = [loop for loop in ast.walk(functions[-1]) if isinstance(loop, ast.For) and "prange" in ast.dump(loop.iter)]
    for loop in loops:
        made = {at.id for line in ast.walk(loop) if isinstance(line, ast.Assign)
                for target in line.targets for at in ast.walk(target)
                if isinstance(at, ast.Name) and isinstance(at.ctx, ast.Store)}  # fmt: skip
        for line in ast.walk(loop):
            if isinstance(line, ast.AugAssign) and isinstance(line.target, ast.Name) and line.target.id not in made:
                return line.target.id
    return ""


def asked(mine: Handin) -> str:
    """The name by which the file asks how many cores or threads there are; "" where it does not."""
    for at in ast.walk(ast.parse(mine.path.read_text(encoding="utf-8-sig"))):
        found = CORES & {getattr(at, "id", ""), getattr(at, "attr", ""), getattr(at, "name", "")}
        if found:
            return found.pop()
    return ""


def test_same_bits_on_another_machine(mine):
    """With FEW cores and with MANY; a file that does not ask for their number cannot tell these two apart."""
    hold_op(mine, batch(2))
    if not asked(mine):
        note("your file does not ask how many cores there are")
        return
    mine.say(f"your file asks for {asked(mine)}: running it as on a machine with {FEW} cores, and with {MANY}")
    few, many = (elsewhere(mine, "alone", cores) for cores in (FEW, MANY))
    for name in NAMES:
        if few[name].tobytes() != many[name].tobytes():
            looks = (f"the batch is cut by what the machine has ({asked(mine)}): cut it by the number of pictures "
                     "alone, with the same CHUNKS everywhere")  # fmt: skip
            fail(f"{name} has other bits on a machine with {MANY} cores than on one with {FEW}", looks, large().told())
    note(f"the same with {FEW} cores and with {MANY}")


def test_all_threads_work(mine):
    hold_op(mine, batch(2))
    share = float(evidence(mine)["share"])
    if share < SHARE:
        fail(f"on {THREADS} threads the first one does {100 - 100 * share:.0f} % of the work", idle(mine))
    note(f"with {THREADS}, the other {THREADS - 1} do {100 * share:.0f} % of the work")


def idle(mine) -> str:
    """Why only one thread works."""
    return why_alone(
        mine.plain.conv2d_backward,
        "a plain range: numba.prange is what gives each thread its chunks",
        "one chunk has nearly all of the work: is chunks 1, or does another loop than that over chunks have prange?",
    )


@drawn(OP, np.float32, only=lambda one: cases.work(one.op, one.args) <= MOST, examples=12)
def test_any_shape(mine, case):
    hold_op(mine, case)


# ---------------------------------------------------------------------------------------------------- the other process


@functools.cache
def evidence(mine: Handin) -> dict[str, np.ndarray]:
    """What `hunt` finds in the student's file."""
    mine.say(f"running your {OP} on 2 to {THREADS} threads, in a process of its own (about 10 s)")
    return elsewhere(mine, "hunt", THREADS)


def elsewhere(mine: Handin, job: str, threads: int) -> dict[str, np.ndarray]:
    """What a job of JOBS finds in the student's file, in a process with so many threads."""
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads), "PYTHONPATH": str(course.ROOT)}
    environment.pop("NUMBA_DEFAULT_NUM_THREADS", None)
    with tempfile.TemporaryDirectory(prefix="lesson-") as folder:
        out = pathlib.Path(folder) / "found.npz"
        command = [sys.executable, __file__, str(mine.path.resolve()), str(out), job]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            fail(f"its runs on {threads} threads are not done after {PATIENCE} s", "is there a loop that never ends?")
        if not out.exists():
            why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            fail(f"a large case on several threads ends with {why}",
                 "an index runs out of its array? Compiled code would not notice, and write elsewhere")  # fmt: skip
        with np.load(out) as found:
            return dict(found)


def hunt(path: pathlib.Path) -> dict[str, np.ndarray]:
    """In a process with THREADS threads: the results of one thread, and for 2, 3, ... threads how many of REPEATS runs
    differ from them in any bit ("differ"), how many different results there are ("kinds"), and the one that lies
    furthest off ("worst"); and the share of the processor time that threads other than the first take."""
    f = Handin(path, course.find("11")).plain.conv2d_backward
    args = large().copies()
    numba.set_num_threads(1)
    alone = [np.array(a) for a in f(*args)]
    found = {f"alone {name}": a for name, a in zip(NAMES, alone, strict=True)}
    for threads in range(2, THREADS + 1):
        numba.set_num_threads(threads)
        runs = [[np.array(a) for a in f(*args)] for _ in range(REPEATS)]
        for i, name in enumerate(NAMES):
            results = [run[i] for run in runs]
            found[f"differ {threads} {name}"] = np.array(sum(a.tobytes() != alone[i].tobytes() for a in results))
            found[f"kinds {threads} {name}"] = np.array(len({a.tobytes() for a in results}))
            found[f"worst {threads} {name}"] = max(results, key=lambda a: np.abs(a - alone[i]).max())
    time.sleep(0.1)  # threads that wait for more are asleep by then
    whole, own = time.process_time(), time.thread_time()
    f(*args)
    found["share"] = np.array(1 - (time.thread_time() - own) / (time.process_time() - whole))
    return found


def alone(path: pathlib.Path) -> dict[str, np.ndarray]:
    """In a process with as many threads as the machine shall seem to have cores: the results of one thread."""
    cores = numba.config.NUMBA_NUM_THREADS
    told_so = {"cpu_count": lambda: cores, "process_cpu_count": lambda: cores,
               "sched_getaffinity": lambda process: set(range(cores))}  # fmt: skip
    with mock.patch.multiple(os, create=True, **told_so):
        f = Handin(path, course.find("11")).plain.conv2d_backward
    numba.set_num_threads(1)
    return {name: np.array(a) for name, a in zip(NAMES, f(*large().copies()), strict=True)}


JOBS = {"hunt": hunt, "alone": alone}

if __name__ == "__main__":
    np.savez(sys.argv[2], **JOBS[sys.argv[3]](pathlib.Path(sys.argv[1])))
