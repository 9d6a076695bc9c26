"""A few steps of every model that a study can choose: does it run, how large is it, how long will it take."""

from collections.abc import Iterator, Sequence

import torch

from cifar_tune.cli.model_sizes import ModelSize, constraint_lines, model_sizes
from cifar_tune.cli.plugin_probing import probe_plugins
from cifar_tune.data.batches import steps_per_epoch
from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.views import TEST_TIME_AUGMENTATIONS
from cifar_tune.models.build import count_multiply_adds
from cifar_tune.study.budget import most_trials, timeout_words
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.typical import models_of, typical
from cifar_tune.training.device import describe_device, resolve_device, resolve_precision
from cifar_tune.training.probe import probe
from cifar_tune.wording import rough_duration

_VALIDATION_STEP = 1 / 3
"""A validation image costs a forward pass; a training image that, and a backward pass of about twice as much."""


def probe_lines(spec: StudySpec, data: PreparedData, devices: Sequence[str]) -> Iterator[str]:
    """Lines for people, one model after the other.

    Raises:
        UserError: if a device or a model cannot be used, or a device does not have a precision.
        CheckError: if no model keeps the constraints.
    """
    resolved = [resolve_device(name) for name in devices]
    _require_precisions(spec, resolved)
    train, val = len(data.train_indices), len(data.val_indices)
    yield from data.summary()
    for note in data.notes:
        yield f"note: {note}"
    for device in resolved:
        yield f"device: {describe_device(device)}"
    for config in _with_each_part(spec):
        probe_plugins(config, data, resolved[0])
    resident = ResidentData(data, resolved[0])
    seconds = []
    all_sizes: list[ModelSize] = []
    for model in models_of(spec):
        sizes = model_sizes(spec, model, data.image_shape, len(data.classes))
        all_sizes += sizes
        config = typical(spec, {"model": model})
        count_multiply_adds(config, data.image_shape, len(data.classes))  # a model that cannot be counted cannot run
        found = probe(config, resident, resolved[0])
        if any(outcome.get("batch_size") == 1 for outcome in spec.space.outcomes({"batch_size"})):
            probe(config.replaced(batch_size=1), resident, resolved[0])
        batch = min(config.integer("batch_size"), train)
        views = TEST_TIME_AUGMENTATIONS[config.text("test_time_augmentation")].views
        steps = steps_per_epoch(train, batch) + _VALIDATION_STEP * views * val / batch
        trial = found.seconds_per_step * steps * config.integer("epochs")
        seconds.append(trial)
        fewest, most = sizes[0].parameters, sizes[-1].parameters
        parameters = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        yield (
            f"model {model}: {parameters} parameters; {found.seconds_per_step * 1000:.3g} ms per step of "
            f"{batch} images, about {rough_duration(trial)} per trial of {config.integer('epochs')} epochs"
        )
    yield from constraint_lines(spec, all_sizes)
    trials = most_trials(spec)
    total = trials * sum(seconds) / len(seconds)
    words = timeout_words(spec, total, 0.0)
    yield f"estimated: about {rough_duration(total)} for {trials} trials, one at a time, if none is pruned{words}"


def _require_precisions(spec: StudySpec, devices: Sequence[torch.device]) -> None:
    for outcome in spec.space.outcomes({"precision"}):
        config = typical(spec, outcome)
        for device in devices:
            resolve_precision(config, device)


def _with_each_part(spec: StudySpec) -> Iterator[Configuration]:
    """A configuration with each part of the plugins that a trial can have."""
    for owner in dict.fromkeys(owner for plugin in spec.plugins for owner in plugin.parts):
        names = {name for plugin in spec.plugins for name in plugin.parts.get(owner, {})}
        for outcome in spec.space.outcomes({owner}):
            value = outcome.get(owner, ())
            found = names.intersection(value if isinstance(value, tuple) else (value,))
            names -= found
            if found:
                yield typical(spec, outcome)
