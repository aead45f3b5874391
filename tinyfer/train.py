"""python -m tinyfer.train: train a network, on drawn faces unless --data names real ones."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import pathlib
import time
from dataclasses import dataclass

import numpy as np

from tinyfer import ahead, cli, data, evaluation, machine, models, ops, rehearsal, runs, sources, training
from tinyfer.bench import facts
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.metrics import softmax
from tinyfer.progress import Live, duration
from tinyfer.seeds import generator

PROG = "python -m tinyfer.train"
TOY_NOTE = "for drawn faces only"


@dataclass(frozen=True)
class Options(training.TrainConfig):
    """The flags of this program: what to train on what, where to put it, and all of TrainConfig."""

    data: str = option(sources.TOY, "FER-2013 as csv, npz or folder; or toyfaces, or toyfaces:N", metavar="PATH",
                       group="data and model")
    limit: int | None = option(None, "use only N pictures of each split, always the same ones", low=1,
                               group="data and model")
    model: str = option("lite", "the network", choices=models.NAMES, group="data and model")
    size: int | None = option(None, "side of the pictures in pixels (default: the model's own, 48)", low=1, high=512,
                              group="data and model")
    crop: int | None = option(None, "train on random crops of this side, and use the centre", low=1, high=512,
                              group="data and model")
    width: float | None = option(None, "number of channels, as a multiple of the model's own", above=0, high=8,
                                 group="data and model")
    head: str | None = option(None, "vgg's last layers: two hidden layers of 512, the published ones of 4096, or an "
                              "average", choices=("compact", "fc3", "average"), group="data and model")
    dropout: float | None = option(None, "dropout before the last layer (default: the model's own)", low=0, high=0.95,
                                   group="data and model")
    stage_dropout: float | None = option(None, "dropout after each stage of vgg and lite (default: none)", low=0,
                                         high=0.95, group="data and model")
    weights: str | None = option(None, "begin with the weights of this model instead of random ones: a shipped one, a "
                                 "file, or the folder of a run", metavar="MODEL", group="data and model")
    teacher: str | None = option(None, "soften the labels by this model's answers to the training pictures "
                                 "(distillation)", metavar="MODEL", group="data and model")
    teacher_share: float = option(0.5, "how much of each target is the teacher's answer, the rest the label", above=0,
                                  high=1, group="data and model")
    use: str | None = option(None, "train with the kernels in a Python file of yours", metavar="FILE", group="run")
    threads: int | None = option(None, "processor threads (default: all the fast ones); the result does not depend on "
                                 "it", low=1, group="run")
    resume: bool = option(False, "go on with the run in --out; begin it where there is none", group="run")
    out: str | None = option(None, "folder of the run (default: runs/MODEL-N)", metavar="FOLDER", group="run")


def run(options: Options, given: frozenset[str]) -> int:
    """Train as the options say; 0, or 130 through KeyboardInterrupt."""
    machine.tell_of_compiling()
    options, folder = _settled(options, given)
    machine.set_threads(options.threads)
    model = build(options)
    lineage = []
    if options.weights and not folder.last.exists():  # a run that goes on has weights of its own
        lineage = begin_with(model, options.weights)
    if options.use is None:
        ahead.start(options.model, model.preprocess.crop or model.preprocess.size, _choices(options))
    dataset = _dataset(options)
    targets = None
    if options.teacher:
        targets, taught = softened(dataset.train, options)
        lineage = lineage + taught
    kernels = _kernels(options)
    print(dataset.info.text)
    print(f"trains on {_named(dataset.train)}, validates on {_named(dataset.val)}; {_left_alone(dataset.test)}")
    with ops.using(**kernels):  # they decide which way each block goes
        print(f"{model}\n")
    print(_plan(options, folder), flush=True)
    if not folder.last.exists():
        folder.write_text(folder.config, cli.to_toml(dataclasses.replace(options, resume=False, out=None)))
    finished = _fit(model, dataset, options, folder, kernels, lineage, targets)
    finish(finished, dataset, options, folder)
    return 0


def _settled(options: Options, given: frozenset[str]) -> tuple[Options, runs.Folder]:
    """The options and the run's folder; a run that is resumed keeps what it was begun with, but for what is given."""
    if options.out is None:
        if options.resume:
            raise UserError("--resume: name the folder of the run to go on with, such as --out runs/lite-1.")
        return options, runs.fresh(options.model)
    folder = runs.Folder(options.out)
    folder.create()
    if not options.resume:
        if folder.last.exists():
            raise UserError(f"--out {folder.path}: there is a run in it already; add --resume to go on with it, or "
                            f"choose another folder.")
        return options, folder
    stored = cli.read_config(Options, folder.config) if folder.config.exists() else {}
    if folder.last.exists() and "weights" in given and options.weights != stored.get("weights"):
        raise UserError(f"--weights {options.weights}: the run in {folder.path} has weights of its own by now; leave "
                        f"--weights out to go on with it, or begin anew with another --out.")
    return cli.from_values(Options, stored | {name: getattr(options, name) for name in given}), folder


