from itertools import product
from typing import Any

import pytest

from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.knob import Kind
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.table import KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN

EVERYWHERE = {knob.name for knob in KNOBS.values() if knob.owner is None}
OPTIMIZER_KNOBS = {
    "sgd": {"lr", "weight_decay", "momentum", "nesterov"},
    "adam": {"lr", "weight_decay", "beta1", "beta2", "eps"},
    "adamw": {"lr", "weight_decay", "beta1", "beta2", "eps"},
    "rmsprop": {"lr", "weight_decay", "momentum", "alpha", "eps"},
}
SCHEDULE_KNOBS: dict[str, set[str]] = {
    "constant": set(),
    "step": {"step_size", "gamma"},
    "cosine": {"eta_min"},
    "one_cycle": {"pct_start", "div_factor", "final_div_factor"},
}


def part(owner: str, name: str) -> Part:
    [found] = BUILT_IN.chosen_parts(owner, {owner: name})
    return found


def owned_by(owner: str) -> set[str]:
    return {knob.name for knob in KNOBS.values() if knob.owner == owner}


@pytest.mark.parametrize("optimizer", KNOBS["optimizer"].names or ())
def test_an_optimizer_brings_its_own_knobs(optimizer: str) -> None:
    config = complete({"optimizer": optimizer})
    assert set(config) & owned_by("optimizer") == set(part("optimizer", optimizer).arguments)
    if optimizer in OPTIMIZER_KNOBS:
        assert set(config) & owned_by("optimizer") == OPTIMIZER_KNOBS[optimizer]


@pytest.mark.parametrize("schedule", KNOBS["schedule"].names or ())
def test_a_schedule_brings_its_own_knobs(schedule: str) -> None:
    config = complete({"schedule": schedule})
    assert set(config) & owned_by("schedule") == set(part("schedule", schedule).arguments)
    if schedule in SCHEDULE_KNOBS:
        assert set(config) & owned_by("schedule") == SCHEDULE_KNOBS[schedule]


@pytest.mark.parametrize("owner", ["model", "optimizer", "schedule", "activation", "augment", "normalization"])
def test_every_choice_of_every_owner_takes_the_knobs_of_its_part_and_no_others(owner: str) -> None:
    for name in KNOBS[owner].names or ():
        value: Any = (name,) if KNOBS[owner].kind is Kind.NAMES else name
        config = complete({owner: value})
        assert set(config) & owned_by(owner) == set(part(owner, name).arguments)
        assert set(config) >= EVERYWHERE


@pytest.mark.parametrize("augment", [(), ("horizontal_flip",), ("horizontal_flip", "random_crop")])
def test_crop_padding_needs_random_crop_somewhere_in_the_list(augment: tuple[str, ...]) -> None:
    assert ("crop_padding" in complete({"augment": augment})) == ("random_crop" in augment)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu"])
def test_negative_slope_needs_leaky_relu(activation: str) -> None:
    assert ("negative_slope" in complete({"activation": activation})) == (activation == "leaky_relu")


@pytest.mark.parametrize(
    ("chosen", "knob", "default"),
    [
        ({"model": "tutorial_net"}, "width", 6),
        ({"model": "simple_nn"}, "width", 8),
        ({"model": "resnet20"}, "width", 16),
        ({"model": "resnet110"}, "width", 16),
        ({"model": "densenet121"}, "width", 64),
        ({"model": "resnet18"}, "width", 64),
        ({"optimizer": "sgd"}, "lr", 0.05),
        ({"optimizer": "adam"}, "lr", 1e-3),
        ({"optimizer": "sgd"}, "momentum", 0.9),
        ({"optimizer": "rmsprop"}, "momentum", 0.0),
        ({}, "lr", 0.05),
    ],
)
def test_a_part_may_have_a_default_of_its_own(chosen: dict[str, Any], knob: str, default: object) -> None:
    assert complete(chosen)[knob] == default
    assert complete({**chosen, knob: 0.25})[knob] == 0.25


@pytest.mark.parametrize(
    ("model", "default"), [("tutorial_net", "none"), ("simple_nn", "none"), ("cnn3", "batch"), ("vgg11", "batch")]
)
def test_the_small_nets_have_no_norm_by_default(model: str, default: str) -> None:
    config = complete({"model": model})
    assert config["norm"] == default
    assert "norm_groups" not in config
    assert complete({"model": model, "norm": "group"})["norm_groups"] == 8


