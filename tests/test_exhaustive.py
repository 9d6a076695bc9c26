from typing import Any

import pytest

from tests.exhaustive import few_of, first_of_each


def quick(cases: list[Any]) -> list[tuple[object, ...]]:
    return [case.values for case in cases if not case.marks]


def test_all_cases_are_there_and_the_few_are_not_marked() -> None:
    cases: list[Any] = few_of(["sgd", "adam", ("lion", 1)], ["adam", ("lion", 1)])
    assert [case.values for case in cases] == [("sgd",), ("adam",), ("lion", 1)]
    assert quick(cases) == [("adam",), ("lion", 1)]
    assert [mark.name for mark in cases[0].marks] == ["exhaustive"]


def test_the_first_of_each_kind() -> None:
    assert first_of_each([{"a": 1}, {"a": 2}, {"b": 1}], tuple) == [{"a": 1}, {"b": 1}]


def test_a_name_that_has_changed_makes_no_proof_smaller() -> None:
    with pytest.raises(ValueError, match=r"no such cases: \['sdg'\]"):
        few_of(["sgd"], ["sdg"])
