"""python -m tinyfer.train as a user types it: what it writes and says, how it is stopped, what it refuses."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.programs import ROOT, command, refused, run
from tinyfer import checkpoint, models, sources, train
from tinyfer.cli import parse
from tinyfer.errors import UserError

TINY = ("--model", "micro", "--size", "16", "--data", "toyfaces:210", "--batch-size", "16", "--threads", "1")
TIMES = ("seconds", "images_per_s", "data_share")


def trained(out, *words, status=0):
    process = run("tinyfer.train", *TINY, "--out", out, *words)
    assert process.returncode == status, process.stderr
    return process


def figures(out):
    """The log but for its times, and all arrays of the run."""
    with open(out / "log.csv") as file:
        rows = [{name: cell for name, cell in row.items() if name not in TIMES} for row in csv.DictReader(file)]
    return rows, checkpoint.read(out / "last.npz", checkpoint.RUN)[0]


def same(one, other):
    (rows, arrays), (other_rows, other_arrays) = figures(one), figures(other)
    assert rows == other_rows and arrays.keys() == other_arrays.keys()
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], other_arrays[name], err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three epochs that nothing disturbed, and what it said."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, trained(out, "--epochs", "3")


def test_a_run_folder_and_what_is_said(whole):
    out, process = whole
    assert {path.name for path in out.iterdir()} == {"config.toml", "log.csv", "last.npz", "best.npz", "final.npz",
                                                     "curves.png", "confusion.png", "report.html"}
    lines = process.stdout.splitlines()
    assert "trains on train (168 pictures), validates on val (21 pictures); test (21) is left alone" in process.stdout
    assert len([line for line in lines if line.startswith("epoch ")]) == 3
    assert any(line.startswith("first step ") for line in lines)
    assert "for drawn faces only" in lines[-2]
    assert "report.html" in lines[-1]
    assert f"next: python -m tinyfer.predict PICTURE --model {out / 'best.npz'}" in lines[-1]
    assert process.stderr == ""  # no live line where there is no terminal
    assert models.load(out / "best.npz").meta["note"] == "for drawn faces only"
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_config_that_is_written_repeats_the_run(whole, tmp_path):
    out, _ = whole
    process = run("tinyfer.train", "--config", out / "config.toml", "--out", tmp_path / "again", "--epochs", "1",
                  "--limit", "40")
    assert process.returncode == 0, process.stderr
    assert len(figures(tmp_path / "again")[0]) == 1


def test_a_run_in_the_way_is_not_overwritten(whole):
    out, _ = whole
    before = (out / "last.npz").read_bytes()
    refused(run("tinyfer.train", *TINY, "--out", out), "--resume")
    assert (out / "last.npz").read_bytes() == before


def test_resuming_refuses_another_training_but_remembers_what_is_not_said(whole):
    out, _ = whole
    refused(run("tinyfer.train", "--out", out, "--resume", "--batch-size", "8"), "batch-size 16, not 8")
    process = run("tinyfer.train", "--out", out, "--resume")
    assert process.returncode == 0 and "resuming" in process.stdout, process.stderr


def wait_for(process, text):
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen) + process.stderr.read())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_a_stopped_process_goes_on_to_the_same_bits(whole, tmp_path, name):
    """Stopped at some moment of each epoch, then resumed; killed ones lose at most what --checkpoint-every says."""
    number = getattr(signal, name)
    out, rng = tmp_path / "parts", np.random.default_rng(number)
    for text in ("first step", "epoch 1/3"):
        process = subprocess.Popen(command("tinyfer.train", *TINY, "--out", out, "--epochs", "3", "--resume",
                                           "--checkpoint-every", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        wait_for(process, text)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(number)
        rest, err = process.communicate(timeout=60)
        assert process.returncode in ((130, 0) if number == signal.SIGINT else (-9, 0)), err
        if process.returncode == 130:
            assert f"go on with: python -m tinyfer.train --resume --out {out}" in rest
        checkpoint.read(out / "last.npz", checkpoint.RUN)
        assert not (number == signal.SIGINT and list(out.glob("*.tmp")))
    trained(out, "--epochs", "3", "--resume")
    same(whole[0], out)


def test_resume_begins_where_there_is_nothing_to_resume(tmp_path):
    process = trained(tmp_path / "new", "--epochs", "1", "--resume", "--limit", "20")
    assert "resuming" not in process.stdout


def test_resume_before_the_first_save_begins_what_was_asked_for(tmp_path):
    """Stopped while the kernels compiled, a run has its settings and no state yet."""
    trained(tmp_path / "run", "--epochs", "1", "--seed", "7")
    settings = (tmp_path / "run" / "config.toml").read_text()
    for path in (tmp_path / "run").glob("*.npz"):
        path.unlink()
    process = run("tinyfer.train", "--resume", "--out", tmp_path / "run")
    assert process.returncode == 0, process.stderr
    assert "1 epochs" in process.stdout and "seed 7" in process.stdout and "micro" in process.stdout
    assert (tmp_path / "run" / "config.toml").read_text() == settings


def test_thread_count_does_not_change_the_bits(tmp_path):
    for threads in ("1", "2"):
        process = run("tinyfer.train", *TINY, "--threads", threads, "--epochs", "1", "--limit", "32", "--out",
                      tmp_path / threads, NUMBA_NUM_THREADS="2")
        assert process.returncode == 0, process.stderr
    same(tmp_path / "1", tmp_path / "2")


def test_a_student_kernel_is_checked_told_and_called(tmp_path):
    (tmp_path / "mine.py").write_text("""
