"""Whole networks beside their twins in PyTorch: values, gradients, running statistics, optimizers, ten steps of it all.

PyTorch's arrays are (N,C,H,W) and its weights (C_out,C_in,kh,kw); `twin` is the one place that knows."""

import itertools

import numpy as np
import pytest

from tests.nets import SMALL, in_float64, loss_and_gradients, one_thread, pictures, randomise, small  # noqa: F401
from tinyfer import kernels, ops, optim
from tinyfer.layers import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool, MaxPool2d, ReLU

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def torch_with_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Lambda(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def tensor(array):
    return torch.from_numpy(np.array(array))


def to_torch(w):
    """Our weights or gradient as PyTorch lays them out: (kh,kw,C,K) -> (K,C,kh,kw), (D,K) -> (K,D)."""
    return tensor(w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T)


def module(leaf):
    """One of our layers as PyTorch's, with the same numbers in it."""
    if isinstance(leaf, Conv2d):
        k, _, c_in, c_out = leaf.weight.value.shape
        twin = torch.nn.Conv2d(c_in, c_out, k, leaf.stride, leaf.pad, bias=leaf.bias is not None)
    elif isinstance(leaf, Dense):
        twin = torch.nn.Linear(*leaf.weight.value.shape)
    elif isinstance(leaf, BatchNorm2d):
        after_dense = getattr(leaf, "after_dense", False)
        twin = (torch.nn.BatchNorm1d if after_dense else torch.nn.BatchNorm2d)(leaf.gamma.value.size, leaf.eps)
        twin.running_mean, twin.running_var = tensor(leaf.running_mean), tensor(leaf.running_var)
    elif isinstance(leaf, MaxPool2d):
        return torch.nn.MaxPool2d(leaf.size, leaf.stride)
    elif isinstance(leaf, ReLU):
        return torch.nn.ReLU()
    elif isinstance(leaf, GlobalAvgPool):
        return Lambda(lambda x: x.mean((2, 3)))
    else:
        assert isinstance(leaf, Flatten)
        return Lambda(lambda x: x.permute(0, 2, 3, 1).flatten(1))
    names = {"gamma": "weight", "beta": "bias"}
    for name, p in leaf.parameters().items():
        setattr(twin, names.get(name, name), torch.nn.Parameter(to_torch(p.value)))
    return twin


def twin(model):
    """The network in PyTorch, without dropout, in the dtype of its parameters."""
    leaves = [leaf for _, leaf in model.leaves() if not isinstance(leaf, Dropout)]
    for before, leaf in itertools.pairwise(leaves):
        leaf.after_dense = isinstance(before, Dense)
    return torch.nn.Sequential(*[module(leaf) for leaf in leaves])


def torch_parameters(net):
    """In the order of our layers; ours by path in the same order."""
    return list(net.parameters())


def our_params(model):
    return [p for _, leaf in model.leaves() for p in leaf.parameters().values()]


def torch_step(net, x, target):
    """Loss and dx of one pass; gradients are left in the net."""
    net.zero_grad()
    x = tensor(x.transpose(0, 3, 1, 2)).requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(x), tensor(target), label_smoothing=0.1)
    loss.backward()
    return loss.item(), x.grad.numpy().transpose(0, 2, 3, 1)


