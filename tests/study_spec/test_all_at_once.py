"""No mistake hides another one: what is told of each alone is told where all of them are made."""

from itertools import combinations
from pathlib import Path

import pytest

from cifar_tune.cli.landscape_options import other_configuration
from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import complete
from cifar_tune.study_spec.overrides import parse_overrides
from cifar_tune.study_spec.reader import read_study_file
from cifar_tune.study_spec.run_config import read_run_config

from .reading import read, refused

Mistake = dict[str, list[str]]
"""Lines below each section of a study file."""

MISTAKES: dict[str, Mistake] = {
    "name": {"name": ["../x"]},
    "unknown section": {"prunner": ["{}"]},
    "objective": {"objective": ["{metric: acuracy}"]},
    "constraint": {"constraints": ["[flops < 3]"]},
    "budget": {"budget": ["{trials: 0}"]},
    "deterministic": {"deterministic": ["0"]},
    "unknown key of data": {"data": ["{batch_size: 3}"]},
    "wrong value": {"train": ["  epochs: 0"]},
    "wrong name of an owner": {"train": ["  model: vgg99"]},
    "unknown knob": {"train": ["  qqqq: 1"]},
    "misspelt owner": {"train": ["  shedule: cosine"]},
    "fixed knob that is not taken": {"train": ["  optimizer: adam", "  momentum: 0.9"]},
    "wrong value of a knob that is not taken": {"train": ["  loss: mse", "  focal_gamma: -1"]},
    "rule": {"train": ["  augment: [horizontal_flip, alternating_flip]"]},
    "given twice": {"train": ["  threads: 2", "  threads: 3"]},
    "searched knob that is not taken": {
        "search_space": ["  schedule: {choices: [step, cosine]}", "  gamma: {choices: [0.1, 0.5]}"]
    },
    "wrong range": {"search_space": ["  weight_decay: {low: 1, high: 0.1, log: 5}"]},
    "unknown key of a range": {"search_space": ["  ema_decay: {low: 0, high: 0.9, stp: 1}"]},
    "condition": {
        "search_space": ["  activation: {choices: [relu, elu]}", "  l1: {low: 0, high: 1, when: {activation: gelu}}"]
    },
    "both places": {"train": ["  patience: 1"], "search_space": ["  patience: {low: 1, high: 5}"]},
    "wrong item": {"start_from": ["  - {batch_size: 0}"]},
    "missing file": {"start_from": ["  - absent.yaml"]},
    "plugin": {"plugins": ["[absent.py]"]},
}  # fmt: skip
PAIRS = [
    (one, other)
    for one, other in combinations(MISTAKES, 2)
    if "plugin" not in (one, other)
    or not {"train", "search_space", "start_from"} & (MISTAKES[one] | MISTAKES[other]).keys()
]
"""All of them, but that knobs cannot be judged beside a plugin that is not there."""

TOGETHER = {
    "sampler and objectives": "objective: [{metric: val_loss}, {metric: flops}]\nsampler: {name: cmaes}",
    "pruner and objectives": "objective: {metric: flops}\npruner: {name: median}",
    "pruner and epochs": "train: {epochs: 3}\npruner: {name: asha, min_resource: 5}",
    "grid and range": "search_space: {lr: {low: 0.1, high: 1}}\nsampler: {name: grid}",
    "clock": "objective: {metric: seconds_per_epoch}\ndeterministic: 2",
}


def text_of(*mistakes: Mistake) -> str:
    sections: Mistake = {"name": ["made"]}
    for mistake in mistakes:
        for section, lines in mistake.items():
            sections[section] = lines if section == "name" else sections.get(section, []) + lines
    return "".join(
        f"{section}:" + (f" {lines[0]}\n" if len(lines) == 1 and lines[0][0] != " " else "\n" + "\n".join(lines) + "\n")
        for section, lines in sections.items()
    )


def told(text: str) -> set[tuple[str, str]]:
    """Where, and which rule; an item's number and a line depend on what else there is."""
    return {
        ((problem.key or problem.source or "").partition("[")[0], problem.rule.partition(", on lines")[0])
        for problem in refused(text)
    }


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_one(name: str) -> None:
    assert told(text_of(MISTAKES[name]))


@pytest.mark.parametrize("pair", PAIRS, ids=" + ".join)
def test_no_mistake_hides_another(pair: tuple[str, str]) -> None:
    one, other = (MISTAKES[name] for name in pair)
    assert told(text_of(one, other)) == told(text_of(one)) | told(text_of(other))


