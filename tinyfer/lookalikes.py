"""The answers that classic mistakes in each op would give, so that a wrong one can be recognised and named.

`lookalikes(op, args)` goes through the mistakes of one op; each is the op's formula with one thing done wrong."""

from collections.abc import Callable

import numpy as np

from tinyfer import cases, reference


def lookalikes(op: str, args) -> list[dict]:
    """For each output of `op`, {sentence: the array that this mistake gives}; args are the op's, contiguous."""
    found: list[dict] = [{} for _ in cases.OUTPUTS[op]]
    maker = _MAKERS.get(op)
    if maker:
        with np.errstate(all="ignore"):
            for output, sentence, value in maker(*args):
                found[cases.OUTPUTS[op].index(output)][sentence] = np.asarray(value)
    return found


def named_sizes(op: str, args) -> dict:
    """The numbers that a constant factor may come from in this op: {"N": 3, "H*W": 16, ...}."""
    shape: tuple = next((a.shape for a in args if isinstance(a, np.ndarray)), ())
    if "avgpool_backward" in op or "maxpool_backward" in op:
        shape = next(a for a in args if isinstance(a, tuple))
    if len(shape) == 4:
        n, h, w, c = shape
        sizes = {"N": n, "H*W": h * w, "N*H*W": n * h * w, "C": c}
        if op.startswith("conv"):
            kernel = args[1 if op.endswith("forward") else 2].shape
            sizes["kh*kw"] = kernel[0] * kernel[1]
        return sizes
    if len(shape) == 2:
        return {"N": shape[0], "K" if op.startswith("softmax") else "C": shape[1]}
    return {}


def _conv2d_forward(x, w, b, stride, pad):
    forward = reference.conv2d_forward
    y = forward(x, w, b, stride, pad)
    yield "y", "the bias is missing", y - b
    yield "y", "the bias is added twice", y + b
    for times, loops in ((w.shape[0] * w.shape[1], "over the kernel"), (w[..., 0].size, "over kernel and channels")):
        yield "y", f"the bias is added again and again: it belongs outside the loops {loops}", y + b * (times - 1)
    flipped = "the kernel is flipped: deep learning's convolution does not turn it, y[p,q] uses x[p+i, q+j] * w[i,j]"
    yield "y", flipped, forward(x, np.ascontiguousarray(w[::-1, ::-1]), b, stride, pad)
    if w.shape[0] == w.shape[1]:
        yield "y", "the kernel is transposed: i goes with rows, j with columns", \
            forward(x, np.ascontiguousarray(w.swapaxes(0, 1)), b, stride, pad)  # fmt: skip
    if w.shape[2] == w.shape[3]:
        yield "y", "the weight's two channel axes are swapped: w is (kh, kw, C_in, C_out)", \
            forward(x, np.ascontiguousarray(w.swapaxes(2, 3)), b, stride, pad)  # fmt: skip
    yield "y", "the weights are reshaped to (K, kh*kw*C) where they should be turned: w.reshape(-1, K).T", \
        forward(x, np.ascontiguousarray(w.reshape(w.shape[3], -1).T.reshape(w.shape)), b, stride, pad)  # fmt: skip
    for place, which in ((0, "first"), (-1, "last")):
        only = np.zeros_like(w)
        only[:, :, place] = w[:, :, place]
        sentence = f"the sum over input channels is missing: only the {which} channel counts"
        yield "y", sentence, forward(x, only, b, stride, pad)
        only = np.zeros_like(w)
        only[place, place] = w[place, place]
        yield "y", f"the sum over the kernel is missing: only the {which} tap counts ('=' where '+=' belongs?)", \
            forward(x, only, b, stride, pad)  # fmt: skip
    if pad:
        yield "y", "the picture's edge is repeated around it where zeros belong", \
            forward(np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), "edge"), w, b, stride, 0)  # fmt: skip
        moved = np.pad(x, ((0, 0), (2 * pad, 0), (2 * pad, 0), (0, 0)))
        yield "y", "shifted: all the padding is on the left and on top: pad zeros belong on each of the four sides", \
            forward(moved, w, b, stride, 0)  # fmt: skip
        moved = np.pad(x, ((0, 0), (0, 2 * pad), (0, 2 * pad), (0, 0)))
        yield "y", "shifted: is the padding added on the left (and on top)? It seems to be only right and below", \
            forward(moved, w, b, stride, 0)  # fmt: skip
        moved = np.pad(np.pad(x, ((0, 0), (pad, 0), (pad, 0), (0, 0)), "wrap"), ((0, 0), (0, pad), (0, pad), (0, 0)))
        yield "y", "a negative index takes pixels from the other end of the picture: left of it and above are zeros", \
            forward(moved, w, b, stride, 0)  # fmt: skip
        without = x.copy()
        without[:, 0], without[:, :, 0] = 0, 0
        yield "y", "the picture's first row and column are left out: row and column 0 belong to it", \
            forward(without, w, b, stride, pad)  # fmt: skip
    if stride > 1:
        near = forward(x, w, b, 1, pad)[:, : y.shape[1], : y.shape[2]]
        yield "y", "the stride is ignored: output (p,q) looks at xpad[p*stride + i, q*stride + j]", near
        yield "y", "the stride spreads the kernel: it multiplies p and q, not the tap's i and j", \
            _spread(x, w, b, stride, pad, y.shape)  # fmt: skip


