"""Every op, forward and backward, written to be read: the specification of the whole engine.

Words used throughout
    x       activations (N, H, W, C): batch, height, width, channel; dense layers take (N, D)
    w, b    weights (kh, kw, C_in, C_out) or (D_in, D_out), and bias (C_out,)
    y       what an op makes of x
    dy      the gradient of the loss with respect to y: it comes from above
    dx, dw  the gradients with respect to x and w: what a backward function answers

Each forward stands beside its backward. Loops run over the taps of a convolution or pooling window, NumPy does the
rest. The functions are pure, take any float dtype and are never optimised: `tinyfer.kernels` holds the fast twin of
each one, with the same name and signature, and the tests hold the twin to this file."""

import numpy as np

# --------------------------------------------------------------------------------------------------------- convolution


def output_length(length: int, kernel: int, stride: int, pad: int) -> int:
    """How many windows of `kernel` pixels fit along `length` pixels: floor((length + 2 pad - kernel) / stride) + 1."""
    return (length + 2 * pad - kernel) // stride + 1


def _tap(xp, i, j, height, width, stride):
    """The pixels (N, height, width, C) that tap (i, j) of the window sees, one for each output pixel: a view of padded
    xp."""
    return xp[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]


def conv2d_forward(x, w, b, stride, pad):
    """Convolution x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,H',W',K), with zeros around the picture.

    y[n,p,q] = b + sum over taps (i,j) of xpad[n, p*stride+i, q*stride+j] @ w[i,j]: cross-correlation, as everywhere in
    deep learning (LeCun et al. 1998)."""
    kh, kw, _, channels = w.shape
    height, width = output_length(x.shape[1], kh, stride, pad), output_length(x.shape[2], kw, stride, pad)
    xp = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    y = np.zeros((len(x), height, width, channels), x.dtype) + b
    for i in range(kh):
        for j in range(kw):
            y += _tap(xp, i, j, height, width, stride) @ w[i, j]
    return y


def conv2d_backward(dy, x, w, stride, pad):
    """Gradients of the convolution: dy (N,H',W',K) -> dx (N,H,W,C), dw (kh,kw,C,K), db (K,).

    Each tap is a dense layer over pixels, so each tap's backward is the dense one: dx += dy w^T at the pixels it saw,
    dw = x^T dy summed over all of them."""
    kh, kw = w.shape[:2]
    _, height, width, channels = dy.shape
    xp = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    rows = dy.reshape(-1, channels)
    for i in range(kh):
        for j in range(kw):
            seen = _tap(xp, i, j, height, width, stride)
            dw[i, j] = seen.reshape(len(rows), -1).T @ rows
            _tap(dxp, i, j, height, width, stride)[...] += dy @ w[i, j].T
    dx = dxp[:, pad : pad + x.shape[1], pad : pad + x.shape[2]]
    return dx.copy(), dw, rows.sum(0)


# ---------------------------------------------------------------------------------------------------------- activation


def relu_forward(x):
    """Rectified linear unit x -> y of the same shape: 0 where x < 0, x elsewhere (so a NaN passes through and is
    seen)."""
    return np.where(x < 0, x.dtype.type(0), x)


def relu_backward(dy, x):
    """dy, x -> dx: the gradient passes where x > 0; at exactly 0 it is taken as 0."""
    return np.where(x <= 0, x.dtype.type(0), dy)


def leaky_relu_forward(x, slope):
    """Leaky ReLU x -> y of the same shape: slope * x where x < 0, x elsewhere (Maas et al. 2013)."""
    return np.where(x < 0, x.dtype.type(slope) * x, x)


def leaky_relu_backward(dy, x, slope):
    """dy, x -> dx: slope * dy where x <= 0, dy elsewhere."""
    return np.where(x <= 0, x.dtype.type(slope) * dy, dy)


# ------------------------------------------------------------------------------------------------- batch normalisation


def _batch_sum(a, count=1):
    """Sum over everything but the channels, divided by count, (..., C) -> (C,): in float64 and rounded once."""
    return (a.reshape(-1, a.shape[-1]).sum(0, dtype=np.float64) / count).astype(a.dtype)


def batchnorm_forward(x, gamma, beta, eps):
    """Batch normalisation x (...,C), gamma, beta (C,) -> y (...,C), mean (C,), var (C,) (Ioffe & Szegedy 2015).

    y = gamma * (x - mean) / sqrt(var + eps) + beta, with mean and (biased) variance over all but the channels."""
    count = x.size // x.shape[-1]
    mean = _batch_sum(x, count)
    var = _batch_sum((x - mean) ** 2, count)
    return batchnorm_eval_forward(x, gamma, beta, mean, var, eps), mean, var


