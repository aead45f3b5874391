"""The models by name; each function reads like the diagram of its network.

    model = models.vgg(rng)                    # or models.build("vgg", rng, width=0.5)
    print(model)                               # layer, output shape, parameters, million multiply-accumulates, path
    model = models.load("runs/mine/best.npz")  # or the name of a model that is shipped

vgg    four stages of two ConvBlocks, 64/128/256/512 channels (Khaireddin & Chen 2021, arXiv:2105.03588)
cnn4   four convolutions, 64 (3x3), 128 (5x5), 512 and 512 (3x3), then dense 256 and 512, a classic of FER notebooks
dnn5   five layers, three convolutions and two dense ones
lite   the vgg's plan at half the width with an average-pooling head: 1.2 M parameters, for laptops
micro  the same four stages on 24x24 pictures with 8 to 64 channels, for slow kernels and quick tests"""

from __future__ import annotations

import copy
import inspect
import math
import pathlib
from collections.abc import Mapping

import numpy as np

from tinyfer import checkpoint, seeds
from tinyfer.data.preprocess import Preprocess
from tinyfer.data.types import LABELS
from tinyfer.errors import UserError
from tinyfer.layers import (
    BatchNorm2d,
    Conv2d,
    ConvBlock,
    ConvStack,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool2d,
    Param,
    ReLU,
    Sequential,
)

WEIGHTS = pathlib.Path(__file__).parent / "weights"
CLASSES = len(LABELS)


class Params(list):
    """A model's parameters: a list of Param whose values and gradients are views into two flat arrays.

    value, grad (P,) float32; the first `decayed` numbers belong to parameters that weight decay is for."""

    def __init__(self, params: list[Param]):
        super().__init__(sorted(params, key=lambda p: not p.decays))  # a stable sort: order of the layers otherwise
        self.decayed = sum(p.value.size for p in self if p.decays)
        self.value = np.concatenate([p.value.ravel() for p in self])
        self.grad = np.zeros_like(self.value)
        start = 0
        for p in self:
            shape, stop = p.value.shape, start + p.value.size
            p.value, p.grad = self.value[start:stop].reshape(shape), self.grad[start:stop].reshape(shape)
            start = stop


