"""The space as a whole: its order, what can come out, how many there are, and whether Optuna finds them all."""

import math
import os
import random
import subprocess
import sys
from typing import Any

import optuna
import pytest
from optuna.samplers import BruteForceSampler

from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import Kind
from cifar_tune.knobs.table import KNOBS
from cifar_tune.samplers.build import Samplers
from cifar_tune.study.asking import ask
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec

from .reading import only_problem, read, read_plain

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

FIVE_DEEP = """
train: {augment: random_crop}
search_space:
  model: {choices: [cnn2, cnn3, resnet18]}
  activation: {choices: [relu, leaky_relu], when: {model: [cnn2, cnn3]}}
  negative_slope: {choices: [0.1, 0.2], when: {activation: leaky_relu}}
  optimizer: {choices: [sgd, adam], when: {negative_slope: [0.1, 0.01]}}
  momentum: {choices: [0.5, 0.9], when: {optimizer: sgd}}
  nesterov: {choices: [true, false], when: {optimizer: sgd, momentum: 0.9}}
"""


def walked(spec: StudySpec) -> list[Configuration]:
    """Every configuration, found by trying every choice at every question."""
    found: list[Configuration] = []

    def explore(answers: list[Any]) -> None:
        asked: list[Dimension] = []

        def choose(_name: str, dimension: Dimension) -> Any:
            asked.append(dimension)
            return answers[len(asked) - 1] if len(asked) <= len(answers) else values_of(dimension)[0]

        config = spec.space.configuration(choose)
        if len(asked) == len(answers):
            found.append(config)
        else:
            for value in values_of(asked[len(answers)]):
                explore([*answers, value])

    explore([])
    return found


def values_of(dimension: Dimension) -> tuple[Any, ...]:
    if isinstance(dimension, Choices):
        return dimension.choices
    return tuple(dimension.low + index * (dimension.step or 1) for index in range(dimension.count or 0))


def brute_force(spec: StudySpec) -> list[dict[str, Any]]:
    """What Optuna's own exhaustive sampler suggests until it has tried everything."""
    study = optuna.create_study(sampler=BruteForceSampler(seed=0))
    suggested: list[dict[str, Any]] = []

    def objective(trial: optuna.Trial) -> float:
        spec.space.configuration(lambda name, dimension: suggest(trial, name, dimension))
        suggested.append(trial.params)
        return 0.0

    study.optimize(objective, n_trials=2_000)
    return suggested


def suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    values = values_of(dimension)
    return values[trial.suggest_categorical(name, list(range(len(values))))]


def random_space(seed: int) -> dict[str, Any]:
    """A small space with conditions, valid by construction."""
    draw = random.Random(seed)  # noqa: S311
    space: dict[str, Any] = {}
    pool: list[tuple[str, list[Any]]] = [
        ("epochs", [1, 2, 3]),
        ("batch_size", [8, 16]),
        ("threads", [1, 2]),
        ("normalization", ["none", "zero_one"]),
        ("model", ["cnn2", "cnn3", "resnet20"]),
        ("activation", ["relu", "leaky_relu"]),
        ("augment", ["none", "random_crop"]),
        ("schedule", ["constant", "step"]),
        ("seed", [0, 1, 2]),
    ]
    draw.shuffle(pool)
    for name, choices in pool[: draw.randint(1, 6)]:
        dimension: dict[str, Any] = {"choices": choices}
        if choices == [1, 2, 3] and draw.random() < 0.5:
            dimension = {"low": 1, "high": 3}
        on = [other for other in space if "choices" in space[other] and name != "model"]  # activation stands on it
        conditions = draw.sample(on, min(len(on), draw.choice([0, 0, 1, 1, 2])))
        if conditions:
            dimension["when"] = {other: draw.sample(space[other]["choices"], 1) for other in conditions}
        space[name] = dimension
    return {"search_space": space, "sampler": {"name": "grid"}}


@pytest.mark.parametrize("seed", range(25))
def test_its_size_is_what_optuna_finds_by_brute_force(seed: int) -> None:
    try:
        spec = read_plain(random_space(seed))
    except UserError as error:
        pytest.fail(str(error))
    suggested = brute_force(spec)
    assert len({str(sorted(params.items())) for params in suggested}) == len(suggested)
    assert spec.space.size() == len(suggested) == len(walked(spec))


