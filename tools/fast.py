"""docs/how-it-is-fast.md: measure its ten steps, then write docs/fast.json, the figures in the text, and the pictures.

    python -m tools.fast                      measure (about 2 minutes on a quiet machine), then write all
    python -m tools.fast --bench bench.json   the same from a pass of `python -m tinyfer.bench` that is there already;
                                              README.md then shows its table and pictures
    python -m tools.fast --draw               write text and pictures anew from docs/fast.json

The text holds its figures between <!-- figures: NAME --> and <!-- end -->; what stands there is written here. Whatever
else it says must be true on any machine."""

from __future__ import annotations

import json
import pathlib
import re
import tempfile
from dataclasses import dataclass

import numpy as np

from tinyfer import checkpoint, cli
from tinyfer.bench import __main__ as bench
from tinyfer.bench import arithmetic, common, facts, loops, pictures
from tinyfer.bench.pictures import limit
from tinyfer.bench.table import Report, markdown
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.kernels import simd
from tinyfer.plots import svg
from tools import fast_pictures
from tools.fast_pictures import number

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
README, BENCH = DOCS.parent / "README.md", DOCS / "bench.json"  # and its pictures, in docs/images
TEXT, FIGURES, IMAGES = DOCS / "how-it-is-fast.md", DOCS / "fast.json", DOCS / "images" / "fast"
WAYS = [way for way in arithmetic.LADDER if way != "apart"]  # in the order of the ten steps
USUAL = (0, 1, -1, 2, -2)  # interpolation points of F(4, 3) as most use them


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    bench: str | None = option(None, "take the figures from this bench.json", metavar="FILE")
    draw: bool = option(False, "measure nothing: write from docs/fast.json")
    threads: int | None = option(None, "processor threads (default: all)", low=1)


def run(options: Options) -> int:
    """Get the figures, print them, write everything that is made of them."""
    if options.draw and options.bench:
        raise UserError("--draw takes the figures from docs/fast.json, --bench from another file: give one of the two.")
    if options.draw:
        told = json.loads(FIGURES.read_text(encoding="utf-8"))
    else:
        whole = bench.read(options.bench) if options.bench else measure(options.threads or facts.cores())
        told = chosen(whole)
        write(FIGURES, json.dumps(told, indent=1, allow_nan=False) + "\n")
    blocks = figures(told)
    print("\n".join(["", blocks["machine"], "", blocks["table"]]))
    for warning in told["warnings"]:
        print(f"\nwarning: {warning}")
    write(TEXT, filled(TEXT.read_text(encoding="utf-8"), blocks))
    for name, figure in drawings(told).items():
        write(IMAGES / f"{name}.svg", svg(figure).decode())
    if options.bench:
        show_in_readme(whole)
    return 0


def show_in_readme(whole: dict) -> None:
    """The pass of the bench kept as docs/bench.json, its table in README.md, its pictures beside the others."""
    write(BENCH, json.dumps(whole, indent=1, allow_nan=False) + "\n")
    write(README, filled(README.read_text(encoding="utf-8"), {"bench": markdown(whole)}, ("results",)))
    for name, figure in (("bench-ladder", pictures.ladder(whole)), ("bench-roofline", pictures.roofline(whole))):
        if figure is not None:
            write(BENCH.parent / "images" / f"{name}.svg", svg(figure).decode())


def write(path: pathlib.Path, text: str) -> None:
    """A whole text file, or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_atomically(path, lambda file: file.write(text.encode()))


# ---------------------------------------------------------------------------------------------------------- measuring


def measure(threads: int) -> dict:
    """The rows of the bench's sections `limits` and `ladder`, as in bench.json."""
    show, report = common.Show(), Report(facts.machine(threads))
    show.say(bench.introduction(report.machine))
    bench.warn_if_busy(report, show)
    try:
        with tempfile.TemporaryDirectory() as folder:
            one = common.Bench(report, threads, False, show, folder)
            for place, section in enumerate((arithmetic.limits, arithmetic.ladder)):
                show.section(place + 1, 2, ("the machine's limits", "ten steps, in turn")[place])
                section(one)
    finally:
        show.close()
    return report.as_dict()


