"""The list of mutants fits the code, and a verdict is given for the right reason."""

import dataclasses

import pytest

from tests import mutants


def test_each_mutant_replaces_a_piece_of_source_that_occurs_once():
    assert mutants.misplaced(mutants.MUTANTS) == []


def test_a_piece_that_is_missing_or_occurs_twice_is_named():
    first = mutants.MUTANTS[0]
    missing, often = (dataclasses.replace(first, old=old) for old in ("no such piece", "def "))
    assert len(mutants.misplaced([missing, first, often])) == 2


@pytest.mark.parametrize(["status", "output", "word"], [
    (0, "1 passed", "SURVIVED"), (1, "FAILED tests/test_x.py::test_y - AssertionError: 0.1", "killed"),
    (1, "FAILED tests/test_x.py::test_y - assert 1 == 2", "killed"),
    (1, "FAILED tests/test_x.py::test_y - NameError: z", "INVALID"), (2, "ERROR tests/test_x.py", "INVALID")])
def test_only_a_failed_assertion_kills(status, output, word):
    assert mutants.verdict(status, output).startswith(word)
