"""`transfer_from`: what the section may say, and what becomes of configurations of an earlier study."""

from typing import Any

import pytest

from cifar_tune.knobs.part import Scalar
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.start_from import suggested
from cifar_tune.study_spec.transfer import TransferSpec
from cifar_tune.study_spec.transferring import Selection, Source, select, words

from .reading import only_problem, read, read_plain, refused
from .test_round_trip import same_after_all_ways

SPACE: dict[str, Any] = {
    "optimizer": {"choices": ["sgd", "adamw"]},
    "lr": {"low": 0.001, "high": 0.1, "log": True},
    "momentum": {"low": 0.5, "high": 0.9, "step": 0.1, "when": {"optimizer": "sgd"}},
}
CONFIG: dict[str, Scalar] = {"model": "cnn3", "optimizer": "sgd", "lr": 0.03, "momentum": 0.7, "width": 8, "epochs": 3}


def selected(*configs: dict[str, Any], count: int = 5, **sections: Any) -> Selection:
    spec = read_plain({"search_space": SPACE, **sections})
    return select(spec, [Source(7 + index, 0.5, CONFIG | config) for index, config in enumerate(configs)], count)


def items(selection: Selection) -> list[dict[str, Any]]:
    return [dict(each.item) for each in selection.taken]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("small", TransferSpec("small")),
        ("{study: small@2, configurations: 3}", TransferSpec("small@2", None, 3)),
        ("{study: made, storage: 'sqlite:///old.db'}", TransferSpec("made", "sqlite:///old.db")),
    ],
)
def test_what_it_says_and_says_again(text: str, wanted: TransferSpec) -> None:
    spec = read(f"transfer_from: {text}\n").spec
    assert spec.transfer_from == wanted
    same_after_all_ways(spec)
    assert read("transfer_from:\n").spec.transfer_from is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[small]", "transfer_from = ['small']: must be the name of a study"),
        ("{}", "does not say which study"),
        ("{study: 3}", "transfer_from.study = 3: must be the name of a study; a number needs quotes"),
        ("{study: small, configuration: 3}", "(did you mean 'configurations'?)"),
        (
            "{study: small, configurations: 0}",
            "transfer_from.configurations = 0: must be a whole number >= 1 and <= 20",
        ),
        ("studies/small.yaml", "must be the name of a study in the storage"),
        ("made", "is this study itself"),
        ("{study: small, storage: 3}", "must be the URL of a storage"),
        ("{study: a, storage: 'postgresql://me:secret@host/db'}", "holds a password"),
        ("{study: a, storage: 'postgresql://host/db?user=me&password=secret'}", "holds a password"),
        ("{study: small, configurations: 11}\nbudget: {trials: 10}", "write {study: small, configurations: 10}"),
    ],
)
def test_refused(text: str, message: str) -> None:
    problem = only_problem(f"transfer_from: {text}\n")
    assert message in problem
    assert "secret" not in problem


def test_start_from_and_transfer_share_the_budget() -> None:
    both = "start_from: [{lr: 0.1}, {lr: 0.2}]\ntransfer_from: small\n"
    assert "budget.trials leaves room for 4" in only_problem(f"{both}budget: {{trials: 6}}\n")
    assert read(f"{both}budget: {{trials: 7}}\n").spec.most_known == 7
    assert len(refused("transfer_from: {study: made, configurations: 0}\n")) == 2


def test_another_place_of_the_storage_is_no_other_study() -> None:
    here, there = (
        read(f"transfer_from: {{study: small{more}}}\n").spec for more in ("", ", storage: 'sqlite:///o.db'")
    )
    assert differences(here, there) == []
    assert [str(each) for each in differences(here, read("name: made\n").spec)] == [
        "transfer_from.study: removed (was 'small')",
        "transfer_from.configurations: removed (was 5)",
    ]


def test_knobs_that_are_not_searched_count_for_nothing() -> None:
    found = selected({}, {"width": 64, "epochs": 9, "seed": 4}, {"lr": 0.05, "dropout": 0.3})
    assert items(found) == [
        {"optimizer": "sgd", "lr": 0.03, "momentum": 0.7},
        {"optimizer": "sgd", "lr": 0.05, "momentum": 0.7},
    ]
    assert found.left_out == ("trial 8 is left out: here it is the same as trial 7",)


def test_so_many_distinct_ones_best_first() -> None:
    found = selected({"lr": 0.02}, {"lr": 0.02}, {"lr": 0.03}, {"lr": 0.04}, count=2)
    assert [each.source.trial for each in found.taken] == [7, 9]


