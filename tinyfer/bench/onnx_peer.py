"""ONNX Runtime, in a process of its own; imported lazily, as it may not be installed.

It reads the file that `python -m tinyfer.export` writes. Its threads by default spin for a while after a call; both
settings are measured, and the quicker counts."""

from __future__ import annotations

import numpy as np

from tinyfer.bench import cases
from tinyfer.bench.child import Task


def runtime():
    """The module onnxruntime."""
    import onnxruntime

    return onnxruntime


class Inference(Task):
    """Answering one batch, the batch being fixed in the graph where it was free."""

    def __init__(self, model: str, batch: int, threads: int, path: str, spinning: bool):
        onnxruntime, network = runtime(), cases.network(model)
        free = {axis for tensor in onnxruntime.InferenceSession(path).get_inputs() for axis in tensor.shape
                if isinstance(axis, str)}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        for axis in free:
            options.add_free_dimension_override_by_name(axis, batch)
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (tensor,) = self.session.get_inputs()
        x, _ = cases.pictures(network, batch)
        nchw = tensor.shape[1] == x.shape[3] and tensor.shape[3] != x.shape[3]
        self.feed = {tensor.name: np.ascontiguousarray(x.transpose(0, 3, 1, 2) if nchw else x)}

    def step(self) -> np.ndarray:
        return self.session.run(None, self.feed)[0]

    def logits(self) -> list:
        """What it answers, to be compared."""
        return self.step().tolist()
