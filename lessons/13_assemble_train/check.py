"""The order of backward, layer by layer; the four stages against the engine's own; a step, five steps, and resuming."""

import functools
import itertools

import numpy as np

from lessons.checking import fail, hold, note, rng, told
from tinyfer import data, layers, machine, models, ops, optim, reference, seeds
from tinyfer.kernels.compile import announce

WIDTHS, SIZE, DROPOUT = (8, 16, 32, 64), 24, 0.2  # of the engine's micro
OTHER_DROPOUT = 0.35  # than any that is usual
BATCH, STEPS, RATE = 14, 5, 0.02

# ----------------------------------------------------------------------------------------------------------- backward


class Watched:
    """A layer that notes when its backward runs, and with what; its dx is factor * dy."""

    def __init__(self, name, factor, log):
        self.name, self.factor, self.log = name, factor, log

    def forward(self, x, train=False, keep=None):
        fail("backward calls forward", "forward has run long ago, and the layers have kept what they need")

    def backward(self, dy):
        if np.shape(dy) != (2, 3):
            fail(f"{self.name}.backward is given {_kind(dy)}", "each layer takes as its dy the dx of the one behind it")
        self.log.append((self.name, np.array(dy)))
        return self.factor * dy


def _kind(value):
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"{value!r:.40}"


def watched(mine, factors=(2.0, 3.0, 5.0)):
    """The student's backward through layers a, b, c -> (log, dy, dx)."""
    log, dy = [], np.arange(1.0, 7).reshape(2, 3)
    chain = [Watched(name, factor, log) for name, factor in zip("abc", factors, strict=False)]
    return log, dy, mine.backward(chain, dy)


def test_last_layer_first(mine):
    log, _, _ = watched(mine)
    order = " ".join(name for name, _ in log)
    if order != "c b a":
        looks = {"a b c": "forward's order is kept: backward begins at the last layer, reversed(layers)",
                 "c b": "the first layer is left out: counting down, range(len(layers) - 1, -1, -1) ends at 0",
                 "b a": "the last layer is left out: its index is len(layers) - 1",
                 "c": "the return stands inside the loop: it ends at the first round",
                 "": "no layer's backward runs"}  # fmt: skip
        fail(f"the layers ran backward in the order {order or 'of nobody'}, expected c b a", looks.get(order, ""),
             "layers a, b, c")  # fmt: skip
    note("c b a")


def test_dx_becomes_the_next_dy(mine):
    """Factors 2, 3, 5: c is given dy, b is given 5 dy, a is given 15 dy."""
    log, dy, _ = watched(mine)
    for (name, given), factor, added in zip(log, (1, 5, 15), (1, 6, 24), strict=True):
        hold(f"{name}'s dy", factor * dy, given, "layers a, b, c, dx = 2 dy, 3 dy, 5 dy", lookalikes={
            "every layer is given the loss's dy: hand the dx of one to the next": dy,
            "dx is added to dy: it takes dy's place, dy = layer.backward(dy)": added * dy})  # fmt: skip
    note("dy, then c's dx, then b's dx")


def test_what_backward_answers(mine):
    _, dy, dx = watched(mine)
    hold("dx", 30 * dy, dx, "layers a, b, c", lookalikes={
        "the loss's dy is returned: the dx of the first layer is asked for": dy,
        "the dx of the last layer is returned: that of the first is asked for": 5 * dy,
        "the dy of the first layer is returned: its dx is asked for": 15 * dy})  # fmt: skip
    note("the first layer's dx")


def test_real_layers(mine):
    """convolution, norm, ReLU, pool, flatten, dense: your dx and gradients are the engine's, to the bit."""
    announce(lambda: mine.say(machine.COMPILING))
    draw = rng("real layers")
    chain = [layers.Conv2d(2, 4, 3, draw), layers.BatchNorm2d(4), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(),
             layers.Dense(36, 3, draw)]  # fmt: skip
    x, dy = (draw.standard_normal(shape).astype(np.float32) for shape in ((4, 6, 6, 2), (4, 3)))
    stock = layers.Sequential({str(i): layer for i, layer in enumerate(chain)})
    stock.forward(x, train=True)
    expected = {"dx": stock.backward(dy), **gradients(chain)}
    for param in parameters(chain).values():
        param.grad[...] = 0
    actual = {"dx": mine.backward(chain, dy), **gradients(chain)}
    for name, right in expected.items():
        hold(name, right, actual[name], told(N=4, H=6, W=6, C=2), rtol=0, atol=0)
    note(f"dx and {len(expected) - 1} gradients, to the bit")