def test_what_the_earlier_study_fixed_is_searched_here() -> None:
    space = SPACE | {"width": {"choices": [8, 16]}, "epochs": {"low": 1, "high": 5}}
    assert items(selected({}, search_space=space)) == [
        {"optimizer": "sgd", "lr": 0.03, "momentum": 0.7, "width": 8, "epochs": 3}
    ]


@pytest.mark.parametrize(
    ("config", "item", "told"),
    [
        ({"lr": 0.5}, {"lr": 0.1}, "lr was 0.5 there"),
        ({"lr": 1e-5}, {"lr": 0.001}, "lr was 1e-05 there"),
        ({"momentum": 0.99}, {"momentum": 0.9}, "momentum was 0.99 there"),
        ({"momentum": 0.64}, {"momentum": 0.6}, "momentum was 0.64 there"),
        ({"momentum": 0.0}, {"momentum": 0.5}, "momentum was 0 there"),
        ({"optimizer": "adagrad"}, {"optimizer": None, "momentum": None}, "the sampler draws optimizer, since adagrad"),
        (
            {"optimizer": "mine"},
            {"optimizer": None, "momentum": None},
            "the sampler draws optimizer, since mine is unk",
        ),
        ({"optimizer": "adamw"}, {"optimizer": "adamw", "momentum": None}, "trial 7: optimizer adamw, lr 0.03"),
    ],
)
def test_what_does_not_fit(config: dict[str, Any], item: dict[str, Any], told: str) -> None:
    [taken] = selected(config).taken
    wanted = {"optimizer": "sgd", "lr": 0.03, "momentum": 0.7} | item
    assert taken.item == {name: value for name, value in wanted.items() if value is not None}
    assert told in words(taken)
    suggested(read_plain({"search_space": SPACE}).space, taken.item)  # Optuna is given nothing out of range


def test_a_conditional_knob_that_the_earlier_study_lacks_is_drawn() -> None:
    space = SPACE | {"t_0": {"low": 1, "high": 9, "when": {"schedule": "cosine_restarts"}}}
    sections: dict[str, Any] = {"search_space": space, "train": {"schedule": "cosine_restarts"}}
    [taken] = selected({"schedule": "constant"}, **sections).taken
    assert "t_0" not in taken.item
    assert "the sampler draws t_0" in words(taken)


@pytest.mark.parametrize(("lr", "suggests"), [(0.2, 0.05), (9.0, 0.1), (1e-4, 0.001)])
def test_what_training_uses_counts_where_a_range_is_in_proportion(lr: float, suggests: float) -> None:
    space = SPACE | {"lr": SPACE["lr"] | {"per": "batch_size"}, "batch_size": {"choices": [128, 512]}}
    [taken] = selected({"lr": lr, "batch_size": 512}, search_space=space).taken
    assert suggested(read_plain({"search_space": space}).space, taken.item)["lr"] == pytest.approx(suggests)
    [open_] = selected({"lr": lr, "batch_size": 64}, search_space=space).taken
    assert "lr" not in open_.item
    assert "the sampler draws lr, since it is searched per 128 of batch_size, which is open too" in words(open_)


def test_start_from_comes_first_and_is_not_run_twice() -> None:
    known = [{"optimizer": "sgd", "lr": 0.03, "momentum": 0.7}]
    found = selected({}, {"lr": 0.04}, start_from=known)
    assert [each.source.trial for each in found.taken] == [8]
    assert found.left_out == ("trial 7 is left out: it is start_from[0]",)


def test_what_breaks_a_rule_with_what_is_fixed_here() -> None:
    sections: dict[str, Any] = {
        "search_space": {"norm_groups": {"low": 1, "high": 4}},
        "train": {"norm": "group", "width": 16},
    }
    found = selected({"norm": "group", "norm_groups": 3}, {"norm": "group", "norm_groups": 2}, **sections)
    assert items(found) == [{"norm_groups": 2}]
    assert "trial 7 is left out: with what is fixed here, norm_groups must divide" in found.left_out[0]


def test_a_grid_takes_whole_configurations_alone() -> None:
    space = {"optimizer": {"choices": ["sgd", "adamw"]}, "lr": {"choices": [0.01, 0.03]}}
    found = selected({"lr": 0.02}, {}, search_space=space, sampler={"name": "grid"})
    assert items(found) == [{"optimizer": "sgd", "lr": 0.03}]
    assert "it leaves lr open, and sampler grid tries every combination once" in found.left_out[0]


def test_nothing_in_common() -> None:
    found = selected({"optimizer": "adagrad"}, search_space={"optimizer": {"choices": ["sgd", "adamw"]}})
    assert found.taken == ()
    assert found.left_out == ("trial 7 is left out: it names no knob that this study searches",)