def chosen(told: dict) -> dict:
    """docs/fast.json from a bench.json: the machine, its limits, and by step the rate and its quartiles (GFLOP/s), ms
    for the layer, and the error (root mean square, relative)."""
    peak, bandwidth = limit(told, "multiply-adds", "gflops"), limit(told, "triad", "gb_per_s")
    rows = {row["peer"]: row for row in told["rows"] if row["section"] == "ladder" and "gflops" in row}
    missing = [name for name in arithmetic.LADDER.values() if name not in rows]
    if missing or peak is None or bandwidth is None:
        reasons = [f"{row['peer']}: {row['reason']}" for row in told["rows"]
                   if row["section"] == "ladder" and row["peer"] in missing and "reason" in row]
        raise UserError(f"the figures lack {', '.join(missing) or 'the limits of the machine'}"
                        f"{' (' + '; '.join(reasons) + ')' if reasons else ''}: all ten steps and the section limits "
                        "are needed.")
    steps = {way: _step(rows[name]) for way, name in arithmetic.LADDER.items()}
    torch = rows.get(arithmetic.TORCH_RUNG)
    version = told["machine"]["versions"].get("torch")
    return {"machine": told["machine"], "warnings": told["warnings"], "layer": next(iter(rows.values()))["what"],
            "peak": peak, "bandwidth": bandwidth, "steps": steps, "rounding": rounding(),
            "torch": {**_step(torch), "version": version} if torch else None}


def _step(row: dict) -> dict:
    rate = row["gflops"]
    return {"gflops": rate["median"], "q1": rate["q1"], "q3": rate["q3"], "ms": 1e3 * row["s"],
            "extrapolated": row["extrapolated"], "rms_error": row.get("rms_error")}


