"""What a program asks of the machine and tells about it: processor threads, and compiled kernels."""

from __future__ import annotations

import numba

from tinyfer.errors import UserError
from tinyfer.kernels import compile as compiling

COLD_SECONDS = 25  # that compiling takes on two cores


def set_threads(count: int | None) -> None:
    """Let the kernels use `count` processor threads; None: as many as there are."""
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if count is not None and not 1 <= count <= most:
        raise UserError(f"--threads {count}: this machine offers 1 to {most}.")
    numba.set_num_threads(count or most)


def threads() -> int:
    """Processor threads that the kernels use."""
    return numba.get_num_threads()


def say_if_cold(file=None) -> None:
    """Warn that the first start takes longer, where no compiled kernel lies in the cache."""
    if compiling.is_cold():
        print(f"compiling kernels (first start, about {COLD_SECONDS} s)", file=file, flush=True)
