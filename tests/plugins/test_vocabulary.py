"""What is in force in a process, and what is stored of it."""

import json

import pytest

from cifar_tune.knobs.configuration import complete, takers
from cifar_tune.knobs.plugin import REGISTRIES, plug_in
from cifar_tune.knobs.registry import Registry
from cifar_tune.knobs.table import KNOBS
from cifar_tune.plugins.description import described, from_description

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
KNOBS = [
    Knob("bite", Kind.FLOAT, 0.5, "h", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("how", Kind.NAME, "soft", "i", names={"soft": "j", "hard": "k"}, owner="loss"),
]
"""


def test_every_kind_joins_its_registry_and_leaves_it(load: Load) -> None:
    before = {owner: list(registry) for owner, registry in REGISTRIES.items()}
    plug_in(load(ALL))
    added = {owner: [name for name in registry if name not in before[owner]] for owner, registry in REGISTRIES.items()}
    assert added == {owner: [f"own_{owner}"] for owner in REGISTRIES} | {"augment": ["own_augmentation"]}
    assert takers(KNOBS["bite"]) == ("own_optimizer",)
    assert list(KNOBS)[-2:] == ["bite", "how"]
    config = complete({"optimizer": "own_optimizer", "loss": "own_loss"})
    assert (config["lr"], config["bite"], config["how"]) == (0.25, 0.75, "soft")
    plug_in(())
    assert {owner: list(registry) for owner, registry in REGISTRIES.items()} == before
    assert "bite" not in KNOBS
    with pytest.raises(KeyError):
        REGISTRIES["loss"]["own_loss"]


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


def test_studies_that_mean_different_things_by_one_name_take_turns(load: Load) -> None:
    text = 'LOSSES = {{"own": LossPart(lambda logits, targets, bite: 0, "{0}", arguments={{"bite": "bite"}})}}\n'
    text += 'KNOBS = [Knob("bite", Kind.FLOAT, {1}, "x", owner="loss")]\n'
    first, second = load(text.format("one", 0.5)), load(text.format("two", 0.25))
    for plugins, meaning, default in ((first, "one", 0.5), (second, "two", 0.25), (first, "one", 0.5)):
        plug_in(plugins)
        assert REGISTRIES["loss"]["own"].meaning == meaning
        assert complete({"loss": "own"})["bite"] == default


def test_a_description_takes_no_code_away(load: Load) -> None:
    [plugin] = load(ALL)
    plug_in([plugin])
    only_described = from_description(plugin.path, described(plugin))
    plug_in([only_described])
    assert callable(REGISTRIES["loss"]["own_loss"].target)
    plug_in(())
    plug_in([only_described])
    assert isinstance(REGISTRIES["loss"]["own_loss"].target, str)
    plug_in([plugin])
    assert callable(REGISTRIES["loss"]["own_loss"].target)


def test_a_built_in_name_keeps_its_meaning() -> None:
    registry = Registry({"a": 1})
    registry.plug({"a": 2, "b": 3})
    assert dict(registry) == {"a": 1, "b": 3}
    assert len(registry) == 2
