"""Training: from a fresh model to a trained one, and from an interrupted run to the very same bits.

    run = fit(model, train, val, TrainConfig(epochs=10))          # in memory; train.py gives it a folder to write to

A *run* is everything that changes while training: weights, the optimizer's state, their moving average, where we
stand (epoch, step), the sums of the epoch so far, one row a finished epoch. It can be written down after any step and
taken up again. What is random at a step depends on (seed, purpose, epoch, step) alone, and so a run that was stopped,
or killed, ends where an undisturbed one does."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import time
from dataclasses import dataclass

import numpy as np

from tinyfer import checkpoint, evaluation, models, ops, optim, rehearsal
from tinyfer.cli import option
from tinyfer.data import AUGMENTATIONS, Batches, Split
from tinyfer.errors import UserError
from tinyfer.metrics import Scores, cross_entropy
from tinyfer.progress import Interrupt, Show
from tinyfer.seeds import generator

EPOCHS = 6  # where neither --epochs nor --minutes says otherwise
MIXUP_UNTIL = 0.9  # of all steps: the rest is trained on the pictures as they are
SCHEDULES = ("constant", "step", "plateau", "cosine", "one-cycle")
RATES = {"sgd": 0.03, "adam": 0.001, "adamw": 0.001}
COLUMNS = ("epoch", "step", "seconds", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_macro_f1",
           "images_per_s", "data_share", "size")


@dataclass(frozen=True)
class TrainConfig:
    """How to train; also the flags of `python -m tinyfer.train` that say so."""

    epochs: int | None = option(None, f"how often to go through the pictures (default: {EPOCHS}; with --minutes: as "
                                "often as fits)", low=1, high=rehearsal.MOST_EPOCHS, group="length")
    minutes: float | None = option(None, "train as many whole epochs as fit, after timing 30 steps; with --epochs, the "
                                   "smaller wins", above=0, group="length")
    batch_size: int = option(64, "pictures a step", low=1, group="optimisation")
    optimizer: str = option("sgd", "sgd has Nesterov momentum 0.9", choices=tuple(RATES), group="optimisation")
    lr: float | None = option(None, "peak learning rate (default: 0.03 for sgd, 0.001 for adam and adamw)", above=0,
                              group="optimisation")
    schedule: str = option("cosine", "step: a tenth after 1/2 and 3/4 of the steps; plateau: 3/4 after 5 epochs "
                           "without a better validation accuracy", choices=SCHEDULES, group="optimisation")
    warmup: float = option(0.1, "share of the steps in which the rate first rises from 0 (not for one-cycle)", low=0,
                           high=0.9, group="optimisation")
    weight_decay: float = option(5e-4, "for weights, not for biases and norms", low=0, group="optimisation")
    label_smoothing: float = option(0.1, "share of the target that is spread over all classes", low=0, high=0.99,
                                    group="optimisation")
    class_weights: str = option("none", "weigh rare classes up: balanced raises their recall and lowers accuracy",
                                choices=("none", "sqrt", "balanced"), group="optimisation")
    ema: float = option(0.998, "decay of the moving average of the weights, which is what is validated and kept; 0: "
                        "none", low=0, high=0.99999, group="optimisation")
    augment: str = option("light", "random flips, rotations, zooms, shifts, light", choices=AUGMENTATIONS,
                          group="optimisation")
    mixup: float = option(0.0, "mix pictures in pairs, shares from Beta(X, X), for 90 % of the steps; 0: off", low=0,
                          high=10, group="optimisation")
    erasing: float | None = option(None, "probability that a box of the picture is erased (default: what --augment "
                                   "says)", low=0, high=1, group="optimisation")
    grow: tuple[int, ...] = option((), "begin with pictures reduced to these sizes, one after the other: those are "
                                   "quick (for networks that end in an average)", low=1, high=512, metavar="SIZE",
                                   group="optimisation")
    grow_share: float = option(0.4, "share of the epochs that --grow takes, evenly among its sizes", above=0, high=1,
                               group="optimisation")
    seed: int = option(0, "everything random follows from it", low=0, high=2**63 - 1, group="optimisation")
    checkpoint_every: float = option(120.0, "seconds between two saves within an epoch", low=0, group="run")

    @property
    def peak_lr(self) -> float:
        """The learning rate asked for, or the optimizer's own."""
        return RATES[self.optimizer] if self.lr is None else self.lr


