"""Small errors, put into the code one at a time: some test of that op or layer must notice each of them.

    python -m tests.mutants [word ...]     all, or those whose file, op or description contains a word

A mutant is one replaced piece of source, which must occur exactly once: when the code changes, the list says so. The
package and its tests are copied to a temporary folder, edited there, and only the mutated op's own tests run. First
they run unedited: they must pass. A mutant counts as killed only when a test fails by an assertion; one that cannot be
imported or collected proves nothing and counts against us. Most run as plain Python (NUMBA_DISABLE_JIT), which starts
at once; those about threads and vectors are compiled."""

import argparse
import concurrent.futures
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from tests import mutants_fused, mutants_layers

ROOT = pathlib.Path(__file__).resolve().parents[1]
GRADIENT = "tests/test_ops_gradient.py::test_values_and_gradients"
PARITY = "tests/test_ops_parity.py::test_float32_kernel_is_within_the_error_bound"
TWICE = "tests/test_ops_layout.py::test_results_are_fresh_and_nothing_is_kept_between_calls"
INPUTS = "tests/test_ops_layout.py::test_inputs_are_left_alone"
NAN = "tests/test_ops_traps.py::test_a_nan_is_seen_where_the_reference_shows_it"
THREADS = "tests/test_ops_threads.py::test_same_bits_for_any_number_of_threads"
TRAPS = "tests/test_ops_traps.py::"
LAYER = "tests/test_layers.py::test_every_gradient_of_a_layer_is_that_of_central_differences"
TIMEOUT = 600  # seconds for one run of the tests; the unedited ones compile a good deal


@dataclass(frozen=True)
class Mutant:
    """`old` -> `new` in tinyfer/`file`. tests: node ids, or an op's name for that op's tests. compiled: with Numba."""

    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...]
    compiled: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(node for test in self.tests for node in ((test,) if "::" in test else _of_op(test)))


def _of_op(op: str) -> tuple[str, ...]:
    """The tests that every op has, as far as they make sense for this one."""
    return tuple(f"{test}[{op}]" for test in (GRADIENT, PARITY, *(() if op.endswith("_update") else (TWICE,)), INPUTS))


def kernel(file, op, what, old, new, *more, compiled=False):
    return Mutant(f"kernels/{file}.py", f"{op}: {what}", old, new, (op, *more), compiled)


def layer(what, old, new, *tests):
    return Mutant("layers.py", what, old, new, tests)


