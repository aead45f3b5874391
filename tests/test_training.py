"""Training: it learns, it starts at ln 7, it can be stopped at any moment, and what it writes is what was promised."""

import csv
import dataclasses
import math
import signal
import sys
import time

import numba
import numpy as np
import pytest

from tinyfer import checkpoint, data, evaluation, models, optim, rehearsal, runs, training
from tinyfer.errors import UserError
from tinyfer.progress import Show, duration
from tinyfer.seeds import generator
from tinyfer.training import TrainConfig

TIMES = ("seconds", "images_per_s", "data_share")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These nets are too small to share out."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture(scope="module")
def faces():
    return data.toyfaces(280, np.random.default_rng(0))


def micro(seed=0, **options):
    return models.micro(generator(seed, "weights"), size=16, **options)


def small(**changes):
    return TrainConfig(**{"epochs": 2, "batch_size": 32, "checkpoint_every": 0.0, **changes})


class At(Show):
    """Does something at one step, counted from the beginning of this process."""

    def __init__(self, step, action):
        self.left, self.action, self.said = step, action, []

    def step(self, run):
        self.left -= 1
        if self.left == 0:
            self.action()

    def say(self, sentence):
        self.said.append(sentence)


class Killed(Exception):
    pass


def killed():
    raise Killed


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def same_run(one, other):
    """The same bits in weights, optimizer, average and figures; times aside."""
    (a, meta_a), (b, meta_b) = (checkpoint.read(folder.last, checkpoint.RUN) for folder in (one, other))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for meta in (meta_a, meta_b):
        for row in meta["run"]["rows"]:
            for name in TIMES:
                row.pop(name)
        meta["run"].pop("seconds")
    assert meta_a["run"] == meta_b["run"] and meta_a["identity"] == meta_b["identity"]
    (a, meta_a), (b, meta_b) = (checkpoint.read(folder.best, checkpoint.MODEL) for folder in (one, other))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert meta_a == meta_b
    assert log(one) == log(other)


