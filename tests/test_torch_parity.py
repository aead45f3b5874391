"""Every op against PyTorch, forward and backward in float64: two programs written apart, one answer."""

import numpy as np
import pytest

from tinyfer import cases, gradcheck, ops, reference

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.torch


def tensor(a, picture=False, grad=True):
    """An array as a leaf tensor; pictures go from (N,H,W,C) to PyTorch's (N,C,H,W)."""
    a = np.ascontiguousarray(a.transpose(0, 3, 1, 2) if picture and a.ndim == 4 else a)
    return torch.from_numpy(a).requires_grad_(grad and a.dtype.kind == "f")


def array(t, picture=False):
    a = t.detach().numpy()
    return a.transpose(0, 2, 3, 1) if picture and a.ndim == 4 else a


def gradients(y, dy, leaves, pictures):
    y.backward(tensor(dy, picture=True, grad=False))
    return [array(leaf.grad, picture) for leaf, picture in zip(leaves, pictures, strict=True)]


def conv2d(dy, x, w, stride, pad):
    xt, wt = tensor(x, True), torch.from_numpy(w.transpose(3, 2, 0, 1).copy()).requires_grad_()
    bt = torch.zeros(w.shape[3], dtype=wt.dtype, requires_grad=True)
    y = F.conv2d(xt, wt, bt, stride, pad)
    y.backward(tensor(dy, True, False))
    return array(y, True), (array(xt.grad, True), wt.grad.numpy().transpose(2, 3, 1, 0), bt.grad.numpy())


def elementwise(function):
    def run(dy, x, *rest):
        xt = tensor(x)
        y = function(xt, *rest)
        y.backward(torch.from_numpy(np.ascontiguousarray(dy)))
        return array(y), (array(xt.grad),)

    return run


def batchnorm(training):
    def run(dy, x, gamma, mean, var, eps):
        xt, g, b = tensor(x, True), tensor(gamma), torch.zeros(len(gamma), dtype=torch.float64, requires_grad=True)
        m, v = tensor(mean.copy(), grad=False), tensor(var.copy(), grad=False)
        y = F.batch_norm(xt, m, v, g, b, training, 0.0 if training else 0.1, eps)
        y.backward(tensor(dy, True, False))
        return array(y, True), (array(xt.grad, True), g.grad.numpy(), b.grad.numpy())

    return run


def dense(dy, x, w):
    xt, wt, bt = tensor(x), tensor(w.T), torch.zeros(w.shape[1], dtype=torch.float64, requires_grad=True)
    y = F.linear(xt, wt, bt)
    y.backward(torch.from_numpy(dy))
    return array(y), (array(xt.grad), wt.grad.numpy().T, bt.grad.numpy())


FORWARD = {  # backward op -> y from its arguments without dy
    "conv2d_backward": lambda x, w, stride, pad: ops.conv2d_forward(x, w, None, stride, pad),
    "relu_backward": ops.relu_forward,
    "leaky_relu_backward": ops.leaky_relu_forward,
    "batchnorm_backward": lambda x, gamma, mean, var, eps: ops.batchnorm_forward(x, gamma, 0 * gamma, eps)[0],
    "batchnorm_eval_backward": lambda x, g, mean, var, eps: ops.batchnorm_eval_forward(x, g, 0 * g, mean, var, eps),
    "dense_backward": ops.dense_forward,
    "dropout_backward": lambda mask: None,
}
TORCH = {
    "conv2d_backward": conv2d, "relu_backward": elementwise(F.relu), "leaky_relu_backward": elementwise(F.leaky_relu),
    "batchnorm_backward": batchnorm(True), "batchnorm_eval_backward": batchnorm(False), "dense_backward": dense,
}  # fmt: skip


def near(ours, theirs, case):
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=repr(case))


@pytest.mark.parametrize("op", TORCH)
def test_forward_and_backward(op):
    def check(op, case):
        args = case.copies()
        y, expected = TORCH[op](*args)
        near(FORWARD[op](*args[1:]), y, case)
        for ours, theirs in zip(cases.outputs(op, getattr(ops, op), args), expected, strict=True):
            near(ours, theirs, case)
        return 0.0

    gradcheck.prove(op, check)


def test_pooling():
    def check(op, case):
        x, size, stride = case.copies()
        xt = tensor(x, True)
        y = F.max_pool2d(xt, size, stride)
        ours, index = ops.maxpool_forward(x, size, stride)
        near(ours, array(y, True), case)
        if case.said["values"] == "distinct":  # PyTorch's ties depend on how it vectorises
            dy = np.random.default_rng(1).standard_normal(ours.shape)
            y.backward(tensor(dy, True, False))
            near(ops.maxpool_backward(dy, index, x.shape, size, stride), array(xt.grad, True), case)
        near(ops.global_avgpool_forward(x), array(xt.mean((2, 3))), case)
        return 0.0

    gradcheck.prove("maxpool_forward", check)


def test_softmax_and_cross_entropy():
    def check(op, case):
        z, target, weight, smoothing = case.copies()
        zt = tensor(z)
        near(ops.softmax(z), array(F.softmax(zt, 1)), case)
        if (weight != 1).any() and (smoothing or target.ndim == 2):
            return 0.0  # PyTorch weighs each class's term there, this engine each picture
        loss = F.cross_entropy(zt, torch.from_numpy(target), torch.from_numpy(weight), label_smoothing=smoothing)
        loss.backward()
        ours, dz = ops.softmax_cross_entropy(z, target, weight, smoothing)
        near(ours, loss.item(), case)
        near(dz, zt.grad.numpy(), case)
        return 0.0

    gradcheck.prove("softmax_cross_entropy", check)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_over_ten_steps(nesterov):
    w, v = np.random.default_rng(0).standard_normal(50), np.zeros(50)
    wt = tensor(w.copy())
    theirs = torch.optim.SGD([wt], lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01)
    for step in range(10):
        g = np.random.default_rng(step + 1).standard_normal(50)
        wt.grad = torch.from_numpy(g)
        theirs.step()
        ops.sgd_update(w, g, v, 0.1, 0.9, nesterov, 0.01)
    near(w, array(wt), "sgd")


def test_adamw_over_ten_steps():
    w, m, v = np.random.default_rng(0).standard_normal(50), np.zeros(50), np.zeros(50)
    wt = tensor(w.copy())
    theirs = torch.optim.AdamW([wt], lr=0.01, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1)
    for step in range(10):
        g = np.random.default_rng(step + 1).standard_normal(50)
        wt.grad = torch.from_numpy(g)
        theirs.step()
        ops.adam_update(w, g, m, v, step + 1, 0.01, 0.9, 0.99, 1e-3, 0.1)
    near(w, array(wt), "adamw")


def test_the_reference_too():
    with ops.using(reference):
        test_forward_and_backward("conv2d_backward")