# --------------------------------------------------------------------------------------------------- the state of a run


@dataclass
class Sums:
    """What an epoch has added up so far: summed loss, right answers, pictures, seconds, of which waiting for data."""

    loss: float = 0.0
    correct: float = 0.0
    pictures: int = 0
    seconds: float = 0.0
    waiting: float = 0.0


class Run:
    """A model in training. `epochs` is None until it is known how many fit. targets: see data.Batches."""

    def __init__(self, model: models.Model, train: Split, val: Split, config: TrainConfig, about: dict | None = None,
                 targets: np.ndarray | None = None):
        if len(val) == 0:
            raise UserError("there are no pictures to validate on; hold some out with data.hold_out.")
        self.model, self.config, self.val, self.about = model, config, val, about or {}
        self.train, self.targets = train, targets
        self._check_sizes()
        self.batches = self._batches(model.preprocess.size)
        # A lone picture at the end has no batch statistics worth the name: leave it for the next epoch's order.
        alone = len(train) % config.batch_size == 1 and self.batches.steps_per_epoch > 1
        self.steps = self.batches.steps_per_epoch - alone
        self.class_weight = class_weights(train, config.class_weights)
        self.optimizer = _optimizer(model, config)
        self.ema = optim.EMA(model, config.ema) if config.ema else None
        self.epochs = None if config.minutes else config.epochs or EPOCHS
        self.epoch = self.step = 0
        self.seconds = 0.0
        self.sums = Sums()
        self.rows: list[dict] = []
        self.best: dict | None = None  # epoch, size, accuracy and confusion matrix of the best validation
        self.plateau = {"factor": 1.0, "best": -1.0, "waited": 0}
        self._identity = _identity(model, train, val, config, self.about, targets)

    def _check_sizes(self) -> None:
        """UserError where the network cannot take pictures of a size that it is to begin with."""
        for size in self.config.grow:
            if size >= self.model.preprocess.size:
                raise UserError(f"--grow {size}: the network's own pictures are {self.model.preprocess.size} pixels "
                                f"wide; expected smaller ones to begin with.")
            try:
                self.model.output_shape(self.model.preprocess.at(size).shape)
            except UserError as error:
                raise UserError(f"--grow {size}: {self.model!r} cannot take pictures of that size: {error}") from None

    def size(self, epoch: int, epochs: int) -> int:
        """The size of the pictures in an epoch, counted from 0, of so many; the last one is always of the full size."""
        sizes, small = self.config.grow, min(round(self.config.grow_share * epochs), epochs - 1)
        return sizes[epoch * len(sizes) // small] if sizes and epoch < small else self.model.preprocess.size

    def _batches(self, size: int) -> Batches:
        config = self.config
        return Batches(self.train, config.batch_size, self.model.preprocess, config.seed, config.augment,
                       config.erasing, size, self.targets)

    def take_size(self, size: int | None = None) -> None:
        """Make batches of pictures of the size that this epoch asks for (or of the one given).

        Where another size begins the moving average begins anew: the weights before were made for other pictures."""
        epochs = self.epochs or 1
        size = size or self.size(self.epoch, epochs)
        if size != self.batches.preprocess.size:
            self.batches = self._batches(size)
        if self.ema and self.step == 0 < self.epoch and size != self.size(self.epoch - 1, epochs):
            self.ema.restart()

    @property
    def global_step(self) -> int:
        """Steps done since the beginning."""
        return self.epoch * self.steps + self.step

    @property
    def total_steps(self) -> int:
        return (self.epochs or 1) * self.steps

    @property
    def finished(self) -> bool:
        return self.epochs is not None and self.epoch >= self.epochs

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from the beginning."""
        config = self.config
        name = "constant" if config.schedule == "plateau" else config.schedule
        warmup = round(config.warmup * self.total_steps)
        return optim.schedule(name, config.peak_lr, self.total_steps, warmup)(step) * self.plateau["factor"]

    def averaged(self):
        """A context in which the model is the one to validate and to keep: its moving average, if there is one."""
        return self.ema.applied() if self.ema else contextlib.nullcontext()

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of every array that a further step depends on, by name."""
        parts = {"model": self.model.state(), "optimizer": self.optimizer.state()}
        if self.ema:
            parts["ema"] = self.ema.state()
        return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of arrays()."""
        def part(name):
            return {key.removeprefix(name + "."): value for key, value in arrays.items() if key.startswith(name + ".")}

        self.model.load_state(part("model"))
        self.optimizer.load_state(part("optimizer"))
        if self.ema:
            self.ema.load_state(part("ema"))

    _COUNTERS = ("epochs", "epoch", "step", "seconds", "rows", "best", "plateau")

    def save(self, path) -> None:
        """Write all of it to a file, atomically."""
        if not np.isfinite(self.model.params.value).all():
            raise diverged(self, "a weight")
        where = {name: getattr(self, name) for name in self._COUNTERS} | {"sums": dataclasses.asdict(self.sums)}
        meta = {**checkpoint.model_meta(self.model), "identity": self._identity, "run": where,
                "about": self.about, "config": dataclasses.asdict(self.config)}
        checkpoint.save(path, self.arrays(), meta, checkpoint.RUN)

    def restore(self, path) -> None:
        """Go back to what `save` wrote; UserError where that was another training or is no such file."""
        arrays, meta = checkpoint.read(path, checkpoint.RUN)
        for name, ours in self._identity.items():
            theirs = meta.get("identity", {}).get(name)
            if theirs != ours:
                raise UserError(f"{path}: that run has {name.replace('_', '-')} {_short(theirs)}, not {_short(ours)}; "
                                f"resume it as it was begun, or begin anew with another --out.")
        try:
            self.load_arrays(arrays)
            where = dict(meta["run"])
            self.sums = Sums(**where.pop("sums"))
            self.about = meta.get("about", self.about)  # what it began with, whatever lies under that name today
            for name in self._COUNTERS:
                setattr(self, name, where[name])
            for figures in [*self.rows, *filter(None, [self.best])]:  # in older runs all were of the model's own size
                figures.setdefault("size", self.model.preprocess.size)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: the run in it is incomplete ({error}); begin anew with another --out.") from error


def _short(value) -> str:
    return "none" if value is None else str(value)[:60]


def _identity(model, train: Split, val: Split, config: TrainConfig, about: dict, targets) -> dict:
    """What must be the same for a run to go on to the same bits: settings, model, pictures, a student's kernels."""
    settings = dataclasses.asdict(config)
    del settings["checkpoint_every"]
    settings["grow"] = list(config.grow)  # as it comes back from JSON
    described = checkpoint.model_meta(model)
    return {"model": described["name"], **{name: described[name] for name in ("options", "preprocess")}, **settings,
            "training_pictures": _digest(train), "validation_pictures": _digest(val), "kernels": about.get("kernels"),
            "targets": None if targets is None else hashlib.sha256(targets.tobytes()).hexdigest()}


def _digest(split: Split) -> str:
    """The number of pictures and a hash of them and their labels."""
    digest = hashlib.blake2b(np.ascontiguousarray(split.images).data, digest_size=8)
    digest.update(np.ascontiguousarray(split.labels).data)
    return f"{len(split)} ({digest.hexdigest()})"


def _optimizer(model, config: TrainConfig) -> optim.Optimizer:
    kinds = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW}
    return kinds[config.optimizer](model.params, lr=config.peak_lr, weight_decay=config.weight_decay)


