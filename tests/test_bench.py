"""The bench: who takes turns with whom, what is computed from the rounds, what is said where nothing was measured."""

import contextlib
import json
import pathlib
import sys

import numpy as np
import pytest

from tests.programs import refused, run
from tinyfer import models, reference
from tinyfer.bench import __main__ as program
from tinyfer.bench import answers, arithmetic, cases, common, facts, loops, memory, pictures, steps, table
from tinyfer.bench.turns import Contest, Missing, Peer, in_turn, spread
from tinyfer.kernels.compile import LANES

MACHINE = {"processor": "Abacus 3000", "system": "Linux", "cores": 2, "threads": 2, "vector_bits": 256,
           "memory_gb": 8.0, "compiler": None, "load_at_start": 0.1, "versions": {"tinyfer": "0.1.0", "torch": None}}
KEYS = """train_b128_vs_torch_fp32 train_b128_f2_vs_torch_fp32 train_b128_vs_torch_bf16 train_b128_avx2_vs_torch_avx2
          step_over_fma_peak infer_b1_vgg_vs_onnxruntime infer_b1_lite_vs_onnxruntime train_cnn4_vs_torch_fp32
          train_lite_vs_torch_fp32 peak_memory_vs_torch cold_start_s warm_start_s data_share_of_step""".split()


def fake(name="fake", kind="Scripted", timeout=30, **arguments):
    return Peer(name, f"tests.bench_fakes:{kind}", arguments, timeout=timeout)


@pytest.fixture
def bench(tmp_path):
    return common.Bench(table.Report(dict(MACHINE)), 2, False, common.Show(), str(tmp_path))


# ---------------------------------------------------------------------------------------------------- rounds and turns


def test_ratios_are_taken_within_a_round():
    contest = Contest({"ours": [1.0, 2.0, 4.0], "slow": [3.0, 4.0, 16.0], "quick": [2.0, 5.0, 5.0], "gone": []})
    assert contest.ratios("ours", "slow") == [3.0, 2.0, 4.0]
    assert contest.quickest(["slow", "quick", "gone"]) == "slow"  # the smaller median, 4, though 5 < 16 in one round
    assert contest.quickest(["gone"]) is None
    assert spread(contest.ratios("ours", "slow")) == {"median": 3.0, "q1": 2.5, "q3": 3.5, "min": 2.0, "max": 4.0,
                                                      "rounds": 3}
    assert spread([5.0])["q1"] == 5.0


def test_peers_take_turns_in_alternating_order(tmp_path):
    log = tmp_path / "turns"
    with fake(seconds=[1, 2, 3], tag="a", log=str(log)) as a, fake(seconds=[2, 2, 9], tag="b", log=str(log)) as b:
        contest = in_turn({"a": a, "b": b}, 3, 0, 0, rest=0)
    assert log.read_text().split() == ["a", "b", "b", "a", "a", "b"]
    assert contest.seconds == {"a": [1, 2, 3], "b": [2, 2, 9]} and contest.reasons == {}


def test_who_is_far_behind_is_let_go_and_who_fails_is_left_out():
    with fake(seconds=[1] * 4) as ours, fake(seconds=[2] * 4) as best, fake(seconds=[2.8] * 2) as behind:
        with fake(seconds=[2.5] * 4) as near, fake(seconds=[2, None]) as broken:
            peers = {"ours": ours, "best": best, "behind": behind, "near": near, "broken": broken}
            contest = in_turn(peers, 4, 0, 0, rest=0, classes=[["best", "behind", "near", "broken"]])
    assert [len(contest.seconds[name]) for name in peers] == [4, 4, 2, 4, 0]
    assert contest.reasons == {"broken": "ValueError: out of luck"}


def test_no_more_rounds_than_there_is_time_for():
    with fake(seconds=[1] * 9) as ours:
        assert len(in_turn({"ours": ours}, 9, 0, 0, rest=0, until=0.0).seconds["ours"]) == 3


@pytest.mark.parametrize(("kind", "reason"), [
    ("Absent", "a_package_that_nobody_has is not installed"),
    ("Dies", "it ended with status 3: the last words"),
    ("NoSuchTask", "AttributeError"),
])  # fmt: skip
def test_a_peer_that_does_not_start_says_why(kind, reason):
    with pytest.raises(Missing, match=reason):
        fake(kind=kind)


def test_a_peer_that_takes_too_long_is_ended():
    with fake(kind="Sleeps", timeout=1) as peer, pytest.raises(Missing, match=r"it was killed|it ended"):
        peer.ask("run", warm=0, seconds=0)


