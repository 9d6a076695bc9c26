"""Ranges in proportion to another knob: what is accepted, what training gets, what is refused."""

import math
import random

import pytest

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import Kind
from cifar_tune.knobs.table import KNOBS
from cifar_tune.study_spec.per import Per
from cifar_tune.study_spec.search_space import Range
from cifar_tune.study_spec.space import Space

from .reading import only_problem, read

SCALED = """search_space:
  lr: {low: 0.01, high: 1.0, log: true, per: batch_size}
  batch_size: {choices: [64, 128, 512]}
"""


def configured(space: Space, **chosen: int | float | str) -> Configuration:
    return space.configuration(lambda name, _: chosen[name])


@pytest.mark.parametrize(("batch_size", "lr"), [(64, 0.1), (128, 0.2), (512, 0.8)])
def test_training_gets_the_number_in_proportion(batch_size: int, lr: float) -> None:
    assert configured(read(SCALED).spec.space, lr=0.2, batch_size=batch_size)["lr"] == lr


def test_another_reference() -> None:
    space = read(SCALED.replace("per: batch_size", "per: {batch_size: 256}")).spec.space
    assert configured(space, lr=0.2, batch_size=128)["lr"] == 0.1


def test_the_other_knob_may_be_fixed_or_have_its_default() -> None:
    text = SCALED.replace("  batch_size: {choices: [64, 128, 512]}\n", "")
    assert configured(read(text).spec.space, lr=0.2)["lr"] == 0.2
    assert configured(read(text, ["batch_size=512"]).spec.space, lr=0.2)["lr"] == 0.8


def test_the_other_knob_may_depend_on_the_optimizer() -> None:
    space = read(
        SCALED.replace("512]", "512], when: {optimizer: sgd}") + "  optimizer: {choices: [sgd, adam]}"
    ).spec.space
    assert configured(space, optimizer="adam", lr=0.5)["lr"] == 0.5
    assert configured(space, optimizer="sgd", lr=0.5, batch_size=256)["lr"] == 1.0


def test_a_setting_fixes_the_knob_and_drops_its_proportion() -> None:
    spec = read(SCALED, ["lr=0.1"]).spec
    assert list(spec.search_space) == ["batch_size"]
    assert configured(spec.space, batch_size=512)["lr"] == 0.1


@pytest.mark.parametrize("given", ["batch_size", "{batch_size: 128}", "{batch_size: 128.0}"])
def test_the_reference_is_stored(given: str) -> None:
    plain = read(SCALED.replace("per: batch_size", f"per: {given}")).spec.plain()
    assert plain["search_space"]["lr"]["per"] == {"batch_size": 128}


def test_every_number_without_an_upper_bound_takes_it_and_no_other() -> None:
    for knob in KNOBS.values():
        if knob.kind not in (Kind.FLOAT, Kind.INT):
            continue
        low = max(knob.low, 1)
        text = f"search_space: {{{knob.name}: {{low: {low}, high: {low + 1}, per: batch_size}}}}"
        if knob.kind is Kind.FLOAT and knob.high == math.inf:
            owner = "" if knob.owner is None else f"when: {{{knob.owner}: {taker(knob.name)}}}"
            dimension = read(text.replace("per: batch_size", f"per: batch_size, {owner}")).spec.search_space[knob.name]
            assert isinstance(dimension, Range)
            assert dimension.per == Per("batch_size", 128)
        elif knob.high > low + 1:
            assert "is for numbers without an upper bound, such as lr" in only_problem(text)


