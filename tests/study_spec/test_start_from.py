"""Known configurations: what is accepted, what the sampler is left with, what is refused, and where."""

import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cifar_tune.cli.spec_lines import spec_lines
from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.part import Value
from cifar_tune.reports.best_config import best_yaml
from cifar_tune.study_spec.partial import partial_configuration
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.start_from import suggested
from tests.reports.factory import MadeTrial, make_record

from .reading import only_problem, read, refused
from .test_space import FIVE_DEEP, walked

STUDY = """train: {epochs: 5, schedule: cosine}
search_space:
  optimizer: {choices: [sgd, adamw]}
  lr: {low: 0.01, high: 1.0, log: true, per: batch_size}
  momentum: {low: 0.5, high: 0.9, step: 0.1, when: {optimizer: sgd}}
  batch_size: {choices: [64, 96, 256]}
  augment: {choices: [[], [random_crop], [random_crop, horizontal_flip]]}
"""
COMPLETE = "{optimizer: sgd, lr: 0.2, momentum: 0.7, batch_size: 256, augment: [random_crop]}"


def study(*items: str) -> str:
    return STUDY + "start_from:\n" + "".join(f"  - {item}\n" for item in items)


def drawn(spec: StudySpec) -> list[tuple[str, ...]]:
    return [partial_configuration(spec.space, item).drawn for item in spec.start_from]


def test_a_complete_one() -> None:
    spec = read(study(COMPLETE)).spec
    assert drawn(spec) == [()]
    assert suggested(spec.space, spec.start_from[0]) == {
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.7,
        "batch_size": 256,
        "augment": "random_crop",
    }
    assert spec.plain()["start_from"] == [
        {"optimizer": "sgd", "lr": 0.2, "momentum": 0.7, "batch_size": 256, "augment": ["random_crop"]}
    ]


@pytest.mark.parametrize(
    ("item", "left"),
    [
        ("{lr: 0.1, batch_size: 64}", ("optimizer", "momentum", "augment")),
        ("{optimizer: adamw, batch_size: 64}", ("lr", "augment")),
        ("{augment: none}", ("optimizer", "lr", "momentum", "batch_size")),
        ("{optimizer: sgd, epochs: 5, seed: 0, schedule: cosine}", ("lr", "momentum", "batch_size", "augment")),
    ],
)
def test_partial_ones_leave_the_rest_to_the_sampler_and_check_says_so(item: str, left: tuple[str, ...]) -> None:
    spec = read(study(item)).spec
    assert drawn(spec) == [left]
    assert spec_lines(spec)[-1].endswith(f"}}  # the sampler draws {', '.join(left[:-1])} and {left[-1]}")


def test_what_is_fixed_is_not_stored() -> None:
    assert read(study("{epochs: 5, batch_size: 64}")).spec.start_from == ({"batch_size": 64},)