def test_a_peer_that_works_while_it_should_wait_is_told_of(bench):
    for kind, arguments in (("Scripted", {"seconds": [0.1] * 9}), ("Spins", {})):
        with bench.peer("training", "a net", kind, f"tests.bench_fakes:{kind}", arguments) as peer:
            in_turn({kind: peer}, 3, 0, 0, rest=0.2)
    assert len(bench.report.warnings) == 1 and "Spins kept" in bench.report.warnings[0]


# --------------------------------------------------------------------------------------------- PyTorch at its quickest


def hill(bench, candidates):
    """steps.quickest among fake peers, {name: arguments}: the name of the best, and of those that were ended."""
    kinds = {name: f"tests.bench_fakes:{arguments.pop('kind', 'Scripted')}" for name, arguments in candidates.items()}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(fake(common.OURS, seconds=[1] * 99))
        best = steps.quickest(bench, stack, "training", "a net", 4, ours, [1.0, 0.5],
                              {name: (kinds[name], arguments, {}) for name, arguments in candidates.items()})
        assert best is None or best.ask("run", warm=0, seconds=0)  # the best is kept alive
    return best and best.name


def test_the_quickest_configuration_stays_and_all_are_listed(bench):
    candidates = {"slow": {"seconds": [3] * 99}, "quick": {"seconds": [2] * 99}, "absent": {"kind": "Absent"},
                  "liar": {"seconds": [1], "losses": [9, 9]}, "middling": {"seconds": [2.5] * 99}}
    assert hill(bench, candidates) == "quick"
    rows = {row["peer"]: row for row in bench.report.rows}
    assert set(rows) == set(candidates)
    assert rows["quick"]["ours_times_as_fast"]["median"] == 2 and rows["slow"]["ours_times_as_fast"]["median"] == 3
    assert rows["absent"]["reason"].endswith("is not installed") and "not compute the same" in rows["liar"]["reason"]


def test_without_any_peer_the_key_is_null_with_a_reason(bench):
    assert hill(bench, {"PyTorch": {"kind": "Absent"}}) is None
    steps._miss(bench, "train_lite_vs_torch_fp32", ["PyTorch"])
    assert bench.report.as_dict()["reasons"]["train_lite_vs_torch_fp32"].endswith("is not installed")


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"channels_last": True}])
def test_pytorch_computes_the_same_losses_and_then_stands_as_before(options):
    pytest.importorskip("torch")
    from tinyfer.bench import ours, torch_peer

    us, them = ours.Training("micro", 8, 1), torch_peer.Training("micro", 8, 1, **options)
    first = us.losses(8, 3)
    np.testing.assert_allclose(them.losses(8, 3), first, rtol=1e-4)
    np.testing.assert_allclose([us.step(), them.step()], first[0], rtol=1e-4)  # micro has no dropout


def test_held_to_avx2_nothing_wider_is_left():
    held = common.features_without_avx512()
    if held is None:
        pytest.skip("this processor has no AVX2")
    features = held["NUMBA_CPU_FEATURES"].split(",")
    assert "+avx2" in features and not [f for f in features if f.startswith(("+avx512", "+avx10", "+amx"))]


# ---------------------------------------------------------------------------------------------------- what is computed