def log(folder):
    with open(folder.log) as file:
        return [{name: cell for name, cell in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def folder_at(path):
    folder = runs.Folder(path)
    folder.create()
    return folder


# ------------------------------------------------------------------------------------------------------------- learning


def test_the_loss_starts_at_ln_7(faces):
    run = training.Run(micro(), faces.train, faces.val, small())
    loss, _ = training.train_step(run, *run.batches.batch(0, 0))
    assert loss == pytest.approx(math.log(7), rel=1e-6)


def test_it_overfits_32_faces(faces):
    few = faces.train.take(slice(0, 32))
    model = micro(dropout=0.0)
    config = TrainConfig(epochs=60, batch_size=16, augment="none", label_smoothing=0.0, weight_decay=0.0, ema=0.9)
    run = training.fit(model, few, few, config)
    assert run.best["accuracy"] == 1.0
    assert run.rows[-1]["train_loss"] < 0.1 and run.rows[-1]["val_loss"] < 0.1


GOLDEN = {"sgd": (1.94591, 2.03761, 2.00962, 1.93935, 2.06574),
          "adamw": (1.94591, 1.94832, 1.94835, 1.94597, 1.93135)}


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.05), ("adamw", 0.001)])
def test_golden_losses(optimizer, lr):
    """The first losses of a fixed run: a change in any op, in initialisation, order or augmentation shows here."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 7
    stripes = np.arange(20) % (2 + labels[:, None, None])
    pictures = 100 + 8 * labels[:, None, None] + 60 * rng.random((160, 20, 20)) * stripes
    split = data.Split((pictures % 256).astype(np.uint8), labels, "made up")
    run = training.Run(micro(), split, split, small(optimizer=optimizer, lr=lr, warmup=0.0))
    losses = []
    for _ in range(5):
        losses.append(training.train_step(run, *run.batches.batch(0, run.step))[0])
        run.step += 1
    np.testing.assert_allclose(losses, GOLDEN[optimizer], rtol=1e-3)


@pytest.mark.parametrize("how", ["none", "sqrt", "balanced"])
def test_class_weights_have_mean_one_over_pictures(faces, how):
    rare = faces.train.take(np.r_[0:100, np.flatnonzero(faces.train.labels == 3)])
    weights = training.class_weights(rare, how)
    assert weights.dtype == np.float32 and weights[rare.labels].mean() == pytest.approx(1, rel=1e-5)
    if how == "balanced":
        np.testing.assert_allclose(weights, len(rare) / (7 * rare.counts), rtol=1e-5)


def test_mixup_blends_pictures_and_targets_alike(faces):
    run = training.Run(micro(), faces.train, faces.val, small(mixup=0.4))
    x, y = run.batches.batch(0, 0)
    mixed, target = training.mixed(run, x, y)
    again, _ = training.mixed(run, x, y)
    np.testing.assert_array_equal(mixed, again)
    np.testing.assert_allclose(target.sum(axis=1), 1, rtol=1e-6)
    partner = generator(0, "mixup", 0, 0)
    share, order = partner.beta(0.4, 0.4), partner.permutation(len(y))
    np.testing.assert_allclose(mixed, share * x + (1 - share) * x[order], atol=1e-5)
    run.epoch = run.epochs - 1
    run.step = run.steps - 1
    np.testing.assert_array_equal(training.mixed(run, x, y)[0], x)


def test_plateau_lowers_the_rate_after_five_epochs_without_gain(faces):
    run = training.Run(micro(), faces.train, faces.val, small(schedule="plateau", lr=0.05, warmup=0.0))
    factors = []
    for accuracy in (0.5, 0.5, 0.4, 0.3, 0.2, 0.5, 0.6, *[0.6] * 5):
        training.follow_plateau(run, accuracy)
        factors.append(run.plateau["factor"])
    assert factors == [1.0] * 5 + [0.75] * 6 + [0.75**2]
    assert run.rate(3) == pytest.approx(0.05 * 0.75**2)


@pytest.mark.parametrize("schedule", [name for name in training.SCHEDULES if name != "plateau"])
def test_schedules_are_those_of_optim(faces, schedule):
    run = training.Run(micro(), faces.train, faces.val, small(schedule=schedule, lr=0.05, warmup=0.25))
    wanted = optim.schedule(schedule, 0.05, run.total_steps, round(0.25 * run.total_steps))
    assert [run.rate(step) for step in range(run.total_steps)] == [wanted(step) for step in range(run.total_steps)]


def test_softened_targets_are_what_is_learnt(faces):
    """Targets that are the labels give the same run; and targets that name another class teach that class."""
    rows = np.eye(7, dtype=np.float32)[faces.train.labels]
    plain, soft = (training.fit(micro(), faces.train, faces.val, small(epochs=1, mixup=0.3), targets=targets)
                   for targets in (None, rows))
    np.testing.assert_array_equal(plain.model.params.value, soft.model.params.value)
    other = training.fit(micro(), faces.train, faces.train, small(epochs=20), targets=np.roll(rows, 1, axis=1))
    answers = evaluation.logits(other.model, faces.train).argmax(axis=1)
    assert (answers == (faces.train.labels + 1) % 7).mean() > 0.5 > (answers == faces.train.labels).mean()


def test_a_run_with_other_targets_is_not_resumed(faces, tmp_path):
    rows, folder = np.eye(7, dtype=np.float32)[faces.train.labels], folder_at(tmp_path)
    training.fit(micro(), faces.train, faces.val, small(epochs=1), folder=folder, targets=rows)
    with pytest.raises(UserError, match="that run has targets"):
        training.fit(micro(), faces.train, faces.val, small(epochs=1), folder=folder, resume=True)


def test_a_lone_last_picture_is_left_out(faces):
    run = training.Run(micro(), faces.train.take(slice(0, 65)), faces.val, small())
    assert run.batches.steps_per_epoch == 3 and run.steps == 2


def test_pictures_grow_and_the_average_begins_anew(faces):
    model, seen = models.micro(generator(0, "weights"), size=24), []

    class Sizes(Show):
        def step(self, run):
            seen.append((run.epoch, run.batches.batch(0, 0)[0].shape[1], run.ema.n))

    config = small(epochs=5, grow=(16, 20), grow_share=0.7)
    training.fit(model, faces.train, faces.val, config, show=Sizes())
    sizes = [16, 16, 20, 20, 24]
    assert seen == [(epoch, sizes[epoch], 7 * sum(size == sizes[epoch] for size in sizes[:epoch]) + step + 1)
                    for epoch in range(5) for step in range(7)]
    assert model.preprocess.size == 24


def test_a_growing_run_validates_at_the_size_it_trains_at(faces, tmp_path, monkeypatch):
    """And its best model is the best at the largest size, even where all answers at a smaller one were right."""
    def logits(model, split, size):
        return np.eye(7, dtype=np.float32)[split.labels] if size == 16 else evaluate(model, split, size=size)

    evaluate, folder = evaluation.logits, folder_at(tmp_path)
    monkeypatch.setattr(evaluation, "logits", logits)
    run = training.fit(models.micro(generator(0, "weights"), size=24), faces.train, faces.val,
                       small(epochs=4, grow=(16,), grow_share=0.5), folder=folder)
    monkeypatch.undo()
    assert [row["size"] for row in run.rows] == [16, 16, 24, 24] and run.rows[0]["val_accuracy"] == 1
    best = models.load(folder.best)
    assert best.meta["epoch"] == run.best["epoch"] > 2
    answers = evaluation.logits(best, faces.val).argmax(axis=1)
    assert (answers == faces.val.labels).mean() == run.best["accuracy"] == max(r["val_accuracy"] for r in run.rows[2:])


def test_a_smaller_size_is_asked_by_the_same_network(faces):
    model = models.micro(generator(0, "weights"), size=24)
    model.params.value[:] += 0.1 * np.random.default_rng(0).standard_normal(model.params.value.size, np.float32)
    twin = models.micro(generator(1, "weights"), size=16)
    twin.load_state(model.state())
    asked = evaluation.logits(model, faces.val, size=16, ten_crop=True)
    assert np.ptp(asked) > 0 and not np.array_equal(asked, evaluation.logits(model, faces.val, ten_crop=True))
    np.testing.assert_array_equal(asked, evaluation.logits(twin, faces.val, ten_crop=True))


def test_sizes_that_do_not_grow_are_refused_and_the_last_epoch_is_never_small(faces):
    micro = models.micro(generator(0, "weights"), size=24)
    with pytest.raises(UserError, match="--grow 24: the network's own pictures are 24 pixels wide"):
        training.Run(micro, faces.train, faces.val, small(grow=(16, 24)))
    run = training.Run(micro, faces.train, faces.val, small(grow=(16,), grow_share=1.0))
    assert [run.size(epoch, 3) for epoch in range(3)] == [16, 16, 24] and run.size(0, 1) == 24


def test_a_run_that_kept_no_sizes_goes_on(faces, tmp_path):
    """As the runs of earlier versions, which validated at the model's own size."""
    folder, config = folder_at(tmp_path), small(epochs=3)
    with pytest.raises(Killed):
        training.fit(micro(), faces.train, faces.val, config, folder=folder, show=At(15, killed))
    arrays, meta = checkpoint.read(folder.last, checkpoint.RUN)
    for figures in [*meta["run"]["rows"], meta["run"]["best"]]:
        assert figures.pop("size") == micro().preprocess.size
    checkpoint.save(folder.last, arrays, meta, checkpoint.RUN)
    run = training.fit(micro(), faces.train, faces.val, config, folder=folder, resume=True)
    whole = training.fit(micro(), faces.train, faces.val, config)
    np.testing.assert_array_equal(run.model.params.value, whole.model.params.value)


