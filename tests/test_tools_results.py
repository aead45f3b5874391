"""What is told of runs: papers, the table of a search, the pages made of them, the changes that the card measures."""

import json

import numpy as np
import pytest

from tinyfer import cli, models, runs, train
from tinyfer.data import Preprocess
from tinyfer.errors import UserError
from tools import papers, results, search, shifts

LOG = "epoch,seconds,val_accuracy\n1,60.0,0.500000\n2,120.0,{}\n"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder of papers of a search: base and one variant with two seeds, another with one."""
    monkeypatch.setattr(papers, "RUNS", tmp_path)
    accuracies = {"base-seed-1": 0.60, "base-seed-2": 0.61, "rate-0.1-seed-1": 0.63, "rate-0.1-seed-2": 0.62,
                  "mixup-seed-2": 0.59}
    for name, accuracy in accuracies.items():
        (tmp_path / "short" / name).mkdir(parents=True)
        (tmp_path / "short" / name / "log.csv").write_text(LOG.format(accuracy))
    return {"what": "short runs", "seeds": [1, 2], "base": {"lr": 0.05},
            "variants": {"mixup": {"mixup": 0.2}, "rate 0.1": {"lr": 0.1}, "not done": {"lr": 1.0}}}


def test_a_search_begins_with_the_base_and_does_one_seed_after_the_other(kept):
    trials = list(search.trials("short", kept))
    assert [(trial.variant, trial.seed) for trial in trials[:5]] == [
        ("base", 1), ("mixup", 1), ("rate 0.1", 1), ("not done", 1), ("base", 2)]
    assert trials[2].settings == {"lr": 0.1, "seed": 1} and trials[2].folder == "short/rate-0.1-seed-1"


def test_every_trial_of_the_plan_can_be_trained():
    from tinyfer.train import Options

    for name, group in search.groups().items():
        folders = [trial.folder for trial in search.trials(name, group)]
        assert len(set(folders)) == len(folders)
        for trial in search.trials(name, group):
            Options(**{key.replace("-", "_"): value for key, value in trial.settings.items()})


def test_the_table_compares_with_the_base_of_the_same_seeds(kept):
    lines = results.table("short", kept).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[1:] == ["| rate 0.1 | 63.00 | 62.00 | +2.00 |", "| **base** | 60.00 | 61.00 |  |",
                        "| mixup |  | 59.00 | -2.00 |"]
    assert "by 0.71 points (standard deviation, 2 settings)" in lines[-1]


def test_a_group_without_its_base_has_no_table(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(papers, "RUNS", tmp_path / "none")
    assert results.table("short", kept) == ""


def scored(folder, seconds: float, accuracy: float = 0.7, **weights):
    """Papers of a scored run of one epoch, of which only the time and the weights matter."""
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(f"epoch,seconds,val_accuracy\n1,{seconds},0.7\n")
    (folder / "config.toml").write_text('model = "vgg"\nseed = 1\n')
    view = {"accuracy": accuracy, "interval": [0.6, 0.8], "calibration_error": 0.01}
    scores = {"views": dict.fromkeys(results.VIEWS, view), "cores": 2, "processor": "?", "shipped_as": "", "bytes": 1}
    (folder / "scores.json").write_text(json.dumps(scores | weights))


def test_a_further_cycle_tells_of_the_time_that_went_before(tmp_path, monkeypatch):
    monkeypatch.setattr(papers, "RUNS", tmp_path)
    scored(tmp_path / "first", 600, parameters=["full", "half"])
    scored(tmp_path / "second", 1200, parameters=["other"], before=["half", "full"])  # one run, in two files
    scored(tmp_path / "a-third", 1800, before=["full", "other"])
    scored(tmp_path / "alone", 60)
    found = {result.name: result for result in results.results()}
    assert {name: result.minutes for name, result in found.items()} == {
        "first": 10, "second": 30, "a-third": 60, "alone": 1}
    assert [run.name for run in found["a-third"].before] == ["first", "second"]
    assert results.epochs(found["second"]) == "1 + 1" and results.epochs(found["first"]) == "1"
    assert "| 1 + 1 | 30 |" in results.run_table(list(found.values()))


def test_a_further_cycle_without_the_papers_of_the_first_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(papers, "RUNS", tmp_path)
    scored(tmp_path / "second", 1200, before=["unknown"])
    with pytest.raises(UserError, match=r"docs/runs/second: .*unknown"):
        results.results()


def test_the_page_is_that_of_the_papers():
    assert results.PAGE.read_text(encoding="utf-8") == results.page(results.results()), "run `python -m tools.results`"


def test_on_the_picture_no_name_hides_another_or_a_point(tmp_path, monkeypatch):
    monkeypatch.setattr(papers, "RUNS", tmp_path)
    for name, minutes, percent in (("10min", 9, 66.2), ("30min", 28, 70.7), ("2h", 115, 70.4), ("a-run", 84, 69.8),
                                   ("another-run", 84, 69.7), ("a-long-name", 110, 70.5), ("last", 215, 71.9)):
        scored(tmp_path / name, 60 * minutes, accuracy=percent / 100)
    (axes,) = results.picture(results.results()).axes
    names = [text.get_window_extent() for text in axes.texts]
    assert len(names) == 7
    for i, place in enumerate(names):
        assert place.count_overlaps(names[:i]) == 0 and place.x0 > 0
        for minutes, percent in ((9, 66.2), (28, 70.7), (115, 70.4), (84, 69.8), (110, 70.5), (215, 71.9)):
            assert not place.contains(*axes.transData.transform((minutes, percent)))


def test_the_readme_shows_the_shipped_models():
    text = results.README.read_text(encoding="utf-8")
    assert results.filled(text, {"results": results.shipped_table(results.results())}, ("bench",)) == text


def test_papers_tell_nothing_of_the_machines_folders(tmp_path):
    folder = runs.Folder(tmp_path / "run")
    folder.create()
    folder.config.write_text('epochs = 2\ndata = "/home/me/secret/fer2013.csv"\nmodel = "lite"\n')
    folder.log.write_text(LOG.format(0.6))
    papers.keep(folder, tmp_path / "kept")
    assert (tmp_path / "kept" / "config.toml").read_text() == 'epochs = 2\ndata = "fer2013.csv"\nmodel = "lite"\n'
    assert papers.read_log(tmp_path / "kept")[-1]["val_accuracy"] == 0.6
    windows = cli.to_toml(train.Options(data="C:\\Users\\me\\fer \"2013\".csv"))
    folder.config.write_text(windows)
    papers.keep(folder, tmp_path / "kept")
    assert cli.read_toml(tmp_path / "kept" / "config.toml") == cli.read_toml(folder.config) | {"data": 'fer "2013".csv'}
    for config in papers.RUNS.rglob("config.toml"):
        assert "/" not in cli.read_toml(config)["data"], config


PICTURES = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)


@pytest.mark.parametrize("crop", [None, 40])
@pytest.mark.parametrize("change", shifts.CHANGES, ids=lambda change: change.name)
def test_a_change_by_nothing_is_the_models_own_preprocessing(change, crop):
    preprocess = Preprocess(crop=crop)
    assert change.amounts[0] == 0 and list(change.amounts) == sorted(change.amounts)
    for view in change.views(PICTURES, preprocess, 0):
        np.testing.assert_array_equal(view, preprocess(PICTURES))


def test_each_change_does_what_it_says():
    preprocess = Preprocess(mean=0.0, std=1 / 255)  # inputs are grey values
    right, left, down, up = (view[..., 0] for view in shifts.moved(PICTURES, preprocess, 3))
    np.testing.assert_array_equal(right[:, :, 3:], PICTURES[:, :, :-3])
    np.testing.assert_array_equal(left[:, :, :-3], PICTURES[:, :, 3:])
    np.testing.assert_array_equal(down[:, 3:], PICTURES[:, :-3])
    np.testing.assert_array_equal(up[:, :-3], PICTURES[:, 3:])
    (dark,) = shifts.darkened(PICTURES, preprocess, 75)
    np.testing.assert_array_equal(dark[..., 0], np.rint(PICTURES / 4))
    (soft,) = shifts.blurred(PICTURES, preprocess, 3.0)
    assert soft.std() < 0.2 * PICTURES.std() and abs(soft.mean() - PICTURES.mean()) < 2
    quarter, back = (view[..., 0] for view in shifts.turned(PICTURES, preprocess, 90))
    np.testing.assert_allclose(quarter[:, ::-1, ::-1], back, atol=0.01)
    spot = np.zeros((1, 48, 48), np.uint8)
    spot[:, 14:34, 14:34] = 255
    near, far = (view.sum() / 255 for view in shifts.cropped(spot, preprocess, 20))
    assert near == pytest.approx(400 / 0.8**2, rel=0.03) and far == pytest.approx(400 / 1.2**2, rel=0.03)


def test_the_card_names_every_shipped_model():
    from tools import card

    text = card.PAGE.read_text(encoding="utf-8")
    for name in models.shipped():
        model = models.load(name)
        if not model.meta.get("toy"):
            assert f"`{name}`" in text and f"{model.params.value.size:,}" in text, "run `python -m tools.card`"
            assert f"{model.meta['temperature']:.3f}" in text, "run `python -m tools.card`"