MUTANTS = [
    # convolution, as a few input channels take it (taps gathered) and as many do
    kernel("conv", "conv2d_forward", "bias left out", "flat_y[pixel * outputs + k] = b[k]",
           "flat_y[pixel * outputs + k] = 0"),
    kernel("conv", "conv2d_forward", "padding one too far left", "x[picture, p - pad, q - pad, c]",
           "x[picture, p - pad, max(q - pad - 1, 0), c]"),
    kernel("conv", "conv2d_forward", "stride ignored along columns",
           "run, step = kw * channels, stride * channels\n    y =",
           "run, step = kw * channels, channels\n    y ="),
    kernel("conv", "conv2d_forward", "stride ignored along rows, gathered taps",
           "(picture * padded + p * stride) * row, row, kh",
           "(picture * padded + p) * row, row, kh"),
    kernel("conv", "conv2d_forward", "last kernel row left out, many channels",
           "for i in range(kh):  # outside the loop over rows",
           "for i in range(max(kh - 1, 1)):  # outside the loop over rows"),
    kernel("conv", "conv2d_forward", "taps of a gathered row one off", "at = start + i * row + q * step",
           "at = start + i * row + q * step - (1 if q else 0)"),
    kernel("conv", "conv2d_backward", "dx cut out of the padding one row late",
           "dxp[(p + pad) * row + pad * channels + t]",
           "dxp[(p + min(pad, 1)) * row + pad * channels + t]"),
    kernel("conv", "conv2d_backward", "dx: '=' for '+='", "dxp[(p * stride + i) * row + q * step + t] += shares",
           "dxp[(p * stride + i) * row + q * step + t] = shares"),
    kernel("conv", "conv2d_backward", "dx: shares of the line before kept", "                shares[:] = 0\n", ""),
    kernel("conv", "conv2d_backward", "dx: kernel flipped", "wt[k * columns + t] = flat[t * outputs + k]",
           "wt[k * columns + t] = flat[(taps - 1 - t) * outputs + k]"),
    kernel("conv", "conv2d_backward", "dx: taps swapped, many channels", "(i * kw + j) * channels, columns,",
           "(i * kw + kw - 1 - j) * channels, columns,"),
    kernel("conv", "conv2d_backward", "dw: only the last chunk of pictures", "dw[t] += parts[chunk, t]",
           "dw[t] = parts[chunk, t]"),
    kernel("conv", "conv2d_backward", "dw divided by the batch", "return dw.reshape((kh, kw, channels, outputs)), db",
           "return dw.reshape((kh, kw, channels, outputs)) / n, db"),
    kernel("conv", "conv2d_backward", "dw: stride ignored along rows",
           "(picture * padded + p * stride + i) * row, 1, step",
           "(picture * padded + p + i) * row, 1, step"),
    kernel("conv", "conv2d_backward", "db: sum over columns ends early", "                for q in range(out_width):\n"
           "                    for k in range(outputs):\n                        bias",
           "                for q in range(max(out_width - 1, 1)):\n"
           "                    for k in range(outputs):\n                        bias"),
    kernel("conv", "conv2d_backward", "chunks cut by the number of threads", "chunks = min(n, CHUNKS)",
           "chunks = min(n, numba.get_num_threads())", f"{THREADS}[conv2d_backward]", compiled=True),
    kernel("conv", "conv2d_backward", "race: all chunks add to one sum", "        part = parts[chunk]\n",
           "        part = parts[0]\n", f"{THREADS}[conv2d_backward]", compiled=True),
    # activations
    kernel("activation", "relu_forward", "a NaN is cut off", "if flat_x[i] < 0:\n            flat_y[i] = 0",
           "if not flat_x[i] >= 0:\n            flat_y[i] = 0", f"{NAN}[relu_forward-0]"),
    kernel("activation", "relu_backward", "gradient passes at 0", "if flat_x[i] <= 0:\n            flat_dx[i] = 0",
           "if flat_x[i] < 0:\n            flat_dx[i] = 0", f"{TRAPS}test_relu_at_zero_has_gradient_zero"),
    kernel("activation", "relu_backward", "mask of dy", "if flat_x[i] <= 0:\n            flat_dx[i] = 0",
           "if flat_dy[i] <= 0:\n            flat_dx[i] = 0"),
    kernel("activation", "leaky_relu_forward", "slope ignored", "flat_y[i] = s * flat_x[i]", "flat_y[i] = 0"),
    kernel("activation", "leaky_relu_backward", "x for dy", "flat_dx[i] = s * flat_dy[i]",
           "flat_dx[i] = s * flat_x[i]"),
    # batch normalisation
    kernel("norm", "batchnorm_forward", "variance divided by count - 1", "variance = square - offset**2",
           "variance = square * counts.sum() / max(counts.sum() - 1, 1) - offset**2"),
    kernel("norm", "batchnorm_forward", "mean's square not subtracted", "variance = square - offset**2",
           "variance = square"),
    kernel("norm", "batchnorm_forward", "no pivot", "            shift[c] = rows[first, c]", "            shift[c] = 0",
           f"{TRAPS}test_constant_channel_becomes_beta"),
    kernel("norm", "batchnorm_forward", "last row of a chunk left out", "for r in range(first, last):",
           "for r in range(first, max(last - 1, first + 1)):"),
    kernel("norm", "batchnorm_forward", "eps outside the root", "return 1 / np.sqrt(var + var.dtype.type(eps))",
           "return 1 / (np.sqrt(var) + var.dtype.type(eps))"),
    kernel("norm", "batchnorm_forward", "chunks combined without moving the pivot", "2 * shift * sums",
           "0 * shift * sums", f"{TRAPS}test_statistics_far_from_zero[5000]"),
    kernel("norm", "batchnorm_backward", "sums not divided by the count", "shares = (dbeta / count)",
           "shares = (dbeta / 1)"),
    kernel("norm", "batchnorm_backward", "way through the variance left out", "- xhat * mean_dy_xhat[c])", ")"),
    kernel("norm", "batchnorm_backward", "way through the mean left out", "(dy[r, c] - mean_dy[c] - xhat",
           "(dy[r, c] - xhat"),
    kernel("norm", "batchnorm_backward", "sign of the variance's way", "- xhat * mean_dy_xhat[c])",
           "+ xhat * mean_dy_xhat[c])"),
    kernel("norm", "batchnorm_backward", "gamma left out of dx", "mean, inverse, gamma * inverse, *shares)",
           "mean, inverse, inverse, *shares)"),
    kernel("norm", "batchnorm_backward", "dgamma of x, not of xhat",
           "part[1, c] += np.float64(dy[r, c] * ((rows[r, c] - mean[c]) * inverse[c]))",
           "part[1, c] += np.float64(dy[r, c] * (rows[r, c] * inverse[c]))"),
    kernel("norm", "batchnorm_eval_forward", "gamma and beta swapped", "mean, gamma * _inverse(var, eps), beta)",
           "mean, beta * _inverse(var, eps), gamma)"),
    kernel("norm", "batchnorm_eval_backward", "gamma left out", "zero, gamma * inverse, zero)", "zero, inverse, zero)"),
    # pooling
    kernel("pool", "maxpool_forward", "the last of equals wins", "if pixel[c] > best[c] or",
           "if pixel[c] >= best[c] or",
           f"{TRAPS}test_maxpool_gives_ties_to_the_first"),
    kernel("pool", "maxpool_forward", "a NaN is passed over", "or (pixel[c] != pixel[c] and best[c] == best[c])", "",
           f"{TRAPS}test_maxpool_keeps_the_first_nan_wherever_it_stands"),
    kernel("pool", "maxpool_forward", "last tap not looked at",
           "for t in range(1, size * size):\n                    i, j",
           "for t in range(1, max(size * size - 1, 1)):\n                    i, j"),
    kernel("pool", "maxpool_forward", "rows and columns of a tap swapped", "i, j = t // size, t % size",
           "j, i = t // size, t % size"),
    kernel("pool", "maxpool_backward", "'=' for '+=' where windows overlap", "pixel[c] += share[c]",
           "pixel[c] = share[c]"),
    kernel("pool", "maxpool_backward", "stale buffer", "dx = np.zeros(x_shape, dy.dtype)\n",
           "dx = maxpool_backward.__dict__.setdefault((x_shape, dy.dtype), np.zeros(x_shape, dy.dtype))\n"),
    kernel("pool", "global_avgpool_forward", "sum for mean", "total[c] / (height * width)", "total[c]"),
    kernel("pool", "global_avgpool_backward", "width left out", "dy.dtype.type(height * width)",
           "dy.dtype.type(height)"),
    # dense, dropout
    kernel("dense", "dense_forward", "bias left out", "y[r, k] = b[k]", "y[r, k] = 0"),
    kernel("dense", "dense_forward", "first stretch of a long sum alone", "in range(0, depth, stretch):",
           "in range(0, min(depth, stretch), stretch):",
           "tests/test_ops_parity.py::test_float32_at_a_network_s_size[dense_forward]", compiled=True),
    kernel("dense", "dense_backward", "db averaged", "dy.sum(0)", "dy.mean(0)"),
    kernel("dense", "dense_backward", "dw: last picture left out", "depth - first), outputs, n)",
           "depth - first), outputs, max(n - 1, 1))"),
    kernel("dense", "dense_forward", "x read along the wrong axis", "gemm(code, flat_x, start, depth, 1,",
           "gemm(code, flat_x, start, 1, n,"),
    kernel("dropout", "dropout_forward", "mask not scaled", "flat_y[i] = flat_x[i] * flat_mask[i]",
           "flat_y[i] = flat_x[i] * min(flat_mask[i], 1)"),
    kernel("dropout", "dropout_backward", "dy passes unmasked", "flat_dx[i] = flat_dy[i] * flat_mask[i]",
           "flat_dx[i] = flat_dy[i]"),
    kernel("dropout", "dropout_backward", "writes into dy", "dx = np.empty(dy.shape, dy.dtype)", "dx = dy"),
    # matrix product
    kernel("gemm", "dense_forward", "odd products at the end left out", "for k in range(whole, depth):",
           "for k in range(whole, depth - 1):"),
    kernel("gemm", "dense_forward", "columns beside the tiles left out", "    if j < n:\n",
           "    if j < 0:\n", compiled=True),
    kernel("gemm", "dense_forward", "last odd row of tiles left out", "    if i < m:\n", "    if i < 0:\n",
           compiled=True),
    # loss
    kernel("loss", "softmax", "largest logit not subtracted", "math.exp(np.float64(z[n, k] - top))",
           "math.exp(np.float64(z[n, k]))", f"{TRAPS}test_a_common_shift_of_the_logits_changes_nothing"),
    kernel("loss", "softmax_cross_entropy", "loss not divided", "share, mass = weights[n] / total, 0.0",
           "share, mass = weights[n], 0.0"),
    kernel("loss", "softmax_cross_entropy", "sign of the target", "* mass - q)", "* mass + q)"),
    kernel("loss", "softmax_cross_entropy", "smoothing not spread over the classes",
           "            q = (1 - label_smoothing) * t[n, k] + label_smoothing / classes",
           "            q = (1 - label_smoothing) * t[n, k]"),
    kernel("loss", "softmax_cross_entropy", "class weights ignored",
           "np.float64(t[n, k]) * np.float64(class_weight[k])",
           "np.float64(t[n, k])"),
    # updates
    kernel("update", "sgd_update", "weight decay ignored", "decayed = g[i] + weight_decay * w[i]", "decayed = g[i]"),
    kernel("update", "sgd_update", "uphill", "w[i] -= lr * (now", "w[i] += lr * (now"),
    kernel("update", "sgd_update", "Nesterov's own gradient left out", "(now * decayed + push * v[i])",
           "(push * v[i])"),
    kernel("update", "adam_update", "bias correction left out", "m[i] / correct1", "m[i]"),
    kernel("update", "adam_update", "gradient not squared", "one_b2 * g[i] * g[i]", "one_b2 * g[i]"),
    kernel("update", "adam_update", "eps inside the root", "(np.sqrt(v[i] / correct2) + eps)",
           "np.sqrt(v[i] / correct2 + eps)"),
    # layers
    layer("Conv2d: bias gradient dropped", "            self.bias.grad[...] = db", "            pass",
           f"{LAYER}[conv-train]"),
    layer("Conv2d: gradients accumulate", "        if self.bias:\n            self.bias.grad[...] = db",
          "        if self.bias:\n            self.bias.grad[...] += db",
           "tests/test_layers.py::test_grads_are_assigned_not_accumulated"),
    layer("BatchNorm2d: running variance biased", "var * count / (count - 1)", "var",
          "tests/test_layers.py::test_running_statistics_follow_the_written_convention"),
    layer("BatchNorm2d: running mean by the other share", "self.momentum * (mean - self.running_mean)",
          "(1 - self.momentum) * (mean - self.running_mean)",
          "tests/test_layers.py::test_running_statistics_follow_the_written_convention"),
    layer("BatchNorm2d: evaluation's gradient in training",
           "ops.batchnorm_backward if train else ops.batchnorm_eval_backward",
          "ops.batchnorm_eval_backward", f"{LAYER}[norm-train]"),
    layer("Dropout: another mask backward", "return dy if mask is None else ops.dropout_backward(dy, mask)",
          "return dy if mask is None else ops.dropout_backward(dy, mask[::-1])", f"{LAYER}[dropout-train]"),
    layer("Dropout: what is kept is not scaled", "/ np.float32(1 - self.p)", "/ np.float32(1)",
          "tests/test_layers.py::test_dropout_uses_its_mask_again_backward_and_draws_a_new_one_forward"),
    layer("Sequential: the first layer gets no gradient", "for layer in reversed(self.layers.values()):",
          "for layer in list(reversed(self.layers.values()))[:-1]:", f"{LAYER}[block-train]"),
    Mutant("optim.py", "AdamW: steps counted from 0", "        self.t += 1\n", "        self.t += 1 if self.t else 2\n",
           ("tests/test_optim.py::test_twenty_steps_by_the_book",)),
    Mutant("optim.py", "decay on every parameter", "self.weight_decay if decays else 0.0", "self.weight_decay",
           ("tests/test_optim.py::test_decay_touches_matrices_alone",)),
    Mutant("optim.py", "EMA: moves by the share it should keep", "np.float32(1 - min(self.decay,",
           "np.float32(min(self.decay,",
           ("tests/test_optim.py::test_the_average_has_a_short_memory_at_the_start_and_covers_the_statistics",)),
    Mutant("optim.py", "EMA: the model keeps the averages", "                array[...] = own[name]",
           "                array[...] = array",
           ("tests/test_optim.py::test_applied_restores_every_bit_whatever_happens_inside",)),
    Mutant("optim.py", "cosine ends half way", "math.cos(math.pi * progress))\n\n    def one_cycle",
           "math.cos(0.5 * math.pi * progress))\n\n    def one_cycle",
           ("tests/test_optim.py::test_constant_step_and_cosine_have_their_shapes",)),
]  # fmt: skip
# Unless an entry says itself: what runs whole networks would take too long as plain Python.
for _entry in mutants_layers.MUTANTS + mutants_fused.MUTANTS:
    _networks = any("test_models" in test or "test_infer" in test for test in _entry["tests"])
    MUTANTS.append(Mutant(**({"compiled": _networks} | _entry)))


