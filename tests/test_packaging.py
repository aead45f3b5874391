"""What is shipped, for whom it installs, and what must not be in it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import budget, setup

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted((ROOT / "tinyfer").rglob("*.py"))
OLDEST, NEWEST = setup.version_range()


def not_shipped(folder: str, names: list[str]) -> set[str]:
    """Leave out what a clone has not got: hidden folders, data sets, runs, leftovers of builds."""
    top = {"data", "runs", "build", "dist"} if Path(folder) == ROOT else set()
    return {name for name in names if name in top or name.startswith(".") or name.endswith(("egg-info", "__pycache__"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built away from the working tree (setuptools would pack what an older build left there)."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "source", ignore=not_shipped)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", place]
    run = subprocess.run([*command, place / "source"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return zipfile.ZipFile(next(place.glob("tinyfer-*.whl")))


def test_wheel_contents(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = [path for path in (ROOT / "tinyfer").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert names == {path.relative_to(ROOT).as_posix() for path in package}


def test_wheel_is_small_and_licensed(wheel):
    assert sum(item.file_size for item in wheel.infolist()) < 30e6
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())


def requirements(minor: int) -> list[str]:
    """What tinyfer and its tests need on Python 3.`minor`. (pip reads markers for the Python it runs on, so we do.)"""
    listed = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
    chosen = [need for need in listed if not need.marker or need.marker.evaluate({"python_version": f"3.{minor}"})]
    return [f"{need.name}{need.specifier}" for need in chosen]


@pytest.mark.network
@pytest.mark.parametrize("minor", range(OLDEST, NEWEST + 1))
@pytest.mark.parametrize("platform", ["win_amd64", "macosx_14_0_arm64"])
def test_resolves_on_other_systems(platform, minor, tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    command += ["--platform", platform, "--python-version", f"3.{minor}", "--target", str(tmp_path)]
    run = subprocess.run(command + requirements(minor), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Would install" in run.stdout
    assert "opencv-python-4." in run.stdout


def test_budget():
    assert budget.main() == 0


def test_budget_counts_code_alone():
    free = '"""A doc\nstring."""\n\n# a comment\n'
    two_lines = 'x = """two\nlines"""\n\n'
    four_lines = 'def f(\n    a,\n):\n    "doc"\n    return a  # why\n'
    assert budget.code_lines(free + two_lines + four_lines) == 6


def imports(tree: ast.AST) -> set[str]:
    """Names of the packages that some code imports anywhere."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def imports_at_start(tree: ast.Module) -> set[str]:
    """The same without those inside functions, which only run when called."""
    lazy = (ast.FunctionDef, ast.AsyncFunctionDef)
    return imports(ast.Module([node for node in tree.body if not isinstance(node, lazy)], []))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_forbidden(path):
    tree = parsed(path)
    assert not imports(tree) & {"pickle", "dill", "joblib", "requests", "sklearn", "tensorflow", "keras", "jax"}
    at_start = imports_at_start(tree) & {"cv2", "torch", "onnx", "onnxruntime", "pytest", "hypothesis", "tests"}
    assert not at_start, "import these inside the function that needs them"
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False


def test_only_listed_packages_are_imported():
    lines = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    listed = {Requirement(line).name for line in lines} | {"tinyfer", "tests", *sys.stdlib_module_names}
    listed |= {"PIL", "cv2", "llvmlite"}  # the modules of pillow and opencv-python; what Numba brings
    for path in SOURCES:
        assert imports(parsed(path)) <= listed, named(path)
