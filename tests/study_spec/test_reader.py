from contextlib import suppress
from typing import Any

import pytest

from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError, enumerate_names
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.reader import DEFAULT_SEARCH_SPACE, SECTIONS, read_study
from cifar_tune.study_spec.search_space import Choices, Range
from cifar_tune.study_spec.settings import Budget, Objective, PrunerSpec, SamplerSpec
from cifar_tune.study_spec.yaml_reader import Document, read_yaml

from .reading import only_problem, read, refused

NO_MAPPINGS: dict[str, str] = {"text": "abc", "list": "[1, 2]", "number": "5", "flag": "true", "quoted": "'{}'"}

KNOWN_SOURCES = enumerate_names(sorted(SOURCES))

README = """name: resnet18-cifar10
objective: {metric: val_accuracy, direction: maximize}
budget: {trials: 100, timeout: 8h}
sampler: {name: tpe, seed: 0}
pruner: {name: hyperband, min_resource: 2}
data: {name: cifar10, val_size: 5000}
train:
  model: resnet18
  epochs: 30
  schedule: one_cycle
  augment: [random_crop, horizontal_flip]
search_space:
  optimizer:    {choices: [sgd, adamw, rmsprop]}
  lr:           {low: 1e-4, high: 1.0, log: true}
  momentum:     {low: 0.5, high: 0.99, when: {optimizer: [sgd, rmsprop]}}
  weight_decay: {low: 1e-6, high: 1e-2, log: true}
  activation:   {choices: [relu, leaky_relu, elu, silu]}
  width:        {choices: [16, 32, 64]}
  batch_size:   {choices: [64, 128, 256, 512]}
"""


def test_a_whole_study() -> None:
    found = read(README)
    assert found.notes == ()
    spec = found.spec
    assert (spec.name, spec.objective) == ("resnet18-cifar10", Objective("val_accuracy", "maximize"))
    assert spec.budget == Budget(100, 8 * 3600)
    assert spec.sampler == SamplerSpec("tpe", 0)
    assert spec.pruner == PrunerSpec("hyperband", {"min_resource": 2})
    assert spec.data == DataSpec(val_size=5000)
    assert spec.train["augment"] == ("random_crop", "horizontal_flip")
    assert spec.search_space["lr"] == Range(1e-4, 1.0, log=True)
    assert spec.search_space["momentum"] == Range(0.5, 0.99, when={"optimizer": ("sgd", "rmsprop")})
    assert spec.search_space["width"] == Choices((16, 32, 64))
    assert spec.largest_epochs == 30


def test_a_name_is_enough() -> None:
    spec = read("name: made").spec
    assert spec.objective == Objective("val_accuracy", "maximize")
    assert spec.budget == Budget(50, None)
    assert spec.sampler == SamplerSpec("tpe", 0)
    assert spec.pruner == PrunerSpec("promotion")
    assert spec.data == DataSpec()
    assert spec.train == {}
    assert list(spec.search_space) == list(DEFAULT_SEARCH_SPACE)


def test_the_default_search_space_leaves_out_what_is_fixed() -> None:
    assert list(read("train: {lr: 0.1}").spec.search_space) == ["weight_decay"]
    assert read("search_space: {}").spec.search_space == {}
    assert read("search_space:").spec.search_space == {}


def test_a_study_that_searches_nothing_is_noted() -> None:
    assert read("search_space: {}").notes == ("nothing is searched: all trials are the same",)


