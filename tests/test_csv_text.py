"""Cells of CSV files that a spreadsheet would run."""

import csv
import io

import pytest

from cifar_tune.csv_text import as_named, csv_text

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+1+cmd|x",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "-",
    "=",
    "-a",
    "\t1",
]
PLAIN = ["cat", "", "0.5", "-0.5", "+1e-3", "-inf", "-nan", "a=b", "'quoted'", "a-b", " =1"]
QUOTED = ["'=1", "''-x"]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", FORMULAS + QUOTED)
def test_a_formula_gets_an_apostrophe_and_loses_it_again(text: str) -> None:
    (header, row) = read(csv_text((text, "b"), [(1, text)]))
    assert header == [f"'{text}", "b"]
    assert row == ["1", f"'{text}"]
    assert as_named(row[1]) == text


@pytest.mark.parametrize("text", PLAIN)
def test_everything_else_stays(text: str) -> None:
    assert read(csv_text(("a", "b"), [(1, text)])) == [["a", "b"], ["1", text]]
    assert as_named(text) == text


def test_numbers_have_every_digit_and_nothing_is_an_empty_field() -> None:
    assert csv_text(("a", "b", "c", "d"), [(-0.5, None, True, -1 / 3)]) == "a,b,c,d\n-0.5,,True,-0.3333333333333333\n"