def test_a_plateau_is_not_measured_by_another_size(faces):
    model = models.micro(generator(0, "weights"), size=24)
    run = training.Run(model, faces.train, faces.val, small(schedule="plateau"))
    run.plateau = {"factor": 0.75, "best": 1.0, "waited": 4}
    run.rows, run.sums = [{"size": 16}], training.Sums(1.0, 1.0, 1, 1.0, 0.1)
    training.validate(run, None)
    assert run.plateau["waited"] == 0 and run.plateau["factor"] == 0.75 and 0 <= run.plateau["best"] < 1


def test_a_network_that_cannot_grow_says_so(faces):
    with pytest.raises(UserError, match=r"--grow 16: vgg\(.*\) cannot take pictures of that size"):
        training.Run(models.vgg(width=0.125), faces.train, faces.val, small(grow=(16,)))


def test_a_loss_that_is_no_number_stops_with_one_sentence(faces, tmp_path):
    folder = folder_at(tmp_path)
    with np.errstate(all="ignore"), pytest.raises(UserError, match=r"epoch 1 at step \d of 7: lower --lr"):
        training.fit(micro(), faces.train, faces.val, small(lr=1e30, warmup=0.0), folder=folder)
    if folder.last.exists():
        checkpoint.read(folder.last, checkpoint.RUN)