def parameters(chain):
    return {f"{type(layer).__name__}.{key}": param for layer in chain for key, param in layer.parameters().items()}


def gradients(chain):
    return {f"d {name}": param.grad.copy() for name, param in parameters(chain).items()}


# -------------------------------------------------------------------------------------------------------- four stages


def stages(mine, widths=WIDTHS, dropout=DROPOUT):
    """The student's dict of layers."""
    answer = mine.four_stages(widths, dropout, rng("weights"))
    if not isinstance(answer, dict) or not all(isinstance(layer, layers.Layer) for layer in answer.values()):
        looks = "nothing is returned: is the `return` there?" if answer is None else ""
        fail(f"four_stages answers {_kind(answer)}, expected a dict of layers by their names", looks)
    return answer


def leaves(chain):
    return list(layers.Sequential(chain).leaves())


def test_layers_and_their_order(mine):
    yours, ours = leaves(stages(mine)), list(engine().leaves())
    no_two_alike(yours)
    kinds, expected = [type(leaf).__name__ for _, leaf in yours], [type(leaf).__name__ for _, leaf in ours]
    if kinds != expected:
        at = next(i for i, (one, other) in enumerate(itertools.zip_longest(kinds, expected)) if one != other)
        given, right = (f"{where[at][0]} ({type(where[at][1]).__name__})" if at < len(where) else "missing"
                        for where in (yours, ours))  # fmt: skip
        fail(f"layer {at + 1} is {given}, expected {right.replace('missing', 'no more')}", mixed_up(kinds, expected))
    for (name, _), (right, leaf) in zip(yours, ours, strict=True):
        if name != right:
            fail(f"a layer is called {name!r}, expected {right!r} ({type(leaf).__name__})",
                 "right layers under other names: by their names the engine saves and loads the weights")  # fmt: skip
    note(f"{len(yours)} layers")


def no_two_alike(found):
    """Fault where one object stands in two places."""
    seen = {}
    for name, leaf in found:
        if id(leaf) in seen:
            fail(f"{seen[id(leaf)]} and {name} are one and the same object", "one layer used twice remembers only what "
                 "it saw last, and its weights are shared: make a new one for each place")  # fmt: skip
        seen[id(leaf)] = name


def mixed_up(kinds, expected):
    """What a list of layers that is not the expected one looks like."""
    pools = kinds.count("MaxPool2d")
    if kinds[1:3] == ["ReLU", "BatchNorm2d"]:
        return "ReLU comes before the norm: convolution, norm, ReLU"
    if kinds[3:4] == ["MaxPool2d"] and pools == 8:
        return "a pool after every block: only the second block of each stage has one"
    if pools == 1:
        return "one pool only, after all the stages: is it indented too little? Each stage ends with one"
    if pools == 0:
        return "no pools: each stage ends with one, which halves the picture"
    if len(kinds) < len(expected) and kinds == [k for i, k in enumerate(expected) if not 3 <= i % 7 <= 5 or i >= 28]:
        return "one block a stage: each has two"
    if kinds and kinds[-1] in ("ReLU", "MaxPool2d", "BatchNorm2d"):
        return "the head is missing: global average pooling, dropout, and the dense layer of the classes"
    return ""


def test_shapes_of_the_weights(mine):
    sized(leaves(stages(mine)), engine())
    other = models.lite(rng("weights"), dropout=OTHER_DROPOUT)
    sized(leaves(stages(mine, (32, 64, 128, 256), OTHER_DROPOUT)), other)
    note(f"micro's {engine().params.value.size:,} numbers, and lite's {other.params.value.size:,}")


def sized(found, model):
    """Fault unless the leaves have the weights and settings of the model's."""
    for (name, leaf), (_, right) in zip(found, model.leaves(), strict=True):
        own, wanted = leaf.parameters(), right.parameters()
        if "bias" in own and "bias" not in wanted:
            fail(
                f"{name} has a bias", "a bias before a norm does nothing, since the norm subtracts the mean: bias=False"
            )
        for key, param in own.items():
            given, expected = param.value.shape, wanted[key].value.shape
            if given != expected:
                looks = ("what one block gives, the next one takes: c_in = width, also for the second block"
                         if isinstance(leaf, layers.Conv2d) and given[2] != expected[2] else "")  # fmt: skip
                fail(f"{name}.{key} is {given}, expected {expected}", looks, told(widths=model_widths(model)))
        for setting in ("stride", "pad", "size", "p"):
            if getattr(leaf, setting, None) != getattr(right, setting, None):
                looks = "the share that four_stages is given as dropout: Dropout(dropout)" if setting == "p" else ""
                fail(f"{name}.{setting} is {getattr(leaf, setting)}, expected {getattr(right, setting)}", looks)


