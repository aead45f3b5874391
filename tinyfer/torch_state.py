"""A model's numbers to and from a PyTorch state dict, without loss in either direction.

    state = to_state_dict(model)                                          # NumPy arrays; PyTorch is not needed
    net.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    from_state_dict(model, net.state_dict())                              # tensors or arrays

Names are the model's dotted paths with PyTorch's names for the parameters; axes are PyTorch's:

    ours                                             PyTorch's
    conv.weight   (kh, kw, C_in, C_out)              conv.weight    (C_out, C_in, kh, kw)
    dense.weight  (D_in, D_out)                      dense.weight   (D_out, D_in)
    bn.gamma, bn.beta                                bn.weight, bn.bias
    bn.running_mean, bn.running_var                  the same; bn.num_batches_tracked is neither written nor read

PyTorch's maps are (N,C,H,W). After Flatten our features run through (H,W,C) and PyTorch's through (C,H,W): the weights
of the dense layer that follows are put in that order. The module that takes the state dict of `models.lite()`:

    from collections import OrderedDict
    from torch import nn

    def block(c_in, c_out, **pool):
        return nn.Sequential(OrderedDict(conv=nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
                                         bn=nn.BatchNorm2d(c_out), relu=nn.ReLU(), **pool))

    def stage(c_in, c_out):
        return nn.Sequential(OrderedDict(block0=block(c_in, c_out), block1=block(c_out, c_out, pool=nn.MaxPool2d(2))))

    net = nn.Sequential(OrderedDict(
        stage1=stage(1, 32), stage2=stage(32, 64), stage3=stage(64, 128), stage4=stage(128, 256),
        head=nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=nn.Dropout(0.2),
                                       classes=nn.Linear(256, 7)))))

It takes `model.preprocess(pictures)` as (N,1,h,w): x.transpose(0, 3, 1, 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tinyfer.errors import UserError
from tinyfer.layers import Dense, Flatten, Layer, Shape

_NAMES = {"gamma": "weight", "beta": "bias"}  # ours -> PyTorch's, where they differ
_AXES = {1: (0,), 2: (1, 0), 3: (2, 0, 1), 4: (3, 2, 0, 1)}  # channels first, what they are made from second
_TRACKED = ".num_batches_tracked"
_SHOWN = 4  # names of each kind in an error


def leaves(model) -> Iterator[tuple[str, Layer, Shape, Shape | None]]:
    """(path, layer, shape of its input, maps) of every innermost layer in the order in which they run.

    maps is the (H,W,C) that the layer's input features were flattened from, None where they were not."""
    shape, maps = model.preprocess.shape, None
    for path, leaf in model.leaves():
        yield path, leaf, shape, maps
        if isinstance(leaf, Flatten) and len(shape) == 3:
            maps = shape
        elif isinstance(leaf, Dense):
            maps = None
        shape = leaf.output_shape(shape)


def channels_first(array: np.ndarray, maps: Shape | None = None) -> np.ndarray:
    """A parameter in PyTorch's order of axes, a view: conv weight (kh,kw,C,K) -> (K,C,kh,kw), dense weight (D,K) ->
    (K,D), bias (K,) as it is. With `maps`, D stands for (H,W,C): dense weight -> (K,C,H,W)."""
    if maps is not None:
        array = array.reshape(*maps, *array.shape[1:])
    return array.transpose(_AXES[array.ndim])


def to_state_dict(model, arrays: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """The model's parameters and running statistics as PyTorch names and lays them out: copies.

    arrays: others by our names, to be named and laid out likewise, such as {p.name: p.grad for p in model.params}."""
    own = {name: np.array(array) for name, array in (model.state() if arrays is None else arrays).items()}
    return {name: np.ascontiguousarray(view).reshape(shape) for name, (view, shape) in _views(model, own).items()}


def from_state_dict(model, state: Mapping) -> None:
    """Load a PyTorch state dict (tensors on any device, or arrays) into the model: the inverse of to_state_dict.

    Missing, unexpected and wrong-shaped entries are a UserError that names them, and change nothing."""
    own = model.state()
    views = _views(model, own)
    given = {name: _array(name, value) for name, value in state.items() if not name.endswith(_TRACKED)}
    _check(model, {name: shape for name, (_, shape) in views.items()}, given)
    for name, (view, _) in views.items():
        view[...] = given[name].reshape(view.shape)
    model.load_state(own)


def _views(model, arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, Shape]]:
    """By PyTorch's names: a view of one of `arrays` (contiguous, by our names), channels first, and PyTorch's shape."""
    views = {}
    for path, leaf, _, maps in leaves(model):
        for key in [*leaf.parameters(), *leaf.buffers()]:
            array = arrays.get(f"{path}.{key}")
            if array is not None:
                view = channels_first(array, None if key == "bias" else maps)
                shape = view.shape if array.ndim == 4 else array.shape[::-1]
                views[f"{path}.{_NAMES.get(key, key)}"] = view, shape
    return views


def _array(name: str, value) -> np.ndarray:
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except TypeError:  # NumPy has no bfloat16
        raise UserError(f"{name} is {getattr(value, 'dtype', type(value).__name__)}, which NumPy does not know; turn "
                        f"the module into float32 first: net.float().state_dict().") from None


def _check(model, shapes: Mapping[str, Shape], given: Mapping[str, np.ndarray]) -> None:
    """UserError unless what is given are arrays of these names and shapes."""
    wrong = {"missing": [name for name in shapes if name not in given],
             "unexpected": [name for name in given if name not in shapes],
             "of a wrong shape": [f"{name} {given[name].shape}, expected {shape}" for name, shape in shapes.items()
                                  if name in given and given[name].shape != shape]}
    told = [f"{fault}: {', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if names[_SHOWN:] else ''}"
            for fault, names in wrong.items() if names]
    if told:
        raise UserError(f"this state dict is not of {model!r}; {'; '.join(told)}. Build the model with the module's "
                        f"sizes, and the module with the names of tinyfer.torch_state.to_state_dict(model).")
