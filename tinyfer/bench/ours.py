"""Our engine, in processes of its own: training, inference, ops, data."""

from __future__ import annotations

import itertools
import time
from unittest import mock

import numpy as np

from tinyfer import data, infer, machine, models, ops, optim, sources, training
from tinyfer.bench import cases, memory
from tinyfer.bench.child import Task
from tinyfer.kernels import fused, norm
from tinyfer.layers import ConvBlock, ConvStack, Dropout
from tinyfer.live import speed


class Training(Task):
    """A training step of one network: forward, loss, backward, update."""

    def __init__(self, model: str, batch: int, threads: int):
        machine.set_threads(threads)
        self.model, self.batch = cases.network(model), batch
        self.optimizer = optim.SGD(self.model.params, cases.LR, cases.MOMENTUM, nesterov=True,
                                   weight_decay=cases.DECAY)
        self.x, self.y = cases.pictures(self.model, batch)

    def step(self) -> float:
        return self._step(self.x, self.y)

    def _step(self, x, y) -> float:
        logits = self.model.forward(x, train=True)
        loss, dlogits = ops.softmax_cross_entropy(logits, y)
        self.model.backward(dlogits, input_gradient=False)
        self.optimizer.step()
        return float(loss)

    def losses(self, batch: int, steps: int) -> list[float]:
        """Losses of the first steps on the first pictures, without dropout: what every peer must reproduce. Afterwards
        all is as before."""
        dropouts = [leaf for _, leaf in self.model.leaves() if isinstance(leaf, Dropout)]
        before, optimizer, rates = self.model.state(), self.optimizer.state(), [leaf.p for leaf in dropouts]
        for leaf in dropouts:
            leaf.p = 0.0
        losses = [self._step(self.x[:batch], self.y[:batch]) for _ in range(steps)]
        self.model.load_state(before)
        self.optimizer.load_state(optimizer)
        for leaf, rate in zip(dropouts, rates, strict=True):
            leaf.p = rate
        return losses

    def ordering_share(self, steps: int) -> float:
        """The share of a step that goes into adding rows of partial sums in their order, which gives the same bits on
        any number of threads: more than what it costs, since threads' own sums would have to be added too."""
        spent: list[float] = []

        def timed(add):
            def run(*arguments):
                start = time.perf_counter()
                result = add(*arguments)
                spent.append(time.perf_counter() - start)
                return result
            return run

        self.step()
        with (mock.patch.object(norm, "add_moved_rows", timed(norm.add_moved_rows)),
              mock.patch.object(fused, "add_rows", timed(fused.add_rows))):
            begun = time.perf_counter()
            for _ in range(steps):
                self.step()
            return sum(spent) / (time.perf_counter() - begun)

    def peak_memory(self) -> int:
        """Bytes that steps take at their peak on top of what is in use once everything is compiled."""
        self._step(self.x[:2], self.y[:2])
        return memory.peak_above(lambda: [self.step() for _ in range(3)])


class Inference(Task):
    """Answering one batch with the folded plan."""

    def __init__(self, model: str, batch: int, threads: int):
        machine.set_threads(threads)
        network = cases.network(model)
        self.x, _ = cases.pictures(network, batch)
        self.plan = infer.Plan(network, batch)

    def step(self) -> np.ndarray:
        return self.plan(self.x)

    def logits(self) -> list:
        """What it answers, to be compared."""
        return self.step().tolist()


class Live(Task):
    """The webcam's way from a frame to the picture that is shown, with its own settings: one thread for the network,
    and OpenCV's for the detector."""

    def __init__(self):
        machine.set_threads(1)

    def speed(self, width: int, height: int, faces: int, frames: int) -> dict:
        """What live.speed.measure tells."""
        return speed.measure(width, height, faces=faces, frames=frames)


class Ops(Task):
    """Every op and pass of cases.op_cases: `run(op=number)` times the one of that number."""

    def __init__(self, batch: int, threads: int):
        machine.set_threads(threads)
        self.cases = cases.op_cases(batch)
        self._made = (-1, self.step)

    def step(self) -> None:
        """Nothing: which op it is comes with the request."""

    def run(self, warm: float, seconds: float, op: int = 0) -> dict:
        if self._made[0] != op:
            self._made = (op, make(self.cases[op]))
        self.step = self._made[1]  # type: ignore[method-assign]
        return super().run(warm, seconds)


