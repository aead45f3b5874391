"""Single ops of PyTorch, channels_last, in a process of its own: to be set beside ours."""

from __future__ import annotations

from tinyfer.bench import cases
from tinyfer.bench.child import Task
from tinyfer.bench.torch_peer import start


class Ops(Task):
    """The convolutions, norms and blocks of cases.op_cases, channels_last; others are not measured."""

    def __init__(self, batch: int, threads: int):
        self.torch, self.cases = start(threads), cases.op_cases(batch)
        self._made = (-1, self.step)

    def step(self) -> None:
        """Nothing: which op it is comes with the request."""

    def run(self, warm: float, seconds: float, op: int = 0) -> dict:
        if self._made[0] != op:
            self._made = (op, self._make(self.cases[op]))
        self.step = self._made[1]  # type: ignore[method-assign]
        return super().run(warm, seconds)

    def _make(self, case: cases.Case):
        torch = self.torch
        functional, shape = torch.nn.functional, case.shape

        def maps(n, side, c):
            return torch.randn(n, c, side, side).contiguous(memory_format=torch.channels_last)

        if len(shape) == 5:
            n, side, c, k, kernel = shape
            x, dy = maps(n, side, c), maps(n, side, k)
            w = torch.randn(k, c, kernel, kernel).contiguous(memory_format=torch.channels_last)
            if case.name == "conv2d_forward":
                return lambda: functional.conv2d(x, w, None, 1, kernel // 2)
            if case.name == "conv2d_backward":
                return lambda: torch.ops.aten.convolution_backward(
                    dy, x, w, None, [1, 1], [kernel // 2] * 2, [1, 1], False, [0, 0], 1, [True, True, False])
            return self._block(case, x, dy)
        if case.name in ("batchnorm_forward", "batchnorm_backward"):
            x, dy = maps(*shape), maps(*shape)
            gamma, beta = torch.ones(shape[2], requires_grad=True), torch.zeros(shape[2], requires_grad=True)
            if case.name == "batchnorm_forward":
                return lambda: functional.batch_norm(x, None, None, gamma, beta, True)
            x.requires_grad_()
            y = functional.batch_norm(x, None, None, gamma, beta, True)
            return lambda: torch.autograd.grad(y, (x, gamma, beta), dy, retain_graph=True)
        raise NotImplementedError(f"{case.name} is not compared with PyTorch")

    def _block(self, case: cases.Case, x, dy):
        torch = self.torch
        _, _, c, k, kernel = case.shape
        block = torch.nn.Sequential(torch.nn.Conv2d(c, k, kernel, padding=kernel // 2, bias=False),
                                    torch.nn.BatchNorm2d(k), torch.nn.ReLU(inplace=True))
        block = block.to(memory_format=torch.channels_last).train()
        if case.name == "block_forward":
            return lambda: block(x)
        leaves = [*block.parameters()] + ([x.requires_grad_()] if case.name == "block_backward" else [])
        y = block(x)
        return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


class Convolution(Task):
    """One convolution, channels_last: the ladder's rung. shape: N, side, C, K, kernel."""

    def __init__(self, shape: list[int], threads: int):
        torch = start(threads)
        n, side, c, k, kernel = shape
        x = torch.randn(n, c, side, side).contiguous(memory_format=torch.channels_last)
        w = torch.randn(k, c, kernel, kernel).contiguous(memory_format=torch.channels_last)
        self._answer = lambda: torch.nn.functional.conv2d(x, w, None, 1, kernel // 2)

    def step(self):
        return self._answer()
