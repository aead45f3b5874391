"""Whole networks beside their twins in PyTorch: values, gradients, running statistics, optimizers, ten steps of it all.

PyTorch's arrays are (N,C,H,W) and its weights (C_out,C_in,kh,kw); `tinyfer.torch_state` is the one place that knows."""

import contextlib

import numpy as np
import pytest

from tests.nets import SMALL, in_float64, loss_and_gradients, one_thread, pictures, randomise, small  # noqa: F401
from tinyfer import kernels, models, ops, optim, torch_state
from tinyfer.layers import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool, MaxPool2d, ReLU

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def torch_with_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class MapMeans(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def tensor(array):
    return torch.from_numpy(np.array(array))


def module(leaf, shape):
    """PyTorch's layer for one of ours that is given inputs of this shape."""
    if isinstance(leaf, Conv2d):
        k, _, c_in, c_out = leaf.weight.value.shape
        return torch.nn.Conv2d(c_in, c_out, k, leaf.stride, leaf.pad, bias=leaf.bias is not None)
    if isinstance(leaf, Dense):
        return torch.nn.Linear(*leaf.weight.value.shape)
    if isinstance(leaf, BatchNorm2d):
        return (torch.nn.BatchNorm2d if shape[1:] else torch.nn.BatchNorm1d)(shape[-1], leaf.eps)
    if isinstance(leaf, MaxPool2d):
        return torch.nn.MaxPool2d(leaf.size, leaf.stride)
    return {ReLU: torch.nn.ReLU, GlobalAvgPool: MapMeans, Flatten: torch.nn.Flatten}[type(leaf)]()


def twin(model):
    """The network in PyTorch, without dropout, with the same numbers under the same paths, in their dtype."""
    net = torch.nn.Sequential()
    for path, leaf, shape, _ in torch_state.leaves(model):
        if isinstance(leaf, Dropout):
            continue
        *parents, name = path.split(".")
        place = net
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, torch.nn.Sequential())
            place = getattr(place, parent)
        place.add_module(name, module(leaf, shape))
    net.to(tensor(model.params.value).dtype)
    net.load_state_dict({name: tensor(array) for name, array in torch_state.to_state_dict(model).items()})
    return net


def values(model):
    """Our parameters as PyTorch names them and lays them out."""
    return torch_state.to_state_dict(model, {p.name: p.value for p in model.params})


def gradients(model):
    """The same of the gradients."""
    return torch_state.to_state_dict(model, {p.name: p.grad for p in model.params})


def matrices_and_vectors(net):
    """Its parameters as an optimizer's two groups."""
    return [p for p in net.parameters() if p.ndim > 1], [p for p in net.parameters() if p.ndim == 1]


def torch_step(net, x, target):
    """Loss and dx of one pass; gradients are left in the net."""
    net.zero_grad()
    x = tensor(x.transpose(0, 3, 1, 2)).requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(x), tensor(target), label_smoothing=0.1)
    loss.backward()
    return loss.item(), x.grad.numpy().transpose(0, 2, 3, 1)


def without_dropout(model):
    for _, leaf in model.leaves():
        if isinstance(leaf, Dropout):
            leaf.p = 0.0
    return model


def no_dropout(key, **options):
    return without_dropout(small(key, **(dict(dropout=0.0) | options)))


