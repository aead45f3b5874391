"""The table of the README: thirteen figures, each with what it must be at least, and in which direction it is good."""

from __future__ import annotations

from dataclasses import dataclass

from tinyfer.bench.turns import spread


@dataclass(frozen=True)
class Figure:
    """A key of `ratios`: what it says, the bound it must keep and the one it aims at (None: only reported).

    more: larger is better; unit: "x" times as fast, "" a plain ratio, "s" seconds, "%" a share shown in per cent."""

    key: str
    what: str
    least: float | None
    aim: float | None
    more: bool = True
    unit: str = "x"

    def told(self, value: float | None) -> str:
        """A value of this figure as people read it."""
        if value is None:
            return "–"
        if self.unit == "%":
            return f"{100 * value:.1f} %"
        return f"{value:.1f} s" if self.unit == "s" else f"{value:.2f}{'×' if self.unit == 'x' else ''}"

    def bound(self, value: float | None) -> str:
        """A bound as people read it: at least, or at most."""
        return "" if value is None else ("≥ " if self.more else "≤ ") + self.told(value)

    def kept(self, value: float) -> bool:
        """True where the value keeps the bound."""
        return self.least is None or (value >= self.least if self.more else value <= self.least)


FIGURES = (
    Figure("train_b128_vs_torch_fp32", "training step, vgg 48x48, batch 128, against PyTorch's best in float32",
           2.1, 2.7),
    Figure("train_b128_f2_vs_torch_fp32", "the same with F(2x2) everywhere", None, 1.6),
    Figure("train_b128_vs_torch_bf16", "against PyTorch under bfloat16 autocast", 1.1, 1.5),
    Figure("train_b128_avx2_vs_torch_avx2", "both held to AVX2", 1.3, 2.2),
    Figure("step_over_fma_peak", "direct-equivalent FLOP/s of the step over the measured multiply-add peak", 1.6, 2.2,
           unit=""),
    Figure("infer_b1_vgg_vs_onnxruntime", "inference, vgg, batch 1, against ONNX Runtime", 1.2, 1.6),
    Figure("infer_b1_lite_vs_onnxruntime", "inference, lite, batch 1, against ONNX Runtime", 1.1, 1.6),
    Figure("train_cnn4_vs_torch_fp32", "training step, cnn4, batch 128, against PyTorch's best in float32", 1.4, 2.2),
    Figure("train_lite_vs_torch_fp32", "training step, lite, batch 128, against PyTorch's best in float32", 1.5, 2.5),
    Figure("peak_memory_vs_torch", "peak memory of a step, vgg, batch 128, over PyTorch's", 1.0, 0.7, more=False,
           unit=""),
    Figure("cold_start_s", "empty cache to the end of the first training step", 40, 15, more=False, unit="s"),
    Figure("warm_start_s", "warm start to the end of the first training step", 4, 2, more=False, unit="s"),
    Figure("data_share_of_step", "augmentation and batching not hidden behind the step", 0.05, 0.02, more=False,
           unit="%"),
)
KEYS = tuple(figure.key for figure in FIGURES)


class Report:
    """What bench.json holds, filled bit by bit: every key is there from the start, null until it is measured."""

    def __init__(self, machine: dict):
        self.machine = machine
        self.ratios: dict[str, float | None] = dict.fromkeys(KEYS)
        self.reasons: dict[str, str] = {}
        self.spread: dict[str, dict] = {}
        self.rows: list[dict] = []
        self.warnings: list[str] = []

    def take_over(self, told: dict) -> None:
        """Begin with what stands in the bench.json of an earlier pass; what is measured now replaces it."""
        self.ratios |= told["ratios"]
        self.spread, self.rows, self.warnings = dict(told["spread"]), list(told["rows"]), list(told["warnings"])

    def set(self, key: str, values: list[float]) -> None:
        """A figure from its values in each round: the median counts, the spread is kept."""
        self.spread[key] = spread(values)
        self.ratios[key] = self.spread[key]["median"]
        self.reasons.pop(key, None)

    def miss(self, key: str, reason: str) -> None:
        """Why a figure is null."""
        if self.ratios[key] is None:
            self.reasons[key] = reason

    def row(self, section: str, what: str, peer: str, **figures) -> None:
        """One measured line: figures are numbers with their unit in the name, or reason where there are none."""
        line = {"section": section, "what": what, "peer": peer}
        self.rows = [row for row in self.rows if not line.items() <= row.items()] + [line | figures]

    def as_dict(self) -> dict:
        """bench.json."""
        reasons = {key: self.reasons.get(key, "not measured yet") for key in KEYS if self.ratios[key] is None}
        return {"machine": self.machine, "ratios": self.ratios, "reasons": reasons, "spread": self.spread,
                "warnings": self.warnings, "rows": self.rows}


def markdown(told: dict) -> str:
    """The table of a bench.json as Markdown, with the processor it was measured on, and the reasons below."""
    machine, lines = told["machine"], []
    lines += [f"Measured on {machine['processor']}, {machine['threads']} threads, vectors of {machine['vector_bits']} "
              f"bits: medians over rounds in turn, quartiles in brackets.", "",
              "| what | median | quartiles | at least / at most | aim | key |", "|---|---:|---|---|---|---|"]
    for figure in FIGURES:
        value, over = told["ratios"][figure.key], told["spread"].get(figure.key)
        bold = figure.told(value) if value is None or not figure.kept(value) else f"**{figure.told(value)}**"
        quartiles = f"[{figure.told(over['q1'])}, {figure.told(over['q3'])}]" if over and over["rounds"] > 1 else ""
        bounds = f"{figure.bound(figure.least)} | {figure.bound(figure.aim)}"
        lines.append(f"| {figure.what} | {bold} | {quartiles} | {bounds} | `{figure.key}` |")
    missing = [f"- `{key}`: {reason}" for key, reason in told["reasons"].items()]
    return "\n".join([*lines, *(["", "Not measured:", *missing] if missing else []), *_same_bits(told), *_live(told)])


def _same_bits(told: dict) -> list[str]:
    """What it costs that any number of threads gives the same bits, if that was measured."""
    shares = [f"{row['what'].split(', ')[1]} {100 * row['share_of_step']:.2f} %" for row in told["rows"]
              if row["section"] == "same-bits" and "share_of_step" in row]
    return ["", f"That any number of threads gives the same bits costs at most so much of a training step: "
                f"{', '.join(shares)}."] if shares else []


def _live(told: dict) -> list[str]:
    """The table of what live costs, if that was measured."""
    rows = [row for row in told["rows"] if row["section"] == "live" and "fps" in row]
    if not rows:
        return []
    lines = ["", "Live, from a frame to the picture that is shown (lite, Haar detector, drawn faces):", "",
             "| frames | frames/s | detect | network | draw | network over detect |", "|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        stages = " | ".join(f"{row['ms'][stage]:.1f} ms, {100 * row['share'][stage]:.0f} %"
                            for stage in ("detect", "network", "draw"))
        over = row["ms"]["network"] / row["ms"]["detect"]
        lines.append(f"| {row['what']} | {row['fps']:.0f} | {stages} | {100 * over:.0f} % |")
    return lines