def class_weights(split: Split, how: str) -> np.ndarray:
    """Weights float32 (7,) of the classes: 1, or N / (7 n_c) (balanced), or the root of that; mean 1 over pictures."""
    counts = split.counts
    if how == "none":
        return np.ones(len(counts), np.float32)
    weights = len(split) / (len(counts) * np.maximum(1, counts))
    weights = np.sqrt(weights) if how == "sqrt" else weights
    return (weights * len(split) / (weights * counts).sum()).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- the chapter


def fit(model: models.Model, train: Split, val: Split, config: TrainConfig | None = None, *, folder=None,
        resume: bool = False, show: Show | None = None, about: dict | None = None,
        targets: np.ndarray | None = None) -> Run:
    """Train `model` on one split, validate on another after each epoch; the finished run.

    folder (a runs.Folder): where checkpoints, log and curves go; resume: go on with the run that lies there, if any.
    `about` goes into the model's meta: what it was trained on. targets (N,7) float32: what to learn in place of the
    labels, see data.Batches. Ctrl-C finishes the step, saves and raises
    KeyboardInterrupt."""
    show = show or Show()
    run = Run(model, train, val, config or TrainConfig(), about, targets)
    if folder and resume and folder.last.exists():
        run.restore(folder.last)
        folder.write_log(run.rows)
        show.say(f"resuming at epoch {run.epoch + 1}, step {run.step} of {run.steps}")
    if run.finished:
        return run
    rehearsal.warm_up(run, train_step)
    if run.epochs is None:
        rehearsal.plan_epochs(run, train_step, show)
    with Interrupt() as interrupt, show.running(run):
        while not run.finished:
            train_epoch(run, folder, show, interrupt)
            validate(run, folder)
            show.epoch(run)
            if folder:
                run.save(folder.last)
                write_papers(run, folder, show)
            if interrupt.asked:
                raise KeyboardInterrupt
    return run


