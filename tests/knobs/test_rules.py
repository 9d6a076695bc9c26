import pytest

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.optimizers import SCHEDULE_FREE
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.rules import RULES, broken_rules
from cifar_tune.knobs.table import KNOBS


@pytest.mark.parametrize(
    ("nesterov", "momentum", "is_broken"), [(True, 0.0, True), (True, 0.1, False), (False, 0.0, False)]
)
def test_nesterov_needs_momentum(nesterov: bool, momentum: float, is_broken: bool) -> None:
    broken = broken_rules(complete({"optimizer": "sgd", "nesterov": nesterov, "momentum": momentum}))
    assert [rule.message for rule in broken] == (["nesterov needs momentum > 0"] if is_broken else [])


@pytest.mark.parametrize(
    ("model", "width", "groups", "is_broken"),
    [
        ("cnn3", 64, 8, False),
        ("cnn3", 60, 8, True),
        ("cnn3", 8, 16, True),
        ("resnet50", 12, 4, False),
        ("resnet50", 12, 8, True),
        ("densenet121", 64, 32, False),  # its growth rate is half of that
        ("densenet121", 32, 32, True),
        ("tutorial_net", 6, 2, False),  # its second convolution has 16 channels
        ("tutorial_net", 6, 3, True),
        ("tutorial_net", 7, 1, False),
    ],
)
def test_norm_groups_divide_the_channels(model: str, width: int, groups: int, is_broken: bool) -> None:
    broken = broken_rules(complete({"model": model, "norm": "group", "width": width, "norm_groups": groups}))
    rule = "norm_groups must divide the channels of every layer, which grow with width"
    assert [each.message for each in broken] == ([rule] if is_broken else [])
    assert broken_rules(complete({"model": model, "norm": "batch", "width": width, "norm_groups": groups})) == []


@pytest.mark.parametrize(("norm", "is_broken"), [("batch", False), ("group", False), ("none", True)])
def test_norm_placement_needs_a_norm(norm: str, is_broken: bool) -> None:
    broken = broken_rules(complete({"model": "resnet18", "norm": norm, "norm_placement": "first"}))
    assert [rule.message for rule in broken] == (["norm_placement first needs a norm"] if is_broken else [])
    assert broken_rules(complete({"model": "resnet18", "norm": norm})) == []
    assert broken_rules(complete({"model": "vgg11", "norm": norm, "norm_placement": "first"})) == []


@pytest.mark.parametrize(("eta_min", "is_broken"), [(0.0, False), (0.1, False), (0.11, True)])
def test_the_rate_ends_no_higher_than_it_begins(eta_min: float, is_broken: bool) -> None:
    broken = broken_rules(complete({"schedule": "cosine", "lr": 0.1, "eta_min": eta_min}))
    assert [rule.knobs for rule in broken] == ([("eta_min", "lr")] if is_broken else [])


@pytest.mark.parametrize(
    ("lookahead", "ema_decay", "is_broken"), [("none", 0.9, False), ("cubic", 0.0, False), ("cubic", 0.9, True)]
)
def test_one_kind_of_other_weights(lookahead: str, ema_decay: float, is_broken: bool) -> None:
    broken = broken_rules(complete({"lookahead": lookahead, "ema_decay": ema_decay}))
    assert [rule.knobs for rule in broken] == ([("lookahead", "ema_decay")] if is_broken else [])


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
        ({"norm": "none", "norm_bias_lr_factor": 64.0}, "norm_bias_lr_factor other than 1 needs a norm"),
        ({"norm": "none", "norm_bias_lr_factor": 1.0}, None),
        ({"norm": "group", "norm_bias_lr_factor": 64.0}, None),
        ({"optimizer": "muon", "momentum": 0.0}, "nesterov needs momentum > 0"),
    ],
)
def test_what_cannot_work(chosen: dict[str, Value], message: str | None) -> None:
    broken = [rule.message for rule in broken_rules(complete(chosen))]
    assert len(broken) == (0 if message is None else 1)
    assert all(one.startswith(message or "") for one in broken)


def test_rules_join_knobs_that_exist_and_defaults_keep_them() -> None:
    assert all(knob in KNOBS for rule in RULES for knob in rule.knobs)
    for model in KNOBS["model"].names or ():
        assert broken_rules(complete({"model": model})) == []
    for optimizer in KNOBS["optimizer"].names or ():
        for schedule in KNOBS["schedule"].names or ():
            if schedule == "constant" or optimizer not in SCHEDULE_FREE:
                assert broken_rules(complete({"optimizer": optimizer, "schedule": schedule})) == []


@pytest.mark.parametrize(("loss", "is_broken"), [("cross_entropy", False), ("multi_margin", True), ("mse", False)])
def test_mixing_needs_a_loss_that_takes_soft_labels(loss: str, is_broken: bool) -> None:
    broken = broken_rules(complete({"augment": ("mixup",), "loss": loss}))
    assert bool(broken) is is_broken
    assert broken_rules(complete({"augment": ("cutout",), "loss": loss})) == []
