"""Rules that join several knobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.lookaheads import NO_LOOKAHEAD
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.norms import NO_NORM
from cifar_tune.knobs.optimizers import SCHEDULE_FREE
from cifar_tune.knobs.part import Value


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination that cannot work.

    Attributes:
        knobs: the knobs that it joins; it is judged only where a run takes all of them.
        broken: tells whether their values break it.
        message: what must hold, as the end of a sentence.
    """

    knobs: tuple[str, ...]
    broken: Callable[[Mapping[str, Value]], bool]
    message: str


def _groups_cut_channels(values: Mapping[str, Value]) -> bool:
    groups, width = cast(int, values["norm_groups"]), cast(int, values["width"])
    return groups > 1 and width % (groups * MODELS[cast(str, values["model"])].width_unit) != 0


def _number(value: Value) -> float:
    return cast(float, value)


def _mixes_labels(values: Mapping[str, Value]) -> bool:
    return any(AUGMENTATIONS[name].mixes_labels for name in cast(tuple[str, ...], values["augment"]))


RULES: tuple[Rule, ...] = (
    Rule(
        ("nesterov", "momentum"),
        lambda values: bool(values["nesterov"]) and values["momentum"] == 0,
        "nesterov needs momentum > 0",
    ),
    Rule(
        ("norm_groups", "width", "model"),
        _groups_cut_channels,
        "norm_groups must divide the channels of every layer, which grow with width",
    ),
    Rule(
        ("norm_placement", "norm"),
        lambda values: values["norm_placement"] == "first" and values["norm"] == NO_NORM,
        "norm_placement first needs a norm",
    ),
    Rule(
        ("norm_bias_lr_factor", "norm"),
        lambda values: values["norm_bias_lr_factor"] != 1 and values["norm"] == NO_NORM,
        "norm_bias_lr_factor other than 1 needs a norm",
    ),
    Rule(
        ("base_lr", "lr"),
        lambda values: _number(values["base_lr"]) > _number(values["lr"]),
        "base_lr, the lowest learning rate of a cycle, must be at most lr, the highest",
    ),
    Rule(
        ("eta_min", "lr"),
        lambda values: _number(values["eta_min"]) > _number(values["lr"]),
        "eta_min, where the learning rate ends, must be at most lr, where it begins",
    ),
    Rule(
        ("lookahead", "ema_decay"),
        lambda values: values["lookahead"] != NO_LOOKAHEAD and _number(values["ema_decay"]) > 0,
        "lookahead and ema_decay both validate other weights than the optimizer's, so that only one of them may be on",
    ),
    Rule(
        ("optimizer", "schedule"),
        lambda values: values["optimizer"] in SCHEDULE_FREE and values["schedule"] != "constant",
        "a schedule-free optimizer needs schedule constant (warmup_epochs may be there)",
    ),
    Rule(
        ("optimizer", "momentum"),
        lambda values: values["optimizer"] in SCHEDULE_FREE and values["momentum"] == 0,
        "a schedule-free optimizer needs momentum > 0",
    ),
    Rule(
        ("optimizer", "beta1"),
        lambda values: values["optimizer"] in SCHEDULE_FREE and values["beta1"] == 0,
        "a schedule-free optimizer needs beta1 > 0",
    ),
    Rule(
        ("optimizer", "lookahead"),
        lambda values: values["optimizer"] in SCHEDULE_FREE and values["lookahead"] != NO_LOOKAHEAD,
        "a schedule-free optimizer averages already, so lookahead must be none",
    ),
    Rule(
        ("optimizer", "ema_decay"),
        lambda values: values["optimizer"] in SCHEDULE_FREE and _number(values["ema_decay"]) > 0,
        "a schedule-free optimizer averages already, so ema_decay must be 0",
    ),
    Rule(
        ("plateau_patience", "gamma"),
        lambda values: values["gamma"] == 1,
        "schedule plateau needs gamma < 1",
    ),
    Rule(
        ("warmup_epochs", "epochs"),
        lambda values: _number(values["warmup_epochs"]) > _number(values["epochs"]),
        "warmup_epochs must be at most epochs",
    ),
    Rule(
        ("augment",),
        lambda values: {"alternating_flip", "horizontal_flip"} <= set(cast(tuple[str, ...], values["augment"])),
        "alternating_flip takes the place of horizontal_flip, so that only one of them may be named",
    ),
    Rule(
        ("augment", "loss"),
        lambda values: _mixes_labels(values) and not LOSSES[cast(str, values["loss"])].soft_labels,
        "mixup and cutmix need a loss that takes soft labels",
    ),
)


def broken_rules(values: Mapping[str, Value]) -> list[Rule]:
    """The rules that these values break."""
    return [rule for rule in RULES if all(knob in values for knob in rule.knobs) and rule.broken(values)]
