"""Make `.venv` and install tinyfer in it, editable; do nothing where that is already done.

    python3 tools/setup.py              what training needs
    python3 tools/setup.py test lint    and these extras of pyproject.toml

The Python is $PYTHON where that is set, else the first that fits: this one, python3, python3.13 ... python3.10, python.
Standard library only, and written for any Python from 3.6 on, so that it can say what is wrong with the one it got.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "tinyfer-setup.json")  # written last: a .venv without it is not believed

# Settings of the caller that would make a Python, or its pip, look or install elsewhere.
MISLEADING = "PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT __PYVENV_LAUNCHER__".split()
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in MISLEADING}


class SetupError(Exception):
    """What went wrong and how to mend it, in one sentence."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# Which Python? A name on the PATH proves nothing (pyenv puts python3.12 there and then refuses to run it): ask it.

PROBE = """
import json, platform, sys
try:
    import ensurepip, venv
    missing = None
except ImportError as error:
    missing = str(error)
print(json.dumps({
    "version": sys.version_info[:3],
    "implementation": platform.python_implementation(),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "missing": missing,
    "path": getattr(sys, "_base_executable", None) or sys.executable,
}))
"""


def candidates():
    """Commands that may be a Python, best first; only $PYTHON where it is set."""
    if os.environ.get("PYTHON"):
        return [[os.environ["PYTHON"]]]
    names = ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.14", "python"]
    return [[sys.executable]] + [[name] for name in names] + ([["py", "-3"]] if os.name == "nt" else [])


