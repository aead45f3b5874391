"""Export: ONNX Runtime gives our logits, the file says all that a consumer needs, and bad words are one sentence."""

import functools
import json
import os

import numpy as np
import pytest

from tests.nets import SMALL, one_thread, randomise, small  # noqa: F401
from tests.programs import refused, run
from tinyfer import cli, data, export, infer, models, onnx_graph
from tinyfer.data import Preprocess
from tinyfer.data.toyfaces import draw_many
from tinyfer.errors import UserError
from tinyfer.layers import BatchNorm2d, Dense, Flatten, ReLU

NETWORKS = {
    "vgg": ("vgg", dict(width=0.25)),
    "vgg-relu-bn": ("vgg", dict(width=0.25, order="conv-relu-bn")),
    "vgg-fc3": ("vgg", dict(width=0.125, size=33, head="fc3")),
    "vgg-fc3-relu-bn": ("vgg", dict(width=0.125, size=33, head="fc3", order="conv-relu-bn")),
    "cnn4": ("cnn4", dict()),
    "dnn5": ("dnn5", dict()),
    "micro": ("micro", dict()),
}


@functools.cache
def faces():
    """A dozen drawn pictures uint8 (N,48,48), and as many real ones where they are: they are not ours to pass on."""
    drawn = draw_many(np.arange(12) % 7, np.random.default_rng(5))
    if "TINYFER_FER2013" not in os.environ:
        return drawn
    return np.concatenate([drawn, data.load(os.environ["TINYFER_FER2013"]).val.images[:12]])


def network(key):
    """Random weights and statistics, and logits of a size as in life."""
    name, options = NETWORKS[key]
    model = randomise(models.build(name, np.random.default_rng(0), **options))
    largest = np.abs(model.forward(model.preprocess(faces()))).max()
    classes = dict(model.leaves())["head.classes"]
    for p in classes.parameters().values():
        p.value *= 5 / largest
    return model


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx")


