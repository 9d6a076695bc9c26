"""The server's own planning keeps to the weights, lets nobody starve and no slot idle, in a small form of the week."""

from benchmarks.made_week import HOUR, as_they_came, course, made_week, planner
from cifar_tune.service.scheduling import Rules

_RULES = Rules(half_life=10_800.0, ahead=450.0, margin=225.0, patience=5_400.0, favour=450.0)
"""A quarter of the figures that the server has, since less than a quarter of a week goes by."""


def test_a_simulated_week() -> None:
    days, studies = 1.0, 60
    shared = course(made_week(3, studies, days), planner(_RULES), _RULES, days=days)
    assert len(shared.always_busy) >= 5
    assert shared.shares_off() < 0.05
    assert shared.lost < 0.02 * shared.slot_seconds
    assert max(shared.hungry.values()) < _RULES.patience + _RULES.favour
    first_come = course(made_week(3, studies, days), as_they_came, _RULES, days=days)
    assert max(first_come.hungry.values()) > 20 * HOUR, "what the rules are for"