import numpy as np
def relu_forward(x):
    y = np.empty_like(x)
    for i in range(x.size):
        v = x.flat[i]
        y.flat[i] = v if v > 0 or v != v else 0
    return y
""")
    process = trained(tmp_path / "out", "--epochs", "1", "--limit", "32", "--use", tmp_path / "mine.py")
    before, _ = process.stdout.split("first step")
    assert re.search(r"with relu_forward of yours an epoch takes about [\d.]+ s", before)
    (tmp_path / "mine.py").write_text("def relu_forward(x):\n    return x.ravel()\n")
    process = run("tinyfer.train", *TINY, "--out", tmp_path / "bad", "--use", tmp_path / "mine.py")
    assert process.returncode == 2 and "relu_forward" in process.stderr and "shape" in process.stderr


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(("words", "parts"), [
    (["--lr", "abc"], ["--lr abc", "a number"]),
    (["--threads", "0"], ["--threads 0", "1 or more"]),
    (["--threads", "9999"], ["--threads 9999", "this machine offers"]),
    (["--batch-size", "-4"], ["--batch-size -4", "1 or more"]),
    (["--model", "nope"], ["--model nope", "vgg"]),
    (["--epochs", "0"], ["--epochs 0"]),
    (["--augment", "ligth"], ["did you mean light?"]),
    (["--data", "toyfaces:x"], ["toyfaces:1000"]),
    (["--data", "toyfaces:10"], ["70 or more"]),
    (["--data", "gone.csv"], ["gone.csv"]),
    (["--resume"], ["--out"]),
    (["--model", "cnn4", "--head", "fc3"], ["--head", "vgg"]),
    (["--crop", "60"], ["--crop 60", "48x48"]),
    (["--size", "8", "--model", "lite"], ["8", "16"]),
    (["--use", "gone.py"], ["gone.py"]),
    (["--weights", "gone.npz"], ["gone.npz"]),
    (["--teacher", "gone.npz"], ["gone.npz"]),
    (["--weights", "toy", "--model", "vgg"], ["it is micro(", "make vgg(", "; add --model micro --size 32."]),
    (["--weights", "vgg", "--model", "vgg", "--size", "48"], ["these options make vgg(", "; add --head average."]),
    (["--config", "gone.toml"], ["gone.toml"]),
])  # fmt: skip
def test_bad_input_is_one_sentence(words, parts, tmp_path, capsys, monkeypatch):
    from tinyfer import cli

    monkeypatch.chdir(tmp_path)
    assert cli.status(train.Options, train.run, words, prog=train.PROG) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: ") and "\n" not in err
    for part in parts:
        assert part in err, err


def test_bad_input_in_a_process_of_its_own(tmp_path):
    refused(run("tinyfer.train", "--lr", "abc", cwd=tmp_path), "--lr abc")
    assert list(tmp_path.iterdir()) == []


def test_an_out_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    refused(run("tinyfer.train", *TINY, "--out", tmp_path / "file" / "run"), "--out", "cannot write")


def test_damaged_and_foreign_checkpoints_are_not_resumed(whole, tmp_path):
    data = (whole[0] / "last.npz").read_bytes()
    for content, part in ((data[:len(data) // 2], "damaged or cut off"), (b"rubbish", "not a checkpoint"),
                          ((whole[0] / "best.npz").read_bytes(), "holds a model")):  # fmt: skip
        out = tmp_path / part.replace(" ", "-")
        out.mkdir()
        (out / "last.npz").write_bytes(content)
        refused(run("tinyfer.train", *TINY, "--out", out, "--resume"), part)
        assert (out / "last.npz").read_bytes() == content


# ----------------------------------------------------------------------------------------------------- building a model


def test_crop_and_size_reach_the_model():
    options, _ = parse(train.Options, ["--model", "lite", "--crop", "44", "--width", "0.5"])
    model = train.build(options)
    assert (model.preprocess.size, model.preprocess.crop, model.preprocess.shape) == (48, 44, (44, 44, 1))
    assert model.options["size"] == 44 and model.options["width"] == 0.5
    assert train.build(parse(train.Options, ["--model", "micro"])[0]).preprocess.shape == (24, 24, 1)


def test_a_seed_is_a_start():
    one, two, again = (train.build(parse(train.Options, ["--model", "micro", "--seed", seed])[0]) for seed in "121")
    assert (one.params.value == again.params.value).all() and (one.params.value != two.params.value).any()


def test_a_run_may_begin_with_the_weights_of_another(whole, tmp_path):
    """From the first step on it is the other's model that learns, and its file tells where it came from."""
    first, _ = whole
    trained(tmp_path / "on", "--epochs", "1", "--weights", first, "--lr", "1e-9", "--ema", "0", "--dropout", "0.5")
    donor, model = models.load(first / "best.npz"), models.load(tmp_path / "on" / "final.npz")
    np.testing.assert_allclose(model.params.value, donor.params.value, atol=1e-5)
    (origin,) = model.meta["lineage"]
    assert origin["model"] == "micro" and origin["trained_on"] == donor.meta["trained_on"] == "train (168 pictures)"
    trained(tmp_path / "further", "--epochs", "1", "--weights", tmp_path / "on")
    assert len(models.load(tmp_path / "further" / "final.npz").meta["lineage"]) == 2


