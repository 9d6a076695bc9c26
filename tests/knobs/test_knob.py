import math
import re
from typing import Any

import pytest

from cifar_tune.knobs.knob import Kind, Knob, stored
from cifar_tune.knobs.table import KNOBS

NO_NUMBERS: tuple[Any, ...] = (None, "", "0.1", "1e-4", True, False, [0.1], {"low": 1}, math.nan, math.inf, -math.inf)


def answers(raw: object, *kinds: Kind) -> dict[str, str]:
    """What every knob of these kinds says of a value, by the name of the knob."""
    said = {}
    for knob in KNOBS.values():
        if knob.kind in kinds:
            try:
                said[knob.name] = f"taken as {knob.parse(raw)!r}"
            except ValueError as error:
                said[knob.name] = str(error)
    return said


@pytest.mark.parametrize("raw", NO_NUMBERS, ids=repr)
def test_numbers_are_nothing_else(raw: object) -> None:
    said = answers(raw, Kind.FLOAT, Kind.INT)
    assert len(said) > 50
    assert {
        name: words for name, words in said.items() if not re.match("must be a (whole |finite )?number", words)
    } == {}


@pytest.mark.parametrize("raw", [1.5, 0.999, -1, -(10**25), 10**25, 1e30])
def test_whole_numbers_are_whole_and_within_bounds(raw: object) -> None:
    said = answers(raw, Kind.INT)
    rule = re.compile(r"must be a whole number >= \d+ and <= \d+")
    assert len(said) > 10
    assert {name: words for name, words in said.items() if not rule.fullmatch(words)} == {}


def test_a_float_without_a_fraction_is_a_whole_number() -> None:
    value = KNOBS["epochs"].parse(1e2)
    assert value == 100
    assert type(value) is int


def test_a_whole_number_becomes_a_float() -> None:
    assert type(KNOBS["lr"].parse(1)) is float