def _dataset(options: Options) -> data.Dataset:
    """The data; where it has no validation pictures, a tenth of the training pictures is held out for that."""
    loaded = sources.load(options.data, options.limit)
    if len(loaded.train) == 0:
        raise UserError(f"--data {options.data}: it has no training pictures.")
    if len(loaded.val) == 0:
        train, val = data.hold_out(loaded.train)
        if len(val) == 0:
            raise UserError(f"--data {options.data}: there is no validation split, and of {len(train):,} training "
                            f"pictures none can be held out for it; expected two or more of some expression.")
        print(f"there is no validation split: {len(val):,} pictures of {loaded.train.name} are held out for it")
        loaded = data.Dataset(train, val, loaded.test, loaded.info)
    return loaded


def build(options: Options) -> models.Model:
    """A fresh model as the options describe it, its preprocessing included."""
    takes = inspect.signature(getattr(models, options.model)).parameters
    wanted = _choices(options)
    for name in wanted:
        if name not in takes:
            raise UserError(f"--{name.replace('_', '-')}: {options.model} has no such choice; it is for "
                            f"{', '.join(other for other in models.NAMES if _takes(other, name))}.")
    size = options.size or takes["size"].default
    if options.crop is not None and options.crop > size:
        raise UserError(f"--crop {options.crop}: the pictures are {size}x{size}; give {size} or less.")
    model = models.build(options.model, generator(options.seed, "weights"), size=options.crop or size, **wanted)
    model.preprocess = dataclasses.replace(model.preprocess, size=size, crop=options.crop)
    return model


def begin_with(model: models.Model, name: str) -> list[dict]:
    """Give a fresh model the weights and statistics of another -> what that one and those before it were trained on."""
    donor = _other("--weights", name)
    try:
        model.load_state(donor.state())
    except UserError as error:
        there, here = ({"model": one.name} | one.options for one in (donor, model))
        flags = [f"--{key} {there[key]}" for key in ("model", "size", "width", "head")
                 if key in there and there[key] != here.get(key)]
        raise UserError(f"--weights {name}: it is {donor!r}, and these options make {model!r}; "
                        f"add {' '.join(flags)}." if flags else f"--weights {name}: {error}") from None
    return origins(donor)


def _other(flag: str, name) -> models.Model:
    """Another model that a flag names, one of our seven expressions."""
    other = models.load(name)
    if other.labels != tuple(data.LABELS):
        raise UserError(f"{flag} {name}: it names {', '.join(other.labels)}, expected {', '.join(data.LABELS)}.")
    return other


def softened(split: data.Split, options: Options) -> tuple[np.ndarray, list[dict]]:
    """Targets float32 (N,7) between a split's labels and the answers of a teacher, which sees each picture and its
    mirror image (Hinton et al. 2015, arXiv:1503.02531) -> and what the teacher was trained on."""
    teacher, share = _other("--teacher", options.teacher), np.float32(options.teacher_share)
    print(f"{teacher.title} answers the {len(split):,} training pictures first", flush=True)
    chances = softmax(evaluation.logits(teacher, split, flip=True), teacher.meta.get("temperature", 1.0))
    labels = np.eye(len(data.LABELS), dtype=np.float32)[split.labels]
    return (1 - share) * labels + share * chances.astype(np.float32), origins(teacher)


def origins(model: models.Model) -> list[dict]:
    """What a model, and those that it began with or learned from, were trained on."""
    return [*model.meta.get("lineage", []), {"model": model.title, "trained_on": model.meta.get("trained_on", "?"),
                                             "parameters": fingerprint(model)}]


def fingerprint(model: models.Model) -> str:
    """A checksum of a model's parameters: which weights these are, whatever file they came in."""
    return hashlib.sha256(model.params.value.tobytes()).hexdigest()


