"""python -m tinyfer.bench: measure the engine beside PyTorch and ONNX Runtime; writes bench.json and two pictures."""

from __future__ import annotations

import difflib
import json
import pathlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from tinyfer import checkpoint, cli, runs
from tinyfer.bench import answers, arithmetic, facts, starts, steps
from tinyfer.bench.common import MINUTES, Bench, Show
from tinyfer.bench.table import KEYS, Report, markdown
from tinyfer.cli import option
from tinyfer.errors import UserError

PROG = "python -m tinyfer.bench"


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    out: str = option("bench.json", "where the figures go; the pictures lie beside it", metavar="FILE")
    quick: bool = option(False, "under a minute from a warm cache: only what needs no PyTorch")
    only: tuple[str, ...] = option((), "measure only these keys of the table, or sections such as ladder",
                                   metavar="KEY")
    update: bool = option(False, "with --only: keep what else stands in --out, from an earlier pass on this machine")
    threads: int | None = option(None, "processor threads of every runtime (default: all)", low=1)


@dataclass(frozen=True)
class Section:
    """A part of the pass: the keys it fills, about how many seconds it takes on two slow cores, whether --quick has
    it."""

    name: str
    what: str
    measure: Callable[[Bench], None]
    seconds: int
    keys: tuple[str, ...] = ()
    quick: bool = False


def _inference(model: str, batch: int, key: str | None = None) -> Callable[[Bench], None]:
    return lambda bench: answers.inference(bench, model, batch, key, rounds=9 if key else 5)


def _training(model: str, batch: int, key: str | None = None) -> Callable[[Bench], None]:
    return lambda bench: steps.training(bench, model, batch, key, rounds=7 if key else 3)


SECTIONS = (  # the README's table first: what is left out when the time is up comes last
    Section("limits", "the machine's limits: multiply-adds and memory", arithmetic.limits, 15),
    Section("start", "from nothing to the first training step", starts.starts, 90, ("cold_start_s", "warm_start_s"),
            True),
    Section("data", "the training loop's wait for data", starts.data_share, 40, ("data_share_of_step",), True),
    Section("augmentation", "augmentation", arithmetic.augmentation, 6, (), True),
    Section("vgg-128", "training step, vgg, batch 128", steps.flagship, 320,
            ("train_b128_vs_torch_fp32", "train_b128_f2_vs_torch_fp32", "train_b128_vs_torch_bf16",
             "step_over_fma_peak"), True),
    Section("vgg-infer-1", "inference, vgg, batch 1", _inference("vgg", 1, "infer_b1_vgg_vs_onnxruntime"), 50,
            ("infer_b1_vgg_vs_onnxruntime",), True),
    Section("lite-infer-1", "inference, lite, batch 1", _inference("lite", 1, "infer_b1_lite_vs_onnxruntime"), 50,
            ("infer_b1_lite_vs_onnxruntime",), True),
    Section("lite-128", "training step, lite, batch 128", _training("lite", 128, "train_lite_vs_torch_fp32"), 120,
            ("train_lite_vs_torch_fp32",)),
    Section("cnn4-128", "training step, cnn4, batch 128", _training("cnn4", 128, "train_cnn4_vs_torch_fp32"), 180,
            ("train_cnn4_vs_torch_fp32",)),
    Section("avx2-128", "training step, vgg, batch 128, both held to AVX2", steps.avx2, 200,
            ("train_b128_avx2_vs_torch_avx2",)),
    Section("live", "the webcam's way from frames to what is shown", answers.live, 15),
    Section("memory", "peak memory of a step", starts.memory, 80, ("peak_memory_vs_torch",)),
    Section("ops", "every op and pass", arithmetic.ops, 100),
    Section("ladder", "the ladder from loops to Winograd", arithmetic.ladder, 90),
    Section("same-bits", "what the same bits on any number of threads cost", starts.ordering, 15),
    Section("threads", "training by threads", starts.scaling, 40),
    Section("vgg-64", "training step, vgg, batch 64", _training("vgg", 64), 120),
    Section("vgg-infer-8", "inference, vgg, batch 8", _inference("vgg", 8), 40),
    Section("lite-infer-8", "inference, lite, batch 8", _inference("lite", 8), 40),
)


