"""Numba twins of `tinyfer.reference`: the same names and signatures, one file an op family."""

from tinyfer.kernels.activation import leaky_relu_backward, leaky_relu_forward, relu_backward, relu_forward
from tinyfer.kernels.conv import conv2d_backward, conv2d_forward
from tinyfer.kernels.dense import dense_backward, dense_forward
from tinyfer.kernels.dropout import dropout_backward, dropout_forward
from tinyfer.kernels.loss import softmax, softmax_cross_entropy
from tinyfer.kernels.norm import (
    batchnorm_backward,
    batchnorm_eval_backward,
    batchnorm_eval_forward,
    batchnorm_forward,
)
from tinyfer.kernels.pool import global_avgpool_backward, global_avgpool_forward, maxpool_backward, maxpool_forward
from tinyfer.kernels.update import adam_update, sgd_update

__all__ = [
    "adam_update", "batchnorm_backward", "batchnorm_eval_backward", "batchnorm_eval_forward", "batchnorm_forward",
    "conv2d_backward", "conv2d_forward", "dense_backward", "dense_forward", "dropout_backward", "dropout_forward",
    "global_avgpool_backward", "global_avgpool_forward", "leaky_relu_backward", "leaky_relu_forward",
    "maxpool_backward", "maxpool_forward", "relu_backward", "relu_forward", "sgd_update", "softmax",
    "softmax_cross_entropy",
]