@pytest.mark.parametrize("text", ["", "# nothing", "[a]", "abc", "5", "true", "null", "- name: x"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    with pytest.raises(UserError, match="must be a study: a mapping with at least a name") as raised:
        read_study(read_yaml(text), "study.yaml")
    assert str(raised.value).startswith("study.yaml: ")


def test_every_problem_of_a_file_is_reported_in_the_order_of_its_lines() -> None:
    text = """name: ../x
objective: {metric: acuracy}
budget: {trials: 0, timeout: soon}
sampler: {name: tpe, seed: -1, n_startup_trails: 3}
prunner: {name: median}
pruner: {name: hyperbnad}
data: {name: cifar10, val_size: 0}
train:
  modle: resnet18
  epochs: 1.5
  dropout: true
search_space:
  lr: {low: 1, high: 0.1}
  momentum: {low: 0.5, hihg: 0.9}
  augment: {choices: [[random_crp]]}
"""
    assert [str(problem) for problem in refused(text)] == [
        "study.yaml:1: name = '../x': must be 1 to 100 letters, digits, '.', '_' or '-', "
        "and begin with a letter or digit",
        f"study.yaml:2: objective.metric = 'acuracy': must be {enumerate_names(sorted(Metrics()))} "
        "(did you mean 'val_accuracy'?)",
        "study.yaml:3: budget.trials = 0: must be a whole number >= 1",
        "study.yaml:3: budget.timeout = 'soon': must be a duration > 0 such as 45m, 8h, 1h30m or 2d",
        "study.yaml:4: sampler.seed = -1: must be a whole number >= 0 and <= 4294967295",
        "study.yaml:4: sampler.n_startup_trails: unknown key (did you mean 'n_startup_trials'?)",
        "study.yaml:5: prunner: unknown key (did you mean 'pruner'?)",
        "study.yaml:6: pruner.name = 'hyperbnad': must be asha, hyperband, median, none, patient, percentile, "
        "promotion or threshold (did you mean 'hyperband'?)",
        "study.yaml:7: data.val_size = 0: must be >= 1",
        "study.yaml:9: train.modle: unknown key (did you mean 'model'?)",
        "study.yaml:10: train.epochs = 1.5: must be a whole number >= 1 and <= 1000000",
        "study.yaml:11: train.dropout = true: must be a number >= 0 and < 1",
        "study.yaml:13: search_space.lr.low = 1.0: must be below high, which is 0.1; "
        "a single value belongs under train",
        "study.yaml:14: search_space.momentum.hihg: unknown key (did you mean 'high'?)",
        "study.yaml:14: search_space.momentum: needs high, or choices",
        "study.yaml:15: search_space.augment.choices[0] = ['random_crp']: must be a list of names out of "
        f"{enumerate_names(sorted(AUGMENTATIONS), 'and')} (did you mean 'random_crop'?)",
    ]


LISTS = (
    "name",
    "objective",
    "constraints",
    "metrics",
    "repeats",
    "deterministic",
    "plugins",
    "start_from",
    "transfer_from",
    "notify",
)


@pytest.mark.parametrize("section", [name for name in SECTIONS if name not in LISTS])
@pytest.mark.parametrize("value", NO_MAPPINGS.values(), ids=NO_MAPPINGS.keys())
def test_a_section_is_a_mapping(section: str, value: str) -> None:
    message = only_problem(f"{section}: {value}")
    assert message.startswith(f"study.yaml:2: {section} = ")
    assert ": must be a mapping such as {" in message


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "name"])
def test_an_empty_section_has_its_defaults(section: str) -> None:
    if section != "search_space":
        assert read(f"{section}:").spec == read("").spec


@pytest.mark.parametrize("section", ["budget", "sampler", "pruner", "data", "objective"])
def test_an_unknown_key_in_a_section(section: str) -> None:
    message = only_problem(f"{section}: {{qqqq: 1}}")
    assert message.startswith(f"study.yaml:2: {section}.qqqq: unknown key; known here: ")


@pytest.mark.parametrize("section", ["train", "search_space"])
def test_an_unknown_knob_does_not_bring_a_list_of_all(section: str) -> None:
    expected = f"study.yaml:2: {section}.qqqq: unknown key; `cifar-tune knobs` lists what there is"
    assert only_problem(f"{section}: {{qqqq: 1}}") == expected


@pytest.mark.parametrize(
    ("section", "wrong", "right"),
    [
        ("objective", "metrc", "metric"),
        ("budget", "trails", "trials"),
        ("sampler", "sede", "seed"),
        ("pruner", "n_warmup_step", "n_warmup_steps"),
        ("data", "vale_size", "val_size"),
        ("train", "Epochs", "epochs"),
        ("train", "act", "activation"),
        ("train", "bs", "batch_size"),
        ("train", "batch-size", "batch_size"),
        ("train", "wd", "weight_decay"),
        ("train", "learningRate", "lr"),
        ("search_space", "learning_rate", "lr"),
        ("train", "lr_scheduler", "schedule"),
        ("train", "dropout_rate", "dropout"),
        ("train", "epoch", "epochs"),
        ("train", "nepochs", "epochs"),
        ("train", "val_size", "data.val_size"),
        ("search_space", "n_trials", "budget.trials"),
        ("data", "batch_size", "train.batch_size"),
        ("data", "dir", "root"),
    ],
)
def test_an_unknown_key_names_the_nearest(section: str, wrong: str, right: str) -> None:
    message = only_problem(f"{section}: {{{wrong}: 1}}")
    assert message == f"study.yaml:2: {section}.{wrong}: unknown key (did you mean {right!r}?)"


