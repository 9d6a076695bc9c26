import pytest

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.rules import RULES, broken_rules
from cifar_tune.knobs.table import KNOBS


@pytest.mark.parametrize(
    ("nesterov", "momentum", "is_broken"), [(True, 0.0, True), (True, 0.1, False), (False, 0.0, False)]
)
def test_nesterov_needs_momentum(nesterov: bool, momentum: float, is_broken: bool) -> None:
    broken = broken_rules(complete({"optimizer": "sgd", "nesterov": nesterov, "momentum": momentum}))
    assert [rule.message for rule in broken] == (["nesterov needs momentum > 0"] if is_broken else [])


@pytest.mark.parametrize("others", [(), ("random_crop",)])
def test_one_kind_of_flip_left_and_right(others: tuple[str, ...]) -> None:
    flips = ("alternating_flip", "horizontal_flip")
    for names in ((*flips, *others), (*others, *reversed(flips))):
        [rule] = broken_rules(complete({"augment": names}))
        assert rule.message.startswith("alternating_flip takes the place of horizontal_flip")
    for flip in flips:
        assert broken_rules(complete({"augment": (flip, "vertical_flip", *others)})) == []


def test_a_rule_is_judged_where_a_run_takes_all_its_knobs() -> None:
    assert broken_rules(complete({"optimizer": "rmsprop", "momentum": 0.0, "nesterov": True})) == []


def test_rules_join_knobs_that_exist_and_defaults_keep_them() -> None:
    assert all(knob in KNOBS for rule in RULES for knob in rule.knobs)
    for optimizer in KNOBS["optimizer"].names or ():
        assert broken_rules(complete({"optimizer": optimizer})) == []
