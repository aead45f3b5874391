"""Lesson 13, Assemble and train: the parts become the four-stage network, and a step makes it a little better."""

from tinyfer import ops
from tinyfer.layers import BatchNorm2d, Conv2d, Dense, Dropout, GlobalAvgPool, MaxPool2d, ReLU


def backward(layers, dy):
    """layers, a list in the order in which forward ran them; dy, the gradient of what the last one answered -> dx.

    layer.backward(dy) answers that layer's dx, and fills the gradients of its weights."""
    # BEGIN ANSWER
    for layer in reversed(layers):
        dy = layer.backward(dy)
    return dy
    # END ANSWER


def four_stages(widths, dropout, rng):
    """widths, the channels of the four stages, such as (8, 16, 32, 64) -> a dict, name -> layer, first to last.

    Pictures have one channel, the classes are seven. All weights are drawn from rng, from the first layer on."""
    # BEGIN ANSWER
    layers, c_in = {}, 1
    for stage, width in enumerate(widths, 1):
        for block in (0, 1):
            name = f"stage{stage}.block{block}"
            layers[f"{name}.conv"] = Conv2d(c_in, width, 3, rng, bias=False)
            layers[f"{name}.bn"] = BatchNorm2d(width)
            layers[f"{name}.relu"] = ReLU()
            c_in = width
        layers[f"{name}.pool"] = MaxPool2d(2)
    layers["head.pool"] = GlobalAvgPool()
    layers["head.dropout"] = Dropout(dropout)
    layers["head.classes"] = Dense(c_in, 7, rng, zero=True)
    return layers
    # END ANSWER


def train_step(model, optimizer, x, y, rng):
    """One step on pictures x (N,h,w,1) of the classes y (N,) -> their loss, before the step.

    model.rng, which dropout draws from, becomes this step's own rng. To use: ops.softmax_cross_entropy(logits, y)."""
    # BEGIN ANSWER
    model.rng = rng
    logits = model.forward(x, train=True)
    loss, dlogits = ops.softmax_cross_entropy(logits, y)
    model.backward(dlogits)
    optimizer.step()
    return float(loss)
    # END ANSWER