def rounding(tiles: int = 200, channels: int = 64) -> dict[str, float]:
    """Error of Winograd's schemes in float32 over that of direct convolution, both root mean square, on 3x3 kernels."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((tiles, 6, 6, channels), np.float32), 0)
    w = rng.standard_normal((3, 3, channels, 1), np.float32) / np.float32(24)

    def error(m: int, answer: np.ndarray) -> float:
        inner = x[:, : m + 2, : m + 2].astype(np.float64)
        right = loops.with_numpy(inner, w.astype(np.float64))[:, 1:-1, 1:-1, 0]
        return float(np.sqrt(np.mean((answer - right) ** 2)))

    direct = np.zeros((tiles, 4, 4), np.float32)
    for c in range(channels):
        for i in range(3):
            for j in range(3):
                direct += x[:, i : i + 4, j : j + 4, c] * w[i, j, c]
    usual, base = error(4, _scheme(x, w, 4, USUAL)), error(4, direct)
    return {"F(2, 3)": error(2, _scheme(x, w, 2)) / base, "usual": usual / base,
            "F(4, 3)": error(4, _scheme(x, w, 4)) / base}


def _scheme(x: np.ndarray, w: np.ndarray, m: int, points: tuple = ()) -> np.ndarray:
    """A^T [sum over channels of (G w G^T) * (B^T x B)] A in float32, channel after channel."""
    at, g, bt = (matrix.astype(np.float32) for matrix in simd.winograd_matrices(m, 3, points))
    total = np.zeros((len(x), m + 2, m + 2), np.float32)
    for c in range(x.shape[3]):
        total += (g @ w[:, :, c, 0] @ g.T) * (bt @ x[:, : m + 2, : m + 2, c] @ bt.T)
    return at @ total @ at.T


# --------------------------------------------------------------------------------------------------- text and pictures


def figures(told: dict) -> dict[str, str]:
    """What stands between the markers of the text, by name."""
    blocks = {"machine": _machine(told), "table": _table(told), "rounding": _rounding(told), "end": _end(told)}
    steps = told["steps"]
    first = steps["loops"]["gflops"]
    for place, way in enumerate(WAYS):
        step = steps[way]
        parts = [f"**{number(step['gflops'])} GFLOP/s**", f"{_milliseconds(step['ms'])} for the layer"]
        if way == "loops":
            parts[1] += " (extrapolated from a smaller one)"
        elif way == "fused":
            parts.append(f"one after the other: {number(steps['apart']['gflops'])} GFLOP/s")
            parts.append(f"{_times(step['gflops'] / steps['apart']['gflops'])} that")
        else:
            parts.append(f"{_times(step['gflops'] / steps[WAYS[place - 1]]['gflops'])} step {place}")
        if place > 1:
            parts.append(f"{_times(step['gflops'] / first)} step 1")
        blocks[str(place + 1)] = " · ".join(parts)
    return blocks


def _times(ratio: float) -> str:
    return f"{float(f'{ratio:.2g}'):,g} times" if ratio >= 20 or ratio < 0.95 else f"{ratio:.1f} times"


def _milliseconds(ms: float) -> str:
    return f"{ms / 60e3:.0f} minutes" if ms >= 120e3 else f"{ms / 1e3:.1f} s" if ms >= 1e3 else f"{number(ms)} ms"


def _machine(told: dict) -> str:
    machine = told["machine"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("python", "numpy", "numba"))
    return (f"Measured on {machine['processor']}, {machine['threads']} threads, vectors of {machine['vector_bits']} "
            f"bits ({versions}): {told['layer']}. Medians of rounds in which all steps take turns, each in a process "
            f"of its own. The processor's multiply-add units were seen to do {number(told['peak'])} GFLOP/s, its "
            f"memory {number(told['bandwidth'])} GB/s."
            + (" **Other programs were at work meanwhile: these figures are doubtful.**" if told["warnings"] else ""))


def _table(told: dict) -> str:
    steps, lines = told["steps"], ["| step | GFLOP/s | of the peak | quartiles |", "|---|---:|---:|---|"]
    for way, name in arithmetic.LADDER.items():
        step = steps[way]
        share = f"{100 * step['gflops'] / told['peak']:.2g} %" if step["gflops"] < told["peak"] else \
            f"{100 * step['gflops'] / told['peak']:.0f} %"
        rate = number(step["gflops"])
        lines.append(f"| {name} | {rate if way == 'apart' else f'**{rate}**'} | {share} | "
                     f"{number(step['q1'])} to {number(step['q3'])} |")
    return "\n".join(lines)


def _rounding(told: dict) -> str:
    errors, steps = told["rounding"], told["steps"]
    return (f"Error of one convolution, root mean square, over that of direct convolution: F(2, 3) "
            f"{errors['F(2, 3)']:.2f}, F(4, 3) with the usual points {errors['usual']:.1f}, with ours "
            f"**{errors['F(4, 3)']:.1f}**. On the layer: {_power(steps['winograd']['rms_error'])} of the result's "
            f"size, step 7 {_power(steps['direct']['rms_error'])}.")


def _power(value: float) -> str:
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} · 10<sup>{int(power)}</sup>"


def _end(told: dict) -> str:
    steps, torch = told["steps"], told["torch"]
    best, direct = steps["engine"]["gflops"], steps["direct"]["gflops"]
    text = (f"On this machine step 7 reaches {100 * direct / told['peak']:.0f} % of the peak, the most a direct "
            f"convolution could have; step 10 stands at {100 * best / told['peak']:.0f} %, of the 400 % that F(4, 3) "
            f"could have if transforms, batch norm and memory took no time.")
    if torch:
        text += (f" PyTorch {torch['version']}, channels last, does the bare convolution, without batch norm and ReLU, "
                 f"at {number(torch['gflops'])} GFLOP/s.")
    return text


def filled(text: str, blocks: dict[str, str], others: tuple[str, ...] = ()) -> str:
    """The text with each block between its markers; a block without markers is refused, and so are markers without a
    block, but for those of `others`, which stay as they are."""
    pattern = re.compile(r"(<!-- figures: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    names = [match[2] for match in pattern.finditer(text) if match[2] not in others]
    if sorted(names) != sorted(blocks):
        odd = sorted(set(names) ^ set(blocks)) or sorted(name for name in names if names.count(name) > 1)
        raise UserError(f"{TEXT.name}: expected the markers of {', '.join(blocks)} once each; look for {odd[0]}.")
    return pattern.sub(lambda match: match[0] if match[2] in others else f"{match[1]}{blocks[match[2]]}\n{match[4]}",
                       text)


def drawings(told: dict) -> dict:
    """Every picture by the name of its file."""
    ladder = fast_pictures.ladder(told["steps"], arithmetic.LADDER, told["peak"])
    return {"ladder": ladder, **{name: draw() for name, draw in fast_pictures.DRAWINGS.items()}}


if __name__ == "__main__":
    cli.main(Options, run, prog="python -m tools.fast",
             description="Measure the ten steps of docs/how-it-is-fast.md and write its figures and pictures.")