def test_flops_are_those_of_direct_convolution():
    vgg = models.vgg()
    assert cases.forward_flops(vgg) == pytest.approx(2 * 0.471e9, rel=0.01)
    assert cases.step_flops(vgg, 128) == pytest.approx(128 * 2.82e9, rel=0.01)
    case = next(c for c in cases.op_cases(2) if c.name == "conv2d_forward" and c.shape == (2, 48, 64, 64, 3))
    assert case.flops == 2 * 2 * 48 * 48 * 64 * 64 * 9
    assert case.bytes == 4 * (2 * 2 * 48 * 48 * 64 + 9 * 64 * 64)
    labels = [c.label for c in cases.op_cases(2)]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_rungs_compute_the_convolution(kernel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 4, 3), np.float32)
    w = rng.standard_normal((kernel, kernel, 3, 2), np.float32)
    right = reference.conv2d_forward(x, w, np.zeros(2, np.float32), 1, kernel // 2)
    y, other = np.full_like(right, np.nan), np.full_like(right, np.nan)
    loops.seven_loops(x, w, y)
    for picture in range(2):
        getattr(loops._by_neighbours, "py_func", loops._by_neighbours)(x[picture], w, other[picture], kernel // 2)
    for answer in (y, other, loops.with_numpy(x, w)):
        np.testing.assert_allclose(answer, right, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not LANES, reason="plain Numba has no tiles")
def test_the_rungs_on_tiles_know_how_far_they_are_from_the_right_answer(monkeypatch):
    monkeypatch.setattr(loops, "LAYER", (3, 12, 2 * LANES, 2 * LANES, 3))
    monkeypatch.setattr(loops, "RUN", 2)
    for way in ("tile", "winograd", "apart", "fused"):
        rung = loops.Rung(way, 2)
        assert 1e-8 < rung.error() < 1e-5, way
        right = rung.step
        rung.step = lambda right=right: 1.001 * right()
        assert rung.error() == pytest.approx(1e-3, rel=0.01), way


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason=memory.WHERE)
def test_peak_memory_counts_what_was_freed_again():
    assert 64e6 < memory.peak_above(lambda: np.ones(10_000_000).sum()) < 160e6


def test_the_machine_names_its_processor():
    told = facts.machine(2)
    assert told["processor"] and told["cores"] >= 1
    assert set(told["versions"]) >= {"tinyfer", "python", "numpy", "torch"}
    json.dumps(told)


# ---------------------------------------------------------------------------------------------------------- the report


def test_every_key_is_there_and_every_null_has_a_reason():
    report = table.Report(dict(MACHINE))
    report.set("warm_start_s", [2.0, 1.0, 4.0])
    report.miss("warm_start_s", "must not replace what was measured")
    report.miss("cold_start_s", "no time")
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert sorted(told["ratios"]) == sorted(KEYS) and told["ratios"]["warm_start_s"] == 2.0
    assert set(told["reasons"]) == set(KEYS) - {"warm_start_s"} and told["reasons"]["cold_start_s"] == "no time"
    assert set(told["spread"]) == {"warm_start_s"} and told["spread"]["warm_start_s"]["rounds"] == 3


def test_the_table_is_bold_where_a_bound_is_kept():
    report = table.Report(dict(MACHINE))
    report.set("train_b128_vs_torch_fp32", [2.5, 2.4, 2.6])
    report.set("train_cnn4_vs_torch_fp32", [1.25])
    report.set("cold_start_s", [41.0])
    report.set("data_share_of_step", [0.03])
    text = table.markdown(report.as_dict())
    assert "Abacus 3000" in text and "| **2.50×** | [2.45×, 2.55×] | ≥ 2.10× |" in text
    assert "| 1.25× |" in text and "| 41.0 s |" in text and "| **3.0 %** | " in text
    assert "- `warm_start_s`: " in text


def test_what_live_costs_has_a_table_of_its_own(bench):
    assert "network over detect" not in table.markdown(bench.report.as_dict())
    answers.live(bench, frames=3)
    assert [row["found"] for row in bench.report.rows] == [1, 3, 1]
    bench.report.rows[0] |= {"fps": 50.0, "ms": {"detect": 10.0, "network": 2.0, "draw": 8.0},
                             "share": {"detect": 0.5, "network": 0.1, "draw": 0.4}}
    expected = "| 640x480, 1 face | 50 | 10.0 ms, 50 % | 2.0 ms, 10 % | 8.0 ms, 40 % | 20 % |"
    assert expected in table.markdown(bench.report.as_dict())


def section(name, keys, quick=False, seconds=10):
    def measure(bench):
        for key in keys:
            bench.report.set(key, [1.0])

    return program.Section(name, f"measures {name}", measure, seconds, keys, quick)


def test_quick_only_and_the_end_of_the_time_leave_reasons(bench, monkeypatch, tmp_path):
    start, held = section("start", ("cold_start_s",), quick=True), section("memory", ("peak_memory_vs_torch",))
    shares = section("data", ("data_share_of_step",), quick=True)
    monkeypatch.setattr(program, "SECTIONS", (start, held, shares))
    bench.quick = True
    program.measure(bench, [start, held], tmp_path / "bench.json")
    told = json.loads((tmp_path / "bench.json").read_text())
    assert told["ratios"]["cold_start_s"] == 1.0
    reasons = bench.report.as_dict()["reasons"]
    assert reasons["peak_memory_vs_torch"] == "left out by --quick"
    assert reasons["data_share_of_step"] == "left out by --only"
    bench.quick = False
    monkeypatch.setattr(program, "MINUTES", 0.01)
    program.measure(bench, [held], tmp_path / "bench.json")
    assert "minutes of a pass were up" in bench.report.as_dict()["reasons"]["peak_memory_vs_torch"]


def test_only_takes_keys_and_sections():
    assert [s.name for s in program.choose(("peak_memory_vs_torch", "ladder"))] == ["memory", "ladder"]
    assert program.choose(()) == list(program.SECTIONS)
    assert sorted(key for s in program.SECTIONS for key in s.keys) == sorted(KEYS)
    assert {key for s in program.SECTIONS if s.quick for key in s.keys} >= {"warm_start_s", "step_over_fma_peak"}


def test_a_pass_takes_over_what_an_earlier_one_measured_and_replaces_what_it_measures_itself(tmp_path):
    path = tmp_path / "bench.json"
    report = table.Report(dict(MACHINE))
    report.set("warm_start_s", [1.0, 2.0, 3.0])
    report.row("live", "640x480, 1 face", common.OURS, fps=50.0)
    report.row("threads", "vgg", "1 threads", speedup=1.0)
    program.write(report, path)
    again = table.Report(dict(MACHINE, load_at_start=0.3))
    again.take_over(program.earlier(str(path), again.machine))
    again.row("live", "640x480, 1 face", common.OURS, fps=60.0)
    again.miss("warm_start_s", "left out by --only")
    told = again.as_dict()
    assert told["ratios"]["warm_start_s"] == 2.0 and "warm_start_s" not in told["reasons"]
    assert [row.get("fps", row.get("speedup")) for row in told["rows"]] == [1.0, 60.0]


def test_figures_of_another_machine_are_not_taken_over(tmp_path):
    program.write(table.Report(dict(MACHINE)), tmp_path / "bench.json")
    with pytest.raises(program.UserError, match="it was measured with threads 2, now that is 4; take a whole pass"):
        program.earlier(str(tmp_path / "bench.json"), dict(MACHINE, threads=4))
    refused(run("tinyfer.bench", "--update", "--only", "live", "--out", str(tmp_path / "none.json")), "none.json")


def test_the_same_bits_cost_a_share_that_is_told():
    report = table.Report(dict(MACHINE))
    report.row("same-bits", "training step, vgg, batch 128", common.OURS, share_of_step=0.0035)
    assert "at most so much of a training step: vgg 0.35 %." in table.markdown(report.as_dict())


def test_wrong_words_are_refused(tmp_path):
    refused(run("tinyfer.bench", "--only", "cold_strat_s"), "--only cold_strat_s", "did you mean cold_start_s?")
    refused(run("tinyfer.bench", "--quick", "--only", "ladder"), "--only ladder: --quick leaves that out")
    refused(run("tinyfer.bench", "--threads", "100000"), "--threads 100000: this machine offers 1 to ")


# -------------------------------------------------------------------------------------------------------- the pictures


@pytest.fixture
def measured():
    report = table.Report(dict(MACHINE))
    report.row("limits", "multiply-adds", "2 threads", gflops=200.0)
    report.row("limits", "triad", "2 threads", gb_per_s=40.0)
    for case in cases.op_cases(64):
        report.row("ops", case.label, common.OURS, gflops=100.0, flops_per_byte=case.flops / case.bytes)
    rates = (0.002, 20, 1, 15, 29, 110, 170, 400, 240, 330, 420, 160)
    for name, rate in zip([*arithmetic.LADDER.values(), arithmetic.TORCH_RUNG], rates, strict=True):
        report.row("ladder", "convolution 64>64", name, gflops={"median": rate}, s=2 / rate, extrapolated=rate < 0.01)
    return report.as_dict()


def words(figure):
    from matplotlib.text import Text

    return " | ".join(text.get_text() for text in figure.findobj(Text))


def test_the_ladder_names_the_processor_and_every_rung(measured):
    text = words(pictures.ladder(measured))
    for part in ("Abacus 3000", *arithmetic.LADDER.values(), arithmetic.TORCH_RUNG, "(extrapolated)", "200 GFLOP/s"):
        assert part in text, part


def test_the_roofline_has_a_point_for_every_op(measured):
    figure = pictures.roofline(measured)
    assert sum(len(c.get_offsets()) for c in figure.axes[0].collections if len(c.get_offsets()) == 1) \
        >= len(cases.op_cases(64))
    text = words(figure)
    assert "Abacus 3000" in text and "multiply-adds, 200 GFLOP/s" in text and "memory, 40.0 GB/s" in text


def test_pictures_are_drawn_beside_the_figures_or_not_at_all(measured, tmp_path):
    paths = program.draw(measured, tmp_path / "mine.json")
    assert [pathlib.Path(path).name for path in paths] == ["mine-ladder.png", "mine-roofline.png"]
    assert all(open(path, "rb").read(4) == b"\x89PNG" for path in paths)
    assert program.draw(table.Report(dict(MACHINE)).as_dict(), tmp_path / "none.json") == []