def model_widths(model):
    return tuple(leaf.weight.value.shape[3] for _, leaf in model.leaves() if isinstance(leaf, layers.Conv2d))[::2]


def test_loss_at_the_start(mine):
    """Seven equal probabilities: -log(1/7)."""
    x, y = batch(0)
    loss, _ = ops.softmax_cross_entropy(network(mine).forward(x, train=True), y)
    hold("loss", np.log(7), float(loss), told(N=len(y)), rtol=1e-5,
         looks="the classes' weights are drawn: they start at 0, Dense(..., zero=True)")  # fmt: skip
    note("ln 7 = 1.9459")


def test_weights_as_the_engine_draws_them(mine):
    """The same rng makes the same network: what you train, ours can load, and the other way round."""
    yours, ours = network(mine).state(), engine().state()
    for name, right in ours.items():
        hold(name, right, yours[name], rtol=0, atol=0, looks="draw all weights from the rng that is given, and from "
             "the first layer on: rng goes to every Conv2d")  # fmt: skip
    note("to the bit")


# -------------------------------------------------------------------------------------------------------------- a step


class WatchedModel:
    """A model that notes what a step does to it; its logits are given."""

    def __init__(self, logits, log):
        self.logits, self.log, self.rng, self.params = logits, log, None, []

    def forward(self, x, train=False, keep=None):
        self.log.append("forward")
        self.given, self.train, self.drawn = np.array(x), train, self.rng
        return self.logits.copy()

    def backward(self, dy, input_gradient=True):
        self.log.append("backward")
        self.dy = dy


class WatchedOptimizer:
    lr = RATE

    def __init__(self, log):
        self.log = log

    def step(self):
        self.log.append("step")

    def zero_grad(self, *_, **__):
        fail("there is no zero_grad", "as in PyTorch: there gradients are added up until they are cleared; here "
             "backward assigns them, and nothing is to be cleared")  # fmt: skip


@functools.cache
def scores():
    """Logits (4,7) and classes (4,)."""
    return rng("logits").standard_normal((4, 7)).astype(np.float32), np.array([2, 0, 6, 3])


def watched_step(mine):
    """One step of the student's on watched objects -> (model, log, loss)."""
    log, (logits, y) = [], scores()
    model = WatchedModel(logits, log)
    x = np.ones((4, SIZE, SIZE, 1), np.float32)
    return model, log, mine.train_step(model, WatchedOptimizer(log), x, y, rng("dropout"))


def test_a_step_in_its_order(mine):
    model, log, _ = watched_step(mine)
    if "forward" in log and not model.train:
        fail("forward runs without train=True", "without train=True the network evaluates: no dropout, old statistics "
             "in the norms, and nothing is kept for backward")  # fmt: skip
    order, right = ", ".join(log), "forward, backward, step"
    looks = {
        "step, forward, backward": "the step comes first: it goes by the gradients of the step before",
        "forward, step, backward": "step before backward: it goes by the gradients of the step before, at first zeros",
        "forward, backward": "the optimizer's step is missing: nothing is ever learned",
        "forward, step": "backward is missing: the gradients stay what they were",
        "forward, forward, backward, step": "forward runs twice: the second one moves the norms' averages again",
        "forward, backward, step, forward": "forward runs again after the step: the loss before it is asked for",
        "forward, backward, step, step": "two steps go by one gradient",
        "forward, backward, backward, step": "backward runs twice: gradients are assigned, the first ones are lost",
    }
    if order != right:
        fail(f"the order is {order or 'nothing at all'}, expected {right}", looks.get(order, ""))
    note(right)


def test_what_backward_is_given(mine):
    model, _, loss = watched_step(mine)
    logits, y = scores()
    right, dlogits = reference.softmax_cross_entropy(logits, y, np.ones(7, np.float32), 0.0)
    hold("backward's dy", dlogits, model.dy, told(N=4), sizes={"N": 4}, lookalikes={
        "backward is given the logits: it takes their gradient, the second answer of softmax_cross_entropy": logits,
        "backward is given the probabilities: the target is not subtracted": reference.softmax(logits)},
         looks="is it the gradient that softmax_cross_entropy answers?")  # fmt: skip
    if loss is None:
        fail("train_step returns nothing: the loss is the answer", "nothing is returned: is the `return` there?")
    hold("loss", float(right), loss, told(N=4), sizes={"N": 4}, rtol=1e-5)
    note("the gradient of the logits")


