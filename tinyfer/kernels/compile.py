"""How kernels are compiled: one decorator, one cache folder, one answer to "how wide is a vector here?".

Numba's disk cache looks at the file a kernel stands in, not at the files that kernel calls into. So our cache folder
carries a hash of every kernel source, of Numba's version and of the vector width: edit any of them and a new folder is
used. Numba's own setting is changed only while one of our kernels is being decorated, so the caches of the user's
kernels stay where they are."""

import contextlib
import hashlib
import os
import pathlib
import time
from collections.abc import Callable

import numba
from numba.core.registry import cpu_target

from tinyfer.places import user_cache

# The reorderings that help without breaking NaN and infinity (the two flags left out: nnan, ninf).
FASTMATH = {"reassoc", "contract", "arcp", "nsz"}
# Numba would turn whole-array statements into parallel loops, too; only our own prange loops shall be: it compiles
# faster.
_PARALLEL = {"prange": True} | dict.fromkeys(
    ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"), False)
_MONTH = 30 * 24 * 3600


def _vector_bits() -> int:
    """Vector width in bits that Numba compiles for: 512, 256, 128, or 0 for plain Numba (no fused multiply-add)."""
    if numba.config.DISABLE_JIT:  # kernels run as plain Python, which knows no vectors
        return 0
    forced = os.environ.get("TINYFER_VECTOR_BITS")
    if forced is not None:
        if forced not in ("0", "128", "256", "512"):
            raise ValueError(f"TINYFER_VECTOR_BITS is {forced!r}: use 0, 128, 256 or 512")
        return int(forced)
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    features = set(features.split(","))
    if "+avx512f" in features:
        return 512
    if {"+avx2", "+fma"} <= features:
        return 256
    if triple.startswith(("aarch64", "arm64")):
        return 128
    return 0


VECTOR_BITS = _vector_bits()
LANES = VECTOR_BITS // 32


def _source_hash() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {VECTOR_BITS}".encode())
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _kernel_cache() -> pathlib.Path | None:
    """The folder of compiled kernels, made if need be; None where nothing can be written (then nothing is cached)."""
    numba_dir = os.environ.get("NUMBA_CACHE_DIR")
    base = pathlib.Path(numba_dir) if numba_dir else user_cache() / "kernels"
    folder = base / f"tinyfer-{_source_hash()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)
        _forget_old(base, folder)
    return folder


def _forget_old(base: pathlib.Path, current: pathlib.Path) -> None:
    """Remove our compiled kernels of sources that have not been used for a month."""
    for other in base.glob("tinyfer-*"):
        if other != current and time.time() - other.stat().st_mtime > _MONTH:
            for path in sorted(other.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            other.rmdir()


CACHE = _kernel_cache()


_news: list[Callable[[], None]] = []  # what to call before anything is compiled


def announce(say: Callable[[], None]) -> None:
    """Have say() called once, before the first kernel is compiled that does not lie in the cache, if one is."""
    _news[:] = [say]
    if CACHE is None:  # all will be
        _tell()


def _tell() -> None:
    while _news:
        with contextlib.suppress(OSError, ValueError):  # nobody may be there to hear it any more
            _news.pop()()


@contextlib.contextmanager
def _only_writer():
    """A lock file in the cache folder, for a second at most: a process that died must not block all others."""
    lock, waited = CACHE / ".writing", 0.0
    while waited < 1:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except OSError:
            time.sleep(0.01)
            waited += 0.01
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no file that another process has just opened
            lock.unlink(missing_ok=True)


def _saved_one_at_a_time(dispatcher):
    """The dispatcher with its cache guarded: of two processes that add to one index at once, as two first starts do,
    one would be forgotten, or its code be found under the other's name."""
    load, save = dispatcher._cache.load_overload, dispatcher._cache.save_overload

    def load_or_tell(signature, context):
        found = load(signature, context)
        if found is None:
            _tell()
        return found

    def save_alone(signature, compiled):
        with _only_writer():
            save(signature, compiled)

    dispatcher._cache.load_overload, dispatcher._cache.save_overload = load_or_tell, save_alone
    return dispatcher


def kernel(function=None, **options):
    """Compile a module-level kernel with Numba (lazily, once per signature), release the GIL, cache it in our own
    folder.

    Use as `@kernel` or `@kernel(parallel=True, fastmath=FASTMATH)`; options are those of numba.njit."""
    if function is None:
        return lambda wrapped: kernel(wrapped, **options)
    options = {"nogil": True, "cache": CACHE is not None, **options}
    if options.get("parallel"):
        options["parallel"] = _PARALLEL
    before = numba.config.CACHE_DIR
    try:
        if CACHE is not None:
            numba.config.CACHE_DIR = str(CACHE)
        compiled = numba.njit(**options)(function)
        return _saved_one_at_a_time(compiled) if options["cache"] and hasattr(compiled, "_cache") else compiled
    finally:
        numba.config.CACHE_DIR = before