@pytest.mark.parametrize(
    ("items", "line", "message"),
    [
        (["{optimizr: sgd}"], 10, "[0].optimizr: unknown key (did you mean 'optimizer'?)"),
        (["{optimizer: adam}"], 10, "[0].optimizer = 'adam': must be sgd or adamw"),
        (["{optimizer: sg}"], 10, "(did you mean 'sgd'?)"),
        (["{batch_size: 100}"], 10, "[0].batch_size = 100: must be 64, 96 or 256"),
        (["{batch_size: many}"], 10, "[0].batch_size = 'many': must be a whole number"),
        (["{augment: [horizontal_flip]}"], 10, "must be none, random_crop or random_crop+horizontal_flip"),
        (["{lr: 1.0, batch_size: 64}"], 10, "[0].lr = 1.0: must be between 0.01 and 1.0, and it is 2 per 128 of batch"),
        (["{lr: 0.1}"], 10, "lr is searched per 128 of batch_size: name batch_size in this item too"),
        (["{optimizer: sgd, momentum: 0.75}"], 10, "must be 0.5 or a whole number of steps of 0.1 above"),
        (["{optimizer: sgd, momentum: 0.4}"], 10, "must be between 0.5 and 0.9"),
        (["{optimizer: adamw, momentum: 0.7}"], 10, "[0].momentum = 0.7: is not searched together with the others"),
        (["{momentum: 0.7}"], 10, "[0].momentum = 0.7: depends on optimizer; name that in this item too"),
        (["{epochs: 6, batch_size: 64}"], 10, "[0].epochs = 6: is fixed at 5"),
        (["{seed: 3, batch_size: 64}"], 10, "[0].seed = 3: is not searched in this study: it has its default, 0"),
        (["{t_0: 3, batch_size: 64}"], 10, "is not taken together with the others of this item"),
        (["{nesterov: true, batch_size: 64}"], 10, "and its default depends on what is drawn"),
        (["{}"], 10, "[0]: names no knob that is searched"),
        (["{epochs: 5}"], 10, "[0]: names no knob that is searched"),
        (["3"], 10, "[0] = 3: must be a mapping such as"),
        ([COMPLETE, "{batch_size: 64}", "{batch_size: 64.0, epochs: 5}"], 12, "[2]: says the same as start_from[1]"),
        (["missing.yaml"], 10, "[0] = 'missing.yaml': cannot be read: No such file"),
    ],
)  # fmt: skip
def test_refused(items: list[str], line: int, message: str) -> None:
    problem = only_problem(study(*items))
    assert problem.startswith(f"study.yaml:{line}: start_from[{len(items) - 1}]")
    assert message in problem


def test_it_is_a_list() -> None:
    assert only_problem("start_from: {lr: 0.1}").startswith("study.yaml:2: start_from = {'lr': 0.1}: must be a list")
    assert read("start_from:").spec.start_from == read("start_from: []").spec.start_from == ()


def test_all_problems_are_reported_at_once() -> None:
    assert len(refused(study("{optimizr: sgd}", "{epochs: 6, seed: 1}", "3"))) == 4


def test_what_breaks_a_rule_between_the_ends_of_ranges() -> None:
    space = "search_space: {norm_groups: {low: 1, high: 4}}\ntrain: {norm: group, width: 16}\n"
    assert only_problem(f"{space}start_from: [{{norm_groups: 2}}, {{norm_groups: 3}}]").startswith(
        "study.yaml:4: start_from[1]: norm_groups must divide the channels of every layer"
    )


def test_no_more_than_the_budget_lets_run() -> None:
    text = study("{batch_size: 64}", "{batch_size: 96}")
    assert read(text, ["budget.trials=2"]).spec.budget.trials == 2
    assert "names 2 configurations, more than budget.trials, 1" in only_problem(text, ["budget.trials=1"])


def test_settings_win_over_items() -> None:
    assert read(study(COMPLETE), ["lr=0.3"]).spec.start_from[0].keys() == {
        "optimizer",
        "momentum",
        "batch_size",
        "augment",
    }
    assert read(study(COMPLETE), ["optimizer=adamw"]).spec.start_from[0].keys() == {"lr", "batch_size", "augment"}
    assert read(study("{batch_size: 64}", "{batch_size: 96}"), ["batch_size=256"]).spec.start_from == ()
    reduced = read(study("{optimizer: sgd, batch_size: 64}", "{optimizer: adamw, batch_size: 64}"), ["optimizer=sgd"])
    assert reduced.spec.start_from == ({"batch_size": 64},)
    assert read(STUDY, ["start_from=[{batch_size: 64}]"]).spec.start_from == ({"batch_size": 64},)


def test_a_grid_does_not_draw_what_another_item_names() -> None:
    grid = study("{optimizer: sgd}", "{batch_size: 64}").replace("log: true", "step: 0.01")
    assert "start_from[0] may come out the same, since the sampler draws" in only_problem(grid, ["sampler.name=grid"])
    apart = study("{optimizer: sgd}", "{optimizer: adamw}").replace("log: true", "step: 0.01")
    assert len(read(apart, ["sampler.name=grid"]).spec.start_from) == 2


