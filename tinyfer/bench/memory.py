"""The peak of a process's memory, as Linux counts it; peers take the same road."""

from __future__ import annotations

import gc
import pathlib
import sys
from collections.abc import Callable

WHERE = "the peak of resident memory can only be read and reset on Linux"


def peak_above(steps: Callable[[], object]) -> int:
    """Bytes of resident memory at the peak of steps() above those just before it; OSError elsewhere than on Linux."""
    if not sys.platform.startswith("linux"):
        raise OSError(WHERE)
    _give_back()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is what is in use now
    before = status("VmRSS")
    steps()
    return status("VmHWM") - before


def status(key: str) -> int:
    """A size in bytes from /proc/self/status."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def _give_back() -> None:
    """Hand what is freed back to the system, so that it does not count as in use."""
    import ctypes

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
