"""What executors of a study train for a moment, to see how many of them share a GPU."""

from cifar_tune.executors.messages import Rehearsal
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.typical import largest, typical


def rehearsal_of(spec: StudySpec) -> Rehearsal | None:
    """A configuration from the middle of the space for speed, the largest ones for memory.

    None where executors must not share a GPU, since how long an epoch takes is what the study measures.
    """
    if "seconds_per_epoch" in spec.metrics:
        return None
    plugins = tuple(plugin.file for plugin in spec.plugins if plugin.file is not None)
    most = min(spec.deterministic or spec.budget.trials, spec.budget.trials)
    return Rehearsal(dict(typical(spec, {})), tuple(dict(each) for each in largest(spec)), spec.data, plugins, most)
