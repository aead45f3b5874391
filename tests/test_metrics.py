"""Figures read off a confusion matrix, held to values worked out by hand or known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfer.metrics import Scores, confusion_matrix, cross_entropy, fit_temperature, reliability, softmax, wilson

NAMES = ("a", "b", "c")


def test_confusion_matrix_has_the_truth_in_rows():
    np.testing.assert_array_equal(confusion_matrix([0, 0, 2], [1, 0, 2], 3), [[1, 1, 0], [0, 0, 0], [0, 0, 1]])


def test_by_hand():
    scores = Scores(np.array([[8, 2, 0], [1, 4, 0], [0, 5, 0]]), NAMES)
    assert (scores.total, scores.correct, scores.accuracy) == (20, 12, 0.6)
    np.testing.assert_allclose(scores.recall, [0.8, 0.8, 0])
    np.testing.assert_allclose(scores.precision, [8 / 9, 4 / 11, 0])
    np.testing.assert_allclose(scores.f1, [16 / 19, 8 / 16, 0])
    assert scores.balanced_accuracy == pytest.approx(1.6 / 3)
    assert scores.macro_f1 == pytest.approx((16 / 19 + 0.5) / 3)
    assert scores.headline().startswith("accuracy 60.00 % [")


def test_a_class_without_pictures_is_left_out_of_the_means():
    scores = Scores.of(np.array([0, 0, 1]), np.array([0, 0, 1]), NAMES)
    assert scores.macro_f1 == scores.balanced_accuracy == 1


def test_wilson_is_the_known_interval():
    """2,630 of 3,589 right, FER-2013's best known figure; and the corners."""
    low, high = wilson(2630, 3589)
    assert (round(100 * low, 2), round(100 * high, 2)) == (71.81, 74.70)
    assert wilson(0, 10) == (0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(10, 10) == (pytest.approx(0.7225, abs=1e-4), pytest.approx(1))
    assert wilson(0, 0) == (0, 1)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion(pair):
    correct, total = pair
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total + 1e-12 and correct / total - 1e-12 <= high <= 1


def test_headline_as_promised():
    confusion = np.zeros((2, 2), np.int64)
    confusion[0, 0], confusion[0, 1] = 2595, 994
    assert Scores(confusion, ("a", "b")).headline() == "accuracy 72.30 % [70.8, 73.7]"


def test_cross_entropy_is_stable_and_right():
    assert cross_entropy(np.zeros((4, 7), np.float32), np.arange(4)) == pytest.approx(np.log(7))
    assert cross_entropy(np.array([[1000.0, 0.0]], np.float32), np.array([1])) == 1000


def test_calibration_by_hand():
    """Four answers with confidence 0.9, of which three are right, and one with 0.6 that is right; none in between."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.4, 0.6]])
    found = reliability(p, np.array([0, 1, 1, 1, 1]), bins=10)
    assert found.number.tolist() == [0] * 6 + [1, 0, 0, 4]
    assert found.accuracy[[6, 9]].tolist() == [1, 0.75] and found.confidence[[6, 9]] == pytest.approx([0.6, 0.9])
    assert found.error == pytest.approx((4 * 0.15 + 0.4) / 5)
    assert reliability(np.array([[1.0, 0.0]]), np.array([0])).number[-1] == 1  # certain is in the last bin


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_and_calibrates(true):
    """Labels drawn from softmax(z / true): that temperature is the most probable one."""
    rng = np.random.default_rng(0)
    z = 3 * rng.standard_normal((4000, 7)).astype(np.float32)
    labels = (rng.random((4000, 1)) > softmax(z, true).cumsum(axis=1)).sum(axis=1)
    found = fit_temperature(z, labels)
    assert found == pytest.approx(true, rel=0.06)
    around = [-np.log(softmax(z, t)[np.arange(4000), labels]).mean() for t in (0.99 * found, found, 1.01 * found)]
    assert around[1] < min(around[0], around[2])
    assert reliability(softmax(z, found), labels).error < 0.03 < reliability(softmax(z, 3 * true), labels).error


def test_tables_hold_every_class_and_count():
    scores = Scores(np.array([[12345, 2, 0], [1, 4, 0], [0, 5, 0]]), ("angry", "disgusted", "calm"))
    for text in (scores.table(), scores.matrix()):
        assert all(name in text for name in scores.labels)
        assert len({len(line) for line in text.splitlines()}) == 1  # columns stand below each other
    assert "12345" in scores.matrix() and "12,347" in scores.table()
    assert scores.as_dict()["confusion"][0] == [12345, 2, 0]
