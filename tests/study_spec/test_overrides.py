import pytest

from cifar_tune.errors import UserError
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.study_spec.overrides import Override, apply_overrides, parse_override
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.search_space import Range
from cifar_tune.study_spec.yaml_reader import Document

from .reading import only_problem, read, refused


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("epochs=5", "epochs", 5),
        ("lr=1e-4", "lr", 1e-4),
        (" lr = .5", "lr", 0.5),
        ("nesterov=true", "nesterov", True),
        ("nesterov=on", "nesterov", "on"),
        ("augment=[random_crop, horizontal_flip]", "augment", ["random_crop", "horizontal_flip"]),
        ("augment=none", "augment", "none"),
        ("data.root=a=b", "data.root", "a=b"),
        ("data.root='5'", "data.root", "5"),
        ("sampler={name: random}", "sampler", {"name": "random"}),
        ("lr=", "lr", None),
        ("name=x", "name", "x"),
    ],
)
def test_a_value_is_read_as_in_a_study_file(text: str, key: str, value: object) -> None:
    assert parse_override(text) == Override(key, value)


@pytest.mark.parametrize("text", ["", "epochs", "epochs 5", "=5", " =5", "epochs:5"])
def test_what_is_no_key_and_value(text: str) -> None:
    with pytest.raises(UserError, match=r"--set = .*must be key=value, such as epochs=5 or data.root=images"):
        parse_override(text)


@pytest.mark.parametrize(
    "value", ["[1", "{a: 1", "'x", "a: b: c", "!!python/name:os.system", "*x", "\ud800", "a\tb: c\n\t"]
)
def test_what_is_no_yaml(value: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_override(f"lr={value}")
    assert str(raised.value).startswith("--set lr = ")
    assert ": the value " in str(raised.value)


def test_a_knob_is_fixed_even_if_it_was_searched() -> None:
    text = "search_space:\n  lr: {low: 0.1, high: 1}\n  epochs: {choices: [3, 5]}"
    spec = read(text, ["lr=0.5", "augment=[random_crop]"]).spec
    assert spec.train == {"lr": 0.5, "augment": ("random_crop",)}
    assert list(spec.search_space) == ["epochs"]


def test_a_knob_of_the_default_search_space_is_fixed() -> None:
    assert list(read("", ["lr=0.5"]).spec.search_space) == ["weight_decay"]


@pytest.mark.parametrize("key", ["lr", "train.lr"])
def test_a_fixed_knob_is_changed(key: str) -> None:
    assert read("train: {lr: 0.1}", [f"{key}=0.5"]).spec.train == {"lr": 0.5}


def test_a_fixed_knob_is_searched_by_a_path() -> None:
    spec = read("train: {lr: 0.1, epochs: 3}", ["search_space.lr={low: 0.1, high: 1}"]).spec
    assert spec.train == {"epochs": 3}
    assert spec.search_space == {"lr": Range(0.1, 1.0)}


def test_a_path_leads_into_a_section_that_the_file_lacks() -> None:
    spec = read("", ["data.root=images", "data.name=image_folder", "sampler.seed=7", "pruner.name=none"]).spec
    assert (spec.data.root, spec.data.name, spec.sampler.seed, spec.pruner.name) == (
        "images",
        "image_folder",
        7,
        "none",
    )


def test_a_path_leads_into_a_section_that_is_empty() -> None:
    assert read("budget:\ntrain:", ["budget.trials=7", "epochs=2"]).spec.budget.trials == 7


def test_a_path_changes_one_side_of_a_range() -> None:
    text = "search_space:\n  lr: {low: 0.1, high: 1}"
    assert read(text, ["search_space.lr.low=0.2"]).spec.search_space == {"lr": Range(0.2, 1.0)}


def test_the_last_one_counts() -> None:
    assert read("", ["lr=0.1", "train.lr=0.2", "lr=0.3"]).spec.train == {"lr": 0.3}


def test_the_name_can_be_changed() -> None:
    assert read("", ["name=other"]).spec.name == "other"


def test_what_is_wrong_in_the_file_but_overridden_is_not_looked_at() -> None:
    assert read("train: {epochs: many}", ["epochs=2"]).spec.train == {"epochs": 2}
    assert read("search_space: {lr: 5}", ["lr=0.1"]).spec.train == {"lr": 0.1}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs=0", "--set: train.epochs = 0: must be a whole number >= 1 and <= 1000000"),
        ("epochs=", "--set: train.epochs: is empty; must be a whole number >= 1 and <= 1000000"),
        ("epochs='5'", "--set: train.epochs = '5': must be a whole number >= 1 and <= 1000000"),
        ("lrr=0.1", "--set: lrr: unknown key (did you mean 'lr'?)"),
        ("trian.lr=0.1", "--set: trian: unknown key (did you mean 'train'?)"),
        ("train.lrr=0.1", "--set: train.lrr: unknown key (did you mean 'lr'?)"),
        ("data.rot=x", "--set: data.rot: unknown key (did you mean 'root'?)"),
        ("data.val_size=0", "--set: data.val_size = 0: must be >= 1"),
        ("name=../x", "--set: name = '../x': must be 1 to 100 letters"),
        ("name.x=1", "--set name.x: name holds no further keys"),
        ("objective.0.metric=val_loss", "--set: objective.0: unknown key"),
        ("budget=5", "--set: budget = 5: must be a mapping such as"),
        ("momentum=0.9", "--set: train.momentum = 0.9: optimizer adam does not take momentum"),
        ("search_space.seed.high=5", "--set: search_space.seed: needs low, or choices"),
        ("sampler.n_startup_trials=x", "--set: sampler.n_startup_trials = 'x': must be a whole number"),
    ],
)
def test_wrong_settings(setting: str, message: str) -> None:
    assert only_problem("train: {optimizer: adam}\nobjective: {metric: val_accuracy}", [setting]).startswith(message)


def test_what_comes_from_the_file_beside_a_setting_keeps_its_line() -> None:
    text = "train:\n  optimizer: sgd\nsearch_space:\n  momentum: {low: 0.1, high: 0.9}"
    assert only_problem(text, ["optimizer=adam"]).startswith("study.yaml:5: search_space.momentum: optimizer adam")
    messages = [str(each) for each in refused("train:\n  epochs: 0\n  seed: 1", ["train.seed=-1"])]
    assert [message.split(" =")[0] for message in messages] == ["--set: train.seed", "study.yaml:3: train.epochs"]


def test_a_whole_section_that_is_replaced_has_no_line_in_the_file() -> None:
    assert only_problem("train:\n  epochs: 3", ["train={epochs: 0}"]).startswith("--set: train.epochs = 0")


def test_other_options_are_named() -> None:
    with pytest.raises(UserError) as raised:
        read_study(Document({"name": "x"}), "study.yaml", [Override("budget.trials", 0, "--trials")])
    assert str(raised.value) == "--trials: budget.trials = 0: must be a whole number >= 1"


def test_what_was_read_is_not_changed() -> None:
    raw = {"name": "x", "train": {"lr": 0.1}, "search_space": {"epochs": {"choices": [1]}}}
    apply_overrides(raw, [Override("epochs", 3), Override("train.lr", 0.2)], BUILT_IN)
    assert raw == {"name": "x", "train": {"lr": 0.1}, "search_space": {"epochs": {"choices": [1]}}}
