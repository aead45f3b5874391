"""try NN: the speed decides what is trained, and the student's op is the one that runs."""

import inspect
import types

import numpy as np
import pytest

from lessons.runner import bank, course, pictures, state, trying
from tests import programs
from tinyfer import data, ops, reference, userkernels

LESSON = course.find("01")


def slow(rate):
    """A softmax_cross_entropy that is said to take so many seconds a value."""
    plugged = userkernels.Kernels(LESSON.file("solution.py"))
    plugged["softmax_cross_entropy"] = reference.softmax_cross_entropy
    plugged.rates["softmax_cross_entropy"] = rate
    return plugged


@pytest.fixture(autouse=True)
def few_faces(monkeypatch):
    monkeypatch.setattr(trying, "FEWEST", 140)
    monkeypatch.setattr(trying, "MOST", 280)
    monkeypatch.setattr(trying.sources, "toyfaces", lambda source: data.toyfaces(280, np.random.default_rng(0)))


def test_what_is_trained_follows_from_the_speed():
    fast = trying.choose(slow(1e-9), 1000.0)
    assert fast.name == "lite" and "fast enough" in fast.reason
    slower = trying.choose(slow(1e-1), 60.0)  # seven values a face: 0.7 s each, of which 60 s / 3 epochs allow 28
    assert slower.name == "micro" and len(slower.dataset.train) == 112
    assert "would take lite" in slower.reason and "faces of 24x24" in slower.reason


def test_a_student_s_dropout_is_really_called():
    plugged = userkernels.Kernels(LESSON.file("solution.py"))
    assert trying.choose(slow(1e-1), 60.0).dropout == 0
    plugged["dropout_forward"], plugged.rates["dropout_forward"] = reference.dropout_forward, 1.0
    assert trying.choose(plugged, 60.0).model().options["dropout"] > 0


def test_a_training_that_is_slower_than_was_measured_ends_early(monkeypatch, capsys):
    plan = trying.Plan("micro", data.toyfaces(140, np.random.default_rng(0), size=24), "")
    monkeypatch.setattr(trying, "LATE", 0.0)
    yours = trying.train(plan, "yours", {}, minutes=10, epochs=4)
    assert len(yours.rows) == 1 and "1 of 4 epochs are enough" in capsys.readouterr().out
    ours = trying.train(plan, "ours", {}, epochs=4, most=1)  # the same epochs of the same schedule
    assert [row["val_loss"] for row in ours.rows] == [row["val_loss"] for row in yours.rows]


