"""How large the models are that a study can choose, and whether they keep its constraints."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cifar_tune.errors import CheckError
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from cifar_tune.models.build import build_to_be_counted, count_parameters, multiply_adds_of
from cifar_tune.models.layers import ImageShape
from cifar_tune.study_spec.specification import StudySpec

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


def _learning_activation(outcome: Mapping[str, Value]) -> Value | None:
    """An activation that may have parameters of its own: prelu, or one out of a plugin."""
    activation = outcome.get("activation")
    return activation if activation == "prelu" or activation not in ACTIVATIONS else None