def _spread(x, w, b, stride, pad, shape):
    """The convolution when the stride is put to the taps: y[p,q] from xpad[p + i*stride, q + j*stride]."""
    wide = np.zeros(((w.shape[0] - 1) * stride + 1, (w.shape[1] - 1) * stride + 1, *w.shape[2:]), w.dtype)
    wide[::stride, ::stride] = w
    room = np.pad(x, ((0, 0), (pad, pad + len(wide)), (pad, pad + wide.shape[1]), (0, 0)))
    return reference.conv2d_forward(room, wide, b, 1, 0)[:, : shape[1], : shape[2]]


def _conv2d_backward(dy, x, w, stride, pad):
    back = reference.conv2d_backward
    _, dw, _ = back(dy, x, w, stride, pad)
    taps, overlap = list(np.ndindex(w.shape[:2])), "where windows overlap the last one wins: '+=' belongs where '=' is"
    for order, how in ((taps, "tap by tap"), (taps[::-1], "output by output")):
        yield "dx", f"{overlap} (written {how})", _overwritten(dy, x, w, stride, pad, order)
    flipped = np.ascontiguousarray(w[::-1, ::-1])
    yield "dx", "the kernel is flipped: tap (i,j) saw (r,s), so dxp[n,r,s,c] += dy[n,p,q,k] * w[i,j,c,k], which is " \
        "dy[n,p,q] @ w[i,j].T for all c at once", back(dy, x, flipped, stride, pad)[0]  # fmt: skip
    if w.shape[2] == w.shape[3]:
        swapped = np.ascontiguousarray(w.swapaxes(2, 3))
        yield "dx", "the weight is not transposed: dx needs dy @ w[i,j].T", back(dy, x, swapped, stride, pad)[0]
    for place, which in ((0, "first"), (-1, "last")):
        only = np.zeros_like(w)
        only[place, place] = w[place, place]
        yield "dx", f"the sum over the kernel is missing: only the {which} tap counts ('=' where '+=' belongs?)", \
            back(dy, x, only, stride, pad)[0]  # fmt: skip
        only = np.zeros_like(dy)
        only[..., place] = dy[..., place]
        sentence = f"the sum over output channels is missing: only the {which} one counts"
        yield "dx", sentence, back(only, x, w, stride, pad)[0]
        yield from _missing_sums(which, place, dy, lambda d: back(d, x, w, stride, pad)[1:], ("dw", "db"), space=True)
    yield "dw", "the kernel is flipped: dw[i,j] goes with what tap (i,j) saw", dw[::-1, ::-1]
    xp = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    if stride > 1:
        for name, value in zip(("dx", "dw"), back(dy, x, w, 1, pad), strict=False):
            yield name, "the stride is ignored: tap (i,j) of output (p,q) saw xpad[p*stride + i, q*stride + j]", value
    if pad:
        beside = back(dy, xp, w, stride, 0)[0][:, : x.shape[1], : x.shape[2]]
        yield "dx", "the padding is cut off right and below only: dxp[:, pad : pad + H, pad : pad + W]", beside
        beside = np.pad(x, ((0, 0), (0, 2 * pad), (0, 2 * pad), (0, 0)))
        yield "dw", "x is taken without its padding: tap (i,j) of output (p,q) saw xpad[p+i, q+j]", \
            back(dy, beside, w, stride, 0)[1]  # fmt: skip


