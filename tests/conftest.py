"""How the tests are drawn and picked.

    pytest --use FILE           the drawn tests of the ops that FILE defines, with its functions in place of ours
    pytest -m ci                what only .ci/run has the time for
    pytest -m nightly           minutes of training in plain loops
    HYPOTHESIS_PROFILE=nightly  many more drawn cases"""

import os

import hypothesis
import pytest

from tinyfer import cases, ops, userkernels

hypothesis.settings.register_profile("tinyfer", **cases.SETTINGS)
hypothesis.settings.register_profile("ci", **cases.SETTINGS, derandomize=True, database=None, print_blob=True)
hypothesis.settings.register_profile("nightly", **(cases.SETTINGS | {"max_examples": 2000}))
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "tinyfer"))


def pytest_addoption(parser):
    parser.addoption("--use", metavar="FILE", help="run the drawn op tests against the functions of this Python file")


def pytest_configure(config):
    config.addinivalue_line("markers", "ci: only .ci/run has the time; run with -m ci")
    config.addinivalue_line("markers", "nightly: not even .ci/run has the time; run with -m nightly")
    path = config.getoption("--use")
    if path is None:
        return
    try:
        kernels = userkernels.load(path, check=False)
    except userkernels.UserError as error:
        raise pytest.UsageError(str(error)) from None
    if any(not hasattr(f, "py_func") for f in kernels.values()):
        os.environ["TINYFER_CASES"] = "2,3,4"  # plain Python is slow
    for note in kernels.notes:
        print(note)
    config.student = kernels


def pytest_collection_modifyitems(config, items):
    student = getattr(config, "student", None)
    if student is not None:  # the tests that draw cases for one of the student's ops
        keep = [item for item in items if _op(item) in student]
    else:
        later = [name for name in ("ci", "nightly") if name not in config.getoption("-m")]
        keep = [item for item in items if not any(map(item.get_closest_marker, later))]
    config.hook.pytest_deselected(items=[item for item in items if item not in keep])
    items[:] = keep


def _op(item):
    """The op that a test is drawn for: the value of its parameter `op`, if it has one."""
    return getattr(item, "callspec", None) and item.callspec.params.get("op")


@pytest.fixture(scope="session", autouse=True)
def implementations(request):
    """With --use, the student's functions run in place of ours throughout."""
    with ops.using(**getattr(request.config, "student", {})):
        yield