@pytest.fixture
def runtime(onnx):
    """(session of an ONNX file's bytes) where the packages are installed."""
    onnxruntime = pytest.importorskip("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return lambda content: onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])


def answer(session, pictures):
    """What a consumer gets who knows the file alone: logits of uint8 (N,H,W) pictures of the size that it names."""
    told = json.loads(session.get_modelmeta().custom_metadata_map["input"])
    assert pictures.shape[1:] == tuple(told["shape"][2:])
    x = pictures.astype(told["type"]) * np.float32(told["scale"]) + np.float32(told["offset"])
    (logits,) = session.run(None, {told["name"]: x[:, None]})
    return logits


# ------------------------------------------------------------------------------------------------------ the same logits


@pytest.mark.onnx
def test_the_shipped_model(runtime):
    model = models.load("lite")
    session = runtime(onnx_graph.build(model).SerializeToString())
    expected = infer.Plan(model)(model.preprocess(faces()))
    assert np.ptp(expected) > 2 and np.abs(answer(session, faces()) - expected).max() < 1e-4
    one = answer(session, faces()[3:4])  # the batch is whatever it is
    assert one.shape == (1, 7) and np.abs(one - expected[3]).max() < 1e-4


@pytest.mark.onnx
@pytest.mark.parametrize("key", NETWORKS)
def test_every_network(runtime, key):
    model = network(key)
    session = runtime(onnx_graph.build(model).SerializeToString())
    prepared = model.preprocess.prepare(faces())
    expected = model.forward(model.preprocess.normalise(prepared))
    assert np.ptp(expected, axis=0).max() > 0.3, "pictures that differ get answers that do"
    assert np.abs(answer(session, prepared) - expected).max() < 1e-4


@pytest.mark.onnx
@pytest.mark.parametrize(("key", "norms", "convolutions", "dense"), [
    ("vgg", 0, 8, 3), ("vgg-relu-bn", 8, 8, 1), ("cnn4", 0, 4, 3), ("dnn5", 0, 3, 2), ("micro", 0, 8, 1)])
def test_norms_are_folded_where_they_can_be(onnx, key, norms, convolutions, dense):
    graph = onnx_graph.build(randomise(small(key))).graph
    kinds = [node.op_type for node in graph.node]
    assert (kinds.count("BatchNormalization"), kinds.count("Conv"), kinds.count("Gemm")) == (norms, convolutions, dense)
    assert "Dropout" not in kinds and "Transpose" not in kinds
    assert graph.node[0].name in ("stage1.block0.conv", "block0.conv", "conv0")


@pytest.mark.onnx
def test_layers_in_an_order_that_no_model_of_ours_has(runtime):
    """A norm right behind Flatten: its parameters go by features too, which must be put in order."""
    rng = np.random.default_rng(0)
    conv = dict(small("dnn5").leaves())["conv0"]
    layers = {"conv": conv, "flatten": Flatten(), "bn": BatchNorm2d(4 * 4 * 32), "relu": ReLU(),
              "classes": Dense(4 * 4 * 32, 7, rng)}
    model = randomise(models.Model("mine", {"size": 4}, layers))
    x = rng.standard_normal((3, 4, 4, 1)).astype("f4")
    (logits,) = runtime(onnx_graph.build(model).SerializeToString()).run(None, {"images": x.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(logits, model.forward(x), rtol=1e-4, atol=1e-4)

    class Doubled(ReLU):
        def forward(self, x, train=False, keep=None):
            return 2 * super().forward(x, train, keep)

    with pytest.raises(UserError, match=r"twice is a Doubled, and export knows"):
        onnx_graph.build(models.Model("mine", {"size": 4}, layers | {"twice": Doubled()}))


# --------------------------------------------------------------------------------------------------- what the file says


@pytest.mark.onnx
def test_what_a_consumer_needs_stands_in_the_file(onnx):
    model = small("vgg")
    model.preprocess = Preprocess(size=20, crop=16, equalize=True, mean=0.4, std=0.3)
    model.labels = ("a", "b", "c", "d", "e", "f", "é")
    model.meta = {"data": "toyfaces", "note": "for drawn faces only"}
    proto = onnx_graph.build(model)
    props = {prop.key: prop.value for prop in proto.metadata_props}
    told = {key: json.loads(value) for key, value in props.items() if key != "tinyfer"}
    assert tuple(told["labels"]) == model.labels and told["meta"] == model.meta
    assert Preprocess.from_dict(told["preprocess"]) == model.preprocess
    assert told["model"] == {"name": "vgg", "options": model.options}
    assert told["input"]["scale"] == pytest.approx(1 / (255 * 0.3)) and told["input"]["shape"] == ["batch", 1, 16, 16]
    text = proto.doc_string
    for part in ("vgg by tinyfer", "for drawn faces only", "20x20", "Equalise", "16x16 in the middle",
                 "(grey / 255 - 0.4) / 0.3", "a, b, c, d, e, f, é", "not what a person feels"):
        assert part in text, text
    (image,), (logits,) = proto.graph.input, proto.graph.output
    shapes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in (image, logits)]
    assert (image.name, logits.name, shapes) == ("images", "logits", [["batch", 1, 16, 16], ["batch", 7]])
    assert proto.ir_version <= 8 and [opset.version for opset in proto.opset_import] == [13]
    plain = onnx_graph.description(small("vgg"))
    assert "Equalise" not in plain and "middle;" in plain and "in the middle." not in plain and "drawn" not in plain


# ---------------------------------------------------------------------------------------------------------- the program


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.npz"
    models.save(randomise(small("micro")), path)
    return path


def exported(capsys, *words):
    status = cli.status(export.Options, export.run, list(map(str, words)))
    return status, capsys.readouterr()


@pytest.mark.onnx
def test_the_program_writes_checks_and_tells(runtime, onnx, model_file, tmp_path, capsys):
    path = tmp_path / "micro.onnx"
    status, told = exported(capsys, model_file.parent, path)
    lines = told.out.splitlines()
    assert status == 0 and f"using {model_file}" in told.err
    assert lines[0] == f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB" and "(batch, 1, 24, 24)" in lines[2]
    assert lines[-1].startswith("ONNX Runtime gives this engine's logits on 21 drawn faces; largest difference ")
    assert float(lines[-1].split()[-1]) < 1e-4
    first = path.read_bytes()
    assert runtime(first) and exported(capsys, model_file, path)[0] == 0 and path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["micro.onnx"]
    status, told = exported(capsys, "lite", tmp_path / "lite.onnx")
    assert status == 0 and len(onnx.load(tmp_path / "lite.onnx").graph.initializer) == 18


@pytest.mark.onnx
def test_a_file_that_answers_otherwise_is_not_written(runtime, model_file, tmp_path, capsys, monkeypatch):
    right = infer.fold
    path = tmp_path / "micro.onnx"
    path.write_bytes(b"before")

    def wrong(layer, norm):
        weight, bias = right(layer, norm)
        return weight, bias if norm is None else bias + np.float32(1e-2)

    build = onnx_graph.build

    def wrongly_built(model):
        with monkeypatch.context() as patch:
            patch.setattr(infer, "fold", wrong)
            return build(model)

    monkeypatch.setattr(onnx_graph, "build", wrongly_built)
    status, told = exported(capsys, model_file, path)
    assert status == 1 and "not written" in told.err and path.read_bytes() == b"before" and not told.out


@pytest.mark.onnx
def test_without_the_runtime_it_is_written_unchecked(onnx, model_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(export.sys.modules, "onnxruntime", None)
    status, told = exported(capsys, model_file, tmp_path / "micro.onnx")
    assert status == 0 and told.out.splitlines()[-1].startswith("not checked") and "pip install onnxruntime" in told.out
    assert onnx.load(tmp_path / "micro.onnx").graph.name == "micro"


@pytest.mark.onnx
def test_what_cannot_be_written_is_one_sentence(onnx, model_file, tmp_path, capsys, monkeypatch):
    (tmp_path / "folder.onnx").mkdir()
    for path in (tmp_path / "nowhere" / "x.onnx", tmp_path / "folder.onnx", model_file / "x.onnx"):
        status, told = exported(capsys, model_file, path)
        assert status == 2 and told.err.startswith(f"error: cannot write {path}: ") and len(told.err.splitlines()) == 1
    monkeypatch.setattr(onnx_graph, "LARGEST", 1000)
    status, told = exported(capsys, model_file, tmp_path / "x.onnx")
    assert status == 2 and "export a smaller model" in told.err and not (tmp_path / "x.onnx").exists()


def test_wrong_words_are_one_sentence(model_file, tmp_path, capsys):
    (tmp_path / "half.npz").write_bytes(model_file.read_bytes()[:5000])
    for words, part in [
        ((), "name a model and the file to write: python -m tinyfer.export lite lite.onnx"),
        ((model_file,), f"python -m tinyfer.export {model_file} lite.onnx"),
        ((model_file, model_file), "which ends in .onnx"),
        ((model_file, "a.onnx", "b.onnx"), "b.onnx"),
        (("nope", tmp_path / "x.onnx"), "nope"),
        ((tmp_path, tmp_path / "x.onnx"), "no best.npz"),
        ((tmp_path / "half.npz", tmp_path / "x.onnx"), "damaged or cut off"),
    ]:
        status, told = exported(capsys, *words)
        assert status == 2 and part in told.err and len(told.err.splitlines()) == 1, (words, told.err)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["half.npz"]


def test_without_the_package_onnx_a_sentence_says_what_to_install(model_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(export.sys.modules, "onnx", None)
    status, told = exported(capsys, model_file, tmp_path / "x.onnx")
    assert status == 2 and told.err == "error: this needs the package onnx: pip install onnx\n"
    assert not (tmp_path / "x.onnx").exists()


def test_in_a_process_of_its_own_without_cv2(tmp_path):
    refused(run("tinyfer.export", "lite", tmp_path / "lite.npz"), "lite.npz: expected", "ends in .onnx")
