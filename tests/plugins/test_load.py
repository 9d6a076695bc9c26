"""What a plugin may define, and what is said where it is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cifar_tune.errors import Problem
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.plugins.description import described, from_description
from cifar_tune.plugins.files import read_plugin_file
from cifar_tune.plugins.kinds import KINDS, RESERVED
from cifar_tune.plugins.load import load_plugins
from cifar_tune.reports.trials_csv import COLUMNS
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.reader import SECTIONS

from .conftest import HEAD, Load

Refused = Callable[..., tuple[Problem, ...]]

PART = 'OPTIMIZERS = {"own": Part(Own, "mine", arguments={"lr": "lr", "bite": "bite"})}\n'
KNOB = 'KNOBS = [Knob("bite", Kind.FLOAT, 0.1, "how hard", low=0, owner="optimizer")]\n'


def test_parts_and_knobs(load: Load) -> None:
    [plugin] = load(PART + KNOB)
    assert list(plugin.parts) == ["optimizer"]
    part = plugin.parts["optimizer"]["own"]
    weight = torch.nn.Parameter(torch.ones(2))
    built = part.resolve()([weight], **part.arguments_from({"lr": 0.5, "bite": 0.25}))
    assert built.param_groups[0]["lr"] == 0.5
    assert plugin.knobs["bite"].rule == "must be a number >= 0"


def test_the_same_content_runs_once_and_another_content_anew(load: Load, folder: Path) -> None:
    text = PART + KNOB + "open('runs', 'a').write('.')\n"
    [first], [again] = load(text), load(text)
    assert first.parts["optimizer"]["own"].target is again.parts["optimizer"]["own"].target
    assert (folder / "runs").read_text() == "."
    [other] = load(text + "#\n")
    assert other.parts["optimizer"]["own"].target is not first.parts["optimizer"]["own"].target
    assert (folder / "runs").read_text() == ".."


def test_what_runs_is_what_was_read(folder: Path) -> None:
    (folder / "parts.py").write_text(
        'from cifar_tune.plugins import LossPart\nLOSSES = {"old": LossPart(max, "old")}\n'
    )
    file = read_plugin_file("parts.py")
    (folder / "parts.py").write_text("raise RuntimeError")
    assert list(load_plugins([file])[0].parts["loss"]) == ["old"]


def test_a_knob_of_another_file_may_be_taken(load: Load) -> None:
    with_knob = 'OPTIMIZERS = {"other": Part(Own, "mine", arguments={"lr": "lr", "bite": "bite"})}\n' + KNOB
    assert len(load(PART, with_knob)) == 2


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("x = (1,\n", ["parts0.py:1: is not valid Python: '(' was never closed"]),
        ("x = 1\n\ndef f(:\n", ["parts0.py:3: is not valid Python: invalid syntax"]),
        ("x = 1\nx / 0\n", ["parts0.py:2: cannot be imported: ZeroDivisionError: division by zero"]),
        ("import nothing_of_that_name\n", ["parts0.py:1: cannot be imported: ModuleNotFoundError: No module named"]),
        ("import asyncio\nraise asyncio.CancelledError\n", ["parts0.py:2: cannot be imported: asyncio.exceptions.Can"]),
        ("raise BaseException('odd')\n", ["parts0.py:1: cannot be imported: BaseException: odd"]),
        (f"x = {'+'.join('1' * 50_000)}\n", ["parts0.py: cannot be compiled: an expression in it is nested too deep"]),
        (f"x = {'-' * 20_000}1\n", ["parts0.py: cannot be compiled: an expression in it is nested too deeply"]),
        ("def __getattr__(name):\n    raise ValueError(name)\n", ["parts0.py: what it defines cannot be read: Value"]),
        ("raise SystemExit(3)\n", ["parts0.py:1: cannot be imported: SystemExit: 3"]),
        ("", ["parts0.py: defines no parts: none of MODELS, NORMS, ACTIVATIONS, OPTIMIZERS, SCHEDULES, LOSSES"]),
        ("OPTIMIZERS = {}\n", ["parts0.py: defines no parts"]),
    ],
)
def test_the_file(refused: Refused, text: str, messages: list[str]) -> None:
    found = [str(problem) for problem in refused(text, head="")]
    assert len(found) == len(messages)
    assert all(wanted in said for wanted, said in zip(messages, found, strict=True)), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OPTIMIZERS = [1]", "OPTIMIZERS: must be a dictionary such as"),
        ('OPTIMIZERS = {"own": Own}', "OPTIMIZERS.own: must be a name with a Part, not Own"),
        ('MODELS = {"own": Part(nn.Linear, "x")}', "MODELS.own: must be a name with a ModelPart, not a Part"),
        ('LOSSES = {3: LossPart(max, "x")}', "LOSSES.3: its name must be text in quotes"),
        (
            'AUGMENTATIONS = {"own": Part(max, "x")}',
            "AUGMENTATIONS.own: must be a name with an AugmentationPart, not a Part",
        ),
        ('LOSSES = {"own": LossPart("a:b", "x")}', "LOSSES.own = 'a:b': its target must be the class or function"),
        ('LOSSES = {"own": LossPart(3, "x")}', "LOSSES.own = 3: its target: Input should be"),
        ('LOSSES = {"own": LossPart(max, "x", arguments=["lr"])}', "LOSSES.own = ['lr']: its arguments: "),
        ('LOSSES = {"own": LossPart(nn.MSELoss, "x")}', "must be a function of logits and targets, not a class"),
        ('LOSSES = {"none": LossPart(lambda logits, targets: 0, "x")}', "LOSSES.none: this name means something else"),
        ('LOSSES = {"Own": LossPart(lambda logits, targets: 0, "x")}', "a name must be 1 to 50 small letters, digits"),
        ('LOSSES = {"mse": LossPart(lambda logits, targets: 0, "x")}', "this name is taken by a built-in one"),
        ('LOSSES = {"own": LossPart(lambda logits: 0, "x")}', "cannot be called as (logits, targets): too many"),
        ('MODELS = {"own": ModelPart(Own, "x")}', "MODELS.own = 'Own': its class must derive from torch.nn.Module"),
        (
            'MODELS = {"own": ModelPart(nn.Linear, "x", arguments={"width": "widht"})}',
            "MODELS.own = 'widht': Linear has no such argument",
        ),
        (
            'OPTIMIZERS = {"own": Part(nn.Linear, "x", arguments={"lr": "lr"})}',
            "OPTIMIZERS.own = 'Linear': its class must derive from torch.optim.Optimizer",
        ),
        ('OPTIMIZERS = {"own": Part(Own, "x")}', 'OPTIMIZERS.own: must take lr, such as arguments={"lr": "lr"}'),
        (
            'OPTIMIZERS = {"own": Part(Own, "x", arguments={"lr": "lr", "momentun": "bite"})}',
            "OPTIMIZERS.own = 'momentun': there is no knob of that name (did you mean 'momentum'?)",
        ),
        (
            'OPTIMIZERS = {"own": Part(Own, "x", arguments={"lr": "lr", "momentum": "bit"})}',
            "OPTIMIZERS.own = 'bit': Own has no such argument (did you mean 'bite'?)",
        ),
        (
            'OPTIMIZERS = {"own": Part(Own, "x", arguments={"lr": "lr", "width": "bite"})}',
            "OPTIMIZERS.own = 'width': this knob belongs to model, not to optimizer",
        ),
        (
            'OPTIMIZERS = {"own": Part(Own, "x", arguments={"lr": "lr"}, defaults={"lr": -1})}',
            "OPTIMIZERS.own = -1: its default of lr must be a number > 0",
        ),
        (
            'OPTIMIZERS = {"own": Part(Own, "x", arguments={"lr": "lr"}, defaults={"momentum": 0.1})}',
            "OPTIMIZERS.own = 'momentum': has a default, but is not among the arguments",
        ),
        (
            'OPTIMIZERS = {"own": Part(Own, "x", arguments={"lr": "lr.first"})}',
            "OPTIMIZERS.own = 'lr.first': must be an argument's name, or an item of one such as betas.0",
        ),
        (
            'SCHEDULES = {"own": SchedulePart(torch.optim.lr_scheduler.StepLR, "x", length_argument="steps")}',
            "SCHEDULES.own = 'steps': StepLR has no such argument (did you mean 'step_size'?)",
        ),
        (
            'SCHEDULES = {"own": SchedulePart(torch.optim.lr_scheduler.StepLR, "x")}',
            "SCHEDULES.own: cannot be called as (optimizer): missing a required argument: 'step_size'",
        ),
        ('AUGMENTATIONS = {"own": AugmentationPart(max, "x", stage="pixel")}', "its stage: Input should be"),
        ("KNOBS = 3", "KNOBS: must be a list of Knob(...)"),
        (PART + 'KNOBS = [Knob("bite", Kind.FLOAT, 0.1, "x")]', "KNOBS.bite: a plugin's knob needs an owner"),
        (
            PART + 'KNOBS = [Knob("bite", Kind.FLOAT, 0.1, "x", owner="optimiser")]',
            "KNOBS.bite = 'optimiser': a plugin's knob needs an owner whose parts take it: model, norm, activation, "
            "optimizer, schedule, loss or augment (did you mean 'optimizer'?)",
        ),
        (
            PART + 'KNOBS = [Knob("bite", Kind.FLOAT, -1.0, "x", low=0, owner="optimizer")]',
            "KNOBS.bite = -1.0: its default must be a number >= 0",
        ),
        (PART + KNOB + 'KNOBS += KNOBS', "KNOBS.bite: is defined twice"),
        (PART + KNOB + 'KNOBS.append(Knob("idle", Kind.INT, 1, "x", owner="loss"))', "KNOBS.idle: no entry of LOSSES"),
        (
            PART + 'KNOBS = [Knob("bite", Kind.NAME, "a", "x", owner="optimizer")]',
            "KNOBS.bite: a knob of names needs its names",
        ),
        (
            'OPTIMIZERS = {"own": Part(Own, "x", arguments={"lr": "lr", "value": "bite"})}\n'
            'KNOBS = [Knob("value", Kind.FLOAT, 0.1, "x", owner="optimizer")]',
            "KNOBS.value: this name means something else in a study",
        ),
        (PART + KNOB + 'KNOBS.append(Knob("lr", Kind.FLOAT, 1.0, "x", owner="optimizer"))', "KNOBS.lr: this name"),
    ],
)  # fmt: skip
def test_what_it_defines(refused: Refused, text: str, message: str) -> None:
    [problem] = refused(text)
    assert str(problem).startswith("parts0.py")
    assert message in str(problem)


@pytest.mark.parametrize(
    ("dictionary", "entry", "base", "missing", "enough"),
    [
        ("MODELS", "ModelPart", "nn.Module", "forward", "forward"),
        ("NORMS", "Part", "nn.Module", "forward", "__call__"),
        ("ACTIVATIONS", "Part", "nn.Module", "forward", "forward"),
        ("OPTIMIZERS", "Part", "torch.optim.Optimizer", "step", "step"),
        ("SCHEDULES", "SchedulePart", "torch.optim.lr_scheduler.LRScheduler", "get_lr", "get_lr"),
        ("SCHEDULES", "SchedulePart", "torch.optim.lr_scheduler.LRScheduler", "get_lr", "step"),
        ("AUGMENTATIONS", "AugmentationPart", "object", "__call__", "__call__"),
    ],
)
def test_a_class_without_the_method_that_training_calls(
    load: Load, refused: Refused, dictionary: str, entry: str, base: str, missing: str, enough: str
) -> None:
    options = ', arguments={"lr": "lr"}' if dictionary == "OPTIMIZERS" else ""
    options += ', stage="inputs"' if dictionary == "AUGMENTATIONS" else ""
    text = (
        f"class Bare({base}):\n    def __init__(self, *given, lr=0.1): pass\n"
        f"class Whole(Bare):\n    def {enough}(self, *given): pass\n"
        f"class Later(Whole): pass\n"
        f'{dictionary} = {{"own": {entry}(%s, "x"{options})}}\n'
    )
    [problem] = refused(text % "Bare")
    assert f"{dictionary}.own = 'Bare': its class has no {missing}(), which training calls" in str(problem)
    assert load(text % "Later")


def test_an_optimizer_that_was_made_once_has_no_step_all_the_same(refused: Refused) -> None:
    """The base class wraps `step` of every class that is made, and puts the wrapper into that class."""
    text = (
        "class Bare(torch.optim.Optimizer):\n    def __init__(self, params, lr): super().__init__(params, {'lr': lr})\n"
        "Bare([nn.Parameter(torch.ones(1))], 0.1)\n"
        'OPTIMIZERS = {"own": Part(Bare, "x", arguments={"lr": "lr"})}\n'
    )
    assert [problem.key for problem in refused(text)] == ["OPTIMIZERS.own"]


@pytest.mark.parametrize(
    ("text", "name", "meant"),
    [
        (PART + 'MODEL = {"own": ModelPart(nn.Linear, "x")}\n', "MODEL", "MODELS"),
        ('optimizer = {"own": Part(Own, "x", arguments={"lr": "lr"})}\n' + KNOB, "optimizer", "OPTIMIZERS"),
        (PART + KNOB.replace("KNOBS", "KNOB"), "KNOB", "KNOBS"),
    ],
)
def test_a_misspelt_name_of_parts_or_knobs_is_told(refused: Refused, text: str, name: str, meant: str) -> None:
    assert f"{name}: did you mean {meant}? Nothing is read from {name}" in str(refused(text)[0])


def test_a_dictionary_that_helps_to_build_another_is_no_mistake(load: Load) -> None:
    assert load(PART.replace("OPTIMIZERS", "OPTIMIZER") + "OPTIMIZERS = {**OPTIMIZER}\n" + KNOB)


def test_every_problem_of_every_file_at_once_with_its_line(refused: Refused) -> None:
    first = '\nLOSSES = {\n    "mse": LossPart(max, "x"),\n    "own": LossPart(nn.MSELoss, "x"),\n}\n'
    second = 'MODELS = {"own": ModelPart(Own, "x")}\n'
    start = HEAD.count("\n") + 1
    assert [(problem.source, problem.line, problem.key) for problem in refused(first, second)] == [
        ("parts0.py", start + 2, "LOSSES.mse"),
        ("parts0.py", start + 3, "LOSSES.own"),
        ("parts1.py", start, "MODELS.own"),
    ]


def test_two_plugins_cannot_share_a_name(refused: Refused) -> None:
    found = [str(problem) for problem in refused(PART + KNOB, PART + KNOB)]
    assert [text.partition(": ")[2] for text in found] == [
        "KNOBS.bite: this name is taken by parts0.py; take another",
        "OPTIMIZERS.own: this name is taken by parts0.py; take another",
    ]


def test_the_names_of_sections_columns_and_options_are_reserved() -> None:
    assert {*SECTIONS, *COLUMNS} <= RESERVED
    assert len({kind.dictionary for kind in KINDS.values()}) == len(KINDS)


METRIC_NAMES = ["accuracy", "loss", "macro_f1", "top3_accuracy", "ece"]


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_a_metric_takes_no_name_that_means_something(name: str, refused: Refused) -> None:
    assert f"val_{name}" in Metrics()
    [problem] = refused(
        f'METRICS = {{"{name}": MetricPart(lambda probabilities, labels: 0, "x", direction="maximize")}}\n'
    )
    assert "this name is taken by a built-in one; take another" in str(problem)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('lambda probabilities, labels: 0, "x"', "cannot be imported: TypeError: "),
        (
            'lambda probabilities, labels: 0, "x", direction="up"',
            "= 'up': its direction: Input should be",
        ),
        ('lambda labels: 0, "x", direction="minimize"', "cannot be called as (probabilities, labels): too many"),
        ('nn.Linear, "x", direction="minimize"', "must be a function of probabilities and labels, not a class"),
        (
            'lambda probabilities, labels, k: 0, "x", direction="minimize", constants={"n": 3}',
            "<lambda> has no such argument",
        ),
        (
            'lambda probabilities, labels, lr: 0, "x", direction="minimize", arguments={"lr": "lr"}',
            "= 'lr': a metric takes no knobs, so that it means the same in every trial",
        ),
        ('max, "x", direction="minimize", number="k"', "= 'k': number is for built-in metrics"),
        ('max, "x", direction="minimize", lowest=1, highest=1', "its lowest must be below its highest"),
        ('max, "x", direction="minimize", most_classes=1', "its fewest_classes must be at most its most_classes"),
    ],
)
def test_metrics_that_cannot_be(entry: str, message: str, refused: Refused) -> None:
    [problem] = refused(f'METRICS = {{"own": MetricPart({entry})}}\n')
    assert message in str(problem)


def test_knobs_are_not_named_as_metrics_are_and_metrics_own_none(refused: Refused) -> None:
    found = [
        str(each)
        for each in refused(
            PART + KNOB.replace("bite", "val_bite") + 'KNOBS += [Knob("a", Kind.BOOL, True, "x", owner="metric")]'
        )
    ]
    assert any("a knob's name cannot begin with val_ or best_val_, as those of metrics do" in each for each in found)
    assert any("a plugin's knob needs an owner whose parts take it" in each for each in found)


def test_a_metric_and_its_description(load: Load) -> None:
    text = (
        'METRICS = {"own": MetricPart(lambda probabilities, labels: 0.5, "mine", direction="minimize", lowest=-1.0)}\n'
    )
    [plugin] = load(text)
    [again] = [from_description("parts0.py", json.loads(json.dumps(described(plugin))))]
    for vocabulary in (vocabulary_with([plugin]), vocabulary_with([again])):
        metric = Metrics(vocabulary)["best_val_own"]
        assert (metric.direction, metric.lowest, metric.measure) == ("minimize", -1.0, "val_own")
        assert {"val_own", "best_val_own"} <= set(Metrics(vocabulary))
    assert "val_own" not in Metrics()