def test_it_trains_with_the_student_s_op(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINYFER_WORK", str(tmp_path))
    called = []

    def load(path, **_):
        def mine(*args):
            called.append(ops.overridden("softmax_cross_entropy"))
            return reference.softmax_cross_entropy(*args)

        plugged = slow(1e-9)
        plugged["softmax_cross_entropy"] = mine
        return plugged

    monkeypatch.setattr(trying.userkernels, "load", load)
    monkeypatch.setattr(trying, "choose", lambda plugged, seconds: trying.Plan(
        "micro", data.toyfaces(140, np.random.default_rng(0), size=24), "the reason"))  # fmt: skip
    assert trying.run(LESSON, LESSON.file("solution.py"), 0.02, False) == 0
    said = capsys.readouterr().out
    assert called and all(called) and not ops.overridden()
    assert "the reason" in said and "yours:" in said and "ours:" in said and "million values a second" in said
    assert (tmp_path / "pictures" / f"{LESSON.name}_try.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def passed(tmp_path, monkeypatch):
    """Lesson 03 with one op of the student's, ticked; and lesson 01 with one that is not."""
    monkeypatch.setenv("TINYFER_WORK", str(tmp_path))
    monkeypatch.setattr(state, "_path", lambda: tmp_path / "ticks.json")
    dense = course.find("03")
    dense.mine.write_text("def relu_forward(x):\n    return x\n")
    LESSON.mine.write_text("def softmax(z):\n    return z\n")
    state.tick(dense, True)
    state.tick(LESSON, False)
    return dense


def test_mine_plugs_in_the_student_s_ops_of_earlier_lessons_that_pass(passed, monkeypatch, capsys):
    assert pictures.earlier_ops(course.find("05")) == [passed] and pictures.earlier_ops(passed) == []
    with pictures.plugged_in([passed]):
        assert ops.overridden("relu_forward") and not ops.overridden("softmax")
    assert not ops.overridden()

    planned = []

    def choose(plugged, seconds):
        planned.append(sorted(plugged))
        raise KeyboardInterrupt

    load = userkernels.load
    monkeypatch.setattr(trying.userkernels, "load", lambda path, say=None, **_: load(path, check=False))
    monkeypatch.setattr(trying, "choose", choose)
    path = passed.mine.with_name("05_conv_forward.py")
    path.write_text("def conv2d_forward(x, w, b, stride, pad):\n    return x\n")
    for with_earlier in (True, False):
        with pytest.raises(KeyboardInterrupt):
            trying.run(course.find("05"), None, 1.0, with_earlier)
    assert planned == [["conv2d_forward", "relu_forward"], ["conv2d_forward"]]


def test_where_lessons_share_an_op_it_is_this_lesson_s(passed, monkeypatch, capsys):
    load, planned = userkernels.load, []

    def choose(plugged, seconds):
        planned.append(plugged)
        raise KeyboardInterrupt

    monkeypatch.setattr(trying.userkernels, "load", lambda path, say=None, **_: load(path, check=False))
    monkeypatch.setattr(trying, "choose", choose)
    for number, ticked in (("05", True), ("10", True), ("12", False)):
        lesson = course.find(number)
        lesson.mine.write_text(f"def conv2d_forward(x, w, b, stride, pad):\n    return x + {number.lstrip('0')}\n")
        state.tick(lesson, ticked)
    for number in ("12", "11"):
        path = course.find(number).mine
        if number == "11":  # which has another op than those two
            path.write_text("def conv2d_backward(dy, x, w, stride, pad):\n    return x, w, dy[0, 0, 0]\n")
        with pytest.raises(KeyboardInterrupt):
            trying.run(course.find(number), None, 1.0, True)
    one = np.zeros((1, 1, 1, 1), np.float32)
    assert sorted(planned[0]) == ["conv2d_forward", "relu_forward"]
    assert planned[0]["conv2d_forward"](one, one, one[0, 0, 0], 1, 0).item() == 12
    assert sorted(planned[1]) == ["conv2d_backward", "conv2d_forward", "relu_forward"]
    assert planned[1]["conv2d_forward"](one, one, one[0, 0, 0], 1, 0).item() == 10  # the later of the two


def test_a_lesson_without_ops_has_a_way_of_its_own(passed, monkeypatch, capsys):
    """It is told of --mine and --minutes, and says whether yours has been checked."""
    lesson, run_file, seen = course.find("13"), userkernels.run_file, []
    assert "minutes" in inspect.signature(run_file(lesson.file("show.py")).try_it).parameters

    def try_it(mine, say, minutes=1.0):
        seen.append((bool(ops.overridden("relu_forward")), minutes))

    monkeypatch.setattr(userkernels, "run_file", lambda path: (
        types.SimpleNamespace(try_it=try_it) if path.name == "show.py" else run_file(path)))  # fmt: skip
    lesson.mine.write_text(lesson.file("solution.py").read_text(encoding="utf-8"), encoding="utf-8")
    assert trying.run(lesson, None, 0.5, True) == 0
    said = capsys.readouterr().out
    assert "with your backward, four_stages, train_step, not checked yet" in said and "drawn" not in said
    assert "and with your relu_forward of earlier lessons" in said
    state.tick(lesson, True)
    assert trying.run(lesson, None, None, False) == 0
    said = capsys.readouterr().out
    assert "train_step" in said and "not checked yet" not in said and "relu_forward" not in said
    assert seen == [(True, 0.5), (False, 1.0)] and not ops.overridden()


def banked(number, beginning):
    """The first right solution of a lesson's bank whose title begins so."""
    return next(entry.source for entry in bank.entries(course.find(number))
                if entry.right and entry.title.startswith(beginning))  # fmt: skip


@pytest.mark.nightly
def test_plain_loops_of_five_lessons_train_micro_together(tmp_path):
    """Convolution, max-pooling, batch norm, ReLU and dense as loops, in one file: 80 % of drawn faces in 24x24."""
    sources = [course.find(number).file("solution.py").read_text(encoding="utf-8") for number in ("05", "06", "07")]
    (tmp_path / "loops.py").write_text("\n\n".join([banked("03", "loops"), *sources, banked("08", "loops")]))
    settings = "--model micro --epochs 6 --batch-size 32 --lr 0.1 --augment none --label-smoothing 0 --ema 0.99"
    done = programs.run("tinyfer.train", "--use", tmp_path / "loops.py", *settings.split(), "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for op in ("conv2d_forward", "conv2d_backward", "batchnorm_backward", "maxpool_backward", "dense_backward"):
        assert op in done.stdout.partition("of yours an epoch takes")[0].splitlines()[-1], done.stdout
    assert "plain Python" not in done.stdout, "one of them was not compiled"
    best = float(done.stdout.partition("best validation accuracy ")[2].split()[0])
    assert best >= 80, done.stdout


def test_a_bank_is_held_to_its_words(tmp_path, monkeypatch):
    """A wrong one that passes, one that is not named, and a right one that fails are all reported."""
    lesson = course.find("00")
    chosen = {entry.title: entry for entry in bank.entries(lesson)}
    wrong, right = chosen["rounds down"], chosen["loops"]
    passes = bank.Entry(False, "passes", "", right.source)
    misnamed = bank.Entry(False, "misnamed", "the moon", wrong.source)
    fails = bank.Entry(True, "fails", "", wrong.source)
    found = bank.outcomes(lesson, [wrong, right, passes, misnamed, fails])
    assert [one.good for one in found] == [True, True, False, True, False]
    assert [one.named for one in found] == [True, False, False, False, False]
    faults = " ".join(bank._faults(found, whole=False))
    assert "WRONG passes" in faults and "not named: misnamed" in faults and "RIGHT fails" in faults
    assert "rounds down" not in faults
    assert "| rounds down | every pixel | rounded down" in bank.table({lesson: found})
