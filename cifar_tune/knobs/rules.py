"""Rules that join several knobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from cifar_tune.knobs.initial_weights import FRESH, TIMM
from cifar_tune.knobs.lookaheads import NO_LOOKAHEAD
from cifar_tune.knobs.norms import NO_NORM
from cifar_tune.knobs.optimizers import SCHEDULE_FREE
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination that cannot work.

    Attributes:
        knobs: the knobs that it joins; it is judged only where a run takes all of them.
        broken: tells whether their values break it, where names mean what they mean in the vocabulary.
        message: what must hold, as the end of a sentence.
    """

    knobs: tuple[str, ...]
    broken: Callable[[Mapping[str, Value], Vocabulary], bool]
    message: str


def _groups_cut_channels(values: Mapping[str, Value], vocabulary: Vocabulary) -> bool:
    groups, width = cast(int, values["norm_groups"]), cast(int, values["width"])
    unit = vocabulary.models[cast(str, values["model"])].width_unit
    return groups > 1 and width % (groups * unit) != 0


def _number(value: Value) -> float:
    return cast(float, value)


def _mixes_labels_that_the_loss_refuses(values: Mapping[str, Value], vocabulary: Vocabulary) -> bool:
    names = cast(tuple[str, ...], values["augment"])
    loss = vocabulary.losses[cast(str, values["loss"])]
    return any(vocabulary.augmentations[name].mixes_labels for name in names) and not loss.soft_labels


RULES: tuple[Rule, ...] = (
    Rule(
        ("nesterov", "momentum"),
        lambda values, _: bool(values["nesterov"]) and values["momentum"] == 0,
        "nesterov needs momentum > 0",
    ),
    Rule(
        ("norm_groups", "width", "model"),
        _groups_cut_channels,
        "norm_groups must divide the channels of every layer, which grow with width",
    ),
    Rule(
        ("norm_placement", "norm"),
        lambda values, _: values["norm_placement"] == "first" and values["norm"] == NO_NORM,
        "norm_placement first needs a norm",
    ),
    Rule(
        ("norm_bias_lr_factor", "norm"),
        lambda values, _: values["norm_bias_lr_factor"] != 1 and values["norm"] == NO_NORM,
        "norm_bias_lr_factor other than 1 needs a norm",
    ),
    Rule(
        ("frozen_stages", "init_from"),
        lambda values, _: values["frozen_stages"] != 0 and values["init_from"] == FRESH,
        "frozen_stages needs init_from: stages that were never trained would stay random",
    ),
    Rule(
        ("frozen_stages", "optimizer"),
        lambda values, _: values["frozen_stages"] != 0 and values["optimizer"] in SCHEDULE_FREE,
        "a schedule-free optimizer measures the statistics of all norms again, so frozen_stages must be 0",
    ),
    Rule(
        ("stage_lr_decay", "optimizer"),
        lambda values, _: values["stage_lr_decay"] != 1 and values["optimizer"] == "muon",
        "muon moves all filters at one rate, so stage_lr_decay must be 1",
    ),
    Rule(
        ("init_from", "model"),
        lambda values, _: values["init_from"] == TIMM and values["model"] != TIMM,
        "init_from timm needs model timm",
    ),
    Rule(
        ("base_lr", "lr"),
        lambda values, _: _number(values["base_lr"]) > _number(values["lr"]),
        "base_lr, the lowest learning rate of a cycle, must be at most lr, the highest",
    ),
    Rule(
        ("eta_min", "lr"),
        lambda values, _: _number(values["eta_min"]) > _number(values["lr"]),
        "eta_min, where the learning rate ends, must be at most lr, where it begins",
    ),
    Rule(
        ("lookahead", "ema_decay"),
        lambda values, _: values["lookahead"] != NO_LOOKAHEAD and _number(values["ema_decay"]) > 0,
        "lookahead and ema_decay both validate other weights than the optimizer's, so that only one of them may be on",
    ),
    Rule(
        ("optimizer", "schedule"),
        lambda values, _: values["optimizer"] in SCHEDULE_FREE and values["schedule"] != "constant",
        "a schedule-free optimizer needs schedule constant (warmup_epochs may be there)",
    ),
    Rule(
        ("optimizer", "momentum"),
        lambda values, _: values["optimizer"] in SCHEDULE_FREE and values["momentum"] == 0,
        "a schedule-free optimizer needs momentum > 0",
    ),
    Rule(
        ("optimizer", "beta1"),
        lambda values, _: values["optimizer"] in SCHEDULE_FREE and values["beta1"] == 0,
        "a schedule-free optimizer needs beta1 > 0",
    ),
    Rule(
        ("optimizer", "lookahead"),
        lambda values, _: values["optimizer"] in SCHEDULE_FREE and values["lookahead"] != NO_LOOKAHEAD,
        "a schedule-free optimizer averages already, so lookahead must be none",
    ),
    Rule(
        ("optimizer", "ema_decay"),
        lambda values, _: values["optimizer"] in SCHEDULE_FREE and _number(values["ema_decay"]) > 0,
        "a schedule-free optimizer averages already, so ema_decay must be 0",
    ),
    Rule(
        ("plateau_patience", "gamma"),
        lambda values, _: values["gamma"] == 1,
        "schedule plateau needs gamma < 1",
    ),
    Rule(
        ("warmup_epochs", "epochs"),
        lambda values, _: _number(values["warmup_epochs"]) > _number(values["epochs"]),
        "warmup_epochs must be at most epochs",
    ),
    Rule(
        ("augment",),
        lambda values, _: {"alternating_flip", "horizontal_flip"} <= set(cast(tuple[str, ...], values["augment"])),
        "alternating_flip takes the place of horizontal_flip, so that only one of them may be named",
    ),
    Rule(
        ("augment", "loss"),
        _mixes_labels_that_the_loss_refuses,
        "mixup and cutmix need a loss that takes soft labels",
    ),
)


def broken_rules(values: Mapping[str, Value], vocabulary: Vocabulary = BUILT_IN) -> list[Rule]:
    """The rules that these values break."""
    return [rule for rule in RULES if all(knob in values for knob in rule.knobs) and rule.broken(values, vocabulary)]