def no_dropout(key, **options):
    model = small(key, **(dict(dropout=0.0) | options))
    for _, leaf in model.leaves():
        if isinstance(leaf, Dropout):
            leaf.p = 0.0
    return model


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
    for p, q in zip(our_params(model), torch_parameters(net), strict=True):
        np.testing.assert_allclose(to_torch(p.grad).numpy(), q.grad.numpy(), rtol=1e-8, atol=1e-10 * largest,
                                   err_msg=p.name)
    theirs = [m for m in net if hasattr(m, "running_mean")]
    ours = [leaf for _, leaf in model.leaves() if isinstance(leaf, BatchNorm2d)]
    for a, b in zip(ours, theirs, strict=True):  # the running statistics' convention is PyTorch's
        np.testing.assert_allclose(a.running_mean, b.running_mean.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(a.running_var, b.running_var.numpy(), rtol=1e-9)


@pytest.mark.parametrize("key", ["vgg", "vgg-relu-bn", "cnn4", "lite"])
def test_float32_gradients_are_as_near_to_the_truth_as_pytorchs(key):
    """Block by block, per tensor, against float64, at most 3 times PyTorch's own error; the median of five draws, for a
    single ReLU or pooling that changes its mind near a tie is chance and outweighs all rounding. The fused way has
    Winograd's larger rounding and bounds of its own (test_fused.py)."""
    ours, theirs = {}, {}
    for seed in range(5):
        model = randomise(no_dropout(key), seed)
        exact, net = in_float64(randomise(no_dropout(key), seed)), twin(model)
        x, target = pictures(model, 10, seed)
        with ops.using(relu_forward=lambda x: kernels.relu_forward(x)):  # an overridden op spells the runs out
            loss_and_gradients(model, x, target)
        loss_and_gradients(exact, x.astype(np.float64), target)
        torch_step(net, x, target)
        largest = max(np.linalg.norm(p.grad) for p in our_params(exact))
        for p, q, truth in zip(our_params(model), torch_parameters(net), our_params(exact), strict=True):
            if np.linalg.norm(truth.grad) < 1e-9 * largest:
                continue  # a bias before a norm: its gradient is 0, and all that float32 has there is noise
            ours.setdefault(p.name, []).append(gap(p.grad, truth.grad))
            theirs.setdefault(p.name, []).append(gap(q.grad.numpy(), to_torch(truth.grad).numpy()))
    ratios = {name: np.median(ours[name]) / np.median(theirs[name]) for name in ours}
    worst = max(ratios, key=ratios.get)
    print(f"{key}: at most {ratios[worst]:.2f} ({worst}), median {np.median(list(ratios.values())):.2f}, "
          f"largest error {max(map(np.median, ours.values())):.1e}")
    assert ratios[worst] < 3, f"{worst}: {ratios[worst]:.2f} times PyTorch's error"
    assert max(map(np.median, ours.values())) < 1e-4


OPTIMIZERS = {
    "sgd": (lambda p: optim.SGD(p, 0.03, 0.9, False, 1e-2), torch.optim.SGD, dict(momentum=0.9), 0.03, 1e-2),
    "nesterov": (lambda p: optim.SGD(p, 0.03, 0.9, True, 1e-2), torch.optim.SGD, dict(momentum=0.9, nesterov=True),
                 0.03, 1e-2),
    "adam": (lambda p: optim.Adam(p, 1e-2, weight_decay=1e-2), torch.optim.Adam, {}, 1e-2, 1e-2),
    "adamw": (lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1), torch.optim.AdamW, {}, 1e-2, 0.1),
}


def torch_optimizer(key, model, net):
    _, kind, options, lr, decay = OPTIMIZERS[key]
    matrices = [q for q in torch_parameters(net) if q.ndim > 1]
    vectors = [q for q in torch_parameters(net) if q.ndim == 1]
    groups = [dict(params=matrices, weight_decay=decay), dict(params=vectors, weight_decay=0.0)]
    return kind(groups, lr=lr, **options)


@pytest.mark.parametrize("key", OPTIMIZERS)
def test_twenty_steps_of_an_optimizer(key):
    model = randomise(no_dropout("dnn5"))
    net = twin(model)
    one, two = OPTIMIZERS[key][0](model.params), torch_optimizer(key, model, net)
    rng = np.random.default_rng(0)
    for _ in range(20):
        model.params.grad[...] = rng.standard_normal(model.params.grad.shape)
        for p, q in zip(our_params(model), torch_parameters(net), strict=True):
            q.grad = to_torch(p.grad)
        one.step()
        two.step()
    for p, q in zip(our_params(model), torch_parameters(net), strict=True):
        np.testing.assert_allclose(to_torch(p.value).numpy(), q.detach().numpy(), rtol=1e-5, atol=2e-6, err_msg=p.name)


@pytest.mark.parametrize("key", ["vgg", "vgg-fused", "lite", "micro", "dnn5"])
def test_ten_steps_of_training_track_pytorch(key):
    model = no_dropout(key)
    net = twin(model)
    optimizer = optim.SGD(model.params, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-3)
    matrices = [q for q in torch_parameters(net) if q.ndim > 1]
    vectors = [q for q in torch_parameters(net) if q.ndim == 1]
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