def write_papers(run: Run, folder, show: Show) -> None:
    """The log and the curves, each written whole. Where somebody looks at one with a program that holds it, as
    spreadsheets on Windows do, the next epoch writes it; after the last it is an error."""
    for write in (folder.write_log, folder.refresh_curves):
        try:
            write(run.rows)
        except UserError as error:
            if run.finished:
                raise
            show.say(f"{error} Training goes on.")


def train_epoch(run: Run, folder, show: Show, interrupt: Interrupt) -> None:
    """The steps of an epoch from where the run stands to its end, with a save whenever one is due."""
    run.take_size()
    saved = tick = time.perf_counter()
    with contextlib.closing(run.batches.iterate(run.epoch, run.step)) as batches:  # type: ignore[type-var]
        while run.step < run.steps:
            x, y = next(batches)
            arrived = time.perf_counter()
            loss, correct = train_step(run, x, y)
            run.step += 1
            now = time.perf_counter()
            run.sums.loss += loss * len(y)
            run.sums.correct += correct
            run.sums.pictures += len(y)
            run.sums.seconds += now - tick
            run.sums.waiting += arrived - tick
            run.seconds += now - tick
            show.step(run)
            stop = interrupt.asked
            if folder and (stop or now - saved >= run.config.checkpoint_every):
                run.save(folder.last)
                saved = time.perf_counter()
                run.seconds += saved - now
            if stop:
                raise KeyboardInterrupt
            tick = time.perf_counter()


