"""Compile ahead: a second process makes the kernels of a first training step while the first one reads its data.

Numba compiles one kernel at a time in a process, and a first step needs some seventy. So where no step of this network
was ever compiled, a child process is started that begins at the other end: backward, then validation, then forward.
Both find in the cache what the other has made, and meet somewhere in the middle. Nothing depends on it: where the child
cannot run, the parent compiles everything itself.

    python -m tinyfer.ahead MODEL SIZE [OPTIONS as JSON]       what the child runs"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

from tinyfer import infer, models, ops, optim
from tinyfer.kernels import compile as compiling
from tinyfer.kernels.fused import FusedStack
from tinyfer.layers import ConvStack

PICTURES = 2  # kernels are compiled for types, not for sizes


def start(name: str, size: int, options: dict) -> subprocess.Popen | None:
    """Start the child for models.build(name, size=size, **options); None where it has nothing to do or no room."""
    command = [name, str(size), json.dumps(options)]
    done = _done(command)
    if done is None or done.exists() or (os.cpu_count() or 1) < 2:
        return None
    try:
        child = subprocess.Popen([sys.executable, "-m", "tinyfer.ahead", *command], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    atexit.register(_stop, child)
    return child


def _stop(child: subprocess.Popen) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()


def _done(command: list[str]) -> pathlib.Path | None:
    """The file that says: this was compiled before, by these sources; None where nothing can be kept."""
    return compiling.CACHE and compiling.CACHE / f"ahead-{hashlib.sha256(' '.join(command).encode()).hexdigest()[:16]}"


def compile_step(name: str, size: int, options: dict) -> None:
    """Every kernel that training and validating this network on float32 takes, from the last to the first."""
    model = models.build(name, **options, size=size)
    x = np.zeros((PICTURES, size, size, 1), np.float32)
    for layer in model.children().values():
        if isinstance(layer, ConvStack) and not layer.obstacle(x.shape[1:]):
            _compile_backward(layer, x.shape)
    infer.Plan(model)(x)
    logits = model.forward(x, train=True)
    target = np.zeros(PICTURES, np.int64)
    _, dlogits = ops.softmax_cross_entropy(logits, target, np.ones(logits.shape[1], np.float32), 0.1)
    model.backward(dlogits, input_gradient=False)
    optim.SGD(model.params, 0.0).step()


def _compile_backward(stack: ConvStack, shape: tuple[int, ...]) -> None:
    """Backward alone, on whatever the arrays hold."""
    with np.errstate(all="ignore"):
        for run, _ in FusedStack(list(stack.layers.values()), shape).parts:
            run.rehearse_backward()


def main() -> None:
    name, size, options = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        compile_step(name, int(size), json.loads(options))
        if done := _done(sys.argv[1:]):
            done.touch()


if __name__ == "__main__":
    main()