def test_five_conditions_deep() -> None:
    spec = read(FIVE_DEEP).spec
    configs = walked(spec)
    assert len({str(config.stored()) for config in configs}) == len(configs)
    with_sgd = 3  # momentum 0.5, or 0.9 with and without nesterov
    # sgd is the default where the optimizer is not searched: all but leaky_relu with a slope of 0.1
    assert len(configs) == with_sgd + 2 * (with_sgd + with_sgd + (1 + with_sgd))
    assert spec.space.size() == len(configs) == len(brute_force(spec))
    assert all(config["optimizer"] == "sgd" for config in configs if config.get("negative_slope") != 0.1)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("{}", 1),
        ("{epochs: {choices: [1, 2]}}", 2),
        ("{epochs: {low: 1, high: 9}, batch_size: {low: 1, high: 9, step: 2}}", 45),
        ("{lr: {low: 0.1, high: 1}}", None),
        ("{lr: {low: 0.1, high: 1.0, step: 0.1}}", 10),
        ("{epochs: {low: 1, high: 8, log: true}}", 8),
        ("{seed: {low: 0, high: 2147483647}}", 2**31),
        (
            "{seed: {low: 0, high: 2147483647, when: {model: [cnn2, cnn3]}}, model: {choices: [cnn2, cnn3, resnet18]}}",
            2 * 2**31 + 1,
        ),
        ("{epochs: {choices: [1, 2], when: {model: cnn3}}}", 2),
        ("{epochs: {choices: [1, 2], when: {model: cnn2}}}", 1),
        (
            "{crop_padding: {choices: [1, 2], when: {augment: random_crop}},"
            " augment: {choices: [none, random_crop, random_crop+horizontal_flip]}}",
            5,
        ),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert read(f"search_space: {text}").spec.space.size() == size


def test_conditions_stand_on_fixed_knobs_and_on_defaults() -> None:
    text = "train: {model: cnn2}\nsearch_space:\n  lr: {low: 0.1, high: 1, when: {model: cnn2, optimizer: sgd}}"
    found = read(text)
    assert found.notes == ()
    assert found.spec.space.configuration(lambda *_: 0.5)["lr"] == 0.5


def test_a_condition_that_does_not_hold_leaves_the_owners_default() -> None:
    text = """search_space:
  optimizer: {choices: [sgd, adam]}
  lr: {choices: [0.7], when: {optimizer: adam}}"""
    configs = {config.text("optimizer"): config for config in walked(read(text).spec)}
    assert configs["adam"]["lr"] == 0.7
    assert configs["sgd"]["lr"] == 0.05


def test_all_conditions_must_hold() -> None:
    text = """search_space:
  model: {choices: [cnn2, cnn3]}
  epochs: {choices: [1, 2]}
  lr: {choices: [0.7], when: {model: cnn2, epochs: 2}}"""
    assert [config["lr"] for config in walked(read(text).spec)] == [0.05, 0.7, 0.05, 0.05]


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("", 15),
        ("train: {epochs: 3}", 3),
        ("search_space: {epochs: {low: 2, high: 9}}", 9),
        ("search_space: {epochs: {low: 2, high: 9, step: 7}}", 9),
        ("search_space: {epochs: {low: 2, high: 9, log: true}}", 9),
        ("search_space: {epochs: {choices: [7, 30, 4]}}", 30),
        # where its condition does not hold, it has the default
        ("search_space: {epochs: {choices: [3, 5], when: {model: cnn3}}, model: {choices: [cnn2, cnn3]}}", 15),
        ("search_space: {epochs: {choices: [3, 50], when: {model: cnn3}}, model: {choices: [cnn2, cnn3]}}", 50),
        # a condition that always or never holds
        ("search_space: {epochs: {choices: [3, 5], when: {model: cnn3}}}", 5),
        ("search_space: {epochs: {choices: [3, 50], when: {model: cnn2}}}", 15),
    ],
)
def test_the_largest_reachable_epochs(text: str, epochs: int) -> None:
    assert read(text).spec.largest_epochs == epochs


def test_owners_and_conditions_come_before_what_depends_on_them() -> None:
    order = read(FIVE_DEEP).spec.space.order()
    assert sorted(order) == sorted(KNOBS)
    position = {name: index for index, name in enumerate(order)}
    chain = ("model", "activation", "negative_slope", "optimizer", "momentum", "nesterov")
    assert sorted(chain, key=position.__getitem__) == list(chain)
    assert all(position[knob.owner] < position[knob.name] for knob in KNOBS.values() if knob.owner)


