"""A finished run is shipped: its papers, what it reached, which weights it is made of, and what is refused."""

import json

import pytest

from tests import data_files
from tests.programs import run
from tinyfer import models, train
from tinyfer.errors import UserError
from tools import papers, ship

TINY = ("--model", "micro", "--epochs", "1", "--batch-size", "8", "--threads", "1", "--augment", "none")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A csv of FER-2013's kind, and a run on it."""
    place = tmp_path_factory.mktemp("made")
    data_files.write_csv(place / "fer.csv", data_files.csv_text(*data_files.made_up(42)))
    process = run("tinyfer.train", *TINY, "--data", place / "fer.csv", "--out", place / "first")
    assert process.returncode == 0, process.stderr
    return place


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """Ships a run into a folder that stands for the project, and reads the scores that were kept."""
    monkeypatch.setattr(papers, "ROOT", tmp_path)
    monkeypatch.setattr(papers, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)

    def scores(folder, data, name=""):
        assert ship.main(ship.Options(run=str(folder), name=name, data=str(data))) == 0
        return json.loads((tmp_path / "runs" / folder.name / "scores.json").read_text())

    return scores


def test_papers_weights_and_scores(made, shipped, tmp_path, capsys):
    scores = shipped(made / "first", made / "fer.csv", "tried")
    assert {path.name for path in (tmp_path / "runs" / "first").iterdir()} == {
        "config.toml", "log.csv", "curves.png", "scores.json"}
    assert "runs/first" in capsys.readouterr().out.replace("\\", "/")
    model = models.load(tmp_path / "tried.npz")
    assert model.meta["temperature"] == scores["temperature"] and model.meta["protocol"] == ship.PROTOCOL
    assert scores["shipped_as"] == "tried" and scores["before"] == []
    assert scores["parameters"] == [train.fingerprint(models.load(made / "first" / "final.npz")),
                                    train.fingerprint(model)]
    assert scores["views"].keys() == ship.VIEWS.keys()
    assert all(view["pictures"] == 14 for view in scores["views"].values())


def test_a_name_is_that_of_the_run_that_was_shipped_last(made, shipped, tmp_path):
    assert shipped(made / "first", made / "fer.csv", "tried")["shipped_as"] == "tried"
    assert shipped(made / "first", made / "fer.csv")["shipped_as"] == "tried"  # its papers anew
    process = run("tinyfer.train", *TINY, "--seed", "3", "--data", made / "fer.csv", "--out", tmp_path / "second")
    assert process.returncode == 0, process.stderr
    assert shipped(tmp_path / "second", made / "fer.csv", "tried")["shipped_as"] == "tried"
    first = json.loads((tmp_path / "runs" / "first" / "scores.json").read_text())
    assert first["shipped_as"] == "" and first["processor"] != "an unknown processor" and first["cores"] >= 1


def test_what_a_run_began_with_stands_in_its_scores(made, shipped, tmp_path):
    """Whether it began with the run's own file or with what was shipped of it."""
    first = shipped(made / "first", made / "fer.csv", "tried")
    for begun, of in (made / "first" / "final.npz", 0), (tmp_path / "tried.npz", 1):
        out = tmp_path / begun.stem
        begin = ("--weights", begun, "--teacher", begun)
        process = run("tinyfer.train", *TINY, *begin, "--data", made / "fer.csv", "--out", out)
        assert process.returncode == 0, process.stderr
        assert shipped(out, made / "fer.csv")["before"] == [first["parameters"][of]]


def test_a_run_on_other_pictures_is_refused(made, shipped, tmp_path):
    data_files.write_csv(tmp_path / "other.csv", data_files.csv_text(*data_files.made_up(45)))
    with pytest.raises(UserError, match=r"Training \(14 pictures\), not on FER-2013's"):
        shipped(made / "first", tmp_path / "other.csv")


def test_a_run_that_is_not_finished_is_refused(made, shipped, tmp_path):
    with pytest.raises(UserError, match=r"no final\.npz"):
        shipped(tmp_path, made / "fer.csv")