def test_a_key_at_the_top() -> None:
    assert only_problem("prunner: {}") == "study.yaml:2: prunner: unknown key (did you mean 'pruner'?)"
    assert only_problem("qqqq: 1") == (
        "study.yaml:2: qqqq: unknown key; known here: "
        "name, objective, constraints, metrics, budget, stop, repeats, sampler, pruner, deterministic, data, plugins, "
        "train, search_space, start_from, transfer_from, notify"
    )
    assert only_problem("momentun: 0.9") == "study.yaml:2: momentun: unknown key (did you mean 'train.momentum'?)"
    assert only_problem("bs: 9") == "study.yaml:2: bs: unknown key (did you mean 'train.batch_size'?)"
    assert only_problem("timeout: 9h") == "study.yaml:2: timeout: unknown key (did you mean 'budget.timeout'?)"
    assert only_problem("hyperparameters: {}") == (
        "study.yaml:2: hyperparameters: unknown key (did you mean 'search_space'?)"
    )
    assert only_problem("name: made", ["bs=9"]) == "--set: bs: unknown key (did you mean 'batch_size'?)"


@pytest.mark.parametrize("knob", ["epochs", "lr", "augment"])
def test_a_knob_at_the_top_belongs_elsewhere(knob: str) -> None:
    assert only_problem(f"{knob}: 5") == (
        f"study.yaml:2: {knob}: {knob} is a knob: it belongs under train, or under search_space"
    )


@pytest.mark.parametrize("name", ["a", "resnet18-cifar10", "A.b_c-9", "9", "x" * 100, "a..b"])
def test_names(name: str) -> None:
    assert read(f"name: '{name}'").spec.name == name


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "x/y",
        "..",
        ".",
        ".hidden",
        "",
        " ",
        "a b",
        "x" * 101,
        "-x",
        "_x",
        "é",
        "a\\\\b",
        "a\\n",
        "a\\tb",
        "a:b",
        "~",
        "*",
        "a*",
        "٣",
    ],
)
def test_names_that_no_folder_may_have(name: str) -> None:
    message = only_problem(f'name: "{name}"')
    assert message.startswith("study.yaml:1: name = ")
    assert "must be 1 to 100 letters, digits, '.', '_' or '-', and begin with a letter or digit" in message


@pytest.mark.parametrize("name", ["x.yaml", "a.yml"])
def test_a_name_is_not_that_of_a_file(name: str) -> None:
    assert "must not end like a study file" in only_problem(f"name: {name}")


@pytest.mark.parametrize("name", ["5", "1e4", "true", "[a]", "{a: b}"])
def test_a_name_is_text(name: str) -> None:
    assert only_problem(f"name: {name}").endswith("begin with a letter or digit; a number needs quotes")


@pytest.mark.parametrize("text", ["name: ", "name: null", "budget: {}"])
def test_a_study_needs_a_name(text: str) -> None:
    with pytest.raises(UserError, match="name: every study needs a name, such as `name: resnet18-cifar10`"):
        read_study(read_yaml(text), "study.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "{name: cifar_10}",
            f"data.name = 'cifar_10': must be {KNOWN_SOURCES} (did you mean 'cifar10'?)",
        ),
        ("{name: null}", f"data.name: must be {KNOWN_SOURCES}"),
        ("{name: image_folder}", "data.root: image_folder needs the folder that holds train/<class>/"),
        ("{name: digits, root: x}", "data.root = 'x': digits are embedded and take no folder: leave root out"),
        ("{root: ''}", "data.root = '': must not be empty"),
        ("{root: 5}", "data.root = 5: must be text"),
        ("{image_size: 64}", "data.image_size = 64: cifar10 has images of 32 pixels: leave image_size out"),
        ("{name: digits, image_size: 1e3}", "data.image_size = 1000: must be <= 256"),
        ("{val_size: 0.1}", "data.val_size = 0.1: must be a whole number"),
        ("{val_size: true}", "data.val_size = true: must be a whole number"),
        ("{val_size: -5}", "data.val_size = -5: must be >= 1"),
        ("{val_size: .nan}", "data.val_size = nan: must be a whole number"),
        ("{val_size: [5]}", "data.val_size = [5]: must be a whole number"),
        ("{train_size: '5'}", "data.train_size = '5': must be a whole number"),
        ("{split_seed: -1}", "data.split_seed = -1: must be >= 0"),
        ("{download: yes}", "data.download = 'yes': must be true or false"),
        ("{download: 1}", "data.download = 1: must be true or false"),
    ],
)
def test_data(given: str, message: str) -> None:
    assert only_problem(f"data: {given}") == f"study.yaml:2: {message}"