def test_memory_is_flat_over_500_steps(faces):
    resource = pytest.importorskip("resource", reason="Windows tells no peak memory this way")
    run = training.Run(micro(), faces.train, faces.val, TrainConfig(batch_size=4, epochs=1))
    x, y = run.batches.batch(0, 0)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)

    for step in range(600):
        training.train_step(run, x, y)
        if step == 100:
            before = peak()
    assert peak() - before < 4  # MiB


# --------------------------------------------------------------------------------------------------- stopping, going on


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("stop", [ctrl_c, killed])
def test_a_stopped_run_goes_on_to_the_same_bits(faces, tmp_path, seed, stop):
    """Stopped three times: in mid-epoch, at an epoch's last step, and in the first step after going on."""
    config = small(seed=seed, mixup=0.2 * seed, ema=0.9, schedule="plateau" if seed else "cosine")
    whole, parts = folder_at(tmp_path / "whole"), folder_at(tmp_path / "parts")
    training.fit(micro(seed), faces.train, faces.val, config, folder=whole)
    for step in (4, 3, 1):
        with pytest.raises((KeyboardInterrupt, Killed)):
            training.fit(micro(seed), faces.train, faces.val, config, folder=parts, resume=True, show=At(step, stop))
        checkpoint.read(parts.last, checkpoint.RUN)
    training.fit(micro(seed), faces.train, faces.val, config, folder=parts, resume=True)
    same_run(whole, parts)


def test_a_growing_run_goes_on_to_the_same_bits(faces, tmp_path):
    """Stopped in mid-epoch, at the last step before it grows, and at the first one after."""
    config = small(epochs=3, grow=(16,), ema=0.9)
    whole, parts = folder_at(tmp_path / "whole"), folder_at(tmp_path / "parts")

    def fit(folder, **more):
        model = models.micro(generator(0, "weights"), size=20)
        return training.fit(model, faces.train, faces.val, config, folder=folder, **more)

    fit(whole)
    for step in (4, 3, 1):
        with pytest.raises(Killed):
            fit(parts, resume=True, show=At(step, killed))
    fit(parts, resume=True)
    same_run(whole, parts)


@pytest.mark.parametrize("moment", ["models.save", "run.save", "write_log"])
def test_killed_while_an_epoch_is_being_written_down(faces, tmp_path, monkeypatch, moment):
    config = small(checkpoint_every=1e9)
    whole, parts = folder_at(tmp_path / "whole"), folder_at(tmp_path / "parts")
    training.fit(micro(), faces.train, faces.val, config, folder=whole)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        owner, name = {"models.save": (models, "save"), "run.save": (training.Run, "save"),
                       "write_log": (runs.Folder, "write_log")}[moment]
        real, calls = getattr(owner, name), []

        def second_time(*args, **kwargs):
            calls.append(1)
            if len(calls) == 2:
                raise Killed
            return real(*args, **kwargs)

        patch.setattr(owner, name, second_time)
        training.fit(micro(), faces.train, faces.val, config, folder=parts)
        raise Killed  # the best model came first and only once
    training.fit(micro(), faces.train, faces.val, config, folder=parts, resume=True)
    same_run(whole, parts)