def _choices(options: Options) -> dict:
    """What the options say about the model beside its name and size."""
    wanted = {name: getattr(options, name) for name in ("width", "head", "dropout", "stage_dropout")}
    return {name: value for name, value in wanted.items() if value is not None}


def _takes(model: str, option: str) -> bool:
    return option in inspect.signature(getattr(models, model)).parameters


def _kernels(options: Options) -> dict:
    """The user's own kernels, checked; none without --use."""
    if options.use is None:
        return {}
    from tinyfer import userkernels

    return userkernels.announced(options.use)


def _fit(model, dataset, options: Options, folder: runs.Folder, kernels: dict, lineage: list[dict],
         targets) -> training.Run:
    about = {"data": sources.TOY if dataset.info.toy else pathlib.Path(options.data).name, "toy": dataset.info.toy,
             "note": TOY_NOTE if dataset.info.toy else "", "trained_on": _named(dataset.train),
             "validated_on": _named(dataset.val), "processor": facts.processor(),
             "cores": facts.cores()} | ({"lineage": lineage} if lineage else {})
    if options.use:
        about["kernels"] = hashlib.sha256(pathlib.Path(options.use).read_bytes()).hexdigest()
    config = training.TrainConfig(**{field.name: getattr(options, field.name)
                                     for field in dataclasses.fields(training.TrainConfig)})
    if kernels:
        _say_estimate(training.Run(model, dataset.train, dataset.val, config), kernels)
    show = Started()
    try:
        with ops.using(**kernels):
            return training.fit(model, dataset.train, dataset.val, config, folder=folder, resume=options.resume,
                                show=show, about=about, targets=targets)
    except KeyboardInterrupt:
        if folder.last.exists():
            show.say(f"\nstopped and saved; go on with: {PROG} --resume --out {folder.path}")
        raise


def _say_estimate(run: training.Run, kernels) -> None:
    """How long an epoch will take with a student's kernels, before it starts."""
    from tinyfer import userkernels

    x, y = run.batches.batch(0, 0)
    n = min(len(y), 32)
    with rehearsal.undone(run):
        seconds = userkernels.estimate(kernels, lambda: training.train_step(run, x[:n], y[:n]), n,
                                       run.steps * run.config.batch_size)
    print(f"with {', '.join(kernels)} of yours an epoch takes about {duration(seconds)}", flush=True)


class Started(Live):
    """A live display that also says how long one waited for the first step."""

    waiting = True

    def step(self, run) -> None:
        if self.waiting:
            self.say(f"first step {time.perf_counter() - cli.BEGUN:.1f} s after the start")
            self.waiting = False
        super().step(run)


# ------------------------------------------------------------------------------------------------------------- in words


def _named(split: data.Split) -> str:
    return f"{split.name} ({len(split):,} pictures)"


def _left_alone(test: data.Split) -> str:
    if len(test) == 0:
        return "there is no test split"
    return (f"{test.name} ({len(test):,}) is left alone, only `python -m tinyfer.evaluate --model ... --split private` "
            "reads it")


def _plan(options: Options, folder: runs.Folder) -> str:
    length = f"{options.epochs} epochs" if options.epochs else f"{training.EPOCHS} epochs"
    if options.minutes:
        length = f"{options.minutes:g} minutes" + (f", at most {length}" if options.epochs else "")
    return (f"{folder.path}: {length}, {options.optimizer} with rate {options.peak_lr:g} ({options.schedule}), "
            f"batches of {options.batch_size}, {machine.threads()} threads, seed {options.seed}")


def finish(finished: training.Run, dataset: data.Dataset, options: Options, folder: runs.Folder) -> None:
    """Confusion matrix, last curves and report; then the line that says where they are and what to do next."""
    from tinyfer import report

    folder.write_log(finished.rows)
    report.write_all(folder, finished, dataset, options)
    best = finished.best
    assert best is not None  # a finished run has been validated
    where = f"best validation accuracy {100 * best['accuracy']:.1f} % in epoch {best['epoch']}"
    if dataset.info.toy:
        where += f" ({TOY_NOTE})"
    print(f"{where}; {duration(finished.seconds)} of training")
    print(f"curves.png, confusion.png and report.html lie in {folder.path}; next: python -m tinyfer.predict PICTURE "
          f"--model {folder.best}", flush=True)


if __name__ == "__main__":
    cli.main(Options, run, prog=PROG, description=__doc__.partition(": ")[2])