def test_all_of_data_is_reported_at_once() -> None:
    assert len(refused("data: {name: digits, image_size: 1, val_size: 0, download: 1, x: 1, root: a}")) == 5


def test_a_whole_number_may_be_written_with_an_exponent() -> None:
    assert read("data: {val_size: 5e3}").spec.data.val_size == 5000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{lr: }", "train.lr: is empty; must be a number > 0"),
        ("{lr: '0.1'}", "train.lr = '0.1': must be a number > 0"),
        ("{lr: 0}", "train.lr = 0: must be a number > 0"),
        ("{lr: -1e-3}", "train.lr = -0.001: must be a number > 0"),
        ("{lr: true}", "train.lr = true: must be a number > 0"),
        ("{lr: .nan}", "train.lr = nan: must be a finite number > 0"),
        ("{lr: .inf}", "train.lr = inf: must be a finite number > 0"),
        ("{lr: 1e999}", "train.lr = inf: must be a finite number > 0"),
        ("{lr: 1_000}", "train.lr = '1_000': must be a number > 0"),
        ("{lr: [0.1]}", "train.lr = [0.1]: must be a number > 0"),
        (
            "{lr: {low: 0.1, high: 1}}",
            "train.lr = {'low': 0.1, 'high': 1}: takes one value here; ranges and choices belong under search_space",
        ),
        ("{epochs: true}", "train.epochs = true: must be a whole number >= 1 and <= 1000000"),
        ("{epochs: 0x1F}", "train.epochs = '0x1F': must be a whole number >= 1 and <= 1000000"),
        ("{epochs: 12:30}", "train.epochs = '12:30': must be a whole number >= 1 and <= 1000000"),
        (
            "{epochs: 100000000000000000000000000}",
            "train.epochs = 100000000000000000000000000: must be a whole number >= 1 and <= 1000000",
        ),
        ("{seed: -1}", "train.seed = -1: must be a whole number >= 0 and <= 2147483647"),
        ("{nesterov: on}", "train.nesterov = 'on': must be true or false"),
        ("{nesterov: 1}", "train.nesterov = 1: must be true or false"),
        ("{model: resnet19}", "must be airbench_net, cnn2, cnn3"),
        ("{model: null}", "train.model: is empty; must be airbench_net, cnn2, cnn3"),
        ("{optimizer: [sgd]}", "train.optimizer = ['sgd']: must be adadelta"),
        ("{augment: random_crp+horizontal_flip}", "(did you mean 'random_crop'?)"),
        ("{augment: [random_crop, random_crop]}", "must not name the same thing twice"),
    ],
)
def test_fixed_knobs(given: str, message: str) -> None:
    problem = only_problem(f"train: {given}")
    assert problem.startswith("study.yaml:2: train.")
    assert message in problem


def test_a_name_near_a_valid_one() -> None:
    assert only_problem("train: {model: ResNet_18}").endswith("(did you mean 'resnet18'?)")
    assert only_problem("train: {augment: [random_crop, horizontl_flip]}").endswith("(did you mean 'horizontal_flip'?)")


def test_a_knob_stands_in_one_place_only() -> None:
    text = "train:\n  lr: 0.1\nsearch_space:\n  lr: {low: 0.1, high: 1}"
    assert only_problem(text) == (
        "study.yaml:5: search_space.lr: lr is fixed under train as well; it may stand in one place only"
    )


def test_what_the_database_holds_has_no_lines() -> None:
    with pytest.raises(UserError) as raised:
        read_study(Document({"name": "x", "train": {"epochs": 0}}), "the stored study 'x'")
    assert str(raised.value) == ("the stored study 'x': train.epochs = 0: must be a whole number >= 1 and <= 1000000")


@pytest.mark.parametrize(
    "value", [None, True, 5, 0.5, "x", [], {}, [None], [[]], {"x": None}, {"name": {}}, [{}], {"": 1}]
)
@pytest.mark.parametrize("section", SECTIONS)
def test_whatever_stands_in_a_section_is_read_or_refused(section: str, value: Any) -> None:
    raw: dict[str, Any] = {"name": "made", section: value}
    with suppress(UserError):
        assert read_study(Document(raw), "study.yaml").spec.name