# ------------------------------------------------------------------------------------------------------------- running


def copy_to(folder: pathlib.Path) -> pathlib.Path:
    """A fresh copy of the package and its tests."""
    for part in ("tinyfer", "tests"):
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", folder)
    return folder


def mutate(folder: pathlib.Path, mutant: Mutant) -> None:
    """Put the mutant into the copy. The copies are made as it goes: the source may have been changed meanwhile."""
    path = folder / "tinyfer" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise RuntimeError(f"{mutant.file}: {mutant.what}: the source was changed while mutants ran; start again")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def run(folder: pathlib.Path, nodes, compiled: bool) -> tuple[int, str]:
    """pytest on these tests in that copy: its exit status and its output."""
    settings = {} if compiled else {"NUMBA_DISABLE_JIT": "1", "TINYFER_VECTOR_BITS": "0", "TINYFER_CASES": "2,10,5"}
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    env |= {"CI": "1", "COLUMNS": "400", "PYTHONDONTWRITEBYTECODE": "1",
           "TINYFER_CACHE": str(folder / "cache")} | settings
    command = [sys.executable, "-m", "pytest", "-x", "-rf", "--tb=line", "-p", "no:cacheprovider", *nodes]
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return -1, "timeout"
    return done.returncode, done.stdout + done.stderr


