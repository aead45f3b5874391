"""The same bits with 1, 2, 3 and 7 threads: work is cut by the size of the problem, never by the number of threads."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tinyfer import ops

THREADS = (1, 2, 3, 7)
PROGRAM = """
import hashlib, json, sys
import numba, numpy as np
from tinyfer import cases, ops
# few pictures for many threads, one picture, more rows than one chunk, odd channel counts, a whole batch
SIZES = ((1, 5, 3), (2, 9, 17), (5, 13, 16), (33, 12, 20))
bits = {}
for op in json.loads(sys.argv[2]):
    for threads in json.loads(sys.argv[1]):
        numba.set_num_threads(threads)
        digest = hashlib.sha256()
        for size in SIZES:
            case = cases.sized(op, *size)
            for _ in range(2):
                for result in cases.outputs(op, getattr(ops, op), case.copies()):
                    digest.update(np.asarray(result).tobytes())
        bits.setdefault(op, []).append(digest.hexdigest())
print(json.dumps(bits))
"""


@pytest.fixture(scope="module")
def bits(request):
    """Op -> digest of its results for each number of threads; one process for all ops that were asked for."""
    asked = [item.callspec.params["op"] for item in request.session.items if item.path == request.path]
    env = {**os.environ, "NUMBA_NUM_THREADS": str(max(THREADS))}
    root = pathlib.Path(__file__).parents[1]
    command = [sys.executable, "-c", PROGRAM, json.dumps(THREADS), json.dumps(asked)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=root, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("op", ops.NAMES)
def test_same_bits_for_any_number_of_threads(op, bits):
    digests = dict(zip(THREADS, bits[op], strict=True))
    assert len(set(digests.values())) == 1, digests
