"""What can be named with plugins, and what is stored of it."""

import json
import pickle
from copy import deepcopy
from typing import Any, cast

import pytest

from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.metrics import MEASURES
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.norms import NORMS
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.knobs.table import KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN, vocabulary_with
from cifar_tune.plugins.description import described, from_description
from cifar_tune.plugins.kinds import OWNERS

from .conftest import Load

ALL = """
MODELS = {"own_model": ModelPart(lambda image_shape, classes, w: 0, "a", arguments={"width": "w"}, width_unit=3)}
NORMS = {"own_norm": Part(nn.BatchNorm2d, "b", constants={"affine": False})}
ACTIVATIONS = {"own_activation": Part(nn.ReLU, "c")}
OPTIMIZERS = {
    "own_optimizer": Part(Own, "d", arguments={"lr": "lr", "bite": "bite"}, defaults={"lr": 0.25, "bite": 0.75}),
}
SCHEDULES = {
    "own_schedule": SchedulePart(
        torch.optim.lr_scheduler.StepLR, "e", arguments={"step_size": "step_size"}, per="epoch",
        epochs_arguments=("step_size",),
    ),
}
LOSSES = {"own_loss": LossPart(lambda logits, targets, how: None, "f", arguments={"how": "how"}, soft_labels=False)}
AUGMENTATIONS = {"own_augmentation": AugmentationPart(lambda draw: None, "g", stage="mixing", drawn_once=True)}
METRICS = {"own_metric": MetricPart(lambda probabilities, labels: 0, "h", direction="minimize", lowest=-1.0)}
KNOBS = [
    Knob("bite", Kind.FLOAT, 0.5, "h", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("how", Kind.NAME, "soft", "i", names={"soft": "j", "hard": "k"}, owner="loss"),
]
"""


def test_every_kind_joins_the_built_in_parts(load: Load) -> None:
    vocabulary = vocabulary_with(load(ALL))
    for owner in OWNERS:
        own = "own_augmentation" if owner == "augment" else f"own_{owner}"
        assert list(vocabulary.parts(owner)) == [*BUILT_IN.parts(owner), own]
    assert vocabulary.takers(vocabulary.knobs["bite"]) == ("own_optimizer",)
    assert list(vocabulary.knobs) == [*KNOBS, "bite", "how"]
    config = complete({"optimizer": "own_optimizer", "loss": "own_loss"}, vocabulary)
    assert (config["lr"], config["bite"], config["how"]) == (0.25, 0.75, "soft")
    assert config.part("optimizer").meaning == "d"
    assert config.replaced(lr=0.5).part("optimizer").meaning == "d"
    assert (vocabulary.models["own_model"].width_unit, vocabulary.losses["own_loss"].soft_labels) == (3, False)
    assert vocabulary.schedules["own_schedule"].epochs_arguments == ("step_size",)
    assert vocabulary.augmentations["own_augmentation"].mixes_labels
    assert list(vocabulary.measures) == [*MEASURES, "own_metric"]
    assert (vocabulary.measures["own_metric"].direction, vocabulary.measures["own_metric"].lowest) == ("minimize", -1)


@pytest.mark.parametrize(
    "built_in", [MODELS, NORMS, ACTIVATIONS, OPTIMIZERS, SCHEDULES, LOSSES, AUGMENTATIONS, MEASURES, KNOBS]
)
def test_built_in_entries_cannot_be_changed(built_in: Any) -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        built_in["own"] = next(iter(built_in.values()))


def test_a_built_in_name_keeps_its_meaning() -> None:
    plugin = Plugin(
        "own.py", "", {"loss": {"mse": Part("a:b", "another"), "own": Part("a:c", "own")}}, {"lr": KNOBS["seed"]}
    )
    vocabulary = vocabulary_with([plugin])
    assert vocabulary.losses["mse"] is LOSSES["mse"]
    assert vocabulary.losses["own"].meaning == "own"
    assert vocabulary.knobs["lr"] is KNOBS["lr"]
    assert list(vocabulary.losses) == [*LOSSES, "own"]


def test_two_are_equal_if_their_plugins_are_and_copies_are_whole(load: Load) -> None:
    vocabulary = vocabulary_with(load(ALL))
    assert vocabulary_with(()) is BUILT_IN
    assert vocabulary != BUILT_IN
    assert vocabulary == vocabulary_with(load(ALL))
    assert vocabulary != vocabulary_with(load(ALL + "# other content\n"))
    for copied in (deepcopy(BUILT_IN), cast(Any, pickle.loads(pickle.dumps(BUILT_IN)))):  # noqa: S301
        assert copied == BUILT_IN
        assert list(copied.knobs) == list(KNOBS)
    assert list(deepcopy(vocabulary).losses) == list(vocabulary.losses)


def test_a_description_holds_all_but_the_code(load: Load) -> None:
    [plugin] = load(ALL)
    plain = json.loads(json.dumps(described(plugin), allow_nan=False))
    assert plain == described(plugin)
    read = from_description(plugin.path, plain)
    assert read == plugin
    assert read.file is None
    assert described(read) == plain
    assert read.knobs == plugin.knobs
    for owner, parts in plugin.parts.items():
        for name, part in parts.items():
            for field in part.__dataclass_fields__:
                if field not in ("target", "constants"):
                    assert getattr(read.parts[owner][name], field) == getattr(part, field)
