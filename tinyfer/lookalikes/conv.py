"""Classic mistakes in convolution."""

import numpy as np

from tinyfer import reference


def conv2d_forward(x, w, b, stride, pad):
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
        sentence = (f"the sum over the kernel is missing: only the {which} tap counts ('=' where '+=' belongs, or is "
                    "the bias set again at each tap?)")  # fmt: skip
        yield "y", sentence, forward(x, only, b, stride, pad)
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


def conv2d_backward(dy, x, w, stride, pad):
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
        yield from missing_sums(which, place, dy, lambda d: back(d, x, w, stride, pad)[1:], ("dw", "db"), space=True)
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


def missing_sums(which, place, dy, gradients, names, space):
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
