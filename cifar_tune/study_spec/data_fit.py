"""What a study asks of its images, beside their being there: checked as soon as they are known."""

from collections.abc import Iterator, Sequence

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.class_weights import unknown_classes
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.search_space import Choices
from cifar_tune.study_spec.specification import StudySpec


def require_fit(spec: StudySpec, classes: Sequence[str]) -> None:
    """See that a study can be run on images of these classes.

    Raises:
        UserError: with everything that does not fit them.
    """
    problems = [*_class_weights(spec, classes), *_metrics(spec, classes)]
    if problems:
        raise UserError(problems)


def require_metrics_fit(names: Sequence[str], metrics: Metrics, classes: Sequence[str]) -> None:
    """The same of the `metrics` that a configuration lists.

    Raises:
        UserError: with those that cannot be computed for so many classes.
    """
    problems = [problem for name in names for problem in _misfit("metrics", name, metrics, len(classes))]
    if problems:
        raise UserError(problems)


def _metrics(spec: StudySpec, classes: Sequence[str]) -> list[Problem]:
    places = {
        **dict.fromkeys(spec.listed, "metrics"),
        **dict.fromkeys((constraint.metric for constraint in spec.constraints), "constraints"),
        **dict.fromkeys((objective.metric for objective in spec.objectives), "objective"),
    }
    found = (_misfit(place, name, spec.known_metrics, len(classes)) for name, place in places.items())
    return [problem for problems in found for problem in problems]


def _misfit(place: str, name: str, metrics: Metrics, classes: int) -> Iterator[Problem]:
    part = metrics[name].part
    if part is None or part.fewest_classes <= classes <= (part.most_classes or classes):
        return
    if part.fewest_classes == part.most_classes:
        wanted = f"{part.fewest_classes} classes"
    elif classes < part.fewest_classes:
        wanted = f"at least {part.fewest_classes} classes"
    else:
        wanted = f"at most {part.most_classes} classes"
    yield Problem(f"needs {wanted}, and the data have {classes}", place, name)


def _class_weights(spec: StudySpec, classes: Sequence[str]) -> list[Problem]:
    knob = "class_weights"
    given = [(f"train.{knob}", spec.train[knob])] if knob in spec.train else []
    dimension = spec.search_space.get(knob)
    if isinstance(dimension, Choices):
        given += [(f"search_space.{knob}.choices", choice) for choice in dimension.choices]
    return [problem for key, value in given for problem in unknown_classes(str(value), classes, key)]
