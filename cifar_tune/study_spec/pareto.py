"""Which trials are best, given one objective or several: ranking, and the Pareto front."""

from collections.abc import Sequence

from cifar_tune.study_spec.settings import Objective

Minimized = tuple[float, ...]
"""One figure per objective, in the order of the study file, turned so that lower is better."""


def pareto_front(points: Sequence[Minimized]) -> list[int]:
    """The positions of the points that no other point dominates, best first objective first.

    Equal points all stay.
    With one objective these are the best point, and those equal to it.
    """
    front: list[int] = []
    # whatever dominates a point comes before it in this order, and so does a point of the front that dominates it
    for index in sorted(range(len(points)), key=lambda index: (points[index], index)):
        if not any(dominates(points[other], points[index]) for other in front):
            front.append(index)
    return front


def dominates(one: Minimized, other: Minimized) -> bool:
    """Whether `one` is at least as good in everything, and better in something."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def minimized(values: Sequence[float], objectives: Sequence[Objective]) -> Minimized:
    """The values of a trial, turned so that lower is better."""
    return tuple(
        -value if objective.direction == "maximize" else value
        for value, objective in zip(values, objectives, strict=True)
    )
