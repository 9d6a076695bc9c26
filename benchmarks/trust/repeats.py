"""`repeats`: what it saves not to train on what has fallen behind, and what the choice loses by it."""

import math
from collections.abc import Iterator

import numpy as np
from optuna.trial import FrozenTrial, create_trial

from benchmarks.trust.checks import Check
from benchmarks.trust.made_values import CLOSE_RANGE, SEED_SD, Floats, true_values
from cifar_tune.storage.fallen_behind import Course, fallen_behind
from cifar_tune.storage.means import Key
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document

_CONFIGURATIONS = 20
_SHARED_SD = 0.4
"""What a seed adds to all configurations alike, as measured on CIFAR-10."""

_IMAGES = 5000


def repeats(studies: int) -> Iterator[Check]:
    """Grids of 20 configurations, a fifth of them within 0.3 points of the best, or all of them."""
    for count, fewest, most in ((3, 25.0, 50.0), (5, 40.0, 65.0)):
        for shared in (0.0, _SHARED_SD):
            seeds = f"{count} seeds{f', which scatter by {shared:g} for all alike' if shared else ''}"
            yield from _checks(seeds, _grids(studies // 10), count, shared, (fewest, most))
    yield from _checks("3 seeds, all within 0.3 points", _close_grids(studies // 10), 3, 0.0, (0.0, 25.0))


def _checks(
    case: str, grids: Iterator[Floats], count: int, shared: float, saving: tuple[float, float]
) -> Iterator[Check]:
    draw = np.random.default_rng(18)
    trained, lost, whole_lost = [], [], []
    for truth in grids:
        values = truth[:, None] + draw.normal(0, SEED_SD, (len(truth), count)) + draw.normal(0, shared, count)
        had, chosen = _study(values, count)
        trained.append(had)
        lost.append(-truth[chosen])
        whole_lost.append(-truth[int(values.mean(axis=1).argmax())])
    saved = 100 * (1 - float(np.mean(trained)) / (count * _CONFIGURATIONS))
    yield Check(f"trainings saved, {case}, %", saved, *saving)
    more = np.array(lost) - np.array(whole_lost)
    error = float(more.std(ddof=1)) / math.sqrt(len(more))
    note = f"standard error {error:.2g}; whole grids choose one {np.mean(whole_lost):.3f} worse than the best"
    yield Check(f"the choice is worse for it, {case}, points", float(more.mean()), -0.02, 0.02, note)


def _grids(studies: int) -> Iterator[Floats]:
    """The true values of the configurations of each grid: a random fifth of those of a study."""
    draw = np.random.default_rng(17)
    for truth in true_values(draw, max(20, studies)):
        chosen = draw.choice(truth, _CONFIGURATIONS, replace=False)
        yield chosen - chosen.max()


def _close_grids(studies: int) -> Iterator[Floats]:
    draw = np.random.default_rng(19)
    for truth in draw.uniform(-CLOSE_RANGE, 0, (max(20, studies), _CONFIGURATIONS)):
        yield truth - truth.max()


def _study(values: Floats, count: int) -> tuple[int, int]:
    """How many trainings a study needs, and which configuration it chooses; values [configurations, seeds], points."""
    spec = _spec(count)
    courses: dict[Key, Course] = {}
    for index, own in enumerate(values):
        key: Key = (("activation", str(index)),)
        trial = _trial(index)
        for done in range(1, count + 1):
            shares = tuple(float(0.9 + value / 100) for value in own[:done])
            courses[key] = Course({1: trial}, shares, is_running=False, is_out=False)
            if key in fallen_behind(courses, spec, _IMAGES):
                break
    whole = {index: course.mean for index, course in enumerate(courses.values()) if len(course.values) == count}
    return sum(len(course.values) for course in courses.values()), max(whole, key=lambda index: whole[index])


def _trial(number: int) -> FrozenTrial:
    trial = create_trial(value=0.0)
    trial.number = number
    return trial


def _spec(count: int) -> StudySpec:
    plain = {"name": "made", "sampler": {"name": "grid"}, "repeats": count, "search_space": {}}
    return read_study(Document(plain), None).spec
