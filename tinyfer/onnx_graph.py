"""A model as an ONNX graph, for every runtime that reads ONNX.

    content = onnx_graph.build(model).SerializeToString()
    onnx_graph.check(model, content).gap                    # ONNX Runtime's logits against this engine's

The graph has one input and one output:

    images  float32 (batch, 1, h, w)   channels first, as nearly all that speaks ONNX expects; for one channel the same
                                       bytes as our (batch, h, w, 1), so that a reshape does
    logits  float32 (batch, 7)         in the order of the label names; softmax makes probabilities of them

What must happen to a picture before stands in the graph's doc_string, in words, and in its metadata_props, as JSON:

    model        the network: name and options
    labels       the names of the classes, in the order of the logits
    preprocess   what models.Model.preprocess is made of: size, crop, equalize, mean, std
    input        the same as figures to use: name, shape, grey value -> value * scale + offset, and how much larger than
                 OpenCV's box of the face the crop is
    meta         what the model's file says of its training
    tinyfer      the version that wrote it

    session = onnxruntime.InferenceSession("lite.onnx")
    props = session.get_modelmeta().custom_metadata_map
    to = json.loads(props["input"])
    images = grey.astype(np.float32) * np.float32(to["scale"]) + np.float32(to["offset"])     # uint8 (N,48,48) of faces
    (logits,) = session.run(None, {"images": images[:, None]})
    json.loads(props["labels"])[logits[0].argmax()]

Dropouts are left out, and batch norms folded into the convolution or dense layer before them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinyfer import __version__, faces, infer, torch_state
from tinyfer.data.toyfaces import draw_many
from tinyfer.data.types import LABELS
from tinyfer.errors import UserError
from tinyfer.layers import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool, Layer, MaxPool2d, ReLU, Shape

INPUT, OUTPUT = "images", "logits"
OPSET, IR_VERSION = 13, 8  # of 2021: old runtimes read it too, and nothing newer is needed
LARGEST = (1 << 31) - (1 << 20)  # bytes of weights: a protocol buffer holds 2 GiB
TOLERANCE = 1e-4  # of a logit, or of the largest one where that exceeds 1
CHECKED = 21  # drawn faces, three of each expression


def build(model) -> Any:
    """The model as an onnx.ModelProto, checked by onnx itself. Needs the package onnx."""
    import onnx

    if model.params.value.nbytes > LARGEST:
        raise UserError(f"{model!r} has {model.params.value.nbytes / 2**30:.1f} GiB of weights and an ONNX file holds "
                        f"2; export a smaller model.")
    side, float32 = model.preprocess.side, onnx.TensorProto.FLOAT
    nodes, weights = _graph(model)
    graph = onnx.helper.make_graph(
        nodes, model.name,
        [onnx.helper.make_tensor_value_info(INPUT, float32, ["batch", 1, side, side])],
        [onnx.helper.make_tensor_value_info(OUTPUT, float32, ["batch", len(model.labels)])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                                   producer_name="tinyfer", producer_version=__version__, doc_string=description(model))
    onnx.helper.set_model_props(proto, metadata(model))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _graph(model) -> tuple[list, dict[str, np.ndarray]]:
    """Nodes in the order in which they run, named by our paths, and their weights by name."""
    from onnx import helper

    nodes: list = []
    weights: dict[str, np.ndarray] = {}
    steps = list(_steps(model))
    value = INPUT
    for i, (name, kind, arrays, attributes) in enumerate(steps):
        weights |= {f"{name}.{key}": np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}
        inputs = [value, *(f"{name}.{key}" for key in arrays)]
        value = OUTPUT if i == len(steps) - 1 else name
        nodes.append(helper.make_node(kind, inputs, [value], name=name, **attributes))
    return nodes, weights


Step = tuple[str, str, dict[str, np.ndarray], dict[str, Any]]  # name, ONNX's operator, its weights, its attributes


def _steps(model) -> Iterator[Step]:
    """The layers as ONNX has them, norms folded into what precedes them, dropouts left out."""
    leaves = [leaf for leaf in torch_state.leaves(model) if not isinstance(leaf[1], Dropout)]
    next_ones = [leaf for _, leaf, _, _ in leaves[1:]] + [None]
    folded: Layer | None = None
    for (path, leaf, _, maps), after in zip(leaves, next_ones, strict=True):
        if leaf is folded:
            continue
        if type(leaf) is Conv2d or type(leaf) is Dense:  # a subclass may compute something else
            folded = after if type(after) is BatchNorm2d else None
            yield _weighted(path, leaf, folded, maps)
        elif type(leaf) is BatchNorm2d:
            arrays = {key: torch_state.channels_first(array, maps).reshape(-1) for key, array in (
                ("gamma", leaf.gamma.value), ("beta", leaf.beta.value), *leaf.buffers().items())}
            yield path, "BatchNormalization", arrays, {"epsilon": float(leaf.eps)}
        elif type(leaf) is GlobalAvgPool:
            yield path, "GlobalAveragePool", {}, {}
            yield f"{path}.flatten", "Flatten", {}, {"axis": 1}
        else:
            yield path, *_plain(path, leaf)


def _weighted(path: str, layer: Conv2d | Dense, norm: BatchNorm2d | None, maps: Shape | None) -> Step:
    weight, bias = infer.fold(layer, norm)
    weight = torch_state.channels_first(weight, maps)
    arrays = {} if bias is None else {"bias": bias}
    if isinstance(layer, Dense):
        return path, "Gemm", {"weight": weight.reshape(len(weight), -1), **arrays}, {"transB": 1}
    return path, "Conv", {"weight": weight, **arrays}, {
        "kernel_shape": list(weight.shape[2:]), "strides": [layer.stride] * 2, "pads": [layer.pad] * 4}


def _plain(path: str, layer: Layer) -> tuple[str, dict, dict]:
    """A layer without weights: ONNX's operator, no weights, its attributes."""
    if type(layer) is ReLU:
        return "Relu", {}, {}
    if type(layer) is MaxPool2d:
        return "MaxPool", {}, {"kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2}
    if type(layer) is Flatten:
        return "Flatten", {}, {"axis": 1}
    raise UserError(f"{path} is a {type(layer).__name__}, and export knows tinyfer's own layers only: build the model "
                    f"of those.")


# ------------------------------------------------------------------------------------------------ what consumers need


def metadata(model) -> dict[str, str]:
    """The metadata_props: JSON texts (but the version) that say how to feed the graph and what it answers."""
    side = model.preprocess.side
    scale, offset = map(float, model.preprocess.scale_offset)
    told = {"model": {"name": model.name, "options": model.options},
            "labels": list(model.labels),
            "preprocess": model.preprocess.to_dict(),
            "input": {"name": INPUT, "shape": ["batch", 1, side, side], "type": "float32", "scale": scale,
                      "offset": offset, "margin": faces.MARGIN},
            "meta": model.meta}
    return {key: json.dumps(value) for key, value in told.items()} | {"tinyfer": __version__}


def summary(model) -> str:
    """The network in a sentence, and what it must not be mistaken for."""
    note = f"; {faces.DRAWN_ONLY}" if faces.drawn_only(model) else ""
    return f"{model.name} by tinyfer: the facial expression in a picture of a face{note}."


def description(model) -> str:
    """The doc_string: what the network is, how to feed it and how to read its answer, in words."""
    p = model.preprocess
    steps = [f"Cut the face out as a square, {1 + faces.MARGIN:g} times as large as the box that OpenCV's "
             "haarcascade_frontalface_default finds, about the same middle; beyond the picture repeat its edge.",
             f"Make it grey, 8 bits (0.299 R + 0.587 G + 0.114 B), and {p.size}x{p.size}: each new pixel the mean of "
             f"the area that it covers."]
    if p.equalize:
        steps.append("Equalise its histogram (OpenCV: equalizeHist).")
    if p.crop:
        steps.append(f"Take the {p.crop}x{p.crop} in the middle.")
    steps.append(f"(grey / 255 - {p.mean:g}) / {p.std:g} as float32 is the input `{INPUT}` (batch, 1, {p.side}, "
                 f"{p.side}).")
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return (f"{summary(model)}\n\n{numbered}\n\n"
            f"The output `{OUTPUT}` (batch, {len(model.labels)}) is in the order {', '.join(model.labels)}; softmax "
            f"makes it probabilities. An expression is what a face shows, not what a person feels.\n")


# --------------------------------------------------------------------------------------------------------- self check


class Check(NamedTuple):
    """What ONNX Runtime's logits were like beside this engine's: their largest difference, whether that is within the
    TOLERANCE, and on how many drawn faces."""

    gap: float
    close: bool
    faces: int


def answers(content: bytes, x: np.ndarray) -> np.ndarray:
    """What ONNX Runtime answers by the bytes of an ONNX file: x (N,h,w,1) -> logits (N,7). Needs the package
    onnxruntime."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level, settings.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {INPUT: np.ascontiguousarray(x.transpose(0, 3, 1, 2))})[0]


def check(model, content: bytes) -> Check:
    """ONNX Runtime on the bytes of an ONNX file beside this engine's own plan."""
    x = model.preprocess(draw_many(np.arange(CHECKED) % len(LABELS), np.random.default_rng(0)))
    ours = infer.Plan(model, CHECKED)(x)
    gap = float(np.abs(answers(content, x) - ours).max())
    return Check(gap, gap <= TOLERANCE * max(1.0, float(np.abs(ours).max())), CHECKED)