def _overwritten(dy, x, w, stride, pad, taps):
    """dx when each tap, in this order, writes its share where it should add it."""
    dxp = np.zeros((len(x), x.shape[1] + 2 * pad, x.shape[2] + 2 * pad, x.shape[3]), x.dtype)
    rows, columns = (stride * (length - 1) + 1 for length in dy.shape[1:3])
    for i, j in taps:
        dxp[:, i : i + rows : stride, j : j + columns : stride] = dy @ w[i, j].T
    return dxp[:, pad : pad + x.shape[1], pad : pad + x.shape[2]]


def _missing_sums(which, place, dy, gradients, names, space):
    """dw and db when only the first or last picture (or pixel) is counted."""
    only = np.zeros_like(dy)
    only[place] = dy[place]
    for name, value in zip(names, gradients(only), strict=True):
        yield name, f"the sum over the batch is missing: only the {which} picture counts ('=' for '+='?)", value
    if space:
        only = np.zeros_like(dy)
        only[:, place, place] = dy[:, place, place]
        for name, value in zip(names, gradients(only), strict=True):
            yield name, f"the sum over space is missing: only the {which} pixel counts ('=' where '+=' belongs?)", value


def _relu_forward(x):
    yield "y", "negative values keep their size: max(x, 0) is asked for, not |x|", np.abs(x)
    yield "y", "the wrong side is kept: y = x where x is positive", np.minimum(x, 0)
    yield "y", "nothing is cut off: y = x", x


def _relu_backward(dy, x):
    yield "dx", "the gradient passes everywhere: it must be 0 where x <= 0", dy
    yield "dx", "the mask is taken from dy: it belongs to x, what the forward pass saw", np.where(dy > 0, dy, 0)
    yield "dx", "the mask is missing its dy: this is the derivative alone, not yet times dy", (x > 0).astype(x.dtype)
    yield "dx", "the gradient passes on the wrong side: it must pass where x > 0", np.where(x <= 0, dy, 0)
    yield "dx", "x is handed on where dy belongs", np.where(x > 0, x, 0)


def _leaky_relu_forward(x, slope):
    yield "y", "the slope is ignored: this is the plain ReLU", np.where(x < 0, 0, x)
    yield "y", "the slope is used on the positive side too", slope * x
    yield "y", "the slope is used on the positive side instead of the negative", np.where(x > 0, slope * x, x)


def _leaky_relu_backward(dy, x, slope):
    yield from _relu_backward(dy, x)
    yield "dx", "the slope is ignored: this is the plain ReLU's gradient", np.where(x <= 0, 0, dy)
    yield "dx", "the mask is taken from dy: it belongs to x", np.where(dy <= 0, slope * dy, dy)


def _batchnorm_forward(x, gamma, beta, eps):
    mean, var = cases.statistics(x)
    count = x.size // x.shape[-1]
    normal = reference.batchnorm_eval_forward
    if count > 1:
        unbiased = "the variance is divided by count - 1: batch normalisation uses the biased one, divided by count"
        yield "y", unbiased, normal(x, gamma, beta, mean, var * (count / (count - 1)), eps)
        yield "var", unbiased, var * (count / (count - 1))
    yield "var", "this is the standard deviation: its square, the variance, is asked for", np.sqrt(var)
    yield "var", "eps is already added to the variance: it belongs under the root only", var + eps
    yield "var", "this is 1/sqrt(var + eps): the variance is asked for", 1 / np.sqrt(var + eps)
    yield "var", "this is the mean of x squared: the mean's square is not subtracted", var + mean**2
    if x.ndim == 4:
        whole = x.mean((1, 2), keepdims=True)
        yield "y", "each picture is normalised on its own: the statistics run over the batch too", \
            gamma * (x - whole) / np.sqrt(x.var((1, 2), keepdims=True) + eps) + beta  # fmt: skip
    yield "y", "normalised over the channels of each pixel: each channel has its own mean, along axis 0 of (M, C)", \
        gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + beta  # fmt: skip
    summed = "the variance is not divided by the count N*H*W: it is a mean of squares"
    yield "y", summed, normal(x, gamma, beta, mean, var * count, eps)
    yield "var", summed, var * count
    whole = np.full_like(mean, x.mean()), np.full_like(var, x.var())
    yield "y", "all channels share one mean and variance: each channel has its own", normal(x, gamma, beta, *whole, eps)
    yield from _normalised(x, gamma, beta, mean, var, eps)


def _batchnorm_eval_forward(x, gamma, beta, mean, var, eps):
    own = "the batch's own mean and variance are used: at evaluation those that are given"
    yield "y", own, reference.batchnorm_eval_forward(x, gamma, beta, *cases.statistics(x), eps)
    yield from _normalised(x, gamma, beta, mean, var, eps)