def test_a_configuration_lists_knobs_in_the_order_of_the_table() -> None:
    config = walked(read(FIVE_DEEP).spec)[0]
    assert list(config) == [name for name in KNOBS if name in config]


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        (
            "epochs: {choices: [1, 2], when: {threads: 1}}\n  threads: {choices: [1, 2], when: {epochs: 1}}",
            "epochs -> threads -> epochs",
        ),
        ("model: {choices: [cnn2, cnn3], when: {width: 64}}", "model -> width -> model"),
        (
            "optimizer: {choices: [sgd, adam], when: {momentum: 0.9}}\n"
            "  momentum: {choices: [0.9, 0.5], when: {optimizer: sgd}}",
            "optimizer -> momentum -> optimizer",
        ),
        (
            "epochs: {choices: [1], when: {seed: 1}}\n  seed: {choices: [1], when: {threads: 1}}\n"
            "  threads: {choices: [1], when: {batch_size: 1}}\n  batch_size: {choices: [1], when: {epochs: 1}}",
            "epochs -> batch_size -> threads -> seed -> epochs",
        ),
    ],
)
def test_conditions_in_a_circle(text: str, circle: str) -> None:
    message = only_problem(f"search_space:\n  {text}")
    assert message.startswith("study.yaml:")
    shown = message.rpartition("conditions stand on each other in a circle: ")[2]
    assert set(shown.split(" -> ")) == set(circle.split(" -> "))
    assert shown.split(" -> ")[0] == shown.split(" -> ")[-1]
    assert not message.startswith("study.yaml:2:"), "the line is that of a searched knob"


def entangled(choices: int) -> str:
    names = ("batch_size", "epochs", "seed", "threads", "width")
    searched = "".join(f"  {name}: {{choices: {list(range(1, choices + 1))}}}\n" for name in names)
    when = ", ".join(f"{name}: 1" for name in names)
    return f"search_space:\n{searched}  lr: {{low: 0.1, high: 1, when: {{{when}}}}}"


def test_conditions_that_entangle_too_much_are_refused() -> None:
    assert only_problem(entangled(50)) == (
        "study.yaml:2: search_space: the conditions entangle too many combinations; use fewer knobs in `when`"
    )


def test_conditions_that_entangle_a_little_are_not() -> None:
    assert read(entangled(4)).spec.space.size() is None


def test_a_large_space_without_conditions_is_no_trouble() -> None:
    bound = ("epochs", "frozen_stages")  # by rules that join them with other knobs
    free = [knob for knob in KNOBS.values() if knob.owner is None and knob.kind is Kind.INT and knob.name not in bound]
    searched = "".join(f"  {knob.name}: {{choices: {list(range(1, 200))}}}\n" for knob in free)
    spec = read(f"sampler: {{name: grid}}\nsearch_space:\n{searched}").spec
    assert spec.space.size() == math.prod([199] * len(spec.search_space))


def test_a_grid_that_cannot_be_counted_is_refused() -> None:
    names = ("batch_size", "epochs", "seed", "threads")
    searched = "".join(f"  {name}: {{choices: {list(range(1, 21))}}}\n" for name in names)
    conditional = "".join(
        f"  {knob}: {{choices: [{value}], when: {{{name}: 1}}}}\n"
        for name, knob, value in zip(names, ("lr", "width", "model", "schedule"), (0.1, 8, "cnn2", "step"), strict=True)
    )
    text = f"search_space:\n{searched}{conditional}"
    read(text)
    assert only_problem(f"sampler: {{name: grid}}\n{text}") == (
        "study.yaml:3: search_space: sampler grid cannot list so many combinations of conditions"
    )


MANY_PARENTS = """
search_space:
  model: {choices: [cnn2, cnn3], when: {schedule: [step, cosine], normalization: [none, zero_one], threads: [1, 2]}}
  schedule: {choices: [step, cosine]}
  normalization: {choices: [none, zero_one]}
  precision: {choices: [fp32, bf16], when: {seed: [1, 2], threads: [1, 2], label_smoothing: [0, 0.1]}}
  threads: {choices: [1, 2]}
  seed: {choices: [1, 2]}
  label_smoothing: {choices: [0, 0.1]}
"""
ORDER_OF_SUGGESTIONS = """
import optuna, sys
from cifar_tune.samplers.build import Samplers
from cifar_tune.study.asking import ask
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import read_yaml
spec = read_study(read_yaml(sys.stdin.read()), None).spec
study = optuna.create_study()
samplers = Samplers(spec.sampler)
trials = [ask(study, spec, samplers, None)[0] for _ in range(5)]
print([list(trial.params.items()) for trial in trials])
"""


def test_suggestions_do_not_depend_on_how_a_process_hashes() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ORDER_OF_SUGGESTIONS],
            input=f"name: made\n{MANY_PARENTS}",
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(printed) == 1
    assert "threads" in printed.pop()


def test_what_is_asked_for_is_what_optuna_stores() -> None:
    spec = read(FIVE_DEEP).spec
    study = optuna.create_study()
    for _ in range(20):
        trial, config = ask(study, spec, Samplers(spec.sampler), None)
        assert all(config.stored()[name] == value for name, value in trial.params.items())
        searched = {name for name in spec.search_space if spec.space.is_active(name, config)}
        assert set(trial.params) == searched
        study.tell(trial, 0.0)