def test_all_of_them_at_once() -> None:
    mistakes = {name: mistake for name, mistake in MISTAKES.items() if name != "plugin"}
    expected = {found for mistake in mistakes.values() for found in told(text_of(mistake))}
    assert told(text_of(*mistakes.values())) == expected


@pytest.mark.parametrize("name", TOGETHER)
def test_what_sections_ask_of_each_other_is_told_beside_other_mistakes(name: str) -> None:
    text = f"name: made\n{TOGETHER[name]}\n"
    others = "data: {val_size: 0}\nbudget: {trials: 0}\n"
    assert told(text + others) == told(text) | told("name: made\n" + others)


@pytest.mark.parametrize(
    "text",
    [
        "train: {model: vgg99, norm_placement: first, stem: imagenet}",  # the default model takes no stem
        "train: {optimzer: sgd, nesterov: true}",
        "optimizer: adam\ntrain: {nesterov: true}",
        "train: {schedule: lamda}\nsearch_space: {step_size: {low: 1, high: 3}}",
        "train: {activation: rleu, negative_slope: 0.1}",
        "train: 5\nsearch_space: {norm_groups: {choices: [4]}}",
        "train: {warmup_epochs: 20, epochs: -1}",
        "train: {epochs: x}\npruner: {name: asha, min_resource: 100}",
        "objective: 5\npruner: {name: median}\nsampler: {name: cmaes}",
        "objective: [{metric: val_loss}, {metric: flops}]\npruner: {name: medan}",
        "buget: {trials: 100}\nstart_from: [" + "".join(f"{{lr: 0.0{each}}}, " for each in range(10, 70)) + "]",
        "serch_space: {momentum: {low: 0.1, high: 0.9}}\nstart_from: [{momentum: 0.5}]",
        "train: {modle: vgg11}\nstart_from: [{lr: 0.1}]",
        "plugins: [absent.py]\ntrain: {model: mine, size: 3}\npruner: {name: asha, min_resource: 100}",
        "plugins: [absent.py]\nsampler: {name: grid}",
    ],
)  # fmt: skip
def test_nothing_is_said_that_depends_on_what_is_wrong(text: str) -> None:
    assert len(refused(text)) == 1


def test_a_searched_owner_is_judged_though_another_is_wrong() -> None:
    text = "train: {model: vgg99}\nsearch_space: {optimizer: {choices: [sgd, adam]}, momentum: {low: 0, high: 0.9}}"
    _, message = (str(each) for each in refused(text))
    assert message.startswith("study.yaml:3: search_space.momentum: optimizer adam does not take momentum")


def test_a_sound_study_is_read_with_a_merge_of_two_mappings() -> None:
    assert read("train: {<<: {epochs: 3}, threads: 2}").spec.train == {"epochs": 3, "threads": 2}


def test_a_configuration_reports_all_as_well(tmp_path: Path) -> None:
    file = tmp_path / "best.yaml"
    file.write_text(
        "data: {val_size: 0}\ntrain:\n  model: vgg99\n  optimizer: adam\n  momentum: 0.9\n  lr: 1\n  lr: 2\n"
    )
    with pytest.raises(UserError) as raised:
        read_run_config(file, parse_overrides(["epochs=0"]))
    keys = ["train.epochs", "data.val_size", "train.model", "train.momentum", "train.lr"]
    assert [problem.key for problem in raised.value.problems] == keys


def test_a_key_given_twice_is_told_beside_a_file_that_is_no_study(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("- {a: 1, a: 2}\n")
    with pytest.raises(UserError) as raised:
        read_study_file(file)
    assert len(raised.value.problems) == 2


def test_every_setting_is_read() -> None:
    with pytest.raises(UserError) as raised:
        parse_overrides(["epochs", "lr=[1", "width=8", "=3"])
    assert [problem.value for problem in raised.value.problems] == ["epochs", "[1", "=3"]
    with pytest.raises(UserError) as raised:
        read("name: made", ["name.x=1", "width=8", "name.y=1"])
    assert [problem.key or problem.source for problem in raised.value.problems] == ["--set name.x", "--set name.y"]


def test_every_difference_of_a_landscape_is_judged() -> None:
    problems: tuple[Problem, ...] = ()
    with pytest.raises(UserError) as raised:
        other_configuration(complete({}), ["norm=bach", "momentum=2", "focal_gamma=1", "norm_groups=2", "qqqq=1"])
    problems = raised.value.problems
    assert [problem.key for problem in problems] == ["norm", "momentum", "qqqq", "focal_gamma"]