def _normalised(x, gamma, beta, mean, var, eps):
    """Mistakes in y = gamma * (x - mean) / sqrt(var + eps) + beta, wherever mean and var come from."""
    normal = reference.batchnorm_eval_forward
    yield "y", "gamma is missing", normal(x, np.ones_like(gamma), beta, mean, var, eps)
    yield "y", "beta is missing", normal(x, gamma, np.zeros_like(beta), mean, var, eps)
    yield "y", "gamma and beta are missing", normal(x, np.ones_like(gamma), np.zeros_like(beta), mean, var, eps)
    yield "y", "the root is missing: divide by sqrt(var + eps)", gamma * (x - mean) / (var + eps) + beta
    yield "y", "eps is added outside the root: sqrt(var + eps)", gamma * (x - mean) / (np.sqrt(var) + eps) + beta
    yield "y", "eps is missing", gamma * (x - mean) / np.sqrt(var) + beta
    yield "y", "the mean is not subtracted", gamma * x / np.sqrt(var + eps) + beta
    yield "y", "beta is scaled by gamma, too: y = gamma * xhat + beta", gamma * ((x - mean) / np.sqrt(var + eps) + beta)
    yield "y", "gamma and beta are swapped", normal(x, beta, gamma, mean, var, eps)


def _batchnorm_backward(dy, x, gamma, mean, var, eps):
    scale, count = gamma / np.sqrt(var + eps), x.size // x.shape[-1]
    xhat = (x - mean) / np.sqrt(var + eps)
    axes = tuple(range(x.ndim - 1))
    average, weighted = dy.mean(axes), (dy * xhat).mean(axes)
    yield "dx", "mean and variance are treated as constants: they depend on x too, two terms are missing", dy * scale
    yield "dx", "the way through the variance is missing: - xhat * average(dy * xhat)", scale * (dy - average)
    yield "dx", "the way through the mean is missing: - average(dy)", scale * (dy - xhat * weighted)
    right = dy - average - xhat * weighted
    yield "dx", "the way through the variance has the wrong sign: it is taken off, - xhat * average(dy * xhat)", \
        scale * (dy - average + xhat * weighted)  # fmt: skip
    yield "dx", "gamma is missing", right / np.sqrt(var + eps)
    yield "dx", "1/sqrt(var + eps) is missing", right * gamma
    yield "dx", "the root is missing: divide by sqrt(var + eps)", right * gamma / (var + eps)
    yield "dx", "the sums are not divided by the count N*H*W", scale * (dy - average * count - xhat * weighted * count)
    pixels = count / len(x)
    yield "dx", "the sums are divided by N, and not by the count N*H*W: they run over pixels too", \
        scale * (dy - (average + xhat * weighted) * pixels)  # fmt: skip
    yield from _affine_gradients(dy, x, xhat, axes)


def _affine_gradients(dy, x, xhat, axes):
    yield "dgamma", "x is used where xhat, the normalised x, belongs", (dy * x).sum(axes)
    yield "dgamma", "xhat is missing: this is dbeta", dy.sum(axes)
    yield "dbeta", "this is dgamma: beta's gradient is the plain sum of dy", (dy * xhat).sum(axes)
    for name, value in (("dgamma", dy * xhat), ("dbeta", dy)):
        yield name, "the sum over the batch is missing: only the first picture counts", value[:1].sum(axes)
        yield name, "the sum over the batch is missing: only the last picture counts", value[-1:].sum(axes)


def _batchnorm_eval_backward(dy, x, gamma, mean, var, eps):
    xhat = (x - mean) / np.sqrt(var + eps)
    axes = tuple(range(x.ndim - 1))
    yield "dx", "mean and variance are constants here: the two terms of the batch statistics do not belong", \
        reference.batchnorm_backward(dy, x, gamma, mean, var, eps)[0]  # fmt: skip
    yield "dx", "gamma is missing", dy / np.sqrt(var + eps)
    yield "dx", "1/sqrt(var + eps) is missing", dy * gamma
    yield from _affine_gradients(dy, x, xhat, axes)