def train_step(run: Run, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """One step on x (B,h,w,1), y (B,) or (B,7): forward, loss, backward, update -> the loss and the number of right
    answers, each counted by its share of the target where that is divided."""
    model, config = run.model, run.config
    x, target = mixed(run, x, y)
    model.rng = generator(config.seed, "dropout", run.epoch, run.step)
    run.optimizer.lr = run.rate(run.global_step)
    logits = model.forward(x, train=True)
    loss, dlogits = ops.softmax_cross_entropy(logits, target, run.class_weight, config.label_smoothing)
    if not math.isfinite(loss):
        raise diverged(run, "the loss")
    model.backward(dlogits, input_gradient=False)
    run.optimizer.step()
    if run.ema:
        run.ema.update()
    answers = logits.argmax(axis=1)
    right = answers == target if target.ndim == 1 else target[np.arange(len(y)), answers]
    return float(loss), float(right.sum())


def mixed(run: Run, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (B,h,w,1), y (B,) or (B,7) -> x and targets; with mixup pairs of pictures are blended, and rows of targets.

    One share lambda ~ Beta(a, a) a batch (Zhang et al. 2018, arXiv:1710.09412)."""
    if run.config.mixup == 0:
        return x, y
    rows = np.eye(len(run.model.labels), dtype=np.float32)[y] if y.ndim == 1 else y
    if run.global_step >= MIXUP_UNTIL * run.total_steps:
        return x, rows
    rng = generator(run.config.seed, "mixup", run.epoch, run.step)
    share, partner = np.float32(rng.beta(run.config.mixup, run.config.mixup)), rng.permutation(len(y))
    return share * x + (1 - share) * x[partner], share * rows + (1 - share) * rows[partner]


def validate(run: Run, folder) -> None:
    """Close the epoch with its row of figures; keep the model as best where its validation accuracy is the highest.

    Validated is at the size that was trained at: a network answers other sizes far worse. So of a run that grows, the
    best is the best at its largest size."""
    start, size = time.perf_counter(), run.batches.preprocess.size
    with run.averaged():
        logits = evaluation.logits(run.model, run.val, size=size)
        scores = Scores.of(run.val.labels, logits.argmax(axis=1), run.model.labels)
        better = run.best is None or (size, scores.accuracy) > (run.best["size"], run.best["accuracy"])
        if better:
            run.best = {"epoch": run.epoch + 1, "size": size, "accuracy": scores.accuracy,
                        "confusion": scores.confusion.tolist()}
        run.model.meta = {**run.about, "epoch": run.epoch + 1, "val_accuracy": scores.accuracy, "val_size": size,
                          "seed": run.config.seed}
        if folder and better:
            models.save(run.model, folder.best)
        if folder and run.epoch + 1 == run.epochs:
            models.save(run.model, folder.final)
    sums = run.sums
    run.seconds += time.perf_counter() - start
    figures = (run.epoch + 1, run.global_step, run.seconds, run.rate(run.global_step - 1),
               sums.loss / sums.pictures, sums.correct / sums.pictures, cross_entropy(logits, run.val.labels),
               scores.accuracy, scores.macro_f1, sums.pictures / sums.seconds, sums.waiting / sums.seconds, size)
    if run.rows and size != run.rows[-1]["size"]:
        run.plateau = {**run.plateau, "best": -1.0, "waited": 0}  # another size's accuracies are no measure
    run.rows.append(dict(zip(COLUMNS, figures, strict=True)))
    follow_plateau(run, scores.accuracy)
    run.epoch, run.step, run.sums = run.epoch + 1, 0, Sums()


def follow_plateau(run: Run, accuracy: float, factor: float = 0.75, patience: int = 5) -> None:
    """For the schedule `plateau`: `factor` times the rate after `patience` epochs without a better validation."""
    state = run.plateau
    if run.config.schedule != "plateau":
        return
    if accuracy > state["best"]:
        run.plateau = {**state, "best": accuracy, "waited": 0}
    elif state["waited"] + 1 < patience:
        run.plateau = {**state, "waited": state["waited"] + 1}
    else:
        run.plateau = {**state, "factor": state["factor"] * factor, "waited": 0}


def diverged(run: Run, what: str) -> UserError:
    """What to say when a number is no longer one."""
    return UserError(f"{what} stopped being a finite number in epoch {run.epoch + 1} at step {run.step + 1} of "
                     f"{run.steps}: lower --lr (now {run.config.peak_lr:g}) or raise --warmup (now "
                     f"{run.config.warmup:g}); what was saved before is still there.")
