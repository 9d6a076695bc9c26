"""What `cifar-tune check` finds out by trying: that each model runs, its sizes, the hours, and `--workers auto`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cifar_tune.data.batches import steps_per_epoch
from cifar_tune.data.duplicates import duplicate_lines
from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import CheckError
from cifar_tune.executors.local import cpu_workers
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.initial_weights import FRESH
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.knobs.vocabulary import METRIC
from cifar_tune.model_files.learned import study_warnings
from cifar_tune.models.build import build_to_be_counted, count_multiply_adds, count_parameters, multiply_adds_of
from cifar_tune.models.layers import ImageShape
from cifar_tune.study.budget import most_trials, pruned_words, timeout_words
from cifar_tune.study.run import auto_executors
from cifar_tune.study_spec.repeats import RepeatsSpec
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.typical import models_of, typical
from cifar_tune.training.device import describe_device, resolve_device, resolve_precision
from cifar_tune.training.initial_weights import initial_weights_words
from cifar_tune.training.probe import VALIDATED_IMAGE, probe, probe_measures, probe_plugins
from cifar_tune.wording import counted, estimated_duration

_SHAPING = ("model", "timm_name", "width", "stem", "norm", "norm_placement", "residual")
"""The knobs that decide how many parameters there are; those of a plugin's models do so too."""