@pytest.mark.parametrize(
    ("low_open", "high_open", "inside", "outside"),
    [
        (False, False, (0, 0.5, 1), (-1e-9, 1 + 1e-9)),
        (True, False, (1e-300, 1), (0, -0.0)),
        (False, True, (0, math.nextafter(1, 0)), (1,)),
        (True, True, (0.5,), (0, 1)),
    ],
)
def test_bounds(low_open: bool, high_open: bool, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    knob = Knob("share", Kind.FLOAT, 0.5, "", low=0, high=1, low_open=low_open, high_open=high_open)
    for value in inside:
        assert knob.parse(value) == value
    for value in outside:
        with pytest.raises(ValueError, match="must be a number"):
            knob.parse(value)


@pytest.mark.parametrize(
    ("knob", "rule"),
    [
        (Knob("x", Kind.FLOAT, 0.0, ""), "must be a number"),
        (Knob("x", Kind.FLOAT, 0.0, "", low=0, low_open=True), "must be a number > 0"),
        (Knob("x", Kind.FLOAT, 0.0, "", low=0, high=0.5, high_open=True), "must be a number >= 0 and < 0.5"),
        (Knob("x", Kind.INT, 0, "", low=0, high=2**31 - 1), "must be a whole number >= 0 and <= 2147483647"),
        (Knob("x", Kind.BOOL, False, ""), "must be true or false"),
        (KNOBS["normalization"], "must be minus_one_one, none, standardize or zero_one"),
        (
            KNOBS["augment"],
            "must be a list of names out of alternating_flip, brightness, color_temperature, contrast, cutmix",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rules_are_spoken_in_full(knob: Knob, rule: str) -> None:
    assert knob.rule.startswith(rule)


@pytest.mark.parametrize("raw", [0, 1, "true", "on", "yes", None, [], "True"])
def test_flags_are_true_or_false(raw: object) -> None:
    with pytest.raises(ValueError, match="must be true or false"):
        KNOBS["nesterov"].parse(raw)
    assert KNOBS["nesterov"].parse(True) is True


@pytest.mark.parametrize("raw", ["SGD", "sgd ", "", None, 1, True, ["sgd"], {"sgd": 1}])
def test_a_name_is_one_of_the_names(raw: object) -> None:
    with pytest.raises(ValueError, match="must be adadelta"):
        KNOBS["optimizer"].parse(raw)
    assert KNOBS["optimizer"].parse("sgd") == "sgd"


@pytest.mark.parametrize("raw", ["", None, 1, True, "a b", "-a", "hf_hub:x/y", "../x", "a\n", "a" * 101, ["a"], {}])
def test_a_text_is_a_name_that_leads_nowhere_else(raw: object) -> None:
    with pytest.raises(ValueError, match="must be a name of 1 to 100 letters, digits"):
        KNOBS["timm_name"].parse(raw)


@pytest.mark.parametrize("raw", ["resnet18", "vit_tiny_patch16_224.augreg_in21k", "a" * 100])
def test_a_text_is_kept(raw: str) -> None:
    assert KNOBS["timm_name"].parse(raw) == raw


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ([], ()),
        ("none", ()),
        (None, ()),
        ("random_crop", ("random_crop",)),
        ("random_crop+horizontal_flip", ("random_crop", "horizontal_flip")),
        ("random_crop + horizontal_flip", ("random_crop", "horizontal_flip")),
        (["random_crop"], ("random_crop",)),
        (("horizontal_flip", "random_crop"), ("horizontal_flip", "random_crop")),
    ],
)
def test_lists_of_names_come_in_several_forms(raw: object, names: tuple[str, ...]) -> None:
    value = KNOBS["augment"].parse(raw)
    assert value == names
    assert KNOBS["augment"].parse(stored(value)) == names


@pytest.mark.parametrize(
    "raw", ["", "+", "random_crop+", ["none"], ["crop"], [1], [None], [["random_crop"]], 1, True, {}]
)
def test_lists_of_names_hold_known_names(raw: object) -> None:
    with pytest.raises(ValueError, match="must be a list of names"):
        KNOBS["augment"].parse(raw)


@pytest.mark.parametrize("raw", [["random_crop", "random_crop"], "random_crop+random_crop"])
def test_a_name_stands_in_a_list_once(raw: object) -> None:
    with pytest.raises(ValueError, match="twice"):
        KNOBS["augment"].parse(raw)


@pytest.mark.parametrize(
    ("value", "held"),
    [((), "none"), (("random_crop",), "random_crop"), (("a", "b"), "a+b"), (0.1, 0.1), (True, True), ("sgd", "sgd")],
)
def test_what_the_database_holds(value: Any, held: object) -> None:
    assert stored(value) == held


WEIGHTS = KNOBS["class_weights"]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("none", "none"),
        ("balanced", "balanced"),
        ({"dog": 1, "cat": 2.5}, '{"cat": 2.5, "dog": 1.0}'),
        ('{"cat": 2.5, "dog": 1.0}', '{"cat": 2.5, "dog": 1.0}'),
        ({3: 2}, '{"3": 2.0}'),
        ({"größe+x=1": 1e-3}, '{"größe+x=1": 0.001}'),
    ],
)
def test_class_weights_are_names_or_mappings(raw: object, value: str) -> None:
    assert WEIGHTS.parse(raw) == value == WEIGHTS.parse(value)


@pytest.mark.parametrize(
    "raw",
    [
        "even", {}, {"cat": 0}, {"cat": -1}, {"cat": True}, {"cat": "2"}, {"cat": float("nan")}, {True: 1},
        {"cat": 1e999}, ["cat"], 2.0, None, "[1]", "{}", '{"cat": "x"}', "{cat: 2}",
    ],
)  # fmt: skip
def test_what_are_no_class_weights(raw: object) -> None:
    with pytest.raises(ValueError, match=r"must be none, balanced, or numbers > 0 for some of the classes, such as"):
        WEIGHTS.parse(raw)
