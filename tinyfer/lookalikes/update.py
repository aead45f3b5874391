"""Classic mistakes in SGD and Adam."""

import numpy as np

from tinyfer import cases, reference


def sgd_update(w, g, v, lr, momentum, nesterov, decay):
    def run(*settings):
        return cases.outputs("sgd_update", reference.sgd_update, (w, g, v, *settings))

    yield "w", "w is unchanged: the update must write in place, w -= ... or w[:] = ...", w
    look = "Nesterov's look-ahead is taken, though nesterov is False"
    if nesterov:
        look = "Nesterov's look-ahead is missing, or uses the old v: g + momentum * v, with the new v"
    for sentence, settings in (
        (look, (lr, momentum, not nesterov, decay)),
        ("the momentum is ignored", (lr, 0.0, nesterov, decay)),
        ("the weight decay is ignored", (lr, momentum, nesterov, 0.0)),
        ("the step goes uphill: w -= lr * ...", (-lr, momentum, nesterov, decay)),
    ):  # fmt: skip
        for name, value in zip(("w", "v"), run(*settings), strict=True):
            if name == "v" and settings[3] != decay:
                sentence = "the weight decay is missing in v: it is added to the gradient, g + weight_decay * w"
            yield name, sentence, value
    full, ahead = g + decay * w, run(lr, momentum, nesterov, 0.0)
    new_v, damped = momentum * v + full, momentum * v + (1 - momentum) * full
    sentence = "the gradient is damped by 1 - momentum: v = momentum * v + g"
    yield "v", sentence, damped
    yield "w", sentence, w - lr * (full + momentum * damped if nesterov else damped)
    if nesterov:
        yield "w", "the weight decay is missing in Nesterov's second g", w - lr * (g + momentum * new_v)
        yield "w", "momentum counts twice in Nesterov's look-ahead: g + momentum * v, with the new v", \
            w - lr * (full + momentum * momentum * new_v)  # fmt: skip
    yield "v", "the learning rate is inside v: v = momentum * v + g, and then w -= lr * v", new_v - (1 - lr) * full
    yield "v", "v points downhill and holds the learning rate: v = momentum * v + g, and then w -= lr * v", \
        new_v - (1 + lr) * full  # fmt: skip
    yield "w", "the step uses the old v: first v = momentum * v + g, then w -= lr * v", w - lr * v
    apart = "the weight decay goes past v: in SGD it is added to the gradient, g + weight_decay * w"
    yield "w", apart, ahead[0] - lr * decay * w
    yield "v", "v is unchanged: the update must write in place, v[:] = ...", v


def adam_update(w, g, m, v, t, lr, b1, b2, eps, decay):
    def run(*settings):
        return cases.outputs("adam_update", reference.adam_update, (w, g, m, v, *settings))

    new_m, new_v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    yield "w", "the bias corrections 1/(1 - b^t) are missing", w - lr * (new_m / (np.sqrt(new_v) + eps) + decay * w)
    mhat, vhat = new_m / (1 - b1**t), new_v / (1 - b2**t)
    for name, other in (("m", new_m / (np.sqrt(vhat) + eps)), ("v", mhat / (np.sqrt(new_v) + eps))):
        yield "w", f"the bias correction of {name} is missing, 1 - b^t", w - lr * (other + decay * w)
    for name, value in (("m", mhat), ("v", vhat)):
        yield name, f"{name}hat is stored in {name}: the bias correction is for this step only", value
    loud_m, loud_v = b1 * m + g, b2 * v + g * g
    for name, first, second in (("m", loud_m, new_v), ("v", new_m, loud_v), ("m and v", loud_m, loud_v)):
        step = first / (1 - b1**t) / (np.sqrt(second / (1 - b2**t)) + eps)
        sentence = f"1 - b is missing in {name}: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2"
        yield "w", sentence, w - lr * (step + decay * w)
        yield "m", sentence, first
        yield "v", sentence, second
    late = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + decay * w
    yield "w", "the step uses the old m and v: bring them up to date first", w - lr * late
    yield "w", "eps is inside the root: sqrt(vhat) + eps", w - lr * (mhat / np.sqrt(vhat + eps) + decay * w)
    yield "w", "the root is missing: divide by sqrt(vhat) + eps", w - lr * (mhat / (vhat + eps) + decay * w)
    yield "w", "w is unchanged: the update must write in place, w -= ... or w[:] = ...", w
    yield "m", "m is unchanged: the update must write in place, m[:] = ...", m
    yield "v", "v is unchanged: the update must write in place, v[:] = ...", v
    plain, plain_v = "the gradient is not squared: v = b2 v + (1 - b2) g^2", b2 * v + (1 - b2) * g
    yield "v", plain, plain_v
    rooted = mhat / (np.sqrt(plain_v / (1 - b2**t)) + eps) + decay * w  # NaN where g was negative
    yield "w", f"{plain}; where g is negative, its root is NaN", w - lr * rooted
    yield "w", "the decay uses the new w: it belongs to the old one, before w changes", \
        (w - lr * mhat / (np.sqrt(vhat) + eps)) * (1 - lr * decay)  # fmt: skip
    for sentence, settings in (
        ("t is ignored in the bias correction: 1 - b1**t and 1 - b2**t", (1, lr, b1, b2, eps, decay)),
        ("the weight decay is ignored", (t, lr, b1, b2, eps, 0.0)),
        ("1 is added to t: it already counts from 1", (t + 1, lr, b1, b2, eps, decay)),
        ("t is one behind: it counts from 1", (max(t - 1, 1), lr, b1, b2, eps, decay)),
        ("the step goes uphill: w -= lr * ...", (t, -lr, b1, b2, eps, decay)),
        ("b1 and b2 are swapped", (t, lr, b2, b1, eps, decay)),
    ):  # fmt: skip
        for name, value in zip(("w", "m", "v"), run(*settings), strict=True):
            yield name, sentence, value
    blended = cases.outputs("adam_update", reference.adam_update, (w, g + decay * w, m, v, t, lr, b1, b2, eps, 0.0))
    for name, value in zip(("w", "m", "v"), blended, strict=True):
        yield name, "the weight decay is added to the gradient: here it is decoupled (AdamW), w -= lr decay w", value
