import pytest

from cifar_tune.knobs.knob import NO_NAMES, Kind, Knob, stored
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.table import KNOBS

OWNERS = ("model", "norm", "activation", "optimizer", "lookahead", "schedule", "loss", "augment", "normalization")
every_knob = pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS.keys())


def parts(owner: str) -> dict[str, Part]:
    return {name: part for name, part in (KNOBS[owner].names or {}).items() if isinstance(part, Part)}


def test_owners_stand_before_the_knobs_that_they_own() -> None:
    position = {name: index for index, name in enumerate(KNOBS)}
    assert {knob.owner for knob in KNOBS.values()} == {*OWNERS, None}
    assert all(position[knob.owner] < position[knob.name] for knob in KNOBS.values() if knob.owner)


@every_knob
def test_its_default_is_valid(knob: Knob) -> None:
    assert knob.parse(knob.default) == knob.default
    assert type(knob.parse(knob.default)) is type(knob.default)
    assert knob.parse(stored(knob.default)) == knob.default


@every_knob
def test_it_is_described(knob: Knob) -> None:
    assert knob.meaning
    assert knob.name.isidentifier()
    assert knob.name.islower()
    for name, part in (knob.names or {}).items():
        assert part.meaning if isinstance(part, Part) else part
        assert "+" not in name


@every_knob
def test_names_are_there_for_names_alone(knob: Knob) -> None:
    assert bool(knob.names) == (knob.kind in (Kind.NAME, Kind.NAMES, Kind.CLASS_WEIGHTS))


@every_knob
def test_whole_numbers_are_bounded(knob: Knob) -> None:
    if knob.kind is Kind.INT:
        assert knob.low > -float("inf")
        assert knob.high < 2**31  # Optuna computes with 64-bit integers, and databases hold fewer digits


@pytest.mark.parametrize("owner", OWNERS)
def test_parts_take_knobs_that_their_owner_owns(owner: str) -> None:
    owned = {knob.name for knob in KNOBS.values() if knob.owner == owner}
    taken = {name for part in parts(owner).values() for name in part.arguments}
    assert taken == owned


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner in OWNERS for name in parts(owner)], ids=str)
def test_a_parts_own_defaults_are_valid_and_of_knobs_that_it_takes(owner: str, name: str) -> None:
    part = parts(owner)[name]
    assert set(part.defaults) <= set(part.arguments)
    for knob, value in part.defaults.items():
        assert KNOBS[knob].parse(value) == value
        assert value != KNOBS[knob].default
        assert type(value) is type(KNOBS[knob].default)


def test_no_list_of_names_has_a_name_that_means_the_empty_list() -> None:
    assert all(NO_NAMES not in (knob.names or {}) for knob in KNOBS.values() if knob.kind is Kind.NAMES)
