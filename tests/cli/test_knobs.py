import json
import re

import pytest

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.knob import stored
from cifar_tune.knobs.table import KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN

from .conftest import Cli


def test_json_covers_every_knob(cli: Cli) -> None:
    described = json.loads(cli("knobs", "--json").out)
    assert [each["name"] for each in described] == list(KNOBS)
    for each in described:
        knob = KNOBS[each["name"]]
        assert each["type"] == knob.kind.value
        assert each["default"] == stored(knob.default)
        assert each["taken_by"] == list(BUILT_IN.takers(knob))
        assert set(each["choices"] or {}) == set(knob.names or {})
        assert each["meaning"] == knob.meaning
        assert each["low"] == (None if knob.low == -float("inf") else knob.low)
        assert each["high"] == (None if knob.high == float("inf") else knob.high)


def test_json_tells_the_defaults_of_the_owners_choices(cli: Cli) -> None:
    for each in json.loads(cli("knobs", "--json").out):
        for name in each["taken_by"]:
            if each["owner"] == "augment":
                continue
            expected = complete({each["owner"]: name}).stored()[each["name"]]
            assert each["defaults"].get(name, each["default"]) == expected


@pytest.mark.parametrize("knob", KNOBS)
def test_people_see_every_knob(cli: Cli, knob: str) -> None:
    out = cli("knobs").out
    assert f"\n{knob} " in f"\n{out}"
    assert KNOBS[knob].meaning in out
    assert all(f" {name} " in out for name in KNOBS[knob].names or ())


def test_people_see_bounds_and_defaults(cli: Cli) -> None:
    out = cli("knobs").out
    assert "int >= 0 and <= 2147483647" in out
    assert re.search("^nesterov +bool +default false; muon: true$", out, re.MULTILINE)
    assert re.search("^augment +list of names +default none$", out, re.MULTILINE)
    assert "default 64; tutorial_net: 6" in out