def probe(command):
    """What the Python started by `command` says of itself; None where there is none, or it does not run."""
    try:
        out = subprocess.run(
            command + ["-E", "-s", "-c", PROBE], cwd=ROOT, env=ENVIRONMENT, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        return json.loads(out.stdout.decode())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def version_range():
    """The minor versions that `requires-python` of pyproject.toml allows, as (oldest, newest)."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        match = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', file.read())
    if not match:
        raise SetupError("pyproject.toml says nothing like requires-python = \">=3.10,<3.15\": take it from git again")
    return int(match.group(1)), int(match.group(2)) - 1


def fault(python):
    """Why this Python will not do, with the remedy where there is one; None where it will."""
    oldest, newest = version_range()
    major, minor = python["version"][:2]
    if not (3, oldest) <= (major, minor) <= (3, newest):
        return f"is too {'old' if (major, minor) < (3, oldest) else 'new'}: tinyfer runs on 3.{oldest} to 3.{newest}"
    if python["implementation"] != "CPython":
        return f"is {python['implementation']}, and Numba needs CPython"
    if python["bits"] != 64:
        return "is a 32-bit build, and Numba needs a 64-bit one"
    if python["missing"]:
        remedy = f"on Debian or Ubuntu run `sudo apt install python3.{minor}-venv`"
        return f"cannot make a .venv, because its module ensurepip is missing: {remedy}"
    return None


def choose():
    """The first candidate that will do, as `probe` describes it."""
    faults = {}  # by path, so that one Python under several names is named once
    for command in candidates():
        python = probe(command)
        if python is None:
            continue
        why = fault(python)
        if why is None:
            return python
        version = ".".join(str(number) for number in python["version"])
        faults.setdefault(python["path"], f"{' '.join(command)} ({version}) {why}")
    asked = os.environ.get("PYTHON")
    found = "; ".join(faults.values()) or (f"{asked} does not run" if asked else "no Python 3 runs here")
    otherwise = "; or" if "ensurepip" in found else ";"  # the nearer remedy stands there already
    raise SetupError(
        f"{found}{otherwise} install Python 3.12 from https://www.python.org/downloads/, "
        "or set PYTHON=/path/to/python3.12 where you have one"
    )


# Is there anything to do?


def wanted():
    """What .venv depends on, but for its Python and the extras."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        return {"pyproject": hashlib.sha256(file.read()).hexdigest(), "root": ROOT}


def read_stamp():
    """What the last finished set-up noted; None where none finished, or where its Python has moved or changed since."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
        python = probe([VENV_PYTHON])
        same = stamp["root"] == ROOT and python is not None and python["version"] == stamp["python"]["version"]
        if same and os.environ.get("PYTHON"):
            same = os.path.realpath(choose()["path"]) == os.path.realpath(stamp["python"]["path"])
        return stamp if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def known_extras():
    """The extras that pyproject.toml lists."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        section = file.read().partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    return re.findall(r"^(\w+) = ", section, re.MULTILINE)


def write_stamp(stamp):
    with open(STAMP + ".part", "w", encoding="utf-8") as file:
        json.dump(stamp, file)
    os.replace(STAMP + ".part", STAMP)


@contextlib.contextmanager
def alone():
    """Let a set-up started in another terminal finish first. The lock ends with its process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two at once are the user's to avoid
        yield
        return
    with open(__file__) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a disk that knows no such locks, as some in a network: as on Windows
            pass
        yield


# The work.


def make_venv():
    python = choose()
    if os.path.lexists(VENV):
        say("building .venv anew: it was not finished, or was made for another Python or place")
        shutil.rmtree(VENV)
    say(f"making .venv with {python['path']}")
    command = [python["path"], "-m", "venv", "--prompt", "tinyfer", VENV]
    venv = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if venv.returncode:
        say(venv.stdout.decode(errors="replace"))
        raise SetupError(f"{python['path']} could not make .venv, for the reason above: mend it and run this again")
    return python


def install(extras):
    """Install tinyfer and its packages; wheels only, since a student's machine need not have a compiler."""
    say("installing tinyfer and its packages: some 200 MB to fetch the first time")
    pip = [VENV_PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--only-binary=:all:"]
    target = f".[{','.join(extras)}]" if extras else "."
    if subprocess.call(pip + ["--editable", target], cwd=ROOT, env=ENVIRONMENT):
        raise SetupError(
            "pip could not install the packages, for the reason above: "
            "check the network, the proxy and the free disk space, then run the same command again"
        )


def fault_in_library(module, stderr):
    """One sentence on why `import module` failed, from what it wrote to stderr."""
    match = re.search(r"(lib\S+): cannot open shared object file", stderr)
    if not match:
        last = (stderr.strip().splitlines() or ["it crashed"])[-1]
        return f"{module} is installed, but does not import: {last}"
    remedy = "install it with the system's package manager"
    if module == "cv2":
        remedy = (
            "on Debian or Ubuntu run `sudo apt install libgl1 libglib2.0-0`, or, where no window is needed, "
            "replace opencv-python by opencv-python-headless with pip (training and the tests do without either)"
        )
    return f"{module} misses the shared library {match.group(1)}: {remedy}"


def check_imports():
    """Packages may install well and yet miss a library of the system. Only faces and the webcam need OpenCV."""
    for module in ("numba", "cv2"):
        run = subprocess.run([VENV_PYTHON, "-c", "import " + module], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE)
        if run.returncode:
            sentence = fault_in_library(module, run.stderr.decode(errors="replace"))
            if module != "cv2":
                raise SetupError(sentence)
            say("note: " + sentence)


def setup(extras):
    """Bring .venv up to date with pyproject.toml and the asked extras."""
    def up_to_date(stamp):
        return stamp is not None and stamp["pyproject"] == wanted()["pyproject"] and set(extras) <= set(stamp["extras"])

    if up_to_date(read_stamp()):
        return
    with alone():
        before = read_stamp()
        if up_to_date(before):
            return
        start = time.time()
        python = before["python"] if before else make_venv()
        extras = sorted(set(extras) | set(before["extras"] if before else ()))
        if before:
            os.remove(STAMP)
        try:
            install(extras)
        except SetupError:
            if before:  # pip resolves and fetches before it touches anything: what worked still works
                write_stamp(before)
            raise
        check_imports()
        write_stamp(dict(wanted(), python=python, extras=extras))
        say(f"set up in {time.time() - start:.0f} s\n")


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__ + "\nThe extras: " + ", ".join(known_extras()))
        return 0
    try:
        for extra in sys.argv[1:]:
            if extra not in known_extras():
                raise SetupError(f"{extra}: expected extras of pyproject.toml: {', '.join(known_extras())}")
        setup(sys.argv[1:])
    except (SetupError, OSError) as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("\nset-up stopped; the same command starts it again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