def batchnorm_backward(dy, x, gamma, mean, var, eps):
    """dy (...,C) -> dx (...,C), dgamma (C,), dbeta (C,), where mean and variance were those of x itself.

    x reaches y by three ways, directly, through the mean and through the variance; with xhat = (x - mean) / sqrt(var +
    eps) they add up to dx = gamma / sqrt(var + eps) * (dy - average(dy) - xhat * average(dy * xhat))."""
    count = x.dtype.type(x.size // x.shape[-1])
    inverse = 1 / np.sqrt(var + x.dtype.type(eps))
    xhat = (x - mean) * inverse
    dgamma, dbeta = _batch_sum(dy * xhat), _batch_sum(dy)
    dx = gamma * inverse * (dy - dbeta / count - xhat * (dgamma / count))
    return dx, dgamma, dbeta


def batchnorm_eval_forward(x, gamma, beta, mean, var, eps):
    """Batch normalisation with given statistics: x (...,C) -> y (...,C). A plain scale and shift for each channel."""
    return gamma * ((x - mean) / np.sqrt(var + x.dtype.type(eps))) + beta


def batchnorm_eval_backward(dy, x, gamma, mean, var, eps):
    """dy (...,C) -> dx (...,C), dgamma (C,), dbeta (C,), where mean and var are constants (frozen layers, Grad-CAM)."""
    inverse = 1 / np.sqrt(var + x.dtype.type(eps))
    return dy * (gamma * inverse), _batch_sum(dy * ((x - mean) * inverse)), _batch_sum(dy)


# ------------------------------------------------------------------------------------------------------------- pooling


def maxpool_forward(x, size, stride):
    """Max-pooling x (N,H,W,C) -> y (N,H',W',C), index (N,H',W',C) uint8: which tap of the window (i*size + j) won.

    The first of equals wins, a NaN wins over every number. Rows and columns that fill no whole window are dropped."""
    height, width = output_length(x.shape[1], size, stride, 0), output_length(x.shape[2], size, stride, 0)
    taps = np.stack([_tap(x, i, j, height, width, stride) for i in range(size) for j in range(size)])
    index = taps.argmax(0)  # argmax answers the first maximum, and the first NaN if there is one
    return np.take_along_axis(taps, index[None], 0)[0], index.astype(np.uint8)


def maxpool_backward(dy, index, x_shape, size, stride):
    """dy (N,H',W',C), index of the winners -> dx (x_shape): the winner takes the gradient, all other pixels get 0."""
    dx = np.zeros(x_shape, dy.dtype)
    for i in range(size):
        for j in range(size):
            won = index == i * size + j
            _tap(dx, i, j, dy.shape[1], dy.shape[2], stride)[...] += np.where(won, dy, dy.dtype.type(0))
    return dx


def global_avgpool_forward(x):
    """Global average pooling x (N,H,W,C) -> y (N,C): the mean of each channel's map (Lin et al. 2013)."""
    return x.mean((1, 2), dtype=np.float64).astype(x.dtype)


def global_avgpool_backward(dy, x_shape):
    """dy (N,C) -> dx (N,H,W,C): each pixel gets an equal share."""
    share = dy / dy.dtype.type(x_shape[1] * x_shape[2])
    return np.broadcast_to(share[:, None, None], x_shape).copy()


# --------------------------------------------------------------------------------------------------- dense and dropout


def dense_forward(x, w, b):
    """Fully connected layer x (N,D), w (D,K), b (K,) -> y (N,K) = x w + b."""
    return x @ w + b


def dense_backward(dy, x, w):
    """dy (N,K) -> dx (N,D) = dy w^T, dw (D,K) = x^T dy, db (K,) = sum over the batch of dy."""
    return dy @ w.T, x.T @ dy, dy.sum(0)


def dropout_forward(x, mask):
    """Dropout x -> y of the same shape: x * mask, where the mask holds 0 or 1/(1-p) (Srivastava et al. 2014)."""
    return x * mask


def dropout_backward(dy, mask):
    """dy -> dx: the very same mask again."""
    return dy * mask


# ---------------------------------------------------------------------------------------------------------------- loss


def softmax(z):
    """Logits z (N,K) -> probabilities (N,K). Subtracting each row's largest logit changes nothing but keeps exp in
    range."""
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def soft_targets(target, classes, dtype):
    """Class indices (N,) -> one-hot rows (N,classes); rows that are soft already pass through."""
    return np.eye(classes, dtype=dtype)[target] if target.ndim == 1 else target.astype(dtype)


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    """Softmax and cross-entropy in one: logits z (N,K) -> loss (a number), dz (N,K).

    target: class indices (N,) or rows of probabilities (N,K). Label smoothing s mixes the target with the uniform
    distribution, q = (1-s) t + s/K (Szegedy et al. 2016). class_weight (K,) weighs each picture by its own class:
    loss = sum_n a_n H(q_n, softmax(z_n)) / sum_n a_n with a = t @ class_weight, and so dz = (softmax(z) - q) a_n / sum
    a."""
    t = soft_targets(target, z.shape[1], z.dtype)
    q = (1 - z.dtype.type(label_smoothing)) * t + z.dtype.type(label_smoothing / z.shape[1])
    a = t @ class_weight
    a = (a / a.sum())[:, None]
    shifted = z - z.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return -(a * q * log_p).sum(), a * (np.exp(log_p) * q.sum(1, keepdims=True) - q)


# ------------------------------------------------------------------------------------------------------------- updates


def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    """Stochastic gradient descent with momentum, in place on w and v, flat arrays (Sutskever et al. 2013, PyTorch's
    form).

    g' = g + weight_decay * w;  v = momentum * v + g';  w -= lr * (g' + momentum * v if nesterov else v)."""
    g = g + w.dtype.type(weight_decay) * w
    v[...] = w.dtype.type(momentum) * v + g
    w -= w.dtype.type(lr) * (g + w.dtype.type(momentum) * v if nesterov else v)


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    """Adam step number t = 1, 2, ..., in place on w, m, v, flat arrays (Kingma & Ba 2015); weight_decay is decoupled
    from the gradient (Loshchilov & Hutter 2019, AdamW).

    m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  w -= lr (mhat / (sqrt(vhat) + eps) + weight_decay w), where
    mhat = m / (1 - b1^t) and vhat = v / (1 - b2^t) undo the start from zero."""
    f = w.dtype.type
    m[...] = f(b1) * m + f(1 - b1) * g
    v[...] = f(b2) * v + f(1 - b2) * g * g
    step = (m / f(1 - b1**t)) / (np.sqrt(v / f(1 - b2**t)) + f(eps))
    w -= f(lr) * (step + f(weight_decay) * w)
