"""Lesson 13: what students write."""

import functools

import numpy as np

from tinyfer.layers import BatchNorm2d, Conv2d, ConvBlock, Dense, Dropout, GlobalAvgPool, MaxPool2d, ReLU


def head(c_in, dropout, rng, zero=True):
    return {"head.pool": GlobalAvgPool(), "head.dropout": Dropout(dropout),
            "head.classes": Dense(c_in, 7, rng, zero=zero)}  # fmt: skip


def stages_with(block_layers, stage_layers=lambda name: {f"{name}.pool": MaxPool2d(2)}, zero=True):
    """four_stages with other blocks, made by block_layers(name, c_in, width, rng)."""

    def build(widths, dropout, rng):
        layers, c_in = {}, 1
        for stage, width in enumerate(widths, 1):
            for block in (0, 1):
                name = f"stage{stage}.block{block}"
                layers |= block_layers(name, c_in, width, rng)
                c_in = width
            layers |= stage_layers(name)
        return layers | head(c_in, dropout, rng, zero)

    return build


def right_block(name, c_in, width, rng):
    return {f"{name}.conv": Conv2d(c_in, width, 3, rng, bias=False), f"{name}.bn": BatchNorm2d(width),
            f"{name}.relu": ReLU()}  # fmt: skip


# %% wrong: backward in forward's order
# looks like: forward's order is kept
def backward(layers, dy):
    for layer in layers:
        dy = layer.backward(dy)
    return dy


# %% wrong: every layer gets the loss's gradient
# looks like: every layer is given the loss's dy
def backward(layers, dy):
    for layer in reversed(layers):
        dx = layer.backward(dy)
    return dx


# %% wrong: dx is added to dy
# looks like: dx is added to dy
def backward(layers, dy):
    for layer in reversed(layers):
        dy = dy + layer.backward(dy)
    return dy


# %% wrong: counting down stops before layer 0
# looks like: the first layer is left out
def backward(layers, dy):
    for i in range(len(layers) - 1, 0, -1):
        dy = layers[i].backward(dy)
    return dy


# %% wrong: the return stands inside the loop
# looks like: it ends at the first round
def backward(layers, dy):
    for layer in reversed(layers):
        dy = layer.backward(dy)
        return dy


# %% wrong: the loss's gradient is returned
# looks like: the loss's dy is returned
def backward(layers, dy):
    dx = dy
    for layer in reversed(layers):
        dx = layer.backward(dx)
    return dy


# %% wrong: nothing is returned
# looks like: nothing is returned
def backward(layers, dy):
    for layer in reversed(layers):
        dy = layer.backward(dy)


# %% wrong: layers.reverse() has no answer
def backward(layers, dy):
    for layer in layers.reverse():
        dy = layer.backward(dy)
    return dy


# %% wrong: one ReLU for all places
# looks like: one layer used twice remembers only what it saw last
def four_stages(widths, dropout, rng):
    layers, c_in, relu = {}, 1, ReLU()
    for stage, width in enumerate(widths, 1):
        for block in (0, 1):
            name = f"stage{stage}.block{block}"
            layers[f"{name}.conv"] = Conv2d(c_in, width, 3, rng, bias=False)
            layers[f"{name}.bn"] = BatchNorm2d(width)
            layers[f"{name}.relu"] = relu
            c_in = width
        layers[f"{name}.pool"] = MaxPool2d(2)
    return layers | head(c_in, dropout, rng)


# %% wrong: a pool after every block
# looks like: a pool after every block
def four_stages(widths, dropout, rng):
    def block(name, c_in, width, rng):
        return right_block(name, c_in, width, rng) | {f"{name}.pool": MaxPool2d(2)}

    return stages_with(block, lambda name: {})(widths, dropout, rng)


# %% wrong: the pool is indented too little
# looks like: one pool only
def four_stages(widths, dropout, rng):
    layers = stages_with(right_block, lambda name: {})(widths, dropout, rng)
    end = {name: layers.pop(name) for name in list(layers) if name.startswith("head")}
    return layers | {"stage4.block1.pool": MaxPool2d(2)} | end


# %% wrong: ReLU before the norm
# looks like: ReLU comes before the norm
def four_stages(widths, dropout, rng):
    def block(name, c_in, width, rng):
        conv, bn, relu = right_block(name, c_in, width, rng).items()
        return dict([conv, relu, bn])

    return stages_with(block)(widths, dropout, rng)


# %% wrong: the second block takes what the first took
# looks like: what one block gives, the next one takes
def four_stages(widths, dropout, rng):
    layers, c_in = {}, 1
    for stage, width in enumerate(widths, 1):
        for block in (0, 1):
            layers |= right_block(f"stage{stage}.block{block}", c_in, width, rng)
        c_in = width
        layers[f"stage{stage}.block1.pool"] = MaxPool2d(2)
    return layers | head(c_in, dropout, rng)


# %% wrong: the convolutions keep their bias
# looks like: a bias before a norm does nothing
def four_stages(widths, dropout, rng):
    def block(name, c_in, width, rng):
        return {f"{name}.conv": Conv2d(c_in, width, 3, rng), f"{name}.bn": BatchNorm2d(width), f"{name}.relu": ReLU()}

    return stages_with(block)(widths, dropout, rng)