def gap(got, expected):
    """Root mean square error relative to the root mean square of what is right."""
    return float(np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("key", SMALL)
def test_float64_networks_agree_to_the_last_digits(key):
    model = in_float64(randomise(no_dropout(key)))
    x, target = pictures(model)
    net = twin(model)
    net.eval()
    with torch.no_grad():
        assert gap(model.forward(x), net(tensor(x.transpose(0, 3, 1, 2))).numpy()) < 1e-12
    net.train()
    (loss, dx), (torch_loss, torch_dx) = loss_and_gradients(model, x, target), torch_step(net, x, target)
    assert loss == pytest.approx(torch_loss, rel=1e-12) and gap(dx, torch_dx) < 1e-9
    largest = np.abs(model.params.grad).max()
    ours, theirs = gradients(model), dict(net.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, grad in ours.items():
        np.testing.assert_allclose(grad, theirs[name].grad.numpy(), rtol=1e-8, atol=1e-10 * largest, err_msg=name)
    ours = torch_state.to_state_dict(model)
    for name, buffer in net.named_buffers():  # the running statistics' convention is PyTorch's
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(ours[name], buffer.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def spelled_out():
    """Block by block: an overridden op keeps a stack from taking the fused way."""
    return ops.using(relu_forward=lambda x: kernels.relu_forward(x))


# name: (network, options, pictures, how): the small ones op by op, and networks at their real size the fused way, for
# in gammas of eight numbers chance outweighs what is measured
NEAR = {key: (*SMALL[key], 10, spelled_out) for key in ("vgg", "vgg-relu-bn", "cnn4", "lite")} | {
    f"{name}, fused": (name, {}, n, contextlib.nullcontext) for name, n in
    (("vgg", 2), ("cnn4", 8), ("lite", 4), ("micro", 8))}


@pytest.mark.parametrize("key", NEAR)
def test_float32_gradients_are_as_near_to_the_truth_as_pytorchs(key):
    """Per tensor, against float64, at most 3 times PyTorch's own error; the median of nine draws, for a single ReLU or
    pooling that changes its mind near a tie is chance and outweighs all rounding."""
    name, options, n, way = NEAR[key]
    ours, theirs = {}, {}
    for seed in range(9):
        model, exact = (randomise(without_dropout(models.build(name, np.random.default_rng(seed), **options)), seed)
                        for _ in range(2))
        exact, net = in_float64(exact), twin(model)
        x, target = pictures(model, n, seed)
        with way():
            loss_and_gradients(model, x, target)
        loss_and_gradients(exact, x.astype(np.float64), target)
        torch_step(net, x, target)
        got, truths = gradients(model), gradients(exact)
        largest = max(map(np.linalg.norm, truths.values()))
        for path, parameter in net.named_parameters():
            if np.linalg.norm(truths[path]) < 1e-9 * largest:
                continue  # a bias before a norm: its gradient is 0, and all that float32 has there is noise
            ours.setdefault(path, []).append(gap(got[path], truths[path]))
            theirs.setdefault(path, []).append(gap(parameter.grad.numpy(), truths[path]))
    ratios = {path: np.median(ours[path]) / np.median(theirs[path]) for path in ours}
    worst = max(ratios, key=ratios.get)
    print(f"{key}: at most {ratios[worst]:.2f} ({worst}), median {np.median(list(ratios.values())):.2f}, "
          f"largest error {max(map(np.median, ours.values())):.1e}")
    assert ratios[worst] < 3, f"{worst}: {ratios[worst]:.2f} times PyTorch's error"
    quiet = [np.median(ours[path]) for path in ours if np.median(theirs[path]) < 1e-5]  # where PyTorch changed no mind
    assert max(quiet, default=0) < 1e-4


OPTIMIZERS = {
    "sgd": (lambda p: optim.SGD(p, 0.03, 0.9, False, 1e-2), torch.optim.SGD, dict(momentum=0.9), 0.03, 1e-2),
    "nesterov": (lambda p: optim.SGD(p, 0.03, 0.9, True, 1e-2), torch.optim.SGD, dict(momentum=0.9, nesterov=True),
                 0.03, 1e-2),
    "adam": (lambda p: optim.Adam(p, 1e-2, weight_decay=1e-2), torch.optim.Adam, {}, 1e-2, 1e-2),
    "adamw": (lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1), torch.optim.AdamW, {}, 1e-2, 0.1),
}


def torch_optimizer(key, net):
    _, kind, options, lr, decay = OPTIMIZERS[key]
    matrices, vectors = matrices_and_vectors(net)
    groups = [dict(params=matrices, weight_decay=decay), dict(params=vectors, weight_decay=0.0)]
    return kind(groups, lr=lr, **options)


@pytest.mark.parametrize("key", OPTIMIZERS)
def test_twenty_steps_of_an_optimizer(key):
    model = randomise(no_dropout("dnn5"))
    net = twin(model)
    one, two = OPTIMIZERS[key][0](model.params), torch_optimizer(key, net)
    rng = np.random.default_rng(0)
    for _ in range(20):
        model.params.grad[...] = rng.standard_normal(model.params.grad.shape)
        for name, grad in gradients(model).items():
            net.get_parameter(name).grad = tensor(grad)
        one.step()
        two.step()
    for name, value in values(model).items():
        np.testing.assert_allclose(value, net.get_parameter(name).detach().numpy(), rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("key", ["vgg", "vgg-fused", "lite", "micro", "dnn5"])
def test_ten_steps_of_training_track_pytorch(key):
    model = no_dropout(key)
    net = twin(model)
    optimizer = optim.SGD(model.params, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-3)
    matrices, vectors = matrices_and_vectors(net)
    groups = [dict(params=matrices, weight_decay=1e-3), dict(params=vectors, weight_decay=0.0)]
    theirs = torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True)
    ours, expected = [], []
    for step in range(10):
        x, target = pictures(model, 16, seed=step % 2)
        ours.append(loss_and_gradients(model, x, target)[0])
        expected.append(torch_step(net, x, target)[0])
        optimizer.step()
        theirs.step()
    np.testing.assert_allclose(ours, expected, rtol=1e-3)
    assert ours[-1] < ours[0] and ours[0] == pytest.approx(np.log(7), abs=1e-5)


def test_loss_with_weights_and_smoothing():
    rng = np.random.default_rng(0)
    z, target, weight = rng.standard_normal((9, 7)), rng.integers(0, 7, 9), rng.uniform(0.5, 2, 7)
    loss, dz = ops.softmax_cross_entropy(z, target, weight)
    x = tensor(z).requires_grad_()
    expected = torch.nn.functional.cross_entropy(x, tensor(target), tensor(weight))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(dz, x.grad.numpy(), rtol=1e-10, atol=1e-15)