def _maxpool_forward(x, size, stride):
    y, index = reference.maxpool_forward(x, size, stride)
    low, low_index = reference.maxpool_forward(-x, size, stride)
    yield "y", "the smallest value is taken, not the largest", -low
    yield "index", "the smallest value's place is given, not the largest's", low_index
    taps = [x[:, i : i + stride * (y.shape[1] - 1) + 1 : stride, j : j + stride * (y.shape[2] - 1) + 1 : stride]
            for i in range(size) for j in range(size)]  # fmt: skip
    yield "y", "this is the average of the window, not its maximum", np.mean(taps, 0)
    yield "y", "negative windows give 0: start from the window's first value, not from 0", np.maximum(y, 0)
    yield "index", "rows and columns are swapped: the winner is number i*size + j", index % size * size + index // size
    last = size * size - 1 - np.stack(taps[::-1]).argmax(0)
    yield "index", "the last of equal values wins: the first one should", last.astype(np.uint8)
    highest = np.broadcast_to(y.max(3, keepdims=True), y.shape)
    yield "y", "one maximum for all channels: each channel has its own", highest
    i, j = index // size, index % size
    p, q = np.arange(y.shape[1])[:, None, None], np.arange(y.shape[2])[:, None]
    yield "index", "this is the winner's place in the whole picture: its number in the window is i*size + j", \
        ((p * stride + i) * x.shape[2] + q * stride + j).astype(np.uint8)  # fmt: skip
    yield "index", "counted by the stride: the winner is number i*size + j", i * np.uint8(stride) + j
    if stride > 1:
        near, near_index = (a[:, : y.shape[1], : y.shape[2]] for a in reference.maxpool_forward(x, size, 1))
        ignored = "the stride is ignored: window (p,q) begins at x[p*stride, q*stride]"
        yield "y", ignored, near
        yield "index", ignored, near_index


