"""Evaluating: the figures and their first line, views that are what they say, and models from everywhere."""

import json
import re

import numpy as np
import pytest

from tests.programs import refused, run
from tinyfer import checkpoint, cli, data, evaluate, evaluation, infer, models
from tinyfer.data import Preprocess


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A micro model whose answers are not all alike."""
    model = models.micro(np.random.default_rng(3), size=16)
    model.params.value += 0.05 * np.random.default_rng(4).standard_normal(model.params.value.size, np.float32)
    model.meta = {"toy": True, "data": "toyfaces", "note": "for drawn faces only"}
    path = tmp_path_factory.mktemp("run") / "best.npz"
    models.save(model, path)
    return path


def answer(capsys, *words):
    status = cli.status(evaluate.Options, evaluate.run, list(map(str, words)))
    return status, capsys.readouterr()


def test_text(model_file, tmp_path, capsys):
    status, told = answer(capsys, "--model", model_file, "--data", "toyfaces:210", "--out", tmp_path)
    lines = told.out.splitlines()
    assert status == 0
    assert re.fullmatch(r"accuracy \d+\.\d\d % \[\d+\.\d, \d+\.\d\]", lines[0])
    assert lines[1].startswith("balanced accuracy ") and "macro-F1" in lines[1]
    assert "21 pictures of val (toyfaces:210), one view" in lines[2]
    assert lines[3] == "this model is for drawn faces only"
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "scores.json").read_text())["pictures"] == 21


def test_json_agrees_with_the_model(model_file, capsys):
    words = ("--model", model_file, "--data", "toyfaces:210", "--json", "--split", "private", "--flip")
    status, told = answer(capsys, *words)
    scores = json.loads(told.out)
    model = models.load(model_file)
    test = evaluate.sources.load("toyfaces:210").test
    x = model.preprocess(test.images)
    plan = infer.Plan(model, 128)
    right = ((plan(x) + plan(x[:, :, ::-1])).argmax(axis=1) == test.labels).sum()
    assert status == 0 and scores["correct"] == right and scores["pictures"] == len(test) and scores["split"] == "test"
    assert np.array(scores["confusion"]).sum() == len(test) and set(scores["classes"]) == set(data.LABELS)


def test_a_run_folder_is_its_best_model(model_file, capsys):
    status, told = answer(capsys, "--model", model_file.parent, "--data", "toyfaces:70", "--json")
    assert status == 0 and f"using {model_file}" in told.err and json.loads(told.out)["model"] == str(model_file)


@pytest.mark.parametrize("preprocess", [Preprocess(16), Preprocess(20, crop=16), Preprocess(21, crop=16)])
def test_ten_views(preprocess):
    images = np.random.default_rng(0).integers(0, 256, (3, preprocess.size, preprocess.size)).astype(np.uint8)
    views = list(evaluation.views(images, preprocess, ten_crop=True))
    assert len(views) == 10 and all(view.shape == (3, 16, 16, 1) and view.flags.c_contiguous for view in views)
    np.testing.assert_array_equal(views[0], preprocess(images))
    np.testing.assert_array_equal(views[1], preprocess(images)[:, :, ::-1])
    plain = Preprocess(preprocess.size)(images)
    if preprocess.crop:
        np.testing.assert_array_equal(views[2], plain[:, :16, :16])
        np.testing.assert_array_equal(views[8], plain[:, -16:, -16:])
    else:  # moved by two pixels, the edge repeated
        np.testing.assert_array_equal(views[2][:, 2:, 2:], plain[:, :-2, :-2])
        np.testing.assert_array_equal(views[2][:, :2], np.repeat(views[2][:, 2:3], 2, axis=1))
        np.testing.assert_array_equal(views[8][:, :-2, :-2], plain[:, 2:, 2:])
    assert len(list(evaluation.views(images, preprocess))) == 1
    assert len(list(evaluation.views(images, preprocess, flip=True))) == 2


def test_one_view_is_the_plan_bit_for_bit(model_file, monkeypatch):
    model = models.load(model_file)
    split = data.toyfaces(210, np.random.default_rng(0)).train
    whole = infer.Plan(model, 32)(model.preprocess(split.images))
    monkeypatch.setattr(evaluation, "CHUNK", 64)
    np.testing.assert_array_equal(evaluation.logits(model, split, batch=32), whole)


def test_labels_go_by_name(tmp_path, capsys, model_file):
    """The same weights under names in another order are another model."""
    arrays, meta = checkpoint.read(model_file)
    meta["labels"] = meta["labels"][::-1]
    checkpoint.save(tmp_path / "turned.npz", arrays, meta)
    words = ("--data", "toyfaces:210", "--json", "--split", "train")
    straight, turned = (np.array(json.loads(answer(capsys, "--model", path, *words)[1].out)["confusion"])
                        for path in (model_file, tmp_path / "turned.npz"))
    np.testing.assert_array_equal(straight, turned[::-1])  # the same answers, the true classes in their new places
    meta["labels"] = [*meta["labels"][:-1], "bored"]
    checkpoint.save(tmp_path / "other.npz", arrays, meta)
    status, told = answer(capsys, "--model", tmp_path / "other.npz", *words)
    assert status == 2 and "bored" in told.err


def test_bad_input_is_one_sentence(model_file, tmp_path, capsys):
    data_ = model_file.read_bytes()
    (tmp_path / "half.npz").write_bytes(data_[:len(data_) // 2])
    np.savez(tmp_path / "objects.npz", w=np.array([{}], object))
    arrays, meta = checkpoint.read(model_file)
    checkpoint.save(tmp_path / "other.npz", {**arrays, "extra": np.zeros(3)}, meta)
    checkpoint.save(tmp_path / "run.npz", arrays, meta, checkpoint.RUN)
    checkpoint.save(tmp_path / "unknown.npz", arrays, {**meta, "name": "alexnet"})
    checkpoint.save(tmp_path / "preprocess.npz", arrays, {**meta, "preprocess": {"size": "big"}})
    (tmp_path / "folder").mkdir()
    toy = ("--data", "toyfaces:70")
    for words, part in [
        (("--model", tmp_path / "half.npz", *toy), "damaged or cut off"),
        (("--model", tmp_path / "objects.npz", *toy), "no entry 'meta'"),
        (("--model", tmp_path / "other.npz", *toy), "extra"),
        (("--model", tmp_path / "run.npz", *toy), "best.npz"),
        (("--model", tmp_path / "unknown.npz", *toy), "alexnet"),
        (("--model", tmp_path / "preprocess.npz", *toy), "preprocess"),
        (("--model", tmp_path / "folder", *toy), "no best.npz"),
        (("--model", "nope", *toy), "nope"),
        (("--model", model_file, "--split", "test"), "--split test"),
        (("--model", model_file, "--threads", "0"), "--threads 0"),
        (("--model", model_file, *toy, "--out", model_file / "x"), "--out"),
    ]:
        status, told = answer(capsys, *words)
        assert status == 2 and told.err.strip().splitlines()[-1].startswith("error: "), (words, told.err)
        assert part in told.err and "Traceback" not in told.err, (words, told.err)


def test_in_a_process_of_its_own_without_cv2(model_file):
    process = run("tinyfer.evaluate", "--model", model_file, "--data", "toyfaces:70", "--threads", "1")
    assert process.returncode == 0 and process.stdout.startswith("accuracy "), process.stderr
    refused(run("tinyfer.evaluate", "--model", "nope"), "nope")