@pytest.mark.parametrize(
    ("model", "knobs"),
    [
        ("cnn3", set()),
        ("airbench_net", {"init", "output_scale", "whitening_bias_epochs"}),
        ("vgg19", set()),
        ("resnet50", {"stem", "residual", "norm_placement", "zero_init_residual"}),
        ("resnet20", {"residual", "norm_placement", "zero_init_residual"}),
        ("densenet121", {"stem"}),
    ],
)
def test_a_model_takes_what_makes_sense_for_it(model: str, knobs: set[str]) -> None:
    everywhere = {"width", "activation", "norm", "dropout"}
    assert set(complete({"model": model})) & owned_by("model") == everywhere | knobs


def test_timm_takes_a_name_and_dropout() -> None:
    assert set(complete({"model": "timm"})) & owned_by("model") == {"timm_name", "dropout"}


def test_all_combinations_of_parts_are_complete() -> None:
    owners = ("model", "activation", "optimizer", "schedule")
    for names in product(*(KNOBS[owner].names or () for owner in owners)):
        config = complete(dict(zip(owners, names, strict=True)))
        for owner, name in zip(owners, names, strict=True):
            if owner in config:  # timm's models bring their own activations
                keywords = part(owner, name).arguments_from(config)
                assert len(keywords) >= len(part(owner, name).constants)


def test_betas_become_one_argument() -> None:
    keywords = part("optimizer", "adam").arguments_from(complete({"optimizer": "adam", "beta2": 0.98}))
    assert keywords["betas"] == (0.9, 0.98)
    assert not {"beta1", "beta2"} & set(keywords)


def test_the_order_is_that_of_the_table() -> None:
    config = complete({"seed": 3, "model": "cnn2"})
    assert list(config) == [name for name in KNOBS if name in config]


def test_it_does_not_change_with_what_it_was_made_from() -> None:
    values: dict[str, Any] = {"epochs": 3}
    config = Configuration(values)
    values["epochs"] = 4
    assert config["epochs"] == 3
    with pytest.raises(TypeError):
        config["epochs"] = 5  # type: ignore[index]


def test_it_compares_by_value() -> None:
    assert complete({"lr": 0.1}) == complete({"lr": 0.1})
    assert complete({"lr": 0.1}) != complete({"lr": 0.2})
    assert len(complete({})) == len(set(complete({})))
    assert "'epochs': 15" in repr(complete({}))


def test_a_replaced_knob_drops_those_that_no_longer_apply_and_fills_in_new_ones() -> None:
    before = complete({"optimizer": "sgd", "momentum": 0.8, "lr": 0.3})
    after = before.replaced(optimizer="adam")
    assert "momentum" not in after
    assert after["beta1"] == 0.9
    assert after["lr"] == 0.3
    assert before["optimizer"] == "sgd"


def test_values_come_by_type() -> None:
    config = complete({"augment": ("random_crop",), "nesterov": True})
    assert (config.integer("epochs"), config.number("epochs")) == (15, 15.0)
    assert (config.flag("nesterov"), config.text("model")) == (True, "cnn3")
    assert config.names("augment") == ("random_crop",)


def test_the_database_gets_lists_as_text() -> None:
    config = complete({"augment": ("random_crop", "horizontal_flip")})
    assert config.stored()["augment"] == "random_crop+horizontal_flip"
    assert complete({}).stored()["augment"] == "none"
    assert complete({name: KNOBS[name].parse(value) for name, value in config.stored().items()}) == config


def test_nothing_applies_below_an_owner_that_does_not_apply() -> None:
    slope = KNOBS["negative_slope"]
    assert not BUILT_IN.applies(slope, {})
    assert BUILT_IN.default_of(slope, {}) == slope.default


def test_takers() -> None:
    assert set(BUILT_IN.takers(KNOBS["momentum"])) >= {"sgd", "rmsprop"}
    assert "adam" not in BUILT_IN.takers(KNOBS["momentum"])
    assert BUILT_IN.takers(KNOBS["epochs"]) == ()
    assert BUILT_IN.takers(KNOBS["normalization_sample"]) == ("standardize",)
    assert BUILT_IN.takers(KNOBS["crop_padding"]) == ("random_crop",)