class Model(Sequential):
    """A network with what belongs to it: its name and options, its flat parameters, label names and preprocessing.

    forward takes (N,h,w,1) float32 from `model.preprocess(pictures)` and answers logits (N,7).

    name, options     `build(name, **options)` makes another such network
    title             what to call it: the name under which it is shipped, else `name`
    params            every Param, flat behind the scenes (see Params): what an optimizer takes
    labels            the names of the seven classes, in the order of the logits
    preprocess        data.Preprocess: how pictures become the input
    meta              whatever else its file shall say, as JSON: {"data": ..., "note": ...}"""

    def __init__(self, name: str, options: dict, layers: Mapping[str, Layer]):
        super().__init__(layers)
        self.name, self.title, self.options = name, name, options
        self.labels: tuple[str, ...] = LABELS
        self.meta: dict = {}
        for path, leaf in self.leaves():
            leaf.name = path
            for key, param in leaf.parameters().items():
                param.name = f"{path}.{key}"
        self.params = self._flat()
        self.preprocess = Preprocess(size=options["size"])
        self.rng = seeds.generator(0, "dropout")

    def _flat(self) -> Params:
        return Params([p for _, leaf in self.leaves() for p in leaf.parameters().values()])

    def __deepcopy__(self, memo) -> Model:
        """A model of its own, with flat arrays of its own; what forward kept for backward does not come along."""
        twin = self.frozen()
        twin.options, twin.meta, twin.rng = copy.deepcopy((self.options, self.meta, self.rng), memo)
        twin.params = twin._flat()
        twin.params.grad[...] = self.params.grad
        return twin

    def forward(self, x, train=False, keep=None):
        self.check_input(x)
        return super().forward(x, train, keep)

    def backward(self, dy, input_gradient=True):
        """dy (N,7) -> dx, the gradient of the input; None where `input_gradient` is false, which saves its cost."""
        first = next(iter(self.layers.values()))
        if isinstance(first, ConvStack):
            first.input_gradient = input_gradient
        return super().backward(dy)

    def check_input(self, x: np.ndarray) -> None:
        """UserError unless x is what this network takes: (N,h,w,1) of the dtype of its weights (float32)."""
        dtype, (height, width, channels) = self.params.value.dtype, self.preprocess.shape
        try:
            if x.ndim != 4 or x.dtype != dtype:
                raise UserError("")
            self.output_shape(x.shape[1:])
        except UserError:
            raise UserError(f"{self.name}: x is {x.dtype} {x.shape}, expected {dtype} (N, {height}, {width}, "
                            f"{channels}), which model.preprocess makes of uint8 pictures (N, H, W).") from None

    @property
    def preprocess(self) -> Preprocess:
        """How uint8 pictures become the input; setting one whose pictures the layers cannot take is a UserError."""
        return self._preprocess

    @preprocess.setter
    def preprocess(self, preprocess: Preprocess) -> None:
        try:
            self.output_shape(preprocess.shape)
        except UserError as error:
            raise UserError(f"{self!r} cannot take pictures of {preprocess.side}x{preprocess.side}: {error}") from None
        self._preprocess = preprocess

    @property
    def rng(self) -> np.random.Generator:
        """Where all dropouts draw their masks from, one after the other; the training loop sets it at every step."""
        return self._rng

    @rng.setter
    def rng(self, rng: np.random.Generator) -> None:
        self._rng = rng
        for _, leaf in self.leaves():
            if isinstance(leaf, Dropout):
                leaf.rng = rng

    def buffers(self) -> dict[str, np.ndarray]:
        """Running statistics by dotted path: the live arrays, not copies."""
        return {f"{path}.{key}": array for path, leaf in self.leaves() for key, array in leaf.buffers().items()}

    def state(self) -> dict[str, np.ndarray]:
        """Every parameter and running statistic by dotted path (copies)."""
        return {p.name: p.value.copy() for p in self.params} | {k: a.copy() for k, a in self.buffers().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """The inverse of state(); a missing, surplus or misshapen array is a UserError and changes nothing."""
        own = {p.name: p.value for p in self.params} | self.buffers()
        shapes = {key: np.shape(array) for key, array in state.items()}
        wrong = [f"{key} is {_times(shapes.get(key))} instead of {_times(array.shape)}"
                 for key, array in own.items() if shapes.get(key) != array.shape]
        wrong += [f"{key} is not one of its arrays" for key in shapes if key not in own]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if wrong[1:] else ""
            raise UserError(f"these weights are not of {self!r}: {wrong[0]}{more}; "
                            f"build the model with the options that it was trained with.")
        for key, array in own.items():
            array[...] = state[key]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    def __str__(self) -> str:
        """A row for each block: layers, output shape, parameters, million multiply-accumulates a picture, path."""
        shape: tuple[int, ...] = self.preprocess.shape
        rows, total = [("layer", "output", "parameters", "MMAC", "path"), ("input", _times(shape), "", "", "")], 0
        for name, layer in self.children().items():
            steps = layer.children() if isinstance(layer, ConvStack) else {name: layer}
            ways = layer.paths(shape) if isinstance(layer, ConvStack) else {name: "op by op"}
            for path, step in steps.items():
                inner = shape
                cost = 0
                for _, leaf in step.leaves():
                    cost, inner = cost + leaf.macs(inner), leaf.output_shape(inner)
                shape, total = inner, total + cost
                kinds = " ".join(type(leaf).__name__ for _, leaf in step.leaves())
                size = sum(p.value.size for _, leaf in step.leaves() for p in leaf.parameters().values())
                rows.append((f"{path}: {kinds}", _times(shape), f"{size:,}", f"{cost / 1e6:.2f}", ways[path]))
        rows.append((self.name, "", f"{self.params.value.size:,}", f"{total / 1e6:.2f}", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
                 for a, b, c, d, e in rows]
        return "\n".join([lines[0], "-" * len(max(lines, key=len)), *lines[1:]])


def _times(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape))


def _channels(base: int, width: float) -> int:
    """base * width, rounded to a multiple of 8: whole vectors."""
    if not 0 < width <= 16:
        raise UserError(f"width is {width!r}, expected a number above 0, up to 16: it multiplies the channels.")
    return max(8, round(base * width / 8) * 8)


def _stages(widths, rng, size: int, order="conv-bn-relu", stage_dropout=0.0) -> tuple[ConvStack, tuple[int, ...]]:
    """Two ConvBlocks a stage, max-pooling (and dropout) after the second; also the shape of what comes out."""
    blocks, c_in = {}, 1
    for stage, c_out in enumerate(widths, 1):
        blocks[f"stage{stage}.block0"] = ConvBlock(c_in, c_out, rng, order=order)
        blocks[f"stage{stage}.block1"] = ConvBlock(c_out, c_out, rng, pool=True, dropout=stage_dropout, order=order)
        c_in = c_out
    stack = ConvStack(blocks)
    return stack, _checked_shape(stack, size)


def _checked_shape(stack: Sequential, size: int) -> tuple[int, ...]:
    """What the stack makes of a picture of size x size; UserError where the poolings leave nothing of it."""
    smallest = 2 ** sum(isinstance(leaf, MaxPool2d) for _, leaf in stack.leaves())
    if not isinstance(size, int) or size < smallest:
        raise UserError(f"the picture size is {size!r}, expected a whole number of pixels, {smallest} or more "
                        f"(each max-pooling halves it).")
    return stack.output_shape((size, size, 1))


def _average_head(channels: int, rng, dropout: float) -> Sequential:
    classes = Dense(channels, CLASSES, rng, zero=True)
    return Sequential({"pool": GlobalAvgPool(), "dropout": Dropout(dropout), "classes": classes})


def _dense_head(features: int, hidden: tuple[int, ...], rng, dropout: float) -> Sequential:
    layers: dict[str, Layer] = {"flatten": Flatten()}
    for i, width in enumerate(hidden):
        layers |= {f"dense{i}": Dense(features, width, rng), f"relu{i}": ReLU(), f"dropout{i}": Dropout(dropout)}
        features = width
    return Sequential(layers | {"classes": Dense(features, CLASSES, rng, zero=True)})


def vgg(rng=None, *, size=48, width=1.0, head="compact", dropout=0.5, stage_dropout=0.0, order="conv-bn-relu") -> Model:
    """Four stages of two 3x3 ConvBlocks, 64/128/256/512 channels times `width`, max-pooling after each stage.

    head "compact": flatten-512-512-7 (the default); "fc3": the three fully connected layers 4096-4096-7 as published;
    "average": global average pooling and one dense layer. order "conv-bn-relu" (the authors' code) or "conv-relu-bn"
    (their text)."""
    rng = rng or np.random.default_rng(0)
    options = dict(size=size, width=width, head=head, dropout=dropout, stage_dropout=stage_dropout, order=order)
    if head not in ("compact", "fc3", "average"):
        raise UserError(f"head is {head!r}, expected compact, fc3 or average.")
    stack, shape = _stages([_channels(c, width) for c in (64, 128, 256, 512)], rng, size, order, stage_dropout)
    if head == "average":
        return Model("vgg", options, {"": stack, "head": _average_head(shape[2], rng, dropout)})
    hidden = (512, 512) if head == "compact" else (4096, 4096)
    return Model("vgg", options, {"": stack, "head": _dense_head(int(np.prod(shape)), hidden, rng, dropout)})


def lite(rng=None, *, size=48, width=1.0, dropout=0.2, stage_dropout=0.0) -> Model:
    """32-32 | 64-64 | 128-128 | 256-256, global average pooling, dense 7: 1.2 M parameters."""
    rng = rng or np.random.default_rng(0)
    stack, shape = _stages([_channels(c, width) for c in (32, 64, 128, 256)], rng, size, stage_dropout=stage_dropout)
    options = dict(size=size, width=width, dropout=dropout, stage_dropout=stage_dropout)
    return Model("lite", options, {"": stack, "head": _average_head(shape[2], rng, dropout)})


def micro(rng=None, *, size=24, dropout=0.0) -> Model:
    """8-8 | 16-16 | 32-32 | 64-64 on 24x24 pictures, global average pooling, dense 7."""
    rng = rng or np.random.default_rng(0)
    stack, shape = _stages((8, 16, 32, 64), rng, size)
    return Model("micro", dict(size=size, dropout=dropout), {"": stack, "head": _average_head(shape[2], rng, dropout)})


def cnn4(rng=None, *, size=48, dropout=0.25) -> Model:
    """64 (3x3), 128 (5x5), 512 (3x3), 512 (3x3), each conv-BN-ReLU-pool-dropout; dense 256 and 512 with BN; 4.5 M
    parameters."""
    rng = rng or np.random.default_rng(0)
    plan = ((1, 64, 3), (64, 128, 5), (128, 512, 3), (512, 512, 3))
    stack = ConvStack({f"block{i}": ConvBlock(c_in, c_out, rng, kernel, pool=True, dropout=dropout)
                       for i, (c_in, c_out, kernel) in enumerate(plan)})
    features = int(np.prod(_checked_shape(stack, size)))
    head: dict[str, Layer] = {"flatten": Flatten()}
    for i, width in enumerate((256, 512)):
        head |= {f"dense{i}": Dense(features, width, rng), f"bn{i}": BatchNorm2d(width), f"relu{i}": ReLU(),
                 f"dropout{i}": Dropout(dropout)}
        features = width
    head["classes"] = Dense(features, CLASSES, rng, zero=True)
    return Model("cnn4", dict(size=size, dropout=dropout), {"": stack, "head": Sequential(head)})


def dnn5(rng=None, *, size=48, dropout=0.25) -> Model:
    """Five layers: 3x3 convolutions of 32, 64 and 128 channels, each ReLU and max-pooled, then dense 128 and 7.

    Its source names only "a five-layer network with a weighted loss": three convolutions and two dense layers is our
    reading."""
    rng = rng or np.random.default_rng(0)
    layers: dict[str, Layer] = {}
    c_in = 1
    for i, c_out in enumerate((32, 64, 128)):
        layers |= {f"conv{i}": Conv2d(c_in, c_out, 3, rng), f"relu{i}": ReLU(), f"pool{i}": MaxPool2d(2)}
        c_in = c_out
    features = int(np.prod(_checked_shape(Sequential(layers), size)))
    layers["head"] = _dense_head(features, (128,), rng, dropout)
    return Model("dnn5", dict(size=size, dropout=dropout), layers)


_ZOO = {"vgg": vgg, "cnn4": cnn4, "dnn5": dnn5, "lite": lite, "micro": micro}
NAMES = tuple(_ZOO)


def build(name: str, rng: np.random.Generator | None = None, **options) -> Model:
    """A fresh model by name, with the options of the function of that name."""
    if name not in NAMES:
        raise UserError(f"there is no model {name!r}; the models are {', '.join(NAMES)}.")
    known = tuple(inspect.signature(_ZOO[name]).parameters)[1:]
    for key in options:
        if key not in known:
            raise UserError(f"model {name} has no option {key!r}; its options are {', '.join(known)}.")
    return _ZOO[name](rng, **options)


# --------------------------------------------------------------------------------------------------------------- files


def shipped() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.npz")))


def save(model: Model, path, half: bool = False) -> None:
    """Write the model alone, weights and what belongs to them, atomically; half: matrices as float16, for shipping."""
    arrays = {key: a.astype(np.float16) if half and a.ndim > 1 else a for key, a in model.state().items()}
    description = {"name": model.name, "options": model.options, "labels": list(model.labels),
                   "preprocess": model.preprocess.to_dict(), "meta": model.meta}
    checkpoint.save(path, arrays, description)


class _Blank:
    """Stands in for the random generator of a network whose weights are about to be loaded: zeros, and no more of them
    than the file holds, whatever options a hostile one asks for."""

    def __init__(self, numbers: int):
        self.left = numbers

    def standard_normal(self, shape, dtype) -> np.ndarray:
        self.left -= math.prod(shape)
        if self.left < 0:
            raise UserError("its options describe a larger network than it has weights for.")
        return np.zeros(shape, dtype)


def locate(path) -> pathlib.Path:
    """The file that is meant by a path, by the folder of a run (its best.npz) or by the name of a shipped model."""
    if str(path) in shipped():
        return WEIGHTS / f"{path}.npz"
    path = pathlib.Path(path)
    if path.is_dir() and not (path / "best.npz").exists():
        raise UserError(f"model {path}: there is no best.npz in this folder yet; it comes with a run's first epoch.")
    if not path.exists():
        raise UserError(f"model {str(path)!r}: there is no such file, and the shipped models are "
                        f"{', '.join(shipped()) or 'none yet'}; train one with `python -m tinyfer.train`.")
    return path / "best.npz" if path.is_dir() else path


def load(path) -> Model:
    """A model by the path of its file, the folder of its run, or the name of one that is shipped; float32 again,
    whatever the file holds.

    Any other file, and one whose parts do not fit each other, is a UserError."""
    path = locate(path)
    arrays, description = checkpoint.read(path, checkpoint.MODEL)
    try:
        blank = _Blank(sum(a.size for a in arrays.values()))
        model = build(description["name"], blank, **description["options"])  # type: ignore[arg-type]
        model.labels, model.meta = _labels(description["labels"]), dict(description["meta"])
        model.preprocess = Preprocess.from_dict(description["preprocess"])
        model.load_state({key: a.astype(np.float32) for key, a in arrays.items()})
        if path.parent == WEIGHTS:
            model.title = path.stem
    except UserError as error:
        raise UserError(f"cannot use {path} as a model: {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"cannot use {path} as a model: its description is incomplete or garbled "
                        f"({type(error).__name__}: {error}).") from None
    return model


def _labels(names) -> tuple[str, ...]:
    if not (isinstance(names, list) and len(names) == CLASSES and all(isinstance(name, str) for name in names)):
        raise UserError(f"its label names are {names!r:.80}, expected {CLASSES} names.")
    return tuple(names)