def test_a_run_that_goes_on_does_not_ask_for_what_it_began_with(whole, tmp_path):
    first, _ = whole
    shutil.copy(first / "best.npz", tmp_path / "donor.npz")
    trained(tmp_path / "on", "--epochs", "1", "--weights", tmp_path / "donor.npz")
    lineage = models.load(tmp_path / "on" / "final.npz").meta["lineage"]
    (tmp_path / "donor.npz").unlink()
    (tmp_path / "on" / "final.npz").unlink()
    at = checkpoint.read(tmp_path / "on" / "last.npz", checkpoint.RUN)
    at[1]["run"] |= {"epoch": 0, "rows": []}  # as if stopped before its only epoch
    checkpoint.save(tmp_path / "on" / "last.npz", *at, checkpoint.RUN)
    trained(tmp_path / "on", "--resume")
    assert models.load(tmp_path / "on" / "final.npz").meta["lineage"] == lineage
    process = trained(tmp_path / "on", "--resume", "--weights", first, status=2)
    assert "has weights of its own by now; leave --weights out" in process.stderr


def test_limit_takes_pictures_of_every_class_from_a_sorted_source(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (700, 48, 48), dtype=np.uint8)
    labels = np.repeat(np.arange(7), 100)
    csv = [f"{label},{' '.join(map(str, image.ravel()))},Training" for label, image in zip(labels, images, strict=True)]
    (tmp_path / "sorted.csv").write_text("\n".join(["emotion,pixels,Usage", *csv]) + "\n")
    few, again = (sources.load(str(tmp_path / "sorted.csv"), 70).train for _ in range(2))
    assert len(few) == 70 and (few.counts > 0).all() and np.array_equal(few.images, again.images)


def test_pictures_too_few_to_hold_one_out_are_refused(tmp_path):
    csv = [f"{label},{' '.join(['7'] * 2304)},Training" for label in range(7)]
    (tmp_path / "seven.csv").write_text("\n".join(["emotion,pixels,Usage", *csv]) + "\n")
    process = run("tinyfer.train", "--data", tmp_path / "seven.csv", "--out", tmp_path / "run")
    refused(process, "of 7 training pictures none can be held out", "expected two or more of some expression")


def test_a_teacher_softens_the_labels(whole, tmp_path):
    from tinyfer import data, evaluation, metrics

    first, _ = whole
    words = ["--teacher", str(first), "--teacher-share", "0.25"]
    split = data.toyfaces(70, np.random.default_rng(0)).train
    targets, (origin,) = train.softened(split, parse(train.Options, words)[0])
    chances = metrics.softmax(evaluation.logits(models.load(first), split, flip=True))
    np.testing.assert_allclose(targets, 0.75 * np.eye(7)[split.labels] + 0.25 * chances, atol=1e-6)
    assert targets.dtype == np.float32 and origin["trained_on"] == "train (168 pictures)"
    process = trained(tmp_path / "taught", "--epochs", "1", *words)
    assert "micro answers the 168 training pictures first" in process.stdout
    assert models.load(tmp_path / "taught" / "final.npz").meta["lineage"] == [origin]


def test_default_folders_count_up(tmp_path, monkeypatch):
    from tinyfer import runs

    monkeypatch.chdir(tmp_path)
    assert [runs.fresh("lite").path.as_posix() for _ in range(2)] == ["runs/lite-1", "runs/lite-2"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"lite-1: cannot be made .*--out"):
        runs.fresh("lite", "file")


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_are_valid(recipe):
    options, _ = parse(train.Options, ["--config", str(recipe)])
    assert train.build(options).params.value.size > 0


def test_a_recipe_with_an_unknown_key(tmp_path):
    (tmp_path / "r.toml").write_text("epoch = 3\n")
    with pytest.raises(UserError, match=r"r.toml: epoch: there is no such option; did you mean epochs\?"):
        parse(train.Options, ["--config", str(tmp_path / "r.toml")])