def run(options: Options) -> int:
    """Measure, print the table, write bench.json and the pictures."""
    chosen = choose(options.only)
    if options.quick and not any(section.quick for section in chosen):
        raise UserError(f"--only {options.only[0]}: --quick leaves that out; take one of the two away.")
    threads = options.threads or facts.cores()
    if threads > facts.cores():
        raise UserError(f"--threads {threads}: this machine offers 1 to {facts.cores()}.")
    out = runs.Folder(pathlib.Path(options.out).absolute().parent)
    out.create()
    show, report = Show(), Report(facts.machine(threads))
    if options.update:
        report.take_over(earlier(options.out, report.machine))
    show.say(introduction(report.machine))
    warn_if_busy(report, show)
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(Bench(report, threads, options.quick, show, folder), chosen, pathlib.Path(options.out))
    finally:
        show.close()
        write(report, pathlib.Path(options.out))
    told = report.as_dict()
    print("\n" + markdown(told))
    for warning in report.warnings:
        print(f"\nwarning: {warning}")
    print("\n" + ", ".join([options.out, *draw(told, pathlib.Path(options.out))]))
    return 0


def earlier(path: str, machine: dict) -> dict:
    """The bench.json of an earlier pass; UserError where there is none, or one of another machine or other versions."""
    told = read(path)
    for name in machine.keys() - {"load_at_start"}:
        if told["machine"].get(name) != machine[name]:
            raise UserError(f"--update {path}: it was measured with {name} {told['machine'].get(name)}, now that is "
                            f"{machine[name]}; take a whole pass.")
    return told


def read(path: str) -> dict:
    """A bench.json."""
    try:
        told = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: it cannot be read as JSON ({error}).") from error
    if not isinstance(told, dict) or not {"machine", "ratios", "spread", "warnings", "rows"} <= told.keys():
        raise UserError(f"{path}: expected a file that `python -m tinyfer.bench` has written.")
    return told


def choose(only: tuple[str, ...]) -> list[Section]:
    """The sections that hold these keys, or have these names; all of them where none is named."""
    names = [*KEYS, *(section.name for section in SECTIONS)]
    for word in only:
        if word not in names:
            near = difflib.get_close_matches(word, names, n=1)
            raise UserError(f"--only {word}: expected keys of the table or sections, "
                            + (f"did you mean {near[0]}?" if near else f"such as {', '.join(names[:3])}."))
    return [section for section in SECTIONS if not only or section.name in only or set(section.keys) & set(only)]


def introduction(machine: dict) -> str:
    """What is measured on what."""
    versions = ", ".join(f"{name} {number or '(not installed)'}" for name, number in machine["versions"].items())
    return (f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, vectors of "
            f"{machine['vector_bits']} bits\n{versions}\n")


def warn_if_busy(report: Report, show: Show) -> None:
    """Say so at once where the machine has other work."""
    load = report.machine["load_at_start"]
    if load is not None and load > facts.BUSY:
        report.warnings.append(f"other programs used {100 * load:.0f} % of the processor before we began: these "
                               f"figures cannot be right; measure again on a quiet machine.")
        show.say(f"warning: {report.warnings[-1]}\n")


def measure(bench: Bench, chosen: list[Section], out: pathlib.Path) -> None:
    """Section after section, each with its share of the time that is left; bench.json is written after each."""
    end = time.perf_counter() + 60 * MINUTES
    todo = [section for section in chosen if section.quick or not bench.quick]
    for section in SECTIONS:
        for key in section.keys:
            if section not in chosen:
                bench.report.miss(key, "left out by --only")
            elif section not in todo:
                bench.report.miss(key, "left out by --quick")
    for number, section in enumerate(todo):
        left = end - time.perf_counter()
        if left < section.seconds / 4:
            for key in section.keys:
                bench.report.miss(key, f"the {MINUTES:.0f} minutes of a pass were up")
            bench.report.row(section.name, section.what, "all", reason=f"the {MINUTES:.0f} minutes of a pass were up")
            continue
        share = section.seconds / sum(each.seconds for each in todo[number:])
        bench.until = time.perf_counter() + left * share
        bench.show.section(number + 1, len(todo), section.what)
        section.measure(bench)
        write(bench.report, out)
    for key in KEYS:
        bench.report.reasons.setdefault(key, "left out by --quick" if bench.quick else "not measured: see rows")


def write(report: Report, out: pathlib.Path) -> None:
    """bench.json, whole or not at all."""
    text = json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n"
    checkpoint.write_atomically(out, lambda file: file.write(text.encode()))


def draw(told: dict, out: pathlib.Path) -> list[str]:
    """The pictures of what was measured, beside bench.json: their paths."""
    from tinyfer.bench import pictures
    from tinyfer.plots import png

    paths = []
    for name, figure in (("ladder", pictures.ladder(told)), ("roofline", pictures.roofline(told))):
        if figure is not None:
            path = out.with_name(f"{out.stem}-{name}.png")
            checkpoint.write_atomically(path, lambda file, figure=figure: file.write(png(figure, 150)))
            paths.append(str(path))
    return paths


if __name__ == "__main__":
    cli.main(Options, run, prog=PROG, description=__doc__.partition(": ")[2])
