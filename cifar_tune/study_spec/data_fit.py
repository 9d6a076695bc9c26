"""What a study asks of its images, beside their being there: checked as soon as they are known."""

from collections.abc import Iterator, Mapping, Sequence

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.class_weights import unknown_classes
from cifar_tune.knobs.metrics import MetricPart
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.search_space import Choices
from cifar_tune.study_spec.specification import StudySpec


def require_fit(spec: StudySpec, classes: Sequence[str], validated: Sequence[int] = ()) -> None:
    """See that a study can be run on images of these classes.

    Args:
        spec: the study.
        classes: their names.
        validated: how many validation images each of them has; empty where nobody knows.

    Raises:
        UserError: with everything that does not fit them.
    """
    places = {
        **dict.fromkeys(spec.listed, "metrics"),
        **dict.fromkeys((constraint.metric for constraint in spec.constraints), "constraints"),
        **dict.fromkeys((objective.metric for objective in spec.objectives), "objective"),
    }
    problems = [*_class_weights(spec, classes), *_metrics(places, spec.known_metrics, classes, validated)]
    if problems:
        raise UserError(problems)


def require_metrics_fit(
    names: Sequence[str], metrics: Metrics, classes: Sequence[str], validated: Sequence[int] = ()
) -> None:
    """The same of the `metrics` that a configuration lists.

    Raises:
        UserError: with those that cannot be computed of these images.
    """
    problems = list(_metrics(dict.fromkeys(names, "metrics"), metrics, classes, validated))
    if problems:
        raise UserError(problems)


def _metrics(
    places: Mapping[str, str], metrics: Metrics, classes: Sequence[str], validated: Sequence[int]
) -> Iterator[Problem]:
    """What stands against each metric; `places` says under which key it stands."""
    absent = [name for name, images in zip(classes, validated, strict=False) if not images]
    for name, place in places.items():
        part = metrics[name].part
        if part is None:
            continue
        if not part.fewest_classes <= len(classes) <= (part.most_classes or len(classes)):
            yield Problem(f"needs {_classes_words(part, len(classes))}, and the data have {len(classes)}", place, name)
        elif part.needs_every_class and absent:
            missing = " and ".join(absent)
            yield Problem(f"needs validation images of every class, and there are none of {missing}", place, name)


def _classes_words(part: MetricPart, classes: int) -> str:
    if part.fewest_classes == part.most_classes:
        return f"{part.fewest_classes} classes"
    if classes < part.fewest_classes:
        return f"at least {part.fewest_classes} classes"
    return f"at most {part.most_classes} classes"


def _class_weights(spec: StudySpec, classes: Sequence[str]) -> list[Problem]:
    knob = "class_weights"
    given = [(f"train.{knob}", spec.train[knob])] if knob in spec.train else []
    dimension = spec.search_space.get(knob)
    if isinstance(dimension, Choices):
        given += [(f"search_space.{knob}.choices", choice) for choice in dimension.choices]
    return [problem for key, value in given for problem in unknown_classes(str(value), classes, key)]