def test_a_log_that_cannot_be_written_now_is_written_later(faces, tmp_path, monkeypatch):
    """As when somebody looks at it with a program that holds it. After the last epoch there is no later."""
    held, show, write_log = [UserError("log.csv is held.")], At(0, None), runs.Folder.write_log
    folder = folder_at(tmp_path / "run")

    def write(self, rows):
        if held:
            raise held.pop()
        write_log(self, rows)

    monkeypatch.setattr(runs.Folder, "write_log", write)
    training.fit(micro(), faces.train, faces.val, small(), folder=folder, show=show)
    assert "log.csv is held. Training goes on." in show.said and len(folder.log.read_text().splitlines()) == 3
    held += [UserError("log.csv is held.")] * 2
    with pytest.raises(UserError, match=r"log\.csv is held\.$"):
        training.fit(micro(), faces.train, faces.val, small(), folder=folder_at(tmp_path / "other"))


def test_resuming_a_finished_run_changes_nothing(faces, tmp_path):
    folder = folder_at(tmp_path)
    training.fit(micro(), faces.train, faces.val, small(epochs=1), folder=folder)
    before = folder.last.read_bytes()
    run = training.fit(micro(), faces.train, faces.val, small(epochs=1), folder=folder, resume=True)
    assert run.finished and folder.last.read_bytes() == before


def test_another_training_is_not_resumed(faces, tmp_path):
    folder = folder_at(tmp_path)
    training.fit(micro(), faces.train, faces.val, small(epochs=1), folder=folder)
    fewer = faces.train.take(slice(0, 100))
    for message, args in {
        "batch-size 32, not 16": (micro(), faces.train, faces.val, small(epochs=1, batch_size=16)),
        "epochs 1, not 3": (micro(), faces.train, faces.val, small(epochs=3)),
        "training-pictures 224": (micro(), fewer, faces.val, small(epochs=1)),
        "options": (micro(dropout=0.3), faces.train, faces.val, small(epochs=1)),
        "model micro, not dnn5": (models.dnn5(size=16), faces.train, faces.val, small(epochs=1)),
    }.items():
        with pytest.raises(UserError, match=message):
            training.fit(*args, folder=folder, resume=True)
    same = dataclasses.replace(small(epochs=1), checkpoint_every=5.0)
    assert training.fit(micro(), faces.train, faces.val, same, folder=folder, resume=True).finished


def test_minutes_fixes_the_epochs_and_undoes_its_rehearsal(faces, tmp_path):
    show = At(-1, None)
    run = training.fit(micro(), faces.train, faces.val, small(epochs=2, minutes=5), show=show)
    assert run.epochs == 2 and "epoch takes" in show.said[0]
    plain = training.fit(micro(), faces.train, faces.val, small(epochs=2))
    np.testing.assert_array_equal(run.model.params.value, plain.model.params.value)
    assert run.rows[-1]["val_loss"] == plain.rows[-1]["val_loss"]


def test_minutes_of_a_growing_run_count_every_size(faces, monkeypatch):
    show, seconds = At(-1, None), {16: 0.1, 24: 1.0}
    run = training.Run(models.micro(generator(0, "weights"), size=24), faces.train, faces.val,
                       small(epochs=None, minutes=1.0, grow=(16,), grow_share=0.5))
    monkeypatch.setattr(rehearsal, "rehearse", lambda run, *_: [seconds[run.batches.preprocess.size]] * 2)
    monkeypatch.setattr(rehearsal, "time_of_validation", lambda run, size: {16: 0.25, 24: 0.5}[size])
    rehearsal.plan_epochs(run, training.train_step, show)
    assert run.epochs == 14  # 7 epochs of 7 steps of 0.1 s and 0.25 s of validation, 7 of 7 s and 0.5 s: 59.2 s
    said = "4 warm steps say that an epoch takes 1.0 s at 16x16, 7.5 s at 24x24: into 1 minute 14 epochs fit"
    assert show.said == [said]