def make(case: cases.Case):
    """A function that does the case once, on arrays that it holds."""
    rng, shape = np.random.default_rng(2), case.shape

    def normal(*size):
        return rng.standard_normal(size, np.float32)

    if case.name.startswith("conv2d"):
        n, side, c, k, kernel = shape
        x, w, dy = normal(n, side, side, c), normal(kernel, kernel, c, k), normal(n, side, side, k)
        if case.name == "conv2d_forward":
            return lambda: ops.conv2d_forward(x, w, None, 1, kernel // 2)
        return lambda: ops.conv2d_backward(dy, x, w, 1, kernel // 2)
    if case.name.startswith("block"):
        return _block(case, normal)
    if case.dense:
        n, d, k = shape
        x, w, dy = normal(n, d), normal(d, k), normal(n, k)
        if case.name == "dense_forward":
            return lambda: ops.dense_forward(x, w)
        return lambda: ops.dense_backward(dy, x, w)
    if case.name.endswith("update"):
        w, g, m, v = normal(*shape), normal(*shape), normal(*shape), np.abs(normal(*shape))
        if case.name == "sgd_update":
            return lambda: ops.sgd_update(w, g, m, 1e-6, 0.9, True, 5e-4)
        return lambda: ops.adam_update(w, g, m, v, 10, 1e-6)
    n, side, c = shape
    return _elementwise(case.name, normal(n, side, side, c), normal)


def _elementwise(name: str, x: np.ndarray, normal):
    c = x.shape[3]
    gamma, beta, dy = normal(c), normal(c), normal(*x.shape)
    if name.startswith("batchnorm"):
        _, mean, var = ops.batchnorm_forward(x, gamma, beta)
        return {"batchnorm_forward": lambda: ops.batchnorm_forward(x, gamma, beta),
                "batchnorm_backward": lambda: ops.batchnorm_backward(dy, x, gamma, mean, var)}[name]
    if name.startswith("maxpool"):
        pooled, index = ops.maxpool_forward(x)
        return {"maxpool_forward": lambda: ops.maxpool_forward(x),
                "maxpool_backward": lambda: ops.maxpool_backward(pooled, index, x.shape)}[name]
    mask = (dy > 0).astype(np.float32)
    return {"relu_forward": lambda: ops.relu_forward(x), "relu_backward": lambda: ops.relu_backward(dy, x),
            "dropout_forward": lambda: ops.dropout_forward(x, mask)}[name]


def _block(case: cases.Case, normal):
    """A lone ConvBlock as a run: forward; backward to the weights; backward to weights and input."""
    n, side, c, _, kernel = case.shape
    stack = ConvStack({"block": ConvBlock(c, c, np.random.default_rng(0), kernel)})
    x, dy = normal(n, side, side, c), normal(n, side, side, c)
    stack.forward(x, train=True)
    stack.input_gradient = case.name != "block_grad_weight"
    return (lambda: stack.forward(x, train=True)) if case.name == "block_forward" else lambda: stack.backward(dy)


class Augmentation(Task):
    """Making one batch of 128 augmented pictures, by the one thread that does so in training."""

    BATCH = 128

    def __init__(self, threads: int):
        machine.set_threads(threads)
        rng = np.random.default_rng(0)
        split = data.Split(rng.integers(0, 256, (2048, 48, 48), np.uint8), rng.integers(0, 7, 2048), "noise")
        self.batches = data.Batches(split, self.BATCH, models.lite().preprocess, 0, "light")
        self._step = 0

    def step(self) -> None:
        self._step = (self._step + 1) % self.batches.steps_per_epoch
        self.batches.batch(0, self._step)


class TrainingLoop:
    """The real training loop on drawn faces."""

    def __init__(self, model: str, batch: int, threads: int, pictures: int | None):
        machine.set_threads(threads)
        self.batch, self.model = batch, models.build(model, np.random.default_rng(0))
        self.dataset = sources.load(sources.TOY, pictures)

    def data_shares(self, epochs: int) -> list[float]:
        """What share of its time each epoch waited for its batches: data_share in a run's log."""
        config = training.TrainConfig(epochs=epochs, batch_size=self.batch)
        run = training.fit(self.model, self.dataset.train, self.dataset.val, config)
        return [row["data_share"] for row in run.rows]

    def slowdowns(self, rounds: int, steps: int) -> list[float]:
        """By how much steps that are fed by the data thread take longer than steps on one batch that is there, round
        by round: waiting is not all that data may cost, its thread needs a processor too."""
        config = training.TrainConfig(batch_size=self.batch)
        run = training.Run(self.model, self.dataset.train, self.dataset.val, config)
        same = run.batches.batch(0, 0)
        return [self._seconds(run, run.batches.iterate(number), steps)
                / self._seconds(run, itertools.repeat(same), steps) - 1 for number in range(rounds)]

    @staticmethod
    def _seconds(run, batches, steps: int) -> float:
        training.train_step(run, *next(batches))  # the thread has begun
        begun = time.perf_counter()
        for x, y in itertools.islice(batches, steps):
            training.train_step(run, x, y)
        return time.perf_counter() - begun


def save(name: str, path) -> None:
    """The network that all peers are given, as a model's file."""
    models.save(cases.network(name), path)
