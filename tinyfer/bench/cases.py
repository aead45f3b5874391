"""What every peer is given: the same networks, numbers and ops, and what they cost.

FLOPs are those of direct convolution, two for a multiply-accumulate, whoever computes it and however: Winograd needs
fewer, so its GFLOP/s are direct-equivalent and may pass the processor's peak. Bytes are the least that an op must
move: every input read once, every output written once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyfer import models

LR, MOMENTUM, DECAY = 1e-3, 0.9, 5e-4  # of every training step: SGD with Nesterov momentum and weight decay
FLOAT = 4  # bytes


def network(name: str, dropout: bool = True) -> models.Model:
    """A network of the zoo with the same random weights in every process; none of them zero, so that logits tell."""
    rng = np.random.default_rng(0)
    model = models.build(name, rng, **({} if dropout else {"dropout": 0.0}))
    for p in model.params:
        if p.decays and not p.value.any():
            p.value[...] = rng.normal(0, p.value.shape[0] ** -0.5, p.value.shape)
    return model


def pictures(model: models.Model, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Input x float32 (batch,h,w,1) and classes y int64 (batch,), the same in every process."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((batch, *model.preprocess.shape), np.float32)
    return x, rng.integers(0, len(model.labels), batch)


def forward_flops(model: models.Model) -> float:
    """Direct FLOPs of one picture forward."""
    return 2.0 * sum(_macs(model))


def step_flops(model: models.Model, batch: int) -> float:
    """Direct FLOPs of a training step: forward, and twice that backward; no gradient of the input is computed."""
    macs = _macs(model)
    return 2.0 * batch * (3 * sum(macs) - next(cost for cost in macs if cost))


def _macs(model: models.Model) -> list[int]:
    shape, macs = tuple(model.preprocess.shape), []
    for _, leaf in model.leaves():
        macs.append(leaf.macs(shape))
        shape = leaf.output_shape(shape)
    return macs


# ----------------------------------------------------------------------------------------------------------------- ops


@dataclass(frozen=True)
class Case:
    """One op or pass to time: which, on what shape, its FLOPs and its bytes.

    shape: convolutions (N, side, C, K, kernel), norms and the like (N, side, C), dense layers (N, D, K), updates
    (P,)."""

    name: str
    shape: tuple[int, ...]
    flops: float
    bytes: float

    @property
    def label(self) -> str:
        """Such as "conv2d_forward 64>128 3x3 24x24"."""
        s = self.shape
        if len(s) == 5:
            return f"{self.name} {s[2]}>{s[3]} {s[4]}x{s[4]} {s[1]}x{s[1]}"
        if len(s) == 1:
            return f"{self.name} {s[0] / 1e6:.1f} M"
        return f"{self.name} {s[1]}>{s[2]}" if self.dense else f"{self.name} {s[2]} {s[1]}x{s[1]}"

    @property
    def dense(self) -> bool:
        return self.name.startswith("dense")

    @property
    def memory_bound(self) -> bool:
        """True where moving its bytes, not its arithmetic, sets the pace."""
        return self.flops / self.bytes < 8


CONVOLUTIONS = ((48, 1, 64, 3), (48, 64, 64, 3), (24, 64, 128, 3), (24, 128, 128, 3), (12, 256, 256, 3),
                (6, 512, 512, 3), (24, 64, 128, 5))  # side, C, K, kernel: vgg's stages, and cnn4's 5x5
BLOCKS = ((48, 64, 3), (24, 128, 3), (12, 256, 3), (6, 512, 3))  # side, channels, kernel


def op_cases(batch: int = 64) -> list[Case]:
    """Every op and pass that the bench times, with the shapes that vgg gives them at this batch."""
    cases = [case for sizes in CONVOLUTIONS for case in _convolution(batch, *sizes)]
    cases += [case for sizes in BLOCKS for case in _block(batch, *sizes)]
    maps, flat = (batch, 48, 64), batch * 48 * 48 * 64
    moved = {"batchnorm_forward": (8, 3), "batchnorm_backward": (12, 5), "relu_forward": (1, 2),
             "relu_backward": (1, 3), "dropout_forward": (1, 3)}  # FLOPs and floats moved for each number
    cases += [Case(name, maps, flops * flat, floats * FLOAT * flat) for name, (flops, floats) in moved.items()]
    pooled = flat / 4
    cases += [Case(name, maps, flat, FLOAT * (flat + pooled) + pooled)
              for name in ("maxpool_forward", "maxpool_backward")]
    for name, passes in (("dense_forward", 1), ("dense_backward", 2)):
        d, k = 4608, 512
        cases.append(Case(name, (batch, d, k), 2.0 * passes * batch * d * k,
                          FLOAT * (passes * d * k + passes * batch * d + batch * k)))
    parameters = 7_200_000
    return cases + [Case("sgd_update", (parameters,), 6.0 * parameters, 5 * FLOAT * parameters),
                    Case("adam_update", (parameters,), 14.0 * parameters, 7 * FLOAT * parameters)]


def _convolution(n: int, side: int, c: int, k: int, kernel: int) -> list[Case]:
    shape, macs = (n, side, c, k, kernel), n * side * side * c * k * kernel**2
    x, y, w = n * side * side * c, n * side * side * k, kernel**2 * c * k
    return [Case("conv2d_forward", shape, 2.0 * macs, FLOAT * (x + w + y)),
            Case("conv2d_backward", shape, 4.0 * macs, FLOAT * (2 * x + 2 * w + y))]


def _block(n: int, side: int, c: int, kernel: int) -> list[Case]:
    """A ConvBlock (convolution, batch norm, ReLU), by passes."""
    maps, w = n * side * side * c, kernel**2 * c * c
    flops = 2.0 * n * side * side * w
    return [Case(f"block_{name}", (n, side, c, c, kernel), passes * flops, FLOAT * (floats * maps + passes * w))
            for name, passes, floats in (("forward", 1, 2), ("grad_weight", 1, 3), ("backward", 2, 4))]


def gigaflops(flops: float, seconds: float) -> float:
    """10^9 FLOPs a second."""
    return flops / seconds / 1e9 if seconds > 0 else math.nan