ASSERTED = re.compile(r"^FAILED \S.*? - (\w+\.)*(AssertionError|GradientError|Failed|assert )", re.MULTILINE)


def verdict(status: int, output: str) -> str:
    """"killed", "SURVIVED", or why the run proves nothing."""
    if status == 0:
        return "SURVIVED"
    if status == 1 and ASSERTED.search(output):
        return "killed"
    failed = re.search(r"^(FAILED|ERROR) .*", output, re.MULTILINE)
    return f"INVALID: {failed.group(0)[:150] if failed else output[-150:].strip()}"


def judge(mutant: Mutant, folders: queue.SimpleQueue) -> tuple[str, float]:
    """One mutant's verdict and seconds, in a free folder. A folder is used again and again, because Numba's cache
    knows a kernel by its place: what is not edited is compiled once."""
    folder = folders.get()
    started = time.perf_counter()
    try:
        mutate(copy_to(folder), mutant)
        return verdict(*run(folder, mutant.nodes, mutant.compiled)), time.perf_counter() - started
    finally:
        folders.put(folder)


def misplaced(mutants) -> list[str]:
    """A line for each mutant whose piece of source does not occur exactly once."""
    counted = ((mutant, (ROOT / "tinyfer" / mutant.file).read_text(encoding="utf-8").count(mutant.old))
               for mutant in mutants)
    return [f"{mutant.file}: {mutant.what}: its piece of source occurs {count} times, expected once"
            for mutant, count in counted if count != 1]


