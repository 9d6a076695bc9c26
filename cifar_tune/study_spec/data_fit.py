"""What a study asks of its images, beside their being there: checked as soon as they are known."""

from collections.abc import Sequence

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.class_weights import unknown_classes
from cifar_tune.study_spec.search_space import Choices
from cifar_tune.study_spec.specification import StudySpec


def require_fit(spec: StudySpec, classes: Sequence[str]) -> None:
    """See that a study can be run on images of these classes.

    Raises:
        UserError: with everything that does not fit them.
    """
    problems = _class_weights(spec, classes)
    if problems:
        raise UserError(problems)


def _class_weights(spec: StudySpec, classes: Sequence[str]) -> list[Problem]:
    knob = "class_weights"
    given = [(f"train.{knob}", spec.train[knob])] if knob in spec.train else []
    dimension = spec.search_space.get(knob)
    if isinstance(dimension, Choices):
        given += [(f"search_space.{knob}.choices", choice) for choice in dimension.choices]
    return [problem for key, value in given for problem in unknown_classes(str(value), classes, key)]