def test_dropout_and_its_rng(mine):
    model, _, _ = watched_step(mine)
    if not isinstance(model.drawn, np.random.Generator) or (
        model.drawn.bit_generator.state != rng("dropout").bit_generator.state
    ):
        fail("in forward, model.rng is not the rng of this step", "dropout draws from model.rng: set model.rng = rng "
             "before forward, or a run that is stopped and resumed draws other masks")  # fmt: skip
    note("model.rng = rng")


# ------------------------------------------------------------------------------------------------- your steps together


def engine():
    """The engine's own micro."""
    return models.micro(rng("weights"), size=SIZE, dropout=DROPOUT)


def network(mine):
    """The student's stages as a model of the engine, with the student's backward in it."""
    model = models.Model("micro", {"size": SIZE, "dropout": DROPOUT}, stages(mine))
    model.backward = lambda dy, input_gradient=True: mine.backward(list(model.layers.values()), dy)
    return model


@functools.cache
def batches():
    faces = data.toyfaces(70, rng("faces"), size=SIZE).train
    return data.Batches(faces, BATCH, data.Preprocess(size=SIZE), 0, "light")


def batch(step):
    return batches().batch(*divmod(step, batches().steps_per_epoch))


def train(model, optimizer, step, start, end):
    """The losses of steps start .. end - 1, by step(model, optimizer, x, y, rng)."""
    losses = [step(model, optimizer, *batch(i), seeds.generator(0, "dropout", 0, i)) for i in range(start, end)]
    return np.array(losses, float)


def fresh(model):
    return model, optim.SGD(model.params, lr=RATE)


def wrong_steps():
    """Losses that classic mistakes would give, by the engine's own network."""

    def forward(model, x, y, rng):
        model.rng = rng
        return ops.softmax_cross_entropy(model.forward(x, train=True), y)

    def accumulating(model, optimizer, x, y, rng):
        loss, dlogits = forward(model, x, y, rng)
        before = model.params.grad.copy()
        model.backward(dlogits)
        model.params.grad[...] += before
        optimizer.step()
        return loss

    def uphill(model, optimizer, x, y, rng):
        loss, dlogits = forward(model, x, y, rng)
        model.backward(-dlogits)
        optimizer.step()
        return loss

    sentences = {accumulating: "the gradients of earlier steps are added up: each step has its own",
                 uphill: "the step goes uphill: is a sign turned?"}  # fmt: skip
    return {sentence: train(*fresh(engine()), step, 0, STEPS) for step, sentence in sentences.items()}


def right_step(model, optimizer, x, y, rng):
    """What the engine does."""
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(dlogits)
    optimizer.step()
    return loss


def test_five_steps(mine):
    """Your network, your backward and your step against the engine's fast ones."""
    (yours, one), (ours, other) = fresh(network(mine)), fresh(engine())
    expected = train(ours, other, right_step, 0, STEPS)
    losses = train(yours, one, mine.train_step, 0, STEPS)
    hold("losses", expected, losses, told(N=BATCH, steps=STEPS), rtol=1e-3, lookalikes=wrong_steps)
    hold("weights", ours.params.value, yours.params.value, told(N=BATCH, steps=STEPS), rtol=1e-3)
    note(f"losses {' '.join(f'{loss:.3f}' for loss in losses)}: the engine's")


def test_resumed_run_has_the_same_bits(mine):
    """Four steps at once, and two, saved, loaded into a fresh network, and two more."""
    whole, optimizer = fresh(network(mine))
    train(whole, optimizer, mine.train_step, 0, 4)
    first, before = fresh(network(mine))
    train(first, before, mine.train_step, 0, 2)
    second, after = fresh(network(mine))
    second.load_state(first.state())
    after.load_state(before.state())
    train(second, after, mine.train_step, 2, 4)
    for name, right in whole.state().items():
        if not np.array_equal(right, second.state()[name]):
            fail(f"{name} differs between a run of 4 steps and one that was stopped and resumed after 2",
                 "a step depends on something besides the model, the optimizer, x, y and rng: a global, a counter, "
                 "numbers drawn elsewhere")  # fmt: skip
    note("2 + 2 steps = 4 steps")


def test_learns_fourteen_faces_by_heart(mine):
    model, optimizer = fresh(network(mine))
    x, y = batch(0)
    for i in range(30):
        loss = mine.train_step(model, optimizer, x, y, seeds.generator(0, "dropout", 0, i))
    right = (model.forward(x).argmax(1) == y).mean()
    if not loss < 0.2:
        fail(f"after 30 steps on the same 14 faces the loss is {loss:.2f}, expected less than 0.2")
    note(f"loss {loss:.3f} after 30 steps, {100 * right:.0f} % right")