def unedited(mutants, folder: pathlib.Path) -> list[str]:
    """What is wrong before any edit: pieces that do not occur exactly once, tests that fail as they are."""
    faults = misplaced(mutants)
    copy_to(folder)
    for compiled in (False, True) if not faults else ():
        nodes = sorted({node for mutant in mutants if mutant.compiled is compiled for node in mutant.nodes})
        status, output = run(folder, nodes, compiled) if nodes else (0, "")
        if status:
            faults.append(f"the tests fail before any edit{' (compiled)' if compiled else ''}:\n{output[-2000:]}")
    return faults


def _judge_all(chosen, places: list[pathlib.Path]) -> int | None:
    """How many are killed, with a line for each; None, with the reasons, where nothing can be judged."""
    folders: queue.SimpleQueue = queue.SimpleQueue()
    for place in places:
        place.mkdir()
        folders.put(place)
    faults = unedited(chosen, places[0])
    if faults:
        print("\n".join(faults))
        return None
    killed = 0
    with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
        for mutant, (result, seconds) in zip(chosen, pool.map(lambda m: judge(m, folders), chosen), strict=True):
            killed += result == "killed"
            print(f"{mutant.file:<24}{mutant.what:<64}{seconds:6.1f} s  {result}", flush=True)
    return killed


def main(arguments=None) -> int:
    """Judge every mutant and print a table. Exit status 0: all killed; 1: not all; 2: the list or the tests are bad."""
    parser = argparse.ArgumentParser("python -m tests.mutants", description="Put small errors into the code.")
    parser.add_argument("words", nargs="*", help="only mutants whose file or description contains one of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at the same time (default: %(default)s)")
    options = parser.parse_args(arguments)
    chosen = [m for m in MUTANTS if not options.words or any(word in f"{m.file} {m.what}" for word in options.words)]
    started = time.perf_counter()
    print(f"{len(chosen)} mutants; first their tests as they are ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        killed = _judge_all(chosen, [pathlib.Path(name) / str(job) for job in range(options.jobs)])
    if killed is None:
        return 2
    print(f"{len(chosen)} mutants, {killed} killed   ({time.perf_counter() - started:.0f} s)")
    return 0 if killed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
