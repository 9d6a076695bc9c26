"""Trials that another program wrote into a study, and that do not go with its search space."""

from collections.abc import Iterable

from optuna.distributions import check_distribution_compatibility
from optuna.trial import FrozenTrial

from cifar_tune.errors import CheckError
from cifar_tune.study.carrying import distribution
from cifar_tune.study_spec.specification import StudySpec


def misfits(trials: Iterable[FrozenTrial], spec: StudySpec) -> dict[int, str]:
    """The numbers of trials in which a parameter is of another kind than here, with its name.

    Optuna takes no other trial beside them: it raises when it is given its first parameter.
    """
    ours = {name: distribution(spec, name) for name in spec.search_space}
    found: dict[int, str] = {}
    for trial in trials:
        for name, theirs in trial.distributions.items():
            if name in ours and theirs != ours[name]:
                try:
                    check_distribution_compatibility(theirs, ours[name])
                except ValueError:
                    found.setdefault(trial.number, name)
    return found


def refuse_misfits(trials: Iterable[FrozenTrial], spec: StudySpec) -> None:
    """Refuse to go on with a study in which another program has spoiled the search space.

    Raises:
        CheckError: naming the trials.
    """
    found = misfits(trials, spec)
    if found:
        numbers = ", ".join(str(number) for number in found)
        names = ", ".join(dict.fromkeys(found.values()))
        raise CheckError(
            f"another program wrote trial {numbers} into the study {spec.name!r}, with another kind of {names} than it "
            f"searches, and Optuna takes no further trial beside it. `cifar-tune run ... --evolve` leaves such "
            f"trials behind and goes on with the others"
        )
