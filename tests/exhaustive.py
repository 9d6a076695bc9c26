"""Proofs over every entry, kind or moment: a few cases run with `make test`, the others with `make exhaustive`.

The few are enough to fail where the thing that is proved breaks for all; the others find what breaks for one alone.
"""

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import TypeVar

import pytest

T = TypeVar("T")


def few_of(cases: Iterable[object], few: Collection[object]) -> list[object]:
    """All the cases, for `parametrize`. Those that are not among `few` are marked as exhaustive.

    Raises ValueError where one of `few` is no case (any more).
    """
    cases = list(cases)
    if gone := [each for each in few if each not in cases]:
        raise ValueError(f"no such cases: {gone}")
    return [_case(case, case in few) for case in cases]


def first_of_each(cases: Iterable[T], kind: Callable[[T], Hashable]) -> list[T]:
    """The first case of each kind, in their order."""
    first: dict[Hashable, T] = {}
    for case in cases:
        first.setdefault(kind(case), case)
    return list(first.values())


def _case(case: object, is_quick: bool) -> object:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=() if is_quick else pytest.mark.exhaustive)
