"""Lesson 13, Assemble and train: the parts become the four-stage network, and a step makes it a little better."""

from tinyfer import ops
from tinyfer.layers import BatchNorm2d, Conv2d, Dense, Dropout, GlobalAvgPool, MaxPool2d, ReLU


def backward(layers, dy):
    """layers, a list in the order in which forward ran them; dy, the gradient of what the last one answered -> dx.

    layer.backward(dy) answers that layer's dx, and fills the gradients of its weights."""
    # Your code: about 3 lines.
    raise NotImplementedError("backward is still to be written")


def four_stages(widths, dropout, rng):
    """widths, the channels of the four stages, such as (8, 16, 32, 64) -> a dict, name -> layer, first to last.

    Pictures have one channel, the classes are seven. All weights are drawn from rng, from the first layer on."""
    # Your code: about 13 lines.
    raise NotImplementedError("four_stages is still to be written")


def train_step(model, optimizer, x, y, rng):
    """One step on pictures x (N,h,w,1) of the classes y (N,) -> their loss, before the step.

    model.rng, which dropout draws from, becomes this step's own rng. To use: ops.softmax_cross_entropy(logits, y)."""
    # Your code: about 6 lines.
    raise NotImplementedError("train_step is still to be written")
