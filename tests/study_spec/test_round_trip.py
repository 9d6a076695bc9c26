"""A specification is the same after it went through plain values, JSON, and the YAML that `check` prints."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_tune.cli.spec_lines import spec_lines
from cifar_tune.errors import UserError
from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.table import KNOBS
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.metrics import METRICS
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.reader import read_study, read_study_file
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document, read_yaml

from .reading import read, read_plain
from .test_reader import README

RICH = """name: Rich.1_x-y
objective: [{metric: best_val_loss}]
budget: {trials: 7, timeout: 1h30m}
sampler: {name: cmaes, seed: 4294967295, popsize: 5, with_margin: true}
pruner: {name: patient, patience: 2, min_delta: 1e-3, wrapped_pruner: {name: percentile, percentile: 33.3}}
data: {name: image_folder, root: 'a b/ü: "x"', image_size: 64, val_size: 100, split_seed: 3}
train: {nesterov: true, momentum: 0.1, crop_padding: 2, threads: 4, label_smoothing: 1e-300}
search_space:
  epochs: {low: 1, high: 10, step: 3}
  width: {low: 1, high: 512, log: true}
  dropout: {low: 0, high: 0.3, step: 0.1}
  augment: {choices: [none, [random_crop], [horizontal_flip, random_crop]]}
  normalization: {choices: [none, zero_one]}
  seed: {choices: [0, 1], when: {augment: [random_crop, [horizontal_flip, random_crop], none], normalization: none}}
  lr: {choices: [1, 1e-7, 0.30000000000000004], when: {seed: 1}}
  l1: {low: 1e-9, high: 0.1, log: true, per: {width: 32}}
  eps: {low: 0.1, high: 0.5, step: 0.2, per: threads, when: {optimizer: adam}}
  optimizer: {choices: [adam, sgd]}
start_from:
  - {augment: none, dropout: 0.30000000000000004, width: 7, l1: 1e-2}
  - {optimizer: adam, eps: 2, lr: 1e-7, seed: 1, normalization: none, augment: []}
"""


def same_after_all_ways(spec: StudySpec) -> None:
    plain = spec.plain()
    assert read_study(Document(plain), None, is_stored=True).spec == spec
    from_database = read_study(Document(json.loads(json.dumps(plain))), None, is_stored=True).spec
    assert from_database == spec
    assert from_database.plain() == plain
    assert differences(spec, from_database) == []
    printed = read_study(read_yaml("\n".join(spec_lines(spec))), None).spec
    assert {**printed.plain(), "sampler": None, "pruner": None} == {**plain, "sampler": None, "pruner": None}
    assert plain["sampler"].items() <= printed.plain()["sampler"].items()


@pytest.mark.parametrize(
    "text", [README, RICH, "name: made", "search_space: {}"], ids=["readme", "rich", "name", "none"]
)
def test_examples(text: str) -> None:
    same_after_all_ways(read(text).spec)


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "studies").glob("*.yaml")), ids=lambda file: str(file.name)
)
def test_studies_that_come_with_it(file: Path) -> None:
    same_after_all_ways(read_study_file(file).spec)


@pytest.mark.parametrize(
    "root", ["1e3", ".5", "+1", "on", "null", "~", "a: b", "- x", "#x", "x\ny", "ä", "'", '"', "1_0", "=", " "]
)
def test_text_that_looks_like_something_else_stays_text(root: str) -> None:
    same_after_all_ways(read_plain({"data": {"root": root}}))


@pytest.mark.parametrize("section", ["sampler", "pruner"])
def test_every_sampler_and_pruner_with_every_parameter(section: str) -> None:
    choices: Any = SAMPLERS if section == "sampler" else PRUNERS
    for name, choice in choices.items():
        given_parameters = {knob.name: knob.default for knob in choice.parameters}
        space = {"lr": {"choices": [0.1]}} if name == "grid" else {}
        same_after_all_ways(read_plain({section: {"name": name, **given_parameters}, "search_space": space}))


def values(knob: Knob) -> st.SearchStrategy[Any]:
    match knob.kind:
        case Kind.BOOL:
            return st.booleans()
        case Kind.NAME:
            return st.sampled_from(sorted(knob.names or ()))
        case Kind.NAMES:
            return st.lists(st.sampled_from(sorted(knob.names or ())), unique=True)
        case Kind.INT:
            return st.integers(int(knob.low), int(min(knob.high, 2000)))
    return st.floats(
        max(knob.low, -1e6),
        min(knob.high, 1e6),
        exclude_min=knob.low_open,
        exclude_max=knob.high_open and knob.high < 1e6,
    )


def dimensions(knob: Knob) -> st.SearchStrategy[dict[str, Any]]:
    choices = st.fixed_dictionaries({"choices": st.lists(values(knob), min_size=1, max_size=4, unique_by=str)})
    if knob.kind not in (Kind.FLOAT, Kind.INT):
        return choices
    ends = st.lists(values(knob), min_size=2, max_size=2, unique=True).map(sorted)
    ranges = st.builds(lambda two, log: {"low": two[0], "high": two[1], "log": log and two[0] > 0}, ends, st.booleans())
    per = st.sampled_from(["batch_size", "epochs", {"batch_size": 256}, {"width": 8}])
    return choices | ranges | st.builds(lambda range_, per: {**range_, "per": per}, ranges, per)


@st.composite
def studies(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(KNOBS)), unique=True, max_size=12))
    cut = draw(st.integers(0, len(names)))
    space = {name: draw(dimensions(KNOBS[name])) for name in names[cut:]}
    for dimension in space.values():
        others = [name for name in KNOBS if KNOBS[name].kind in (Kind.NAME, Kind.BOOL)]
        if draw(st.booleans()):
            on = draw(st.sampled_from(others))
            dimension["when"] = {on: draw(st.lists(values(KNOBS[on]), min_size=1, max_size=2, unique=True))}
    return {
        "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        "objective": {"metric": draw(st.sampled_from(sorted(METRICS)))},
        "budget": {"trials": draw(st.integers(1, 10**6)), "timeout": draw(st.none() | st.floats(1e-3, 1e9))},
        "train": {name: draw(values(KNOBS[name])) for name in names[:cut]},
        "search_space": space,
        "start_from": [
            {name: draw(values(KNOBS[name])) for name in named}
            for named in draw(
                st.lists(st.lists(st.sampled_from(sorted(space)), unique=True), max_size=2) if space else st.just([])
            )
        ],
    }


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(studies())
def test_whatever_is_accepted(raw: dict[str, Any]) -> None:
    try:
        spec = read_study(Document(raw), "study.yaml").spec
    except UserError:
        return
    same_after_all_ways(spec)