def written(folder: Path, train: str) -> str:
    file = folder / "known.yaml"
    file.write_text(f"data: {{name: digits}}\ntrain: {{{train}}}\n")
    return str(file)


def test_a_file_gives_its_values_and_notes_what_the_study_has_otherwise(tmp_path: Path) -> None:
    file = written(tmp_path, "optimizer: adamw, lr: 0.15, batch_size: 96, epochs: 7, schedule: cosine, augment: []")
    found = read(study(file))
    assert found.spec.start_from == ({"optimizer": "adamw", "lr": 0.15, "batch_size": 96, "augment": ()},)
    assert found.notes == (f"start_from[0], {file}: the study has epochs 5 (there 7)",)
    assert file not in str(found.spec.plain())


def test_paths_are_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "optimizer: adamw, lr: 0.2, augment: []")
    monkeypatch.chdir(tmp_path)
    # what the file leaves out has its default there, and counts: batch_size 128 is not searched here
    assert "start_from[0].batch_size = 128: must be 64, 96 or 256" in only_problem(study("known.yaml"))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("optimizr: sgd", "known.yaml:2: train.optimizr: unknown key (did you mean 'optimizer'?)"),
        ("optimizer: adam, momentum: 0.1", "optimizer adam does not take momentum"),
        ("optimizer: adam, lr: 0.1, batch_size: 64", "start_from[0].optimizer = 'adam': must be sgd or adamw"),
        ("optimizer: adamw, lr: 9, batch_size: 64", "start_from[0].lr = 9.0: must be between 0.01 and 1.0"),
    ],
)
def test_refused_files(tmp_path: Path, train: str, message: str) -> None:
    assert message in only_problem(study(written(tmp_path, train)))


def test_a_study_file_is_no_configuration(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: x\ntrain: {lr: 0.1}")
    with pytest.raises(UserError, match="a configuration has only data and train"):
        read(study(str(file)))


def test_an_exported_best_comes_back_as_it_was_trained(tmp_path: Path) -> None:
    spec = read(STUDY).spec
    draw = random.Random(1)  # noqa: S311
    for number in range(20):
        params: dict[str, Value] = {}

        def choose(name: str, dimension: Dimension, params: dict[str, Value] = params) -> Value:
            if isinstance(dimension, Choices):
                params[name] = draw.choice(dimension.choices)
            else:
                params[name] = (
                    draw.choice((0.5, 0.7)) if dimension.step else draw.uniform(dimension.low, dimension.high)
                )
            return params[name]

        trained = spec.space.configuration(choose)
        record = make_record(spec, [MadeTrial(params, 0.5)])
        file = tmp_path / f"{number}.yaml"
        assert record.best is not None
        file.write_text(best_yaml(record, record.best, file))
        again = read(study(str(file))).spec
        assert drawn(again) == [()]
        assert configured(again, again.start_from[0]) == trained


def configured(spec: StudySpec, item: Any) -> Configuration:
    given = suggested(spec.space, item)
    return spec.space.configuration(
        lambda name, dimension: (
            next(choice for choice in dimension.choices if "+".join(choice or ("none",)) == given[name])  # type: ignore[union-attr,arg-type]
            if name == "augment"
            else given[name]
        )
    )


def test_what_follows_from_a_part_holds_in_every_configuration_that_has_it() -> None:
    space = read(FIVE_DEEP).spec.space
    everything = walked(read(FIVE_DEEP).spec)
    certain = 0
    for config in everything:
        names = [name for name in space.dimensions if name in partial_configuration(space, config).searched]
        assert partial_configuration(space, config).values == dict(config)
        for count in range(len(names)):
            for some in combinations(names, count):
                named = {name: config[name] for name in some}
                known = partial_configuration(space, named)
                if known.searched != set(some):
                    continue  # a condition of one of them is not decided by the others
                alike = [other for other in everything if all(other.get(name) == named[name] for name in some)]
                assert all(other.get(name) == value for other in alike for name, value in known.values.items())
                assert (len({str(other) for other in alike}) == 1) or known.drawn
                certain += 1
    assert certain >= 100
