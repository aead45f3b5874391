"""python -m tinyfer.export MODEL OUTPUT: a model as an ONNX file, for other runtimes and languages.

    python -m tinyfer.export lite lite.onnx
    python -m tinyfer.export runs/lite-1 mine.onnx

Needs the package onnx (pip install "tinyfer[onnx]"). Where onnxruntime is installed too, the file is only written when
that gives the logits that this engine gives. How to feed it stands in the file, and in `tinyfer.onnx_graph`."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from dataclasses import dataclass

from tinyfer import checkpoint, cli, machine, models, onnx_graph
from tinyfer.cli import option
from tinyfer.errors import UserError

PROG = "python -m tinyfer.export"


@dataclass(frozen=True)
class Options:
    """The words of this program."""

    model: str = option("", "a model's file, a run's folder, or the name of a shipped model", metavar="MODEL",
                        positional=True)
    output: str = option("", "the ONNX file to write, such as lite.onnx", metavar="OUTPUT", positional=True)


def run(options: Options) -> int:
    """Export, check and write; 1 where ONNX Runtime does not give the same logits."""
    if not options.output:
        raise UserError(f"name a model and the file to write: {PROG} {options.model or 'lite'} lite.onnx.")
    output = pathlib.Path(options.output)
    if output.suffix.lower() != ".onnx":
        raise UserError(f"{output}: expected the name of the file to write, which ends in .onnx.")
    path = models.locate(options.model)
    if str(path) != options.model:
        print(f"using {path}", file=sys.stderr)
    model = models.load(path)
    content = onnx_graph.build(model).SerializeToString(deterministic=True)
    checked = _checked(model, content)
    if checked and not checked.close:
        print(f"{output} is not written: ONNX Runtime's logits differ from this engine's by up to {checked.gap:.1e} on "
              f"{checked.faces} drawn faces, expected {onnx_graph.TOLERANCE:g}", file=sys.stderr)
        return 1
    checkpoint.write_atomically(output, lambda file: file.write(content))
    print(_told(model, output, len(content)))
    print(f"ONNX Runtime gives this engine's logits on {checked.faces} drawn faces; largest difference "
          f"{checked.gap:.1e}" if checked else
          "not checked, for the package onnxruntime is not installed: pip install onnxruntime")
    return 0


def _checked(model, content: bytes) -> onnx_graph.Check | None:
    """The self check, where the package for it is installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    machine.tell_of_compiling(stderr=True)
    return onnx_graph.check(model, content)


def _told(model, output: pathlib.Path, size: int) -> str:
    """What was written, for people."""
    side = model.preprocess.side
    return (f"wrote {output}, {size / 1e6:.1f} MB\n"
            f"what    {onnx_graph.summary(model)}\n"
            f"input   {onnx_graph.INPUT} float32 (batch, 1, {side}, {side}); its doc_string and metadata say how a "
            f"picture becomes that\n"
            f"output  {onnx_graph.OUTPUT} float32 (batch, {len(model.labels)}): {', '.join(model.labels)}")


if __name__ == "__main__":
    cli.main(Options, run, prog=PROG, description="Write a model as an ONNX file, for other runtimes and languages.")