def test_minutes_of_very_short_epochs_are_planned_at_once_and_bounded(faces, monkeypatch):
    monkeypatch.setattr(rehearsal, "rehearse", lambda *_: [1e-6] * 2)
    monkeypatch.setattr(rehearsal, "time_of_validation", lambda *_: 0.0)
    for minutes, epochs in ((1.0, rehearsal.MOST_EPOCHS), (1e-3, None)):
        run = training.Run(micro(), faces.train, faces.val, small(epochs=None, minutes=minutes))
        begun = time.monotonic()
        rehearsal.plan_epochs(run, training.train_step, Show())
        assert time.monotonic() - begun < 5
        if epochs:
            assert run.epochs == epochs
        else:  # 0.06 s but for the rehearsal, in epochs of some microseconds
            assert 1 <= run.epochs <= 0.06 / (run.steps * 1e-6)


def test_minutes_too_few_for_an_epoch_still_train_one(faces, tmp_path):
    show, folder = At(3, killed), folder_at(tmp_path)
    with pytest.raises(Killed):
        training.fit(micro(), faces.train, faces.val, small(epochs=None, minutes=0.001), show=show, folder=folder)
    assert "not even one epoch fits" in show.said[0]
    show = At(-1, None)
    run = training.fit(micro(), faces.train, faces.val, small(epochs=None, minutes=0.001), show=show, folder=folder,
                       resume=True)
    assert run.epochs == 1 and "resuming" in show.said[0] and len(show.said) == 1


# ------------------------------------------------------------------------------------------------------ what is written


def test_the_log_and_the_best_model(faces, tmp_path):
    folder = folder_at(tmp_path)
    run = training.fit(micro(), faces.train, faces.val, small(epochs=3, ema=0.8), folder=folder,
                       about={"note": "for drawn faces only"})
    text = folder.log.read_text().splitlines()
    assert text[0] == ("epoch,step,seconds,lr,train_loss,train_accuracy,val_loss,val_accuracy,val_macro_f1,"
                       "images_per_s,data_share,size")
    assert [line.split(",")[:2] for line in text[1:]] == [["1", "7"], ["2", "14"], ["3", "21"]]
    for line in text[1:]:
        fractions = [float(line.split(",")[i]) for i in (5, 7, 8, 10)]
        assert all(0 <= value <= 1 for value in fractions)
    best = models.load(folder.best)
    assert best.meta["note"] == "for drawn faces only" and best.meta["epoch"] == run.best["epoch"]
    logits = evaluation.logits(best, faces.val)
    row = run.rows[run.best["epoch"] - 1]
    assert (logits.argmax(axis=1) == faces.val.labels).mean() == row["val_accuracy"] == run.best["accuracy"]
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "last.npz", "best.npz", "final.npz",
                                                        "curves.png"}


def test_validation_is_on_the_moving_average(faces):
    run = training.Run(micro(), faces.train, faces.val, small(ema=0.99))
    for step in range(7):
        training.train_step(run, *run.batches.batch(0, step))
    own = {name: value.copy() for name, value in run.model.state().items()}
    averages = run.ema.state()
    with run.averaged():
        inside = run.model.state()
    for name in run.model.buffers():
        np.testing.assert_array_equal(inside[name], averages[name])
    assert any((inside[name] != own[name]).any() for name in own)
    for name, value in run.model.state().items():
        np.testing.assert_array_equal(value, own[name])


def test_durations():
    assert [duration(s) for s in (8.51, 200, 7200)] == ["8.5 s", "3.3 minutes", "2.0 hours"]
