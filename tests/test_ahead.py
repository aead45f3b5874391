"""Compiling ahead: the child compiles what a step takes, says so once, and may fail without harm; and two processes
that save kernels at the same time lose none."""

import json
import subprocess
import sys

import numba
import pytest

from tests.programs import ROOT
from tinyfer import ahead
from tinyfer.kernels import compile as compiling
from tinyfer.kernels import tiles

MICRO = ("micro", 24, {"dropout": 0.5})
jitted = pytest.mark.skipif(numba.config.DISABLE_JIT or compiling.CACHE is None, reason="nothing is compiled or kept")


def test_a_backward_without_a_forward_leaves_no_kernel_out(monkeypatch):
    """After the child's backward, a real step asks for no tile kernel but those of forward."""
    if not compiling.LANES:
        pytest.skip("plain Numba has no tile kernels")
    asked = []
    real = tiles.reader
    monkeypatch.setattr(tiles, "reader", lambda *kind: asked.append(kind) or real(*kind))
    ahead.compile_step(*MICRO)
    rehearsed, asked[:] = set(asked), []
    model = ahead.models.build("micro")
    model.forward(ahead.np.ones((2, 24, 24, 1), ahead.np.float32), train=True)
    model.backward(ahead.np.ones((2, 7), ahead.np.float32), input_gradient=False)
    assert set(asked) <= rehearsed


@jitted
def test_the_child_says_when_it_is_done_and_is_not_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "CACHE", tmp_path)
    command = [MICRO[0], str(MICRO[1]), json.dumps(MICRO[2])]
    monkeypatch.setattr(sys, "argv", ["ahead", *command])
    ahead.main()
    assert len(list(tmp_path.glob("ahead-*"))) == 1
    assert ahead.start(*MICRO) is None


def test_without_a_cache_or_a_second_processor_there_is_no_child(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "CACHE", None)
    assert ahead.start(*MICRO) is None
    monkeypatch.setattr(compiling, "CACHE", tmp_path)
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 1)
    assert ahead.start(*MICRO) is None


def test_a_child_that_cannot_start_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "CACHE", tmp_path)
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert ahead.start(*MICRO) is None


WRITER = """
import sys, time
from numba.core.caching import IndexDataCacheFile
import tests.saved_kernels as saved
load = IndexDataCacheFile._load_index
def slowly(self):  # whoever comes meanwhile reads the same index
    index = load(self)
    time.sleep(0.3)
    return index
IndexDataCacheFile._load_index = slowly
for n in range(int(sys.argv[1]), 6, 2):
    saved.add(tuple([0] * (n + 1)))
"""


@jitted
def test_two_processes_that_save_at_once_lose_nothing(tmp_path):
    """Six signatures of one kernel from two processes: all are in the index, and each finds its own code."""
    environment = ahead.os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(first)], env=environment, cwd=ROOT)
               for first in (0, 1)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    code = ("import tests.saved_kernels as s\n"
            "print([s.add(tuple([1] * (n + 1))) for n in range(6)], sum(s.add.stats.cache_hits.values()))")
    read = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert read.stdout.split() == "[1, 2, 3, 4, 5, 6] 6".split(), read.stderr


@jitted
def test_compiling_is_told_of_once_and_only_where_something_is_compiled(tmp_path):
    environment = ahead.os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    code = ("from tinyfer.machine import tell_of_compiling\nimport tests.saved_kernels as s\n"
            "tell_of_compiling()\nprint(s.add((1, 2)), s.add((1,)))")
    told = [subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.splitlines() for _ in range(2)]
    assert len(told[0]) == 2 and told[0][0].startswith("compiling kernels") and told[1] == told[0][1:] == ["3 1"]