_FIGURES = ("parameters", "flops")


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What is known of a model before it is trained; `flops` are counted only where a constraint asks for them."""

    parameters: int
    flops: int | None = None


def model_sizes(spec: StudySpec, name: str, image_shape: ImageShape, classes: int) -> list[ModelSize]:
    """The sizes of a model, smallest first: one for each reachable combination of the knobs that decide them."""
    counts_flops = any(constraint.metric == "flops" for constraint in spec.constraints)
    sizes = []
    for config in _shapes(spec, name):
        model = build_to_be_counted(config, image_shape, classes)
        sizes.append(ModelSize(count_parameters(model), multiply_adds_of(model, image_shape) if counts_flops else None))
    return sorted(sizes, key=lambda size: size.parameters)


def constraint_lines(spec: StudySpec, sizes: Sequence[ModelSize]) -> Iterator[str]:
    """Lines for people: how many of the models keep the constraints that the model alone decides.

    Raises:
        CheckError: none does.
    """
    deciding = [constraint for constraint in spec.constraints if constraint.is_known_before_training]
    if not deciding:
        return
    kept = sum(all(each.violation(getattr(size, each.metric)) <= 0 for each in deciding) for size in sizes)
    words = " and ".join(str(constraint) for constraint in deciding)
    if not kept:
        ranges = " and ".join(_range(sizes, name) for name in _FIGURES if any(c.metric == name for c in deciding))
        raise CheckError(f"no model that this study can choose keeps {words}: they have {ranges}")
    yield f"constraints: {kept} of {len(sizes)} model sizes keep {words}"


def _range(sizes: Sequence[ModelSize], figure: str) -> str:
    numbers = [getattr(size, figure) for size in sizes]
    low, high = min(numbers), max(numbers)
    return f"{low:,} {figure}" if low == high else f"{low:,} to {high:,} {figure}"


def _shapes(spec: StudySpec, model: str) -> Iterable[Configuration]:
    """Configurations with this model, one for each reachable combination of the knobs that decide its size."""
    shapes: dict[tuple[Value | None, ...], Configuration] = {}
    own = [knob.name for plugin in spec.plugins for knob in plugin.knobs.values() if knob.owner == "model"]
    shaping = (*_SHAPING, *own)
    # the groups must fit the width, wherever they do
    for outcome in spec.space.outcomes({*shaping, "norm_groups", "activation"}):
        if outcome["model"] == model:
            shape = (*(outcome.get(name) for name in shaping), _learning_activation(outcome))
            shapes.setdefault(shape, complete({**spec.train, **outcome}, spec.vocabulary))
    return shapes.values()


def _with_initial_weights(spec: StudySpec) -> Iterator[Configuration]:
    """Configurations for each network that each value of `init_from` can come with."""
    own = [knob.name for plugin in spec.plugins for knob in plugin.knobs.values() if knob.owner == "model"]
    seen = set()
    shaping = (*_SHAPING, *own, "init_from")
    values = {outcome["init_from"] for outcome in spec.space.outcomes({"init_from"})} - {FRESH}
    for outcome in spec.space.outcomes({*shaping, "norm_groups", "activation"}) if values else ():
        network = (*(outcome.get(name) for name in shaping), _learning_activation(outcome))
        if outcome["init_from"] in values and network not in seen:
            seen.add(network)
            yield complete({**spec.train, **outcome}, spec.vocabulary)


def _learning_activation(outcome: Mapping[str, Value]) -> Value | None:
    """An activation that may have parameters of its own: prelu, or one out of a plugin."""
    activation = outcome.get("activation")
    return activation if activation == "prelu" or activation not in ACTIVATIONS else None


def probe_lines(spec: StudySpec, data: PreparedData, devices: Sequence[str]) -> Iterator[str]:
    """Lines for people, one model after the other.

    Raises:
        UserError: if a device or a model cannot be used, or a device does not have a precision.
        CheckError: if no model keeps the constraints.
    """
    resolved = [resolve_device(name) for name in devices]
    _require_precisions(spec, devices)
    train, val = len(data.train_indices), len(data.val_indices)
    yield from data.summary()
    for note in data.told(is_first_time=True):
        yield f"note: {note}"
    yield from duplicate_lines(spec.data, data)
    for device in resolved:
        yield f"device: {describe_device(device)}"
    resident = ResidentData(data, resolved[0])
    for words in dict.fromkeys(initial_weights_words(_with_initial_weights(spec), data.image_shape, data.classes)):
        if words:
            yield f"note: {words}"
    for warning in study_warnings(spec, data):
        yield f"warning: {warning}"
    for config in _with_each_part(spec):
        probe_plugins(config, resident, resolved[0])
    probe_measures(spec.measures, spec.vocabulary, resident)
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
        steps = steps_per_epoch(train, batch) + VALIDATED_IMAGE * views * val / batch
        trial = found.seconds_per_step * steps * config.integer("epochs")
        seconds.append(trial)
        fewest, most = sizes[0].parameters, sizes[-1].parameters
        parameters = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        yield (
            f"model {model}: {parameters} parameters; {found.seconds_per_step * 1000:.3g} ms per step of "
            f"{batch} images, {estimated_duration(trial)} per trial of {counted(config.integer('epochs'), 'epoch')}"
        )
    yield from constraint_lines(spec, all_sizes)
    if spec.repeats is not None:
        yield repeats_line(spec, spec.repeats)
    trials = most_trials(spec)
    total = trials * sum(seconds) / len(seconds)
    words = timeout_words(spec, total, 0.0)
    count = counted(trials, "trial")
    yield f"estimated: {estimated_duration(total)} for {count}, one at a time{pruned_words(spec)}{words}"


def repeats_line(spec: StudySpec, repeats: RepeatsSpec) -> str:
    """How many trainings `repeats` makes of how many configurations."""
    seeds = f"{spec.first_seed} to {spec.first_seed + repeats.count - 1}"
    each = f"{repeats.count} folds, with seeds {seeds}" if repeats.on_folds else f"{repeats.count} seeds ({seeds})"
    budget = spec.budget.trials
    listed = spec.most_known if spec.is_list else None
    configurations = spec.space.size() if spec.sampler.name == "grid" else listed
    if configurations is None:
        whole = budget // repeats.count
        return f"repeats: budget.trials counts trainings; {budget:,} are {counted(whole, 'configuration')} x {each}"
    trainings = configurations * repeats.count
    words = f"repeats: {counted(configurations, 'configuration')} x {each} = {trainings:,} trainings"
    if repeats.stop_early and not spec.has_several_objectives:
        words += ", fewer where configurations fall behind"
    if trainings > budget:
        words += f"; budget.trials counts trainings, and ends the study after {budget:,} of them"
    return words


def _require_precisions(spec: StudySpec, devices: Sequence[str]) -> None:
    for outcome in spec.space.outcomes({"precision"}):
        config = typical(spec, outcome)
        for device in devices:
            resolve_precision(config, resolve_device(device))


def _with_each_part(spec: StudySpec) -> Iterator[Configuration]:
    """A configuration with each part of the plugins that a trial can have."""
    for owner in dict.fromkeys(owner for plugin in spec.plugins for owner in plugin.parts if owner != METRIC):
        names = {name for plugin in spec.plugins for name in plugin.parts.get(owner, {})}
        for outcome in spec.space.outcomes({owner}):
            value = outcome.get(owner, ())
            found = names.intersection(value if isinstance(value, tuple) else (value,))
            names -= found
            if found:
                yield typical(spec, outcome)


_PATIENCE = 10.0
"""Seconds that `check` tries how many executors share a GPU, if it takes no longer to try one on each."""


def auto_workers_lines(spec: StudySpec, devices: Sequence[str]) -> Iterator[str]:
    """The decision with its figures; GPUs are tried for about ten seconds, by the executors that `run` would start.

    The images must have been decoded.

    Raises:
        UserError: a device cannot be used.
    """
    threads = spec.largest_threads
    if [resolve_device(name).type for name in devices] == ["cpu"]:
        workers = cpu_workers(threads)
        yield f"--workers auto: {workers} at a time, by cores and the largest `threads` ({threads})"
        return
    notes: list[str] = []
    executors = auto_executors(spec, devices, notes.append, _PATIENCE)
    try:
        executors.wait_for_start(spec.data, "", lambda: None)
        yield from notes or [f"--workers auto: {executors.workers} at a time, one per device"]
    finally:
        executors.close(lambda: True)
