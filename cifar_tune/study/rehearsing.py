"""As many executors as a study can use, and what they train for a moment to see how many of them share a GPU."""

from collections.abc import Callable, Sequence

from cifar_tune.executors.gpu_sharing import SharingExecutors
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Rehearsal
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.typical import largest, typical


def auto_executors(spec: StudySpec, devices: Sequence[str], note: Callable[[str], None]) -> LocalExecutors:
    """The executors of `--workers auto` on this machine."""
    rehearsal = rehearsal_of(spec)
    if rehearsal is None:
        return LocalExecutors(None, devices, spec.largest_threads, note)
    return SharingExecutors(rehearsal, devices, spec.largest_threads, note)


def rehearsal_of(spec: StudySpec) -> Rehearsal | None:
    """A configuration from the middle of the space for speed, the largest ones for memory.

    None where executors must not share a GPU, since how long an epoch takes is what the study measures.
    """
    if "seconds_per_epoch" in spec.metrics:
        return None
    plugins = tuple(plugin.file for plugin in spec.plugins if plugin.file is not None)
    most = min(spec.deterministic or spec.budget.trials, spec.budget.trials)
    return Rehearsal(dict(typical(spec, {})), tuple(dict(each) for each in largest(spec)), spec.data, plugins, most)