def taker(name: str) -> str:
    parts = KNOBS[KNOBS[name].owner or ""].names or {}
    return next(part for part, content in parts.items() if name in getattr(content, "arguments", ()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lr: {low: 1, high: 2, per: batchsize}", "lr.per.batchsize: unknown key (did you mean 'batch_size'?)"),
        ("lr: {low: 1, high: 2, per: {bs: 1}}", "lr.per.bs: unknown key (did you mean 'batch_size'?)"),
        ("lr: {low: 1, high: 2, per: {batch_size: 0}}", "lr.per.batch_size = 0: batch_size must be a whole number >="),
        ("lr: {low: 1, high: 2, per: {batch_size: x}}", "lr.per.batch_size = 'x': batch_size must be a whole number"),
        ("lr: {low: 1, high: 2, per: {batch_size: 1, epochs: 1}}", "must be a knob such as batch_size, or {batch_size"),
        ("lr: {low: 1, high: 2, per: 128}", "lr.per = 128: must be a knob such as batch_size"),
        ("lr: {low: 1, high: 2, per: seed}", "lr.per = 'seed': must name a whole number above zero: width, "),
        ("lr: {low: 1, high: 2, per: optimizer}", "must name a whole number above zero"),
        ("lr: {low: 1, high: 2, per: lr}", "must name a whole number above zero"),
        ("momentum: {low: 0.1, high: 0.2, per: batch_size}", "momentum is a number >= 0 and < 1"),
        ("epochs: {low: 1, high: 2, per: batch_size}", "epochs is a whole number"),
        ("lr: {choices: [1], per: batch_size}", "lr.per: goes with low and high, not with choices"),
        ("{lr: {low: 1, high: 2, per: width}, model: {choices: [cnn3, timm]}}",
         "lr.per: model timm does not take width, so it can be missing"),
        ("{lr: {low: 1, high: 2, per: t_0}}", "lr.per: schedule one_cycle does not take t_0, so it can be missing"),
        ("{div_factor: {low: 1, high: 9, per: batch_size}, batch_size: {choices: [512, 64]}}",
         "div_factor.per: with batch_size 64 a trial would have div_factor 0.5, and it must be a number >= 1"),
        ("{lr: {low: 1, high: 1e308, per: batch_size}, batch_size: {low: 1, high: 512}}",
         "lr.per: with batch_size 2 a trial would have lr inf"),
        ("{lr: {low: 1, high: 2, per: batch_size}, batch_size: {choices: [1], when: {lr: 1}}}",
         "conditions, or `per`, stand on each other in a circle: "),
        ("{lr: {low: 0.1, high: 1, per: batch_size}, batch_size: {choices: [64, 512]}, "
         "base_lr: {low: 0.01, high: 0.09, when: {schedule: cyclic}}, schedule: {choices: [cyclic]}}",
         "base_lr, the lowest learning rate of a cycle, must be at most lr, the highest, but base_lr 0.09 and lr 0.05"),
    ],
)  # fmt: skip
def test_refused(given: str, message: str) -> None:
    given = given if given.startswith("{") else f"{{{given}}}"
    problem = only_problem(f"search_space: {given}")
    assert problem.startswith("study.yaml:2: search_space.")
    assert message in problem


def test_where_it_is_searched_only_beside_what_takes_the_other_knob() -> None:
    read("search_space: {lr: {low: 1, high: 2, per: width, when: {model: cnn3}}, model: {choices: [cnn3, timm]}}")


def test_it_does_not_change_how_many_combinations_there_are() -> None:
    lr = "lr: {low: 0.1, high: 0.5, step: 0.1"
    size = "batch_size: {low: 32, high: 256, step: 32}"
    plain = read(f"search_space: {{{lr}}}, {size}}}").spec.space
    scaled = read(f"search_space: {{{lr}, per: batch_size}}, {size}}}").spec.space
    assert plain.size() == scaled.size() == 40


def test_what_training_had_leads_back_to_what_was_suggested() -> None:
    draw = random.Random(0)  # noqa: S311
    for _ in range(2_000):
        per = Per("batch_size", draw.randint(1, 1000))
        beside = {"batch_size": draw.randint(1, 1000)}
        effective = per.scaled(10 ** draw.uniform(-9, 3), beside)
        assert per.scaled(per.unscaled(effective, beside), beside) == effective
