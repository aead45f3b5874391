"""What the machine says of itself, and what else is running on it while we measure."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys
import time

import numba

from tinyfer import __version__
from tinyfer.kernels import compile as compiling
from tinyfer.machine import output

BUSY = 0.5  # of each core: where others use more, a measurement cannot be right ...
NOTICED = 0.1  # ... and where they use more than this, it is doubtful
PACKAGES = ("numpy", "numba", "llvmlite", "torch", "onnxruntime")


def machine(threads: int) -> dict:
    """The entry `machine` of bench.json."""
    return {"processor": processor(), "system": f"{platform.system()} {platform.machine()}", "cores": cores(),
            "threads": threads, "vector_bits": compiling.VECTOR_BITS, "memory_gb": memory_gb(),
            "compiler": compiler(), "load_at_start": load(),
            "versions": {"tinyfer": __version__, "python": platform.python_version(),
                         **{name: version(name) for name in PACKAGES}}}


def processor() -> str:
    """The processor's name as the operating system tells it."""
    if sys.platform == "darwin":
        return output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    if sys.platform == "win32":
        import winreg

        key = winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0")
        return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    for text in (_read("/proc/cpuinfo"), output("lscpu")):
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in ("model name", "hardware") and value.strip() not in ("", "-"):
                return _with_family(value.strip(), text)
    return platform.processor() or platform.machine()


def _with_family(name: str, text: str) -> str:
    """A name such as "AMD EPYC", which virtual machines tell, with the numbers that say which one it is."""
    if any(letter.isdigit() for letter in name):
        return name
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    numbers = {key.strip(): value.strip() for key, value in told.items()}
    family, model = numbers.get("cpu family"), numbers.get("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cores() -> int:
    """Processors that this process may use."""
    return numba.config.NUMBA_DEFAULT_NUM_THREADS  # type: ignore[attr-defined]


def memory_gb() -> float | None:
    """The machine's memory in GB; None where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)


def version(package: str) -> str | None:
    """The installed version of a package, without importing it; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def compiler() -> str | None:
    """The C++ compiler that torch.compile would use; None where there is none."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "cl" if os.name == "nt" else "c++"]
    return next((name for name in names if shutil.which(name)), None)


def load(seconds: float = 1.0) -> float | None:
    """The share of each core that other programs use at this moment (Linux), else the last minute's load average for
    each core; None where the system counts neither."""
    others, own = Others(), time.process_time()
    time.sleep(seconds)
    share = others.share(time.process_time() - own)
    if share is None and hasattr(os, "getloadavg"):
        share = os.getloadavg()[0] / cores()
    return share if share is None else round(share, 2)


class Others:
    """Processor time that everybody else used between two moments, from the system's own count (Linux).

        others = Others(); ...; share = others.share(own_seconds)      # of each core; None elsewhere"""

    def __init__(self):
        self._busy, self._wall = busy_seconds(), time.perf_counter()

    def share(self, own_seconds: float) -> float | None:
        """What was used besides `own_seconds`, as a share of all cores' time since the beginning."""
        busy, wall = busy_seconds(), time.perf_counter() - self._wall
        if busy is None or self._busy is None or wall <= 0:
            return None
        return max(0.0, (busy - self._busy - own_seconds) / (wall * (os.cpu_count() or 1)))


def busy_seconds() -> float | None:
    """Seconds that all processors together have worked since the system started, stolen time included."""
    fields = _read("/proc/stat").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu" or not hasattr(os, "sysconf"):
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
