"""What a program asks of the machine and tells about it: processor threads, and compiled kernels."""

from __future__ import annotations

import subprocess
import sys

import numba
from tqdm import tqdm

from tinyfer.errors import UserError
from tinyfer.kernels import compile as compiling

COMPILING = "compiling kernels that are not in the cache yet: once, half a minute or more"


def set_threads(count: int | None) -> None:
    """Let the kernels use `count` processor threads; None: as many as there are fast ones."""
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if count is not None and not 1 <= count <= most:
        raise UserError(f"--threads {count}: this machine offers 1 to {most}.")
    # A kernel gives each thread the same share of its work: one efficiency core would keep all others waiting.
    numba.set_num_threads(count or min(most, apple("hw.perflevel0.physicalcpu") or most))


def apple(name: str) -> int:
    """What macOS's sysctl says of the machine by that name; 0 elsewhere, and where it does not say."""
    told = output("sysctl", "-n", name) if sys.platform == "darwin" else ""
    return int(told) if told.isdecimal() else 0


def output(*command: str) -> str:
    """What a program of the system prints; "" where it is not there or does not end."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def threads() -> int:
    """Processor threads that the kernels use."""
    return numba.get_num_threads()


def tell_of_compiling(stderr: bool = False) -> None:
    """Have it said, on stdout or stderr, should any kernel not lie in the cache when it is wanted."""
    compiling.announce(lambda: tqdm.write(COMPILING, sys.stderr if stderr else sys.stdout))
