"""PyTorch, in processes of its own, as quick as we know to make it; imported lazily, as it may not be installed.

Its networks are ours: the same layers and numbers, no convolution bias where ours has none, ReLU in place, SGD in its
fused form. A configuration is channels_last or not, compiled or not, bfloat16 or not; memory allocation is tuned by
the environment (see ENVIRONMENT)."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np

from tinyfer import layers
from tinyfer.bench import cases, facts, memory
from tinyfer.bench.child import Task
from tinyfer.torch_state import leaves, to_state_dict

# glibc by default hands large blocks back and takes them anew at every step, page by page: keep them, in huge pages.
_KEEP = 1 << 40
ENVIRONMENT = {"GLIBC_TUNABLES": f"glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold={_KEEP}:"
                                 f"glibc.malloc.trim_threshold={_KEEP}"}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3"}


def environment(threads: int, tuned: bool = True) -> dict[str, str]:
    """Environment variables of a PyTorch process."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), **(ENVIRONMENT if tuned else {})}


def start(threads: int):
    """The module torch, held to so many threads."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch


def net(model):
    """The twin of one of our models, with its numbers; names are those of to_state_dict."""
    import torch
    from torch import nn

    root = nn.Sequential()
    for path, leaf, shape, _ in leaves(model):
        *way, last = path.split(".")
        node = root
        for name in way:
            if name not in dict(node.named_children()):
                node.add_module(name, nn.Sequential())
            node = node.get_submodule(name)  # type: ignore[assignment]
        node.add_module(last, _module(leaf, shape))
    root.load_state_dict({name: torch.from_numpy(a) for name, a in to_state_dict(model).items()}, strict=False)
    return root


def _module(leaf, shape):
    """One of our layers in PyTorch."""
    from torch import nn

    if isinstance(leaf, layers.Conv2d):
        kernel, _, c_in, c_out = leaf.weight.value.shape
        return nn.Conv2d(c_in, c_out, kernel, leaf.stride, leaf.pad, bias=leaf.bias is not None)
    if isinstance(leaf, layers.BatchNorm2d):
        return (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[-1], leaf.eps, leaf.momentum)
    if isinstance(leaf, layers.GlobalAvgPool):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if isinstance(leaf, layers.Dense):
        return nn.Linear(*leaf.weight.value.shape)
    if isinstance(leaf, layers.MaxPool2d):
        return nn.MaxPool2d(leaf.size, leaf.stride)
    if isinstance(leaf, layers.Dropout):
        return nn.Dropout(leaf.p)
    return {layers.ReLU: nn.ReLU(inplace=True), layers.Flatten: nn.Flatten()}[type(leaf)]


def tensor(x: np.ndarray, channels_last: bool):
    """Pictures (N,H,W,C) as a tensor (N,C,H,W)."""
    import torch

    form = torch.channels_last if channels_last else torch.contiguous_format
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).contiguous(memory_format=form)


def need_compiler() -> None:
    """RuntimeError where torch.compile has no C++ compiler to call."""
    if facts.compiler() is None:
        raise RuntimeError("torch.compile needs a C++ compiler, and there is none on the PATH")


def freeze_weights() -> None:
    """Let torch.compile treat weights as constants, which it may fold and lay out as it likes."""
    need_compiler()
    from torch._inductor import config

    config.freezing = True


class Training(Task):
    """A training step as tinyfer.bench.ours.Training does it."""

    def __init__(self, model: str, batch: int, threads: int, channels_last=False, compiled=False, bf16=False):
        torch, ours = start(threads), cases.network(model)
        self.torch, self.bf16, self.compiled = torch, bf16, compiled
        self.net = net(ours).train()
        if channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)
        x, y = cases.pictures(ours, batch)
        self.x, self.y = tensor(x, channels_last), torch.from_numpy(y)
        self.optimizer = self._optimizer()

        def eager(x, y):
            return torch.nn.functional.cross_entropy(self.net(x), y)

        self.eager = self.loss = eager
        if compiled:
            need_compiler()
            self.loss = torch.compile(eager, dynamic=False)

    def _optimizer(self):
        """SGD over matrices and kernels with weight decay, over the rest without, in its quickest form."""
        parameters = list(self.net.parameters())
        groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": cases.DECAY},
                  {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}]
        options = dict(lr=cases.LR, momentum=cases.MOMENTUM, nesterov=True)
        try:
            return self.torch.optim.SGD(groups, fused=True, **options)
        except (RuntimeError, TypeError):  # before fused optimizers came to processors
            return self.torch.optim.SGD(groups, foreach=True, **options)

    def step(self) -> float:
        return self._step(self.loss, self.x, self.y)

    def _step(self, compute, x, y) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = compute(x, y)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def losses(self, batch: int, steps: int) -> list[float]:
        """Losses of the first steps on the first pictures, without dropout and uncompiled; then all is as before."""
        dropouts = [m for m in self.net.modules() if isinstance(m, self.torch.nn.Dropout)]
        before, rates = self._snapshot(), [m.p for m in dropouts]
        for m in dropouts:
            m.p = 0.0
        losses = [self._step(self.eager, self.x[:batch], self.y[:batch]) for _ in range(steps)]
        self.net.load_state_dict(before)
        self.optimizer = self._optimizer()
        for m, rate in zip(dropouts, rates, strict=True):
            m.p = rate
        return losses

    def compiled_gaps(self) -> tuple[float, float]:
        """How far loss and gradient are from what they are uncompiled, relative; dropout is drawn for each anew."""
        found = []
        for compute in (self.eager, self.loss):
            self.net.zero_grad(set_to_none=True)
            with self._precision():
                loss = compute(self.x, self.y)
            loss.backward()
            found.append((float(loss.detach()), float(sum(p.grad.norm() ** 2 for p in self.net.parameters())) ** 0.5))
        self.net.zero_grad(set_to_none=True)
        (loss, gradient), (other_loss, other_gradient) = found
        return abs(other_loss / loss - 1), abs(other_gradient / gradient - 1)

    def _precision(self):
        if not self.bf16:
            return contextlib.nullcontext()
        return self.torch.autocast("cpu", dtype=self.torch.bfloat16)

    def _snapshot(self) -> dict:
        return {name: value.clone() for name, value in self.net.state_dict().items()}

    def peak_memory(self) -> int:
        """Bytes that steps take at their peak on top of what is in use once everything is compiled."""
        if self.compiled:
            self.step()  # compiled for this batch; its gradients stay, what it freed does not count as in use
        else:
            self._step(self.eager, self.x[:2], self.y[:2])
        return memory.peak_above(lambda: [self.step() for _ in range(3)])


class Inference(Task):
    """Answering one batch. how: "eager" (norms folded, channels_last), "frozen" (TorchScript, optimised for inference)
    or "compiled" (torch.compile with frozen weights)."""

    def __init__(self, model: str, batch: int, threads: int, how: str):
        torch, ours = start(threads), cases.network(model)
        twin = net(ours).eval()
        self.torch, self.x = torch, tensor(cases.pictures(ours, batch)[0], channels_last=True)
        if how == "compiled":
            freeze_weights()
            self.net = torch.compile(twin.to(memory_format=torch.channels_last), dynamic=False)
        elif how == "frozen":
            with torch.no_grad():
                traced = torch.jit.trace(twin, self.x)
                self.net = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        else:
            for node in list(twin.modules()):
                for (name, module), (after, norm) in itertools.pairwise(list(node.named_children())):
                    if isinstance(module, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                        setattr(node, name, torch.nn.utils.fuse_conv_bn_eval(module, norm))
                        setattr(node, after, torch.nn.Identity())
            self.net = twin.to(memory_format=torch.channels_last)

    def step(self):
        with self.torch.inference_mode() if isinstance(self.net, self.torch.nn.Module) else self.torch.no_grad():
            return self.net(self.x)

    def logits(self) -> list:
        """What it answers, to be compared."""
        return self.step().float().tolist()