def _maxpool_backward(dy, index, x_shape, size, stride):
    everyone = np.zeros(x_shape, dy.dtype)
    first = np.zeros(x_shape, dy.dtype)
    one = np.zeros(x_shape, dy.dtype)
    near = np.zeros(x_shape, dy.dtype)
    apart = np.zeros((x_shape[0], x_shape[1] + size * size, x_shape[2] + size * size, x_shape[3]), dy.dtype)
    for n, p, q, c in np.ndindex(dy.shape):
        i, j = divmod(int(index[n, p, q, c]), size)
        everyone[n, p * stride : p * stride + size, q * stride : q * stride + size, c] += dy[n, p, q, c]
        first[n, p * stride, q * stride, c] += dy[n, p, q, c]
        one[n, p * stride + i, q * stride + j, c] = dy[n, p, q, c]
        near[n, p + i, q + j, c] += dy[n, p, q, c]
        i, j = divmod(int(index[n, p, q, c]), stride)
        apart[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    yield "dx", "every pixel of the window gets the gradient: only the winner should", everyone
    yield "dx", "the gradient is spread evenly over the window: only the winner should get it", everyone / size**2
    yield "dx", "the first pixel of each window gets the gradient: the winner (index) should", first
    yield "dx", "where windows overlap the last one wins: '+=' belongs where '=' stands, one winner at a time", one
    yield "dx", "rows and columns of the index are swapped: it is i*size + j", \
        reference.maxpool_backward(dy, index % size * size + index // size, x_shape, size, stride)  # fmt: skip
    yield "dx", "the stride is ignored: window (p,q) begins at x[p*stride, q*stride]", near
    yield "dx", "the index is taken apart by the stride: it is i*size + j", apart[:, : x_shape[1], : x_shape[2]]


def _global_avgpool_forward(x):
    yield "y", "this is the sum: divide by H*W", x.sum((1, 2))
    yield "y", "this is the maximum of each map: the mean is asked for", x.max((1, 2))


def _dense_forward(x, w, b):
    yield "y", "the bias is missing", x @ w
    yield "y", "the bias is added twice", x @ w + 2 * b
    yield "y", "the bias is added again and again: it belongs outside the loop over inputs", x @ w + len(w) * b
    for place, which in ((0, "first"), (-1, "last")):
        sentence = f"the sum over inputs is missing: only the {which} input counts ('=' where '+=' belongs?)"
        yield "y", sentence, np.outer(x[:, place], w[place]) + b
    if w.shape[0] == w.shape[1]:
        yield "y", "the weights are transposed: y = x w + b with w (D_in, D_out)", x @ w.T + b


def _dense_backward(dy, x, w):
    back = reference.dense_backward
    dx, dw, _ = back(dy, x, w)
    swapped = "dx and dw are swapped: they are returned in the order dx, dw, db"
    yield "dx", swapped, dw
    yield "dw", swapped, dx
    for name, right in zip(("dw", "db"), back(dy, x, w)[1:], strict=True):
        yield name, "divided by N: sum over the batch, no mean, since the 1/N is in dy already", right / len(x)
    yield "db", "summed over the outputs: b is used by every picture, so sum over the batch", dy.sum(1)
    if w.shape[0] == w.shape[1]:
        yield "dx", "the weights are not transposed: dx = dy w^T", dy @ w
        yield "dw", "transposed: dw = x^T dy has w's shape (D_in, D_out)", dy.T @ x
    for place, which in ((0, "first"), (-1, "last")):
        yield from _missing_sums(which, place, dy, lambda d: back(d, x, w)[1:], ("dw", "db"), space=False)


def _dropout(x, mask, name):
    yield name, "nothing is dropped", x
    yield name, "what is kept is not scaled by 1/(1-p): the mask holds that factor, multiply by it", x * (mask > 0)
    yield name, "the wrong ones are dropped: multiply by the mask", np.where(mask > 0, 0, x * mask.max())
    yield name, "the mask is applied twice", x * mask * mask


def _softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    yield "p", "not divided by the row's sum", e
    yield "p", "these are the exponentials: not divided by the row's sum", np.exp(z)
    yield "p", "normalised over the batch: each row, one picture's scores, must add up to 1", reference.softmax(z.T).T
    whole = np.exp(z - z.max())
    yield "p", "normalised over the whole array: each row must add up to 1", whole / whole.sum()
    yield "p", "these are the log-probabilities", np.log(e / e.sum(1, keepdims=True))


def _softmax_cross_entropy(z, target, class_weight, smoothing):
    stock = reference.softmax_cross_entropy
    loss, dz = stock(z, target, class_weight, smoothing)
    n, ones = len(z), np.ones_like(class_weight)
    for name, right, wrong in zip(("loss", "dz"), (loss, dz), stock(z, target, class_weight, 0.0), strict=True):
        yield name, "label smoothing is ignored", wrong
        if (class_weight == 1).all():
            summed = "dz lacks the factor a[n], 1/N: the loss is a mean over the batch"
            if name == "loss":
                summed = "the sum over the batch is given where the mean is asked for"
            yield name, summed, right * n
        else:
            t = reference.soft_targets(target, z.shape[1], z.dtype)
            total = (t @ class_weight).sum()
            yield name, "divided by N: with class weights divide by the sum of the pictures' weights", right * total / n
            yield name, "the weighted sum is given: divide by the sum of the pictures' weights", right * total
    for name, wrong in zip(("loss", "dz"), stock(z, target, ones, smoothing), strict=True):
        yield name, "the class weights are ignored", wrong
    yield "dz", "the target is not subtracted: dz = (softmax(z) - target) / N", reference.softmax(z) / n
    yield "loss", "mean() also divided by K: the classes of a picture are summed, and only pictures averaged", \
        loss / z.shape[1]  # fmt: skip
    yield "loss", "mean() divided by N*K, and a holds 1/N already: sum", loss / z.size
    yield "loss", "the logarithm is to the base 2: the natural one is asked for", loss / np.log(2)


def _sgd_update(w, g, v, lr, momentum, nesterov, decay):
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


def _adam_update(w, g, m, v, t, lr, b1, b2, eps, decay):
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


_MAKERS: dict[str, Callable] = {
    "conv2d_forward": _conv2d_forward, "conv2d_backward": _conv2d_backward,
    "relu_forward": _relu_forward, "relu_backward": _relu_backward,
    "leaky_relu_forward": _leaky_relu_forward, "leaky_relu_backward": _leaky_relu_backward,
    "batchnorm_forward": _batchnorm_forward, "batchnorm_backward": _batchnorm_backward,
    "batchnorm_eval_forward": _batchnorm_eval_forward, "batchnorm_eval_backward": _batchnorm_eval_backward,
    "maxpool_forward": _maxpool_forward, "maxpool_backward": _maxpool_backward,
    "global_avgpool_forward": _global_avgpool_forward,
    "dense_forward": _dense_forward, "dense_backward": _dense_backward,
    "dropout_forward": lambda x, mask: _dropout(x, mask, "y"),
    "dropout_backward": lambda dy, mask: _dropout(dy, mask, "dx"),
    "softmax": _softmax, "softmax_cross_entropy": _softmax_cross_entropy,
    "sgd_update": _sgd_update, "adam_update": _adam_update,
}  # fmt: skip