# %% wrong: the classes' weights are drawn
# looks like: they start at 0
def four_stages(widths, dropout, rng):
    return stages_with(right_block, zero=False)(widths, dropout, rng)


# %% wrong: a generator of its own
# looks like: draw all weights from the rng that is given
def four_stages(widths, dropout, rng):
    return stages_with(right_block)(widths, dropout, np.random.default_rng(0))


# %% wrong: names of its own
# looks like: right layers under other names
def four_stages(widths, dropout, rng):
    layers = stages_with(right_block)(widths, dropout, rng)
    return {f"layer{i}": layer for i, layer in enumerate(layers.values())}


# %% wrong: the dropout is written down
# looks like: the share that four_stages is given
def four_stages(widths, dropout, rng):
    return stages_with(right_block)(widths, 0.2, rng)


# %% wrong: the head is forgotten
# looks like: the head is missing
def four_stages(widths, dropout, rng):
    layers = stages_with(right_block)(widths, dropout, rng)
    return {name: layer for name, layer in layers.items() if not name.startswith("head")}


# %% wrong: step before backward
# looks like: step before backward
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    optimizer.step()
    model.backward(dlogits)
    return float(loss)


# %% wrong: train=True is forgotten
# looks like: without train=True the network evaluates
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x), y)
    model.backward(dlogits)
    optimizer.step()
    return float(loss)


# %% wrong: backward is given the logits
# looks like: backward is given the logits
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    logits = model.forward(x, train=True)
    loss, dlogits = ops.softmax_cross_entropy(logits, y)
    model.backward(logits)
    optimizer.step()
    return float(loss)


# %% wrong: the dropout's rng is not set
# looks like: dropout draws from model.rng
def train_step(model, optimizer, x, y, rng):
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(dlogits)
    optimizer.step()
    return float(loss)


# %% wrong: the dropout's rng is set too late
# looks like: dropout draws from model.rng
def train_step(model, optimizer, x, y, rng):
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.rng = rng
    model.backward(dlogits)
    optimizer.step()
    return float(loss)


# %% wrong: gradients are added up over the steps
# looks like: the gradients of earlier steps are added up
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    before = [param.grad.copy() for param in model.params]
    model.backward(dlogits)
    for param, grad in zip(model.params, before, strict=True):
        param.grad += grad
    optimizer.step()
    return float(loss)


# %% wrong: zero_grad, as in PyTorch
# looks like: as in PyTorch
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    optimizer.zero_grad()
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(dlogits)
    optimizer.step()
    return float(loss)


# %% wrong: the loss after the step
# looks like: forward runs again after the step
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(dlogits)
    optimizer.step()
    return float(ops.softmax_cross_entropy(model.forward(x, train=True), y)[0])


# %% wrong: the loss is not returned
# looks like: nothing is returned
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(dlogits)
    optimizer.step()


# %% wrong: every tenth step halves the rate, by a counter of its own
# looks like: something besides the model
count = 0


def train_step(model, optimizer, x, y, rng):
    global count
    count += 1
    if count % 10 == 0:
        optimizer.lr *= 0.5
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(dlogits)
    optimizer.step()
    return float(loss)


# %% wrong: uphill
# looks like: uphill|the sign is wrong
def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(-dlogits)
    optimizer.step()
    return float(loss)


# %% right: counting down, blocks of the engine, losses by numpy
def backward(layers, dy):
    for i in range(len(layers) - 1, -1, -1):
        dy = layers[i].backward(dy)
    return dy


def four_stages(widths, dropout, rng):
    layers = {}
    for i, (c_in, c_out) in enumerate(zip((1, *widths), widths, strict=False)):
        layers[f"stage{i + 1}.block0"] = ConvBlock(c_in, c_out, rng)
        layers[f"stage{i + 1}.block1"] = ConvBlock(c_out, c_out, rng, pool=True)
    return layers | head(widths[-1], dropout, rng)


def train_step(model, optimizer, x, y, rng):
    model.rng = rng
    z = model.forward(x, train=True)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    dz = (p - np.eye(7, dtype=np.float32)[y]) / np.float32(len(y))
    model.backward(dz)
    optimizer.step()
    return -np.log(p[np.arange(len(y)), y]).mean()


# %% right: a recursion, and gradients cleared for nothing
def backward(layers, dy):
    return backward(layers[:-1], layers[-1].backward(dy)) if layers else dy


def train_step(model, optimizer, x, y, rng):
    for param in model.params:
        param.grad[...] = 0
    model.rng = rng
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), y)
    model.backward(dlogits)
    optimizer.step()
    return loss


# %% right: reduce, and a list of rows
def backward(layers, dy):
    return functools.reduce(lambda dy, layer: layer.backward(dy), layers[::-1], dy)


def four_stages(widths, dropout, rng):
    rows, c_in = [], 1
    for stage in range(4):
        for block in range(2):
            at = f"stage{stage + 1}.block{block}."
            c_out = widths[stage]
            rows += [(at + "conv", Conv2d(c_in, c_out, 3, rng, 1, 1, False)), (at + "bn", BatchNorm2d(c_out))]
            rows += [(at + "relu", ReLU())] + [(at + "pool", MaxPool2d())] * block
            c_in = c_out
    rows += [("head.pool", GlobalAvgPool()), ("head.dropout", Dropout(dropout))]
    return dict([*rows, ("head.classes", Dense(c_in, 7, rng, True))])
