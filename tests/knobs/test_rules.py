import pytest

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.rules import RULES, broken_rules
from cifar_tune.knobs.table import KNOBS


@pytest.mark.parametrize(
    ("nesterov", "momentum", "is_broken"), [(True, 0.0, True), (True, 0.1, False), (False, 0.0, False)]
)
def test_nesterov_needs_momentum(nesterov: bool, momentum: float, is_broken: bool) -> None:
    broken = broken_rules(complete({"optimizer": "sgd", "nesterov": nesterov, "momentum": momentum}))
    assert [rule.message for rule in broken] == (["nesterov needs momentum > 0"] if is_broken else [])


def test_a_rule_is_judged_where_a_run_takes_all_its_knobs() -> None:
    assert broken_rules(complete({"optimizer": "rmsprop", "momentum": 0.0, "nesterov": True})) == []


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"schedule": "cyclic", "base_lr": 0.2, "lr": 0.1}, "base_lr, the lowest"),
        ({"schedule": "cyclic", "base_lr": 0.1, "lr": 0.1}, None),
        ({"schedule": "cosine", "base_lr": 0.2, "lr": 0.1}, None),
        ({"schedule": "plateau", "gamma": 1.0}, "schedule plateau needs gamma < 1"),
        ({"schedule": "plateau", "gamma": 0.99}, None),
        ({"schedule": "step", "gamma": 1.0}, None),
        ({"epochs": 3, "warmup_epochs": 3.1}, "warmup_epochs must be at most epochs"),
        ({"epochs": 3, "warmup_epochs": 3.0}, None),
        ({"optimizer": "muon", "momentum": 0.0}, "nesterov needs momentum > 0"),
    ],
)
def test_what_cannot_work(chosen: dict[str, Value], message: str | None) -> None:
    broken = [rule.message for rule in broken_rules(complete(chosen))]
    assert len(broken) == (0 if message is None else 1)
    assert all(one.startswith(message or "") for one in broken)


def test_rules_join_knobs_that_exist_and_defaults_keep_them() -> None:
    assert all(knob in KNOBS for rule in RULES for knob in rule.knobs)
    for optimizer in KNOBS["optimizer"].names or ():
        for schedule in KNOBS["schedule"].names or ():
            assert broken_rules(complete({"optimizer": optimizer, "schedule": schedule})) == []
