"""State dicts: exact both ways, refused by name where they do not fit, and taken by the PyTorch module they are for."""

import textwrap

import numpy as np
import pytest

from tests.nets import SMALL, one_thread, pictures, randomise, small  # noqa: F401
from tinyfer import models, torch_state
from tinyfer.errors import UserError
from tinyfer.torch_state import from_state_dict, to_state_dict

W, DENSE = "stage1.block0.conv.weight", "head.dense0.weight"


@pytest.mark.parametrize("key", SMALL)
def test_a_round_trip_is_exact_to_the_bit(key):
    model, other = randomise(small(key)), small(key, seed=5)
    state = to_state_dict(model)
    flat = other.params.value
    from_state_dict(other, state)
    assert other.params.value is flat
    assert all(np.array_equal(array, other.state()[name]) for name, array in model.state().items())
    again = to_state_dict(other)
    assert again.keys() == state.keys() and all(np.array_equal(again[name], state[name]) for name in state)
    assert sum(a.size for a in state.values()) == sum(a.size for a in model.state().values())
    assert all(a.dtype == np.float32 and a.flags.c_contiguous and a.flags.writeable for a in state.values())
    before = model.params.value.copy()
    for array in state.values():
        array += 1
    assert np.array_equal(model.params.value, before), "to_state_dict answers copies"


def test_names_and_axes_are_pytorchs():
    model = randomise(small("cnn4", size=32))  # maps of 2x2x512 are flattened
    state, ours = to_state_dict(model), model.state()
    assert list(state)[:5] == [f"block0.{name}" for name in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean",
                                                             "bn.running_var")]
    assert np.array_equal(state["block1.conv.weight"][7, 3, 1, 4], ours["block1.conv.weight"][1, 4, 3, 7])
    assert np.array_equal(state["block2.bn.weight"], ours["block2.bn.gamma"])
    features = np.arange(4 * 512).reshape(2, 2, 512).transpose(2, 0, 1).ravel()  # ours, in PyTorch's order
    assert np.array_equal(state[DENSE], ours[DENSE][features].T)
    assert np.array_equal(state["head.dense1.weight"], ours["head.dense1.weight"].T)
    assert np.array_equal(state["head.dense0.bias"], ours["head.dense0.bias"])


def test_gradients_go_by_the_same_names():
    model = randomise(small("dnn5"))
    model.params.grad[...] = np.arange(model.params.grad.size)
    grads = to_state_dict(model, {p.name: p.grad for p in model.params})
    assert grads.keys() == to_state_dict(model).keys()  # it has no running statistics
    model.params.value[...] = model.params.grad
    assert all(np.array_equal(array, grads[name]) for name, array in to_state_dict(model).items())


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop(W), rf"not of vgg\(size=16, .*; missing: {W}\. Build the model with"),
    (lambda s: s.update(extra=np.zeros(2)), "unexpected: extra"),
    (lambda s: s.update({W: s[W].transpose(2, 3, 1, 0)}),
     rf"of a wrong shape: {W} \(3, 3, 1, 8\), expected \(8, 1, 3, 3\)\."),
    (lambda s: s.update({DENSE: s[DENSE].T[:5]}), rf"{DENSE} \(5, 512\), expected \(512, 64\)"),
    (lambda s: [s.pop(name) for name in list(s)], r"missing: .*stage1\.block0\.bn\.weight.* and \d+ more\."),
    (lambda s: [s.update({f"module.{name}": s.pop(name)}) for name in list(s)],
     rf"missing: {W}, .* more; unexpected: module\.{W}, "),
])
def test_what_does_not_fit_is_named_and_changes_nothing(change, message):
    model = randomise(small("vgg"))
    before = model.state()
    state = {name: array + 1 for name, array in to_state_dict(model).items()}
    change(state)
    with pytest.raises(UserError, match=message):
        from_state_dict(model, state)
    assert all(np.array_equal(array, before[name]) for name, array in model.state().items())


# ---------------------------------------------------------------------------------------------------------- PyTorch


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def documented_module():
    """The module that torch_state's docstring tells its readers to write for `models.lite()`."""
    text = torch_state.__doc__
    start = text.index("    from collections import OrderedDict")
    space = {}
    exec(textwrap.dedent(text[start:text.index("\n\nIt takes")]), space)
    return space["net"]


def logits(torch, net, x):
    net.eval()
    with torch.no_grad():
        return net(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()


@pytest.mark.torch
def test_the_module_of_the_docstring_answers_as_lite_does_and_teaches_it(torch):
    model, net = models.load("lite"), documented_module()
    net.load_state_dict({name: torch.from_numpy(array) for name, array in to_state_dict(model).items()})
    x, _ = pictures(model, 4)
    expected = model.forward(x)
    assert np.ptp(expected) > 1 and np.abs(logits(torch, net, x) - expected).max() < 1e-4
    torch.manual_seed(0)
    net = documented_module()  # now the other way: what PyTorch has trained, or here drawn
    net.train()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))  # running statistics of its own
    from_state_dict(model, net.state_dict())
    assert np.abs(model.forward(x) - logits(torch, net, x)).max() < 1e-4
    assert all(np.array_equal(tensor.numpy(), to_state_dict(model)[name]) for name, tensor in net.state_dict().items()
               if not name.endswith("num_batches_tracked"))


@pytest.mark.torch
def test_tensors_that_numpy_does_not_know_are_one_sentence(torch):
    with pytest.raises(UserError, match=rf"{W} is torch\.bfloat16.*net\.float\(\)"):
        from_state_dict(models.lite(), documented_module().bfloat16().state_dict())
