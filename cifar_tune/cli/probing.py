"""A few steps of every model that a study can choose: does it run, how large is it, how long will it take."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch

from cifar_tune.cli.plugin_probing import probe_plugins
from cifar_tune.data.batches import steps_per_epoch
from cifar_tune.data.prepared import prepare
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.views import TEST_TIME_AUGMENTATIONS
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.study.estimate import most_trials, spoken_duration
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.device import describe_device, resolve_device
from cifar_tune.training.probe import probe

_VALIDATION_STEP = 1 / 3
"""A validation image costs a forward pass; a training image that, and a backward pass of about twice as much."""

_SHAPING = ("model", "timm_name", "width", "stem", "norm", "norm_placement", "residual")
"""The knobs that decide how many parameters there are; those of a plugin's models do so too."""


def probe_lines(
    spec: StudySpec, devices: Sequence[str], decoding: Callable[[int, int], None] | None = None
) -> Iterator[str]:
    """Lines for people, one model after the other.

    Raises:
        UserError: if data, a device or a model cannot be used.
    """
    resolved = [resolve_device(name) for name in devices]
    data = prepare(spec.data, decoding)
    train, val = len(data.train_indices), len(data.val_indices)
    yield f"data: {train:,} training and {val:,} validation images {data.image_shape}, {len(data.classes)} classes"
    for device in resolved:
        yield f"device: {describe_device(device)}"
    for config in _with_each_part(spec):
        probe_plugins(config, data, resolved[0])
    seconds = []
    for model in sorted({str(outcome["model"]) for outcome in spec.space.outcomes({"model"})}):
        sizes = sorted({_size(shape, data.image_shape, len(data.classes)) for shape in _shapes(spec, model)})
        config = _typical(spec, {"model": model})
        found = probe(config, data.image_shape, len(data.classes), resolved[0], train)
        batch = min(config.integer("batch_size"), train)
        views = TEST_TIME_AUGMENTATIONS[config.text("test_time_augmentation")].views
        steps = steps_per_epoch(train, batch) + _VALIDATION_STEP * views * val / batch
        trial = found.seconds_per_step * steps * config.integer("epochs")
        seconds.append(trial)
        parameters = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        yield (
            f"model {model}: {parameters} parameters; {found.seconds_per_step * 1000:.3g} ms per step of "
            f"{batch} images, about {spoken_duration(trial)} per trial of {config.integer('epochs')} epochs"
        )
    trials = most_trials(spec)
    total = trials * sum(seconds) / len(seconds)
    yield f"estimated: about {spoken_duration(total)} for {trials} trials, one at a time, if none is pruned"


def _shapes(spec: StudySpec, model: str) -> Iterable[Configuration]:
    """Configurations with this model, one for each reachable combination of the knobs that decide its size."""
    shapes: dict[tuple[Value | None, ...], Configuration] = {}
    own = [knob.name for plugin in spec.plugins for knob in plugin.knobs.values() if knob.owner == "model"]
    shaping = (*_SHAPING, *own)
    for outcome in spec.space.outcomes({*shaping, "norm_groups"}):  # the groups must fit the width, wherever they do
        if outcome["model"] == model:
            shapes[tuple(outcome.get(name) for name in shaping)] = complete({**spec.train, **outcome})
    return shapes.values()


def _size(config: Configuration, image_shape: tuple[int, int, int], classes: int) -> int:
    """Parameters of a model, without the memory for them; one out of a plugin may need real numbers to be built."""
    with torch.device("meta" if config.text("model") in MODELS.built_in else "cpu"):
        return count_parameters(build_model(config, image_shape, classes))


def _with_each_part(spec: StudySpec) -> Iterator[Configuration]:
    """A configuration with each part of the plugins that a trial can have."""
    for owner in dict.fromkeys(owner for plugin in spec.plugins for owner in plugin.parts):
        names = {name for plugin in spec.plugins for name in plugin.parts.get(owner, {})}
        for outcome in spec.space.outcomes({owner}):
            value = outcome.get(owner, ())
            found = names.intersection(value if isinstance(value, tuple) else (value,))
            names -= found
            if found:
                yield _typical(spec, outcome)


def _typical(spec: StudySpec, decided: Mapping[str, Value]) -> Configuration:
    """A configuration from the middle of the space, where some of it is decided."""

    def choose(name: str, dimension: Dimension) -> Value:
        if name in decided:
            return decided[name]
        if isinstance(dimension, Choices):
            return dimension.choices[len(dimension.choices) // 2]
        if dimension.step is None:
            return (dimension.low * dimension.high) ** 0.5 if dimension.log else (dimension.low + dimension.high) / 2
        middle = dimension.low + ((dimension.count or 1) // 2) * dimension.step
        return int(middle) if isinstance(dimension.low, int) else middle

    return spec.space.configuration(choose)
