"""What objectives and constraints ask of sampler and pruner."""

from collections.abc import Sequence

from cifar_tune.errors import enumerate_names
from cifar_tune.study_spec.metrics import METRICS
from cifar_tune.study_spec.problems import Problems
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.settings import Objective, PrunerSpec
from cifar_tune.study_spec.specification import StudySpec


def default_pruner(objectives: Sequence[Objective]) -> str:
    """The pruner of a study that does not name one: none where none is possible."""
    return "none" if _why_not_pruned(objectives) else PrunerSpec.name


def check_objectives(spec: StudySpec, problems: Problems) -> list[str]:
    """Refuse samplers and pruners that cannot work with the objectives; note what ignores constraints.

    Sections that are wrong by themselves are not judged.
    """
    if not problems.is_sound(("objective",)):
        return []
    why_not = _why_not_pruned(spec.objectives)
    if why_not and spec.pruner.name != "none" and problems.is_sound(("pruner",)):
        problems.add(("pruner", "name"), f"must be none: {why_not}", spec.pruner.name)
    if not problems.is_sound(("sampler",)):
        return []
    sampler = SAMPLERS[spec.sampler.name]
    if spec.has_several_objectives and not sampler.takes_several_objectives:
        able = [name for name, choice in SAMPLERS.items() if choice.takes_several_objectives]
        rule = f"handles one objective only, and here are {len(spec.objectives)}; use {enumerate_names(able)}"
        problems.add(("sampler", "name"), rule, spec.sampler.name)
    if spec.constraints and not sampler.heeds_constraints:
        able = [name for name, choice in SAMPLERS.items() if choice.heeds_constraints]
        return [
            f"sampler {spec.sampler.name} does not look for trials that keep the constraints; they are only judged by "
            f"them. {enumerate_names(able, 'and')} do"
        ]
    return []


def check_deterministic(spec: StudySpec, problems: Problems) -> None:
    """Refuse batches that could not keep their promise: a metric that a clock decides is never the same twice."""
    if not all(problems.is_sound((section,)) for section in ("objective", "constraints", "deterministic")):
        return
    clocked = [name for name in spec.metrics if METRICS[name].is_clocked]
    if spec.deterministic is not None and clocked:
        rule = f"cannot be had with {clocked[0]}, which a clock decides: it would be another one in every run"
        problems.add(("deterministic",), rule, spec.deterministic)


def _why_not_pruned(objectives: Sequence[Objective]) -> str:
    if len(objectives) > 1:
        return "pruners compare trials by one value per epoch, and here are several objectives"
    reason = METRICS[objectives[0].metric].not_pruned_by
    return f"no pruner can judge {objectives[0].metric}: {reason}" if reason else ""
